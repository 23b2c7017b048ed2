//! The data engine: moves bytes between files and data connections.
//!
//! [`download`] sends a range of a file, [`upload`] stores what a peer sends, [`send_chunks`] sends what is made
//! on the way, as listings are. Which way the bytes take is settled by [`plan`](fn@plan), a pure function, whose table
//! says what it depends on:
//!
//! | route | way | file |
//! | --- | --- | --- |
//! | [`Route::Sendfile`] | page cache to socket | `routes/sendfile.rs` |
//! | [`Route::Splice`] | file to pipe to socket, and socket to pipe to file; the file's half here, or on a thread that may wait | `routes/splice.rs` |
//! | [`Route::RingSplice`] | the same, the file's half on the kernel's own threads | `routes/ring_splice.rs` |
//! | [`Route::Copy`] | through a buffer, where line ends change, the file is very small, or the kernel has no better way | `routes/copy.rs`, `routes/direct.rs` |
//!
//! # What every transfer keeps to
//!
//! - The core's thread does not wait for a disk, a daemon or a server. A range that is not in the page cache is fetched by
//!   [`runtime::blocking()`] first, the next one while it is sent; a file whose writes are slow is written there. To open the
//!   file and to close it is the caller's, who may have to ask a daemon or a server for it.
//!   What the kernel does not tell beforehand is not known here either: a file system that is frozen (`fsfreeze`) holds the first write
//!   of each worker until it is thawed, a scanner that has to permit opening or reading (`fanotify`) holds every file, and a layer of
//!   overlayfs may be FUSE or on another machine.
//! - A transfer gives the other tasks of its core their turn after at most [`TURN_BYTES_MAX`] bytes,
//!   [`SENDFILE_TURN_BYTES_MAX`] or [`COPY_TURN_BYTES_MAX`], and lets all that is short go first.
//! - A transfer may be dropped at any moment. Its descriptors, pipes and buffers go back, and what it had reserved of a
//!   limit. What an upload had handed to another thread at that moment is still written, up to [`TURN_BYTES_MAX`] bytes.
//! - Nothing is held while a transfer waits for its peer: no pipe, no buffer, unless bytes are in it.
//! - With [`Limits`] a transfer moves what they let through, and sleeps until the moment when there is more.
//!
//! # What may go wrong, and what comes of it
//!
//! Every system call may be interrupted (`EINTR`: it is made again), find the socket not ready (`EAGAIN`: the transfer waits
//! until it is) and move less than it was asked to (the rest follows). Beyond that:
//!
//! | while | what happens | what comes of it |
//! | --- | --- | --- |
//! | asking what the page cache has | `ENOSYS`, `EPERM`, any other | the next way of asking; after the last, the range is fetched |
//! | asking what the file lies on | any error | it is taken for a disk |
//! | a second descriptor is made | `EMFILE`, `ENFILE` | a download waits for one, half a minute at most; else [`TransferError::Resources`] |
//! | fetching, reading | `EIO`, any other | [`TransferError::Storage`] |
//! | fetching, reading, sending | the file ends before the range | [`TransferError::SourceShrank`] |
//! | fetching | what was fetched is not in the page cache | on by splice, the file's half on another thread |
//! | fetching | nothing can be sent to `/dev/null` | it is fetched by reading |
//! | sendfile, splice from or to the file | `EINVAL`, `ENOSYS`, `EOPNOTSUPP` | on by copy; what is in the pipe is copied, too |
//! | sendfile | `EIO`, any other | [`TransferError::Storage`] |
//! | taking a pipe | none is left, or the kernel grants none, or a small one | on by copy |
//! | sending, receiving | `ECONNRESET`, `EPIPE`, `ENOTCONN` | [`TransferError::PeerReset`] |
//! | sending, receiving | `ETIMEDOUT`, `EHOSTUNREACH`, any other | [`TransferError::Network`] |
//! | sending, receiving | `ENOMEM`, `ENOBUFS` | [`TransferError::Resources`] |
//! | sending, receiving | nothing moves and nothing is acknowledged for the stall timeout | [`TransferError::Stalled`] |
//! | closing | the peer has sent something, and resets or does not take the rest | [`TransferError::PeerReset`], [`TransferError::Stalled`] |
//! | writing | `ENOSPC` | [`TransferError::StorageFull`] |
//! | writing | `EDQUOT` | [`TransferError::QuotaExceeded`] |
//! | writing | `EFBIG` | [`TransferError::FileTooLarge`] |
//! | writing | `EIO`, nothing is taken, any other | [`TransferError::Storage`] |
//! | reserving blocks ahead | any error | nothing more is reserved |
//! | giving back what was reserved | any error | [`TransferError::Storage`] |
//! | writing behind | `EIO` | [`TransferError::Storage`]: bytes of the upload are lost |
//! | writing behind | `EINVAL`, `ENOSYS` | nothing: the pages stay in the page cache |
//! | switching `O_DIRECT`, or writing with it | `EINVAL`, `EOPNOTSUPP` | on through the page cache, dropped behind |
//!
//! Each row has tests, in `tests/fault_table.rs` and `tests/reserve_ahead.rs` beside this file where the fault has to be injected. A pipe with bytes in it
//! that belong to a failed transfer is closed and never reaches another.

pub mod ascii;
mod buffer;
mod cache;
mod disk_side;
mod download;
mod error;
mod file_system;
mod kernel;
pub mod limits;
mod listing;
mod options;
mod pace;
mod patience;
mod pipe;
pub mod plan;
mod progress;
mod reserve_ahead;
mod routes;
mod shared;
#[cfg(test)]
mod tests;
mod upload;
mod write_behind;

// The tests' helpers name the crate as the tests beside it do.
#[cfg(test)]
extern crate self as transfer;

pub use download::{close_delivered, download, peer_ends};
pub use error::{ChunksError, TransferError};
pub use limits::{Limits, RateLimit, RateLimiter};
pub use listing::send_chunks;
pub use options::{CachePolicy, Destination, TransferOptions};
pub use plan::{
    CacheState, Direction, Route, RoutePreference, TransferFacts, TransferType, UnknownRoute, plan,
};
pub use progress::Progress;
pub use storage::FileSystemKind;
pub use upload::upload;

/// Bytes that a transfer moves before the other tasks of its core have their turn.
pub const TURN_BYTES_MAX: usize = 1 << 20;
/// The same by copy, which takes longest for each of them, above all where lines are converted.
pub const COPY_TURN_BYTES_MAX: usize = 256 << 10;
/// The same by sendfile, which copies none of them: as many as the kernel's largest send buffer takes, so that a wake-up fills it
/// in one call.
pub const SENDFILE_TURN_BYTES_MAX: usize = 4 << 20;
