//! A worker: one pinned thread with its executor.

use std::future::Future;
use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;

use crate::affinity::{self, Mask};
use crate::backend::uring::ReceiveRing;
use crate::backend::{Backend, Executor};
use crate::context;

/// Descriptors that a worker itself has open: its rings, its epoll instances, and what wakes it. Beside them there is one
/// for each source, and those of the jobs that run.
pub const DESCRIPTORS_PER_WORKER_MAX: u64 = 8;

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
        let executor = match affinity::pin(core).and_then(|()| Executor::new(backend)) {
            Ok(executor) => executor,
            Err(refused) => {
                // Nobody waits for the output of a thread that did not start: unwind without a word.
                drop(started.send(Err(refused)));
                resume_unwind(Box::new("the worker did not start"));
            }
        };
        drop(started.send(Ok(())));
        run(&executor, backend, unpinned, main)
    })?;
    match start.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(refused)) => Err(refused),
        Err(mpsc::RecvError) => Err(io::Error::other("the worker's thread ended before it started")),
    }
}

fn run<F, Fut>(executor: &Executor, backend: Backend, blocking_on: Mask, main: F) -> Fut::Output
where
    F: FnOnce() -> Fut,
    Fut: Future + 'static,
{
    let outcome = executor.block_on(async {
        // Left when the future of this block is done: whatever is dropped after that cannot start tasks.
        let receive_ring = executor.receive_ring();
        let _entered = context::enter(backend, blocking_on, receive_ring.clone());
        if let Some(ring) = receive_ring {
            tokio::task::spawn_local(ReceiveRing::serve(ring));
        }
        // A task like all others, so that what it drops is dropped where tasks can be started.
        tokio::task::spawn_local(main()).await
    });
    match outcome {
        Ok(result) => result,
        Err(ended) => resume_unwind(ended.into_panic()),
    }
}
