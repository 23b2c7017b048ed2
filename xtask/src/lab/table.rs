//! The table: every situation, and what each way of bringing about a data connection has to come to in it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use crate::lab::balancer::Header;
use crate::lab::client::Way;
use crate::lab::firewall::{Helper, Published};
use crate::lab::plan::{CONTROL_PORTS, OPEN, OPEN_V6, SERVER, SITE, SITE_LATER};
use crate::lab::server::Settings;

/// What has to come of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A download and an upload, whole.
    Works,
    /// No transfer, and this reply.
    Refused(&'static str),
}

use Outcome::{Refused, Works};

/// The client names an address that is not its own as the server sees it: nobody translated it.
const FOREIGN: Outcome = Refused(FOREIGN_ADDRESS);
/// The reply to `PORT` and `EPRT` with such an address.
pub(crate) const FOREIGN_ADDRESS: &str = "501 Rejected data connection to foreign address: it must be that of the control connection; behind a translator use EPSV or PASV.";
/// The server's connection is not let through to the client.
const UNANSWERED: Outcome = Refused("425 Can't open data connection: the connection timed out.");
/// A 227 reply has no room for an IPv6 address.
const NO_PASV: Outcome = Refused("425 PASV needs IPv4; use EPSV.");
/// Nor has `PORT`.
const NO_PORT: Outcome = Refused("501 PORT needs IPv4; use EPRT.");

/// The machines that clients run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientAt {
    /// Behind a translator.
    Home,
    /// On the internet.
    Internet,
    /// Beside the server.
    Site,
}

/// The machines that servers run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerAt {
    /// On the internet.
    Internet,
    /// Behind a translator.
    Site,
}

/// A client and what it knows of the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(crate) at: ClientAt,
    /// The address that it types.
    pub(crate) host: IpAddr,
    /// The address that the reply to `PASV` has to name.
    pub(crate) told: Option<Ipv4Addr>,
}

/// A situation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    /// In words.
    pub(crate) title: &'static str,
    pub(crate) server_at: ServerAt,
    pub(crate) settings: Settings,
    pub(crate) helper: Helper,
    pub(crate) published: Published,
    /// Those who transfer, all at the same time.
    pub(crate) seats: &'static [Seat],
    /// Where the address of the server's site changes while it runs: who finds it under the new one.
    pub(crate) seats_later: &'static [Seat],
    /// For each control port: what comes of PASV, EPSV, PORT and EPRT.
    pub(crate) outcomes: [[Outcome; 4]; 2],
}

const fn seat(at: ClientAt, host: Ipv4Addr, told: Ipv4Addr) -> Seat {
    Seat { at, host: IpAddr::V4(host), told: Some(told) }
}

const fn seat_v6(at: ClientAt) -> Seat {
    Seat { at, host: IpAddr::V6(OPEN_V6), told: None }
}

/// A client on the internet and a server on the internet: what every other situation differs from.
const PLAIN: Situation = Situation {
    title: "no NAT",
    server_at: ServerAt::Internet,
    settings: Settings { flags: &[], config: "" },
    helper: Helper::None,
    published: Published::Everything,
    seats: &[seat(ClientAt::Internet, OPEN, OPEN)],
    seats_later: &[],
    outcomes: [[Works; 4]; 2],
};

/// A client on the internet and a server behind a translator.
const BEHIND: Situation =
    Situation { server_at: ServerAt::Site, seats: &[seat(ClientAt::Internet, SITE, SITE)], ..PLAIN };

/// Clients of the site reach the server itself, and so are told; all others the site's address.
const BY_NETWORK: &str = r#"
[passive]
advertise = [
    { networks = ["10.2.0.1/32"], address = "198.18.0.30" },
    { networks = ["10.2.0.0/24"], address = "10.2.0.2" },
    { address = "198.18.0.30" },
]
"#;

/// Behind a load balancer all connections are its own: who the client is stands in the header.
const BALANCED: &str = r#"
listeners = [
    { address = "[::]:21", proxy_protocol = "required", proxy_networks = ["10.2.0.1/32"] },
    { address = "[::]:2121", proxy_protocol = "required", proxy_networks = ["10.2.0.1/32"] },
]
[passive]
advertise = "198.18.0.30"
peer = "proxies"
peer_proxies = ["10.2.0.1/32"]
"#;

