//! What outcomes mean, and what can be done about them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use super::FTP_PORT;
use super::active;
use super::control::{Answer, Lost};
use super::outcome::{Failure, Outcome, Success};
use super::passive;
use crate::address::Reach;
use crate::report::{Finding, Level};

/// Ports of one configured range lie no further apart than this, usually.
const RANGE_PORTS_USUAL: u16 = 2000;

/// Why a connection did not come about, and what follows: for the end of a sentence.
fn cause(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "refused: nobody listens there. Either the server is behind something that does not pass this port on, or a firewall \
             rejects it"
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            "no answer: packets are dropped, by a firewall on the way, or because that address is nobody's here"
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no way there: this machine, or a router, knows none, or a firewall forbids it"
        }
        io::ErrorKind::ConnectionReset => "reset by the other end, or by a firewall in its name",
        io::ErrorKind::PermissionDenied => "this machine's own packet filter forbids it",
        _ => "it fails",
    }
}

/// What to do about a port that cannot be reached.
const OPEN_THE_RANGE: &str = "set `passive.ports` to a range, let it in wherever the control port is let in (firewall, security group, router), and publish it \
     where the server is in a container: `-p 50000-50015:50000-50015`.";

pub(super) fn unreachable_control(
    address: SocketAddr,
    error: &io::Error,
    other_family_answers: bool,
) -> Finding {
    let what = format!("control connection to {address}");
    let why = format!("{} ({error}).", cause(error));
    let has_no_way =
        matches!(error.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable);
    match (other_family_answers, has_no_way) {
        (true, true) => Finding::note(what, format!("not examined: {why}")),
        (true, false) => Finding::warning(what, format!("{why} Clients that try this address first wait for it in vain."))
            .mend("listen on [::]:PORT, or take the address out of the name's records."),
        (false, _) => Finding::problem(what, why)
            .mend("see that the server runs and listens on an address that is reached from here, and that the port is let in."),
    }
}

pub(super) fn no_greeting(what: String, lost: &Lost) -> Finding {
    Finding::problem(what, format!("it comes about, and then no greeting does: {lost}."))
        .mend("see what listens there; a server of implicit TLS waits for the client, and a load balancer may have no server behind it.")
}

pub(super) fn too_many(answer: &Answer) -> &'static str {
    match answer.code {
        421 => "try again later; if it stays, raise the limits of sessions, or of descriptors.",
        _ => "see what the server's log says of it.",
    }
}

pub(super) fn not_logged_in(user: &str, failure: &Failure) -> Finding {
    let what = "login";
    match failure {
        Failure::Refused(answer) => {
            let why = format!(
                "{user} may not log in: {answer}. Data connections need a login, and were not examined."
            );
            Finding::problem(what, why).mend("name somebody who may: ftp://user:password@host/.")
        }
        other => Finding::problem(what, format!("{}.", told(other))),
    }
}

pub(super) fn other_port(port: u16) -> Finding {
    let why = format!(
        "it is not 21, so that the helpers of firewalls and translators do not read along. Passive connections need nothing of them; \
         PORT and EPRT of clients behind a translator fail, unless it was told of {port}."
    );
    Finding::note(format!("control port {port}"), why)
}

