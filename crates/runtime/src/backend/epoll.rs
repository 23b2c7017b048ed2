//! Readiness by tokio's edge-triggered epoll.
//!
//! A descriptor is registered when somebody first has to wait for it, so a data connection that is accepted, filled
//! and closed in one go never enters the epoll set.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest as TokioInterest;
use tokio::io::unix::AsyncFd;
use tokio::task::LocalSet;

use crate::context;
use crate::source::Interest;

/// One thread's tasks over tokio's own driver.
pub(crate) struct Executor {
    // Declared, and so dropped, before the runtime: the tasks hold registrations with its driver.
    tasks: LocalSet,
    runtime: tokio::runtime::Runtime,
}

impl Executor {
    pub(super) fn new() -> io::Result<Executor> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Executor { tasks: LocalSet::new(), runtime })
    }

    pub(super) fn block_on<F: Future>(&self, main: F) -> F::Output {
        self.runtime.block_on(self.tasks.run_until(main))
    }
}

/// The number of a descriptor that its [`Source`](crate::Source) keeps open for longer than the registration.
struct Registered(RawFd);

impl AsRawFd for Registered {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

#[allow(unsafe_code)]
fn register(registered: Registered) -> io::Result<AsyncFd<Registered>> {
    let interest = TokioInterest::READABLE | TokioInterest::WRITABLE | TokioInterest::PRIORITY;
    // SAFETY: a `Source` owns the descriptor beside this registration, never exchanges it, and drops the
    // registration first.
    Ok(unsafe { AsyncFd::register_with_interest(registered, interest) }?)
}

/// The readiness of one descriptor.
pub(crate) struct Readiness {
    registration: OnceCell<AsyncFd<Registered>>,
    /// A fresh socket has an empty send buffer: the first write is tried, not waited for.
    assumed_writable: Cell<bool>,
}

impl Readiness {
    pub(crate) fn new() -> Readiness {
        Readiness { registration: OnceCell::new(), assumed_writable: Cell::new(true) }
    }

    /// The registration, made now if there is none. Registering reports the state of the moment, so nothing that
    /// happened before is missed.
    fn registration(&self, fd: BorrowedFd<'_>) -> io::Result<&AsyncFd<Registered>> {
        if let Some(registration) = self.registration.get() {
            return Ok(registration);
        }
        if !context::count(|counters| counters.polls.add(1)) {
            return Err(context::not_on_a_worker());
        }
        let registration = register(Registered(fd.as_raw_fd()))?;
        Ok(self.registration.get_or_init(|| registration))
    }

    pub(crate) fn poll_ready(
        &self,
        fd: BorrowedFd<'_>,
        cx: &mut Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<()>> {
        if interest == Interest::Writable && self.assumed_writable.get() {
            return Poll::Ready(Ok(()));
        }
        let registration = self.registration(fd)?;
        let mut guard = match interest {
            Interest::Readable => ready!(registration.poll_read_ready(cx))?,
            Interest::Writable => ready!(registration.poll_write_ready(cx))?,
        };
        guard.retain_ready();
        Poll::Ready(Ok(()))
    }

    /// A system call said "would block": the next edge makes the descriptor ready again.
    pub(crate) fn clear(&self, interest: Interest) {
        let interest = match interest {
            Interest::Readable => TokioInterest::READABLE,
            Interest::Writable => {
                self.assumed_writable.set(false);
                TokioInterest::WRITABLE
            }
        };
        self.forget(interest);
    }

    /// A receive filled less than its buffer, or a send took less than it was given: on a stream that means "would
    /// block" next, without asking. The one exception is urgent data, at which a receive stops though there is
    /// more behind it: no edge would come for that, so the readiness is kept.
    pub(crate) fn clear_after_partial(&self, interest: Interest) {
        if interest == Interest::Readable && self.urgent_data_came() {
            self.forget(TokioInterest::PRIORITY);
            return;
        }
        self.clear(interest);
    }

    fn urgent_data_came(&self) -> bool {
        let seen = |registration: &AsyncFd<Registered>| {
            registration.try_io(TokioInterest::PRIORITY, |_| Ok(())).is_ok()
        };
        self.registration.get().is_some_and(seen)
    }

    /// Clears the remembered events of `interest`, which tokio offers only as the answer to "would block".
    fn forget(&self, interest: TokioInterest) {
        if let Some(registration) = self.registration.get() {
            let would_block: io::Result<()> =
                registration.try_io(interest, |_| Err(io::ErrorKind::WouldBlock.into()));
            debug_assert!(would_block.is_err());
        }
    }
}
