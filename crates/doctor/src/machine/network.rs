//! The addresses of this machine, the ports that the kernel gives away, and the addresses of names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::ops::RangeInclusive;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::address::Reach;

/// The addresses of interfaces that are up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether sockets of IPv6 can be bound at all: containers are often without.
    pub(crate) has_ipv6: bool,
}

impl Network {
    pub(super) fn look() -> Self {
        let up = |flags: InterfaceFlags| flags.contains(InterfaceFlags::IFF_UP);
        let interfaces = getifaddrs().into_iter().flatten().filter(|interface| up(interface.flags));
        let addresses = interfaces.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok();
        Self { addresses: addresses.collect(), has_ipv6 }
    }

    /// The IPv4 addresses by which other machines may reach `listener`.
    pub(crate) fn v4_reached_by(&self, listener: IpAddr) -> Vec<Ipv4Addr> {
        let own = self.addresses.iter().filter_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let reachable = |address: &Ipv4Addr| {
            matches!(Reach::of_v4(*address), Reach::Public | Reach::Private | Reach::LinkLocal)
        };
        match listener.to_canonical() {
            IpAddr::V4(address) if !address.is_unspecified() => {
                vec![address].into_iter().filter(reachable).collect()
            }
            IpAddr::V6(address) if !address.is_unspecified() => Vec::new(),
            _ => own.filter(reachable).collect(),
        }
    }
}

/// The ports that outgoing connections get, and those of them that are kept back: `ip_local_port_range` and
/// `ip_local_reserved_ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ephemeral {
    pub(crate) range: RangeInclusive<u16>,
    pub(crate) reserved: Vec<RangeInclusive<u16>>,
}

impl Ephemeral {
    pub(super) fn look() -> Option<Self> {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let reserved =
            std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
        Self::parse(&range, &reserved)
    }

    fn parse(range: &str, reserved: &str) -> Option<Self> {
        let mut bounds = range.split_whitespace().map_while(|bound| bound.parse().ok());
        let range = bounds.next()?..=bounds.next()?;
        let reserved = reserved.trim().split(',').filter_map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            Some(low.parse().ok()?..=high.parse().ok()?)
        });
        Some(Self { range, reserved: reserved.collect() })
    }

    /// Whether an outgoing connection may be given `port`.
    pub(crate) fn gives_away(&self, port: u16) -> bool {
        self.range.contains(&port) && !self.reserved.iter().any(|reserved| reserved.contains(&port))
    }
}

/// What a name was found to be.
pub(crate) type Resolved = io::Result<Vec<IpAddr>>;

/// Asks the system's resolver for the addresses of `name`, and gives up after `timeout`: the resolver itself may take much longer.
pub(crate) fn resolve(name: &str, timeout: Duration) -> Resolved {
    let (told, wait) = mpsc::channel();
    let asked = name.to_owned();
    thread::spawn(move || {
        let found = (asked.as_str(), 0).to_socket_addrs();
        // The receiver may have given up.
        let _ = told.send(found.map(|found| found.map(|address: SocketAddr| address.ip()).collect()));
    });
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, "the resolver did not answer"));
    let mut found: Vec<IpAddr> = wait.recv_timeout(timeout).unwrap_or_else(|_| late())?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_its_loopback() {
        assert!(Network::look().addresses.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn a_listener_is_reached_by_what_it_listens_on() {
        let addresses = ["127.0.0.1", "10.0.0.5", "fd00::2", "203.0.113.9"];
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let network = Network { addresses, has_ipv6: true };
        let reached = |listener: &str| -> Vec<String> {
            network.v4_reached_by(listener.parse().unwrap()).iter().map(Ipv4Addr::to_string).collect()
        };
        assert_eq!(reached("::"), ["10.0.0.5", "203.0.113.9"]);
        assert_eq!(reached("0.0.0.0"), ["10.0.0.5", "203.0.113.9"]);
        assert_eq!(reached("10.0.0.5"), ["10.0.0.5"]);
        assert!(reached("127.0.0.1").is_empty() && reached("fd00::2").is_empty());
    }

    #[test]
    fn reserved_ports_are_not_given_away() {
        let ephemeral = Ephemeral::parse("32768\t60999\n", "8080,50000-50015\n").unwrap();
        assert!(ephemeral.gives_away(49999) && !ephemeral.gives_away(50000) && !ephemeral.gives_away(50015));
        assert!(!ephemeral.gives_away(61000));
        assert!(Ephemeral::parse("32768\t60999\n", "\n").unwrap().reserved.is_empty());
        assert_eq!(Ephemeral::parse("", ""), None);
    }

    #[test]
    fn names_resolve_or_fail_in_time() {
        let found = resolve("localhost", Duration::from_secs(10)).unwrap();
        assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty());
        assert!(resolve("name.invalid", Duration::from_secs(10)).is_err());
    }
}
