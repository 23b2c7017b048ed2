//! Counters that a core writes at the price of a plain store, and any thread may read.
//!
//! Each worker's counters have one writer, its own thread, so that an increment is a load and a store and no
//! atomic read-modify-write; they stand on cache lines of their own. A shard's gauges are written under the
//! shard's lock. Nothing is decided by any of them: a reader sees each value as of some recent moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::histogram::{BUCKETS, WaitHistogram};

/// What one worker counts. Two cache lines apart from the next, for processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct WorkerCounters {
    leased: AtomicU64,
    borrowed: AtomicU64,
    refused: AtomicU64,
    expired: AtomicU64,
    mismatched: AtomicU64,
    waited_us: AtomicU64,
    waits: [AtomicU64; BUCKETS],
}

/// What stands in one shard now.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct ShardGauges {
    pending: AtomicU64,
    cooling: AtomicU64,
    free: AtomicU64,
}

/// The counters of one worker and the gauges of its shard.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) worker: WorkerCounters,
    pub(crate) shard: ShardGauges,
}

/// Adds to a counter that no other thread writes.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl WorkerCounters {
    pub(crate) fn on_leased(&self, borrowed: bool) {
        add(&self.leased, 1);
        if borrowed {
            add(&self.borrowed, 1);
        }
    }

    pub(crate) fn on_refused(&self) {
        add(&self.refused, 1);
    }

    pub(crate) fn on_expired(&self, leases: usize) {
        if leases > 0 {
            add(&self.expired, leases as u64);
        }
    }

    pub(crate) fn on_stranger(&self) {
        add(&self.mismatched, 1);
    }

    pub(crate) fn on_delivered(&self, waited: Duration) {
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        add(&self.waits[WaitHistogram::bucket(waited_us)], 1);
        add(&self.waited_us, waited_us);
    }
}

impl ShardGauges {
    /// Called under the lock of the shard, which keeps the stores of several threads in order.
    pub(crate) fn set(&self, pending: usize, cooling: usize, free: usize) {
        self.pending.store(pending as u64, Ordering::Relaxed);
        self.cooling.store(cooling as u64, Ordering::Relaxed);
        self.free.store(free as u64, Ordering::Relaxed);
    }
}

/// The state of one worker and its shard, or of all together, at about one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Leases that wait for their connection now, on the shard's ports.
    pub pending: u64,
    /// Pairs (port, client address) of the shard that cool down now.
    pub cooling: u64,
    /// Ports of the shard without any pending lease. A port with leases still serves every other address: this
    /// says how spread the load is, not how much room is left.
    pub free: u64,
    /// Leases that the worker's sessions got, borrowed ones included.
    pub leased: u64,
    /// Leases that they got on a neighbour's ports.
    pub borrowed: u64,
    /// Leases that they did not get.
    pub refused: u64,
    /// Leases that the worker found to have run out.
    pub expired: u64,
    /// Connections that the worker accepted from an address without a lease on that port.
    pub mismatched: u64,
    /// The times from lease to arrival, of the connections that the worker accepted.
    pub waits: WaitHistogram,
}

impl Snapshot {
    fn of(counters: &Counters) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { worker, shard } = counters;
        Snapshot {
            pending: read(&shard.pending),
            cooling: read(&shard.cooling),
            free: read(&shard.free),
            leased: read(&worker.leased),
            borrowed: read(&worker.borrowed),
            refused: read(&worker.refused),
            expired: read(&worker.expired),
            mismatched: read(&worker.mismatched),
            waits: WaitHistogram {
                counts: worker.waits.each_ref().map(read),
                sum_us: read(&worker.waited_us),
            },
        }
    }

    fn add(&mut self, other: &Snapshot) {
        self.pending += other.pending;
        self.cooling += other.cooling;
        self.free += other.free;
        self.leased += other.leased;
        self.borrowed += other.borrowed;
        self.refused += other.refused;
        self.expired += other.expired;
        self.mismatched += other.mismatched;
        self.waits.add(&other.waits);
    }
}

/// Reads the counters of all workers, from any thread, without disturbing them.
#[derive(Clone)]
pub struct Observer {
    counters: Arc<[Counters]>,
}

impl Observer {
    pub(crate) fn new(counters: Arc<[Counters]>) -> Observer {
        Observer { counters }
    }

    /// One snapshot a worker, in the workers' order.
    #[must_use]
    pub fn workers(&self) -> Vec<Snapshot> {
        self.counters.iter().map(Snapshot::of).collect()
    }

    /// All workers together.
    #[must_use]
    pub fn total(&self) -> Snapshot {
        let mut total = Snapshot::default();
        for counters in &*self.counters {
            total.add(&Snapshot::of(counters));
        }
        total
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("total", &self.total()).finish()
    }
}
