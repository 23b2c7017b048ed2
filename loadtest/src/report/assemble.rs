//! From measurements to a report.

use std::time::Duration;

use hdrhistogram::Histogram;
use nix::errno::Errno;

use super::{ErrorCount, Latency, Report, Storms, Tester};
use crate::limits::takes_sources;
use crate::measure::{Recorder, ServerUsage, Step, Went};
use crate::plan::Plan;
use crate::scenario::{COMPARED_BY_FETCHING, COMPARED_BY_HASH, NOT_COMPARED, STORED, Scenario};

/// Above this part of its cores the tester is as likely the bottleneck as the server.
const SATURATED_SHARE: f64 = 0.9;
/// Pauses of the tester that are a larger part of the time than that are in the p99.9 of what should have begun at any time.
const PAUSED_SHARE: f64 = 0.001;
/// A lateness that is as large a part of a latency, and no less than so many microseconds, makes it as much the tester's as the
/// server's.
const LATE_SHARE: f64 = 0.5;
const LATE_US_MIN: f64 = 1000.0;
/// Where threads waited for a core in as large a part of the time in which the loops were late, it is others that made them.
const OTHERS_SHARE: f64 = 0.5;
/// A server does not keep up with an open loop where what waits became more in the second half of the time, by that part of what was due
/// in it; of a few units it cannot be told. In the first half sessions may fill up with what takes long, and no longer for it.
const GROWN_SHARE: f64 = 0.05;
const GROWN_MIN: f64 = 2.0;
/// Where as large a part of the units found all sessions busy, there were too few; one may come before the first session is there.
const ALL_BUSY_SHARE: f64 = 0.05;
const ALL_BUSY_MIN: u64 = 2;
const GIB: f64 = 1_073_741_824.0;
/// Points of a percentile curve in each halving of the distance to 1.
const POINTS_PER_HALVING: u32 = 4;

/// What a run found beside its recorders.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) target: String,
    pub(crate) workers: usize,
    pub(crate) measured_s: f64,
    pub(crate) warmup_s: f64,
    pub(crate) storms: Option<Went>,
    pub(crate) ended_early: Option<String>,
    pub(crate) leftovers: Vec<String>,
    pub(crate) connection_table_full: bool,
    /// Of one core.
    pub(crate) tester_share: f64,
    pub(crate) tester_waited: Duration,
    pub(crate) warnings: Vec<String>,
    pub(crate) server: Option<ServerUsage>,
}

/// Makes the report.
pub(crate) fn assemble(plan: &Plan, recorder: &Recorder, findings: Findings) -> Report {
    // A run may end before anything was measured.
    let each_second =
        |amount: f64| if findings.measured_s > 0.0 { amount / findings.measured_s } else { 0.0 };
    let units_per_s = each_second(count(recorder.units));
    let mut tester = tester(
        recorder,
        findings.tester_share,
        findings.tester_waited,
        findings.measured_s,
        findings.workers,
    );
    tester.warnings.extend(not_kept_up(plan, recorder, units_per_s));
    tester.warnings.extend(all_busy(plan, recorder));
    tester.warnings.extend(exhausted(plan, recorder));
    tester.warnings.extend(findings.warnings);
    if findings.connection_table_full {
        tester.warnings.push(String::from(
            "this machine's table of tracked connections (nf_conntrack) is full: the kernel drops packets of new ones, and \
             connecting takes seconds that are not the server's",
        ));
    }
    let server = findings.server.map(|server| ServerUsage {
        processor_us_per_unit: (recorder.units > 0).then(|| server.processor_s * 1e6 / count(recorder.units)),
        processor_s_per_gib: (recorder.bytes > 0).then(|| server.processor_s / count(recorder.bytes) * GIB),
        ..server
    });
    Report {
        scenario: plan.scenario,
        unit: plan.scenario.unit().to_owned(),
        target: findings.target,
        pace: pace(plan),
        rate_asked: plan.rate,
        sessions: plan.sessions,
        workers: findings.workers,
        source_addresses: plan.sources.len(),
        seed: plan.seed,
        warmup_s: findings.warmup_s,
        measured_s: findings.measured_s,
        ended_early: findings.ended_early,
        units: recorder.units,
        // Each session of `idle` comes once, and as soon as it may.
        units_per_s: (plan.scenario != Scenario::Idle).then_some(units_per_s),
        storms: findings.storms.map(|went| storms(went, recorder.units)),
        units_unfinished: recorder.unfinished,
        bytes: recorder.bytes,
        latencies: latencies(recorder),
        errors: errors(recorder),
        remarks: remarks(plan.scenario, recorder),
        leftovers: findings.leftovers,
        tester,
        server,
        series: recorder.series.clone(),
    }
}

