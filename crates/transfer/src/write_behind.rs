//! Uploads that leave nothing in the page cache: what is stored is brought to the disk and dropped, some mebibytes behind.

use std::fs::File;
use std::io;
use std::ops::Range;

use runtime::{BlockingError, Task};
use storage::FileSystemKind;

use crate::file_system::is_not_offered;
use crate::kernel;
use crate::shared::Shared;
use crate::{CachePolicy, TransferError};

/// Bytes that are brought to the disk at once. Twice as many are in the page cache for one upload, at most: one such piece
/// on its way to the disk, and one growing.
const PIECE_BYTES: u64 = 8 << 20;

/// What one upload has stored and not yet dropped.
pub(crate) struct WriteBehind {
    is_wanted: bool,
    is_stacked: bool,
    /// Where the next piece begins.
    from: u64,
    until: u64,
    piece: Option<Task<Result<io::Result<()>, BlockingError>>>,
}

impl WriteBehind {
    pub(crate) fn new(policy: CachePolicy, kind: FileSystemKind, offset: u64) -> WriteBehind {
        WriteBehind {
            // In memory there is nowhere to drop it to.
            is_wanted: policy != CachePolicy::Keep && kind != FileSystemKind::Memory,
            is_stacked: kind == FileSystemKind::Stacked,
            from: offset,
            until: offset,
            piece: None,
        }
    }

    /// All before `until` is stored. Waits while the disk is more than a piece behind, which bounds what is not yet there.
    pub(crate) async fn wrote(&mut self, file: &mut Shared<'_>, until: u64) -> Result<(), TransferError> {
        self.until = until;
        if self.is_wanted && self.until - self.from >= PIECE_BYTES {
            self.begin_piece(file).await?;
        }
        Ok(())
    }

    /// Brings the rest to the disk.
    pub(crate) async fn finish(&mut self, file: &mut Shared<'_>) -> Result<(), TransferError> {
        if self.is_wanted && self.until > self.from {
            self.begin_piece(file).await?;
        }
        self.end_piece().await
    }

    async fn begin_piece(&mut self, file: &mut Shared<'_>) -> Result<(), TransferError> {
        self.end_piece().await?;
        let piece = self.from..self.until;
        self.from = self.until;
        let is_stacked = self.is_stacked;
        self.piece = Some(runtime::spawn(file.begin_elsewhere(move |file| {
            if is_stacked {
                // The pages are those of the layer below, which a range cannot be brought to the disk through.
                file.sync_data()?;
            }
            bring_to_disk_and_drop(file, piece)
        })?));
        Ok(())
    }

    async fn end_piece(&mut self) -> Result<(), TransferError> {
        let Some(piece) = self.piece.take() else { return Ok(()) };
        let brought = piece.await.map_err(|_| TransferError::Internal("writing behind was stopped"))?;
        brought?.map_err(|error| TransferError::of_storage(&error))
    }
}

/// Brings a range to the disk, waits for it, and lets the page cache forget it.
///
/// Only what is on the disk and has whole pages is forgotten: the range is taken a page wider at its beginning.
pub(crate) fn bring_to_disk_and_drop(file: &File, range: Range<u64>) -> io::Result<()> {
    match kernel::write_back(file, &range) {
        Ok(()) => {}
        Err(error) if is_not_offered(&error) || error.raw_os_error() == Some(libc::ESPIPE) => return Ok(()),
        Err(error) => return Err(error),
    }
    let page_bytes = kernel::page_bytes() as u64;
    let start = range.start - range.start % page_bytes;
    kernel::wont_need(file, start, range.end.next_multiple_of(page_bytes) - start);
    Ok(())
}
