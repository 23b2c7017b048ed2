//! The tasks of one thread: which of them can go on, and in what order.
//!
//! A worker polls the tasks that are ready at the beginning of its turn; what they wake is for the next turn, after a look at
//! the kernel. So a task that could go on for ever delays the others by one poll, and the kernel as well.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use nix::sys::eventfd::{EfdFlags, EventFd};
use slab::Slab;

type BoxedFuture = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static HERE: ReadyHere = const { ReadyHere { whose: Cell::new(ptr::null()), keys: RefCell::new(VecDeque::new()) } };
}

/// The tasks of the calling thread that are ready.
struct ReadyHere {
    /// Whose tasks those are, to be compared alone; null on a thread that is no worker.
    whose: Cell<*const Doorbell>,
    keys: RefCell<VecDeque<usize>>,
}

/// Where other threads say that a task is ready.
pub(crate) struct Doorbell {
    event: EventFd,
    rung: AtomicBool,
    keys: Mutex<Vec<usize>>,
}

impl Doorbell {
    fn ring(&self, key: usize) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
        if !self.rung.swap(true, Ordering::AcqRel) {
            // It fails only for a counter near 2^64.
            let _ = self.event.write(1);
        }
    }
}

impl AsFd for Doorbell {
    /// Turns readable, by an edge, each time that it is rung. It is never read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

/// What wakes one task.
struct TaskWaker {
    key: usize,
    /// It is among the ready ones already, or it has ended.
    queued: AtomicBool,
    doorbell: Arc<Doorbell>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let here = HERE.try_with(|here| {
            let is_ours = ptr::eq(here.whose.get(), Arc::as_ptr(&self.doorbell));
            if is_ours {
                here.keys.borrow_mut().push_back(self.key);
            }
            is_ours
        });
        if here != Ok(true) {
            self.doorbell.ring(self.key);
        }
    }
}

/// A task that was started and has not ended.
struct Started {
    /// `None` while it is polled.
    future: Option<BoxedFuture>,
    waker: Waker,
    state: Arc<TaskWaker>,
}

/// A thread's tasks.
pub(crate) struct Executor {
    tasks: RefCell<Slab<Started>>,
    doorbell: Arc<Doorbell>,
}

impl Executor {
    /// The tasks of the calling thread, of which one executor at a time may be.
    pub(crate) fn new() -> io::Result<Executor> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let doorbell = Arc::new(Doorbell { event, rung: AtomicBool::new(false), keys: Mutex::default() });
        HERE.with(|here| here.whose.set(Arc::as_ptr(&doorbell)));
        Ok(Executor { tasks: RefCell::default(), doorbell })
    }

    pub(crate) fn doorbell(&self) -> &Arc<Doorbell> {
        &self.doorbell
    }

    pub(crate) fn spawn(&self, future: BoxedFuture) {
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let (queued, doorbell) = (AtomicBool::new(false), Arc::clone(&self.doorbell));
        let state = Arc::new(TaskWaker { key: entry.key(), queued, doorbell });
        let waker = Waker::from(Arc::clone(&state));
        waker.wake_by_ref();
        entry.insert(Started { future: Some(future), waker, state });
    }

    /// Whether any task can go on.
    pub(crate) fn has_ready(&self) -> bool {
        if self.doorbell.rung.load(Ordering::Acquire) {
            self.take_rung();
        }
        HERE.with(|here| !here.keys.borrow().is_empty())
    }

    fn take_rung(&self) {
        self.doorbell.rung.swap(false, Ordering::AcqRel);
        let rung = std::mem::take(&mut *self.doorbell.keys.lock().unwrap_or_else(PoisonError::into_inner));
        HERE.with(|here| here.keys.borrow_mut().extend(rung));
    }

    /// Polls each task that is ready by now.
    pub(crate) fn run_ready(&self) {
        let count = HERE.with(|here| here.keys.borrow().len());
        for _ in 0..count {
            if let Some(key) = HERE.with(|here| here.keys.borrow_mut().pop_front()) {
                self.poll(key);
            }
        }
    }

    fn poll(&self, key: usize) {
        let taken = self.tasks.borrow_mut().get_mut(key).and_then(|task| {
            // What wakes it from here on queues it again; and what another thread did before it found it queued already is seen
            // by the poll. A mere store could come after what the poll looks at.
            task.state.queued.swap(false, Ordering::AcqRel);
            Some((task.future.take()?, task.waker.clone()))
        });
        // It has ended since it was woken.
        let Some((mut future, waker)) = taken else { return };
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        let mut tasks = self.tasks.borrow_mut();
        if polled.is_pending() {
            if let Some(task) = tasks.get_mut(key) {
                task.future = Some(future);
            }
            return;
        }
        let ended = tasks.try_remove(key);
        drop(tasks);
        if let Some(task) = ended {
            task.state.queued.store(true, Ordering::Release);
        }
    }

    /// Drops every task, and with it what it holds.
    pub(crate) fn clear(&self) {
        // Taken out first: what tasks hold may wake others when it is dropped.
        let tasks = self.tasks.take();
        drop(tasks);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.clear();
        // The thread's own end has taken it away already.
        let _ = HERE.try_with(|here| {
            here.whose.set(ptr::null());
            here.keys.borrow_mut().clear();
        });
    }
}
