//! A report as a person reads it.

use std::fmt::Write as _;

use super::Report;
use crate::measure::ServerUsage;
use crate::scenario::Scenario;

/// Where units move less than this each, processor time for each GiB says nothing.
const GIB_SHOWN_FROM_BYTES: u64 = 32 * 1024;

/// The report as text, with its last line ended.
pub(crate) fn table(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(out, "{} on {}", report.scenario.name(), report.target)?;
    writeln!(out, "  {}", report.pace)?;
    writeln!(
        out,
        "  {} sessions, {} worker(s), {} source address(es), seed {}, {:.1} s measured after {:.1} s of warm-up",
        report.sessions,
        report.workers,
        report.source_addresses,
        report.seed,
        report.measured_s,
        report.warmup_s
    )?;
    if let Some(why) = &report.ended_early {
        writeln!(out, "  ENDED EARLY: {why}")?;
    } else if report.units == 0 && report.errors.is_empty() {
        writeln!(
            out,
            "  NOTHING WAS MEASURED: no {} was complete while it was, --duration is too short",
            report.unit
        )?;
    }
    write!(out, "\n  {} {}s", report.units, report.unit)?;
    if let Some(rate) = report.units_per_s {
        write!(out, ", {rate:.1} a second")?;
    }
    if report.bytes > 0 && report.measured_s > 0.0 {
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let rate = report.bytes as f64 / report.measured_s / (1024.0 * 1024.0);
        write!(out, ", {rate:.1} MiB a second")?;
    }
    write!(out, ", {} errors", report.errors_measured())?;
    let others = report.error_count() - report.errors_measured();
    if others > 0 {
        write!(out, " (and {others} before or after)")?;
    }
    if report.units_unfinished > 0 {
        write!(out, ", {} that were due did not end", report.units_unfinished)?;
    }
    writeln!(out)?;
    if let Some(storms) = &report.storms {
        writeln!(
            out,
            "  {} storms, from ready to done {} in all: {:.1} {}s a second in them",
            storms.count,
            duration_text(storms.took_s * 1e6),
            storms.units_per_s,
            report.unit
        )?;
    }
    write_latencies(out, report)?;
    write_errors(out, report)?;
    for (name, count) in &report.remarks {
        writeln!(out, "  {count} {name}")?;
    }
    for leftover in &report.leftovers {
        writeln!(out, "  LEFT BEHIND: {leftover}")?;
    }
    if let Some(server) = &report.server {
        let shows_gib = report.bytes / report.units.max(1) >= GIB_SHOWN_FROM_BYTES;
        write_server(out, server, &report.unit, shows_gib)?;
        if report.scenario == Scenario::Idle && server.memory_bytes_per_session.is_none() {
            writeln!(
                out,
                "  memory for each session: the server took no more than it had; start it anew to see"
            )?;
        }
    }
    writeln!(
        out,
        "\n  tester: {:.0}% of its cores, loops late by {} at p99, {} at most",
        report.tester.processor_share * 100.0,
        duration_text(report.tester.lateness_p99_us),
        duration_text(report.tester.lateness_max_us)
    )?;
    for warning in &report.tester.warnings {
        writeln!(out, "  WARNING: {warning}")?;
    }
    Ok(())
}

fn write_latencies(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.latencies.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(
        out,
        "  {:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "latency", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for latency in &report.latencies {
        write!(out, "  {:<14}{:>10}", latency.step, latency.count)?;
        for value in [
            latency.min_us,
            latency.mean_us,
            latency.p50_us,
            latency.p90_us,
            latency.p99_us,
            latency.p999_us,
            latency.max_us,
        ] {
            write!(out, "{:>10}", duration_text(value))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_errors(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.errors.is_empty() {
        return writeln!(out);
    }
    writeln!(out, "\n  {:<14}{:>10}{:>10}  {:<20} the first one", "errors in", "measured", "in all", "kind")?;
    for error in &report.errors {
        writeln!(
            out,
            "  {:<14}{:>10}{:>10}  {:<20} {}",
            error.step, error.measured, error.count, error.kind, error.example
        )?;
    }
    writeln!(out)
}

fn write_server(out: &mut String, server: &ServerUsage, unit: &str, shows_gib: bool) -> std::fmt::Result {
    write!(out, "  server {}", server.pid)?;
    if let Some(name) = &server.name {
        write!(out, " ({name})")?;
    }
    write!(out, ": {:.2} s of processor time", server.processor_s)?;
    if let Some(each) = server.processor_us_per_unit {
        write!(out, ", {each:.2} µs for each {unit}")?;
    }
    if let Some(peak) = server.memory_bytes_peak {
        write!(out, ", {} of memory at its peak", size_text(peak))?;
    }
    writeln!(out)?;
    if let Some(each) = server.processor_s_per_gib.filter(|_| shows_gib) {
        writeln!(out, "  processor time for each GiB: {each:.3} s")?;
    }
    if let Some(each) = server.memory_bytes_per_session {
        writeln!(out, "  memory for each session: {each:.0} bytes")?;
    }
    if let (Some(before), Some(after)) = (server.descriptors_before, server.descriptors_after) {
        writeln!(out, "  descriptors: {before} before, {after} after")?;
    }
    Ok(())
}

/// Microseconds with the unit that suits them.
fn duration_text(microseconds: f64) -> String {
    match microseconds {
        value if value < 1000.0 => format!("{value:.1}us"),
        value if value < 1_000_000.0 => format!("{:.2}ms", value / 1000.0),
        value => format!("{:.2}s", value / 1_000_000.0),
    }
}

fn size_text(bytes: u64) -> String {
    match bytes {
        bytes if bytes < 1 << 20 => format!("{} KiB", bytes >> 10),
        bytes => format!("{} MiB", bytes >> 20),
    }
}
