//! When storms went: from the moment at which all sessions were ready to the one at which the last of them was done.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The storms of a run, over all its workers.
#[derive(Debug, Default)]
pub(crate) struct Storms(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    went: Went,
    /// When the one began that goes on.
    began: Option<Instant>,
    last_ended: Option<Instant>,
}

/// How many there were, and how long they went, taken together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Went {
    pub(crate) count: u64,
    pub(crate) took: Duration,
}

impl Storms {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All are ready, and go now.
    pub(crate) fn begin(&self, now: Instant) {
        self.lock().began = Some(now);
    }

    /// The last is done.
    pub(crate) fn end(&self, now: Instant) {
        let mut state = self.lock();
        if let Some(began) = state.began.take() {
            state.went.count += 1;
            state.went.took += now.saturating_duration_since(began);
            state.last_ended = Some(now);
        }
    }

    /// When the last of them ended; nothing where one goes on, or where there was none.
    pub(crate) fn ended(&self) -> Option<Instant> {
        let state = self.lock();
        state.last_ended.filter(|_| state.began.is_none())
    }

    /// What there was of them until now, with the one that nobody has waited for the end of.
    pub(crate) fn until(&self, now: Instant) -> Option<Went> {
        let state = self.lock();
        let mut went = state.went;
        if let Some(began) = state.began {
            went.count += 1;
            went.took += now.saturating_duration_since(began);
        }
        (went.count > 0).then_some(went)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn getting_ready_is_no_part_of_a_storm() {
        let (storms, began, second) = (Storms::default(), Instant::now(), Duration::from_secs(1));
        assert_eq!((storms.ended(), storms.until(began)), (None, None));
        storms.begin(began + second);
        storms.end(began + 3 * second);
        storms.begin(began + 10 * second);
        // Whoever does not wait for its end has had as much of it.
        assert_eq!(storms.until(began + 11 * second), Some(Went { count: 2, took: 3 * second }));
        assert_eq!(storms.ended(), None);
        storms.end(began + 14 * second);
        assert_eq!(storms.until(began + 99 * second), Some(Went { count: 2, took: 6 * second }));
        assert_eq!(storms.ended(), Some(began + 14 * second));
    }
}
