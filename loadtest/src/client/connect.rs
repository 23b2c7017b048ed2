//! Connecting from a chosen address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use runtime::{Interest, Stream};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

/// Connects to `peer`, from `source` if there is one.
///
/// The local port is chosen by connect(2), not by bind(2): so a port serves many peers at once, and the ports of a
/// source address run out only with its pairs.
///
/// # Errors
///
/// What socket(2), bind(2) and connect(2) say.
pub(crate) async fn connect(peer: SocketAddr, source: Option<IpAddr>) -> io::Result<Stream> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    let address = SockAddr::from(peer);
    // On loopback the connection stands when the call returns.
    let pending = is_pending(socket.connect(&address))?;
    let stream = Stream::new(socket.into(), peer)?;
    if pending {
        let ask_again = |fd: BorrowedFd<'_>| match is_pending(SockRef::from(&fd).connect(&address)) {
            Ok(false) => Ok(()),
            Ok(true) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error),
        };
        stream.source().io(Interest::Writable, ask_again).await?;
    }
    Ok(stream)
}

/// What connect(2) says of an attempt: under way, done, or failed.
fn is_pending(said: io::Result<()>) -> io::Result<bool> {
    match said {
        Ok(()) => Ok(false),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EISCONN) => Ok(false),
            Some(Errno::EINPROGRESS | Errno::EALREADY | Errno::EINTR) => Ok(true),
            _ => Err(error),
        },
    }
}
