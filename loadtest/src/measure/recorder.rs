//! One worker's measurements.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{Series, Step, Window};
use crate::failure::Failure;

/// The longest time that a histogram holds, in nanoseconds: an hour. Longer ones are kept as this.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;
/// Times are told apart to three digits, and not below a tenth of a microsecond.
const LATENCY_NS_MIN: u64 = 100;
const DIGITS: u8 = 3;
/// A loop that is as late as that stood still, whatever a unit takes.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// The step and the kind of a failure.
type ErrorKey = (Step, String);

/// How often it happened, and what the first one said.
#[derive(Debug, Clone)]
pub(crate) struct ErrorTally {
    pub(crate) count: u64,
    /// Those of them that came while it was measured.
    pub(crate) measured: u64,
    pub(crate) example: String,
}

/// What the progress display sees of a worker while it runs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Live {
    pub(crate) units: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) sessions: AtomicU64,
}

/// One worker's measurements. Only what the window counts is kept; errors are kept always.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) window: Window,
    pub(crate) histograms: Vec<Histogram<u64>>,
    pub(crate) errors: BTreeMap<ErrorKey, ErrorTally>,
    /// Remarks of the scenario, by name: how many connect-backs came from the port that they should.
    pub(crate) remarks: BTreeMap<&'static str, u64>,
    pub(crate) series: Series,
    /// Units that were completed while it was measured, whenever they began.
    pub(crate) units: u64,
    /// Units of an open loop that should have begun while it was measured, and never ended.
    pub(crate) unfinished: u64,
    /// Units of an open loop that should have begun while it was measured, and those of them that found all sessions busy.
    pub(crate) due: u64,
    pub(crate) found_all_busy: u64,
    /// Units of an open loop that were due and had not ended, halfway through the window and when it closed.
    pub(crate) backlog_halfway: Option<u64>,
    pub(crate) backlog_at_close: Option<u64>,
    pub(crate) bytes: u64,
    /// Files that were stored, at least in part, and not deleted.
    pub(crate) files_left: u64,
    /// How late the worker's own loop was at each of its ticks.
    pub(crate) lateness: Histogram<u64>,
    /// How long it was late, all in all, and how long it stood still: the sum of the pauses of [`PAUSE_MIN`] or more.
    pub(crate) late: Duration,
    pub(crate) paused: Duration,
    pub(crate) live: Arc<Live>,
}

impl Recorder {
    pub(crate) fn new(window: Window, live: Arc<Live>) -> Self {
        Self {
            window,
            histograms: Step::ALL.iter().map(|_| latencies()).collect(),
            errors: BTreeMap::new(),
            remarks: BTreeMap::new(),
            series: Series::new(&window),
            units: 0,
            unfinished: 0,
            due: 0,
            found_all_busy: 0,
            backlog_halfway: None,
            backlog_at_close: None,
            bytes: 0,
            files_left: 0,
            lateness: latencies(),
            late: Duration::ZERO,
            paused: Duration::ZERO,
            live,
        }
    }

    /// A step began at `began` and ended at `ended`.
    pub(crate) fn step(&mut self, step: Step, began: Instant, ended: Instant) {
        if self.window.counts(began, ended) {
            record(&mut self.histograms[step as usize], ended.saturating_duration_since(began));
        }
    }

    /// A unit of the scenario is complete; whether that was while it was measured. What a server does in a time is what it
    /// completes in it; how long it took belongs to when it should have begun, in an open loop.
    pub(crate) fn unit(&mut self, began: Instant, ended: Instant) -> bool {
        self.live.units.fetch_add(1, Ordering::Relaxed);
        self.step(Step::Unit, began, ended);
        let counts = self.window.contains(ended);
        if counts {
            self.units += 1;
            self.series.add_unit(&self.window, ended);
        }
        counts
    }

