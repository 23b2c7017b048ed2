//! What the kernel counts of a running process.

use std::fs;
use std::path::{Path, PathBuf};

/// How much memory a process holds (`VmRSS`), in bytes.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    kibibytes(pid, "VmRSS:") * 1024
}

/// The most memory that a process has ever held (`VmHWM`), in bytes.
pub(crate) fn peak_resident_bytes(pid: u32) -> u64 {
    kibibytes(pid, "VmHWM:") * 1024
}

fn kibibytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What a process has open of that which belongs to sessions. What it keeps for the next one, such as pipes, and what
/// the rings and timers of its workers are, does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) sockets: usize,
    /// Files and directories below a path, those without a name too.
    pub(crate) files: usize,
}

impl Opened {
    /// Counts what `pid` has open, with files below `directory`, which itself does not count.
    pub(crate) fn by(pid: u32, directory: &Path) -> Self {
        let directory = directory.canonicalize().expect("a directory");
        let targets = targets(pid);
        let is_socket = |target: &&PathBuf| target.to_string_lossy().starts_with("socket:");
        let is_below = |target: &&PathBuf| target.starts_with(&directory) && **target != directory;
        Self {
            sockets: targets.iter().filter(is_socket).count(),
            files: targets.iter().filter(is_below).count(),
        }
    }

    /// How many pipe ends `pid` has open.
    pub(crate) fn pipes(pid: u32) -> usize {
        targets(pid).iter().filter(|target| target.to_string_lossy().starts_with("pipe:")).count()
    }
}

/// What the descriptors of a process stand for, as far as they are still there when they are asked for.
fn targets(pid: u32) -> Vec<PathBuf> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs");
    descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect()
}
