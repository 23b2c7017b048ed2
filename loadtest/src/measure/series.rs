//! Counts over time.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Window;

/// How many intervals a run is cut into, as long as each has at least a tenth of a second.
const INTERVALS: u32 = 200;
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Units, errors and bytes in intervals of equal length, from the start of the window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    /// The length of an interval in seconds.
    pub(crate) interval_s: f64,
    pub(crate) units: Vec<u64>,
    pub(crate) errors: Vec<u64>,
    pub(crate) bytes: Vec<u64>,
}

impl Series {
    pub(crate) fn new(window: &Window) -> Self {
        let interval = (window.duration() / INTERVALS).max(INTERVAL_MIN);
        let count = window.duration().div_duration_f64(interval).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and INTERVALS"
        )]
        let count = count.max(1.0) as usize;
        Self {
            interval_s: interval.as_secs_f64(),
            units: vec![0; count],
            errors: vec![0; count],
            bytes: vec![0; count],
        }
    }

    fn index(&self, window: &Window, moment: Instant) -> usize {
        let since = moment.saturating_duration_since(window.opens).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of intervals")]
        let index = (since / self.interval_s) as usize;
        index.min(self.units.len() - 1)
    }

    pub(crate) fn add_unit(&mut self, window: &Window, moment: Instant) {
        let index = self.index(window, moment);
        self.units[index] += 1;
    }

    pub(crate) fn add_error(&mut self, window: &Window, moment: Instant) {
        let index = self.index(window, moment);
        self.errors[index] += 1;
    }

    pub(crate) fn add_bytes(&mut self, window: &Window, moment: Instant, bytes: u64) {
        let index = self.index(window, moment);
        self.bytes[index] += bytes;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in [
            (&mut self.units, &other.units),
            (&mut self.errors, &other.errors),
            (&mut self.bytes, &other.bytes),
        ] {
            for (our, their) in ours.iter_mut().zip(theirs) {
                *our += their;
            }
        }
    }
}
