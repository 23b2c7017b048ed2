//! Receives that go on by themselves, on a second ring of the worker.
//!
//! A control connection is received from many times for each time that it begins or ends. To ask the kernel before every
//! receive costs more than the receive; a *multishot* receive is submitted once, and the kernel then puts whatever comes
//! into one of the [`ProvidedBuffers`]. tokio-uring panics at the completions of multishot operations, so that they have a
//! ring of their own, which the worker waits for as for any other descriptor.
//!
//! What has come is copied out at once, into a vector that an idle connection does not have. A connection whose bytes nobody
//! takes is received from no more once it has [`INBOX_BYTES_MAX`]: no client can take the buffers from the others, nor memory.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use slab::Slab;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::COMPLETION_ENTRIES;
use super::provided_buffers::{GROUP, ProvidedBuffers};
use crate::context::{self, Closing};

/// Submissions are handed over one by one.
const SUBMISSION_ENTRIES: u32 = 8;
/// What a connection may send ahead, in bytes, before it is received from no more. One turn's buffers may come on top.
const INBOX_BYTES_MAX: usize = 32 * 1024;
/// What the completion of a cancel is called: nobody waits for it.
const CANCEL: u64 = u64::MAX;

/// A worker's ring, as its connections share it.
pub(crate) type SharedReceiveRing = Rc<RefCell<ReceiveRing>>;

/// The ring, and what it receives from.
pub(crate) struct ReceiveRing {
    ring: IoUring,
    /// Signalled by the kernel when it has something to do for this ring: with `DEFER_TASKRUN` the ring's own descriptor does
    /// not turn readable for that.
    event: EventFd,
    /// `None` once the ring ends.
    buffers: Option<ProvidedBuffers>,
    receives: Slab<Receive>,
    /// Receives to be cancelled: their connections have sent too much ahead.
    sent_too_much: Vec<u64>,
    /// The kernel did not take an entry, which nobody can take back, or does not tell what it received: nothing may be handed to
    /// it any more. Connections that come then are waited for as any other descriptor is.
    is_broken: bool,
}

/// What is known of one connection.
#[derive(Default)]
struct Receive {
    state: State,
    inbox: Inbox,
    waker: Option<Waker>,
    /// Its connection was dropped; the last completion ends this.
    abandoned: bool,
    /// Counts an abandoned connection until the kernel has let go of it.
    _closing: Option<Closing>,
}

impl Receive {
    /// The kernel received `bytes`, and goes on if there is `more` to come; whether it should not.
    fn completed(&mut self, bytes: &[u8], result: i32, more: bool) -> bool {
        if !self.abandoned {
            self.inbox.put(bytes);
        }
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
        if !more {
            self.state = State::after(result);
        } else if self.state == State::InFlight && self.inbox.len() > INBOX_BYTES_MAX {
            self.state = State::Stopping;
            return true;
        }
        false
    }

    /// What a receive would say without waiting; `None` where it would wait.
    fn ready(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match (self.inbox.take(buffer), self.state) {
            (Some(length), _) => Some(Ok(length)),
            (None, State::Ended) => Some(Ok(0)),
            (None, State::Failed(errno)) => Some(Err(io::Error::from_raw_os_error(errno))),
            (None, State::Stopped | State::InFlight | State::Stopping) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// The kernel does not receive; the next wait lets it.
    #[default]
    Stopped,
    /// The kernel receives.
    InFlight,
    /// It does until a cancel reaches it: too much was sent ahead.
    Stopping,
    /// The peer has ended its side.
    Ended,
    /// Receiving failed, with this errno.
    Failed(i32),
}

/// What came and was not taken.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    fn put(&mut self, bytes: &[u8]) {
        // Whoever is never quite caught up with must not make this grow by what was taken long ago.
        if self.taken >= INBOX_BYTES_MAX {
            self.bytes.drain(..std::mem::take(&mut self.taken));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Moves what fits to `buffer`; `None` if there is nothing.
    fn take(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let waiting = &self.bytes[self.taken..];
        if waiting.is_empty() {
            return None;
        }
        let length = waiting.len().min(buffer.len());
        buffer[..length].copy_from_slice(&waiting[..length]);
        self.taken += length;
        if self.taken == self.bytes.len() {
            // An idle connection keeps no memory.
            *self = Inbox::default();
        }
        Some(length)
    }

    fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }
}

impl State {
    fn is_in_flight(self) -> bool {
        matches!(self, State::InFlight | State::Stopping)
    }