/// The range that ports are handed out of, as far as a few show it.
pub(super) fn ports(extended: &[SocketAddr], plain: &[SocketAddr]) -> Vec<Finding> {
    let what = "passive ports";
    let mut ports: Vec<u16> = extended.iter().chain(plain).map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let (Some(&low), Some(&high)) = (ports.first(), ports.last()) else { return Vec::new() };
    let mut findings = Vec::new();
    let shown = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let (of_extended, of_plain) = (bounds(extended), bounds(plain));
    if let (Some(extended), Some(plain)) = (of_extended, of_plain)
        && are_apart(extended, plain)
    {
        let why = format!(
            "EPSV hands out ports of {}-{}, PASV of {}-{}: something between this client and the server reads along and rewrites one of \
             them, as the kernel's FTP helper does.",
            extended.0, extended.1, plain.0, plain.1
        );
        findings.push(Finding::note(what, why));
    } else if high - low > RANGE_PORTS_USUAL {
        let why = format!(
            "{} replies handed out {shown}, which lie far apart: it seems that no range is set, and no firewall can let such in.",
            extended.len() + plain.len()
        );
        findings.push(Finding::note(what, why).mend("set `passive.ports` to a range, such as 50000-50015."));
    } else {
        findings.push(Finding::fine(
            what,
            format!("{} replies handed out {shown}.", extended.len() + plain.len()),
        ));
    }
    let mut told: Vec<IpAddr> = plain.iter().map(SocketAddr::ip).collect();
    told.sort_unstable();
    told.dedup();
    if told.len() > 1 {
        let told: Vec<String> = told.iter().map(IpAddr::to_string).collect();
        let why = format!(
            "PASV tells several addresses in turn: {}. Only the server that leased a port waits there.",
            told.join(", ")
        );
        findings
            .push(Finding::warning("advertised address", why).mend("advertise one address for each server."));
    }
    findings
}

fn bounds(addresses: &[SocketAddr]) -> Option<(u16, u16)> {
    let ports = addresses.iter().map(SocketAddr::port);
    Some((ports.clone().min()?, ports.max()?))
}

/// Whether two ranges, each of a usual size, cannot be one.
fn are_apart(one: (u16, u16), other: (u16, u16)) -> bool {
    let is_usual = |(low, high): (u16, u16)| high - low <= RANGE_PORTS_USUAL;
    let span = one.1.max(other.1) - one.0.min(other.0);
    is_usual(one) && is_usual(other) && span > 2 * RANGE_PORTS_USUAL
}

fn works(success: &Success) -> String {
    format!("works: a listing of {} bytes came from {}.", success.bytes, success.peer)
}

/// A failure as sentences without the last stop.
fn told(failure: &Failure) -> String {
    match failure {
        Failure::Refused(answer) => format!("the server refuses it: {answer}"),
        Failure::Unreadable(answer) => format!("the reply holds no address that can be read: {answer}"),
        Failure::Misled(address) => {
            format!(
                "the server tells clients {}, a {} address, which is another machine for each of them",
                address.ip(),
                Reach::of(address.ip())
            )
        }
        Failure::Unreachable { address, error } => {
            format!("the server waits at {address}, and connecting there got {}", cause(error))
        }
        Failure::NotListed(answer) if answer.code == 425 || answer.code == 426 => format!(
            "the data connection stands at this end, but the server did not get it ({answer}): something between took it, or the server \
             saw it come from another address than the control connection"
        ),
        Failure::NotListed(answer) => {
            format!("the server does not list its root, so that nothing could be proven: {answer}")
        }
        Failure::NobodyCame(Some(answer)) => format!("the server could not connect to this client: {answer}"),
        Failure::NobodyCame(None) => String::from(
            "the server agreed to connect to this client, and did not come: packets are dropped on the way",
        ),
        Failure::Cut { bytes, reason } => format!("the listing broke off after {bytes} bytes: {reason}"),
        Failure::Lost(lost) => lost.to_string(),
        Failure::Here(error) => format!("this machine could not try it: {error}"),
    }
}

fn mend_passive(failure: &Failure) -> Option<String> {
    match failure {
        Failure::Unreachable { .. } => Some(String::from(OPEN_THE_RANGE)),
        Failure::Misled(_) => Some(advertise()),
        Failure::NotListed(answer) if answer.code == 425 || answer.code == 426 => Some(String::from(
            "where clients come through several addresses (proxies, carriers), `passive.peer` can be network or proxies; else look for what \
             stands in between.",
        )),
        Failure::NotListed(answer) => Some(format!("log in as somebody who may list ({}).", answer.code)),
        _ => None,
    }
}

