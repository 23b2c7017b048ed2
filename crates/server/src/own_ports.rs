//! The ports that the server itself listens on: a client of the same machine could otherwise have the server connect to itself,
//! and take its own data for commands or for somebody's upload.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use nix::errno::Errno;

/// Every port of the server's.
#[derive(Debug)]
pub(crate) struct OwnPorts {
    /// Where control and data connections come in.
    hosts: Box<[IpAddr]>,
    /// Upwards; each is listened on at all of `hosts`.
    control_ports: Box<[u16]>,
    /// The same of the passive ports.
    passive_ports: Box<[u16]>,
    /// The port of the metrics, which may be at another address.
    metrics_port: Option<u16>,
}

impl OwnPorts {
    pub(crate) fn new(
        hosts: impl IntoIterator<Item = IpAddr>,
        control_ports: impl IntoIterator<Item = u16>,
        passive_ports: impl IntoIterator<Item = u16>,
        metrics_port: Option<u16>,
    ) -> Self {
        Self {
            hosts: hosts.into_iter().collect(),
            control_ports: upwards(control_ports),
            passive_ports: upwards(passive_ports),
            metrics_port,
        }
    }

    /// Whether `address` is this server. A client elsewhere may listen on a port of the same number, and so may one at another
    /// address of this machine, unless the server listens on all of them.
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.takes_commands_at(address) || self.listens_at(&self.passive_ports, address)
    }

    /// Whether `address` is this server, and what comes there would be taken for commands or requests.
    pub(crate) fn takes_commands_at(&self, address: SocketAddr) -> bool {
        if self.metrics_port == Some(address.port()) {
            return may_be_of_this_machine(address.ip().to_canonical());
        }
        self.listens_at(&self.control_ports, address)
    }

    fn listens_at(&self, ports: &[u16], address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        ports.binary_search(&address.port()).is_ok()
            && (self.hosts.iter().any(|host| host.to_canonical() == ip)
                || (self.hosts.iter().any(IpAddr::is_unspecified) && may_be_of_this_machine(ip)))
    }
}

fn upwards(ports: impl IntoIterator<Item = u16>) -> Box<[u16]> {
    let mut ports: Vec<u16> = ports.into_iter().collect();
    ports.sort_unstable();
    ports.dedup();
    ports.into()
}

/// Only an address of this machine can be bound. No port of it is taken, and nothing is waited for. Where the kernel says
/// neither, for want of descriptors, or because a link is not named, the address is better taken for one.
fn may_be_of_this_machine(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    let is_elsewhere = bound.is_err_and(|error| {
        let errno = error.raw_os_error().map(Errno::from_raw);
        matches!(errno, Some(Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT))
    });
    !is_elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_the_same_number_elsewhere_is_another() {
        let everywhere = [IpAddr::from([0, 0, 0, 0, 0, 0, 0, 0])];
        let own = OwnPorts::new(everywhere, [2121, 21, 2121], [50_001, 50_000], None);
        for address in ["127.0.0.1:2121", "127.9.8.7:50000", "[::1]:50001"] {
            assert!(own.contains(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1:2122", "192.0.2.1:2121", "[2001:db8::1]:50000"] {
            assert!(!own.contains(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn only_what_is_listened_on_is_the_server() {
        let own = OwnPorts::new([IpAddr::from([127, 0, 0, 1])], [2121], [50_000], Some(9100));
        for address in ["127.0.0.1:2121", "[::ffff:127.0.0.1]:50000", "127.0.0.1:9100", "127.9.8.7:9100"] {
            assert!(own.contains(address.parse().unwrap()), "{address}");
        }
        assert!(own.takes_commands_at("127.0.0.1:2121".parse().unwrap()));
        assert!(own.takes_commands_at("127.0.0.1:9100".parse().unwrap()));
        assert!(!own.takes_commands_at("127.0.0.1:50000".parse().unwrap()));
        for address in ["127.9.8.7:2121", "127.9.8.7:50000", "192.0.2.1:9100"] {
            assert!(!own.contains(address.parse().unwrap()), "{address}");
        }
    }
}
