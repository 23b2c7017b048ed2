//! The control ports: whether they can be had, and how many clients may knock at once.

use std::net::{IpAddr, SocketAddr};

use super::{Plan, SERVER_PROGRAM};
use crate::machine::{Bind, Machine, Owner, try_bind};
use crate::report::Finding;

/// The server's own backlog, which the kernel caps.
const BACKLOG: u32 = 4096;

pub(super) fn examine(plan: &Plan, machine: &Machine, owners: &dyn Fn(u16) -> Vec<Owner>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for &address in &plan.control {
        let bind = try_bind(address, plan.only_v6(address.ip()));
        findings.push(judge(address, bind, &holders(address.port(), bind, owners), machine));
        if !machine.network.has_ipv6 && address.ip() == IpAddr::from([0, 0, 0, 0]) {
            findings.push(no_ipv6(address));
        }
    }
    findings.extend(machine.backlog_max.filter(|&backlog| backlog < BACKLOG).map(small_backlog));
    findings
}

fn judge(address: SocketAddr, bind: Bind, owners: &[Owner], machine: &Machine) -> Finding {
    let what = format!("control port {address}");
    match bind {
        Bind::Free if address.port() == 0 => Finding::fine(what, "the kernel will pick a free port at the start."),
        Bind::Free => Finding::fine(what, "it is free and may be bound."),
        Bind::Taken if is_the_server(owners) => Finding::fine(
            what,
            format!("{} listens there, which is taken for the server with this configuration.", list(owners)),
        ),
        Bind::Taken => Finding::problem(what, format!("{} has it, so the server will not start.", list(owners)))
            .mend("stop that program, or choose another port by --listen or `listeners`."),
        Bind::Forbidden => Finding::problem(
            what,
            format!("binding a port below {} takes a right that this user has not.", machine.rights.privileged_below),
        )
        .mend(
            "start as root with --user NAME, or `setcap cap_net_bind_service=+ep` on the program, or choose a port from 1024 on.",
        ),
        Bind::NoSuchAddress => {
            let addresses: Vec<String> = machine.network.addresses.iter().map(IpAddr::to_string).collect();
            Finding::problem(what, "no interface of this machine has that address.")
                .mend(format!("listen on [::] for every address, or on one of {}.", addresses.join(", ")))
        }
        Bind::Failed(errno) => {
            let error = std::io::Error::from_raw_os_error(errno);
            Finding::problem(what, format!("it cannot be bound: {error}."))
        }
    }
}

/// Who has a port, where somebody has: it is dear to find out.
pub(super) fn holders(port: u16, bind: Bind, owners: &dyn Fn(u16) -> Vec<Owner>) -> Vec<Owner> {
    if bind == Bind::Taken { owners(port) } else { Vec::new() }
}

/// Whether all that have a port are servers of this kind.
pub(super) fn is_the_server(owners: &[Owner]) -> bool {
    !owners.is_empty() && owners.iter().all(|owner| owner.program == SERVER_PROGRAM)
}

/// Who has a port, for the start of a sentence.
pub(super) fn list(owners: &[Owner]) -> String {
    if owners.is_empty() {
        return String::from("A process that cannot be named (of another user, or another container)");
    }
    owners.iter().map(Owner::to_string).collect::<Vec<_>>().join(" and ")
}

fn no_ipv6(address: SocketAddr) -> Finding {
    Finding::note(
        "IPv6",
        format!(
            "this machine has none, so that [::]:{} means every IPv4 address and nothing more.",
            address.port()
        ),
    )
    .mend(
        "none is needed while clients come by IPv4; Docker: \"ipv6\": true in daemon.json; elsewhere \
         `sysctl net.ipv6.conf.all.disable_ipv6=0`.",
    )
}

fn small_backlog(backlog_max: u32) -> Finding {
    Finding::note(
        "net.core.somaxconn",
        format!(
            "the kernel lets {backlog_max} connections wait to be accepted, and the server asks for {BACKLOG}: of a burst of \
             clients that come at once, those beyond are delayed by a second or more."
        ),
    )
    .mend(format!("`sysctl net.core.somaxconn={BACKLOG}` (Docker: --sysctl net.core.somaxconn={BACKLOG})."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;

    fn owner(program: &str) -> Owner {
        Owner { program: program.to_owned(), process: 7 }
    }

    fn judged(bind: Bind, owners: &[Owner]) -> Finding {
        judge("0.0.0.0:21".parse().unwrap(), bind, owners, &Machine::unhindered())
    }

    #[test]
    fn a_port_of_somebody_else_is_a_problem_and_one_of_the_server_is_not() {
        let taken = judged(Bind::Taken, &[owner("vsftpd")]);
        assert_eq!(taken.level, Level::Problem);
        assert!(taken.why.contains("vsftpd (process 7)"), "{taken}");
        assert_eq!(judged(Bind::Taken, &[owner("ringftpd")]).level, Level::Fine);
        assert_eq!(judged(Bind::Taken, &[owner("ringftpd"), owner("nginx")]).level, Level::Problem);
        assert!(judged(Bind::Taken, &[]).why.contains("cannot be named"));
    }

    #[test]
    fn each_refusal_has_its_mend() {
        assert!(judged(Bind::Forbidden, &[]).mend.unwrap().contains("--user"));
        assert!(judged(Bind::NoSuchAddress, &[]).mend.unwrap().contains("203.0.113.5"));
        assert_eq!(judged(Bind::Free, &[]).level, Level::Fine);
    }

    #[test]
    fn the_kernels_cap_is_told_where_it_is_lower() {
        let told = small_backlog(128);
        assert!(told.why.contains("lets 128 connections wait"), "{told}");
    }
}
