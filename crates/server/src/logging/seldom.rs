//! Lines that anybody can cause as often as he likes.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often the same is said at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Tells when something is to be said in the log again, so that it cannot be flooded.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    told: Cell<Option<Instant>>,
    untold: Cell<u64>,
}

impl Seldom {
    /// Whether it is time to say at `now` what has happened; if so, how often it was not said since the last time.
    pub(crate) fn tells(&self, now: Instant) -> Option<u64> {
        if self.told.get().is_some_and(|told| now.saturating_duration_since(told) < TELL_EVERY) {
            self.untold.set(self.untold.get() + 1);
            return None;
        }
        self.told.set(Some(now));
        Some(self.untold.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_is_told_seldom_and_counted() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.tells(now), Some(0));
        for _ in 0..5 {
            assert_eq!(seldom.tells(now + TELL_EVERY / 2), None);
        }
        assert_eq!(seldom.tells(now + TELL_EVERY), Some(5));
        assert_eq!(seldom.tells(now + 2 * TELL_EVERY), Some(0));
    }
}
