//! The project's own targets, each measured where this machine can.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::cgroup::Cgroup;
use super::load::{Figures, Load};
use super::results::{Compared, Row, median};
use super::servers::{Part, Running};

/// Sessions of the storms.
const STORM: &str = "10000";
const CONNECT_BACK_STORM: &str = "5000";
const CONNECT_BACK_PAIRS: usize = 3;
/// How often `find` lists the directory for one figure.
const FIND_RUNS: u32 = 20;

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    pub(crate) wanted: &'static str,
    pub(crate) measured: String,
    /// Whether it holds; `None` where it was not measured.
    pub(crate) holds: Option<bool>,
}

impl Target {
    fn of(what: &'static str, wanted: &'static str, measured: anyhow::Result<(String, bool)>) -> Self {
        let (measured, holds) = match measured {
            Ok((measured, holds)) => (measured, Some(holds)),
            Err(error) => (format!("not measured: {error:#}"), None),
        };
        Self { what, wanted, measured, holds }
    }
}

/// Measures what the comparison did not, and holds all against the targets.
pub(crate) fn measure(
    compared: &[Compared],
    load: &Load<'_>,
    own: &Running,
    list: &Path,
    core: usize,
) -> Vec<Target> {
    let mut targets = Vec::new();
    for (scenario, what, peers, most) in [
        ("small-files", "processor time per full small-file session", "at most 1/4 of the best peer's", 0.25),
        (
            "stream",
            "processor time per small transfer within a session",
            "at most 1/2 of the best peer's",
            0.5,
        ),
    ] {
        let row = || own_row(compared, scenario);
        let to_roofline = || {
            let (measured, holds) = at_most(row()?.to_roofline, 1.0)?;
            let range = compared_scenario(compared, scenario)?.own_to(Part::Roofline);
            let range = range.map_or_else(String::new, |(least, most)| format!(" ({least:.2} to {most:.2})"));
            anyhow::Ok((measured + &range, holds))
        };
        targets.push(Target::of(what, "at most 1.0 of the roofline's", to_roofline()));
        targets.push(Target::of(what, peers, row().and_then(|row| at_most(row.to_best_peer, most))));
    }
    targets.push(Target::of("NOOP round trips a second", "at least 1.0 of the roofline's", noop(compared)));
    targets.push(Target::of("NOOPs a second, pipelined", "at least 1,000,000", pipelined(load, own)));
    let storm = load.run(own, "pasv", "1k.bin", &["--sessions", STORM]);
    targets.push(Target::of(
        "passive storm of 10,000 sessions",
        "no error",
        storm.as_ref().map_err(again).map(no_error),
    ));
    let passive = storm.as_ref().map_err(again).and_then(|storm| {
        let p99_us = storm.passive_p99_us.context("no reply to PASV was measured")?;
        Ok((format!("{:.2} ms", p99_us / 1000.0), p99_us < 5000.0))
    });
    targets.push(Target::of("passive storm of 10,000 sessions", "PASV reply p99 under 5 ms", passive));
    let storm = |scenario| load.run(own, scenario, "1k.bin", &["--sessions", CONNECT_BACK_STORM]);
    let pairs: anyhow::Result<Vec<_>> =
        (0..CONNECT_BACK_PAIRS).map(|_| Ok((storm("connect-back")?, storm("pasv")?))).collect();
    let what = "connect-back storm of 5,000 sessions";
    let errors = pairs.as_ref().map_err(again).map(|pairs| {
        let (measured, hold): (Vec<_>, Vec<_>) = pairs.iter().map(|(active, _)| no_error(active)).unzip();
        (measured.join("; "), hold.iter().all(|holds| *holds))
    });
    targets.push(Target::of(what, "no error", errors));
    let rates = pairs.and_then(|pairs| {
        let ratios =
            pairs.iter().filter_map(|(active, passive)| Some(active.storm_rate? / passive.storm_rate?));
        let ratio = median(ratios).context("there is nothing to compare")?;
        Ok((format!("{ratio:.2}"), ratio >= 0.9))
    });
    targets.push(Target::of(
        what,
        "transfers a second at least 0.9 of the passive storm's, both once all are ready",
        rates,
    ));
    targets.push(Target::of(
        "MLSD of 10,000 entries",
        "at most 1.3 of the processor time of `find -printf` with the same facts",
        listing(compared, list, core),
    ));
    targets.push(Target {
        what: "workers 1 to 2",
        wanted: "throughput of `small-files` grows by 1.7 or more",
        measured: String::from("not measured: the load needs two cores beside the server's two"),
        holds: None,
    });
    targets
}

