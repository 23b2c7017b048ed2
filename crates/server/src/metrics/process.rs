//! What the kernel tells of this process, under the names that all exporters use.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use procfs::process::{LimitValue, Process};

use super::page::Page;

/// Adds the process's figures. Where /proc is not to be read there are few.
pub(super) fn encode(page: &mut Page<'_>, started: SystemTime) -> fmt::Result {
    // Not from /proc/stat, which a sandbox may hide.
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.gauge_of_seconds(
        "process_start_time_seconds",
        "When the process was started, in seconds since 1970-01-01 UTC.",
        started.as_secs_f64(),
    )?;
    let Ok(process) = Process::myself() else { return Ok(()) };
    if let Ok(stat) = process.stat() {
        let ticks_per_second = seconds(procfs::ticks_per_second());
        page.counter_of_seconds(
            "process_cpu_seconds",
            "Processor time that the process has used, in user space and in the kernel.",
            seconds(stat.utime + stat.stime) / ticks_per_second,
        )?;
        page.gauge(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM.",
            stat.rss.saturating_mul(procfs::page_size()),
        )?;
        page.gauge("process_virtual_memory_bytes", "Address space of the process.", stat.vsize)?;
        page.gauge("process_threads", "Threads of the process.", stat.num_threads.unsigned_abs())?;
    }
    if let Ok(open) = process.fd_count() {
        page.gauge("process_open_fds", "File descriptors that are open.", open as u64)?;
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(max) = limits.max_open_files.soft_limit
    {
        page.gauge("process_max_fds", "How many file descriptors may be open.", max)?;
    }
    Ok(())
}

/// Exact up to 2^53, which is more than any clock here counts to.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn seconds(number: u64) -> f64 {
    number as f64
}
