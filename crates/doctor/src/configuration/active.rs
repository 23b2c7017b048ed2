//! The port that active data connections come from.

use std::net::SocketAddr;

use config::{Config, SourcePort};

use super::Plan;
use super::control::{holders, is_the_server, list};
use crate::machine::{Bind, Machine, Owner, try_bind};
use crate::report::Finding;

pub(super) fn examine(
    config: &Config,
    plan: &Plan,
    machine: &Machine,
    owners: &dyn Fn(u16) -> Vec<Owner>,
) -> Vec<Finding> {
    if !config.active.enabled {
        return vec![Finding::fine("active mode", "it is switched off: PORT and EPRT are refused.")];
    }
    if config.active.source_port == SourcePort::Any {
        return vec![Finding::fine("active mode", "data connections come from any port, as configured.")];
    }
    let below = plan.control.iter().filter_map(|address| {
        let port = address.port().checked_sub(1).filter(|&port| port != 0)?;
        Some(SocketAddr::new(address.ip(), port))
    });
    let judge = |address: SocketAddr| {
        let bind = try_bind(address, plan.only_v6(address.ip()));
        judge(address.port(), bind, &holders(address.port(), bind, owners), machine)
    };
    below.map(judge).collect()
}

fn judge(port: u16, bind: Bind, owners: &[Owner], machine: &Machine) -> Finding {
    let what = format!("active mode, source port {port}");
    let otherwise = format!(
        "so data connections come from a port of the kernel's choice: the firewalls of some clients let in what comes from {port} alone"
    );
    // The server's own connections have that port while they last.
    if machine.rights.may_bind(port) && (bind != Bind::Taken || is_the_server(owners)) {
        return Finding::fine(
            what,
            "it may be bound, so that data connections come from the control port minus one.",
        );
    }
    match bind {
        Bind::Taken if machine.rights.may_bind(port) => {
            Finding::note(what, format!("{} has it, {otherwise}.", list(owners)))
                .mend("stop that program, or move the control port.")
        }
        _ => Finding::note(what, format!("this user may not bind ports below {}, {otherwise}.", machine.rights.privileged_below))
            .mend(
                "start as root with --user NAME, which keeps this one right; or `setcap cap_net_bind_service=+ep` on the program \
                 (Docker: --cap-add NET_BIND_SERVICE).",
            ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;

    #[test]
    fn without_the_right_it_is_a_note() {
        let mut machine = Machine::unhindered();
        let refused = judge(20, Bind::Forbidden, &[], &machine);
        assert_eq!(refused.level, Level::Note);
        assert!(refused.why.contains("from 20 alone"), "{refused}");
        machine.rights.binds_privileged = true;
        assert_eq!(judge(20, Bind::Free, &[], &machine).level, Level::Fine);
        assert_eq!(judge(2120, Bind::Free, &[], &Machine::unhindered()).level, Level::Fine);
    }

    #[test]
    fn a_listener_of_somebody_else_is_noted() {
        let owner = Owner { program: String::from("squid"), process: 9 };
        assert!(
            judge(2120, Bind::Taken, &[owner], &Machine::unhindered())
                .why
                .contains("squid (process 9) has it")
        );
        let own = Owner { program: String::from("ringftpd"), process: 9 };
        assert_eq!(judge(2120, Bind::Taken, &[own], &Machine::unhindered()).level, Level::Fine);
    }
}