fn advertise() -> String {
    String::from(
        "set `passive.advertise` (--advertise) to the address or the name by which clients reach the server.",
    )
}

fn finding(level: Level, what: String, why: String, mend: Option<String>) -> Finding {
    Finding { level, what, why, mend }
}

pub(super) fn epsv(address: SocketAddr, outcome: &Outcome) -> Finding {
    let what = format!("{} to {}", passive::Way::Epsv.verb(), address.ip());
    match outcome {
        Ok(success) => Finding::fine(what, works(success)),
        // Clients go on with PASV, where there is one.
        Err(failure @ Failure::Refused(_)) if address.is_ipv4() => {
            Finding::note(what, format!("{}. Clients go on with PASV.", told(failure)))
        }
        Err(failure) => {
            let level = if matches!(failure, Failure::NotListed(answer) if answer.code / 100 == 5) {
                Level::Warning
            } else {
                Level::Problem
            };
            finding(level, what, format!("{}.", told(failure)), mend_passive(failure))
        }
    }
}

/// `other` is the address that the server tells, where it is not that of the control connection, and `disregarding` what came of
/// connecting to the latter.
pub(super) fn pasv(
    address: SocketAddr,
    other: Option<IpAddr>,
    outcome: &Outcome,
    disregarding: Option<&Outcome>,
    epsv_works: bool,
) -> Finding {
    let what = format!("{} to {}", passive::Way::Pasv.verb(), address.ip());
    let failure = match (outcome, other) {
        (Ok(success), None) => return Finding::fine(what, works(success)),
        (Ok(success), Some(other)) => {
            let why = format!(
                "{} The server tells clients {other} and not the address of the control connection: right if that is one that all of \
                 them can reach.",
                works(success)
            );
            let is_narrower = Reach::of(other) != Reach::Public && Reach::of(address.ip()) == Reach::Public;
            return if is_narrower {
                Finding::warning(what, why).mend(advertise())
            } else {
                Finding::note(what, why)
            };
        }
        (Err(failure), _) => failure,
    };
    let others = if epsv_works { " Clients that use EPSV get on." } else { "" };
    if let (Some(other), Failure::Unreachable { .. } | Failure::Misled(_)) = (other, failure) {
        let reach = Reach::of(other);
        let (why, mend) = match disregarding {
            Some(Ok(_)) => (
                format!(
                    "the server tells clients {other}, a {reach} address, which cannot be reached from here; with {}, where the control \
                     connection goes, the same ports work. Clients that disregard the address (curl, browsers, lftp) get on, all others \
                     fail.{others}",
                    address.ip()
                ),
                advertise(),
            ),
            Some(Err(Failure::Unreachable { address: tried, error })) => (
                format!(
                    "the server tells clients {other}, a {reach} address, which cannot be reached from here; nor does {tried} work: {}.",
                    cause(error)
                ),
                format!("first {} Then {OPEN_THE_RANGE}", advertise()),
            ),
            _ => (
                format!(
                    "the server tells clients {other}, a {reach} address, which cannot be reached from here.{others}"
                ),
                advertise(),
            ),
        };
        return Finding::problem(what, why).mend(mend);
    }
    let level = match failure {
        Failure::Refused(_) if epsv_works => Level::Note,
        Failure::NotListed(answer) if answer.code / 100 == 5 => Level::Warning,
        _ => Level::Problem,
    };
    finding(level, what, format!("{}.{others}", told(failure)), mend_passive(failure))
}

