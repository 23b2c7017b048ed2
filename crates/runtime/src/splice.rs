//! Single operations that may wait for a disk, run by the kernel's own threads.
//!
//! On the epoll backend, which has no ring to give them to, they run as [jobs](Places::blocking). Either way at
//! most [`PLACES`](crate::blocking::PLACES) jobs and operations of the same places are under way
//! at once, so that a slow disk does not make the kernel start thousands of threads.
//!
//! Two differences from a job are worth knowing. A job that hangs does not keep its worker from stopping; an operation
//! does, because a ring ends only when all that it was given has ended. And descriptors are all that an operation may
//! refer to: a buffer would have to outlive the ring itself when the worker stops in the middle.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nix::fcntl::{SpliceFFlags, splice as splice_and_wait};

use crate::backend::Backend;
use crate::backend::uring::Splicing;
use crate::blocking::Places;
use crate::context;

/// A descriptor that an operation keeps open until the kernel is done with it, whatever became of the future.
pub type SharedDescriptor = Arc<dyn AsFd + Send + Sync>;

/// One end of a [`splice`].
#[derive(Clone)]
pub struct SpliceEnd {
    /// A pipe, or what is moved from or to it.
    pub descriptor: SharedDescriptor,
    /// Where to begin, for a file, in bytes; for a pipe or a socket there is no such place.
    pub offset: Option<u64>,
}

impl SpliceEnd {
    /// The kernel's form of the offset: -1 for none.
    pub(crate) fn kernel_offset(&self) -> io::Result<i64> {
        match self.offset {
            None => Ok(-1),
            Some(offset) => i64::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG)),
        }
    }
}

impl fmt::Debug for SpliceEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpliceEnd")
            .field("descriptor", &self.descriptor.as_fd().as_raw_fd())
            .field("offset", &self.offset)
            .finish()
    }
}

/// Moves at most `bytes` from one descriptor to another, one of which is a pipe; gives how many were, 0 at a file's end. It takes
/// one of `places` until it is over.
///
/// The one that is no pipe may be a file whose disk has to be waited for. A socket has to be moved from and to
/// without this: while it is not ready the operation would only say so.
///
/// Dropping the future does not stop an operation that has begun: it runs to its end with its descriptors open, and
/// what it moves is moved.
///
/// # Errors
///
/// What `splice(2)` says; `EFBIG` for an offset beyond 2^63 - 1.
pub async fn splice(from: SpliceEnd, to: SpliceEnd, bytes: u32, places: &Places) -> io::Result<usize> {
    match context::current_backend().ok_or_else(context::not_on_a_worker)? {
        Backend::IoUring => {
            let worker = context::worker().ok_or_else(context::not_on_a_worker)?;
            let place = worker.blocking.place_among(places).await?;
            drop(worker);
            let result = Splicing::run(from, to, bytes, place).await?;
            usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
        }
        Backend::Epoll => places.clone().blocking(move || splice_here(&from, &to, bytes)).await?,
    }
}

/// The same on a thread that may wait.
fn splice_here(from: &SpliceEnd, to: &SpliceEnd, bytes: u32) -> io::Result<usize> {
    let offset_of = |end: &SpliceEnd| end.offset.map(|_| end.kernel_offset()).transpose();
    let (mut from_offset, mut to_offset) = (offset_of(from)?, offset_of(to)?);
    let count = usize::try_from(bytes).unwrap_or(usize::MAX);
    loop {
        let moved = splice_and_wait(
            from.descriptor.as_fd(),
            from_offset.as_mut(),
            to.descriptor.as_fd(),
            to_offset.as_mut(),
            count,
            SpliceFFlags::SPLICE_F_MOVE,
        );
        match moved {
            Err(nix::errno::Errno::EINTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}
