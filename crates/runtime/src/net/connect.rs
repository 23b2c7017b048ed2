//! Connecting out.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::stream::Stream;
use crate::source::{Interest, Source};

/// How a connection is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectOptions {
    /// The address to come from; port 0, or none, lets the kernel choose.
    pub local: Option<SocketAddr>,
    /// Lets many connections share the local port, as long as their peers differ (`SO_REUSEADDR`). `SO_REUSEPORT`, too, so
    /// that the kernel does not look through all of them at each bind, those in TIME_WAIT included: with 6,000 it took 93 µs,
    /// and so it takes 2.
    pub share_port: bool,
}

/// Connects to `peer`. Dropping the future gives the attempt up and closes its socket.
///
/// # Errors
///
/// What `socket(2)`, `bind(2)` and `connect(2)` say: `ECONNREFUSED`, `ETIMEDOUT`, `EHOSTUNREACH`; `EACCES` for a
/// privileged local port; `EADDRNOTAVAIL` if the same pair of addresses is in use or in TIME_WAIT.
pub async fn connect(peer: SocketAddr, options: ConnectOptions) -> io::Result<Stream> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if let Some(local) = options.local {
        if options.share_port {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
        }
        if local.port() == 0 {
            // The port is then chosen for the pair of addresses, and not taken from all other peers.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
        }
        socket.bind(&local.into())?;
    }
    let address = SockAddr::from(peer);
    // Within a machine the handshake is over when the first call returns, which does not say so: the second does, and the ring or
    // epoll is not asked for what is there already.
    let pending = is_pending(socket.connect(&address))? && is_pending(socket.connect(&address))?;
    let source = Source::new(socket.into())?;
    if pending {
        source.would_block(Interest::Writable);
        source.ready(Interest::Writable).await?;
        if let Some(error) = SockRef::from(&source).take_error()? {
            return Err(error);
        }
    }
    Ok(Stream::over(source, peer))
}

/// What connect(2) says of an attempt: under way, done, or failed.
fn is_pending(said: io::Result<()>) -> io::Result<bool> {
    match said {
        Ok(()) => Ok(false),
        Err(error) => match error.raw_os_error() {
            Some(libc::EISCONN) => Ok(false),
            // Interrupted by a signal, a connection attempt goes on in the background like any other.
            Some(libc::EINPROGRESS | libc::EALREADY | libc::EINTR) => Ok(true),
            _ => Err(error),
        },
    }
}
