//! What the calling thread is: a worker with its backend, or none.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::backend::Backend;
use crate::blocking::Pool;

thread_local! {
    static WORKER: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
}

/// The parts of a worker that its tasks reach without being handed them.
pub(crate) struct Worker {
    backend: Backend,
    pub(crate) blocking: Pool,
    closings: Cell<usize>,
    closed: Notify,
}

/// The worker of the calling thread, while it runs.
pub(crate) fn worker() -> Option<Rc<Worker>> {
    // During the thread's own end there is no worker any more.
    WORKER.try_with(|worker| worker.borrow().clone()).ok().flatten()
}

/// The backend of the worker that the calling thread is; none on any other thread, and none while a worker stops.
#[must_use]
pub fn current_backend() -> Option<Backend> {
    WORKER.try_with(|worker| worker.borrow().as_ref().map(|worker| worker.backend)).ok().flatten()
}

pub(crate) fn not_on_a_worker() -> io::Error {
    io::Error::other("only a running worker's own thread can wait for descriptors")
}

/// Makes the calling thread a worker until the guard is dropped.
pub(crate) fn enter(backend: Backend, blocking: Pool) -> Entered {
    let worker = Worker { backend, blocking, closings: Cell::new(0), closed: Notify::new() };
    WORKER.with(|current| *current.borrow_mut() = Some(Rc::new(worker)));
    Entered
}

/// The calling thread is a worker.
pub(crate) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        // Taken out first: what the worker owns is dropped when the cell is no longer borrowed.
        let worker = WORKER.with(|current| current.borrow_mut().take());
        drop(worker);
    }
}

/// Counts a descriptor that is being closed in the background, until dropped.
pub(crate) struct Closing(Rc<Worker>);

impl Closing {
    pub(crate) fn begin(worker: Rc<Worker>) -> Closing {
        worker.closings.set(worker.closings.get() + 1);
        Closing(worker)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closings.set(self.0.closings.get() - 1);
        self.0.closed.notify_waiters();
    }
}

/// Waits until every descriptor that was dropped on this worker is closed.
///
/// A dropped [`Source`](crate::Source) with polls in flight closes a moment later, in the background; after this
/// call it has. Off a worker there is nothing to wait for.
pub async fn drained() {
    let Some(worker) = worker() else { return };
    while worker.closings.get() > 0 {
        worker.closed.notified().await;
    }
}
