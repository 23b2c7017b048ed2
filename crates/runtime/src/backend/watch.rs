//! What is known of one descriptor's readiness, from the edges that the kernel tells of.

use std::task::{Context, Poll, Waker};

use crate::source::Interest;

/// What the kernel is asked to tell of, as `poll(2)` and `epoll(7)` call it. Hang-up and error come without being asked for.
pub(crate) const EVENTS: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLPRI;

/// Ready is what an edge told of and no call has found otherwise since.
#[derive(Default)]
pub(crate) struct Watch {
    readable: Side,
    writable: Side,
    /// Urgent data may have come.
    may_be_urgent: bool,
}

/// What is known of one interest.
#[derive(Default)]
struct Side {
    is_ready: bool,
    /// No call will ever block again: the peer has ended this side, or the connection is broken. There may be no other edge.
    is_over: bool,
    waker: Option<Waker>,
}

impl Watch {
    /// The kernel told of these events.
    pub(crate) fn happened(&mut self, events: i32) {
        const READABLE: i32 = libc::EPOLLIN | libc::EPOLLPRI;
        const READABLE_FOR_EVER: i32 = libc::EPOLLRDHUP | libc::EPOLLHUP;
        const WRITABLE_FOR_EVER: i32 = libc::EPOLLERR | libc::EPOLLHUP;
        self.may_be_urgent |= events & libc::EPOLLPRI != 0;
        self.readable.is_over |= events & READABLE_FOR_EVER != 0;
        self.writable.is_over |= events & WRITABLE_FOR_EVER != 0;
        if events & (READABLE | READABLE_FOR_EVER | libc::EPOLLERR) != 0 {
            self.readable.happened();
        }
        if events & (libc::EPOLLOUT | WRITABLE_FOR_EVER) != 0 {
            self.writable.happened();
        }
    }

    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>, interest: Interest) -> Poll<()> {
        let side = self.side(interest);
        if side.is_ready || side.is_over {
            return Poll::Ready(());
        }
        match &mut side.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// A system call said "would block": the next edge makes it ready again.
    pub(crate) fn clear(&mut self, interest: Interest) {
        self.side(interest).is_ready = false;
    }

    /// A receive filled less than its buffer, or a send took less than it was given: on a stream that means "would
    /// block" next, without asking. The one exception is urgent data, at which a receive stops though there is
    /// more behind it: no edge would come for that, so the readiness is kept.
    ///
    /// `is_urgent` looks whether there is any, for the ring tells of it with whatever comes.
    pub(crate) fn clear_after_partial(&mut self, interest: Interest, is_urgent: impl FnOnce() -> bool) {
        if interest == Interest::Readable && std::mem::take(&mut self.may_be_urgent) && is_urgent() {
            return;
        }
        self.clear(interest);
    }

    fn side(&mut self, interest: Interest) -> &mut Side {
        match interest {
            Interest::Readable => &mut self.readable,
            Interest::Writable => &mut self.writable,
        }
    }
}

impl Side {
    fn happened(&mut self) {
        self.is_ready = true;
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
