//! The PROXY protocol, versions 1 and 2: a load balancer in front tells for whom it connects.
//!
//! A listener that has it switched on believes listed proxies only, and takes nobody else: whoever could write the header
//! could be anybody.

use std::io;
use std::net::{IpAddr, SocketAddr};

use config::Network;
use ppp::{HeaderResult, PartialResult, v1, v2};
use runtime::Stream;

use crate::peers::contains;

/// The longest header that is taken: version 2 with some room for its extensions. Version 1 has at most 107 bytes.
const HEADER_BYTES_MAX: usize = 1024;

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the connection does not come from a listed proxy")]
    NotAProxy,
    #[error("no PROXY header came")]
    NoHeader(#[from] io::Error),
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is longer than {HEADER_BYTES_MAX} bytes")]
    TooLong,
}

/// Whom a connection is from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client, at this address, which reached the proxy at that one.
    Client { peer: SocketAddr, reached: SocketAddr },
    /// The proxy itself, as its health checks are.
    Proxy,
}

/// Reads the header of a connection from one of `proxies`, and gives with it what the client sent behind it.
pub(crate) async fn read_origin(
    stream: &Stream,
    proxies: &[Network],
) -> Result<(Origin, Vec<u8>), ProxyError> {
    if !contains(proxies, stream.peer().ip()) {
        return Err(ProxyError::NotAProxy);
    }
    let mut received = Vec::with_capacity(HEADER_BYTES_MAX);
    loop {
        match parse(&received) {
            Parsed::Whole { origin, length } => return Ok((origin, received.split_off(length))),
            Parsed::Malformed => return Err(ProxyError::Malformed),
            Parsed::Part if received.len() == HEADER_BYTES_MAX => return Err(ProxyError::TooLong),
            Parsed::Part => {}
        }
        let filled = received.len();
        received.resize(HEADER_BYTES_MAX, 0);
        let length = stream.receive(&mut received[filled..]).await?;
        if length == 0 {
            return Err(ProxyError::NoHeader(io::ErrorKind::UnexpectedEof.into()));
        }
        received.truncate(filled + length);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Whole { origin: Origin, length: usize },
    Part,
    Malformed,
}

/// A line of version 1 whose end is not there. The parser takes some of them for malformed, and a proxy may send the line in
/// pieces.
fn is_begun_line(bytes: &[u8]) -> bool {
    /// The longest line, its end included.
    const LINE_BYTES_MAX: usize = 107;
    let known = bytes.len().min(v1::PROTOCOL_PREFIX.len());
    bytes[..known] == v1::PROTOCOL_PREFIX.as_bytes()[..known]
        && bytes.len() < LINE_BYTES_MAX
        && !bytes.contains(&b'\n')
}

fn parse(bytes: &[u8]) -> Parsed {
    if is_begun_line(bytes) {
        return Parsed::Part;
    }
    let result = HeaderResult::parse(bytes);
    if result.is_incomplete() {
        return Parsed::Part;
    }
    match result {
        HeaderResult::V1(Ok(header)) => {
            Parsed::Whole { length: header.header.len(), origin: origin_v1(header.addresses) }
        }
        HeaderResult::V2(Ok(header)) => {
            let is_client = header.command == v2::Command::Proxy;
            let origin = if is_client { origin_v2(header.addresses) } else { Origin::Proxy };
            Parsed::Whole { length: header.len(), origin }
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Parsed::Malformed,
    }
}

fn client(peer: impl Into<IpAddr>, peer_port: u16, reached: impl Into<IpAddr>, reached_port: u16) -> Origin {
    Origin::Client {
        peer: SocketAddr::new(peer.into(), peer_port),
        reached: SocketAddr::new(reached.into(), reached_port),
    }
}

fn origin_v1(addresses: v1::Addresses) -> Origin {
    match addresses {
        v1::Addresses::Tcp4(of) => {
            client(of.source_address, of.source_port, of.destination_address, of.destination_port)
        }
        v1::Addresses::Tcp6(of) => {
            client(of.source_address, of.source_port, of.destination_address, of.destination_port)
        }
        v1::Addresses::Unknown => Origin::Proxy,
    }
}

fn origin_v2(addresses: v2::Addresses) -> Origin {
    match addresses {
        v2::Addresses::IPv4(of) => {
            client(of.source_address, of.source_port, of.destination_address, of.destination_port)
        }
        v2::Addresses::IPv6(of) => {
            client(of.source_address, of.source_port, of.destination_address, of.destination_port)
        }
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => Origin::Proxy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_tells_the_client() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 21\r\nUSER x\r\n";
        let Parsed::Whole { origin, length } = parse(line) else { panic!("not whole") };
        assert_eq!(length, line.len() - 8);
        let Origin::Client { peer, reached } = origin else { panic!("not a client") };
        assert_eq!(
            (peer.to_string(), reached.to_string()),
            ("192.0.2.7:40000".into(), "198.51.100.1:21".into())
        );
        for cut in 0..length {
            assert_eq!(parse(&line[..cut]), Parsed::Part, "cut at {cut}");
        }
        let six = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 21\r\n";
        assert!(matches!(parse(six), Parsed::Whole { origin: Origin::Client { .. }, .. }));
        assert!(matches!(parse(b"PROXY UNKNOWN\r\n"), Parsed::Whole { origin: Origin::Proxy, .. }));
    }

    #[test]
    fn version_2_tells_the_client() {
        let header = v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Proxy,
            v2::Protocol::Stream,
            (
                "192.0.2.7:40000".parse::<SocketAddr>().unwrap(),
                "198.51.100.1:21".parse::<SocketAddr>().unwrap(),
            ),
        )
        .build()
        .unwrap();
        let whole = [&header[..], b"USER x\r\n"].concat();
        let Parsed::Whole { origin, length } = parse(&whole) else { panic!("not whole") };
        assert_eq!(length, header.len());
        assert!(matches!(origin, Origin::Client { peer, .. } if peer.to_string() == "192.0.2.7:40000"));
        for cut in 1..header.len() {
            assert_eq!(parse(&header[..cut]), Parsed::Part, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(parse(b"USER anonymous\r\n"), Parsed::Malformed);
        assert_eq!(parse(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 99999\r\n"), Parsed::Malformed);
        assert_eq!(parse(b"PROXY TCP4 192.0.2.7"), Parsed::Part);
        assert_eq!(parse(&[b"PROXY TCP4 ", &[b'1'; 200][..]].concat()), Parsed::Malformed);
        assert_eq!(parse(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 21\n"), Parsed::Malformed);
    }
}
