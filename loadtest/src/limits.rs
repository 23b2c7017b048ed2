//! What this machine can hold, said before the run.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::scenario::Scenario;

/// Descriptors that are nobody's session: the standard streams, reports, what is read of the server; and of each worker its poll or its
/// ring, what wakes it, and its timers.
const DESCRIPTORS_OWN: u64 = 32;
const DESCRIPTORS_OWN_PER_WORKER: u64 = 8;

/// What is left of them for data connections at the least, where those go through a gate.
const DESCRIPTORS_GATED_MIN: u64 = 256;

/// What a ringftpd has open before anybody comes, with room to spare: the streams, and rings, listeners and pipes of each worker.
const SERVERS_OWN: u64 = 48;
const SERVERS_OWN_PER_WORKER: u64 = 16;
/// What it keeps for data connections and files: such a part of what is left, and no more than so many.
const SERVERS_KEPT_PART: u64 = 4;
const SERVERS_KEPT_MAX: u64 = 1024;

/// What a transfer of a storm takes of it: its connection and its file, and as much again for the one before, which it may be about to
/// close.
const SERVERS_PER_TRANSFER: u64 = 4;

/// Most units a second that one worker's clock is asked to begin. None has been seen to get near it.
const RATE_PER_WORKER_MAX: f64 = 1e6;

/// How long a local port is not used again after its connection: on loopback the kernel takes it back after a second
/// (net.ipv4.tcp_tw_reuse), elsewhere after a minute.
const PORT_RESTS_ON_LOOPBACK_S: f64 = 1.0;
const PORT_RESTS_ELSEWHERE_S: f64 = 60.0;

/// How many sessions there are, and how many data connections of a storm at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) sessions: usize,
    pub(crate) data_connections: usize,
    /// What is to be said where there are fewer sessions than usual.
    pub(crate) note: Option<String>,
}

/// Raises the limit of descriptors, and checks that the sessions of so many workers fit into it, also into that of a server of the tester's
/// own with so many. Those that nobody asked for in number are as many as fit.
///
/// # Errors
///
/// If they do not, with the number that would.
pub(crate) fn check_descriptors(
    scenario: Scenario,
    asked: Option<usize>,
    workers: usize,
    server_workers: Option<usize>,
) -> anyhow::Result<Held> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).context("cannot tell how many descriptors may be open")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of descriptors")?;
    }
    let sessions_most = |hard| sessions_most(scenario, hard, workers, server_workers);
    let most = sessions_most(hard);
    if most == 0 {
        let enough = (hard..).find(|&hard| sessions_most(hard) > 0);
        bail!(
            "this process may open {hard} descriptors, too few for any session: raise the limit to {} (ulimit -n)",
            enough.unwrap_or(u64::MAX)
        );
    }
    let usual = || scenario.sessions_default().min(usize::try_from(most).unwrap_or(usize::MAX)).max(1);
    let sessions = asked.unwrap_or_else(usual);
    let needed = sessions as u64 * scenario.descriptors_per_session() + own_descriptors(scenario, workers);
    if sessions as u64 > most {
        let who = if needed > hard {
            "this process"
        } else {
            "the server that is started, which keeps a part for data,"
        };
        bail!(
            "{sessions} sessions of {} need {needed} descriptors, and {who} may open {hard}: it can hold {most} sessions \
             (--sessions {most}), more with a higher limit (ulimit -n)",
            scenario.name()
        );
    }
    // Nothing that is measured is to wait while the kernel makes room.
    let reserved = u32::try_from(needed).unwrap_or(u32::MAX);
    runtime::reserve_descriptors(reserved).context("cannot make room for the descriptors")?;
    let data_connections = if scenario.data_connections_are_gated() {
        let ours = hard - own_descriptors(scenario, workers) + DESCRIPTORS_GATED_MIN - sessions as u64;
        let servers = server_workers
            .map(|workers| (servers_free(hard, workers) - sessions as u64) / SERVERS_PER_TRANSFER);
        sessions.min(usize::try_from(servers.map_or(ours, |servers| ours.min(servers))).unwrap_or(usize::MAX))
    } else {
        sessions
    };
    let note = (asked.is_none() && sessions < scenario.sessions_default()).then(|| {
        format!(
            "{} usually has {} sessions, and the limit of {hard} descriptors (ulimit -n) leaves {sessions}",
            scenario.name(),
            scenario.sessions_default()
        )
    });
    Ok(Held { sessions, data_connections, note })
}

/// How many sessions there may be at most, where each process may open that many descriptors.
fn sessions_most(scenario: Scenario, hard: u64, workers: usize, server_workers: Option<usize>) -> u64 {
    let ours = hard.saturating_sub(own_descriptors(scenario, workers)) / scenario.descriptors_per_session();
    let Some(workers) = server_workers else { return ours };
    let free = servers_free(hard, workers);
    let admitted = free - (free / SERVERS_KEPT_PART).min(SERVERS_KEPT_MAX);
    ours.min(admitted).min(free / scenario.server_descriptors_per_session())
}

