//! One pinned thread and one runtime per core: readiness, deadlines, cancellation, hand-over.
//!
//! A *worker* is a thread that is pinned to one core and runs tasks that never leave it. It waits for descriptors
//! with io_uring, or with epoll where io_uring is refused ([`choose_backend`]); everything above this crate is the
//! same code on both.
//!
//! # Readiness, not completion
//!
//! No future of this crate owns a buffer that the kernel fills. A [`Source`] says when a descriptor is ready, and the system
//! call that moves the bytes is made at once and without blocking; a [`Stream`] that
//! [receives ahead](Stream::receive_ahead) keeps what came until it is asked for. So every future of this crate may be
//! dropped at any moment, in a `select!`, in a timeout, with its task, and nothing is lost: no byte that the kernel had
//! already received, no accepted connection, no descriptor, no listening port. An idle connection holds no buffer.
//!
//! # The map
//!
//! | to | use |
//! | --- | --- |
//! | start a core's thread | [`choose_backend`], [`allowed_cores`], [`spawn_worker`], [`spawn`] |
//! | wait for a descriptor | [`Source`] |
//! | listen, connect, talk | [`net`] |
//! | bound a wait | [`deadline`] |
//! | do what may block | [`fn@blocking`] |
//! | do what keeps a processor busy | [`FairPool`] |
//! | have the kernel's own threads move bytes from or to a file | [`mod@splice`] |
//! | give something to another core | [`handover`] |
//! | tell all cores what holds from now on | [`latest`] |
//! | have room for thousands of descriptors | [`reserve_descriptors`] |
//! | stop | [`shutdown`], [`drained`] |
//! | watch a worker, count on it | [`WorkerObserver`], [`Counter`] |

pub mod affinity;
mod backend;
pub mod blocking;
mod context;
pub mod counter;
pub mod deadline;
mod descriptor_table;
mod executor;
pub mod fair;
pub mod figures;
pub mod handover;
pub mod latest;
mod long_turns;
pub mod net;
pub mod shutdown;
mod source;
pub mod splice;
mod task;
mod timers;
mod worker;

pub use affinity::allowed_cores;
pub use backend::probe::{IoUringRefusal, RefusalCause};
pub use backend::{Backend, BackendChoice, RuntimeError, UnknownBackend, choose_backend};
pub use blocking::{BlockingError, Places, PlacesOf, blocking};
pub use context::{current_backend, drained, turn_began};
pub use counter::Counter;
pub use deadline::{Elapsed, IdleTimer, Sleep, Timeout, sleep_until, timeout_at};
pub use descriptor_table::reserve_descriptors;
pub use fair::{FairPool, in_the_background};
pub use figures::{WorkerFigures, WorkerObserver};
pub use handover::{HandoverError, Receiver, Sender, mailbox};
pub use latest::{Publisher, Subscriber};
pub use long_turns::{LongTurn, begin_long_turn, end_long_turn};
pub use net::{
    Accepted, BoundListener, ConnectOptions, ListenOptions, Listener, Stream, connect, peer_closed,
};
pub use shutdown::{Shutdown, ShutdownSource};
pub use source::{Interest, Source};
pub use task::{Task, TaskError, spawn};
pub use worker::{DESCRIPTORS_PER_WORKER_MAX, WorkerConfig, spawn_worker};
