//! The worker's ring: what the kernel does for its descriptors by itself.
//!
//! Whatever is asked for goes on by itself (*multishot*): a poll tells of every edge, and what a connection is sent is
//! received into buffers that all connections share. A worker so hands the kernel an operation once for each descriptor, and then only waits; one system call does both, and lets the
//! kernel do its part at that moment and not in between (`IORING_SETUP_DEFER_TASKRUN`).
//!
//! # Ending
//!
//! An operation belongs to its descriptor, not to the future that waits. The kernel keeps the open file as long as an operation works
//! on it, which would keep a port bound and a connection open. So a descriptor that goes while operations are in flight stays open
//! here, they are cancelled, and it is closed with the last completion: its number cannot be another's before.

mod provided_buffers;
mod receiving;
mod splicing;

pub(crate) use splicing::Splicing;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use slab::Slab;
use tokio::sync::oneshot;

use self::provided_buffers::ProvidedBuffers;
use self::receiving::Receiving;
use super::Wait;
use super::watch::{EVENTS, Watch};
use crate::context;
use crate::executor::Doorbell;
use crate::source::Interest;

/// Entries of the submission queue: what is handed to the kernel at one go. A full queue is handed over early.
const SUBMISSION_ENTRIES: u32 = 512;
/// Entries of the completion queue. A burst beyond it waits in the kernel and costs a system call more.
const COMPLETION_ENTRIES: u32 = 8192;
/// What the completions are called that nobody waits for: those of cancels.
const NOBODY: u64 = u64::MAX;
/// How long a worker rests when the kernel has no memory for what it is asked.
const REST_WITHOUT_MEMORY: Duration = Duration::from_millis(1);
/// `io_uring_enter(2)` is to do what the kernel put off.
const GET_EVENTS: u32 = 1;

/// How every ring is set up: the kernel does its part when the worker asks for completions, without interrupting it, and only the
/// worker's own thread submits.
pub(super) fn ring_options() -> io_uring::Builder {
    let mut options = IoUring::builder();
    options
        .setup_cqsize(COMPLETION_ENTRIES)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all();
    options
}

/// Queues an operation that does nothing but complete.
#[allow(unsafe_code)]
pub(super) fn push_nop(ring: &mut IoUring) {
    let nop = opcode::Nop::new().build();
    // SAFETY: a nop refers to no memory and no descriptor, so nothing has to outlive it.
    let pushed = unsafe { ring.submission().push(&nop) };
    debug_assert!(pushed.is_ok(), "a fresh ring has room");
}

/// A worker's ring, and what it is asked to do.
pub(crate) struct Ring {
    ring: IoUring,
    /// `None` once the ring ends.
    buffers: Option<ProvidedBuffers>,
    operations: Slab<Operation>,
    in_flight: usize,
    /// Operations that are to end before their descriptor is closed.
    closing: usize,
    /// Who waits until that number is zero.
    awaiting_closed: Vec<oneshot::Sender<()>>,
    /// Watched, and so kept open.
    doorbell: Arc<Doorbell>,
}

/// Something that the kernel does, or did and may be asked to do again.
struct Operation {
    what: What,
    is_in_flight: bool,
    /// Nobody is interested any more; the descriptor is closed when the last of its operations has ended.
    closes: Option<Rc<Closing>>,
}

enum What {
    Watching(Watch),
    Receiving(Receiving),
    Splicing(Splicing),
    /// Being told that another thread has woken a task, which is all that this is for.
    Listening,
}

