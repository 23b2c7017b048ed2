//! What a worker can tell about itself, for whoever watches it from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::context;
use crate::counter::Counter;

/// What the worker's own thread counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) sleeps: Counter,
    pub(crate) busy_nanoseconds: Counter,
    pub(crate) polls: Counter,
    pub(crate) cancels: Counter,
    pub(crate) splices: Counter,
    pub(crate) jobs: Counter,
    pub(crate) jobs_waiting: Counter,
}

impl Counters {
    pub(crate) fn on_busy(&self, busy: Duration) {
        self.busy_nanoseconds.add(u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// A worker's figures at about one moment. What counts up begins with the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerFigures {
    /// How often the worker's thread went to sleep because nothing was left to do.
    pub sleeps: u64,
    /// How long it was awake.
    pub busy: Duration,
    /// Descriptors that the kernel was asked to watch or to receive from: operations of the ring, or registrations with epoll.
    pub polls: u64,
    /// Such operations that were taken back.
    pub cancels: u64,
    /// Splices that the ring's own threads did.
    pub splices: u64,
    /// Jobs that were given to threads that may block.
    pub jobs: u64,
    /// Such jobs that run now, and splices of the ring, which share their number.
    pub jobs_running: u64,
    /// Such jobs that wait for one of their [`Places`](crate::blocking::Places).
    pub jobs_waiting: u64,
}

/// Reads the figures of one worker, from any thread, without disturbing it.
#[derive(Debug, Clone)]
pub struct WorkerObserver {
    counters: Arc<Counters>,
    jobs_running: Arc<AtomicU64>,
}

impl WorkerObserver {
    /// Observes the worker that the calling thread is; there is none on any other thread.
    #[must_use]
    pub fn of_this_worker() -> Option<WorkerObserver> {
        context::with(|worker| WorkerObserver {
            counters: Arc::clone(&worker.counters),
            jobs_running: worker.blocking.taken(),
        })
    }

    /// The figures of this moment.
    #[must_use]
    pub fn figures(&self) -> WorkerFigures {
        let Counters { sleeps, busy_nanoseconds, polls, cancels, splices, jobs, jobs_waiting } =
            &*self.counters;
        WorkerFigures {
            sleeps: sleeps.get(),
            busy: Duration::from_nanos(busy_nanoseconds.get()),
            polls: polls.get(),
            cancels: cancels.get(),
            splices: splices.get(),
            jobs: jobs.get(),
            jobs_running: self.jobs_running.load(Ordering::Relaxed),
            jobs_waiting: jobs_waiting.get(),
        }
    }
}
