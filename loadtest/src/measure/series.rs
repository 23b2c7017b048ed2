//! Counts over time.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Window;

/// How many intervals a run is cut into, as long as each has at least a tenth of a second.
const INTERVALS: u32 = 200;
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// No more for rounds that do not come to an end.
const INTERVALS_MAX: usize = 100_000;

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

    /// Adds to the interval that has the moment; what was before the window or came after it is in none. Rounds go on beyond
    /// the window's end, and so do their intervals.
    fn add(&mut self, of: impl Fn(&mut Self) -> &mut Vec<u64>, window: &Window, moment: Instant, count: u64) {
        if !window.contains(moment) {
            return;
        }
        let since = moment.saturating_duration_since(window.opens).as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of intervals")]
        let index = ((since / self.interval_s) as usize).min(INTERVALS_MAX - 1);
        if index >= self.units.len() {
            self.lengthen(index + 1);
        }
        of(self)[index] += count;
    }

    fn lengthen(&mut self, intervals: usize) {
        for counts in [&mut self.units, &mut self.errors, &mut self.bytes] {
            counts.resize(counts.len().max(intervals), 0);
        }
    }

    pub(crate) fn add_unit(&mut self, window: &Window, moment: Instant) {
        self.add(|series| &mut series.units, window, moment, 1);
    }

    pub(crate) fn add_error(&mut self, window: &Window, moment: Instant) {
        self.add(|series| &mut series.errors, window, moment, 1);
    }

    pub(crate) fn add_bytes(&mut self, window: &Window, moment: Instant, bytes: u64) {
        self.add(|series| &mut series.bytes, window, moment, bytes);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.lengthen(other.units.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outside_the_window_is_in_no_interval() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let window = Window::new(began, second, 2 * second);
        let mut series = Series::new(&window);
        for moment in [0, 1, 2, 3, 9] {
            series.add_error(&window, began + moment * second);
        }
        assert_eq!(series.errors.iter().sum::<u64>(), 2);
        assert_eq!((series.errors[0], series.errors[10]), (1, 1));
    }

    #[test]
    fn rounds_have_intervals_to_their_end() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let window = Window::of_rounds(began, second);
        let (mut one, mut other) = (Series::new(&window), Series::new(&window));
        one.add_unit(&window, began);
        other.add_unit(&window, began + 3 * second);
        one.merge(&other);
        assert_eq!((one.units.len(), one.units[0], one.units[30]), (31, 1, 1));
        assert_eq!(one.bytes.len(), 31);
    }
}
