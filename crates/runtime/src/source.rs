//! A descriptor with readiness.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::backend::uring::Closed;
use crate::backend::{Driver, Registration};
use crate::context;

/// What is waited for. A hang-up or an error counts as ready for both: the call that follows reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Something can be received or accepted, or the peer has ended its side.
    Readable,
    /// Something can be sent, or a connection attempt is decided.
    Writable,
}

/// A non-blocking descriptor, owned, with readiness on this worker.
///
/// A fresh source is taken for writable and not for readable: sending is tried at once, receiving waits. Once ready,
/// it stays so until a call of [`try_io`](Source::try_io) would have blocked, or [`clear_ready`](Source::clear_ready)
/// says that it would.
///
/// Each interest has one waiter: two tasks may wait for one source if one reads and the other writes. With two tasks
/// on one interest, the later one is woken.
///
/// Dropping a source closes the descriptor, at once or, while the kernel still works on it, as soon as the kernel
/// has let go; [`close`](Source::close) waits for that.
pub struct Source {
    // None only between the start of `close` or `drop` and their end.
    fd: Option<OwnedFd>,
    registration: Registration,
    /// A fresh socket has an empty send buffer: the first write is tried, not waited for.
    assumed_writable: Cell<bool>,
    /// The registration is with the driver of one thread.
    _of_this_worker: PhantomData<Rc<()>>,
}

impl Source {
    /// Binds a descriptor to this worker. It costs no system call.
    ///
    /// # Errors
    ///
    /// Off a worker's thread.
    ///
    /// # Panics
    ///
    /// In debug builds, if `O_NONBLOCK` is not set.
    pub fn new(fd: OwnedFd) -> io::Result<Source> {
        debug_assert!(is_nonblocking(fd.as_fd()), "a source's descriptor is O_NONBLOCK");
        context::current_backend().ok_or_else(context::not_on_a_worker)?;
        let (registration, assumed_writable) = (Registration::default(), Cell::new(true));
        Ok(Source { fd: Some(fd), registration, assumed_writable, _of_this_worker: PhantomData })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("a source is open until it is closed by value").as_fd()
    }

    /// Asks this worker's driver something about this descriptor.
    pub(crate) fn ask<R>(
        &self,
        what: impl FnOnce(&Driver, &Registration, BorrowedFd<'_>) -> R,
    ) -> io::Result<R> {
        context::with(|worker| what(&worker.driver, &self.registration, self.fd()))
            .ok_or_else(context::not_on_a_worker)
    }

    /// Ready, or the waker of `cx` is woken when it is.
    ///
    /// # Errors
    ///
    /// What the kernel says to being asked (never the descriptor's own error: that is for the call that follows).
    pub fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        if interest == Interest::Writable && self.assumed_writable.get() {
            return Poll::Ready(Ok(()));
        }
        match self.ask(|driver, registration, fd| driver.poll_ready(registration, fd, cx, interest)) {
            Ok(polled) => polled,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits until ready. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// As [`poll_ready`](Source::poll_ready).
    pub async fn ready(&self, interest: Interest) -> io::Result<()> {
        poll_fn(|cx| self.poll_ready(cx, interest)).await
    }

    /// Makes one non-blocking call, whether ready or not; again if a signal interrupted it.
    ///
    /// # Errors
    ///
    /// What `call` says; after [`io::ErrorKind::WouldBlock`] the source is not ready any more.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match call(self.fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.would_block(interest);
                    return Err(error);
                }
                outcome => return outcome,
            }
        }
    }

    /// Waits until ready and makes the call, until it does not answer "would block".
    ///
    /// Dropping the future loses nothing: what `call` did is returned in the same poll.
    ///
    /// # Errors
    ///
    /// What `call` says, and as [`poll_ready`](Source::poll_ready).
    pub async fn io<R>(
        &self,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        poll_fn(|cx| self.poll_io(cx, interest, &mut call)).await
    }

    /// [`io`](Source::io) for a caller that polls.
    ///
    /// # Errors
    ///
    /// As [`io`](Source::io).
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            match self.poll_ready(cx, interest) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            match self.try_io(interest, &mut call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Says that the last receive or send on this stream moved less than was asked for, so that the next would
    /// block: the next wait then saves the call that would only find that out.
    ///
    /// It has to follow the call at once, without an await between, and it is for `recv` and `send` alone: a
    /// `sendfile` or `splice` may stop short for other reasons.
    pub fn clear_ready(&self, interest: Interest) {
        self.not_writable_any_more(interest);
        // Off its worker nothing is known of it.
        let _ = self.ask(|driver, registration, fd| {
            let is_urgent = || has_events(fd, PollFlags::POLLPRI);
            driver.learn(registration, |watch| watch.clear_after_partial(interest, is_urgent));
        });
    }

    /// Asks the kernel whether the descriptor is ready still, after a call that has moved less than it was asked to and may
    /// have had other reasons, as `sendfile` has. That costs less than a call that would only find out.
    pub fn look_again(&self, interest: Interest) {
        let events = match interest {
            Interest::Readable => PollFlags::POLLIN,
            Interest::Writable => PollFlags::POLLOUT,
        };
        if !has_events(self.fd(), events) {
            self.would_block(interest);
        }
    }

    /// Bytes that this connection's kernel holds because the peer's has not acknowledged them yet (`SIOCOUTQ`). A peer's kernel
    /// acknowledges what it has room for, so this shrinks as the peer reads, in steps of up to a sixteenth of its receive buffer.
    ///
    /// # Errors
    ///
    /// What `ioctl(2)` says.
    pub fn unacknowledged(&self) -> io::Result<u64> {
        Ok(u64::from(ioctl_siocoutq(self.fd())?))
    }

    /// A call said "would block", or the next one would.
    pub(crate) fn would_block(&self, interest: Interest) {
        self.not_writable_any_more(interest);
        let _ = self.ask(|driver, registration, _| driver.learn(registration, |watch| watch.clear(interest)));
    }

    fn not_writable_any_more(&self, interest: Interest) {
        if interest == Interest::Writable {
            self.assumed_writable.set(false);
        }
    }

    /// Closes the descriptor; when this returns, nothing in the kernel refers to it.
    pub async fn close(mut self) {
        if let Some(closed) = self.hand_back() {
            closed.await;
        }
    }

    /// Gives the descriptor to the driver. While the worker stops it is closed here, and the driver's own end does the rest.
    fn hand_back(&mut self) -> Option<Closed> {
        let fd = self.fd.take()?;
        context::with(|worker| worker.driver.close(fd, &self.registration)).flatten()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        drop(self.hand_back());
    }
}

/// Whether any of `events` is there now. One system call.
pub(crate) fn has_events(fd: impl AsFd, events: PollFlags) -> bool {
    let mut polled = [PollFd::new(fd.as_fd(), events)];
    match poll(&mut polled, PollTimeout::ZERO) {
        Ok(0) | Err(_) => false,
        Ok(_) => true,
    }
}

/// Asks how many bytes a connection's kernel holds for its peer.
#[allow(unsafe_code)]
fn ioctl_siocoutq(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request writes one int, to where the pointer points, before the call returns.
    let failed = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if failed == 0 { Ok(u32::try_from(bytes).unwrap_or(0)) } else { Err(io::Error::last_os_error()) }
}

fn is_nonblocking(fd: BorrowedFd<'_>) -> bool {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_GETFL).is_ok_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK))
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.fd().as_raw_fd()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.fd.as_ref().map(AsRawFd::as_raw_fd)).finish()
    }
}
