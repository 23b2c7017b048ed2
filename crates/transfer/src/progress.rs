//! How far a transfer has come.

use std::cell::Cell;
use std::time::Instant;

/// How far a transfer has come: written by the transfer, read by whoever else holds it, on the same worker.
#[derive(Debug)]
pub struct Progress {
    bytes: Cell<u64>,
    last_moved: Cell<Instant>,
}

impl Progress {
    /// Nothing moved yet.
    #[must_use]
    pub fn new() -> Progress {
        Progress { bytes: Cell::new(0), last_moved: Cell::new(Instant::now()) }
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

    pub(crate) fn moved(&self, bytes: usize, now: Instant) {
        self.bytes.set(self.bytes.get() + bytes as u64);
        self.last_moved.set(now);
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}
