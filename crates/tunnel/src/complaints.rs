//! What `ssh` says on standard error, kept so that those whom it concerns can be told.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many lines are kept.
const LINES_MAX: usize = 32;

/// How `ssh` begins to say, after the channel's number, that the other side did not open one.
const OPEN_FAILED: &str = "open failed: ";

/// The last lines that `ssh` has said.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    /// How many lines there were before those that are kept.
    forgotten: u64,
    ended: bool,
}

/// A moment, to ask what was said after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl Complaints {
    pub(crate) fn add(&self, line: String) {
        let mut state = self.state();
        if state.lines.len() == LINES_MAX {
            state.lines.pop_front();
            state.forgotten += 1;
        }
        state.lines.push_back(line);
        self.changed.notify_all();
    }

    /// Nothing more will be said.
    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Whether `ssh` has ended; waits at most `patience` for it.
    pub(crate) fn have_ended(&self, patience: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), patience, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    pub(crate) fn now(&self) -> Moment {
        let state = self.state();
        Moment(state.forgotten + state.lines.len() as u64)
    }

    /// Why a channel was not opened, as said after `moment`; waits at most `patience` for it. Where several failed at the
    /// same time, it can be another's reason: `ssh` does not say whose it is.
    pub(crate) fn open_failure_since(&self, moment: Moment, patience: Duration) -> Option<String> {
        let waiting = |state: &mut State| !state.ended && state.open_failure_since(moment).is_none();
        let waited = self.changed.wait_timeout_while(self.state(), patience, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.open_failure_since(moment)
    }

    /// The last line.
    pub(crate) fn last(&self) -> String {
        self.state().lines.back().cloned().unwrap_or_else(|| String::from("ssh gave no reason"))
    }

    /// Every line that is kept, but warnings.
    pub(crate) fn all(&self) -> String {
        // Its process can be gone a moment before its last words are read.
        let waited =
            self.changed.wait_timeout_while(self.state(), Duration::from_secs(1), |state| !state.ended);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let lines: Vec<_> =
            state.lines.iter().map(String::as_str).filter(|line| !line.starts_with("Warning:")).collect();
        if lines.is_empty() { String::from("ssh gave no reason") } else { lines.join(" ") }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open_failure_since(&self, moment: Moment) -> Option<String> {
        let skip = usize::try_from(moment.0.saturating_sub(self.forgotten)).ok()?;
        let reason = |line: &String| line.split_once(OPEN_FAILED).map(|(_, reason)| reason.to_owned());
        self.lines.iter().skip(skip).rev().find_map(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_those_after_the_moment() {
        let complaints = Complaints::default();
        complaints.add(String::from("channel 2: open failed: connect failed: Connection refused"));
        let moment = complaints.now();
        assert_eq!(complaints.open_failure_since(moment, Duration::ZERO), None);
        complaints.add(String::from("channel 3: open failed: administratively prohibited: open failed"));
        complaints.add(String::from("something else"));
        let reason = complaints.open_failure_since(moment, Duration::ZERO);
        assert_eq!(reason.as_deref(), Some("administratively prohibited: open failed"));
        for _ in 0..LINES_MAX {
            complaints.add(String::from("more"));
        }
        assert_eq!(complaints.open_failure_since(moment, Duration::ZERO), None);
        assert_eq!(complaints.open_failure_since(complaints.now(), Duration::ZERO), None);
    }
}