/// `local` is the address that the server was told, if it came to that.
pub(super) fn active(
    way: active::Way,
    address: SocketAddr,
    local: Option<SocketAddr>,
    outcome: &Outcome,
    passive_works: bool,
) -> Finding {
    let what = format!("{} from {}", way.verb(), address.ip());
    let failure = match outcome {
        Ok(success) => return active_works(what, address, success),
        Err(failure) => failure,
    };
    let level = if passive_works { Level::Note } else { Level::Problem };
    let use_passive = if passive_works { "use passive mode; or " } else { "mend passive mode first; or " };
    let local = local.map(|local| local.ip());
    let is_private = local.is_some_and(|local| Reach::of(local) != Reach::Public);
    let behind_translator = is_private && Reach::of(address.ip()) == Reach::Public;
    let helper = match address.port() {
        FTP_PORT => {
            String::from("a translator with a helper (nf_nat_ftp) rewrites it, if that is switched on")
        }
        port => format!("helpers look at port 21, and the control port is {port}"),
    };
    match failure {
        Failure::Refused(answer) if matches!(answer.code, 500 | 502) => {
            let why = format!("{}. Clients go on with passive mode.", told(failure));
            finding(level, what, why, None)
        }
        Failure::Refused(answer) if matches!(answer.code, 501 | 504 | 530 | 425) => {
            let seen = local.map(|local| format!("; this client said {local}")).unwrap_or_default();
            let why = format!(
                "{}{seen}. If the server sees another address than that, a translator stands between, which changed the control \
                 connection's address and not the one in the command: {helper}.",
                told(failure)
            );
            finding(
                level,
                what,
                why,
                Some(format!("{use_passive}let the translator's helper rewrite PORT and EPRT.")),
            )
        }
        Failure::NobodyCame(_) => {
            let reason = match (behind_translator, local) {
                (true, Some(local)) => {
                    format!("It was told {local}, a private address, which it cannot reach: {helper}")
                }
                _ => String::from(
                    "A firewall before this client lets no connections in, or one before the server lets none out",
                ),
            };
            let why = format!("{}. {reason}.", told(failure));
            finding(
                level,
                what,
                why,
                Some(format!("{use_passive}let in what comes from the server's control port minus one.")),
            )
        }
        Failure::NotListed(answer) if answer.code / 100 == 5 => {
            finding(Level::Note, what, format!("{}.", told(failure)), None)
        }
        _ => finding(level, what, format!("{}.", told(failure)), None),
    }
}

