//! This machine's packet filter and connection tracking. Filters elsewhere (a router, a cloud's security group) are seen from
//! outside alone.

use std::collections::HashMap;
use std::net::SocketAddr;

use config::Config;

use super::Plan;
use super::passive::runs;
use crate::machine::filter::Fate;
use crate::machine::{Helper, Machine};
use crate::report::Finding;

/// The port that translators' helpers look at when nobody tells them of another.
const FTP_PORT: u16 = 21;

pub(super) fn examine(config: &Config, plan: &Plan, machine: &Machine) -> Vec<Finding> {
    if !plan.reached_from_outside {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let control: Vec<u16> = plan.control.iter().map(SocketAddr::port).filter(|&port| port != 0).collect();
    if let Err(reason) = machine.filter.fate(FTP_PORT) {
        findings.push(hidden(reason));
    } else {
        findings.extend(judge_ports("control port", &control, &control, machine));
        match config.passive.ports {
            Some(range) => {
                let ports: Vec<u16> = range.iter().collect();
                findings.extend(judge_ports("passive range", &ports, &control, machine));
            }
            None => findings.extend(unpredictable(machine)),
        }
    }
    findings.extend(nearly_full(&machine.helper));
    findings.extend(control.iter().filter(|&&port| port != FTP_PORT).map(|&port| other_port(port, config)));
    findings
}

fn hidden(reason: &str) -> Finding {
    Finding::note(
        "packet filter",
        format!("it could not be looked at, because {reason}. Whether it lets the control port and the passive range in is not known."),
    )
    .mend("run this as root and with nft or iptables at hand, or examine the server from outside.")
}

/// Ports by what becomes of a packet to them, and a finding for each fate.
fn judge_ports(what: &str, ports: &[u16], control: &[u16], machine: &Machine) -> Vec<Finding> {
    let mut fates: HashMap<Fate, Vec<u16>> = HashMap::new();
    for &port in ports {
        if let Ok(fate) = machine.filter.fate(port) {
            fates.entry(fate).or_default().push(port);
        }
    }
    let mut findings: Vec<Finding> = fates
        .into_iter()
        .map(|(fate, ports)| {
            judge_fate(&format!("packet filter, {what} {}", runs(&ports)), &fate, &ports, control, machine)
        })
        .collect();
    findings.sort_by(|one, other| one.what.cmp(&other.what));
    findings
}

fn judge_fate(what: &str, fate: &Fate, ports: &[u16], control: &[u16], machine: &Machine) -> Finding {
    let let_in = format!(
        "let TCP to {} in: `nft insert rule inet filter input tcp dport {{ {0} }} accept`, or `iptables -I INPUT -p tcp -m multiport --dports {1} -j ACCEPT`.",
        runs(ports),
        runs(ports).replace('-', ":").replace(", ", ",")
    );
    let is_control = ports.iter().all(|port| control.contains(port));
    match fate {
        Fate::Accepted => Finding::fine(what, "the rules of this machine let IPv4 connections to it in."),
        Fate::Unclear(rule) => Finding::note(
            what,
            format!("whether connections are let in hangs on the client's address, or on something else that is not known here: {rule}."),
        )
        .mend("read that rule, or examine the server from where the clients are."),
        Fate::Dropped(rule) if !is_control && control.iter().any(|&port| machine.helper.looks_at(port)) => Finding::warning(
            what,
            format!(
                "connections are turned away by {rule}, but for those that the kernel's FTP helper announces, if the rules let what is \
                 RELATED in. It reads plain control connections alone, on the ports that it was told."
            ),
        )
        .mend(let_in),
        Fate::Dropped(rule) => {
            Finding::problem(what, format!("connections are turned away by {rule}.")).mend(let_in)
        }
    }
}

/// Without a range any port may be picked: one of the kernel's own stands for all.
fn unpredictable(machine: &Machine) -> Option<Finding> {
    let sample = machine.ephemeral.as_ref().map_or(32768, |ephemeral| *ephemeral.range.start());
    match machine.filter.fate(sample) {
        Ok(Fate::Dropped(rule)) => Some(
            Finding::problem(
                "packet filter, passive ports",
                format!("no range is set, and ports that the kernel picks are turned away by {rule}."),
            )
            .mend("--passive-ports 50000-50015, and let these in."),
        ),
        _ => None,
    }
}

/// When the table of connections is full, new ones are dropped without a word.
fn nearly_full(helper: &Helper) -> Option<Finding> {
    let tracking = helper.tracking?;
    let (connections, connections_max) = (tracking.connections, tracking.connections_max);
    if connections_max == 0 || connections < connections_max / 5 * 4 {
        return None;
    }
    Some(
        Finding::warning(
            "connection tracking",
            format!(
                "the kernel tracks {connections} connections and can track {connections_max}: beyond, packets are dropped. Each FTP \
                 transfer is a connection, and stays for minutes after its end."
            ),
        )
        .mend("raise `net.netfilter.nf_conntrack_max`, or leave FTP untracked (`notrack`)."),
    )
}

/// A translator in front of a client reads PORT on the ports that it was told of.
fn other_port(port: u16, config: &Config) -> Finding {
    let what = format!("control port {port}");
    let why = "helpers of translators and firewalls look for FTP on port 21. On this one they do not read along, unless told to: for \
               passive connections nothing is needed but an open range";
    if config.active.enabled {
        Finding::note(what, format!("{why}; active ones (PORT, EPRT) fail for clients behind a translator.")).mend(format!(
            "let such clients use passive mode, or listen on 21. A Linux router of theirs can be told: `ct helper` of type ftp set for \
             tcp dport {port}."
        ))
    } else {
        Finding::fine(what, format!("{why}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::filter::Filter;
    use crate::report::Level;
    use config::Listener;

    const RULES: &str = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 21 -j ACCEPT\n\
                         -A INPUT -p tcp -m tcp --dport 50000:50007 -j ACCEPT\n\
                         -A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 50008:50009 -j ACCEPT\nCOMMIT\n";

    fn examined(machine: &Machine, range: Option<&str>) -> Vec<Finding> {
        let listeners = vec![Listener::at("[::]:21".parse().unwrap())];
        let mut config = Config { listeners, ..Config::default() };
        config.passive.ports = range.map(|range| range.parse().unwrap());
        let plan = Plan::of(&config, &machine.network);
        examine(&config, &plan, machine)
    }

    fn filtered() -> Machine {
        Machine { filter: Filter::of_iptables(RULES), ..Machine::unhindered() }
    }

    #[test]
    fn ports_that_are_turned_away_are_a_problem_and_each_fate_is_told() {
        let findings = examined(&filtered(), Some("50000-50015"));
        let found = |level| {
            findings.iter().find(|finding| finding.level == level && finding.what.contains("range")).unwrap()
        };
        assert!(
            findings[0].what.ends_with("control port 21") && findings[0].level == Level::Fine,
            "{}",
            findings[0]
        );
        assert!(found(Level::Fine).what.ends_with("50000-50007"));
        assert!(found(Level::Note).what.ends_with("50008-50009"));
        let turned_away = found(Level::Problem);
        assert!(turned_away.what.ends_with("50010-50015"), "{turned_away}");
        assert!(turned_away.mend.as_ref().unwrap().contains("--dports 50010:50015"), "{turned_away}");
    }

    #[test]
    fn a_helper_makes_it_a_warning() {
        let mut machine = filtered();
        machine.helper.assigned_ports = vec![21];
        assert!(
            examined(&machine, Some("50010-50015")).iter().any(|finding| finding.level == Level::Warning)
        );
    }

    #[test]
    fn without_a_range_a_filter_turns_clients_away() {
        assert!(examined(&filtered(), None).iter().any(|finding| finding.level == Level::Problem));
        assert!(examined(&Machine::unhindered(), None).iter().all(|finding| finding.level == Level::Fine));
    }

    #[test]
    fn what_cannot_be_looked_at_is_said_to_be_so() {
        let machine =
            Machine { filter: Filter::hidden("nft: Operation not permitted"), ..Machine::unhindered() };
        let findings = examined(&machine, None);
        assert!(findings[0].why.contains("because nft: Operation not permitted"), "{}", findings[0]);
        assert_eq!(findings[0].level, Level::Note);
    }

    #[test]
    fn another_control_port_is_noted_for_active_clients() {
        let mut config = Config::default();
        assert_eq!(other_port(2121, &config).level, Level::Note);
        config.active.enabled = false;
        assert_eq!(other_port(2121, &config).level, Level::Fine);
    }
}
