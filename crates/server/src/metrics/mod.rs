//! What the server tells about itself by HTTP: metrics for Prometheus, and whether it lives and takes clients.
//!
//! Workers count in [`counters`], each for itself and without a glance at the others; [`page`] adds up when somebody asks;
//! [`endpoint`] answers.

mod counters;
mod endpoint;
mod page;
mod process;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use passive_ports::Observer;
use runtime::{Backend, FairPool, WorkerObserver};

use crate::logging::TransferLog;
use crate::readiness::Readiness;
use counters::By;

pub(crate) use counters::{
    Connecting, Direction, LoginEnd, Mode, Passed, Refusal, Reload, SessionEnd, TransferEnd, TransferFigures,
    WorkerCounters,
};
pub(crate) use endpoint::MetricsListener;

/// Everything that is counted and watched.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) readiness: Arc<Readiness>,
    started: SystemTime,
    backend: Backend,
    workers: Vec<WatchedWorker>,
    bounds: OnceLock<Bounds>,
    sessions_max: AtomicUsize,
    transfer_log: OnceLock<&'static TransferLog>,
    /// Counted by the one thread that reloads.
    reloads: By<{ Reload::ALL.len() }>,
}

#[derive(Debug, Default)]
struct WatchedWorker {
    counters: WorkerCounters,
    observer: OnceLock<WorkerObserver>,
}

/// What is known once everything is bound.
#[derive(Debug)]
pub(crate) struct Bounds {
    pub(crate) passive: Observer,
    pub(crate) passive_ports: usize,
    pub(crate) password_checks: FairPool<IpAddr>,
}

impl Metrics {
    pub(crate) fn new(workers: usize, backend: Backend, readiness: Arc<Readiness>) -> Self {
        let workers = (0..workers).map(|_| WatchedWorker::default()).collect();
        Self {
            readiness,
            started: SystemTime::now(),
            backend,
            workers,
            bounds: OnceLock::new(),
            sessions_max: AtomicUsize::new(0),
            transfer_log: OnceLock::new(),
            reloads: By::default(),
        }
    }

    /// What the worker of this number counts in, and nobody else.
    pub(crate) fn counters(&self, worker: usize) -> &WorkerCounters {
        &self.workers[worker].counters
    }

    /// Called by the worker of this number.
    pub(crate) fn watch_this_worker(&self, worker: usize) {
        if let Some(observer) = WorkerObserver::of_this_worker() {
            self.workers[worker].observer.get_or_init(|| observer);
        }
    }

    /// How many sessions there may be from now on.
    pub(crate) fn set_sessions_max(&self, sessions_max: usize) {
        self.sessions_max.store(sessions_max, Ordering::Relaxed);
    }

    /// There is a log of transfers.
    pub(crate) fn watch_transfer_log(&self, log: &'static TransferLog) {
        self.transfer_log.get_or_init(|| log);
    }

    /// Called by the thread that reloads.
    pub(crate) fn on_reload(&self, outcome: Reload) {
        self.reloads.at(outcome as usize).add(1);
    }

    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        self.bounds.get_or_init(|| bounds);
    }
}
