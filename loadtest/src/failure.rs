//! What can go wrong in a session under load. Each failure is counted under its step and kind, and none is averaged
//! away.

use std::io;
use std::time::Duration;

use protocol::reply::{Code, ReplyError};
use thiserror::Error;

use crate::measure::Step;

/// What went wrong, and in which step.
#[derive(Debug, Error)]
#[error("{step}: {cause}")]
pub(crate) struct Failure {
    pub(crate) step: Step,
    // Told with it, so it is not its source as well: the text would come twice.
    pub(crate) cause: Cause,
}

/// What went wrong.
#[derive(Debug, Error)]
pub(crate) enum Cause {
    /// The network's or the server's fault.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The server said no, or something that was not expected here.
    #[error("{code} {text}")]
    Reply { code: Code, text: String },
    /// The server ended the control connection.
    #[error("the server closed the control connection")]
    Closed,
    /// What the server sends is not FTP.
    #[error("not an FTP server: {0}")]
    NotFtp(ReplyError),
    /// The server had said more before the next command was sent.
    #[error("a reply that nothing was asked for: {0}")]
    Unasked(String),
    /// Nothing happened for as long as `--timeout` allows.
    #[error("nothing happened until the timeout")]
    TimedOut,
    /// It would have gone on and on.
    #[error("it had not ended after {} s, ten times --timeout", .0.as_secs_f64())]
    TooLong(Duration),
    /// The bytes are not those that were expected.
    #[error("wrong contents: {0}")]
    WrongContents(String),
    /// A data connection came from where it must not.
    #[error("data connection from a wrong address: {0}")]
    WrongPeer(String),
    /// The reply to PASV or EPSV has no port in it.
    #[error("no port in the reply `{0}`")]
    NoPort(String),
}

impl Cause {
    /// The name that failures of this kind are counted under.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Io(error) => match error.raw_os_error() {
                Some(number) => format!("{:?}", nix::errno::Errno::from_raw(number)),
                None => error.kind().to_string(),
            },
            Self::Reply { code, .. } => format!("reply {code}"),
            Self::Closed => String::from("closed by server"),
            Self::NotFtp(_) => String::from("not FTP"),
            Self::Unasked(_) => String::from("reply without a command"),
            Self::TimedOut => String::from("timed out"),
            Self::TooLong(_) => String::from("too long"),
            Self::WrongContents(_) => String::from("wrong contents"),
            Self::WrongPeer(_) => String::from("wrong peer"),
            Self::NoPort(_) => String::from("no port in reply"),
        }
    }
}
