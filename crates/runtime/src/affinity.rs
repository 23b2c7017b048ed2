//! Which cores this process may use, and pinning a thread to one of them.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The thread that asks.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The cores that this thread may run on, lowest first.
///
/// Asked on the main thread before any worker is started, this is the process's own mask: what `taskset`, a
/// container's cpuset or the service manager allowed.
///
/// # Errors
///
/// What `sched_getaffinity(2)` says: `EINVAL` where the machine has more than 1024 cores.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(THIS_THREAD)?;
    Ok((0..CpuSet::count()).filter(|&core| mask.is_set(core).unwrap_or(false)).collect())
}

/// The set of cores a thread may run on, as the kernel has it.
#[derive(Clone, Copy)]
pub(crate) struct Mask(CpuSet);

impl Mask {
    /// The mask of the calling thread.
    pub(crate) fn of_this_thread() -> io::Result<Mask> {
        Ok(Mask(sched_getaffinity(THIS_THREAD)?))
    }

    /// Lets the calling thread run on the cores of this mask.
    pub(crate) fn apply(&self) -> io::Result<()> {
        Ok(sched_setaffinity(THIS_THREAD, &self.0)?)
    }
}

/// Pins the calling thread to `core`.
///
/// # Errors
///
/// `EINVAL` for a core that is not there or that the process may not use.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut mask = CpuSet::new();
    mask.set(core)?;
    Mask(mask).apply()
}
