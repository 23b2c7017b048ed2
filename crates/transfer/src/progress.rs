//! How far a transfer has come.

use std::cell::Cell;
use std::time::Instant;

use runtime::{Counter, turn_began};

use crate::Route;

/// How far a transfer has come, and how: written by the transfer, read by whoever else holds it, on the same worker.
#[derive(Debug)]
pub struct Progress {
    bytes: Cell<u64>,
    last_moved: Cell<Instant>,
    route: Cell<Option<Route>>,
    cold_reads: Cell<u64>,
    limit_waits: Cell<u64>,
    total_bytes: Option<&'static Counter>,
}

impl Progress {
    /// Nothing moved yet.
    #[must_use]
    pub fn new() -> Progress {
        Progress {
            bytes: Cell::new(0),
            last_moved: Cell::new(turn_began()),
            route: Cell::new(None),
            cold_reads: Cell::new(0),
            limit_waits: Cell::new(0),
            total_bytes: None,
        }
    }

    /// Nothing moved yet; what moves is added to a counter of this worker as well.
    #[must_use]
    pub fn counted_in(total_bytes: &'static Counter) -> Progress {
        Progress { total_bytes: Some(total_bytes), ..Progress::new() }
    }

    /// Bytes that the data connection took or gave so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// When the last of them moved; before the first, when the transfer was set up.
    #[must_use]
    pub fn last_moved(&self) -> Instant {
        self.last_moved.get()
    }

    /// The route that the bytes take, the last one where it changed on the way; none before it is chosen.
    #[must_use]
    pub fn route(&self) -> Option<Route> {
        self.route.get()
    }

    /// How often bytes of the file had to be waited for, on another thread: because they were not in the page cache, or
    /// because nobody can say so of that file system.
    #[must_use]
    pub fn cold_reads(&self) -> u64 {
        self.cold_reads.get()
    }

    /// How often a limit of rate had to be waited for.
    #[must_use]
    pub fn limit_waits(&self) -> u64 {
        self.limit_waits.get()
    }

    pub(crate) fn moved(&self, bytes: usize, now: Instant) {
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.last_moved.set(now);
        if let Some(total) = self.total_bytes {
            total.add(bytes as u64);
        }
    }

    pub(crate) fn takes(&self, route: Route) {
        self.route.set(Some(route));
    }

    pub(crate) fn on_cold_read(&self) {
        self.cold_reads.set(self.cold_reads.get() + 1);
    }

    pub(crate) fn on_limit_wait(&self) {
        self.limit_waits.set(self.limit_waits.get() + 1);
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}