fn active_works(what: String, address: SocketAddr, success: &Success) -> Finding {
    let why = works(success);
    if success.peer.ip() != address.ip() {
        let why = format!(
            "{why} That is not the address of the control connection: careful clients take it for a stranger's, and refuse."
        );
        return Finding::warning(what, why)
            .mend("where the server has several addresses, let its connections leave by the one that clients come to.");
    }
    if success.peer.port() != address.port() - 1 {
        let expected = address.port() - 1;
        let why = format!(
            "{why} It did not come from port {expected}, as RFC 959 has it; a few firewalls let nothing else in."
        );
        let mend = format!(
            "where that matters, start the server with the right to bind {expected} (root and --user, or CAP_NET_BIND_SERVICE)."
        );
        return Finding::note(what, why).mend(mend);
    }
    Finding::fine(what, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn all_at(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|&port| SocketAddr::new(at("203.0.113.7:1").ip(), port)).collect()
    }

    fn success(peer: &str) -> Outcome {
        Ok(Success { bytes: 100, peer: at(peer) })
    }

    fn timed_out(address: &str) -> Outcome {
        Err(Failure::Unreachable { address: at(address), error: io::ErrorKind::TimedOut.into() })
    }

    fn refused(code: u16) -> Outcome {
        let text = b"no".to_vec();
        Err(Failure::Refused(Answer { code, lines: vec![String::from("no")], text }))
    }

    #[test]
    fn a_private_address_told_by_a_public_server_is_named() {
        let server = at("203.0.113.7:21");
        let other = Some(at("10.0.0.5:1").ip());
        let found =
            pasv(server, other, &timed_out("10.0.0.5:50000"), Some(&success("203.0.113.7:50000")), true);
        assert_eq!(found.level, Level::Problem);
        assert!(
            found
                .why
                .contains("tells clients 10.0.0.5, a private address, which cannot be reached from here"),
            "{found}"
        );
        assert!(found.mend.unwrap().contains("passive.advertise"));
        let both =
            pasv(server, other, &timed_out("10.0.0.5:50000"), Some(&timed_out("203.0.113.7:50000")), false);
        assert!(both.mend.unwrap().contains("-p 50000-50015"));
        // Reached from here by a private network, but not from elsewhere.
        assert_eq!(pasv(server, other, &success("10.0.0.5:50000"), None, true).level, Level::Warning);
    }

    #[test]
    fn a_filtered_range_is_told_from_a_refused_one() {
        let filtered = epsv(at("203.0.113.7:21"), &timed_out("203.0.113.7:50000"));
        assert!(filtered.why.contains("packets are dropped") && filtered.mend.is_some(), "{filtered}");
        let error = io::ErrorKind::ConnectionRefused.into();
        let refused = epsv(
            at("203.0.113.7:21"),
            &Err(Failure::Unreachable { address: at("203.0.113.7:50000"), error }),
        );
        assert!(refused.why.contains("nobody listens"), "{refused}");
    }

    #[test]
    fn what_is_not_offered_is_no_problem_while_another_way_works() {
        assert_eq!(epsv(at("203.0.113.7:21"), &refused(500)).level, Level::Note);
        assert_eq!(epsv(at("[2001:db8::1]:21"), &refused(500)).level, Level::Problem);
        assert_eq!(pasv(at("203.0.113.7:21"), None, &refused(502), None, true).level, Level::Note);
        assert_eq!(pasv(at("203.0.113.7:21"), None, &refused(502), None, false).level, Level::Problem);
        let active = |code, works| {
            active(active::Way::Port, at("203.0.113.7:21"), Some(at("10.1.1.1:9")), &refused(code), works)
        };
        assert_eq!(active(502, true).level, Level::Note);
        assert_eq!(active(502, false).level, Level::Problem);
    }

    #[test]
    fn a_translator_before_the_client_is_named() {
        let local = Some(at("192.168.1.9:40000"));
        let on =
            |server: &str, outcome: &Outcome| active(active::Way::Port, at(server), local, outcome, true).why;
        assert!(
            on("203.0.113.7:2121", &refused(501))
                .contains("helpers look at port 21, and the control port is 2121")
        );
        assert!(
            on("203.0.113.7:21", &Err(Failure::NobodyCame(None)))
                .contains("told 192.168.1.9, a private address")
        );
        assert!(
            on("192.168.1.1:21", &Err(Failure::NobodyCame(None))).contains("A firewall before this client")
        );
    }

    #[test]
    fn where_an_active_connection_comes_from_is_looked_at() {
        let from =
            |peer: &str| active(active::Way::Eprt, at("203.0.113.7:21"), None, &success(peer), true).level;
        assert_eq!(from("203.0.113.7:20"), Level::Fine);
        assert_eq!(from("203.0.113.7:40000"), Level::Note);
        assert_eq!(from("203.0.113.8:20"), Level::Warning);
    }

    #[test]
    fn the_range_is_told_as_far_as_it_shows() {
        let one = ports(&all_at(&[50003, 50001]), &all_at(&[50001, 50009]));
        assert!(one[0].why.contains("4 replies handed out 50001, 50003, 50009"), "{}", one[0]);
        assert_eq!(ports(&all_at(&[33000, 60000]), &[])[0].level, Level::Note);
        let rewritten = ports(&all_at(&[50003, 50001]), &all_at(&[41001, 41002]));
        assert!(rewritten[0].why.contains("rewrites"), "{}", rewritten[0]);
        assert!(ports(&[], &[]).is_empty());
        let several = [at("203.0.113.7:50000"), at("203.0.113.8:50000")];
        assert_eq!(ports(&[], &several)[1].level, Level::Warning);
    }
}