/// A descriptor that is closed with the last operation on it, and whoever waits for that.
struct Closing {
    _fd: OwnedFd,
    waker: RefCell<Option<Waker>>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        // The woken task has its turn when the descriptor, which is dropped right after this, is closed.
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Waits until a descriptor is closed.
pub(crate) struct Closed(Weak<Closing>);

impl Future for Closed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(closing) = self.0.upgrade() else { return Poll::Ready(()) };
        closing.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Ring {
    pub(super) fn new(doorbell: Arc<Doorbell>) -> io::Result<Ring> {
        let ring = ring_options().build(SUBMISSION_ENTRIES)?;
        let buffers = Some(ProvidedBuffers::register(&ring.submitter())?);
        let mut ring = Ring {
            ring,
            buffers,
            operations: Slab::new(),
            in_flight: 0,
            closing: 0,
            awaiting_closed: Vec::new(),
            doorbell,
        };
        let listening = ring.insert(What::Listening);
        ring.listen(listening);
        Ok(ring)
    }

    fn listen(&mut self, key: usize) {
        let event = types::Fd(self.doorbell.as_fd().as_raw_fd());
        self.start(key, opcode::PollAdd::new(event, poll_events(libc::EPOLLIN)).multi(true).build());
    }

    fn insert(&mut self, what: What) -> usize {
        self.operations.insert(Operation { what, is_in_flight: false, closes: None })
    }

    /// Hands an operation to the kernel at the end of this turn. What it names stays as it is until it has ended: descriptors by
    /// [`close`](Ring::close), or because they are the ring's own or held by the operation; buffers as long as the ring.
    fn start(&mut self, key: usize, entry: squeue::Entry) {
        self.push(&entry.user_data(key as u64));
        self.operations[key].is_in_flight = true;
        self.in_flight += 1;
    }

    fn cancel(&mut self, key: usize) {
        context::with(|worker| worker.counters.cancels.add(1));
        self.push(&opcode::AsyncCancel::new(key as u64).build().user_data(NOBODY));
    }

    #[allow(unsafe_code)]
    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: what entries name outlives them, as `start` says; a cancel names nothing.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            self.enter(Wait::Not);
        }
    }

    /// Hands over what is queued, waits, and passes on what has completed.
    pub(super) fn turn(&mut self, wait: Wait) {
        let has_completed = !self.ring.completion().is_empty();
        let wait = if has_completed { Wait::Not } else { wait };
        if !matches!(wait, Wait::Not) || self.kernel_has_work() {
            self.enter(wait);
        }
        self.collect();
    }

    /// Something is queued for the kernel, or it has put something off.
    fn kernel_has_work(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    #[allow(unsafe_code)]
    fn enter(&mut self, wait: Wait) {
        let queued = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
        let submitter = self.ring.submitter();
        let entered = match wait {
            // SAFETY: nothing is passed but numbers.
            Wait::Not => unsafe { submitter.enter::<()>(queued, 0, GET_EVENTS, None) },
            Wait::AtMost(time) => {
                submitter.submit_with_args(1, &types::SubmitArgs::new().timespec(&time.into()))
            }
            Wait::ForEver => submitter.submit_and_wait(1),
        };
        match entered.map_err(|error| error.raw_os_error()) {
            // Waited for long enough, or a signal came.
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR)) => {}
            // Completions have to be taken before any more can be.
            Err(Some(libc::EBUSY)) => self.collect(),
            // The kernel has no memory for more. What was queued stays so.
            Err(Some(libc::EAGAIN | libc::ENOMEM)) => thread::sleep(REST_WITHOUT_MEMORY),
            Err(errno) => unreachable!("io_uring_enter takes what it is given, and yet: {errno:?}"),
        }
    }

    /// Passes on what has completed.
    fn collect(&mut self) {
        let mut any = false;
        // One after the other: what is passed on may queue a new operation.
        while let Some(completion) = self.next_completion() {
            any = true;
            self.complete(&completion);
        }
        if let Some(buffers) = self.buffers.as_ref().filter(|_| any) {
            buffers.publish();
        }
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    fn complete(&mut self, completion: &cqueue::Entry) {
        let (result, flags) = (completion.result(), completion.flags());
        let goes_on = cqueue::more(flags);
        let buffer = cqueue::buffer_select(flags);
        let key = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
        // Cancels have none: what they end tells of it by itself.
        let Some(operation) = self.operations.get_mut(key) else { return };
        operation.is_in_flight = goes_on;
        self.in_flight -= usize::from(!goes_on);
        let is_wanted = operation.closes.is_none();
        let mut sent_too_much = false;
        match &mut operation.what {
            What::Watching(watch) if goes_on => watch.happened(result),
            // The next call finds out, and the wait after it asks the kernel anew.
            What::Watching(watch) => watch.happened(libc::EPOLLIN | libc::EPOLLOUT),
            What::Receiving(receiving) => {
                let bytes = match (&self.buffers, buffer) {
                    (Some(buffers), Some(id)) if is_wanted => buffers.received(id, result),
                    _ => &[],
                };
                sent_too_much = receiving.completed(bytes, result, goes_on);
            }
            What::Splicing(splicing) => splicing.completed(result),
            What::Listening => {}
        }
        let is_splice = matches!(operation.what, What::Splicing(_));
        let listens_no_more = matches!(operation.what, What::Listening) && !goes_on;
        if let (Some(buffers), Some(id)) = (&mut self.buffers, buffer) {
            buffers.push(id);
        }
        if sent_too_much {
            self.cancel(key);
        }
        if listens_no_more && self.buffers.is_some() {
            self.listen(key);
        }
        if !goes_on && !is_wanted {
            self.operations.remove(key);
            self.closed_one();
        } else if is_splice {
            self.forget_splice(key);
        }
    }

    fn closed_one(&mut self) {
        self.closing -= 1;
        if self.closing == 0 {
            // To drop a sender tells.
            self.awaiting_closed.clear();
        }
    }

    pub(super) fn all_closed(&mut self) -> Option<oneshot::Receiver<()>> {
        (self.closing > 0).then(|| {
            let (sender, receiver) = oneshot::channel();
            self.awaiting_closed.push(sender);
            receiver
        })
    }

    pub(super) fn close(&mut self, fd: OwnedFd, keys: [Option<usize>; 2]) -> Option<Closed> {
        let in_flight = keys.map(|key| key.filter(|&key| self.ends_later(key)));
        if in_flight == [None, None] {
            return None;
        }
        let closing = Rc::new(Closing { _fd: fd, waker: RefCell::default() });
        for key in in_flight.into_iter().flatten() {
            self.operations[key].closes = Some(Rc::clone(&closing));
            self.closing += 1;
            self.cancel(key);
        }
        Some(Closed(Rc::downgrade(&closing)))
    }

    /// Whether the kernel has to let go of an operation first; if not, it is forgotten.
    fn ends_later(&mut self, key: usize) -> bool {
        let is_in_flight = self.operations[key].is_in_flight;
        if !is_in_flight {
            self.operations.remove(key);
        }
        is_in_flight
    }

    pub(super) fn watch(&mut self, key: usize) -> Option<&mut Watch> {
        match &mut self.operations[key].what {
            What::Watching(watch) => Some(watch),
            _ => None,
        }
    }

    pub(super) fn poll_ready(
        &mut self,
        place: &Cell<Option<usize>>,
        fd: BorrowedFd<'_>,
        cx: &mut Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<()>> {
        let key = place.get().unwrap_or_else(|| self.insert(What::Watching(Watch::default())));
        place.set(Some(key));
        let Operation { what: What::Watching(watch), is_in_flight, .. } = &mut self.operations[key] else {
            unreachable!("a place for readiness holds a watch")
        };
        if watch.poll_ready(cx, interest).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if !*is_in_flight {
            // The kernel looks when it takes the poll, so nothing that happened before is missed.
            context::with(|worker| worker.counters.polls.add(1));
            let poll = opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), poll_events(EVENTS)).multi(true);
            self.start(key, poll.build());
        }
        Poll::Pending
    }
}

/// The ring's form of a mask of events.
fn poll_events(events: i32) -> u32 {
    events.cast_unsigned()
}

impl Drop for Ring {
    /// Ends all that is in flight and waits for it, so that no port stays bound and no buffer is written to.
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take() {
            self.push(
                &opcode::AsyncCancel2::new(types::CancelBuilder::any().all()).build().user_data(NOBODY),
            );
            while self.in_flight > 0 {
                self.turn(Wait::ForEver);
            }
            buffers.unregister(&self.ring.submitter());
        }
    }
}
