//! The passive range: whether it can be bound, and whether it will be tomorrow.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use config::{Config, DataPeer};
use passive_ports::PortRange;

use super::Plan;
use super::control::{is_the_server, list};
use crate::machine::{Bind, Machine, Owner, try_bind};
use crate::report::Finding;

/// Some clients open that many data connections at once.
const PORTS_PER_CLIENT: usize = 8;

/// What to begin with.
const EXAMPLE_RANGE: &str = "50000-50015";

pub(super) fn examine(
    config: &Config,
    plan: &Plan,
    machine: &Machine,
    owners: &dyn Fn(u16) -> Vec<Owner>,
) -> Vec<Finding> {
    let Some(range) = config.passive.ports else {
        return no_range(plan, machine).into_iter().collect();
    };
    let bound = range.iter().map(|port| (port, bind_on_all(plan, port)));
    let mut findings = vec![judge_binds(range, bound, owners)];
    findings.extend(given_away(range, machine));
    findings.extend(too_few(config, range));
    findings.extend(machine.container.as_deref().map(|sign| publish(range, plan, sign)));
    findings
}

/// The first refusal of all addresses.
fn bind_on_all(plan: &Plan, port: u16) -> Bind {
    let bind = |&host: &IpAddr| try_bind(SocketAddr::new(host, port), plan.only_v6(host));
    plan.passive.iter().map(bind).find(|bind| *bind != Bind::Free).unwrap_or(Bind::Free)
}

fn no_range(plan: &Plan, machine: &Machine) -> Option<Finding> {
    if !plan.reached_from_outside {
        return Some(Finding::fine(
            "passive ports",
            "the kernel picks 16, which does while nobody but this machine can reach the server.",
        ));
    }
    let publish = match &machine.container {
        Some(sign) => {
            format!(
                " This looks like a container ({sign}): publish it, `-p {EXAMPLE_RANGE}:{EXAMPLE_RANGE}`."
            )
        }
        None => String::new(),
    };
    let why = "no range is set, so the kernel picks 16 ports anew at each start: no firewall can let them in, no translator \
               can forward them, no container can publish them.";
    Some(
        Finding::warning("passive ports", why)
            .mend(format!("--passive-ports {EXAMPLE_RANGE}, and let these in.{publish}")),
    )
}

fn judge_binds(
    range: PortRange,
    bound: impl Iterator<Item = (u16, Bind)>,
    owners: &dyn Fn(u16) -> Vec<Owner>,
) -> Finding {
    let what = format!("passive range {range}");
    let (mut free, mut servers, mut forbidden) = (0_usize, 0_usize, 0_usize);
    let mut failed = None;
    let mut taken: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for (port, bind) in bound {
        match bind {
            Bind::Free => free += 1,
            Bind::Taken => {
                let owners = owners(port);
                if is_the_server(&owners) {
                    servers += 1;
                } else {
                    taken.entry(list(&owners)).or_default().push(port);
                }
            }
            Bind::Forbidden => forbidden += 1,
            // An address that is not here is a finding of the control port already.
            Bind::NoSuchAddress => {}
            Bind::Failed(errno) => failed = Some(std::io::Error::from_raw_os_error(errno)),
        }
    }
    if let Some(error) = failed {
        return Finding::problem(what, format!("it cannot be bound: {error}."));
    }
    if forbidden > 0 {
        let why = format!("{forbidden} of its ports are privileged, and this user may not bind them.");
        return Finding::problem(what, why)
            .mend(format!("choose ports from 1024 on, such as {EXAMPLE_RANGE}."));
    }
    if taken.is_empty() {
        return Finding::fine(
            what,
            match servers {
                0 => String::from("every port is free and may be bound."),
                _ => format!("{servers} ports are those of the server that runs, {free} are free."),
            },
        );
    }
    let holders: Vec<String> =
        taken.iter().map(|(owner, ports)| format!("{owner} has {}", runs(ports))).collect();
    let (holders, mend) = (
        holders.join("; "),
        "stop that program, or move the range; a port that is taken only for now is one that \
         an outgoing connection was given: see `net.ipv4.ip_local_reserved_ports`.",
    );
    if free + servers == 0 {
        return Finding::problem(
            what,
            format!("{holders}. Not one port is left, so the server will not start."),
        )
        .mend(mend);
    }
    let left = free + servers;
    Finding::warning(
        what,
        format!("{holders}. The server leaves these out, and has {left} of {}.", range.count()),
    )
    .mend(mend)
}

/// Ports as runs: `50000-50003, 50007`.
pub(super) fn runs(ports: &[u16]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match runs.last_mut() {
            Some((_, high)) if high.checked_add(1) == Some(port) => *high = port,
            _ => runs.push((port, port)),
        }
    }
    let run = |&(low, high): &(u16, u16)| if low == high { low.to_string() } else { format!("{low}-{high}") };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

