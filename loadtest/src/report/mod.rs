//! What a run found: for people, for programs, for browsers.

mod assemble;
mod html;
mod progress;
mod table;

pub(crate) use assemble::{Findings, assemble};
pub(crate) use html::page;
pub(crate) use progress::{Progress, Totals};
pub(crate) use table::table;

use serde::{Deserialize, Serialize};

use crate::measure::{Series, ServerUsage};
use crate::scenario::Scenario;

/// What a run found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) scenario: Scenario,
    /// What a unit is.
    pub(crate) unit: String,
    /// The server's address, or its command.
    pub(crate) target: String,
    /// Open or closed loop, in words.
    pub(crate) pace: String,
    /// Units begun per second, in an open loop.
    pub(crate) rate_asked: Option<f64>,
    pub(crate) sessions: usize,
    pub(crate) workers: usize,
    pub(crate) source_addresses: usize,
    pub(crate) seed: u64,
    pub(crate) warmup_s: f64,
    /// How long was measured.
    pub(crate) measured_s: f64,
    /// Why the run ended before its time, if it did.
    pub(crate) ended_early: Option<String>,
    /// Units that were completed while it was measured, whenever they began.
    pub(crate) units: u64,
    /// None where they do not come over and over.
    pub(crate) units_per_s: Option<f64>,
    /// When all sessions went at once, where there are storms.
    #[serde(default)]
    pub(crate) storms: Option<Storms>,
    /// Units of an open loop that should have begun meanwhile and never ended; latencies have them for as long as they waited.
    #[serde(default)]
    pub(crate) units_unfinished: u64,
    pub(crate) bytes: u64,
    pub(crate) latencies: Vec<Latency>,
    pub(crate) errors: Vec<ErrorCount>,
    /// What the scenario counted beside.
    pub(crate) remarks: Vec<(String, u64)>,
    /// What was looked for after the run, and not found as it should be.
    pub(crate) leftovers: Vec<String>,
    pub(crate) tester: Tester,
    pub(crate) server: Option<ServerUsage>,
    pub(crate) series: Series,
}

/// The storms without what went before each of them, while sessions got ready.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Storms {
    pub(crate) count: u64,
    /// How long they went, taken together: each from when all sessions were ready to when the last was done.
    pub(crate) took_s: f64,
    pub(crate) units_per_s: f64,
}

/// The latencies of one step, in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) step: String,
    pub(crate) count: u64,
    pub(crate) min_us: f64,
    pub(crate) mean_us: f64,
    pub(crate) max_us: f64,
    /// Quantiles of 0 to 1, closer together towards 1, and their values.
    pub(crate) quantiles: Vec<(f64, f64)>,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// How often something went wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ErrorCount {
    pub(crate) step: String,
    pub(crate) kind: String,
    /// From the run's beginning to its end.
    pub(crate) count: u64,
    /// Those of them that came while it was measured, as the units did.
    #[serde(default)]
    pub(crate) measured: u64,
    pub(crate) example: String,
}

/// How the tester itself fared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Tester {
    /// Its processor time as a part of what its cores had, 0 to 1.
    pub(crate) processor_share: f64,
    /// How late its loops were, in microseconds, at each of the moments at which something might have been due.
    pub(crate) lateness_p99_us: f64,
    #[serde(default)]
    pub(crate) lateness_p999_us: f64,
    pub(crate) lateness_max_us: f64,
    /// How long its loops stood still, in seconds, taken together.
    #[serde(default)]
    pub(crate) paused_s: f64,
    /// How long its threads waited for cores that others had, in seconds, taken together.
    #[serde(default)]
    pub(crate) waited_s: f64,
    /// What that means for the figures, if anything.
    pub(crate) warnings: Vec<String>,
}

impl Report {
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.iter().map(|error| error.count).sum()
    }

    /// Those that came while it was measured.
    pub(crate) fn errors_measured(&self) -> u64 {
        self.errors.iter().map(|error| error.measured).sum()
    }

    /// Whether everything went as it should.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.is_empty()
            && self.units_unfinished == 0
            && self.ended_early.is_none()
            && self.leftovers.is_empty()
            && self.units > 0
    }
}
