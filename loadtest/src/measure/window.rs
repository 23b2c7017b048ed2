//! The stretch of time that counts.

use std::time::{Duration, Instant};

/// When the run began, and from when to when it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) began: Instant,
    pub(crate) opens: Instant,
    pub(crate) closes: Instant,
    counts: Counts,
}

/// Whose latencies are in the window. What is completed in it is the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// What ends in it: in a closed loop, whatever is under way when it closes says nothing.
    Ends,
    /// What begins in it, however late it ends: in an open loop, what has to wait is what is looked for.
    Starts,
    /// Everything, for what comes in rounds is not cut off at either end.
    Rounds,
}

impl Window {
    /// A window for what ends in it.
    pub(crate) fn new(began: Instant, warmup: Duration, duration: Duration) -> Self {
        let opens = began + warmup;
        Self { began, opens, closes: opens + duration, counts: Counts::Ends }
    }

    /// A window for what begins in it.
    pub(crate) fn of_starts(began: Instant, warmup: Duration, duration: Duration) -> Self {
        Self { counts: Counts::Starts, ..Self::new(began, warmup, duration) }
    }

    /// A window for what comes in rounds.
    pub(crate) fn of_rounds(began: Instant, duration: Duration) -> Self {
        Self { counts: Counts::Rounds, ..Self::new(began, Duration::ZERO, duration) }
    }

    /// Whether what was begun before the window closes is measured to its end.
    pub(crate) fn has_rounds(&self) -> bool {
        self.counts == Counts::Rounds
    }

    /// Whether latencies are of what should have begun in it, as in an open loop.
    pub(crate) fn counts_starts(&self) -> bool {
        self.counts == Counts::Starts
    }

    /// Whether what happens at `moment` happens while it is measured.
    pub(crate) fn contains(&self, moment: Instant) -> bool {
        self.opens <= moment && (moment < self.closes || self.has_rounds())
    }

    /// Whether what happens at `moment` is in latencies: where what was begun in time is measured to its end, what comes after
    /// the window's close is, too.
    pub(crate) fn is_in_latencies(&self, moment: Instant) -> bool {
        self.opens <= moment && (moment < self.closes || self.counts != Counts::Ends)
    }

    /// The part of the time from `began` to `ended` that is in latencies.
    pub(crate) fn part_in_latencies(&self, began: Instant, ended: Instant) -> Duration {
        let ended = if self.counts == Counts::Ends { ended.min(self.closes) } else { ended };
        ended.saturating_duration_since(began.max(self.opens))
    }

    /// Whether the latency of what began and ended then counts.
    pub(crate) fn counts(&self, began: Instant, ended: Instant) -> bool {
        self.contains(if self.counts_starts() { began } else { ended })
    }

    pub(crate) fn duration(&self) -> Duration {
        self.closes - self.opens
    }
}
