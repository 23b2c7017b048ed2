//! The addresses and ports of the laboratory, as on the map in [`super::world`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The control ports that every server listens on: the one of FTP, and one that no router knows as FTP's.
pub(crate) const CONTROL_PORTS: [u16; 2] = [21, 2121];

/// The passive ports of every server: few, for they are shared.
pub(crate) const PASSIVE_LOW: u16 = 50000;
/// The last of them.
pub(crate) const PASSIVE_HIGH: u16 = 50003;

/// What a router that moves the range adds to a passive port when it publishes it.
pub(crate) const PORT_OFFSET: i32 = -10000;

/// The client that is on the internet itself.
pub(crate) const DIRECT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 20);

/// The server that is on the internet itself.
pub(crate) const OPEN: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 40);
/// The same server, by IPv6.
pub(crate) const OPEN_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0x40);
/// The same server, for machines on the same link.
pub(crate) const OPEN_ON_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x40);

/// Another server on the internet.
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 41);

/// The router of the server's site, as the internet sees it.
pub(crate) const SITE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 30);
/// What that router is given when its address changes.
pub(crate) const SITE_LATER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 31);
/// The same router, from inside.
pub(crate) const SITE_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 1);
/// The server of the site.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 2);

/// The name that the site advertises itself by.
pub(crate) const SITE_NAME: &str = "ftp.lab.test";

/// How a host stands in a URL.
pub(crate) fn in_url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
