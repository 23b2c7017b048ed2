//! Connecting out.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

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
    let pending = match socket.connect(&peer.into()) {
        Ok(()) => false,
        // Interrupted by a signal, a connection attempt goes on in the background like any other.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => true,
        Err(error) => return Err(error),
    };
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
