//! The route through a buffer: for line ends, for very small files, and where the kernel has no shorter way.

use std::cell::Cell;
use std::io;
use std::ops::{Deref, Range};

use runtime::{Interest, Stream};

use crate::TransferError;
use crate::ascii::{FromNetwork, ToNetwork};
use crate::buffer::Buffer;
use crate::cache;
use crate::disk_side::DiskSide;
use crate::file_system::{FileSystem, is_not_offered};
use crate::kernel::{self, Push};
use crate::pace::Pace;
use crate::shared::Shared;

thread_local! {
    /// Small files that are not read at once, after one whose file system does not understand that.
    static NOT_AT_ONCE: Cell<u32> = const { Cell::new(0) };
}

/// Bytes of a file whose line ends are converted at a time. They are held while the peer does not take them.
const LINES_BYTES: usize = 64 << 10;

/// Small files for which the worker does not ask again.
const NOT_ASKED_AGAIN_FOR: u32 = 1000;

/// Sends what a read that does not wait gives of a small range; gives the number of bytes, 0 if it gave none.
pub(crate) async fn send_at_once(
    file: &Shared<'_>,
    range: &Range<u64>,
    stream: &Stream,
    pace: &mut Pace<'_>,
) -> Result<u64, TransferError> {
    let skipped = NOT_AT_ONCE.get();
    if skipped > 0 {
        NOT_AT_ONCE.set(skipped - 1);
        return Ok(0);
    }
    let mut buffer = Buffer::take();
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX).min(buffer.len());
    match kernel::read_cached(file.file(), &mut buffer[..length], range.start) {
        Ok(read) => {
            let push = if read as u64 == range.end - range.start { Push::WithEnd } else { Push::Now };
            send_all(stream, &buffer[..read], 0, push, pace).await?;
            Ok(read as u64)
        }
        Err(error) => {
            if is_not_offered(&error) {
                NOT_AT_ONCE.set(NOT_ASKED_AGAIN_FOR);
            }
            Ok(0)
        }
    }
}

/// Sends a range of a file, with `lines` converted on the way; gives the number of bytes on the network.
pub(crate) async fn send(
    file: &mut Shared<'_>,
    system: &FileSystem,
    range: Range<u64>,
    stream: &Stream,
    mut lines: Option<ToNetwork>,
    pace: &mut Pace<'_>,
) -> Result<u64, TransferError> {
    let mut offset = range.start;
    let mut sent: u64 = 0;
    while offset < range.end {
        // Before a buffer is filled: while the peer does not take anything, none is held. How many bytes there are to send, and
        // to reserve of a limit, is known only when they are read.
        pace.connection_ready(stream.source(), Interest::Writable).await?;
        let piece = if lines.is_some() { LINES_BYTES } else { usize::MAX };
        let length = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(piece);
        let (buffer, read, waited) = cache::read(file, system, Buffer::take(), length, offset).await?;
        if waited {
            pace.excuse();
            pace.on_cold_read();
        }
        if read == 0 {
            return Err(TransferError::SourceShrank { missing: range.end - offset });
        }
        offset += read as u64;
        if let Some(lines) = &mut lines {
            let mut converted = Vec::with_capacity(read + read / 16);
            lines.convert(&buffer[..read], &mut converted);
            // While the peer takes its time only what it has to get is held.
            drop(buffer);
            send_all(stream, &converted, range.end - offset, Push::Now, pace).await?;
            sent += converted.len() as u64;
        } else {
            send_all(stream, &buffer[..read], range.end - offset, Push::Now, pace).await?;
            sent += read as u64;
        }
    }
    Ok(sent)
}

/// Sends all of `bytes`, in turns; so many more of the file are to come.
pub(crate) async fn send_all(
    stream: &Stream,
    mut bytes: &[u8],
    to_come: u64,
    push: Push,
    pace: &mut Pace<'_>,
) -> Result<(), TransferError> {
    while !bytes.is_empty() {
        let (source, wanted) = (stream.source(), bytes.len() as u64);
        let count = pace.ready_for_piece(source, Interest::Writable, wanted, to_come).await?;
        let turn = &bytes[..bytes.len().min(count)];
        let push = if turn.len() == bytes.len() { push } else { Push::Now };
        match stream.source().try_io(Interest::Writable, |socket| kernel::send_some(socket, turn, push)) {
            Ok(sent) => {
                pace.moved(sent);
                bytes = &bytes[sent..];
                if sent < turn.len() {
                    stream.source().clear_ready(Interest::Writable);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(TransferError::of_socket(&error)),
        }
    }
    Ok(())
}

/// Stores what the peer sends from `offset` of the file on, with `lines` converted on the way; gives the number of
/// bytes on the network.
pub(crate) async fn receive(
    stream: &Stream,
    file: &mut Shared<'_>,
    system: &FileSystem,
    mut offset: u64,
    mut lines: Option<FromNetwork>,
    disk: &mut DiskSide,
    pace: &mut Pace<'_>,
) -> Result<u64, TransferError> {
    let mut received: u64 = 0;
    // Where line ends are converted, the first byte is for one that was held back.
    let start = usize::from(lines.is_some());
    loop {
        let count = pace.ready(stream.source(), Interest::Readable, u64::MAX).await?;
        let mut buffer = Buffer::take();
        let end = buffer.len().min(start + count);
        let taken = stream
            .source()
            .try_io(Interest::Readable, |socket| kernel::receive(socket, &mut buffer[start..end]));
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(TransferError::of_socket(&error)),
        };
        if taken > 0 {
            pace.moved(taken);
            received += taken as u64;
        }
        let piece = match &mut lines {
            None => 0..taken,
            Some(lines) if taken > 0 => lines.convert(&mut buffer[..start + taken]),
            Some(lines) => lines.finish().map_or(0..0, |last| {
                buffer[0] = last;
                0..1
            }),
        };
        let stored = piece.len();
        let (_, elsewhere) = store(file, system, buffer, piece, offset).await?;
        if elsewhere {
            pace.excuse();
        }
        offset += stored as u64;
        disk.wrote(file, offset).await?;
        if taken == 0 {
            return Ok(received);
        }
    }
}

/// Writes these bytes of the buffer to `offset` of the file, here or on another thread; gives the buffer
/// back, and whether it was another thread.
pub(super) async fn store<B>(
    file: &mut Shared<'_>,
    system: &FileSystem,
    buffer: B,
    bytes: Range<usize>,
    offset: u64,
) -> Result<(B, bool), TransferError>
where
    B: Deref<Target = [u8]> + Send + 'static,
{
    if bytes.is_empty() {
        return Ok((buffer, false));
    }
    let written = system.written(file, move |file| {
        let outcome = kernel::write_all(file, &buffer[bytes], offset);
        (buffer, outcome)
    });
    let ((buffer, outcome), elsewhere) = written.await?;
    outcome.map_err(|error| TransferError::of_storage(&error))?;
    Ok((buffer, elsewhere))
}
