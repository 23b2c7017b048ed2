//! What a server takes of the machine: processor time, memory, descriptors.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::{Pid, SysconfVar, sysconf};
use procfs::process::Process;
use serde::{Deserialize, Serialize};

/// How often a process and its descendants are read again, where some came or went meanwhile.
const READINGS_MAX: usize = 20;

/// So long for each process that was looked at, it is not looked again at all of them only to have seen a server that dies: with thousands
/// of them that takes a good part of a core, and disturbs what is measured.
const GOOD_FOR_EACH: Duration = Duration::from_millis(10);

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
    /// The process's name.
    #[serde(default)]
    pub(crate) name: Option<String>,
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

    /// Whether the server lives. That is seen by its process alone, whatever others it has started.
    pub(crate) fn is_alive(&self) -> bool {
        [Some(self.pid), self.other].into_iter().flatten().all(|pid| ended_children(pid).is_ok())
    }

    /// The processor time until now, read again until no process came or went meanwhile.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub(crate) fn sample(&self) -> anyhow::Result<ProcessorSample> {
        let mut sample = self.look()?;
        for _ in 1..READINGS_MAX {
            if sample.is_settled {
                break;
            }
            sample = self.look()?;
        }
        Ok(sample)
    }

    /// The processor time until now, read once.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub(crate) fn look(&self) -> anyhow::Result<ProcessorSample> {
        let mut sample = ProcessorSample::default();
        if let Some(cgroup) = self.cgroup {
            ended_children(self.pid).with_context(|| format!("process {} has ended", self.pid))?;
            sample.time = cgroup_time(cgroup)?;
            sample.is_settled = true;
            return Ok(sample);
        }
        sample.is_settled = true;
        for pid in [Some(self.pid), self.other].into_iter().flatten() {
            sample.add(pid).with_context(|| format!("process {pid} has ended"))?;
        }
        Ok(sample)
    }
}

/// The processor time of a server at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProcessorSample {
    pub(crate) time: Duration,
    /// The processes that the server had started, and they in turn.
    descendants: BTreeSet<Pid>,
    /// What of the time is of processes that ended.
    ended: Duration,
    /// No process came or went while it was read.
    is_settled: bool,
}

impl ProcessorSample {
    /// Adds a process with its descendants.
    ///
    /// The kernel adds the time of a process that ended to that of its parent, once that has asked for it. A process that goes between
    /// two of the readings below would be in neither, or in both: so it is looked before and after whether any did.
    fn add(&mut self, root: Pid) -> anyhow::Result<()> {
        let descendants = descendants(root);
        let mut ended = ended_children(root)?;
        let mut living = living(root)?;
        for &process in &descendants {
            let (Ok(of_ended), Ok(of_living)) = (ended_children_of_any(process), self::living(process))
            else {
                self.is_settled = false;
                continue;
            };
            ended += of_ended;
            living += of_living;
        }
        let ended_again = descendants.iter().try_fold(ended_children(root)?, |sum, &process| {
            ended_children_of_any(process).map(|of_ended| sum + of_ended)
        });
        self.is_settled &=
            ended_again.is_ok_and(|again| again == ended) && self::descendants(root) == descendants;
        self.time += ended + living;
        self.ended += ended;
        self.descendants.extend(descendants);
        Ok(())
    }

    /// How long nobody needs to look again, unless it is to be known to the moment.
    pub(crate) fn is_good_for(&self) -> Duration {
        let others = u32::try_from(self.descendants.len()).unwrap_or(u32::MAX);
        GOOD_FOR_EACH.saturating_mul(others.saturating_add(1))
    }

    /// Whether something may be missing between `before` and this: processes that came and went are known by what their parents
    /// were told, if they asked.
    pub(crate) fn may_have_missed_since(&self, before: &Self) -> bool {
        !(self.is_settled && before.is_settled)
            || self.ended != before.ended
            || !before.descendants.is_subset(&self.descendants)
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

/// How long the threads of this process that are there now have waited for a core which others had.
pub(crate) fn own_wait() -> Duration {
    let tasks = Process::myself().and_then(|own| own.tasks()).into_iter().flatten();
    let waited = tasks.filter_map(|task| task.ok()?.schedstat().ok()).map(|stat| stat.run_delay);
    Duration::from_nanos(waited.sum())
}

fn living(pid: Pid) -> nix::Result<Duration> {
    let clock: ClockId = clock_getcpuclockid(pid)?;
    Ok(clock.now()?.into())
}

/// The processor time of children that were waited for, to a clock tick, of a process that has not ended itself.
fn ended_children(pid: Pid) -> anyhow::Result<Duration> {
    let (state, time) = state_and_ended_children(pid)?;
    if state == "Z" {
        bail!("nobody has asked yet how it ended");
    }
    Ok(time)
}

/// The same of a process that may have ended, as long as nobody has asked how.
fn ended_children_of_any(pid: Pid) -> anyhow::Result<Duration> {
    state_and_ended_children(pid).map(|(_, time)| time)
}

fn state_and_ended_children(pid: Pid) -> anyhow::Result<(String, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may contain anything; the fields behind it are numbers, from the third on.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let state = fields.first().copied().unwrap_or_default().to_owned();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    let (user, system) = (ticks(16 - 3), ticks(17 - 3));
    let ticks_per_second =
        sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u32::try_from(ticks).ok());
    Ok((state, Duration::from_secs(1) * (user + system) / ticks_per_second.unwrap_or(100)))
}

fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .map(Pid::from_raw)
        .collect()
}

