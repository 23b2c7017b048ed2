//! The ports that the server itself listens on: a client of the same machine could otherwise have the server connect to itself,
//! and take its own data for commands or for somebody's upload.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Every port of the server's.
#[derive(Debug)]
pub(crate) struct OwnPorts {
    /// Upwards.
    ports: Box<[u16]>,
}

impl OwnPorts {
    pub(crate) fn new(ports: impl IntoIterator<Item = u16>) -> Self {
        let mut ports: Vec<u16> = ports.into_iter().collect();
        ports.sort_unstable();
        ports.dedup();
        Self { ports: ports.into() }
    }

    /// Whether `address` is this server. A client elsewhere may listen on a port of the same number.
    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.ports.binary_search(&address.port()).is_ok() && is_of_this_machine(address.ip())
    }
}

/// Only an address of this machine can be bound. No port of it is taken, and nothing is waited for.
fn is_of_this_machine(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_of_the_same_number_elsewhere_is_another() {
        let own = OwnPorts::new([2121, 50_001, 50_000, 2121]);
        for address in ["127.0.0.1:2121", "127.9.8.7:50000", "[::1]:50001"] {
            assert!(own.contains(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1:2122", "192.0.2.1:2121", "[2001:db8::1]:50000"] {
            assert!(!own.contains(address.parse().unwrap()), "{address}");
        }
    }
}
