//! The two ways of waiting for descriptors, and the choice between them.

pub(crate) mod epoll;
pub(crate) mod probe;
pub(crate) mod uring;
mod watch;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

use crate::executor::Doorbell;
use crate::source::Interest;
use epoll::Epoll;
use probe::IoUringRefusal;
use uring::{Closed, Ring};
use watch::Watch;

/// How a worker waits for its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A ring of the worker's own, on which the kernel polls and receives.
    IoUring,
    /// Edge-triggered epoll.
    Epoll,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Backend::IoUring => "io_uring",
            Backend::Epoll => "epoll",
        })
    }
}

/// What the user asked for: `auto`, `io_uring` or `epoll`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BackendChoice {
    /// io_uring where the kernel grants it, epoll elsewhere.
    #[default]
    Auto,
    /// io_uring, or an error.
    IoUring,
    /// epoll, without asking for io_uring.
    Epoll,
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendChoice::Auto => "auto",
            BackendChoice::IoUring => "io_uring",
            BackendChoice::Epoll => "epoll",
        })
    }
}

/// The user's fault: a backend that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no runtime `{0}`: choose auto, io_uring or epoll")]
pub struct UnknownBackend(pub String);

impl FromStr for BackendChoice {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<BackendChoice, UnknownBackend> {
        match name {
            "auto" => Ok(BackendChoice::Auto),
            "io_uring" => Ok(BackendChoice::IoUring),
            "epoll" => Ok(BackendChoice::Epoll),
            other => Err(UnknownBackend(other.to_owned())),
        }
    }
}

/// Why there is no runtime to run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RuntimeError {
    /// The system's fault, or the user's for insisting: io_uring was asked for and is refused here.
    #[error(transparent)]
    IoUringRefused(#[from] IoUringRefusal),
}

/// Settles the backend of all workers, before the first of them starts.
///
/// With [`BackendChoice::Auto`] a refusal is not an error: it comes back beside [`Backend::Epoll`], for the log.
///
/// # Errors
///
/// [`RuntimeError::IoUringRefused`] where io_uring was asked for by name and the kernel or its policy refuses it.
pub fn choose_backend(choice: BackendChoice) -> Result<(Backend, Option<IoUringRefusal>), RuntimeError> {
    match choice {
        BackendChoice::Epoll => Ok((Backend::Epoll, None)),
        BackendChoice::IoUring => {
            probe::io_uring()?;
            Ok((Backend::IoUring, None))
        }
        BackendChoice::Auto => Ok(match probe::io_uring() {
            Ok(()) => (Backend::IoUring, None),
            Err(refusal) => (Backend::Epoll, Some(refusal)),
        }),
    }
}

/// How long a turn may wait for the kernel to have something to tell.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// Tasks are ready: only what the kernel has to tell by now is heard.
    Not,
    AtMost(Duration),
    ForEver,
}

/// What a worker waits with for its descriptors.
pub(crate) enum Driver {
    IoUring(Box<RefCell<Ring>>),
    Epoll(Epoll),
}

/// What a worker's driver knows a descriptor by, from when it is first needed.
#[derive(Default)]
pub(crate) struct Registration {
    /// Where its readiness is known.
    watch: Cell<Option<usize>>,
    /// Where the kernel puts what it receives for it.
    inbox: Cell<Option<usize>>,
}

impl Driver {
    /// Made on the thread that will use it: a ring accepts no other. A turn ends early when the doorbell is rung.
    pub(crate) fn new(backend: Backend, doorbell: Arc<Doorbell>) -> io::Result<Driver> {
        Ok(match backend {
            Backend::IoUring => Driver::IoUring(Box::new(RefCell::new(Ring::new(doorbell)?))),
            Backend::Epoll => Driver::Epoll(Epoll::new(doorbell)?),
        })
    }

    pub(crate) fn backend(&self) -> Backend {
        match self {
            Driver::IoUring(_) => Backend::IoUring,
            Driver::Epoll(_) => Backend::Epoll,
        }
    }

    /// Hands the kernel what was asked for, waits for what it tells, and wakes the tasks that it concerns.
    pub(crate) fn turn(&self, wait: Wait) {
        match self {
            Driver::IoUring(ring) => ring.borrow_mut().turn(wait),
            Driver::Epoll(epoll) => epoll.turn(wait),
        }
    }

    /// Has the next turn hear what the kernel has to tell, however many tasks are ready.
    pub(crate) fn look(&self) {
        match self {
            // It costs a system call only if there is something, and so is always done.
            Driver::IoUring(_) => {}
            Driver::Epoll(epoll) => epoll.look(),
        }
    }

    /// Ready, or the waker of `cx` is woken when it is.
    pub(crate) fn poll_ready(
        &self,
        registration: &Registration,
        fd: BorrowedFd<'_>,
        cx: &mut Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<()>> {
        match self {
            Driver::IoUring(ring) => ring.borrow_mut().poll_ready(&registration.watch, fd, cx, interest),
            Driver::Epoll(epoll) => epoll.poll_ready(&registration.watch, fd, cx, interest),
        }
    }

    /// Changes what is known of a descriptor's readiness, if anything is.
    pub(crate) fn learn(&self, registration: &Registration, change: impl FnOnce(&mut Watch)) {
        let Some(key) = registration.watch.get() else { return };
        match self {
            Driver::IoUring(ring) => ring.borrow_mut().watch(key).map(change),
            Driver::Epoll(epoll) => epoll.watch(key).as_deref_mut().map(change),
        };
    }

    /// As `recv(2)`, of what the kernel received by itself; `None` where it does not do that.
    pub(crate) fn poll_received(
        &self,
        registration: &Registration,
        fd: BorrowedFd<'_>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Option<Poll<io::Result<usize>>> {
        match self {
            Driver::IoUring(ring) => {
                Some(ring.borrow_mut().poll_received(&registration.inbox, fd, cx, buffer))
            }
            Driver::Epoll(_) => None,
        }
    }

    /// The same without waiting: [`io::ErrorKind::WouldBlock`] if nothing has come.
    pub(crate) fn received_now(
        &self,
        registration: &Registration,
        fd: BorrowedFd<'_>,
        buffer: &mut [u8],
    ) -> Option<io::Result<usize>> {
        match self {
            Driver::IoUring(ring) => Some(ring.borrow_mut().received_now(&registration.inbox, fd, buffer)),
            Driver::Epoll(_) => None,
        }
    }

    /// Closes a descriptor: now, or as soon as the kernel no longer works on it, which what is returned waits for.
    pub(crate) fn close(&self, fd: OwnedFd, registration: &Registration) -> Option<Closed> {
        match self {
            Driver::IoUring(ring) => {
                ring.borrow_mut().close(fd, [registration.watch.take(), registration.inbox.take()])
            }
            Driver::Epoll(epoll) => {
                epoll.close(fd, registration.watch.take());
                None
            }
        }
    }

    /// Ends when nothing is being closed any more; `None` if that is so now.
    pub(crate) fn all_closed(&self) -> Option<oneshot::Receiver<()>> {
        match self {
            Driver::IoUring(ring) => ring.borrow_mut().all_closed(),
            Driver::Epoll(_) => None,
        }
    }

    /// The ring, where there is one.
    pub(crate) fn ring(&self) -> Option<&RefCell<Ring>> {
        match self {
            Driver::IoUring(ring) => Some(ring),
            Driver::Epoll(_) => None,
        }
    }
}
