//! What a client's line asks for, as far as the tunnel is concerned.

use std::net::{IpAddr, SocketAddr};

use protocol::command::{self, Command, Eprt, Epsv};
use protocol::line::{Frame, LINE_BYTES_MAX, LineSplitter};
use protocol::reply::{Code, Reply};

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// It goes on as it is, and has a reply.
    Other,
    /// It goes on as it is, and its reply ends a transfer.
    Transfer,
    /// It goes on as it is, and the reply names an address.
    Pasv,
    /// It goes on without its argument, and the reply names a port. The argument names the family between the client
    /// and the tunnel, which need not be the one between the SSH host and the server.
    Epsv,
    /// The client listens at this address, which is to be replaced.
    Active {
        /// Where the client listens.
        address: SocketAddr,
        /// Whether it said so by `EPRT`.
        extended: bool,
    },
    /// The tunnel answers itself.
    Refuse(Reply),
}

const PASV_NEEDS_IPV4: Reply = Reply::fixed(Code::new(425), "PASV can name IPv4 addresses only; use EPSV.");
const FOREIGN_ADDRESS: Reply =
    Reply::fixed(Code::new(504), "The tunnel makes data connections to the client's own address only.");
const ENCRYPTED_ALREADY: Reply = Reply::fixed(
    Code::new(502),
    "The tunnel has to read this connection, which SSH encrypts already; TLS is not offered.",
);

impl Request {
    /// Reads a line, its end included, of a client at `client` that reached the tunnel at `local`.
    pub(crate) fn read(line: &[u8], client: IpAddr, local: IpAddr) -> Self {
        let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
        let Some(Frame::Line(line)) = splitter.next(&mut &*line) else { return Self::Other };
        // What the tunnel does not know may be known to the server.
        let Ok(command) = command::parse(line) else { return Self::Other };
        match command {
            Command::Pasv if local.is_ipv6() => Self::Refuse(PASV_NEEDS_IPV4),
            Command::Pasv => Self::Pasv,
            Command::Epsv(Epsv::SameFamily | Epsv::Ipv4 | Epsv::Ipv6) => Self::Epsv,
            Command::Port(address) => Self::active(address, false, client),
            Command::Eprt(Eprt::Address(address)) => Self::active(address, true, client),
            Command::Retr(_)
            | Command::Stor(_)
            | Command::Stou(_)
            | Command::Appe(_)
            | Command::List(_)
            | Command::Nlst(_)
            | Command::Mlsd(_) => Self::Transfer,
            Command::NotOffered(verb) if verb.as_str() == "AUTH" => Self::Refuse(ENCRYPTED_ALREADY),
            _ => Self::Other,
        }
    }

    /// Another host than the client would be one that the tunnel attacks for it (RFC 2577 section 3).
    fn active(address: SocketAddr, extended: bool, client: IpAddr) -> Self {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if address.ip() == client {
            Self::Active { address, extended }
        } else {
            Self::Refuse(FOREIGN_ADDRESS)
        }
    }
}

/// The command that tells the server of the address where the SSH host listens: by the verb that the client used, unless that
/// cannot name it.
pub(crate) fn active_command(address: SocketAddr, extended: bool) -> Vec<u8> {
    let command = if extended || address.is_ipv6() {
        Command::Eprt(Eprt::Address(address))
    } else {
        Command::Port(address)
    };
    let mut line = Vec::new();
    command.encode(&mut line);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn read(line: &[u8]) -> Request {
        Request::read(line, CLIENT, CLIENT)
    }

    #[test]
    fn what_sets_up_data_connections_is_seen_in_any_spelling() {
        let address = "127.0.0.1:1025".parse().unwrap();
        for (line, expected) in [
            (&b"PASV\r\n"[..], Request::Pasv),
            (b"pasv\n", Request::Pasv),
            (b"EPSV\r\n", Request::Epsv),
            (b"epsv 1\r\n", Request::Epsv),
            (b"EPSV ALL\r\n", Request::Other),
            (b"EPSV 9\r\n", Request::Other),
            (b"PORT 127,0,0,1,4,1\r\n", Request::Active { address, extended: false }),
            (b"EPRT |1|127.0.0.1|1025|\r\n", Request::Active { address, extended: true }),
            (b"EPRT |2|::ffff:127.0.0.1|1025|\r\n", Request::Active { address, extended: true }),
            (b"EPRT |3|x|1025|\r\n", Request::Other),
            (b"PORT 127,0,0,1,4\r\n", Request::Other),
            (b"PORT 127,0,0,2,4,1\r\n", Request::Refuse(FOREIGN_ADDRESS)),
            (b"EPRT |2|::1|1025|\r\n", Request::Refuse(FOREIGN_ADDRESS)),
            (b"RETR \xff\xfe\r\n", Request::Transfer),
            (b"LIST\r\n", Request::Transfer),
            (b"STAT /\r\n", Request::Other),
            (b"AUTH TLS\r\n", Request::Refuse(ENCRYPTED_ALREADY)),
            (b"\xff\xf4\xff\xf2ABOR\r\n", Request::Other),
            (b"\r\n", Request::Other),
            (b"\x00\x01\n", Request::Other),
        ] {
            assert_eq!(read(line), expected, "{}", line.escape_ascii());
        }
        let ipv6 = "::1".parse().unwrap();
        assert_eq!(Request::read(b"PASV\r\n", ipv6, ipv6), Request::Refuse(PASV_NEEDS_IPV4));
    }

    #[test]
    fn the_servers_family_decides_where_the_clients_verb_cannot() {
        let (ipv4, ipv6) = ("127.0.0.1:1025".parse().unwrap(), "[::1]:1025".parse().unwrap());
        assert_eq!(active_command(ipv4, false), b"PORT 127,0,0,1,4,1\r\n");
        assert_eq!(active_command(ipv4, true), b"EPRT |1|127.0.0.1|1025|\r\n");
        assert_eq!(active_command(ipv6, false), b"EPRT |2|::1|1025|\r\n");
        assert_eq!(active_command(ipv6, true), b"EPRT |2|::1|1025|\r\n");
    }
}
