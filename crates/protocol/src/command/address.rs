//! Addresses of data connections, as commands and replies write them: `PORT` and 227 (RFC 959 section 5.3.2),
//! `EPRT` and 229 (RFC 2428).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

use super::words::{decimal, trim};
use super::{Eprt, Epsv};

/// `h1,h2,h3,h4,p1,p2`: exactly six numbers of 0 to 255. Port 0 is no port.
pub(super) fn parse_host_port(argument: &[u8]) -> Option<SocketAddrV4> {
    let mut numbers = [0_u8; 6];
    let mut fields = argument.split(|&byte| byte == b',');
    for number in &mut numbers {
        *number = decimal_byte(fields.next()?)?;
    }
    if fields.next().is_some() {
        return None;
    }
    let [h1, h2, h3, h4, p1, p2] = numbers;
    let port = u16::from_be_bytes([p1, p2]);
    (port != 0).then(|| SocketAddrV4::new(Ipv4Addr::new(h1, h2, h3, h4), port))
}

/// `<d>family<d>address<d>port<d>`, with any delimiter of 33 to 126. A zone id is refused with the rest of
/// what is no address: it would name an interface of the client. An IPv4-mapped address stays an IPv6 address
/// here.
pub(super) fn parse_eprt(argument: &[u8]) -> Option<Eprt> {
    let (&delimiter, fields) = trim(argument).split_first()?;
    if !(33..=126).contains(&delimiter) {
        return None;
    }
    let mut fields = fields.split(|&byte| byte == delimiter);
    let (family, address, port) = (fields.next()?, fields.next()?, fields.next()?);
    let closed = fields.next()?.is_empty() && fields.next().is_none();
    let (family, port) = (decimal(family)?, decimal_port(port)?);
    if !closed {
        return None;
    }
    let text = address_text(address);
    let at = |ip: IpAddr| Eprt::Address(SocketAddr::new(ip, port));
    Some(match family {
        1 => text.and_then(|text| text.parse::<Ipv4Addr>().ok()).map_or(Eprt::NotIpv4, |ip| at(ip.into())),
        2 => text.and_then(|text| text.parse::<Ipv6Addr>().ok()).map_or(Eprt::NotIpv6, |ip| at(ip.into())),
        _ => Eprt::UnknownFamily,
    })
}

/// Nothing, a number of a family, or `ALL`.
pub(super) fn parse_epsv(argument: Option<&[u8]>) -> Option<Epsv> {
    let argument = trim(argument.unwrap_or_default());
    if argument.is_empty() {
        return Some(Epsv::SameFamily);
    }
    if argument.eq_ignore_ascii_case(b"ALL") {
        return Some(Epsv::All);
    }
    Some(match decimal(argument)? {
        1 => Epsv::Ipv4,
        2 => Epsv::Ipv6,
        _ => Epsv::UnknownFamily,
    })
}

/// Finds the address in the text of a 227 reply, code left off: six numbers from the first digit on, with or
/// without parentheses (RFC 1123 section 4.1.2.6).
pub fn parse_passive_reply(text: &[u8]) -> Option<SocketAddrV4> {
    let start = text.iter().position(u8::is_ascii_digit)?;
    let length = text[start..].iter().position(|byte| !matches!(byte, b'0'..=b'9' | b','));
    let numbers = &text[start..start + length.unwrap_or(text.len() - start)];
    parse_host_port(numbers.strip_suffix(b",").unwrap_or(numbers))
}

/// Finds the port in the text of a 229 reply: `(<d><d><d>port<d>)` (RFC 2428 section 3).
pub fn parse_extended_passive_reply(text: &[u8]) -> Option<u16> {
    memchr::memchr_iter(b'(', text).find_map(|open| {
        let (&delimiter, rest) = text[open + 1..].split_first()?;
        let rest = rest.strip_prefix(&[delimiter, delimiter])?;
        let (port, rest) = rest.split_at(memchr::memchr(delimiter, rest)?);
        rest[1..].starts_with(b")").then(|| decimal_port(port))?
    })
}

fn decimal_byte(digits: &[u8]) -> Option<u8> {
    decimal(digits)?.try_into().ok()
}

fn decimal_port(digits: &[u8]) -> Option<u16> {
    decimal(digits)?.try_into().ok().filter(|&port| port != 0)
}

