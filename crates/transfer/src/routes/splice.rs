//! The routes through a pipe, a pipe full at a time.

use std::io;
use std::ops::Range;

use runtime::{Interest, Stream};

use super::{Received, Sent, copy, ring_splice};
use crate::TransferError;
use crate::buffer::Buffer;
use crate::cache::{Probe, Residency};
use crate::disk_side::DiskSide;
use crate::file_system::{FileSystem, is_not_offered};
use crate::pace::Pace;
use crate::pipe::Pipe;
use crate::shared::Shared;

/// Where the half between the file and the pipe runs. The other never waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileHalf {
    /// On the core's thread, and on another one while it would wait.
    Threads,
    /// On the kernel's own threads.
    Ring,
}

/// Sends a range of a file.
pub(crate) async fn send(
    file: &mut Shared<'_>,
    system: &FileSystem,
    range: Range<u64>,
    stream: &Stream,
    half: FileHalf,
    pace: &mut Pace<'_>,
) -> Result<Sent, TransferError> {
    let mut probe = Probe::new(system.kind());
    let mut offset = range.start;
    while offset < range.end {
        // Before a pipe is taken: while the peer does not take anything, none is held.
        let count = pace.ready(stream.source(), Interest::Writable, range.end - offset).await?;
        let Some(pipe) = Pipe::take() else { return Ok(Sent::UpTo(offset)) };
        let (pipe, taken) = match half {
            FileHalf::Threads => fill(pipe, file, system, &mut probe, offset, count, pace).await?,
            FileHalf::Ring => {
                let mut pipe = pipe;
                let taken = ring_splice::fill(&mut pipe, file, offset, count).await?;
                pace.excuse();
                (pipe, taken)
            }
        };
        match taken {
            Ok(0) => {
                pipe.give_back();
                return Err(TransferError::SourceShrank { missing: range.end - offset });
            }
            Ok(taken) => {
                pass_on(pipe, stream, count, pace).await?;
                offset += taken as u64;
            }
            Err(error) if is_not_offered(&error) => {
                pipe.give_back();
                return Ok(Sent::UpTo(offset));
            }
            Err(error) => return Err(TransferError::of_storage(&error)),
        }
    }
    Ok(Sent::All)
}

/// Takes bytes from the file: here if they are in the page cache, and on another thread if not.
async fn fill(
    mut pipe: Pipe,
    file: &mut Shared<'_>,
    system: &FileSystem,
    probe: &mut Probe,
    offset: u64,
    count: usize,
    pace: &mut Pace<'_>,
) -> Result<(Pipe, io::Result<usize>), TransferError> {
    let range = offset..offset + count as u64;
    if !system.reads_always_wait() && probe.ask(file.file(), &range) == Residency::Warm {
        let taken = pipe.fill_from_file(file.file(), offset, count);
        return Ok((pipe, taken));
    }
    let filled = file.elsewhere(move |file| {
        let taken = pipe.fill_from_file(file, offset, count);
        (pipe, taken)
    });
    let filled = filled.await?;
    pace.excuse();
    pace.on_cold_read();
    Ok(filled)
}

/// Gives all that is in the pipe to the socket, `granted` bytes of it at once.
async fn pass_on(
    mut pipe: Pipe,
    stream: &Stream,
    mut granted: usize,
    pace: &mut Pace<'_>,
) -> Result<(), TransferError> {
    loop {
        let given =
            stream.source().try_io(Interest::Writable, |socket| pipe.empty_to_socket(socket, granted));
        match given {
            Ok(given) => pace.moved(given),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(TransferError::of_socket(&error)),
        }
        if pipe.filled() == 0 {
            pipe.give_back();
            return Ok(());
        }
        granted = pace.ready(stream.source(), Interest::Writable, pipe.filled() as u64).await?;
    }
}

/// Stores what the peer sends from `offset` on.
pub(crate) async fn receive(
    stream: &Stream,
    file: &mut Shared<'_>,
    system: &FileSystem,
    offset: u64,
    half: FileHalf,
    disk: &mut DiskSide,
    pace: &mut Pace<'_>,
) -> Result<Received, TransferError> {
    let mut received: u64 = 0;
    loop {
        let count = pace.ready(stream.source(), Interest::Readable, u64::MAX).await?;
        let Some(mut pipe) = Pipe::take() else { return Ok(Received::SoFar(received)) };
        let taken = stream.source().try_io(Interest::Readable, |socket| pipe.fill_from_socket(socket, count));
        match taken {
            Ok(0) => {
                pipe.give_back();
                return Ok(Received::All(received));
            }
            Ok(taken) => {
                pace.moved(taken);
                let emptied = empty(pipe, file, system, offset + received, half, pace).await?;
                received += taken as u64;
                disk.wrote(file, offset + received).await?;
                if matches!(emptied, Emptied::ByCopy) {
                    return Ok(Received::SoFar(received));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => pipe.give_back(),
            Err(error) if is_not_offered(&error) => return Ok(Received::SoFar(received)),
            Err(error) => return Err(TransferError::of_socket(&error)),
        }
    }
}

/// How the bytes left the pipe.
enum Emptied {
    BySplice,
    /// The file system cannot be spliced to.
    ByCopy,
}

/// Empties the pipe into the file: here, or on another thread while the disk is behind.
async fn empty(
    mut pipe: Pipe,
    file: &mut Shared<'_>,
    system: &FileSystem,
    offset: u64,
    half: FileHalf,
    pace: &mut Pace<'_>,
) -> Result<Emptied, TransferError> {
    let inside = pipe.filled();
    let (pipe, outcome, waited) = match half {
        FileHalf::Threads => {
            let written = system.written(file, move |file| {
                let outcome = pipe.empty_to_file(file, offset);
                (pipe, outcome)
            });
            let ((pipe, outcome), elsewhere) = written.await?;
            (pipe, outcome, elsewhere)
        }
        FileHalf::Ring => {
            let outcome = ring_splice::empty(&mut pipe, file, offset).await?;
            (pipe, outcome, true)
        }
    };
    if waited {
        pace.excuse();
    }
    match outcome {
        Ok(()) => {
            pipe.give_back();
            Ok(Emptied::BySplice)
        }
        // Nothing was written by the call that says so, and what is in the pipe is the peer's data all the same.
        Err(error) if is_not_offered(&error) => {
            let written = (inside - pipe.filled()) as u64;
            rescue(pipe, file, system, offset + written).await?;
            Ok(Emptied::ByCopy)
        }
        // With the pipe goes what is in it: it belongs to an upload that has failed.
        Err(error) => Err(TransferError::of_storage(&error)),
    }
}

/// Copies what is in the pipe to the file.
async fn rescue(
    mut pipe: Pipe,
    file: &mut Shared<'_>,
    system: &FileSystem,
    mut offset: u64,
) -> Result<(), TransferError> {
    let mut buffer = Buffer::take();
    while pipe.filled() > 0 {
        let read = pipe.read(&mut buffer).map_err(|error| TransferError::of_storage(&error))?;
        (buffer, _) = copy::store(file, system, buffer, 0..read, offset).await?;
        offset += read as u64;
    }
    pipe.give_back();
    Ok(())
}