    /// After the last completion of a multishot receive.
    fn after(result: i32) -> State {
        match -result {
            0 => State::Ended,
            // Cancelled; or the buffers, or the room for completions, had run out for a moment.
            libc::ECANCELED | libc::ENOBUFS | libc::EINTR | libc::EAGAIN => State::Stopped,
            errno if errno > 0 => State::Failed(errno),
            _ => State::Stopped,
        }
    }
}

impl ReceiveRing {
    /// A worker's ring; none where the kernel is older than Linux 6.1, which has no `DEFER_TASKRUN`. Connections are then waited for
    /// as any other descriptor is.
    pub(crate) fn shared() -> io::Result<Option<SharedReceiveRing>> {
        match ReceiveRing::new() {
            Ok(ring) => Ok(Some(Rc::new(RefCell::new(ring)))),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new() -> io::Result<ReceiveRing> {
        let mut options = IoUring::builder();
        // The kernel receives when the worker asks for completions, all at once, and does not interrupt it in between.
        options
            .setup_cqsize(COMPLETION_ENTRIES)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag();
        let ring = options.build(SUBMISSION_ENTRIES)?;
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        ring.submitter().register_eventfd(event.as_fd().as_raw_fd())?;
        let buffers = Some(ProvidedBuffers::register(&ring.submitter())?);
        Ok(ReceiveRing {
            ring,
            event,
            buffers,
            receives: Slab::new(),
            sent_too_much: Vec::new(),
            is_broken: false,
        })
    }

    /// Waits for completions and passes them on, for ever.
    pub(crate) async fn serve(ring: SharedReceiveRing) {
        // Only where it cannot be waited for does this end.
        let _ = ReceiveRing::pass_on(Rc::clone(&ring)).await;
        ring.borrow_mut().is_broken = true;
    }

    /// The event is never read: every signal is an edge of its own.
    async fn pass_on(ring: SharedReceiveRing) -> io::Result<()> {
        let readiness = watch(Event(ring))?;
        loop {
            let mut ready = readiness.readable().await?;
            readiness.get_ref().0.borrow_mut().reap();
            ready.clear_ready();
        }
    }

    fn poll_receive(
        &mut self,
        key: usize,
        fd: RawFd,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let receive = &mut self.receives[key];
        if let Some(ready) = receive.ready(buffer) {
            return Poll::Ready(ready);
        }
        if !receive.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            receive.waker = Some(cx.waker().clone());
        }
        if receive.state == State::Stopped {
            receive.state = State::InFlight;
            let entry = opcode::RecvMulti::new(types::Fd(fd), GROUP).build();
            if let Err(error) = self.submit(&entry.user_data(key as u64)) {
                self.receives[key].state = State::Stopped;
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    }

    /// What has come by now; [`io::ErrorKind::WouldBlock`] if that is nothing.
    fn receive_now(&mut self, key: usize, fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
        if self.receives[key].state.is_in_flight() {
            self.reap();
        }
        let receive = &mut self.receives[key];
        match receive.ready(buffer) {
            Some(ready) => ready,
            None if receive.state == State::Stopped => Ok(recv(fd, buffer, MsgFlags::MSG_DONTWAIT)?),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// The connection is dropped; whether the kernel still has to let go of it.
    fn abandon(&mut self, key: usize) -> bool {
        let receive = &mut self.receives[key];
        let state = receive.state;
        if !state.is_in_flight() {
            self.receives.remove(key);
            return false;
        }
        // While the worker stops nobody counts: the ring itself is about to end, and with it whatever it holds.
        let closing = context::worker().as_ref().map(Closing::begin);
        *receive = Receive { state, abandoned: true, _closing: closing, ..Receive::default() };
        true
    }

    /// Lets the kernel receive what there is to receive, and passes it on.
    fn reap(&mut self) {
        let mut rounds_in_vain = 0;
        while rounds_in_vain < 2 {
            // It does a bounded part of it at a time. What it does not do for an error it does at the next signal.
            let _ = self.run_deferred();
            let completions = self.collect();
            while let Some(key) = self.sent_too_much.pop() {
                // A cancel that is not taken leaves more in the inbox than is wanted, and nothing else.
                let _ = self.submit(&opcode::AsyncCancel::new(key).build().user_data(CANCEL));
            }
            if !self.ring.submission().taskrun() {
                return;
            }
            // The kernel raises the flag after it has queued the work, which may be done by then.
            rounds_in_vain = if completions == 0 { rounds_in_vain + 1 } else { 0 };
        }
    }

    #[allow(unsafe_code)]
    fn run_deferred(&self) -> io::Result<usize> {
        const GET_EVENTS: u32 = 1;
        // SAFETY: nothing is submitted and nothing is passed.
        unsafe { self.ring.submitter().enter::<()>(0, 0, GET_EVENTS, None) }
    }

    /// Passes on what has completed; gives how much that was.
    fn collect(&mut self) -> usize {
        let mut collected = 0;
        while let Some(buffers) = &mut self.buffers {
            let before = collected;
            for completion in self.ring.completion() {
                collected += 1;
                let (key, result, flags) = (completion.user_data(), completion.result(), completion.flags());
                let buffer = cqueue::buffer_select(flags);
                let bytes = buffer.map_or(&[][..], |id| buffers.received(id, result));
                let slot = usize::try_from(key).unwrap_or(usize::MAX);
                if let Some(receive) = self.receives.get_mut(slot) {
                    if receive.completed(bytes, result, cqueue::more(flags)) {
                        self.sent_too_much.push(key);
                    }
                    if receive.abandoned && !receive.state.is_in_flight() {
                        self.receives.remove(slot);
                    }
                }
                if let Some(id) = buffer {
                    buffers.push(id);
                }
            }
            buffers.publish();
            // The kernel keeps what found no room, and brings it when it is asked.
            let brings_more = self.ring.submission().cq_overflow() && self.run_deferred().is_ok();
            if !brings_more && collected == before {
                break;
            }
        }
        collected
    }

    /// Hands one entry to the kernel, now: a descriptor's number may be another's later.
    #[allow(unsafe_code)]
    fn submit(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.is_broken {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        // SAFETY: a receive names a descriptor, which its caller keeps open until this returns, and buffers, which live until
        // they are unregistered; a cancel refers to nothing. If the kernel does not take the entry, it is never entered again.
        let pushed = unsafe { self.ring.submission().push(entry) };
        let taken = pushed.map_err(io::Error::other).and_then(|()| self.enter());
        taken.inspect_err(|_| self.is_broken = true)
    }

    fn enter(&mut self) -> io::Result<()> {
        loop {
            match self.ring.submit() {
                // Each entry is handed over before the next one is made.
                Ok(0) => return Err(io::ErrorKind::ResourceBusy.into()),
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                // Completions that found no room are taken first.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => drop(self.collect()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for ReceiveRing {
    fn drop(&mut self) {
        if let Some(buffers) = self.buffers.take() {
            buffers.unregister(&self.ring.submitter());
        }
    }
}

/// The ring as the descriptor that the kernel signals.
struct Event(SharedReceiveRing);

impl AsRawFd for Event {
    fn as_raw_fd(&self) -> RawFd {
        self.0.borrow().event.as_fd().as_raw_fd()
    }
}

#[allow(unsafe_code)]
fn watch(ring: Event) -> io::Result<AsyncFd<Event>> {
    // SAFETY: the ring owns the descriptor, never exchanges it, and lives as long as the registration, which shares it.
    Ok(unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?)
}

/// One connection's place in its worker's ring. It has to be dropped before the descriptor is closed.
pub(crate) struct ReceiveAhead {
    ring: SharedReceiveRing,
    key: usize,
    fd: RawFd,
    ended: Cell<bool>,
}

impl ReceiveAhead {
    /// A place for a connection, if the ring takes any more; the kernel receives from the first wait on.
    pub(crate) fn new(ring: SharedReceiveRing, fd: BorrowedFd<'_>) -> Option<ReceiveAhead> {
        let key = {
            let mut ring = ring.borrow_mut();
            (!ring.is_broken).then(|| ring.receives.insert(Receive::default()))?
        };
        Some(ReceiveAhead { ring, key, fd: fd.as_raw_fd(), ended: Cell::new(false) })
    }

    /// As `recv(2)`; the waker of `cx` is woken when there is something to say.
    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.ring.borrow_mut().poll_receive(self.key, self.fd, cx, buffer)
    }

    /// As `recv(2)` with `MSG_DONTWAIT`.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ring.borrow_mut().receive_now(self.key, self.fd, buffer)
    }

    /// Ends both sides of the connection, as a close would, and with that the receive. Where the peer has reset the connection
    /// there is nothing to end.
    pub(crate) fn end_both_sides(&self) {
        if !self.ended.replace(true) {
            let _ = shutdown(self.fd, Shutdown::Both);
        }
    }
}

impl fmt::Debug for ReceiveAhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveAhead").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Drop for ReceiveAhead {
    fn drop(&mut self) {
        // The kernel holds the connection as long as it receives from it.
        if self.ring.borrow_mut().abandon(self.key) {
            self.end_both_sides();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_that_is_never_empty_keeps_its_bounds() {
        const PIECE: usize = 2048;
        let mut inbox = Inbox::default();
        let mut buffer = [0; PIECE];
        let piece = |number: u32| number.to_le_bytes().repeat(PIECE / 4);
        inbox.put(&piece(0));
        for number in 0..10_000 {
            inbox.put(&piece(number + 1));
            assert_eq!(inbox.take(&mut buffer), Some(PIECE));
            assert_eq!(buffer[..], piece(number), "in order");
            assert_eq!(inbox.len(), PIECE);
            assert!(inbox.bytes.capacity() <= 4 * INBOX_BYTES_MAX, "{}", inbox.bytes.capacity());
        }
        assert_eq!(inbox.take(&mut buffer), Some(PIECE));
        assert_eq!(inbox.bytes.capacity(), 0, "an idle connection keeps no memory");
    }
}
