//! What the calling thread is: a worker with its backend, or none.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::affinity::Mask;
use crate::backend::Backend;
use crate::backend::uring::SharedReceiveRing;
use crate::blocking::Pool;
use crate::figures::Counters;

thread_local! {
    static WORKER: RefCell<Option<Rc<Worker>>> = const { RefCell::new(None) };
}

/// The parts of a worker that its tasks reach without being handed them.
pub(crate) struct Worker {
    backend: Backend,
    pub(crate) blocking: Pool,
    pub(crate) counters: Arc<Counters>,
    pub(crate) receive_ring: Option<SharedReceiveRing>,
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

/// Counts something on the worker that the calling thread is; false on any other thread.
pub(crate) fn count(what: impl FnOnce(&Counters)) -> bool {
    let counted = WORKER.try_with(|worker| worker.borrow().as_ref().map(|worker| what(&worker.counters)));
    counted.ok().flatten().is_some()
}

/// Makes the calling thread a worker until the guard is dropped. Its threads for what may block run on the cores of `mask`.
pub(crate) fn enter(backend: Backend, mask: Mask, receive_ring: Option<SharedReceiveRing>) -> Entered {
    let counters = Arc::<Counters>::default();
    let blocking = Pool::new(mask, Arc::clone(&counters));
    let (closings, closed) = (Cell::new(0), Notify::new());
    let worker = Worker { backend, blocking, counters, receive_ring, closings, closed };
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

/// Counts a descriptor that is being closed in the background, until dropped. It keeps no worker: the worker's own ring keeps some
/// of these.
pub(crate) struct Closing(Weak<Worker>);

impl Closing {
    pub(crate) fn begin(worker: &Rc<Worker>) -> Closing {
        worker.closings.set(worker.closings.get() + 1);
        Closing(Rc::downgrade(worker))
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(worker) = self.0.upgrade() {
            worker.closings.set(worker.closings.get() - 1);
            worker.closed.notify_waiters();
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_closed_is_counted_and_keeps_no_worker() {
        let entered = enter(Backend::Epoll, Mask::of_this_thread().expect("a mask"), None);
        let this = worker().expect("a worker");
        let closings = [Closing::begin(&this), Closing::begin(&this)];
        assert_eq!(this.closings.get(), 2);
        let [first, second] = closings;
        drop(first);
        assert_eq!(this.closings.get(), 1);
        let weak = Rc::downgrade(&this);
        drop((this, entered));
        assert!(weak.upgrade().is_none(), "its threads and its ring have ended");
        drop(second);
    }
}
