//! How the sessions of a worker hear that the server stops.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Said once, heard by every session of a worker, those that begin to listen later too.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    said: Cell<bool>,
    listeners: RefCell<Slab<Option<Waker>>>,
}

/// One session's ear. It hears the farewell once.
#[derive(Debug)]
pub(crate) struct FarewellListener {
    farewell: Rc<Farewell>,
    key: usize,
    heard: bool,
}

impl Farewell {
    pub(crate) fn listen(self: &Rc<Self>) -> FarewellListener {
        let key = self.listeners.borrow_mut().insert(None);
        FarewellListener { farewell: Rc::clone(self), key, heard: false }
    }

    /// Whether there are sessions.
    pub(crate) fn has_listeners(&self) -> bool {
        !self.listeners.borrow().is_empty()
    }

    pub(crate) fn say(&self) {
        self.said.set(true);
        for (_, waker) in self.listeners.borrow_mut().iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }
}

impl FarewellListener {
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.heard {
            return Poll::Pending;
        }
        if self.farewell.said.get() {
            self.heard = true;
            return Poll::Ready(());
        }
        let mut listeners = self.farewell.listeners.borrow_mut();
        let waker = &mut listeners[self.key];
        // A session's task has one waker all its life, so this is written once.
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for FarewellListener {
    fn drop(&mut self) {
        self.farewell.listeners.borrow_mut().remove(self.key);
    }
}
