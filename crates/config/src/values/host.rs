//! Addresses and DNS names to advertise.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::error::Fault;
use crate::value::{Scalar, quoted, wrong_value};

/// An IPv4 address, or a DNS name that has one.
///
/// Only the reply to PASV holds an address, and it can hold IPv4 alone (RFC 959 section 4.1.2); the one to EPSV has a
/// port only, and the client takes the address of its control connection (RFC 2428 section 3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// Fixed.
    Address(Ipv4Addr),
    /// Looked up again and again while the server runs.
    Name(HostName),
}

/// A DNS name: labels of letters, digits, `-` and `_`, of which the last is not a number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name, without a dot at the end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A last label of digits is a mistyped address, and no top-level domain (RFC 3696 section 2).
        let last = name.rsplit('.').next()?;
        let is_name = name.len() <= 253
            && name.split('.').all(is_label)
            && !last.bytes().all(|byte| byte.is_ascii_digit());
        is_name.then(|| Self(name.to_owned()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

impl FromStr for Host {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Scalar::from_text(text)
    }
}

impl Scalar for Host {
    fn expected() -> String {
        String::from("an IPv4 address or a DNS name, such as \"203.0.113.7\" or \"ftp.example.org\"")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse() {
            Ok(IpAddr::V4(address)) => Self::from_address(address),
            Ok(IpAddr::V6(address)) => Err(wrong_value(
                format!(
                    "{address} cannot be told to a client: PASV answers with IPv4, and EPSV with a port alone"
                ),
                "name an IPv4 address, or nothing",
            )),
            Err(_) => HostName::parse(text).map(Self::Name).ok_or_else(|| {
                wrong_value(
                    format!("\"{text}\" is neither an address nor a DNS name"),
                    format!("write {}", <Self as Scalar>::expected()),
                )
            }),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Host {
    /// What no client can connect to is refused.
    fn from_address(address: Ipv4Addr) -> Result<Self, Fault> {
        if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
            let mend = "name the address that clients reach this server by";
            return Err(wrong_value(format!("no client can connect to {address}"), mend));
        }
        Ok(Self::Address(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_told_apart() {
        assert_eq!("203.0.113.7".parse(), Ok(Host::Address(Ipv4Addr::new(203, 0, 113, 7))));
        for name in ["ftp.example.org", "localhost", "a_b.example", "xn--bcher-kva.example", "1.example."] {
            assert!(matches!(name.parse(), Ok(Host::Name(_))), "{name}");
        }
    }

    #[test]
    fn what_nobody_can_reach_is_refused() {
        let long = "a".repeat(64);
        for wrong in [
            "",
            ".",
            "300.1.2.3",
            "1.2.3",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "a..b",
            "-a",
            "a b",
            &long,
        ] {
            assert!(wrong.parse::<Host>().is_err(), "{wrong}");
        }
    }
}
