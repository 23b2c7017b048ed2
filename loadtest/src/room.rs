//! Room for what a server of the tester's own serves, and for what is stored with it, said before the run.

use std::env;

use anyhow::{Context as _, bail};
use nix::sys::statvfs::statvfs;
use procfs::{Current as _, Meminfo};

use crate::cli::RunOptions;
use crate::scenario::Scenario;
use crate::server::DIFFERENT_FILES;

/// Of the memory that is free, other programs keep a half.
const MEMORY_PART: u64 = 2;
/// What an empty file takes in its directory, with room to spare.
const ENTRY_BYTES: u64 = 128;

/// No more is kept of a file of somebody else's, however much memory is free.
const KEPT_BYTES_MAX: u64 = 256 << 20;

/// What there is.
#[derive(Debug, Clone, Copy)]
struct Room {
    memory_bytes: u64,
    disk_bytes: u64,
    /// How many files may be made, where the file system has a bound.
    files: u64,
}

impl Room {
    fn look() -> anyhow::Result<Self> {
        let folder = env::temp_dir();
        let disk = statvfs(&folder)
            .with_context(|| format!("cannot tell how much room there is in {}", folder.display()))?;
        Ok(Self {
            memory_bytes: memory_bytes()?,
            disk_bytes: disk.blocks_available().saturating_mul(disk.fragment_size()),
            files: if disk.files() == 0 { u64::MAX } else { disk.files_available() },
        })
    }

    /// Sizes that were asked for, by option, and the most that fits of each.
    fn bounds(
        self,
        scenario: Scenario,
        options: &RunOptions,
        sessions: u64,
    ) -> Vec<(&'static str, u64, u64)> {
        let Self { memory_bytes, disk_bytes, files } = self;
        let small_files = match scenario {
            Scenario::Download | Scenario::Fxp => 0,
            Scenario::Pasv | Scenario::ConnectBack => DIFFERENT_FILES as u64,
            _ => 1,
        };
        let mut bounds = Vec::new();
        // They are kept in memory, to be compared.
        if let Some(most) = memory_bytes.min(disk_bytes).checked_div(small_files) {
            bounds.push(("--small-size", options.server.small_size, most));
        }
        match scenario {
            Scenario::Download => bounds.push(("--big-size", options.server.big_size, disk_bytes)),
            // Each of the servers has one, kept in memory too, and each session one that is on its way.
            Scenario::Fxp => {
                let most = (memory_bytes / 2).min(disk_bytes / (2 + sessions));
                bounds.push(("--upload-size", options.upload_size, most));
            }
            // One that is stored, and the one that it takes the place of.
            Scenario::Upload | Scenario::Mixed => {
                bounds.push(("--upload-size", options.upload_size, disk_bytes / (2 * sessions)));
            }
            _ => {}
        }
        if scenario.lists() {
            bounds.push(("--entries", options.server.entries as u64, files.min(disk_bytes / ENTRY_BYTES)));
        }
        bounds
    }
}

/// How much memory may be taken.
fn memory_bytes() -> anyhow::Result<u64> {
    let memory = Meminfo::current().context("cannot tell how much memory is free")?;
    Ok(memory.mem_available.unwrap_or(memory.mem_free) / MEMORY_PART)
}

/// How much is kept of each file of somebody else's.
///
/// # Errors
///
/// If it cannot be told how much memory is free.
pub(crate) fn kept_bytes_max(scenario: Scenario) -> anyhow::Result<usize> {
    let files = if scenario.has_two_servers() { 2 } else { 1 };
    // A vector that grows has as much again while it is moved.
    let most = (memory_bytes()? / (2 * files)).min(KEPT_BYTES_MAX);
    Ok(usize::try_from(most).unwrap_or(usize::MAX))
}

/// Checks that what a server of the tester's own serves has room on this machine.
///
/// # Errors
///
/// If it has not, with what would.
pub(crate) fn check_room(scenario: Scenario, options: &RunOptions, sessions: usize) -> anyhow::Result<()> {
    for (option, asked, most) in Room::look()?.bounds(scenario, options, sessions as u64) {
        if asked > most {
            bail!(
                "{option} {asked} has no room in {} and in this machine's memory: at most {option} {most}",
                env::temp_dir().display()
            );
        }
    }
    Ok(())
}
