//! A worker: one pinned thread with its executor.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use crate::affinity::{self, Mask};
use crate::backend::{Backend, Driver, Wait};
use crate::context::{self, Worker};
use crate::executor::Executor;
use crate::task::{self, Ended};

/// Descriptors that a worker itself has open: its ring or its epoll instance, and what wakes it. Beside them there is one
/// for each source, and those of the jobs that run.
pub const DESCRIPTORS_PER_WORKER_MAX: u64 = 2;

/// What a worker is started with.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The thread's name, as `ps` and a debugger show it; the kernel keeps its first 15 bytes.
    pub name: String,
    /// The core to run on, one of [`allowed_cores`](crate::allowed_cores).
    pub core: usize,
    /// How to wait, as [`choose_backend`](crate::choose_backend) settled it.
    pub backend: Backend,
}

/// Starts a worker: a thread pinned to one core that runs `main` and what `main` spawns.
///
/// The future is made on the new thread, so it need not be `Send`. When it is done, the tasks that are left are
/// dropped, what they hold is closed, and the thread ends with the future's result. A panic of `main` is the
/// panic of the thread: joining it returns the payload.
///
/// # Errors
///
/// If the thread cannot be started or pinned, or its ring or epoll cannot be had: said here, before `main` runs.
pub fn spawn_worker<F, Fut>(config: WorkerConfig, main: F) -> io::Result<thread::JoinHandle<Fut::Output>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let WorkerConfig { name, core, backend } = config;
    // Threads that do what may block inherit the affinity of the thread that starts them; a pinned worker's would
    // all crowd onto its core.
    let unpinned = Mask::of_this_thread()?;
    let (started, start) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name(name).spawn(move || {
        let (executor, driver) = match affinity::pin(core).and_then(|()| parts(backend)) {
            Ok(parts) => parts,
            Err(refused) => {
                // Nobody waits for the output of a thread that did not start: unwind without a word.
                drop(started.send(Err(refused)));
                resume_unwind(Box::new("the worker did not start"));
            }
        };
        drop(started.send(Ok(())));
        run(executor, driver, unpinned, main)
    })?;
    match start.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(refused)) => Err(refused),
        Err(mpsc::RecvError) => Err(io::Error::other("the worker's thread ended before it started")),
    }
}

/// What a worker needs of its thread and of the kernel.
fn parts(backend: Backend) -> io::Result<(Executor, Driver)> {
    let executor = Executor::new()?;
    let driver = Driver::new(backend, Arc::clone(executor.doorbell()))?;
    Ok((executor, driver))
}

fn run<F, Fut>(executor: Executor, driver: Driver, blocking_on: Mask, main: F) -> Fut::Output
where
    F: FnOnce() -> Fut,
    Fut: Future + 'static,
{
    let entered = context::enter(executor, driver, blocking_on);
    // A task like all others, so that what it drops is dropped where tasks can be started.
    let main = task::spawn(main());
    if let Some(worker) = context::worker() {
        turn_until(&worker, || main.is_finished());
    }
    drop(entered);
    match main.into_outcome() {
        Some(Ok(result)) => result,
        Some(Err(Ended::Panicked(payload))) => resume_unwind(payload),
        Some(Err(Ended::Aborted)) | None => unreachable!("nobody else can end the main task"),
    }
}

/// The event loop: polls the tasks that are ready, and asks the kernel who is next.
fn turn_until(worker: &Worker, is_over: impl Fn() -> bool) {
    let Worker { executor, timers, driver, counters, turn_began, long_turns, .. } = worker;
    loop {
        executor.run_ready();
        if is_over() {
            return;
        }
        let goes_on = executor.has_ready() || long_turns.is_anyone_waiting();
        let now = Instant::now();
        counters.on_busy(now - turn_began.get());
        let wait = match timers.next() {
            _ if goes_on => Wait::Not,
            Some(deadline) if deadline <= now => Wait::Not,
            Some(deadline) => Wait::AtMost(deadline - now),
            None => Wait::ForEver,
        };
        turn_began.set(if matches!(wait, Wait::Not) {
            driver.turn(wait);
            now
        } else {
            counters.sleeps.add(1);
            driver.turn(wait);
            Instant::now()
        });
        timers.fire(turn_began.get());
        // Behind all that has come about by now.
        long_turns.admit_next();
    }
}
