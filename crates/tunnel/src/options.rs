//! What a tunnel is told when it starts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The port of FTP's control connections (RFC 959 section 5.2).
const CONTROL_PORT: u16 = 21;

/// Between which ends a tunnel goes, and how.
#[derive(Debug, Clone)]
pub struct TunnelOptions {
    /// The SSH host, as on the command line of `ssh`: a name of its configuration, `user@host`, or a host.
    pub ssh_host: String,
    /// Options for `ssh`, each as in `ssh -o OPTION`: `Port=2222`. They stand before the tunnel's own, and so win.
    pub ssh_options: Vec<String>,
    /// The program to run as `ssh`.
    pub ssh_program: PathBuf,
    /// Where clients connect to. Port 0 takes a free port.
    pub listen: SocketAddr,
    /// The FTP server, as the SSH host reaches it.
    pub server: ServerAddress,
    /// The address of the SSH host from which the FTP server sees the tunnel's control connections, and to which it makes
    /// active data connections. Without it, it is the loopback address if [`TunnelOptions::server`] is that of the
    /// SSH host itself, and `PORT` and `EPRT` are refused otherwise.
    pub ssh_address: Option<IpAddr>,
    /// Where passive data connections go.
    pub passive_target: PassiveTarget,
}

impl TunnelOptions {
    /// A tunnel through `ssh_host` to `server`, the rest as usual.
    pub fn new(ssh_host: impl Into<String>, listen: SocketAddr, server: ServerAddress) -> Self {
        Self {
            ssh_host: ssh_host.into(),
            ssh_options: Vec::new(),
            ssh_program: PathBuf::from("ssh"),
            listen,
            server,
            ssh_address: None,
            passive_target: PassiveTarget::default(),
        }
    }

    /// The address that active data connections are made to, if it is known.
    pub(crate) fn active_address(&self) -> Option<IpAddr> {
        self.ssh_address.or_else(|| self.server.loopback()).map(|address| address.to_canonical())
    }
}

/// Where passive data connections go after `PASV`; those of `EPSV`, whose reply names no address, always go to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PassiveTarget {
    /// To the server, as [`TunnelOptions::server`] names it. A server behind an address translator names its outer address
    /// in the reply to `PASV`, and what comes to that from the SSH host is often lost, or comes from another address
    /// than the control connection.
    #[default]
    Server,
    /// To the address that the reply names, for servers whose data connections have an address of their own.
    Named,
}

/// An FTP server: a host, as the SSH host knows it, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// A text that does not name an FTP server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected ftp://HOST or ftp://HOST:PORT, an IPv6 address in brackets")]
pub struct InvalidServer;

impl ServerAddress {
    /// The host: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of control connections.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address that this host has for itself, if the name says that it is the SSH host itself.
    fn loopback(&self) -> Option<IpAddr> {
        if self.host.eq_ignore_ascii_case("localhost") {
            return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        self.host.parse().ok().filter(IpAddr::is_loopback)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, self.port);
        if host.contains(':') {
            write!(formatter, "[{host}]:{port}")
        } else {
            write!(formatter, "{host}:{port}")
        }
    }
}

impl FromStr for ServerAddress {
    type Err = InvalidServer;

    fn from_str(text: &str) -> Result<Self, InvalidServer> {
        let authority = text.strip_prefix("ftp://").ok_or(InvalidServer)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, rest) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let (host, rest) = bracketed.split_once(']').ok_or(InvalidServer)?;
                host.parse::<Ipv6Addr>().map_err(|_| InvalidServer)?;
                (host, rest)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or(InvalidServer)?,
            None if rest.is_empty() => CONTROL_PORT,
            None => return Err(InvalidServer),
        };
        // The host becomes part of a forwarding's specification, which these signs would cut up.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(is_plain) {
            return Err(InvalidServer);
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (text, shown) in [
            ("ftp://server", "server:21"),
            ("ftp://server:2121", "server:2121"),
            ("ftp://server:2121/", "server:2121"),
            ("ftp://192.0.2.1", "192.0.2.1:21"),
            ("ftp://[2001:db8::1]", "[2001:db8::1]:21"),
            ("ftp://[::1]:2121", "[::1]:2121"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), shown, "{text}");
        }
        for bad in [
            "",
            "server",
            "ftp://",
            "http://server",
            "ftps://server",
            "ftp://:21",
            "ftp://server:0",
            "ftp://server:65536",
            "ftp://server:ftp",
            "ftp://server/file",
            "ftp://user@server",
            "ftp://::1",
            "ftp://[::1",
            "ftp://[server]",
            "ftp://[::1]2121",
            "ftp://a b",
            "ftp://server:21:21",
        ] {
            assert_eq!(bad.parse::<ServerAddress>(), Err(InvalidServer), "{bad}");
        }
    }

    #[test]
    fn the_active_address_is_loopback_only_for_the_ssh_host_itself() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        for (server, expected) in [
            ("ftp://localhost", Some("127.0.0.1")),
            ("ftp://127.0.0.2:2121", Some("127.0.0.2")),
            ("ftp://[::1]", Some("::1")),
            ("ftp://192.0.2.1", None),
            ("ftp://server", None),
        ] {
            let mut options = TunnelOptions::new("host", listen, server.parse().unwrap());
            assert_eq!(options.active_address(), expected.map(|text| text.parse().unwrap()), "{server}");
            options.ssh_address = Some(IpAddr::from([192, 0, 2, 9]));
            assert_eq!(options.active_address(), options.ssh_address, "{server}");
        }
    }
}
