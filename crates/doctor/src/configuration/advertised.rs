//! What the reply to PASV tells clients: an address that they can reach, or not.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use config::{AdvertiseRule, Config, Host, Listener};

use crate::address::Reach;
use crate::machine::{Machine, Resolved, resolve};
use crate::report::Finding;

/// How long a name is waited for.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// An address of documentation (RFC 5737) that stands for any client of the outside.
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

pub(super) fn examine(config: &Config, machine: &Machine) -> Vec<Finding> {
    let resolve = |name: &str| resolve(name, RESOLVE_TIMEOUT);
    let of_listener = |listener| examine_listener(listener, config, machine, &resolve);
    let mut findings: Vec<Finding> = Vec::new();
    for finding in config.listeners.iter().flat_map(of_listener) {
        // Several listeners with the rules of all have nothing new to tell.
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

fn examine_listener(
    listener: &Listener,
    config: &Config,
    machine: &Machine,
    resolve: &dyn Fn(&str) -> Resolved,
) -> Vec<Finding> {
    let own = listener.address.ip();
    if Reach::of(own) == Reach::Loopback {
        return Vec::new();
    }
    let rules: Vec<&AdvertiseRule> =
        listener.advertise.rules().iter().chain(config.passive.advertise.rules()).collect();
    let mut findings = Vec::new();
    for rule in &rules {
        findings.push(match &rule.address {
            Host::Address(address) => judge_address(*address, &rule.address, rule, machine),
            Host::Name(name) => judge_name(&resolve(name.as_str()), rule, machine),
        });
    }
    if !rules.iter().any(|rule| rule.matches(ANYBODY)) {
        findings.extend(judge_own_address(own, machine));
    }
    findings
}

/// Whom a rule is for, for the middle of a sentence.
fn audience(rule: &AdvertiseRule) -> String {
    if rule.networks.is_empty() {
        return String::from("clients");
    }
    let networks: Vec<String> = rule.networks.iter().map(ToString::to_string).collect();
    format!("clients of {}", networks.join(", "))
}

fn subject(host: &Host) -> String {
    format!("advertised address {host}")
}

fn judge_address(address: Ipv4Addr, host: &Host, rule: &AdvertiseRule, machine: &Machine) -> Finding {
    let what = subject(host);
    let reach = Reach::of_v4(address);
    let for_outside = rule.matches(ANYBODY);
    let told = format!("{} are told {address}", audience(rule));
    match reach {
        Reach::Public => Finding::fine(what, format!("{told} by PASV, an address that can be reached from anywhere.")),
        Reach::Private if !for_outside => {
            Finding::fine(what, format!("{told} by PASV, an address of the inner network."))
        }
        Reach::Private => {
            let own = if machine.network.addresses.contains(&IpAddr::V4(address)) { "of this machine" } else { "of a network" };
            let why = format!(
                "{told} by PASV, a private address {own}: clients that come from another network cannot reach it, and their \
                 transfers wait until they fail."
            );
            Finding::warning(what, why).mend(
                "advertise the address by which clients come from outside. Where inner clients need the private one, a rule for \
                 their networks goes first: advertise = [{ networks = [\"10.0.0.0/8\"], address = \"10.0.0.5\" }, { address = \
                 \"203.0.113.7\" }]",
            )
        }
        Reach::LinkLocal | Reach::Loopback | Reach::Nowhere => Finding::problem(
            what,
            format!("{told} by PASV, a {reach} address, and others than this machine can come to the listener: they cannot reach it."),
        )
        .mend("set `passive.advertise` (--advertise) to the address or the name by which clients reach this server."),
    }
}

fn judge_name(resolved: &Resolved, rule: &AdvertiseRule, machine: &Machine) -> Finding {
    let what = subject(&rule.address);
    let mend = "mend the name or the resolver (`getent ahostsv4 NAME` asks as the server does), or advertise an address.";
    let addresses = match resolved {
        Ok(addresses) => addresses,
        Err(error) => {
            let why = format!(
                "the name cannot be resolved ({error}). Until it can, {} are told the address of this machine that their control \
                 connection goes to.",
                audience(rule)
            );
            return Finding::problem(what, why).mend(mend);
        }
    };
    let v4 = addresses.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    // The server takes the lowest too, so as to tell the same each time.
    let Some(address) = v4.min() else {
        let why = format!(
            "the name has no IPv4 address, and PASV can tell no other: {} find nobody.",
            audience(rule)
        );
        return Finding::problem(what, why).mend("give the name an A record, or advertise an IPv4 address.");
    };
    let mut finding = judge_address(address, &rule.address, rule, machine);
    finding.why = format!("it resolves to {address}; {}", finding.why);
    finding
}

/// Without a rule for everybody, clients are told the address that they reached, as this machine sees it.
fn judge_own_address(listener: IpAddr, machine: &Machine) -> Option<Finding> {
    let reached = machine.network.v4_reached_by(listener);
    if reached.is_empty() {
        // IPv6 alone: there is no PASV.
        return None;
    }
    let told: Vec<String> = reached.iter().map(ToString::to_string).collect();
    let told = told.join(" or ");
    let what = "advertised address";
    if reached.iter().any(|address| Reach::of_v4(*address) == Reach::Public) {
        return Some(Finding::fine(
            what,
            format!("none is set; PASV tells clients the address that they reached the server by, {told}."),
        ));
    }
    let why = format!(
        "none is set for everybody, and this machine has private addresses alone. A client that comes through a translator (a router, a \
         cloud's public address, a container's published port) is told {told} by PASV, which it cannot reach; clients that \
         use EPSV, and those that disregard the address, get on."
    );
    Some(Finding::warning(what, why).mend(
        "--advertise with the address or the name by which clients from outside reach this server. If all clients are of this \
         network, say so: advertise the private address to it, or leave all as it is.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Network;
    use crate::report::Level;
    use config::Advertise;

    fn machine(addresses: &[&str]) -> Machine {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Machine { network: Network { addresses, has_ipv6: true }, ..Machine::unhindered() }
    }

    fn rule(networks: &[&str], host: &str) -> AdvertiseRule {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        AdvertiseRule { networks, address: host.parse().unwrap() }
    }

    fn found(listener: &str, rules: Vec<AdvertiseRule>, addresses: &[&str]) -> Vec<(Level, String)> {
        let listener = Listener::at(listener.parse().unwrap());
        let mut config = Config { listeners: vec![listener.clone()], ..Config::default() };
        config.passive.advertise = Advertise::new(rules);
        let names = |name: &str| match name {
            "home.example" => Ok(vec!["192.168.1.5".parse().unwrap(), "2001:db8::1".parse().unwrap()]),
            "v6.example" => Ok(vec!["2001:db8::1".parse().unwrap()]),
            "good.example" => Ok(vec!["203.0.113.9".parse().unwrap(), "203.0.113.7".parse().unwrap()]),
            _ => Err(std::io::Error::other("no such name")),
        };
        let findings = examine_listener(&listener, &config, &machine(addresses), &names);
        findings.into_iter().map(|finding| (finding.level, finding.why)).collect()
    }

    fn levels(listener: &str, rules: Vec<AdvertiseRule>, addresses: &[&str]) -> Vec<Level> {
        found(listener, rules, addresses).into_iter().map(|(level, _)| level).collect()
    }

    #[test]
    fn a_private_address_for_everybody_is_a_warning() {
        assert_eq!(levels("[::]:21", vec![rule(&[], "10.0.0.5")], &["10.0.0.5"]), [Level::Warning]);
        assert_eq!(levels("[::]:21", vec![rule(&[], "127.0.0.1")], &["10.0.0.5"]), [Level::Problem]);
        assert_eq!(levels("[::]:21", vec![rule(&[], "169.254.0.9")], &["10.0.0.5"]), [Level::Problem]);
        assert_eq!(levels("[::]:21", vec![rule(&[], "203.0.113.7")], &["10.0.0.5"]), [Level::Fine]);
    }

    #[test]
    fn rules_by_network_are_right() {
        let rules = vec![rule(&["10.0.0.0/8"], "10.0.0.5"), rule(&[], "203.0.113.7")];
        assert_eq!(levels("[::]:21", rules, &["10.0.0.5"]), [Level::Fine, Level::Fine]);
        // Nothing is said to clients from outside: those are told the machine's own.
        let inner = vec![rule(&["10.0.0.0/8"], "10.0.0.5")];
        assert_eq!(levels("[::]:21", inner, &["10.0.0.5"]), [Level::Fine, Level::Warning]);
    }

    #[test]
    fn names_are_followed() {
        let one = |host: &str| found("[::]:21", vec![rule(&[], host)], &["10.0.0.5"]).remove(0);
        assert_eq!(one("home.example").0, Level::Warning);
        assert_eq!(one("v6.example").0, Level::Problem);
        assert_eq!(one("gone.example").0, Level::Problem);
        let (level, why) = one("good.example");
        assert_eq!(level, Level::Fine);
        assert!(why.contains("203.0.113.7"), "{why}");
    }

    #[test]
    fn nothing_advertised_on_a_private_machine_is_a_warning() {
        let (level, why) = found("0.0.0.0:21", Vec::new(), &["127.0.0.1", "172.17.0.2"]).remove(0);
        assert_eq!(level, Level::Warning);
        assert!(why.contains("is told 172.17.0.2 by PASV"), "{why}");
        assert_eq!(levels("0.0.0.0:21", Vec::new(), &["203.0.113.7"]), [Level::Fine]);
        assert!(levels("127.0.0.1:21", Vec::new(), &["172.17.0.2"]).is_empty());
        assert!(levels("[2001:db8::1]:21", Vec::new(), &["2001:db8::1"]).is_empty());
    }
}
