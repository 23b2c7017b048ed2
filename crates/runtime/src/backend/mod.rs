//! The two ways of waiting for descriptors, and the choice between them.

pub(crate) mod epoll;
pub(crate) mod probe;
pub(crate) mod uring;

use std::fmt;
use std::future::Future;
use std::io;
use std::str::FromStr;

use thiserror::Error;

use probe::IoUringRefusal;

/// How a worker waits for its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Polls in flight on a ring of the worker's own.
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

/// A worker's executor: one thread's tasks over one backend.
pub(crate) enum Executor {
    IoUring { runtime: tokio_uring::Runtime, receive_ring: Option<uring::SharedReceiveRing> },
    Epoll(epoll::Executor),
}

impl Executor {
    /// Builds the executor on the thread that will run it: the ring accepts no other.
    pub(crate) fn new(backend: Backend) -> io::Result<Executor> {
        Ok(match backend {
            Backend::IoUring => {
                Executor::IoUring { runtime: uring::executor()?, receive_ring: uring::ReceiveRing::shared()? }
            }
            Backend::Epoll => Executor::Epoll(epoll::Executor::new()?),
        })
    }

    /// Runs `main` to its end; what was spawned meanwhile is dropped with the executor.
    pub(crate) fn block_on<F: Future>(&self, main: F) -> F::Output {
        match self {
            Executor::IoUring { runtime, .. } => runtime.block_on(main),
            Executor::Epoll(executor) => executor.block_on(main),
        }
    }

    /// The ring for receives that go on by themselves, where backend and kernel have one.
    pub(crate) fn receive_ring(&self) -> Option<uring::SharedReceiveRing> {
        match self {
            Executor::IoUring { receive_ring, .. } => receive_ring.clone(),
            Executor::Epoll(_) => None,
        }
    }
}
