//! A number that one core writes at the price of a plain store, and any thread may read.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer, so that to add is a load and a store and never an atomic read-modify-write.
///
/// Where several threads would add, some of it would be lost; nothing worse. A reader sees the value as of some recent
/// moment. Counters of different cores belong on cache lines of their own: align what holds them to 128 bytes, for processors
/// fetch lines in pairs.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    #[must_use]
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Adds, on the one thread that does.
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Takes away what was added, on the one thread that does.
    pub fn subtract(&self, less: u64) {
        self.add(less.wrapping_neg());
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
