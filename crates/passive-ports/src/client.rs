//! The address that a lease is for, in one canonical form.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A client's address: one half of the key of a lease, the port being the other.
///
/// An IPv4 address and its IPv4-mapped IPv6 form (`::ffff:192.0.2.1`, what a dual-stack listener reports) are
/// the same client. Any other IPv6 address is a client of its own, all 128 bits of it: a host that connects
/// twice to one address picks the same source address twice, and two hosts of one /64 must not get each
/// other's data. Translated forms (NAT64, 6to4) are native here, for that is what both connections show. A
/// link-local address counts without its scope.
///
/// Where the policy for data peers is wider than the exact address, both sides use the wider key: lease for
/// and arrive as [`ClientAddress::network`], or as one agreed address that stands for a list of proxies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientAddress {
    /// The address as IPv6, IPv4 being mapped.
    bits: u128,
}

/// The bits of an IPv4-mapped address that stand before the IPv4 address.
const MAPPED_PREFIX_BITS: u32 = 96;

impl ClientAddress {
    /// The address in its canonical form: IPv4 where it is IPv4-mapped.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(self.bits)).to_canonical()
    }

    /// The network that the client is in, as the key for all its hosts: the first `ipv4_prefix_bits` (0 to 32)
    /// or `ipv6_prefix_bits` (0 to 128) of the address, the rest zero. Longer prefixes mean the whole address.
    #[must_use]
    pub fn network(self, ipv4_prefix_bits: u8, ipv6_prefix_bits: u8) -> ClientAddress {
        let prefix_bits = match self.ip() {
            IpAddr::V4(_) => MAPPED_PREFIX_BITS + u32::from(ipv4_prefix_bits),
            IpAddr::V6(_) => u32::from(ipv6_prefix_bits),
        };
        let host_bits = u128::BITS.saturating_sub(prefix_bits);
        // A shift by all 128 bits has no value of its own: the mask is then empty.
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        ClientAddress { bits: self.bits & mask }
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> ClientAddress {
        let bits = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => address.to_bits(),
        };
        ClientAddress { bits }
    }
}

impl From<SocketAddr> for ClientAddress {
    fn from(address: SocketAddr) -> ClientAddress {
        address.ip().into()
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAddress({})", self.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        ClientAddress::from(text.parse::<IpAddr>().unwrap())
    }

    #[test]
    fn a_mapped_address_is_the_same_client() {
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_eq!(client("::ffff:192.0.2.1").to_string(), "192.0.2.1");
    }

    #[test]
    fn other_embeddings_of_ipv4_are_other_clients() {
        for other in ["::192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201::"] {
            assert_ne!(client("192.0.2.1"), client(other), "{other}");
        }
    }

    #[test]
    fn ipv6_counts_to_the_last_bit() {
        assert_ne!(client("2001:db8::1"), client("2001:db8::2"));
    }

    #[test]
    fn a_network_is_one_key_for_its_hosts() {
        assert_eq!(client("192.0.2.1").network(24, 64), client("192.0.2.0"));
        assert_eq!(client("::ffff:192.0.2.77").network(24, 64), client("192.0.2.0"));
        assert_eq!(client("2001:db8:0:1:a::1").network(24, 64), client("2001:db8:0:1::"));
        assert_eq!(client("192.0.2.1").network(32, 128), client("192.0.2.1"));
        assert_eq!(client("192.0.2.1").network(255, 255), client("192.0.2.1"));
        assert_eq!(client("203.0.113.9").network(0, 0), client("0.0.0.0"));
        assert_eq!(client("2001:db8::1").network(0, 0), client("::"));
    }
}
