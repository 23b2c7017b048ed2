//! What the server will bind.

use std::net::{IpAddr, SocketAddr};

use config::Config;

use crate::address::Reach;
use crate::machine::Network;

/// The addresses that a server with this configuration binds on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Of control connections, in the order of the configuration.
    pub(super) control: Vec<SocketAddr>,
    /// Those on which every passive port is bound; their ports mean nothing.
    pub(super) passive: Vec<IpAddr>,
    /// Whether other machines can reach one of them.
    pub(super) reached_from_outside: bool,
    /// The passive ports as clients are told them, for firewalls and for publishing; `None` if the kernel picks them.
    pub(super) told_ports: Option<(u16, u16)>,
}

impl Plan {
    pub(super) fn of(config: &Config, network: &Network) -> Self {
        let usable = |address: SocketAddr| match address {
            SocketAddr::V6(v6) if v6.ip().is_unspecified() && !network.has_ipv6 => {
                SocketAddr::from(([0, 0, 0, 0], v6.port()))
            }
            address => address,
        };
        let control: Vec<SocketAddr> =
            config.listeners.iter().map(|listener| usable(listener.address)).collect();
        let told = |port: u16| u16::try_from(i32::from(port) + config.passive.port_offset).unwrap_or(port);
        Self {
            passive: passive_hosts(&control),
            reached_from_outside: control.iter().any(|address| Reach::of(address.ip()) != Reach::Loopback),
            told_ports: config.passive.ports.map(|range| (told(range.low()), told(range.high()))),
            control,
        }
    }

    /// Whether a socket on `address` is to take IPv6 alone: `[::]` takes IPv4 too, except beside `0.0.0.0`.
    pub(super) fn only_v6(&self, address: IpAddr) -> bool {
        let has_wide_v4 = self.control.iter().any(|other| other.is_ipv4() && other.ip().is_unspecified());
        !address.is_unspecified() || has_wide_v4
    }

    /// The ports to open, as `50000-50015`.
    pub(super) fn told_range(&self) -> Option<String> {
        self.told_ports.map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") })
    }
}

/// Each address once, and none that an unspecified one covers.
fn passive_hosts(control: &[SocketAddr]) -> Vec<IpAddr> {
    let covers = |wide: IpAddr, narrow: IpAddr| {
        wide.is_unspecified() && !narrow.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
    };
    let mut hosts = Vec::new();
    for address in control.iter().map(SocketAddr::ip) {
        if !hosts.contains(&address) && !control.iter().any(|other| covers(other.ip(), address)) {
            hosts.push(address);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::Listener;

    fn plan(listeners: &[&str], has_ipv6: bool) -> Plan {
        let listeners = listeners.iter().map(|address| Listener::at(address.parse().unwrap())).collect();
        let mut config = Config { listeners, ..Config::default() };
        config.passive.ports = Some("50000-50015".parse().unwrap());
        config.passive.port_offset = 1000;
        Plan::of(&config, &Network { addresses: Vec::new(), has_ipv6 })
    }

    #[test]
    fn passive_ports_are_bound_where_clients_come_in() {
        let hosts = |listeners: &[&str]| -> Vec<String> {
            plan(listeners, true).passive.iter().map(IpAddr::to_string).collect()
        };
        assert_eq!(hosts(&["[::]:2121", "127.0.0.1:21"]), ["::"]);
        assert_eq!(hosts(&["127.0.0.1:21", "127.0.0.1:2121", "10.0.0.1:21"]), ["127.0.0.1", "10.0.0.1"]);
        assert_eq!(hosts(&["0.0.0.0:21", "[::]:21"]), ["0.0.0.0", "::"]);
    }

    #[test]
    fn without_ipv6_every_address_is_every_ipv4_address() {
        assert_eq!(plan(&["[::]:2121"], false).control, ["0.0.0.0:2121".parse().unwrap()]);
        assert!(!plan(&["[::]:21"], true).only_v6("::".parse().unwrap()));
        assert!(plan(&["[::]:21", "0.0.0.0:21"], true).only_v6("::".parse().unwrap()));
    }

    #[test]
    fn the_loopback_is_not_outside() {
        assert!(!plan(&["127.0.0.1:21", "[::1]:21"], true).reached_from_outside);
        assert!(plan(&["127.0.0.1:21", "[::]:21"], true).reached_from_outside);
        assert_eq!(plan(&["[::]:21"], true).told_range().as_deref(), Some("51000-51015"));
    }
}
