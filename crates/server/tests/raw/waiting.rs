//! Waiting for what no reply tells, by looking again and again, with a bound.

use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// How long to rest between two looks. No test depends on it.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks until it is so.
///
/// # Panics
///
/// If it does not come to be so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        thread::sleep(LOOK_EVERY);
    }
}
