//! Uploads beside the page cache (`O_DIRECT`): the copy route with aligned buffers.
//!
//! Two buffers take turns: while one is written on another thread, for that always waits for the disk, the next bytes are
//! received into the other. What does not fill whole blocks, a beginning after a restart and the end, goes through the
//! page cache and is dropped from it; so does everything on a file system that has no such writes.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::Mutex;

use runtime::{BlockingError, Interest, Stream, Task};

use crate::TransferError;
use crate::kernel;
use crate::pace::Pace;
use crate::shared::Shared;

/// What offsets, lengths and buffers are multiples of. Disks ask for 512 or 4096 bytes.
const BLOCK_BYTES: usize = 4096;
/// Bytes of a buffer, a multiple of the block.
const BUFFER_BYTES: usize = 1 << 20;

/// Buffers that the process keeps for the next write.
const KEPT_MAX: usize = 8;

/// Buffers are filled on workers and emptied on other threads. Nobody waits for the lock: who does not get it does without.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer that begins at a block's boundary, and is kept for others when dropped.
struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    filled: usize,
}

impl AlignedBuffer {
    fn take() -> AlignedBuffer {
        let kept = KEPT.try_lock().ok().and_then(|mut kept| kept.pop());
        let memory = kept.unwrap_or_else(|| vec![0; BUFFER_BYTES + BLOCK_BYTES]);
        let start = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
        AlignedBuffer { memory, start, filled: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }

    /// Room for at most `count` bytes, up to `limit` of all.
    fn room(&mut self, limit: usize, count: usize) -> &mut [u8] {
        let end = limit.min(self.filled + count);
        &mut self.memory[self.start + self.filled..self.start + end]
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if let Ok(mut kept) = KEPT.try_lock()
            && kept.len() < KEPT_MAX
        {
            kept.push(mem::take(&mut self.memory));
        }
    }
}

/// A write under way. It tells whether the file still takes writes beside the page cache.
type Writing = Task<Result<io::Result<bool>, BlockingError>>;

/// An upload under way. When it ends, however it does, the file is as it was opened.
struct Direct<'a> {
    file: &'a File,
    offset: u64,
    takes_direct: bool,
    writing: Option<Writing>,
}

impl Drop for Direct<'_> {
    fn drop(&mut self) {
        // Refused only for a descriptor that is none.
        let _ = kernel::set_direct(self.file, false);
    }
}

/// Stores what the peer sends, from `offset` of the file on; gives the number of bytes.
pub(crate) async fn receive(
    stream: &Stream,
    file: &mut Shared<'_>,
    offset: u64,
    pace: &mut Pace<'_>,
) -> Result<u64, TransferError> {
    let mut direct = Direct { file: file.file(), offset, takes_direct: true, writing: None };
    let mut received: u64 = 0;
    let mut filling: Option<AlignedBuffer> = None;
    loop {
        let count = pace.ready(stream.source(), Interest::Readable, BUFFER_BYTES as u64).await?;
        let mut buffer = filling.take().unwrap_or_else(AlignedBuffer::take);
        let limit = direct.next_length();
        let taken = stream
            .source()
            .try_io(Interest::Readable, |socket| kernel::receive(socket, buffer.room(limit, count)));
        match taken {
            Ok(0) => {
                direct.write(file, buffer, pace).await?;
                direct.written(pace).await?;
                return Ok(received);
            }
            Ok(taken) => {
                pace.moved(taken);
                received += taken as u64;
                buffer.filled += taken;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(TransferError::of_socket(&error)),
        }
        if buffer.filled == limit {
            direct.write(file, buffer, pace).await?;
        } else if buffer.filled > 0 {
            filling = Some(buffer);
        }
    }
}

impl Direct<'_> {
    /// Bytes of the next write: up to a block's boundary, so that those that follow begin at one.
    fn next_length(&self) -> usize {
        BUFFER_BYTES - usize::try_from(self.offset % BLOCK_BYTES as u64).unwrap_or(0)
    }

    /// Begins to write a buffer, once the one before is written.
    async fn write(
        &mut self,
        file: &mut Shared<'_>,
        buffer: AlignedBuffer,
        pace: &mut Pace<'_>,
    ) -> Result<(), TransferError> {
        self.written(pace).await?;
        let (offset, takes_direct) = (self.offset, self.takes_direct);
        self.offset += buffer.filled as u64;
        self.writing = Some(runtime::spawn(
            file.begin_elsewhere(move |file| store(file, buffer.bytes(), offset, takes_direct))?,
        ));
        Ok(())
    }

    /// Waits until nothing is being written.
    async fn written(&mut self, pace: &mut Pace<'_>) -> Result<(), TransferError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let written = writing.await.map_err(|_| TransferError::Internal("a write was stopped"))?;
        pace.excuse();
        self.takes_direct = written?.map_err(|error| TransferError::of_storage(&error))?;
        Ok(())
    }
}

/// Writes to `offset`: whole blocks beside the page cache, the rest through it and out of it. Says whether the file took the
/// former.
fn store(file: &File, bytes: &[u8], offset: u64, takes_direct: bool) -> io::Result<bool> {
    let is_aligned = offset.is_multiple_of(BLOCK_BYTES as u64);
    let whole = if is_aligned && takes_direct { bytes.len() - bytes.len() % BLOCK_BYTES } else { 0 };
    let (blocks, rest) = bytes.split_at(whole);
    let mut takes_direct = takes_direct;
    if !blocks.is_empty() {
        match kernel::set_direct(file, true).and_then(|()| kernel::write_all(file, blocks, offset)) {
            Ok(()) => {}
            Err(error) if crate::file_system::is_not_offered(&error) => {
                takes_direct = false;
                store_and_drop(file, blocks, offset)?;
            }
            Err(error) => return Err(error),
        }
    }
    if !rest.is_empty() {
        store_and_drop(file, rest, offset + whole as u64)?;
    }
    Ok(takes_direct)
}

fn store_and_drop(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    kernel::set_direct(file, false)?;
    kernel::write_all(file, bytes, offset)?;
    crate::write_behind::bring_to_disk_and_drop(file, offset..offset + bytes.len() as u64)
}
