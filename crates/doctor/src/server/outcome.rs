//! What came of a data connection.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use protocol::command::{Command, ListArgument};

use super::control::{Answer, Control, Lost, read_until};

/// So much of a listing proves that the connection works.
const LISTING_BYTES_MAX: u64 = 256 * 1024;

/// A listing came through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Success {
    pub(super) bytes: u64,
    /// The server's end of the data connection.
    pub(super) peer: SocketAddr,
}

/// No listing came through.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused the login, or the command that sets the connection up.
    Refused(Answer),
    /// The reply should hold an address or a port, and does not.
    Unreadable(Answer),
    /// The address that the server told is one that this client will not connect to.
    Misled(SocketAddr),
    /// The server could not be connected to.
    Unreachable { address: SocketAddr, error: io::Error },
    /// The connection stood, but the server refused the listing.
    NotListed(Answer),
    /// The server agreed to connect to this client, and did not come; with what it said in the end, if anything.
    NobodyCame(Option<Answer>),
    /// The listing broke off.
    Cut { bytes: u64, reason: String },
    /// The control connection is gone or silent.
    Lost(Lost),
    /// This machine's fault.
    Here(io::Error),
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

pub(super) type Outcome = Result<Success, Failure>;

/// Asks for a listing of the root; the argument is left out, lest a server take `/` for an option of its `ls`.
pub(super) fn request_listing(control: &mut Control) -> Result<Answer, Lost> {
    control.command(&Command::List(ListArgument::default()))
}

/// Reads a listing to its end, or as much as is proof, and hears what the server says to it.
pub(super) fn read_listing(
    control: &mut Control,
    mut data: TcpStream,
    peer: SocketAddr,
    first: &Answer,
    timeout: Duration,
) -> Outcome {
    let deadline = Instant::now() + timeout;
    let mut bytes = 0;
    let mut buffer = [0; 16 * 1024];
    while bytes < LISTING_BYTES_MAX {
        match read_until(&mut data, &mut buffer, deadline) {
            Ok(0) => {
                // Some servers answer once, when all is done.
                let last = if first.is_preliminary() { control.answer()? } else { first.clone() };
                return match last.is_success() {
                    true => Ok(Success { bytes, peer }),
                    false => Err(Failure::Cut { bytes, reason: format!("the server says {last}") }),
                };
            }
            Ok(length) => bytes += length as u64,
            // A long listing over a slow line is proof as well.
            Err(_) if bytes > 0 => break,
            Err(error) => return Err(Failure::Cut { bytes, reason: error.to_string() }),
        }
    }
    Ok(Success { bytes, peer })
}