fn address_text(address: &[u8]) -> Option<&str> {
    str::from_utf8(address).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_ports() {
        let good = parse_host_port(b"192,168,0,1,4,1");
        assert_eq!(good, Some("192.168.0.1:1025".parse().unwrap()));
        assert_eq!(
            parse_host_port(b"255,255,255,255,255,255"),
            Some("255.255.255.255:65535".parse().unwrap())
        );
        for bad in [
            "",
            "127,0,0,1",
            "127,0,0,1,1",
            "127,0,0,1,1.1",
            "127,0,0,1,1,1,1",
            "127,0,0,1,1,1,",
            ",127,0,0,1,1,1",
            "256,0,0,1,1,1",
            "127,0,0,1,256,1",
            "127,0,0,1,-1,0",
            "127,0,0,1,+1,0",
            "127,0,0,1,,1",
            "127,0,0,1,0,0",
            "X,0,0,1,1,1",
            "127, 0,0,1,1,1",
            "18446744073709551617,0,0,1,1,1",
        ] {
            assert_eq!(parse_host_port(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn extended_ports() {
        for (text, address) in [
            ("|1|132.235.1.2|6275|", "132.235.1.2:6275"),
            ("|2|1080::8:800:200C:417A|5282|", "[1080::8:800:200C:417A]:5282"),
            ("!2!::1!65535!", "[::1]:65535"),
            ("|2|::ffff:10.0.0.1|1024|", "[::ffff:10.0.0.1]:1024"),
            (" |1|1.2.3.4|1| ", "1.2.3.4:1"),
        ] {
            let expected = Eprt::Address(address.parse().unwrap());
            assert_eq!(parse_eprt(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["|3|anything|1|", "|0|1.2.3.4|1|", "|99||1|"] {
            assert_eq!(parse_eprt(text.as_bytes()), Some(Eprt::UnknownFamily), "{text}");
        }
        for text in ["|1|1.2.3.4.5|2048|", "|1|1.2.3.256|2048|", "|1|::1|2048|"] {
            assert_eq!(parse_eprt(text.as_bytes()), Some(Eprt::NotIpv4), "{text}");
        }
        for text in ["|2|1.2.3.4|2048|", "|2|::foo|2048|", "|2|fe80::1%eth0|2048|", "|2|[::1]|2048|"] {
            assert_eq!(parse_eprt(text.as_bytes()), Some(Eprt::NotIpv6), "{text}");
        }
        for bad in [
            "",
            "|",
            "||",
            "||||",
            "|1|1.2.3.4|2048",
            "|1|1.2.3.4|2048|x",
            "|1|1.2.3.4|2048||",
            "|1|1.2.3.4|65536|",
            "|1|1.2.3.4|-1|",
            "|1|1.2.3.4|0|",
            "|1|1.2.3.4||",
            "|x|1.2.3.4|2048|",
            "|3|x|0|",
            "11|1.2.3.4|2048|",
            "\t1\t1.2.3.4\t2048\t",
            "\u{ff}1\u{ff}1.2.3.4\u{ff}2048\u{ff}",
        ] {
            assert_eq!(parse_eprt(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn extended_passive_arguments() {
        for (text, expected) in [
            (None, Some(Epsv::SameFamily)),
            (Some(" "), Some(Epsv::SameFamily)),
            (Some("1"), Some(Epsv::Ipv4)),
            (Some(" 2 "), Some(Epsv::Ipv6)),
            (Some("3"), Some(Epsv::UnknownFamily)),
            (Some("0"), Some(Epsv::UnknownFamily)),
            (Some("all"), Some(Epsv::All)),
            (Some("ALL "), Some(Epsv::All)),
            (Some("ALLX"), None),
            (Some("-1"), None),
            (Some("1 2"), None),
        ] {
            assert_eq!(parse_epsv(text.map(str::as_bytes)), expected, "{text:?}");
        }
    }

    #[test]
    fn passive_replies() {
        let expected = Some("10.0.0.1:1025".parse().unwrap());
        for text in [
            "Entering Passive Mode (10,0,0,1,4,1).",
            "Entering Passive Mode (10,0,0,1,4,1)",
            "=10,0,0,1,4,1",
            "Entering Passive Mode 10,0,0,1,4,1.",
            "Passive, 10,0,0,1,4,1, as asked",
        ] {
            assert_eq!(parse_passive_reply(text.as_bytes()), expected, "{text}");
        }
        for bad in [
            "",
            "Entering Passive Mode",
            "(10,0,0,1,4)",
            "(10,0,0,1,4,256)",
            "(10,0,0,1,4,1,7)",
            "7 (10,0,0,1,4,1)",
        ] {
            assert_eq!(parse_passive_reply(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn extended_passive_replies() {
        for (text, expected) in [
            ("Entering Extended Passive Mode (|||6446|)", Some(6446)),
            ("Entering (extended) mode (!!!65535!).", Some(65_535)),
            ("(|||0|)", None),
            ("(|||65536|)", None),
            ("(|||6446)", None),
            ("(||6446|)", None),
            ("(|||6446|", None),
            ("|||6446|", None),
            ("(", None),
            ("", None),
        ] {
            assert_eq!(parse_extended_passive_reply(text.as_bytes()), expected, "{text}");
        }
    }
}
