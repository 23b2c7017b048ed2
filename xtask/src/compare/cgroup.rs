//! Control groups: the kernel's own account of what a server takes, with what it forked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where groups are: version 1's controller of processor time, or version 2.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"];

/// How long processes may take to be gone that were killed.
const END_MAX: Duration = Duration::from_secs(10);

/// A control group; dropped, whatever is in it is ended, and it is taken away.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// If this machine has none that this user may make.
    pub(crate) fn create(name: &str) -> anyhow::Result<Self> {
        let mount = MOUNTS.iter().map(Path::new).find(|mount| mount.join("cgroup.procs").exists());
        let Some(mount) = mount else { bail!("there are no control groups below /sys/fs/cgroup") };
        let group = Self { folder: mount.join(format!("ringftpd-compare-{name}")) };
        if group.folder.exists() {
            group.end_processes();
            fs::remove_dir(&group.folder).context("an earlier run's control group cannot be removed")?;
        }
        fs::create_dir(&group.folder)
            .with_context(|| format!("cannot make the control group {}", group.folder.display()))?;
        Ok(group)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The processor time of everything that was ever in it.
    ///
    /// # Errors
    ///
    /// If the kernel does not tell.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        if let Ok(nanoseconds) = fs::read_to_string(self.folder.join("cpuacct.usage")) {
            return Ok(Duration::from_nanos(nanoseconds.trim().parse()?));
        }
        let stat = fs::read_to_string(self.folder.join("cpu.stat"))?;
        let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Ok(Duration::from_micros(usage.context("the control group tells no processor time")?.parse()?))
    }

    fn processes(&self) -> Vec<Pid> {
        let listed = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        listed.lines().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
    }

    fn end_processes(&self) {
        let deadline = Instant::now() + END_MAX;
        loop {
            let processes = self.processes();
            if processes.is_empty() || Instant::now() > deadline {
                return;
            }
            for pid in processes {
                // It may have ended by itself.
                let _ = kill(pid, Signal::SIGKILL);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.end_processes();
        // The last process may still be on its way out of it.
        let deadline = Instant::now() + END_MAX;
        while let Err(error) = fs::remove_dir(&self.folder) {
            if error.kind() == io::ErrorKind::NotFound || Instant::now() > deadline {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