/// Ports that outgoing connections may have taken when the server starts.
fn given_away(range: PortRange, machine: &Machine) -> Option<Finding> {
    let ephemeral = machine.ephemeral.as_ref()?;
    let given: Vec<u16> = range.iter().filter(|&port| ephemeral.gives_away(port)).collect();
    if given.is_empty() {
        return None;
    }
    let (low, high) = (ephemeral.range.start(), ephemeral.range.end());
    let why = format!(
        "the kernel gives ports of {low}-{high} to outgoing connections, {} among them: one that is in such use at the start is \
         left out until the next.",
        runs(&given)
    );
    let mend = format!(
        "`sysctl net.ipv4.ip_local_reserved_ports={range}`; what stands there already is to be kept."
    );
    Some(Finding::note(format!("passive range {range}"), why).mend(mend))
}

fn too_few(config: &Config, range: PortRange) -> Option<Finding> {
    let count = range.count();
    let what = format!("passive range {range}");
    if config.passive.peer == DataPeer::Proxies {
        let why = format!(
            "clients behind the proxies of `passive.peer_proxies` cannot be told apart by address, so that all of them together \
             have {count} data connections in the making at a time."
        );
        let mend = "make the range as large as transfers begin at once, some hundreds.";
        return (count < 256).then(|| Finding::warning(what, why).mend(mend));
    }
    let why = format!(
        "a port serves any number of clients, but one client address has at most {count} data connections in the making at a \
         time; clients that open several at once, or share an address, meet with 425 beyond."
    );
    (count < PORTS_PER_CLIENT).then(|| Finding::note(what, why).mend("ten to twenty ports are plenty."))
}

fn publish(range: PortRange, plan: &Plan, sign: &str) -> Finding {
    let told = plan.told_range().unwrap_or_default();
    let control = plan.control.first().map_or(21, SocketAddr::port);
    Finding::note(
        "container",
        format!(
            "this looks like one ({sign}). Unless it runs with the network of its host, clients reach the ports that are \
             published, and no others; whether they are cannot be seen from inside. Examine the server from outside: \
             `ringftpd doctor ftp://HOST:{control}/`."
        ),
    )
    .mend(format!("publish the control port and the passive range: `-p {control}:{control} -p {told}:{range}`."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Ephemeral;
    use crate::report::Level;

    fn range(text: &str) -> PortRange {
        text.parse().unwrap()
    }

    fn owner(program: &str) -> Owner {
        Owner { program: program.to_owned(), process: 7 }
    }

    #[test]
    fn ports_are_told_as_runs() {
        assert_eq!(runs(&[50000, 50001, 50003, 65534, 65535]), "50000-50001, 50003, 65534-65535");
    }

    #[test]
    fn taken_ports_are_told_with_who_has_them() {
        let judged = |binds: [Bind; 2], program: &str| {
            judge_binds(range("5-6"), [5, 6].into_iter().zip(binds), &|_| vec![owner(program)])
        };
        assert_eq!(judged([Bind::Free, Bind::Free], "").level, Level::Fine);
        assert_eq!(judged([Bind::Taken, Bind::Taken], "ringftpd").level, Level::Fine);
        let one = judged([Bind::Taken, Bind::Free], "nginx");
        assert_eq!(
            (one.level, one.why.contains("nginx (process 7) has 5.")),
            (Level::Warning, true),
            "{one}"
        );
        let all = judged([Bind::Taken, Bind::Taken], "nginx");
        assert_eq!((all.level, all.why.contains("has 5-6.")), (Level::Problem, true), "{all}");
        assert_eq!(judged([Bind::Forbidden, Bind::Free], "").level, Level::Problem);
    }

    #[test]
    fn ports_of_outgoing_connections_are_noted() {
        let reserved = vec![50000..=50010];
        let ephemeral = Some(Ephemeral { range: 32768..=60999, reserved });
        let machine = Machine { ephemeral, ..Machine::unhindered() };
        let noted = given_away(range("50000-50015"), &machine).unwrap();
        assert!(noted.why.contains("50011-50015 among them"), "{noted}");
        assert!(given_away(range("50000-50010"), &machine).is_none());
        assert!(given_away(range("61000-61010"), &machine).is_none());
    }

    #[test]
    fn few_ports_are_noted() {
        let mut config = Config::default();
        assert!(too_few(&config, range("50000-50015")).is_none());
        assert_eq!(too_few(&config, range("50000")).unwrap().level, Level::Note);
        config.passive.peer = DataPeer::Proxies;
        assert_eq!(too_few(&config, range("50000-50015")).unwrap().level, Level::Warning);
    }

    #[test]
    fn no_range_is_a_warning_where_others_can_come() {
        let machine = Machine { container: Some(String::from("a sign")), ..Machine::unhindered() };
        let plan = |address: &str| {
            let listeners = vec![config::Listener::at(address.parse().unwrap())];
            Plan::of(&Config { listeners, ..Config::default() }, &machine.network)
        };
        let outside = no_range(&plan("[::]:2121"), &machine).unwrap();
        assert_eq!(outside.level, Level::Warning);
        assert!(outside.mend.unwrap().contains("-p 50000-50015:50000-50015"));
        assert_eq!(no_range(&plan("127.0.0.1:2121"), &machine).unwrap().level, Level::Fine);
    }
}
