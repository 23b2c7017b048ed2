//! The stretch of time that counts.

use std::time::{Duration, Instant};

/// When the run began, and from when to when it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) began: Instant,
    pub(crate) opens: Instant,
    pub(crate) closes: Instant,
    /// What was begun before the window closes counts, however late it ends.
    pub(crate) to_the_end: bool,
}

impl Window {
    pub(crate) fn new(began: Instant, warmup: Duration, duration: Duration) -> Self {
        let opens = began + warmup;
        Self { began, opens, closes: opens + duration, to_the_end: false }
    }

    /// A window for what comes in rounds: nothing is cut off at either end.
    pub(crate) fn of_rounds(began: Instant, duration: Duration) -> Self {
        Self { to_the_end: true, ..Self::new(began, Duration::ZERO, duration) }
    }

    /// Whether what ended at `moment` counts.
    pub(crate) fn contains(&self, moment: Instant) -> bool {
        self.opens <= moment && (moment < self.closes || self.to_the_end)
    }

    pub(crate) fn duration(&self) -> Duration {
        self.closes - self.opens
    }
}