/// The children of a process, theirs, and so on.
fn descendants(pid: Pid) -> BTreeSet<Pid> {
    let mut found = BTreeSet::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        parents.extend(children(parent).into_iter().filter(|&child| found.insert(child)));
    }
    found
}

/// The name of a process, as the kernel knows it.
pub(crate) fn process_name(pid: Pid) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_ascii_end().escape_ascii().to_string())
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

/// A process's memory, where what it shares with others counts by its share. Without what is mapped of files: of its program the share
/// would change whenever somebody else started or ended the same one.
fn memory_by_shares(pid: Pid) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kibibytes = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let own = (kibibytes("Pss_Anon:")? + kibibytes("Pss_Shmem:")?) * 1024;
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
        let before = clock.look().unwrap().time;
        let mut spun = 0_u64;
        while clock.look().unwrap().time == before {
            spun += 1;
        }
        assert!(spun < u64::MAX);
        let memory = memory(pid).unwrap();
        assert!(0 < memory.resident_bytes && memory.resident_bytes <= memory.peak_bytes);
        assert!(descriptors(pid).unwrap() >= 3);
        assert!(process_name(pid).is_some_and(|name| name.starts_with("loadtest")));
    }

    #[test]
    fn a_child_is_not_this_process() {
        let mut child = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let clock = ProcessorClock::of(Pid::this());
        let time = || clock.look().unwrap().time;
        let before = (time(), own_processor_time());
        let half_a_second = Duration::from_millis(500);
        while time().saturating_sub(before.0) < half_a_second {
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Other tests run in this process at the same time.
        assert!(own_processor_time() - before.1 < time() - before.0);
    }

    /// A process whose grandchild has done its work and ended, which nobody has asked about.
    #[test]
    fn a_descendant_that_has_just_ended_is_not_lost() {
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let script = r#"sh -c 'sh -c "$0" & exec sleep 60' "$0" & exec sleep 60"#;
        let mut server = std::process::Command::new("sh");
        // What is left of it, should this test fail, keeps nobody waiting for its output.
        server
            .args(["-c", script, work])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut server = server.spawn().unwrap();
        let root = Pid::from_raw(i32::try_from(server.id()).unwrap());
        let clock = ProcessorClock::of(root);
        let ended = loop {
            let state = |pid: &Pid| state_and_ended_children(*pid).is_ok_and(|(state, _)| state == "Z");
            if let Some(ended) = descendants(root).into_iter().find(state) {
                break ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let after = clock.sample().unwrap();
        let worked = living(ended).unwrap();
        assert!(worked > Duration::from_millis(20), "{worked:?}");
        assert!(after.is_settled && after.time >= worked, "{after:?} without {worked:?}");
        let parent = descendants(root).into_iter().find(|&pid| children(pid).contains(&ended)).unwrap();
        for pid in [parent, root] {
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        server.wait().unwrap();
        assert!(clock.sample().is_err());
    }

    fn with(pids: &[i32], ended_ms: u64, is_settled: bool) -> ProcessorSample {
        ProcessorSample {
            time: Duration::ZERO,
            descendants: pids.iter().copied().map(Pid::from_raw).collect(),
            ended: Duration::from_millis(ended_ms),
            is_settled,
        }
    }

    #[test]
    fn many_processes_are_looked_at_seldom() {
        assert_eq!(with(&[], 0, true).is_good_for(), Duration::from_millis(10));
        let many: Vec<i32> = (2..2001).collect();
        assert_eq!(with(&many, 0, true).is_good_for(), Duration::from_secs(20));
    }

    #[test]
    fn a_process_that_nobody_has_asked_about_lives_no_more() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let clock = ProcessorClock::of(Pid::from_raw(child.id().try_into().unwrap()));
        assert!(clock.is_alive());
        assert!(!ProcessorClock::of(Pid::this()).and(Some(Pid::from_raw(i32::MAX))).is_alive());
        child.kill().unwrap();
        while clock.is_alive() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!clock.is_alive());
    }

    #[test]
    fn processes_that_come_and_go_are_told() {
        let before = with(&[7, 8], 10, true);
        assert!(!with(&[7, 8, 9], 10, true).may_have_missed_since(&before));
        assert!(with(&[7, 9], 10, true).may_have_missed_since(&before));
        assert!(with(&[7, 8], 20, true).may_have_missed_since(&before));
        assert!(with(&[7, 8], 10, false).may_have_missed_since(&before));
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(ProcessorClock::of(Pid::from_raw(i32::MAX)).sample().is_err());
        assert!(memory(Pid::from_raw(i32::MAX)).is_none());
    }
}
