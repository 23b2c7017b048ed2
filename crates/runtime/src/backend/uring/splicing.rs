//! Splices that may wait for a disk: the kernel hands them to worker threads of its own.
//!
//! Their number is bounded by the places of the worker's blocking jobs, one of which each holds until it completes.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Poll, Waker};

use io_uring::{opcode, types};

use super::{Ring, What};
use crate::blocking::Place;
use crate::context;
use crate::splice::{SharedDescriptor, SpliceEnd};

/// A splice that the kernel works on, and what it needs until it completes.
pub(crate) struct Splicing {
    _descriptors: [SharedDescriptor; 2],
    _place: Place,
    result: Option<i32>,
    waker: Option<Waker>,
    /// Whoever started it does not wait any more.
    is_dropped: bool,
}

impl Splicing {
    pub(super) fn completed(&mut self, result: i32) {
        self.result = Some(result);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Moves at most `bytes`; gives how many were, or a negated errno.
    pub(crate) async fn run(from: SpliceEnd, to: SpliceEnd, bytes: u32, place: Place) -> io::Result<i32> {
        let (from_offset, to_offset) = (from.kernel_offset()?, to.kernel_offset()?);
        let fd = |end: &SpliceEnd| types::Fd(end.descriptor.as_fd().as_raw_fd());
        let entry = opcode::Splice::new(fd(&from), from_offset, fd(&to), to_offset, bytes)
            .flags(libc::SPLICE_F_MOVE)
            .build();
        let started = Started(on_ring(|ring| {
            let key = ring.insert(What::Splicing(Splicing {
                _descriptors: [from.descriptor, to.descriptor],
                _place: place,
                result: None,
                waker: None,
                is_dropped: false,
            }));
            ring.start(key, entry);
            key
        })?);
        context::with(|worker| worker.counters.splices.add(1));
        let result = poll_fn(|cx| {
            let result = started.with(|splicing| {
                splicing.waker = Some(cx.waker().clone());
                splicing.result
            });
            match result {
                Ok(None) => Poll::Pending,
                Ok(Some(result)) => Poll::Ready(Ok(result)),
                Err(error) => Poll::Ready(Err(error)),
            }
        });
        result.await
    }
}

/// The future's hold on a splice that was started.
struct Started(usize);

impl Started {
    fn with<R>(&self, what: impl FnOnce(&mut Splicing) -> R) -> io::Result<R> {
        on_ring(|ring| match &mut ring.operations[self.0].what {
            What::Splicing(splicing) => what(splicing),
            _ => unreachable!("a splice's place is its own until it is forgotten"),
        })
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // While the worker stops, the ring itself waits for what it was given.
        let _ = on_ring(|ring| {
            if let What::Splicing(splicing) = &mut ring.operations[self.0].what {
                splicing.is_dropped = true;
            }
            ring.forget_splice(self.0);
        });
    }
}

impl Ring {
    /// Forgets a splice that has completed and that nobody waits for.
    pub(super) fn forget_splice(&mut self, key: usize) {
        let is_over = match &self.operations[key].what {
            What::Splicing(splicing) => splicing.is_dropped && splicing.result.is_some(),
            _ => false,
        };
        if is_over {
            self.operations.remove(key);
        }
    }
}

fn on_ring<R>(what: impl FnOnce(&mut Ring) -> R) -> io::Result<R> {
    context::with(|worker| worker.driver.ring().map(|ring| what(&mut ring.borrow_mut())))
        .flatten()
        .ok_or_else(context::not_on_a_worker)
}
