//! Networks, as address and prefix length.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::error::Fault;
use crate::value::{Scalar, quoted, wrong_value};

/// A network such as `10.0.0.0/8` or `2001:db8::/32`; a lone address is the network of it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` is in it. An IPv4 address that an IPv6 socket shows as `::ffff:a.b.c.d` is that IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Whether every address of `other` is in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for Network {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Scalar::from_text(text)
    }
}

impl Scalar for Network {
    fn expected() -> String {
        String::from("a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
            wrong_value(
                format!("\"{text}\" is no network"),
                format!("write {}", <Self as Scalar>::expected()),
            )
        })?;
        let trunc = network.trunc();
        if trunc != network {
            let what = format!("{network} has bits set beyond its prefix");
            return Err(wrong_value(what, format!("write \"{trunc}\" or \"{}\"", network.addr())));
        }
        if let IpNet::V6(mapped) = network
            && let Some(ipv4) = mapped.addr().to_ipv4_mapped()
        {
            return Err(wrong_value(
                format!("{network} is IPv4 in the clothes of IPv6"),
                format!("write \"{ipv4}/{}\"", mapped.prefix_len().saturating_sub(96)),
            ));
        }
        Ok(Self(network))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_knows_its_addresses() {
        let private = network("10.0.0.0/8");
        assert!(private.contains("10.255.0.1".parse().unwrap()));
        assert!(private.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(!private.contains("11.0.0.1".parse().unwrap()));
        assert!(!private.contains("::1".parse().unwrap()));
        assert!(network("0.0.0.0/0").covers(&private));
        assert!(!network("::/0").covers(&private));
    }

    #[test]
    fn a_lone_address_is_a_network() {
        assert_eq!(network("192.0.2.1"), network("192.0.2.1/32"));
        assert_eq!(network("::1"), network("::1/128"));
    }

    #[test]
    fn slips_are_refused() {
        for wrong in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0", "", "example.org", "::ffff:10.0.0.0/104"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
