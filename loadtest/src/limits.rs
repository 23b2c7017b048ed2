//! What this machine can hold, said before the run.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::scenario::Scenario;

/// Descriptors that are nobody's session: the standard streams, rings, timers, reports.
const DESCRIPTORS_OWN: u64 = 64;

/// What is left of them for data connections at the least, where those go through a gate.
const DESCRIPTORS_GATED_MIN: u64 = 256;

/// Raises the limit of descriptors, and checks that the sessions fit into it. Returns how many are left.
///
/// # Errors
///
/// If they do not, with the number that would.
pub(crate) fn check_descriptors(scenario: Scenario, sessions: usize) -> anyhow::Result<usize> {
    let (soft, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).context("cannot tell how many descriptors may be open")?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of descriptors")?;
    }
    let each = scenario.descriptors_per_session();
    let own = DESCRIPTORS_OWN + if scenario == Scenario::Pasv { DESCRIPTORS_GATED_MIN } else { 0 };
    let needed = sessions as u64 * each + own;
    if needed > hard {
        let most = hard.saturating_sub(own) / each;
        bail!(
            "{sessions} sessions of {} need {needed} descriptors, and this process may open {hard}: it can hold {most} \
             sessions (--sessions {most}), more with a higher limit (ulimit -n)",
            scenario.name()
        );
    }
    Ok(usize::try_from(hard - needed + own - DESCRIPTORS_OWN).unwrap_or(usize::MAX))
}

/// Checks that each session has a port of its own for each connection to one port of the server's.
///
/// # Errors
///
/// If there are fewer, with the number of sessions and of source addresses that would do.
pub(crate) fn check_ports(sessions: usize, sources: usize) -> anyhow::Result<()> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .context("cannot tell which ports may be used")?;
    let mut ends = range.split_whitespace().filter_map(|end| end.parse::<usize>().ok());
    let (Some(low), Some(high)) = (ends.next(), ends.next()) else { return Ok(()) };
    let ports = high.saturating_sub(low) + 1;
    let most = ports * sources.max(1);
    if sessions > most {
        let needed = sessions.div_ceil(ports);
        bail!(
            "{sessions} sessions need as many local ports, and there are {ports} for each source address: this machine \
             can hold {most}, or all of them with --source-addresses {needed}"
        );
    }
    Ok(())
}

/// That many addresses of 127.0.0.0/8, leaving 127.0.0.0 to 127.0.0.255 to others.
pub(crate) fn source_addresses(count: usize) -> Vec<IpAddr> {
    (0..count.min(60_000))
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
        let refused = check_descriptors(Scenario::Pasv, 100_000_000).unwrap_err().to_string();
        assert!(refused.contains("--sessions "), "{refused}");
        let refused = check_ports(100_000_000, 1).unwrap_err().to_string();
        assert!(refused.contains("--source-addresses "), "{refused}");
    }
}