/// The rows of the table, once for each control port.
pub(crate) const SITUATIONS: &[Situation] = &[
    PLAIN,
    Situation {
        title: "client behind NAT; its router's FTP helper reads port 21",
        helper: Helper::Port21,
        seats: &[seat(ClientAt::Home, OPEN, OPEN)],
        outcomes: [[Works; 4], [Works, Works, FOREIGN, FOREIGN]],
        ..PLAIN
    },
    Situation {
        title: "client behind NAT; its router's FTP helper reads ports 21 and 2121",
        helper: Helper::BothPorts,
        seats: &[seat(ClientAt::Home, OPEN, OPEN)],
        ..PLAIN
    },
    Situation {
        title: "client behind NAT without a helper",
        seats: &[seat(ClientAt::Home, OPEN, OPEN)],
        outcomes: [[Works, Works, FOREIGN, FOREIGN]; 2],
        ..PLAIN
    },
    Situation {
        title: "server behind NAT, advertised address static",
        settings: Settings { flags: &["--advertise", "198.18.0.30"], config: "" },
        ..BEHIND
    },
    Situation {
        title: "server behind NAT, advertised by a DNS name whose address changes",
        settings: Settings {
            flags: &[],
            config: "[passive]\nadvertise = \"ftp.lab.test\"\nresolve_every_s = 1\n",
        },
        seats_later: &[seat(ClientAt::Internet, SITE_LATER, SITE_LATER)],
        ..BEHIND
    },
    Situation {
        title: "server behind NAT; a client beside it and one outside at the same time, an address for each",
        settings: Settings { flags: &[], config: BY_NETWORK },
        seats: &[seat(ClientAt::Internet, SITE, SITE), seat(ClientAt::Site, SERVER, SERVER)],
        ..BEHIND
    },
    Situation {
        title: "server behind NAT; a client beside it that comes by the outer address (hairpin)",
        settings: Settings { flags: &[], config: BY_NETWORK },
        seats: &[seat(ClientAt::Site, SITE, SITE)],
        outcomes: [[Works, Works, FOREIGN, FOREIGN]; 2],
        ..BEHIND
    },
    Situation {
        title: "server behind NAT that moves the passive ports, advertised with an offset",
        settings: Settings {
            flags: &[],
            config: "[passive]\nadvertise = \"198.18.0.30\"\nport_offset = -10000\n",
        },
        published: Published::Moved,
        ..BEHIND
    },
    Situation {
        title: "server behind NAT with a helper; nothing advertised, no passive port published",
        published: Published::ControlWithHelper,
        ..BEHIND
    },
    Situation {
        title: "server behind a TCP load balancer, PROXY protocol version 1",
        settings: Settings { flags: &[], config: BALANCED },
        published: Published::ByBalancer(Header::Version1),
        ..BEHIND
    },
    Situation {
        title: "server behind a TCP load balancer, PROXY protocol version 2",
        settings: Settings { flags: &[], config: BALANCED },
        published: Published::ByBalancer(Header::Version2),
        ..BEHIND
    },
    Situation {
        title: "both behind NAT: the client without a helper, the server's address advertised",
        settings: Settings { flags: &["--advertise", "198.18.0.30"], config: "" },
        seats: &[seat(ClientAt::Home, SITE, SITE)],
        outcomes: [[Works, Works, FOREIGN, FOREIGN]; 2],
        ..BEHIND
    },
    Situation {
        title: "IPv6, no firewall",
        seats: &[seat_v6(ClientAt::Internet)],
        outcomes: [[NO_PASV, Works, NO_PORT, Works]; 2],
        ..PLAIN
    },
    Situation {
        title: "IPv6, client behind a firewall whose FTP helper reads port 21",
        helper: Helper::Port21,
        seats: &[seat_v6(ClientAt::Home)],
        outcomes: [[NO_PASV, Works, NO_PORT, Works], [NO_PASV, Works, NO_PORT, UNANSWERED]],
        ..PLAIN
    },
    Situation {
        title: "IPv6, client behind a firewall without a helper",
        seats: &[seat_v6(ClientAt::Home)],
        outcomes: [[NO_PASV, Works, NO_PORT, UNANSWERED]; 2],
        ..PLAIN
    },
];

/// The table in Markdown. `cell` says what each came to; where all is as it has to be that is [`Situation::outcomes`].
pub(crate) fn markdown(cell: impl Fn(usize, usize, usize) -> Option<Outcome>) -> String {
    let mut text = String::from("| situation | control port |");
    for way in Way::ALL {
        // Writing to a string cannot fail.
        let _ = write!(text, " {way} |");
    }
    text.push_str("\n| --- | --- | --- | --- | --- | --- |\n");
    let mut notes: Vec<&str> = Vec::new();
    for (row, situation) in SITUATIONS.iter().enumerate() {
        for (port, number) in CONTROL_PORTS.iter().enumerate() {
            let _ = write!(text, "| {} | {number} |", situation.title);
            for way in 0..Way::ALL.len() {
                let _ = match cell(row, port, way) {
                    Some(Works) => write!(text, " works |"),
                    Some(Refused(reply)) => write!(text, " {} |", note(&mut notes, reply)),
                    None => write!(text, " **not as promised** |"),
                };
            }
            text.push('\n');
        }
    }
    text.push('\n');
    for reply in &notes {
        let number = note(&mut notes.clone(), reply);
        let _ = writeln!(text, "- {number}: `{reply}`");
    }
    text
}

/// The mark of a reply: its code, and a letter that tells replies of the same code apart.
fn note<'a>(notes: &mut Vec<&'a str>, reply: &'a str) -> String {
    if !notes.contains(&reply) {
        notes.push(reply);
    }
    let code = &reply[..3];
    let same_code = notes.iter().filter(|other| other.starts_with(code));
    let letters = same_code.zip('a'..='z').find(|(other, _)| **other == reply);
    format!("{code} {}", letters.map_or('?', |(_, letter)| letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANUAL: &str = include_str!("../../../docs/nat.md");

    #[test]
    fn the_manual_has_this_table() {
        let table = markdown(|row, port, way| Some(SITUATIONS[row].outcomes[port][way]));
        assert!(MANUAL.contains(&table), "docs/nat.md should contain:\n{table}");
    }

    #[test]
    fn replies_of_one_code_are_told_apart() {
        let mut notes = Vec::new();
        let marks = ["501 x", "425 y", "501 z", "501 x"].map(|reply| note(&mut notes, reply));
        assert_eq!(marks, ["501 a", "425 a", "501 b", "501 a"]);
    }
}