fn storms(went: Went, units: u64) -> Storms {
    let took_s = went.took.as_secs_f64();
    let units_per_s = if took_s > 0.0 { count(units) / took_s } else { 0.0 };
    Storms { count: went.count, took_s, units_per_s }
}

fn pace(plan: &Plan) -> String {
    if plan.scenario == Scenario::Idle {
        return String::from("closed loop: every session logs in once, and stays");
    }
    if plan.scenario.has_rounds() {
        let most = plan.data_connections_max;
        return if most < plan.sessions {
            format!(
                "closed loop, in rounds: all sessions get ready, then {most} go at once, which descriptors are left for (ulimit -n)"
            )
        } else {
            String::from("closed loop, in rounds: all sessions get ready, then all go at once")
        };
    }
    match plan.rate {
        Some(rate) => format!(
            "open loop, {rate} a second: latency of a {} is from its intended start",
            plan.scenario.unit()
        ),
        None => String::from("closed loop: what a slow server keeps from beginning is not in the latencies"),
    }
}

fn latencies(recorder: &Recorder) -> Vec<Latency> {
    let steps = Step::ALL.iter().zip(&recorder.histograms);
    steps
        .filter(|(_, histogram)| !histogram.is_empty())
        .map(|(step, histogram)| latency(*step, histogram))
        .collect()
}

