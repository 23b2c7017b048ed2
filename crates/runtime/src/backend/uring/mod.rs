//! Readiness by polls in flight on the worker's ring.
//!
//! A [`Readiness`] keeps at most one `IORING_OP_POLL_ADD` per interest in flight, and it, not the future that
//! waits, owns the operation. So a wait may be dropped and taken up again: the next one finds the same poll. A poll
//! in flight holds a reference to the open file, which keeps a listening port bound even after the descriptor is
//! closed; that is why [`Readiness::settle`] cancels *and awaits* before the descriptor goes.
//!
//! Besides polls and cancels the ring runs splices between files and pipes ([`oneshot`](crate::oneshot)), which the
//! kernel hands to worker threads of its own. Their number is bounded by the permits of the worker's blocking jobs, which
//! each such operation holds until it completes: tokio-uring keeps the ring to itself, so that
//! `IORING_REGISTER_IOWQ_MAX_WORKERS` is out of reach.

mod provided_buffers;
mod receive_ring;

pub(crate) use receive_ring::{ReceiveAhead, ReceiveRing, SharedReceiveRing};

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use tokio::sync::OwnedSemaphorePermit;
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use crate::context;
use crate::oneshot::{SharedDescriptor, SpliceEnd};
use crate::source::Interest;

/// Entries of the submission queue: what is handed to the kernel at one go. A full queue is flushed, never an error.
const SUBMISSION_ENTRIES: u32 = 512;
/// Entries of the completion queue. A burst beyond it waits in the kernel and costs a system call more.
const COMPLETION_ENTRIES: u32 = 8192;
/// How often in a row one poll's answer is given again before the kernel is asked anew. Asking anew ends the task's
/// turn, so that a connection whose peer never pauses leaves room to the others of its core.
const ANSWERS_PER_POLL_MAX: u8 = 32;

/// How every ring is set up: completions run when the thread enters the kernel anyway, without an interrupt, and
/// only the worker's own thread submits. (`DEFER_TASKRUN` would go further, but the ring's descriptor then never
/// turns readable in tokio's epoll.)
pub(super) fn ring_options() -> io_uring::Builder {
    let mut options = IoUring::builder();
    options.setup_cqsize(COMPLETION_ENTRIES).setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer();
    options
}

/// The runtime of one worker, built on its own thread.
pub(super) fn executor() -> io::Result<tokio_uring::Runtime> {
    tokio_uring::Runtime::new(
        tokio_uring::builder().entries(SUBMISSION_ENTRIES).uring_builder(&ring_options()),
    )
}

/// Queues an operation that does nothing but complete.
#[allow(unsafe_code)]
pub(super) fn push_nop(ring: &mut IoUring) {
    let nop = opcode::Nop::new().build();
    // SAFETY: a nop refers to no memory and no descriptor, so nothing has to outlive it.
    let pushed = unsafe { ring.submission().push(&nop) };
    debug_assert!(pushed.is_ok(), "a fresh ring has room");
}

/// Takes the result out of a completion: what poll(2) would have said, or a negated errno.
struct ResultOnly;

impl OneshotOutputTransform for ResultOnly {
    type Output = i32;
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), completed: cqueue::Entry) -> i32 {
        completed.result()
    }
}

type InFlight = InFlightOneshot<(), ResultOnly>;

fn submit(entry: squeue::Entry) -> InFlight {
    UnsubmittedOneshot::new((), ResultOnly, entry).submit()
}

/// What a splice needs until it completes: the driver keeps it when the future is dropped.
pub(crate) struct Held {
    _descriptors: [SharedDescriptor; 2],
    _permit: OwnedSemaphorePermit,
}

/// The result of a splice: bytes, or a negated errno.
pub(crate) struct SpliceResult;

impl OneshotOutputTransform for SpliceResult {
    type Output = i32;
    type StoredData = Held;

    fn transform_oneshot_output(self, _: Held, completed: cqueue::Entry) -> i32 {
        completed.result()
    }
}

/// Hands a splice to the ring.
pub(crate) fn submit_splice(
    from: SpliceEnd,
    to: SpliceEnd,
    bytes: u32,
    permit: OwnedSemaphorePermit,
) -> io::Result<InFlightOneshot<Held, SpliceResult>> {
    let (from_offset, to_offset) = (from.kernel_offset()?, to.kernel_offset()?);
    let fd = |end: &SpliceEnd| types::Fd(end.descriptor.as_fd().as_raw_fd());
    let entry = opcode::Splice::new(fd(&from), from_offset, fd(&to), to_offset, bytes)
        .flags(libc::SPLICE_F_MOVE)
        .build();
    context::count(|counters| counters.splices.add(1));
    let held = Held { _descriptors: [from.descriptor, to.descriptor], _permit: permit };
    Ok(UnsubmittedOneshot::new(held, SpliceResult, entry).submit())
}