    /// So many units that should have begun at `began` have not ended at `now`, and nobody waits for them any more. In an open
    /// loop they are in the latencies, as long as they have waited: left out, the slowest would be missing.
    pub(crate) fn unfinished(&mut self, began: Instant, now: Instant, count: u64) {
        if self.window.counts_starts() && self.window.contains(began) {
            self.unfinished += count;
            let latency = nanoseconds(now.saturating_duration_since(began));
            self.histograms[Step::Unit as usize].saturating_record_n(latency, count);
        }
    }

    /// So many units of an open loop were due at `moment` and begin at `now`, and a session had nothing to do and was called for them, or
    /// not. What they waited for the tick that begins them is the tester's lateness.
    pub(crate) fn due(&mut self, moment: Instant, now: Instant, count: u64, is_called: bool) {
        if self.window.is_in_latencies(moment) {
            record(&mut self.lateness, now.saturating_duration_since(moment));
        }
        if self.window.contains(moment) {
            self.due += count;
            self.found_all_busy += if is_called { 0 } else { count };
        }
    }

    /// So many units of an open loop were due and have not ended.
    pub(crate) fn backlog(&mut self, now: Instant, units: u64) {
        if now >= self.window.opens + self.window.duration() / 2 {
            self.backlog_halfway.get_or_insert(units);
        }
        if now >= self.window.closes {
            self.backlog_at_close.get_or_insert(units);
        }
    }

    pub(crate) fn bytes(&mut self, bytes: u64, moment: Instant) {
        self.live.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.window.contains(moment) {
            self.bytes += bytes;
            self.series.add_bytes(&self.window, moment, bytes);
        }
    }

    pub(crate) fn failure(&mut self, failure: &Failure, moment: Instant) {
        self.live.errors.fetch_add(1, Ordering::Relaxed);
        self.series.add_error(&self.window, moment);
        let tally = self.errors.entry((failure.step, failure.cause.kind())).or_insert_with(|| ErrorTally {
            count: 0,
            measured: 0,
            example: failure.cause.to_string(),
        });
        tally.count += 1;
        tally.measured += u64::from(self.window.contains(moment));
    }

    pub(crate) fn remark(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            *self.remarks.entry(name).or_default() += count;
        }
    }

    /// The worker's loop came at `now` to `count` ticks, the first of them due at `first` and the others each a period later.
    ///
    /// Each is as late as itself: a pause that swallowed a thousand ticks makes a thousand late, as it does with whatever
    /// else was due meanwhile. Counted once, it would vanish among the ticks that were in time.
    pub(crate) fn ticked(&mut self, first: Instant, period: Duration, count: u32, now: Instant) {
        let mut due = first;
        for _ in 0..count {
            if self.window.is_in_latencies(due) {
                record(&mut self.lateness, now - due);
            }
            due += period;
        }
        let late = self.window.part_in_latencies(first, now);
        self.late += late;
        if now.saturating_duration_since(first) >= PAUSE_MIN {
            self.paused += late;
        }
    }

    /// Adds another worker's measurements.
    pub(crate) fn merge(&mut self, other: Self) {
        for (ours, theirs) in self.histograms.iter_mut().zip(&other.histograms) {
            // Both have the same bounds.
            let _ = ours.add(theirs);
        }
        let _ = self.lateness.add(&other.lateness);
        self.late += other.late;
        self.paused += other.paused;
        for (key, tally) in other.errors {
            let example = tally.example;
            let ours = self.errors.entry(key).or_insert(ErrorTally { count: 0, measured: 0, example });
            ours.count += tally.count;
            ours.measured += tally.measured;
        }
        for (name, count) in other.remarks {
            *self.remarks.entry(name).or_default() += count;
        }
        self.series.merge(&other.series);
        self.units += other.units;
        self.unfinished += other.unfinished;
        self.due += other.due;
        self.found_all_busy += other.found_all_busy;
        for (ours, theirs) in [
            (&mut self.backlog_halfway, other.backlog_halfway),
            (&mut self.backlog_at_close, other.backlog_at_close),
        ] {
            *ours = theirs.map(|theirs| ours.unwrap_or(0) + theirs).or(*ours);
        }
        self.bytes += other.bytes;
        self.files_left += other.files_left;
    }
}

fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, DIGITS).expect("the bounds are good")
}

fn record(histogram: &mut Histogram<u64>, duration: Duration) {
    histogram.saturating_record(nanoseconds(duration));
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Cause;

    fn recorder(began: Instant) -> Recorder {
        let window = Window::new(began, Duration::from_secs(1), Duration::from_secs(10));
        Recorder::new(window, Arc::default())
    }

    #[test]
    fn the_warm_up_is_cut_off_and_errors_are_not() {
        let began = Instant::now();
        let mut recorder = recorder(began);
        let second = Duration::from_secs(1);
        recorder.unit(began, began + second / 2);
        recorder.unit(began, began + 2 * second);
        recorder.unit(began, began + 12 * second);
        assert_eq!(recorder.units, 1);
        assert_eq!(recorder.histograms[Step::Unit as usize].len(), 1);
        let failure = Failure { step: Step::Login, cause: Cause::Closed };
        recorder.failure(&failure, began);
        recorder.failure(&failure, began + 3 * second);
        let tally = &recorder.errors[&(Step::Login, String::from("closed by server"))];
        assert_eq!((tally.count, tally.measured), (2, 1));
    }

    #[test]
    fn a_pause_makes_every_tick_late_that_it_swallows() {
        let began = Instant::now();
        let mut recorder = recorder(began);
        let (second, period) = (Duration::from_secs(1), Duration::from_millis(10));
        // In time until the fifth second, then a second of nothing, and in time again to the end.
        for tick in (100..500).chain(601..1100) {
            recorder.ticked(began + tick * period, period, 1, began + tick * period);
        }
        recorder.ticked(began + 5 * second, period, 101, began + 6 * second);
        assert_eq!(recorder.lateness.len(), 1000);
        assert_eq!(recorder.paused, second);
        let late = |quantile| Duration::from_nanos(recorder.lateness.value_at_quantile(quantile));
        assert!(late(0.8) < period && late(0.95) > second / 3 && late(0.99) > second * 4 / 5);
        // What is before the window or after it is in no latency.
        recorder.ticked(began, period, 50, began + second / 2);
        recorder.ticked(began + 12 * second, period, 50, began + 13 * second);
        assert_eq!((recorder.lateness.len(), recorder.paused), (1000, second));
    }

    /// A server that does half of what is asked for, one unit after another.
    #[test]
    fn an_overloaded_open_loop_counts_what_ended_in_time_and_forgets_nothing() {
        let (began, second) = (Instant::now(), Duration::from_secs(1));
        let window = Window::of_starts(began, second, 10 * second);
        let mut recorder = Recorder::new(window, Arc::default());
        let due = |unit: u32| began + unit * second / 10;
        for unit in 0..110 {
            let ended = began + (unit + 1) * second / 5;
            if ended < began + 11 * second {
                recorder.unit(due(unit), ended);
            } else {
                recorder.unfinished(due(unit), began + 11 * second, 1);
            }
        }
        assert_eq!((recorder.units, recorder.unfinished), (50, 56));
        assert_eq!(recorder.series.units.iter().sum::<u64>(), 50);
        // Of all that should have begun while it was measured, and of nothing else.
        let units = &recorder.histograms[Step::Unit as usize];
        assert_eq!(units.len(), 100);
        assert!(units.max() > 5_000_000_000, "{}", units.max());
    }

    #[test]
    fn workers_add_up() {
        let began = Instant::now();
        let (mut one, mut other) = (recorder(began), recorder(began));
        let moment = began + Duration::from_secs(5);
        one.unit(began, moment);
        other.unit(began, moment);
        other.bytes(7, moment);
        one.merge(other);
        assert_eq!((one.units, one.bytes), (2, 7));
        assert_eq!(one.series.units.iter().sum::<u64>(), 2);
        assert_eq!(one.histograms[Step::Unit as usize].len(), 2);
    }
}
