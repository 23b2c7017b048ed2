//! The display while a run goes on, if somebody watches.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::measure::{Live, Window};

/// What has been done since the start, warm-up and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) units: u64,
    pub(crate) errors: u64,
    pub(crate) bytes: u64,
    pub(crate) sessions: u64,
}

impl Totals {
    pub(crate) fn of(live: &[Arc<Live>]) -> Self {
        let mut totals = Self::default();
        for worker in live {
            totals.units += worker.units.load(Ordering::Relaxed);
            totals.errors += worker.errors.load(Ordering::Relaxed);
            totals.bytes += worker.bytes.load(Ordering::Relaxed);
            totals.sessions += worker.sessions.load(Ordering::Relaxed);
        }
        totals
    }

    /// Whether something was completed since, or failed, or more than a trickle of bytes was moved.
    pub(crate) fn have_moved_since(&self, before: &Self, bytes: u64) -> bool {
        (self.units, self.errors) != (before.units, before.errors) || self.bytes - before.bytes >= bytes
    }
}

/// A bar on standard error, where that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    window: Window,
    last: (Instant, u64),
}

impl Progress {
    pub(crate) fn new(window: Window) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let whole = (window.closes - window.began).as_millis();
            let bar = ProgressBar::new(u64::try_from(whole).unwrap_or(u64::MAX));
            let style = ProgressStyle::with_template("{bar:30} {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, window, last: (window.began, 0) }
    }

    pub(crate) fn show(&mut self, now: Instant, totals: Totals, unit: &str) {
        let Some(bar) = &self.bar else { return };
        let since = now.saturating_duration_since(self.last.0);
        if since < Duration::from_millis(500) {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "it is shown without a fraction")]
        let rate = (totals.units - self.last.1) as f64 / since.as_secs_f64();
        self.last = (now, totals.units);
        let elapsed = now.saturating_duration_since(self.window.began);
        bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let phase = if now < self.window.opens { "warm-up" } else { "measuring" };
        bar.set_message(format!(
            "{phase}, {rate:.0} {unit}s a second, {} sessions, {} errors",
            totals.sessions, totals.errors
        ));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