/// What is known of one interest.
enum State {
    /// Nothing: the next wait asks the kernel.
    Unknown,
    /// A poll is with the kernel.
    Polling(InFlight),
    /// Ready until somebody learns otherwise, or until the answer was given so many times more.
    Ready { answers_left: u8 },
}

/// The readiness of one descriptor.
pub(crate) struct Readiness {
    readable: RefCell<State>,
    writable: RefCell<State>,
}

impl Readiness {
    pub(crate) fn new() -> Readiness {
        Readiness {
            readable: RefCell::new(State::Unknown),
            // A fresh socket has an empty send buffer: the first write is tried, not waited for.
            writable: RefCell::new(State::Ready { answers_left: ANSWERS_PER_POLL_MAX }),
        }
    }

    fn state(&self, interest: Interest) -> &RefCell<State> {
        match interest {
            Interest::Readable => &self.readable,
            Interest::Writable => &self.writable,
        }
    }

    pub(crate) fn poll_ready(
        &self,
        fd: BorrowedFd<'_>,
        cx: &mut Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state(interest).borrow_mut();
        loop {
            match &mut *state {
                State::Ready { answers_left: 0 } => *state = State::Unknown,
                State::Ready { answers_left } => {
                    *answers_left -= 1;
                    return Poll::Ready(Ok(()));
                }
                State::Unknown => *state = State::Polling(submit_poll(fd, interest)?),
                State::Polling(operation) => {
                    let Poll::Ready(result) = Pin::new(operation).poll(cx) else { return Poll::Pending };
                    *state = State::Unknown;
                    match result {
                        // Cancelled, but not by this source: a cancel by descriptor takes every poll of the open
                        // file, and a duplicate of this descriptor was closed. Ask again.
                        _ if result == -libc::ECANCELED || result == -libc::EINTR => {}
                        _ if result < 0 => return Poll::Ready(Err(io::Error::from_raw_os_error(-result))),
                        _ => *state = State::Ready { answers_left: ANSWERS_PER_POLL_MAX },
                    }
                }
            }
        }
    }

    /// A system call said "would block", or moved less than it might have: the kernel is asked before the next one.
    /// Polls are checked when they are submitted, so what came meanwhile is not missed.
    pub(crate) fn clear(&self, interest: Interest) {
        let mut state = self.state(interest).borrow_mut();
        if matches!(*state, State::Ready { .. }) {
            *state = State::Unknown;
        }
    }

    /// Whether the kernel still holds a poll of this descriptor.
    pub(crate) fn in_flight(&self) -> bool {
        [&self.readable, &self.writable].iter().any(|state| matches!(*state.borrow(), State::Polling(_)))
    }

    /// Cancels what is in flight and waits until the kernel has let go of it. The caller keeps `fd` open until then:
    /// its number cannot be given to another file while the cancel that names it is on its way.
    ///
    /// The kernel looks through all polls of the ring for those of a descriptor, which is why a source without
    /// polls in flight is never brought here.
    pub(crate) async fn settle(self, fd: BorrowedFd<'_>) {
        if !self.in_flight() {
            return;
        }
        context::count(|counters| counters.cancels.add(1));
        let all_of_fd = types::CancelBuilder::fd(types::Fd(fd.as_raw_fd())).all();
        // Zero or more were found: either way the polls' own completions tell when they are over.
        submit(opcode::AsyncCancel2::new(all_of_fd).build()).await;
        for state in [self.readable, self.writable] {
            if let State::Polling(operation) = state.into_inner() {
                operation.await;
            }
        }
    }
}

/// Waits for an operation that does nothing: once round the queue, by way of the kernel.
pub(crate) async fn nothing() {
    submit(opcode::Nop::new().build()).await;
}

/// Hands a poll to the ring.
fn submit_poll(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<InFlight> {
    if !context::count(|counters| counters.polls.add(1)) {
        return Err(context::not_on_a_worker());
    }
    // Hang-up and error are reported without being asked for.
    let events = match interest {
        Interest::Readable => libc::POLLIN | libc::POLLRDHUP,
        Interest::Writable => libc::POLLOUT,
    };
    let events = u32::from(events.cast_unsigned());
    Ok(submit(opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), events).build()))
}
