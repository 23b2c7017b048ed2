//! Pipes for the splice routes, a few of them kept by each worker.
//!
//! A pipe is held only while bytes are in it, so a worker needs one for all its uploads, and some more for those
//! whose bytes another thread is just writing to a slow disk. What all pipes of a user may hold is bounded by the
//! kernel (`fs.pipe-user-pages-soft`, 64 MiB by default); beyond it a pipe is too small to be worth it.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use runtime::splice::SharedDescriptor;

use crate::TURN_BYTES_MAX;
use crate::kernel;

/// Pipes that a worker has at once, in its own hands and in other threads'.
const PIPES_MAX: usize = 16;
/// Empty pipes that a worker keeps.
const KEPT_MAX: usize = 2;
/// A pipe that holds less makes the splice dearer than the copy.
const CAPACITY_MIN: usize = 256 << 10;

#[derive(Default)]
struct Pool {
    kept: RefCell<Vec<Pipe>>,
    alive: Arc<AtomicUsize>,
}

thread_local! {
    static POOL: Pool = Pool::default();
}

/// A pipe and the number of bytes in it. Given back to the pool while empty, closed otherwise.
pub(crate) struct Pipe {
    // Shared with the kernel's threads while they work on it: to close one end waits for whoever works on the other.
    ends: Arc<Ends>,
    capacity: usize,
    filled: usize,
    // Dropped with the pipe, on whichever thread that is.
    _alive: Alive,
}

struct Ends {
    reader: OwnedFd,
    writer: OwnedFd,
}

/// The end to read from, which keeps the other open.
struct ReadEnd(Arc<Ends>);

impl AsFd for ReadEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.reader.as_fd()
    }
}

/// The end to write to, which keeps the other open.
struct WriteEnd(Arc<Ends>);

impl AsFd for WriteEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.writer.as_fd()
    }
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipe {
    /// An empty pipe; none if this worker has enough, or the kernel grants no large one.
    pub(crate) fn take() -> Option<Pipe> {
        POOL.with(|pool| {
            if let Some(kept) = pool.kept.borrow_mut().pop() {
                return Some(kept);
            }
            if pool.alive.load(Ordering::Relaxed) >= PIPES_MAX {
                return None;
            }
            pool.alive.fetch_add(1, Ordering::Relaxed);
            Pipe::new(Alive(Arc::clone(&pool.alive))).ok().filter(|pipe| pipe.capacity >= CAPACITY_MIN)
        })
    }

    fn new(alive: Alive) -> io::Result<Pipe> {
        let (reader, writer) = kernel::pipe()?;
        let capacity = kernel::set_pipe_capacity(&writer, TURN_BYTES_MAX)?;
        Ok(Pipe { ends: Arc::new(Ends { reader, writer }), capacity, filled: 0, _alive: alive })
    }

    /// Gives the pipe back to the worker that it is on. One with bytes in it is closed, and they with it.
    pub(crate) fn give_back(self) {
        if self.filled > 0 {
            return;
        }
        POOL.with(|pool| {
            let mut kept = pool.kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(self);
            }
        });
    }

    /// Bytes in the pipe.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Bytes that an empty pipe takes.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes at most `count` bytes from a socket, without waiting.
    pub(crate) fn fill_from_socket(&mut self, socket: impl AsFd, count: usize) -> io::Result<usize> {
        let taken = kernel::splice_from_socket(socket, &self.ends.writer, count.min(self.capacity))?;
        self.filled += taken;
        Ok(taken)
    }

    /// Gives at most `count` bytes to a socket, without waiting.
    pub(crate) fn empty_to_socket(&mut self, socket: impl AsFd, count: usize) -> io::Result<usize> {
        let given = kernel::splice_to_socket(&self.ends.reader, socket, count.min(self.filled))?;
        self.filled -= given;
        Ok(given)
    }

    /// Takes at most `count` bytes from `offset` of a file, which may wait for the disk; 0 at its end.
    pub(crate) fn fill_from_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        let taken = kernel::splice_from_file(file, offset, &self.ends.writer, count.min(self.capacity))?;
        self.filled += taken;
        Ok(taken)
    }

    /// Writes all that is in the pipe to `offset` of a file, which may wait for the disk.
    ///
    /// On an error the rest stays in the pipe: [`filled`](Pipe::filled) says how much.
    pub(crate) fn empty_to_file(&mut self, file: &File, mut offset: u64) -> io::Result<()> {
        while self.filled > 0 {
            match kernel::splice_to_file(&self.ends.reader, file, offset, self.filled)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    self.filled -= written;
                    offset += written as u64;
                }
            }
        }
        Ok(())
    }

    /// Reads what is in the pipe into `buffer`, where the file cannot be spliced to.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = kernel::read_pipe(&self.ends.reader, buffer)?;
        self.filled -= read;
        Ok(read)
    }

    /// The end to read from, for an operation of the kernel's threads; what it took is then told by [`emptied`](Pipe::emptied).
    pub(crate) fn reader(&self) -> SharedDescriptor {
        Arc::new(ReadEnd(Arc::clone(&self.ends)))
    }

    /// The end to write to, for an operation of the kernel's threads; what it gave is then told by [`filled_by`](Pipe::filled_by).
    pub(crate) fn writer(&self) -> SharedDescriptor {
        Arc::new(WriteEnd(Arc::clone(&self.ends)))
    }

    /// So many bytes came in by [`writer`](Pipe::writer).
    pub(crate) fn filled_by(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    /// So many bytes went out by [`reader`](Pipe::reader).
    pub(crate) fn emptied(&mut self, bytes: usize) {
        self.filled -= bytes;
    }
}