fn latency(step: Step, histogram: &Histogram<u64>) -> Latency {
    let at = |quantile| microseconds(histogram.value_at_quantile(quantile));
    let points = histogram.iter_quantiles(POINTS_PER_HALVING);
    Latency {
        step: step.name().to_owned(),
        count: histogram.len(),
        min_us: microseconds(histogram.min()),
        mean_us: histogram.mean() / 1000.0,
        max_us: microseconds(histogram.max()),
        quantiles: points.map(|point| (point.quantile(), microseconds(point.value_iterated_to()))).collect(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
    }
}

/// What to say of an open loop whose server did less than it was asked for.
fn not_kept_up(plan: &Plan, recorder: &Recorder, units_per_s: f64) -> Option<String> {
    let (halfway, at_close) = recorder.backlog_halfway.zip(recorder.backlog_at_close)?;
    let grown = count(at_close.saturating_sub(halfway));
    let falls_behind = grown >= GROWN_MIN && grown >= GROWN_SHARE * count(recorder.due) / 2.0;
    let or_the_sessions = if plan.scenario != Scenario::Upload && plan.stores_files() {
        ". Or it was the sessions that were too few: one that compares what it stored begins nothing meanwhile, and more of them \
         (--sessions) may do more"
    } else {
        ""
    };
    falls_behind.then(|| {
        format!(
            "asked for {} a second, the server did {units_per_s:.1} with {} sessions: {halfway} units waited for their end halfway, \
             and {at_close} at the close; latencies of such a run grow with its length{or_the_sessions}",
            plan.rate.unwrap_or_default(),
            plan.sessions
        )
    })
}

/// What to say of an open loop that had too few sessions.
fn all_busy(plan: &Plan, recorder: &Recorder) -> Option<String> {
    let (due, busy) = (recorder.due, recorder.found_all_busy);
    (busy >= ALL_BUSY_MIN && count(busy) >= ALL_BUSY_SHARE * count(due)).then(|| {
        format!(
            "{busy} of {due} units that were due found all {} sessions busy, and waited for one: more of them may do more \
             (--sessions)",
            plan.sessions
        )
    })
}

/// What to say where the tester's own machine had no more of something, and no server's fault it was.
fn exhausted(plan: &Plan, recorder: &Recorder) -> Vec<String> {
    let ports = if takes_sources(plan.server.address) {
        let sources = plan.sources.len();
        format!(
            "local ports: more addresses to come from have more of them (--source-addresses, now {sources})"
        )
    } else {
        String::from("local ports: fewer sessions, or fewer a second (--sessions, --rate), need fewer")
    };
    let descriptors =
        String::from("descriptors: fewer sessions need fewer (--sessions), or allow it more (ulimit -n)");
    let kinds = [(Errno::EADDRNOTAVAIL, ports), (Errno::EMFILE, descriptors)];
    let told = kinds.into_iter().filter_map(|(kind, what)| {
        let kind = format!("{kind:?}");
        let tallies = recorder.errors.iter().filter(|((_, of), _)| *of == kind);
        let count = tallies.map(|(_, tally)| tally.count).sum::<u64>();
        (count > 0).then(|| {
            format!("{count} errors {kind} are the tester's and not the server's: it ran out of {what}")
        })
    });
    told.collect()
}

fn remarks(scenario: Scenario, recorder: &Recorder) -> Vec<(String, u64)> {
    // Of what was compared it is told of how many, in one line.
    let stored = recorder.remarks.get(STORED).copied();
    let while_measured = if scenario == Scenario::Upload { "" } else { ", in the server's processor time" };
    let name = |name: &str| match stored {
        Some(stored) if [COMPARED_BY_HASH, COMPARED_BY_FETCHING].contains(&name) => {
            format!("of {stored} {name}{while_measured}")
        }
        Some(stored) if name == NOT_COMPARED => format!("of {stored} {name}"),
        _ => name.to_owned(),
    };
    let mut remarks: Vec<_> = recorder.remarks.iter().map(|(&named, &count)| (name(named), count)).collect();
    if recorder.unfinished > 0 {
        let what =
            "units were due and did not end: in the latencies they are as long as they had waited, at least";
        remarks.push((what.to_owned(), recorder.unfinished));
    }
    remarks
}

fn errors(recorder: &Recorder) -> Vec<ErrorCount> {
    let count = recorder.errors.iter().map(|((step, kind), tally)| ErrorCount {
        step: step.name().to_owned(),
        kind: kind.clone(),
        count: tally.count,
        measured: tally.measured,
        example: tally.example.clone(),
    });
    count.collect()
}

fn tester(recorder: &Recorder, processors: f64, waited: Duration, measured_s: f64, workers: usize) -> Tester {
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let cores = workers.max(1) as f64;
    let processor_share = processors / cores;
    let is_saturated = processor_share > SATURATED_SHARE;
    let waited_s = waited.as_secs_f64();
    let why = if is_saturated {
        String::new()
    } else if waited_s >= OTHERS_SHARE * recorder.late.as_secs_f64() {
        format!(" (others had its cores for {:.1} ms)", waited_s / cores * 1000.0)
    } else {
        String::from(" (its own work came in bursts, or it was stopped)")
    };
    let mut warnings = Vec::new();
    if is_saturated {
        warnings.push(format!(
            "the tester used {:.0}% of its cores: rates and latencies may be its own and not the server's; processor time \
             for each unit is not touched by this",
            processor_share * 100.0
        ));
    }
    let late_us = |quantile| microseconds(recorder.lateness.value_at_quantile(quantile));
    let (lateness_max_us, paused_s) = (microseconds(recorder.lateness.max()), recorder.paused.as_secs_f64());
    if paused_s / cores > PAUSED_SHARE * measured_s {
        warnings.push(format!(
            "the tester itself stood still for {:.1} ms of the {:.0} ms measured, for up to {:.1} ms at once{why}: rates, and \
             the latencies of what was due meanwhile, are its own",
            paused_s / cores * 1000.0,
            measured_s * 1000.0,
            lateness_max_us / 1000.0,
        ));
    }
    let units = &recorder.histograms[Step::Unit as usize];
    for (name, quantile) in [("p99", 0.99), ("p99.9", 0.999)] {
        let (late_us, unit_us) = (late_us(quantile), microseconds(units.value_at_quantile(quantile)));
        // What is later than units take was late while no unit waited for it.
        if !units.is_empty() && late_us >= LATE_US_MIN && (LATE_SHARE * unit_us..=unit_us).contains(&late_us)
        {
            warnings.push(format!(
                "the tester's loops were late by {:.1} ms at {name}{why}, and the {name} of the units is {:.1} ms: it is as \
                 much the tester's as the server's",
                late_us / 1000.0,
                unit_us / 1000.0,
            ));
        }
    }
    Tester {
        processor_share,
        lateness_p99_us: late_us(0.99),
        lateness_p999_us: late_us(0.999),
        lateness_max_us,
        paused_s,
        waited_s,
        warnings,
    }
}

#[expect(clippy::cast_precision_loss, reason = "an hour in nanoseconds has fewer than 52 bits")]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run stay below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use crate::failure::{Cause, Failure};
    use crate::measure::Window;

    /// Ten seconds whose units each took `unit`, in which the loop stood still for so long, once, and others had the core.
    fn after_a_pause(pause: Duration, unit: Duration, waited: Duration) -> Tester {
        let began = Instant::now();
        let (second, period) = (Duration::from_secs(1), Duration::from_millis(10));
        let mut recorder = Recorder::new(Window::new(began, Duration::ZERO, 10 * second), Arc::default());
        for tick in 0..900 {
            recorder.unit(began + tick * period, began + tick * period + unit);
            recorder.ticked(began + tick * period, period, 1, began + tick * period);
        }
        let swallowed = u32::try_from(pause.as_nanos() / period.as_nanos()).unwrap() + 1;
        recorder.ticked(began + 9 * second, period, swallowed, began + 9 * second + pause);
        tester(&recorder, 0.1, waited, 10.0, 1)
    }

    #[test]
    fn what_the_tester_ran_out_of_is_not_put_on_the_server() {
        let mut recorder =
            Recorder::new(Window::new(Instant::now(), Duration::ZERO, Duration::ZERO), Arc::default());
        let mut fail = |errno: Errno| {
            let cause = Cause::Io(std::io::Error::from_raw_os_error(errno as i32));
            recorder.failure(&Failure { step: Step::Connect, cause }, Instant::now());
        };
        fail(Errno::ECONNREFUSED);
        fail(Errno::EADDRNOTAVAIL);
        fail(Errno::EADDRNOTAVAIL);
        let mut plan = Plan::at_rate(1.0, recorder.window, 1);
        plan.sources = vec![IpAddr::from([127, 0, 1, 1]); 8];
        let warnings = exhausted(&plan, &recorder);
        assert!(warnings[0].starts_with("2 errors EADDRNOTAVAIL are the tester's"), "{warnings:?}");
        assert!(warnings[0].contains("--source-addresses, now 8"), "{warnings:?}");
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        // From there another machine is not reached.
        plan.server.address.set_ip(IpAddr::from([192, 0, 2, 1]));
        let warnings = exhausted(&plan, &recorder);
        assert!(warnings[0].contains("local ports: fewer sessions"), "{warnings:?}");
    }

    /// Where sessions compare what they stored, they may be why units wait.
    #[test]
    fn what_falls_behind_is_not_put_on_the_server_alone() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let mut plan = Plan::at_rate(10.0, Window::of_starts(began, Duration::ZERO, 10 * second), 4);
        let mut recorder = Recorder::new(plan.window, Arc::default());
        (recorder.due, recorder.backlog_halfway, recorder.backlog_at_close) = (100, Some(10), Some(20));
        let said = |plan: &Plan| not_kept_up(plan, &recorder, 8.0).unwrap();
        assert!(!said(&plan).contains("--sessions"), "{}", said(&plan));
        plan.scenario = Scenario::Fxp;
        assert!(said(&plan).contains("more of them (--sessions)"), "{}", said(&plan));
        plan.scenario = Scenario::Mixed;
        assert!(!said(&plan).contains("--sessions"), "{}", said(&plan));
        plan.mix = "upload=1".parse().unwrap();
        assert!(said(&plan).contains("more of them (--sessions)"), "{}", said(&plan));
    }

    #[test]
    fn one_pause_of_the_tester_is_told_where_it_matters() {
        let millisecond = Duration::from_millis(1);
        let tester = after_a_pause(1000 * millisecond, 1200 * millisecond, 900 * millisecond);
        let warnings = &tester.warnings;
        assert!(warnings[0].contains("stood still for 1000.0 ms of the 10000 ms"), "{tester:?}");
        assert!(warnings[0].contains("(others had its cores for 900.0 ms)"), "{tester:?}");
        assert!(warnings[1].contains("late by 9") && warnings[1].contains("at p99"), "{tester:?}");
        assert_eq!(warnings.len(), 3, "{tester:?}");
        // Nobody had the core, and no unit took as long as the loop was late.
        let tester = after_a_pause(1000 * millisecond, millisecond, Duration::ZERO);
        assert!(tester.warnings[0].contains("(its own work came in bursts"), "{tester:?}");
        assert_eq!(tester.warnings.len(), 1, "{tester:?}");
        // In less than a thousandth of the time, and not with units that take longer themselves.
        assert_eq!(
            after_a_pause(4 * millisecond, 20 * millisecond, Duration::ZERO).warnings,
            Vec::<String>::new()
        );
        assert_eq!(after_a_pause(Duration::ZERO, millisecond, Duration::ZERO).warnings, Vec::<String>::new());
    }
}
