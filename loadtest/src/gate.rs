//! A gate: so many may be inside at once, the others wait in order.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Lets so many through at once, on one worker.
#[derive(Debug)]
pub(crate) struct Gate {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Waker>>,
}

/// The right to be inside; given back when dropped.
#[derive(Debug)]
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    /// A gate for `count` at once, at least one.
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Cell::new(count.max(1)), waiting: RefCell::default() }
    }

    pub(crate) async fn enter(&self) -> Inside<'_> {
        poll_fn(|context| {
            if let Some(left) = self.free.get().checked_sub(1) {
                self.free.set(left);
                return Poll::Ready(Inside(self));
            }
            self.waiting.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        // One that gave up waiting leaves its waker behind, and waking it is for nothing: so all that could go on are
        // woken where there is more than one place.
        let places = self.0.free.get();
        let mut waiting = self.0.waiting.borrow_mut();
        let count = places.min(waiting.len());
        for waker in waiting.drain(..count) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn only_so_many_are_inside() {
        let gate = Gate::new(1);
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(first) = pin!(gate.enter()).as_mut().poll(&mut context) else {
            panic!("there is a place")
        };
        let mut second = pin!(gate.enter());
        assert!(second.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(second.as_mut().poll(&mut context).is_ready());
    }
}