fn again(error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

fn compared_scenario<'a>(compared: &'a [Compared], scenario: &str) -> anyhow::Result<&'a Compared> {
    let found = compared.iter().find(|compared| compared.scenario.name == scenario);
    found.with_context(|| format!("{scenario} was not compared"))
}

fn own_row(compared: &[Compared], scenario: &str) -> anyhow::Result<Row> {
    let own = compared_scenario(compared, scenario)?.own_row();
    own.with_context(|| format!("{scenario} came to nothing"))
}

fn at_most(ratio: Option<f64>, most: f64) -> anyhow::Result<(String, bool)> {
    let ratio = ratio.context("there is nothing to compare with")?;
    Ok((format!("{ratio:.2}"), ratio <= most))
}

fn no_error(figures: &Figures) -> (String, bool) {
    let complaint = figures.complaint.as_ref().or(figures.ended_early.as_ref());
    let complaint = complaint.map(|complaint| format!(" ({complaint})")).unwrap_or_default();
    (
        format!("{:.0} errors in {:.0} transfers{complaint}", figures.errors, figures.units),
        figures.errors == 0.0 && figures.ended_early.is_none() && figures.units > 0.0,
    )
}

fn noop(compared: &[Compared]) -> anyhow::Result<(String, bool)> {
    let noop = compared_scenario(compared, "noop")?;
    let roofline =
        noop.entries.iter().find(|entry| entry.part == Part::Roofline).context("there is no roofline")?;
    let ratio = median(roofline.pairs.iter().filter_map(|(own, theirs)| Some(own.rate? / theirs.rate?)));
    let ratio = ratio.context("the roofline was not measured")?;
    Ok((format!("{ratio:.2}"), ratio >= 1.0))
}

fn pipelined(load: &Load<'_>, own: &Running) -> anyhow::Result<(String, bool)> {
    let figures = load.run(own, "noop", "", &["--sessions", "16", "--pipeline", "500"])?;
    let by_processor = figures.processor_us.map(|each| format!("; its core could do {:.0}", 1e6 / each));
    let rate = figures.rate.context("it has no rate")?;
    Ok((format!("{rate:.0}{}", by_processor.unwrap_or_default()), rate >= 1e6))
}

/// Our listing against `find`, which prints type, size, mode, times, owners and names of the same directory.
fn listing(compared: &[Compared], list: &Path, core: usize) -> anyhow::Result<(String, bool)> {
    let row = own_row(compared, "list")?;
    let cgroup = Cgroup::create("find")?;
    for _ in 0..FIND_RUNS {
        let mut find = Command::new("sh");
        find.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec taskset -c \"$@\" > /dev/null"]);
        find.arg(cgroup.folder()).arg(core.to_string()).arg("find").arg(list);
        find.args(["-mindepth", "1", "-printf", "%y %s %T@ %m %U %G %D %i %f\\n"]);
        ensure!(find.status().context("cannot run sh")?.success(), "find failed");
    }
    let each_us = cgroup.processor_time()?.as_secs_f64() * 1e6 / f64::from(FIND_RUNS);
    let ratio = row.figure / each_us;
    Ok((format!("{ratio:.2} ({:.1} against {:.1} ms)", row.figure / 1000.0, each_us / 1000.0), ratio <= 1.3))
}
