//! Cores for the server and cores for the tester.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

const THIS_THREAD: Pid = Pid::from_raw(0);

/// Who runs where.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    pub(crate) server: Vec<usize>,
    pub(crate) tester: Vec<usize>,
}

/// Splits the allowed cores: the first `for_server` are the server's, at most all but one. A single core is shared.
pub(crate) fn cores(allowed: &[usize], for_server: usize) -> Cores {
    if allowed.len() < 2 {
        return Cores { server: allowed.to_vec(), tester: allowed.to_vec() };
    }
    let (server, tester) = allowed.split_at(for_server.clamp(1, allowed.len() - 1));
    Cores { server: server.to_vec(), tester: tester.to_vec() }
}

/// Runs `start` with this thread on `cores`, so that a process which it starts is there from its first moment.
///
/// # Errors
///
/// What the kernel says to the cores, and what `start` says.
pub(super) fn on_cores<T>(cores: &[usize], start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let before = sched_getaffinity(THIS_THREAD)?;
    let mut mask = CpuSet::new();
    for &core in cores {
        mask.set(core)?;
    }
    sched_setaffinity(THIS_THREAD, &mask)?;
    let started = start();
    sched_setaffinity(THIS_THREAD, &before)?;
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_split() {
        let split = |allowed: &[usize], for_server| {
            let cores = cores(allowed, for_server);
            (cores.server, cores.tester)
        };
        assert_eq!(split(&[0, 1], 1), (vec![0], vec![1]));
        assert_eq!(split(&[0, 1], 9), (vec![0], vec![1]));
        assert_eq!(split(&[2, 3, 5, 7], 2), (vec![2, 3], vec![5, 7]));
        assert_eq!(split(&[4], 1), (vec![4], vec![4]));
    }
}
