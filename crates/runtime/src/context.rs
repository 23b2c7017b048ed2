//! What the calling thread is: a worker with its backend, or none.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::affinity::Mask;
use crate::backend::{Backend, Driver, Wait};
use crate::blocking::Pool;
use crate::executor::Executor;
use crate::figures::Counters;
use crate::long_turns::LongTurns;
use crate::timers::Timers;

thread_local! {
    static WORKER: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
}

/// The parts of a worker that its tasks reach without being handed them.
pub(crate) struct Worker {
    pub(crate) executor: Executor,
    pub(crate) timers: Timers,
    pub(crate) driver: Driver,
    pub(crate) blocking: Pool,
    pub(crate) counters: Arc<Counters>,
    pub(crate) turn_began: Cell<Instant>,
    pub(crate) long_turns: LongTurns,
}

/// The worker of the calling thread, while it runs.
pub(crate) fn worker() -> Option<Rc<Worker>> {
    // During the thread's own end there is no worker any more.
    WORKER.try_with(|worker| worker.borrow().clone()).ok().flatten()
}

/// Does something with the worker that the calling thread is; `None` on any other thread, and while a worker stops.
pub(crate) fn with<R>(what: impl FnOnce(&Worker) -> R) -> Option<R> {
    WORKER.try_with(|worker| worker.borrow().as_deref().map(what)).ok().flatten()
}

/// The backend of the worker that the calling thread is; none on any other thread, and none while a worker stops.
#[must_use]
pub fn current_backend() -> Option<Backend> {
    with(|worker| worker.driver.backend())
}

/// When this turn of the worker's loop began, or now off a worker. It is what everything that happens in a turn may take for
/// now: behind it by no more than the turn has lasted, and had without asking the clock.
#[must_use]
pub fn turn_began() -> Instant {
    with(|worker| worker.turn_began.get()).unwrap_or_else(Instant::now)
}

pub(crate) fn not_on_a_worker() -> io::Error {
    io::Error::other("only a running worker's own thread can wait for descriptors")
}

/// Makes the calling thread a worker until the guard is dropped. Its threads for what may block run on the cores of `mask`.
pub(crate) fn enter(executor: Executor, driver: Driver, mask: Mask) -> Entered {
    let counters = Arc::<Counters>::default();
    let blocking = Pool::new(mask, Arc::clone(&counters));
    let (timers, turn_began) = (Timers::default(), Cell::new(Instant::now()));
    let long_turns = LongTurns::default();
    let worker = Worker { executor, timers, driver, blocking, counters, turn_began, long_turns };
    WORKER.with(|current| *current.borrow_mut() = Some(Rc::new(worker)));
    Entered
}

/// The calling thread is a worker. Dropped, it ends with all that it has: first its tasks, which can start no others and wait for
/// nothing any more, then what the kernel does for it.
pub(crate) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        // Taken out first: what the worker owns is dropped when the cell is no longer borrowed.
        let worker = WORKER.with(|current| current.borrow_mut().take());
        if let Some(worker) = worker {
            // What is queued names descriptors by their numbers, which are about to be others'.
            worker.driver.turn(Wait::Not);
            worker.executor.clear();
        }
    }
}

/// Waits until every descriptor that was dropped on this worker is closed.
///
/// A dropped [`Source`](crate::Source) that the kernel still works on closes a moment later, in the background; after this
/// call it has. Off a worker there is nothing to wait for.
pub async fn drained() {
    if let Some(all_closed) = with(|worker| worker.driver.all_closed()).flatten() {
        // The driver is gone, and with it what was to be closed, if it does not tell.
        let _ = all_closed.await;
    }
}
