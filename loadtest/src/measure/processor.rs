//! What a server takes of the machine: processor time, memory, descriptors.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// A process's processor time: of all its threads, those that ended and the kernel's own for its rings among them, of
/// its children, and of theirs. A second process may be added, where two servers do one work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProcessorClock {
    pid: Pid,
    other: Option<Pid>,
    /// Where the kernel counts for all of the server's processes, if there is such a place.
    cgroup: Option<&'static Path>,
}

/// What a server took while a run was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ServerUsage {
    pub(crate) pid: i32,
    /// Processor time, in seconds.
    pub(crate) processor_s: f64,
    /// Processor time for each unit, in microseconds.
    pub(crate) processor_us_per_unit: Option<f64>,
    /// Processor time for each GiB moved, in seconds.
    pub(crate) processor_s_per_gib: Option<f64>,
    /// Memory in use at its highest, in bytes.
    pub(crate) memory_bytes_peak: Option<u64>,
    /// Memory in use at the end of the window less that before the run, for each session, in bytes; none where it is no more,
    /// as in a server that had more sessions before.
    pub(crate) memory_bytes_per_session: Option<f64>,
    /// Open descriptors before the run and after it.
    pub(crate) descriptors_before: Option<u64>,
    pub(crate) descriptors_after: Option<u64>,
}

impl ProcessorClock {
    pub(crate) fn of(pid: Pid) -> Self {
        Self { pid, other: None, cgroup: None }
    }

    /// The time of everything in a control group, in place of the processes'.
    pub(crate) fn in_cgroup(self, folder: &Path) -> Self {
        // There is one for the whole life of the program.
        let folder = &*Box::leak(folder.to_owned().into_boxed_path());
        Self { cgroup: Some(folder), ..self }
    }

    /// This, and another process.
    pub(crate) fn and(self, other: Option<Pid>) -> Self {
        Self { other, ..self }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// The processor time until now, to the nanosecond for living processes.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub(crate) fn now(&self) -> anyhow::Result<Duration> {
        let gone = || format!("process {} has ended", self.pid);
        let ended = ended_children(self.pid).with_context(gone)?;
        let own = living(self.pid).with_context(gone)?;
        if let Some(cgroup) = self.cgroup {
            return cgroup_time(cgroup);
        }
        let children = children(self.pid).into_iter();
        // A child that ends between two looks is counted by neither: its parent has it at the next.
        let living = children.filter_map(|child| Self::of(child).now().ok()).sum::<Duration>();
        let other = self.other.map(|other| Self::of(other).now()).transpose()?.unwrap_or_default();
        Ok(own + ended + living + other)
    }
}

/// The processor time of a control group, of version 2 (`cpu.stat`) or of version 1 (`cpuacct.usage`).
fn cgroup_time(folder: &Path) -> anyhow::Result<Duration> {
    if let Ok(stat) = fs::read_to_string(folder.join("cpu.stat"))
        && let Some(usage) = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))
    {
        return Ok(Duration::from_micros(usage.trim().parse()?));
    }
    let usage = fs::read_to_string(folder.join("cpuacct.usage"))
        .with_context(|| format!("{} tells no processor time", folder.display()))?;
    Ok(Duration::from_nanos(usage.trim().parse()?))
}

/// The processor time of this process alone: a server that it started is a child of it, and counts elsewhere.
pub(crate) fn own_processor_time() -> Duration {
    ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

fn living(pid: Pid) -> nix::Result<Duration> {
    let clock: ClockId = clock_getcpuclockid(pid)?;
    Ok(clock.now()?.into())
}

/// The processor time of children that were waited for, to a clock tick.
fn ended_children(pid: Pid) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may contain anything; the fields behind it are numbers, from the third on.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    if fields.first().is_some_and(|state| *state == "Z") {
        bail!("nobody has asked yet how it ended");
    }
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    let (user, system) = (ticks(16 - 3), ticks(17 - 3));
    let ticks_per_second =
        sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u32::try_from(ticks).ok());
    Ok(Duration::from_secs(1) * (user + system) / ticks_per_second.unwrap_or(100))
}

fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .map(Pid::from_raw)
        .collect()
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// In use now.
    pub(crate) resident_bytes: u64,
    /// In use at its highest.
    pub(crate) peak_bytes: u64,
}

/// The memory of a process and its children, what they share counted once; `None` once it has ended.
pub(crate) fn memory(pid: Pid) -> Option<Memory> {
    let own = own_memory(pid)?;
    let resident_bytes = memory_by_shares(pid).unwrap_or(own.resident_bytes);
    Some(Memory { resident_bytes, peak_bytes: own.peak_bytes.max(resident_bytes) })
}

/// A process's memory, where what it shares with others counts by its share.
fn memory_by_shares(pid: Pid) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let own = line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024;
    Some(own + children(pid).into_iter().filter_map(memory_by_shares).sum::<u64>())
}

fn own_memory(pid: Pid) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kibibytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    Some(Memory { resident_bytes: kibibytes("VmRSS:")? * 1024, peak_bytes: kibibytes("VmHWM:")? * 1024 })
}

/// How many descriptors a process and its children have open; `None` where that may not be seen.
pub(crate) fn descriptors(pid: Pid) -> Option<u64> {
    let own = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
    Some(own + children(pid).into_iter().filter_map(descriptors).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_a_clock_memory_and_descriptors() {
        let pid = Pid::this();
        let clock = ProcessorClock::of(pid);
        let before = clock.now().unwrap();
        let mut spun = 0_u64;
        while clock.now().unwrap() == before {
            spun += 1;
        }
        assert!(spun < u64::MAX);
        let memory = memory(pid).unwrap();
        assert!(0 < memory.resident_bytes && memory.resident_bytes <= memory.peak_bytes);
        assert!(descriptors(pid).unwrap() >= 3);
    }

    #[test]
    fn a_child_is_not_this_process() {
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let clock = ProcessorClock::of(Pid::this());
        let before = (clock.now().unwrap(), own_processor_time());
        let half_a_second = Duration::from_millis(500);
        while clock.now().unwrap() - before.0 < half_a_second {
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Other tests run in this process at the same time.
        assert!(own_processor_time() - before.1 < clock.now().unwrap() - before.0);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(ProcessorClock::of(Pid::from_raw(i32::MAX)).now().is_err());
        assert!(memory(Pid::from_raw(i32::MAX)).is_none());
    }
}
