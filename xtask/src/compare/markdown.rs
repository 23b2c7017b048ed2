//! `docs/benchmarks.md`.

use std::fmt::Write as _;

use super::Findings;
use super::results::{Compared, Row};
use super::scenarios::Figure;
use super::servers::Part;

/// How the page begins.
const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo xtask compare`, which fetches the other servers, starts each on the same core over the same directory, and runs
`loadtest` against them from another core, in turn. Each run of another server has a run of ringftpd beside it; ratios are medians
over such pairs, because a machine is not the same from minute to minute. **Trust the ratios, not the microseconds.** Processor
time is the kernel's account of the server's control group: what a server forks, and what the kernel works for it, is in it.

The *roofline* answers the same packets with canned replies: no parsing, no checks, no files (`benches/programs/src/bin/roofline.rs`). It
is what the kernel's own work costs. The *best peer* is, in each table by itself, the other FTP server with the lowest figure.
Latencies are of a closed loop: they compare servers under a load that each can carry, and say nothing about overload. Where the load's own
core was full, or late, in a run, rates and latencies are as much the load's as the server's: they carry a †, and a server is at least as good as it looks there. There is a p99
only of five hundred units and more.
The same with bars: [benchmarks.html](benchmarks.html).
";

/// The page.
pub(crate) fn page(findings: &Findings) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, findings);
    out
}

fn write(out: &mut String, findings: &Findings) -> std::fmt::Result {
    writeln!(out, "{INTRODUCTION}")?;
    writeln!(
        out,
        "{}. {} rounds of {:.1} s each.\n",
        findings.machine,
        findings.rounds,
        f64::from(u32::try_from(findings.duration_ms).unwrap_or(u32::MAX)) / 1000.0
    )?;
    let versions: Vec<_> =
        findings.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(out, "Servers: {}.", versions.join(", "))?;
    for (name, why) in &findings.absent {
        writeln!(out, "\n**{name} could not be started** and is missing below: {why}")?;
    }
    write_targets(out, findings)?;
    write_losses(out, findings)?;
    for compared in &findings.compared {
        write_table(out, compared)?;
    }
    Ok(())
}

fn write_targets(out: &mut String, findings: &Findings) -> std::fmt::Result {
    writeln!(out, "\n## Targets\n\n| what | target | measured | |\n| --- | --- | --- | --- |")?;
    for target in &findings.targets {
        let verdict = match target.holds {
            Some(true) => "holds",
            Some(false) => "**missed**",
            None => "–",
        };
        writeln!(out, "| {} | {} | {} | {verdict} |", target.what, target.wanted, target.measured)?;
    }
    Ok(())
}

fn write_losses(out: &mut String, findings: &Findings) -> std::fmt::Result {
    writeln!(out, "\n## What ringftpd loses, or may\n")?;
    let losses: Vec<String> = findings.compared.iter().flat_map(losses).collect();
    if losses.is_empty() {
        writeln!(out, "Nothing of what is measured here.")?;
    }
    for loss in losses {
        writeln!(out, "- {loss}")?;
    }
    Ok(())
}

/// Where others do better, and where the roofline is not reached.
pub(crate) fn losses(compared: &Compared) -> Vec<String> {
    let rows = compared.rows();
    let Some(own) = rows.iter().find(|row| row.part == Part::Own) else {
        return vec![format!("{}: ringftpd completed nothing.", compared.scenario.name)];
    };
    let mut losses = Vec::new();
    let name = compared.scenario.name;
    let what = compared.scenario.figure.what();
    for row in rows.iter().filter(|row| row.to_own < 1.0 && row.part != Part::Own) {
        losses.push(format!("`{name}`: {what} is {:.2} of {}'s.", 1.0 / row.to_own, row.name));
    }
    // Of sessions that do nothing neither says anything.
    let is_timed = compared.scenario.figure != Figure::Memory;
    let peers = || rows.iter().filter(|row| is_timed && row.part == Part::Peer);
    let undecided: Vec<&str> = peers().filter(|row| row.rate_to_own.is_none()).map(|row| row.name).collect();
    if !undecided.is_empty() {
        let names = undecided.join(", ");
        losses
            .push(format!("`{name}`: undecided who is quicker, as the load was at its own limit: {names}."));
    }
    for row in peers() {
        if let Some(ratio) = row.rate_to_own.filter(|ratio| *ratio > 1.02) {
            let unit = compared.scenario.unit;
            losses
                .push(format!("`{name}`: {} completes {ratio:.2} times as many {unit}s a second.", row.name));
        }
        if let Some(ratio) = row.p99_to_own.filter(|ratio| *ratio < 0.98) {
            losses.push(format!("`{name}`: {}'s latency at p99 is {ratio:.2} of ringftpd's.", row.name));
        }
    }
    losses
        .extend(compared.own_failures.iter().map(|failure| format!("`{name}`: ringftpd failed: {failure}.")));
    if own.errors > 0.0 {
        losses.push(format!(
            "`{name}`: {:.0} errors ({}).",
            own.errors,
            own.complaint.as_deref().unwrap_or("?")
        ));
    }
    losses
}

fn write_table(out: &mut String, compared: &Compared) -> std::fmt::Result {
    let scenario = compared.scenario;
    writeln!(
        out,
        "\n## {}\n\n{}. `loadtest {} {}`.\n",
        scenario.name,
        scenario.title,
        scenario.scenario,
        scenario.options.join(" ")
    )?;
    writeln!(
        out,
        "| server | {}s a second | p50 | p99 | {} | to the roofline | to the best peer | errors |",
        scenario.unit,
        scenario.figure.what()
    )?;
    writeln!(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for row in compared.rows() {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {:.0} |",
            shown_name(&row),
            row.doubted(rate(row.rate.filter(|_| scenario.figure != Figure::Memory))),
            row.doubted(milliseconds(row.p50_us)),
            row.doubted(milliseconds(row.p99_us)),
            scenario.figure.show(row.figure),
            ratio(row.to_roofline),
            ratio(row.to_best_peer),
            row.errors
        )?;
    }
    for (name, why) in compared.failures() {
        writeln!(out, "\n{name} did not do this: {why}")?;
    }
    for row in compared.rows().iter().filter(|row| row.errors > 0.0) {
        writeln!(out, "\nThe first error with {}: {}", row.name, row.complaint.as_deref().unwrap_or("?"))?;
    }
    Ok(())
}

fn shown_name(row: &Row) -> String {
    match row.part {
        Part::Own => format!("**{}**", row.name),
        Part::Roofline => format!("*{}*", row.name),
        Part::Peer => row.name.to_owned(),
        Part::Web => format!("*{}, over HTTP*", row.name),
    }
}

impl Row {
    /// A rate or a latency, with a sign where it is the load's as much as the server's.
    pub(crate) fn doubted(&self, figure: String) -> String {
        if self.is_doubtful && figure != "–" { figure + " †" } else { figure }
    }
}

pub(crate) fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| String::from("–"), |value| format!("{value:.1}"))
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| String::from("–"), |value| format!("{value:.2}"))
}

pub(crate) fn milliseconds(us: Option<f64>) -> String {
    us.map_or_else(|| String::from("–"), |us| format!("{:.2} ms", us / 1000.0))
}

impl Figure {
    /// What it is, for a heading.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Processor => "processor time each",
            Self::ProcessorPerGib => "processor time per GiB",
            Self::Memory => "memory per session",
        }
    }

    /// A value of it.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Processor if value >= 10_000.0 => format!("{:.2} ms", value / 1000.0),
            Self::Processor => format!("{value:.1} µs"),
            Self::ProcessorPerGib => format!("{value:.3} s"),
            Self::Memory => format!("{:.1} KiB", value / 1024.0),
        }
    }
}
