//! Connecting from a chosen address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use runtime::{ConnectOptions, Stream};
use socket2::SockRef;

/// Connects to `peer`, from `source` if there is one.
///
/// The local port is chosen for the pair of addresses: so a port serves many peers at once, and the ports of a source address
/// run out only with its pairs.
///
/// # Errors
///
/// What socket(2), bind(2) and connect(2) say.
pub(crate) async fn connect(peer: SocketAddr, source: Option<IpAddr>) -> io::Result<Stream> {
    let local = source.map(|source| SocketAddr::new(source, 0));
    let stream = runtime::connect(peer, ConnectOptions { local, share_port: false }).await?;
    SockRef::from(stream.source()).set_tcp_nodelay(true)?;
    Ok(stream)
}