fn own_descriptors(scenario: Scenario, workers: usize) -> u64 {
    DESCRIPTORS_OWN
        + DESCRIPTORS_OWN_PER_WORKER * workers as u64
        + if scenario.data_connections_are_gated() { DESCRIPTORS_GATED_MIN } else { 0 }
}

/// What a ringftpd has for sessions, data connections and files.
fn servers_free(hard: u64, workers: usize) -> u64 {
    hard.saturating_sub(SERVERS_OWN + SERVERS_OWN_PER_WORKER * workers as u64)
}

/// Checks that each of the workers has a core of its own: two that share one measure each other.
///
/// # Errors
///
/// If there are fewer, with their number.
pub(crate) fn check_workers(workers: Option<usize>, cores: usize, is_elsewhere: bool) -> anyhow::Result<()> {
    if let Some(workers) = workers.filter(|&workers| workers > cores) {
        let which = if is_elsewhere { "this process may use" } else { "are left beside the server's" };
        bail!("{workers} workers take a core each, and {cores} {which}: at most --workers {cores}");
    }
    Ok(())
}

/// Checks that units begin at all while it is measured.
///
/// # Errors
///
/// If none does, with the rate that would do.
pub(crate) fn check_begins(rate: f64, duration: Duration) -> anyhow::Result<()> {
    let seconds = duration.as_secs_f64();
    if rate * seconds < 1.0 {
        bail!(
            "at a rate of {rate} a second nothing begins in the {seconds} s that are measured: at least --rate {}, or a longer \
             --duration",
            1.0 / seconds
        );
    }
    Ok(())
}

/// Checks that this machine can begin so many units a second.
///
/// # Errors
///
/// If it cannot, with the rate that it can.
pub(crate) fn check_rate(
    scenario: Scenario,
    rate: f64,
    workers: usize,
    sources: usize,
    is_loopback: bool,
) -> anyhow::Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let most = RATE_PER_WORKER_MAX * workers as f64;
    if rate > most {
        bail!(
            "a rate of {rate} a second is more than {workers} worker(s) can begin: at most {most} (--rate {most})"
        );
    }
    if !scenario.connects_for_each_unit() {
        return Ok(());
    }
    let Some(ports) = local_ports()? else { return Ok(()) };
    let rests_s = if is_loopback { PORT_RESTS_ON_LOOPBACK_S } else { PORT_RESTS_ELSEWHERE_S };
    #[expect(clippy::cast_precision_loss, reason = "a number of ports")]
    let most = ((ports * sources.max(1)) as f64 / rests_s).floor();
    if rate > most {
        bail!(
            "{rate} sessions a second need more local ports than there are: {ports} for each of {} source address(es), each \
             used again after {rests_s} s, are good for {most} a second (--rate {most})",
            sources.max(1)
        );
    }
    Ok(())
}

/// The ports that the kernel gives whoever names none, if it tells.
pub(crate) fn ports_of_the_kernels_choice() -> anyhow::Result<Option<RangeInclusive<usize>>> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .context("cannot tell which ports may be used")?;
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<usize>().ok());
    let (Some(low), Some(high)) = (ends.next(), ends.next()) else { return Ok(None) };
    Ok(Some(low..=high))
}

/// How many local ports a source address has, if the kernel tells.
fn local_ports() -> anyhow::Result<Option<usize>> {
    let Some(range) = ports_of_the_kernels_choice()? else { return Ok(None) };
    let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    Ok(Some(range.clone().count() - reserved_ports(&reserved, range)))
}

/// How many ports of a range are kept for somebody who asks for them by number, where the kernel says it so: `8080,50000-50010`.
fn reserved_ports(list: &str, range: RangeInclusive<usize>) -> usize {
    let runs = list.trim().split(',').filter_map(|run| {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    });
    runs.flatten().filter(|port| range.contains(port)).count()
}

/// Checks that each session has as many local ports as it needs to this server. A port serves connections to many ports of the server's at once, so
/// that of the control connection does for data connections, too; one that is listened on serves for nothing else.
///
/// # Errors
///
/// If there are fewer, with the number of sessions that would do, and of source addresses where there may be several.
pub(crate) fn check_ports(
    scenario: Scenario,
    sessions: usize,
    sources: usize,
    server: SocketAddr,
) -> anyhow::Result<()> {
    let Some(ports) = local_ports()? else { return Ok(()) };
    let each = scenario.local_ports_per_session();
    let takes_sources = takes_sources(server);
    let most = ports * if takes_sources { sources.max(1) } else { 1 } / each;
    if sessions > most {
        let needed = (sessions * each).div_ceil(ports);
        let with_more = format!(", or all of them with --source-addresses {needed}");
        bail!(
            "{sessions} sessions need {each} local port(s) each, and there are {ports} for each source address: to {server} this \
             machine can hold {most} (--sessions {most}){}",
            if takes_sources { &with_more } else { "" }
        );
    }
    Ok(())
}

