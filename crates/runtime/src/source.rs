//! A descriptor with readiness.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use crate::backend::{Backend, epoll, uring};
use crate::context::{self, Closing};
use crate::task::{self, Task};

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
/// Dropping a source closes the descriptor, at once or, while the kernel still polls it, as soon as the kernel
/// has let go; [`close`](Source::close) waits for that.
pub struct Source {
    // None only between the start of `close` or `drop` and their end.
    open: Option<Open>,
}

struct Open {
    // Declared, and so dropped, before the descriptor that it refers to by number.
    readiness: Readiness,
    fd: OwnedFd,
}

enum Readiness {
    IoUring(uring::Readiness),
    Epoll(epoll::Readiness),
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
        let readiness = match context::current_backend().ok_or_else(context::not_on_a_worker)? {
            Backend::IoUring => Readiness::IoUring(uring::Readiness::new()),
            Backend::Epoll => Readiness::Epoll(epoll::Readiness::new()),
        };
        Ok(Source { open: Some(Open { readiness, fd }) })
    }

    /// From now on the kernel tells of every edge by itself, on either backend, instead of being asked before each wait.
    ///
    /// That costs two system calls, once and only if there is anything to wait for, and saves some at every wait: it is for
    /// connections on which much is moved. It has no effect while a wait is under way.
    pub fn wait_by_edges(&mut self) {
        if let Some(Open { readiness, .. }) = &mut self.open
            && matches!(readiness, Readiness::IoUring(polls) if !polls.in_flight())
        {
            *readiness = Readiness::Epoll(epoll::Readiness::new());
        }
    }

    fn open(&self) -> &Open {
        self.open.as_ref().expect("a source is open until it is closed by value")
    }

    /// Ready, or the waker of `cx` is woken when it is.
    ///
    /// # Errors
    ///
    /// What the kernel says to being asked (never the descriptor's own error: that is for the call that follows).
    pub fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        let Open { readiness, fd } = self.open();
        match readiness {
            Readiness::IoUring(readiness) => readiness.poll_ready(fd.as_fd(), cx, interest),
            Readiness::Epoll(readiness) => readiness.poll_ready(fd.as_fd(), cx, interest),
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

    /// Ends this task's turn: the other tasks that can go on do so first, and then waits until ready.
    ///
    /// This is how a loop that could send for ever shares its core. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// As [`poll_ready`](Source::poll_ready).
    pub async fn next_turn(&self, interest: Interest) -> io::Result<()> {
        match &self.open().readiness {
            // Asking the kernel anew goes to the back of the queue.
            Readiness::IoUring(readiness) => readiness.clear(interest),
            // Edges come only after a call has said "would block", so the readiness has to stay.
            Readiness::Epoll(_) => task::end_turn().await,
        }
        self.ready(interest).await
    }

    /// A call succeeded, and a second one would probably not: where asking the kernel costs no more than a vain call,
    /// the next wait asks.
    pub fn answer_used(&self, interest: Interest) {
        match &self.open().readiness {
            Readiness::IoUring(readiness) => readiness.clear(interest),
            // Edges come only after a call has said "would block".
            Readiness::Epoll(_) => {}
        }
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
        let Open { readiness, fd } = self.open();
        loop {
            match call(fd.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match readiness {
                        Readiness::IoUring(readiness) => readiness.clear(interest),
                        Readiness::Epoll(readiness) => readiness.clear(interest),
                    }
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
        match &self.open().readiness {
            Readiness::IoUring(readiness) => readiness.clear(interest),
            Readiness::Epoll(readiness) => readiness.clear_after_partial(interest),
        }
    }

    /// Takes a source that is fresh, and so assumed writable, for one that has to be waited for: a connection
    /// attempt is under way.
    pub(crate) fn assume_nothing(&self) {
        match &self.open().readiness {
            Readiness::IoUring(readiness) => readiness.clear(Interest::Writable),
            Readiness::Epoll(readiness) => readiness.clear(Interest::Writable),
        }
    }

    /// Closes the descriptor; when this returns, nothing in the kernel refers to it.
    pub async fn close(mut self) {
        let Some(Open { readiness, fd }) = self.open.take() else { return };
        // In a task of its own: a dropped `close` must not leave the descriptor half closed.
        if let Some(closing) = close_in_background(Open { readiness, fd }) {
            // It cannot panic, and is only aborted with the whole worker.
            let _ = closing.await;
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            drop(close_in_background(open));
        }
    }
}

/// Closes at once what the kernel does not poll, and the rest in a task once it has let go.
fn close_in_background(open: Open) -> Option<Task<()>> {
    if !matches!(&open.readiness, Readiness::IoUring(polls) if polls.in_flight()) {
        // Dropped as a whole, and so in the order of its declaration: tokio keeps what it knows of a descriptor for ever
        // where that is closed before its registration ends.
        return None;
    }
    // While the worker stops no task can be started, and none is needed: the ring itself is about to end, and with
    // it whatever it holds.
    let closing = Closing::begin(&context::worker()?);
    Some(task::spawn(async move {
        let Open { readiness, fd } = open;
        if let Readiness::IoUring(polls) = readiness {
            polls.settle(fd.as_fd()).await;
        }
        drop(fd);
        drop(closing);
    }))
}

fn is_nonblocking(fd: BorrowedFd<'_>) -> bool {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_GETFL).is_ok_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK))
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.open().fd.as_fd()
    }
}

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.open().fd.as_raw_fd()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.open.as_ref().map(|open| open.fd.as_raw_fd())).finish()
    }
}
