//! How much the server gets: descriptors, and io_uring.

use config::{Config, RuntimeChoice};
use runtime::IoUringRefusal;

use super::Plan;
use crate::machine::{Descriptors, Machine};
use crate::report::Finding;

/// What a worker opens besides its listeners: its ring or epoll, its wake-up, a spare, a pool of pipes.
const DESCRIPTORS_PER_WORKER: u64 = 24;

/// Standard streams, the served directory, the resolver.
const DESCRIPTORS_OTHERWISE: u64 = 16;

/// How many the server keeps for data connections and files, if a quarter of what is left is more.
const DESCRIPTORS_KEPT_MAX: u64 = 1024;

/// Fewer than this many sessions is less than one busy client site needs.
const SESSIONS_FEW: u64 = 256;

pub(super) fn examine(config: &Config, plan: &Plan, machine: &Machine) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(machine.descriptors.map(|limit| descriptors(config, plan, machine, limit)));
    findings.push(io_uring(config.runtime, machine.io_uring));
    findings
}

fn descriptors(config: &Config, plan: &Plan, machine: &Machine, limit: Descriptors) -> Finding {
    let what = format!("file descriptors {}", limit.hard);
    let workers = config.workers.map_or(machine.cores, std::num::NonZeroUsize::get) as u64;
    // Without a range there are sixteen ports.
    let ports = config.passive.ports.map_or(16, passive_ports::PortRange::count) as u64;
    let passive = ports * plan.passive.len() as u64;
    let fixed =
        passive + workers * (plan.control.len() as u64 + DESCRIPTORS_PER_WORKER) + DESCRIPTORS_OTHERWISE;
    let mend =
        "raise it: LimitNOFILE=524288 (systemd), --ulimit nofile=524288 (Docker), `ulimit -n` in the shell.";
    let listeners = match plan.passive.len() {
        1 => format!("{passive} are for passive ports"),
        hosts => format!("{passive} are for listeners: {ports} passive ports on {hosts} addresses"),
    };
    if fixed >= limit.hard {
        return Finding::problem(
            what,
            format!("{fixed} are needed before the first client comes; {listeners}."),
        )
        .mend(format!("make the range smaller (sixteen ports serve thousands of clients), or {mend}"));
    }
    // The server keeps some for data connections and files, so that newcomers cannot starve those who are there.
    let available = limit.hard - fixed;
    let sessions = available - (available / 4).min(DESCRIPTORS_KEPT_MAX);
    let soft = match limit.soft < limit.hard {
        true => format!(" (the soft limit of {} is raised at the start)", limit.soft),
        false => String::new(),
    };
    let why = format!("about {sessions} sessions fit at once{soft}; {listeners}.");
    match config.limits.sessions_max.map(|sessions_max| u64::from(sessions_max.get())) {
        Some(wanted) if wanted > sessions => {
            Finding::warning(what, format!("limits.sessions_max is {wanted}, but {why}")).mend(mend)
        }
        None if sessions < SESSIONS_FEW => Finding::warning(what, why).mend(mend),
        _ => Finding::fine(what, why),
    }
}

fn io_uring(choice: RuntimeChoice, granted: Result<(), IoUringRefusal>) -> Finding {
    let refused = |refusal: &IoUringRefusal| {
        let error = std::io::Error::from_raw_os_error(refusal.errno);
        format!("the kernel refuses it to this process ({error}): {}", refusal.cause)
    };
    match (choice, granted) {
        (RuntimeChoice::Epoll, _) => Finding::fine("io_uring", "not asked for: `runtime` is epoll."),
        (_, Ok(())) => Finding::fine("io_uring", "the kernel grants it to this process."),
        (RuntimeChoice::IoUring, Err(refusal)) => {
            let why =
                format!("{}. `runtime` insists on it, so the server will not start.", refused(&refusal));
            Finding::problem("io_uring", why).mend(format!("{}; or `runtime = \"auto\"`.", refusal.mend()))
        }
        (RuntimeChoice::Auto, Err(refusal)) => {
            let why = format!(
                "{}. The server runs on epoll instead, at a little more processor time.",
                refused(&refusal)
            );
            Finding::note("io_uring", why).mend(format!("{}.", refusal.mend()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Level;
    use config::Listener;
    use runtime::RefusalCause;

    fn judged(range: &str, hard: u64, sessions_max: Option<u32>) -> Finding {
        let machine = Machine::unhindered();
        let listeners =
            ["192.0.2.1:21", "192.0.2.2:21"].map(|address| Listener::at(address.parse().unwrap()));
        let mut config = Config { listeners: listeners.to_vec(), ..Config::default() };
        config.passive.ports = Some(range.parse().unwrap());
        config.limits.sessions_max = sessions_max.and_then(std::num::NonZeroU32::new);
        let plan = Plan::of(&config, &machine.network);
        descriptors(&config, &plan, &machine, Descriptors { soft: 1024.min(hard), hard })
    }

    #[test]
    fn listeners_are_counted_on_every_address() {
        let large = judged("10000-19999", 20_000, None);
        assert_eq!(large.level, Level::Problem);
        assert!(large.why.contains("10000 passive ports on 2 addresses"), "{large}");
        assert_eq!(judged("10000-19999", 30_000, None).level, Level::Fine);
    }

    #[test]
    fn few_sessions_are_a_warning() {
        assert_eq!(judged("50000-50015", 256, None).level, Level::Warning);
        assert_eq!(judged("50000-50015", 20_000, Some(100)).level, Level::Fine);
        assert_eq!(judged("50000-50015", 20_000, Some(50_000)).level, Level::Warning);
    }

    #[test]
    fn a_refused_ring_says_by_what() {
        let refusal = IoUringRefusal { errno: nix::libc::EPERM, cause: RefusalCause::Seccomp };
        let noted = io_uring(RuntimeChoice::Auto, Err(refusal));
        assert_eq!(noted.level, Level::Note);
        assert!(noted.why.contains("seccomp") && noted.mend.unwrap().contains("seccomp"));
        assert_eq!(io_uring(RuntimeChoice::IoUring, Err(refusal)).level, Level::Problem);
        assert_eq!(io_uring(RuntimeChoice::Epoll, Err(refusal)).level, Level::Fine);
    }
}