/// Whether the kernel's table of tracked connections is full, or nearly: from then on it drops what is new, and connecting
/// takes seconds. A firewall's rules track connections, a minute or two beyond their end.
pub(crate) fn connection_table_is_full() -> bool {
    let number = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}")).ok()?;
        text.trim().parse().ok()
    };
    number("count").zip(number("max")).is_some_and(|(count, max)| count >= max - max / 50)
}

/// Addresses of 127.0.0.0/8 that sessions come from at most.
pub(crate) const SOURCE_ADDRESSES_MAX: usize = 60_000;

/// Whether a server can be reached from addresses of 127.0.0.0/8.
pub(crate) fn takes_sources(server: SocketAddr) -> bool {
    server.is_ipv4() && server.ip().is_loopback()
}

/// That many addresses of 127.0.0.0/8, leaving 127.0.0.0 to 127.0.0.255 to others.
pub(crate) fn source_addresses(count: usize) -> Vec<IpAddr> {
    (0..count.min(SOURCE_ADDRESSES_MAX))
        .map(|number| {
            let low = u8::try_from(number % 250 + 1).unwrap_or(1);
            let high = u8::try_from(number / 250 + 1).unwrap_or(1);
            IpAddr::from([127, 0, high, low])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn addresses_differ_and_are_loopback() {
        let addresses = source_addresses(1000);
        assert!(addresses.iter().all(IpAddr::is_loopback));
        assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 1000);
    }

    #[test]
    fn too_much_is_refused_with_the_number_that_fits() {
        let refused =
            check_descriptors(Scenario::Pasv, Some(100_000_000), 1, Some(1)).unwrap_err().to_string();
        assert!(refused.contains("--sessions "), "{refused}");
        let own = SocketAddr::from(([127, 0, 0, 1], 21));
        let check_ports = |scenario, sessions, sources| check_ports(scenario, sessions, sources, own);
        let refused = check_ports(Scenario::Pasv, 100_000_000, 1).unwrap_err().to_string();
        assert!(refused.contains("--source-addresses "), "{refused}");
        // Each listens on one besides.
        let ports = local_ports().unwrap().unwrap();
        assert!(check_ports(Scenario::Pasv, ports, 1).is_ok());
        assert!(check_ports(Scenario::ConnectBack, ports, 1).is_err());
        assert!(check_ports(Scenario::ConnectBack, ports, 2).is_ok());
        let rate =
            |scenario, rate| check_rate(scenario, rate, 1, 1, false).map_err(|error| error.to_string());
        assert!(rate(Scenario::Noop, 1e9).unwrap_err().contains("--rate 1000000"));
        assert!(rate(Scenario::Login, 900_000.0).unwrap_err().contains("local ports"));
        assert_eq!(rate(Scenario::Noop, 900_000.0), Ok(()));
        assert_eq!(rate(Scenario::Login, 1.0), Ok(()));
        let refused = check_workers(Some(100_000_000), 2, true).unwrap_err().to_string();
        assert!(refused.contains("--workers 2"), "{refused}");
        assert!(check_workers(Some(2), 2, false).is_ok());
        let refused = check_begins(1e-300, Duration::from_secs(4)).unwrap_err().to_string();
        assert!(refused.contains("--rate 0.25"), "{refused}");
        assert!(check_begins(0.25, Duration::from_secs(4)).is_ok());
    }

    #[test]
    fn nobody_is_sent_to_loopback_to_reach_another_machine() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 21));
        let ports = local_ports().unwrap().unwrap();
        assert!(check_ports(Scenario::Login, ports, 1, elsewhere).is_ok());
        let refused = check_ports(Scenario::Login, ports + 1, 99, elsewhere).unwrap_err().to_string();
        assert!(refused.contains(&format!("--sessions {ports}")), "{refused}");
        assert!(refused.contains("192.0.2.1") && !refused.contains("--source-addresses"), "{refused}");
    }

    #[test]
    fn reserved_ports_are_nobodys() {
        assert_eq!(reserved_ports("\n", 32_768..=60_999), 0);
        assert_eq!(reserved_ports("8080,50000-50010,60999\n", 32_768..=60_999), 12);
    }

    #[test]
    fn what_nobody_asked_for_fits() {
        let held = check_descriptors(Scenario::Pasv, None, 1, Some(1)).unwrap();
        assert!((1..=Scenario::Pasv.sessions_default()).contains(&held.sessions), "{held:?}");
        assert!((1..=held.sessions).contains(&held.data_connections), "{held:?}");
        // All that are counted have their descriptors.
        let held = check_descriptors(Scenario::ConnectBack, Some(100), 1, None).unwrap();
        assert_eq!(held.data_connections, 100);
    }

    #[test]
    fn each_worker_takes_of_what_sessions_could_have() {
        // Two control connections, and the data connection by which a file is fetched that went from server to server.
        assert_eq!(sessions_most(Scenario::Fxp, 1040, 1, None), (1040 - 40) / 3);
        assert_eq!(sessions_most(Scenario::Fxp, 1040, 16, None), (1040 - 160) / 3);
        assert_eq!(sessions_most(Scenario::Pasv, 1040, 16, None), 1040 - 160 - DESCRIPTORS_GATED_MIN);
    }
}
