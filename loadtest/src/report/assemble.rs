//! From measurements to a report.

use hdrhistogram::Histogram;

use super::{ErrorCount, Latency, Report, Tester};
use crate::measure::{Recorder, ServerUsage, Step};
use crate::plan::Plan;
use crate::scenario::Scenario;

/// Above this part of its cores the tester is as likely the bottleneck as the server.
const SATURATED_SHARE: f64 = 0.9;
/// Above this lateness at p99, in microseconds, the latencies are as much the tester's as the server's.
const LATE_US: f64 = 5000.0;
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
    pub(crate) ended_early: Option<String>,
    pub(crate) leftovers: Vec<String>,
    pub(crate) connection_table_full: bool,
    pub(crate) tester_processor_s: f64,
    pub(crate) server: Option<ServerUsage>,
}

/// Makes the report.
pub(crate) fn assemble(plan: &Plan, recorder: &Recorder, findings: Findings) -> Report {
    // A run may end before anything was measured.
    let each_second =
        |amount: f64| if findings.measured_s > 0.0 { amount / findings.measured_s } else { 0.0 };
    let (units_per_s, processors) =
        (each_second(count(recorder.units)), each_second(findings.tester_processor_s));
    let mut tester = tester(recorder, processors, findings.workers);
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
        units_per_s,
        bytes: recorder.bytes,
        latencies: latencies(recorder),
        errors: errors(recorder),
        remarks: recorder.remarks.iter().map(|(name, &count)| ((*name).to_owned(), count)).collect(),
        leftovers: findings.leftovers,
        tester,
        server,
        series: recorder.series.clone(),
    }
}

fn pace(plan: &Plan) -> String {
    if plan.scenario == Scenario::Idle {
        return String::from("closed loop: every session logs in once, and stays");
    }
    if plan.scenario.has_rounds() {
        return String::from("closed loop, in rounds: all sessions get ready, then all go at once");
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

fn errors(recorder: &Recorder) -> Vec<ErrorCount> {
    let count = recorder.errors.iter().map(|((step, kind), tally)| ErrorCount {
        step: step.name().to_owned(),
        kind: kind.clone(),
        count: tally.count,
        example: tally.example.clone(),
    });
    count.collect()
}

fn tester(recorder: &Recorder, processors: f64, workers: usize) -> Tester {
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let processor_share = processors / workers.max(1) as f64;
    let lateness_p99_us = microseconds(recorder.lateness.value_at_quantile(0.99));
    let mut warnings = Vec::new();
    if processor_share > SATURATED_SHARE {
        warnings.push(format!(
            "the tester used {:.0}% of its cores: rates and latencies may be its own and not the server's; processor time \
             for each unit is not touched by this",
            processor_share * 100.0
        ));
    }
    if lateness_p99_us > LATE_US {
        warnings.push(format!(
            "the tester's loops were up to {:.1} ms late (p99){}: latencies below that say nothing",
            lateness_p99_us / 1000.0,
            if processor_share > SATURATED_SHARE { "" } else { ", others take its cores" }
        ));
    }
    let lateness_max_us = microseconds(recorder.lateness.max());
    Tester { processor_share, lateness_p99_us, lateness_max_us, warnings }
}

#[expect(clippy::cast_precision_loss, reason = "an hour in nanoseconds has fewer than 52 bits")]
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run stay below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}
