//! Blocks of an upload reserved before its bytes come, where writing into reserved blocks costs less.
//!
//! ext4 allocates blocks late: each page that is written reserves its share, and the rename over an older file allocates and begins to
//! write all of them, so that a crash does not leave an empty file under the name. Into blocks that are reserved already a page goes
//! without that, for a fifth of an upload's processor time less. The rename then begins nothing, and it is done here.

use crate::file_system::FileSystem;
use crate::kernel;
use crate::shared::Shared;
use crate::{CachePolicy, Destination, TURN_BYTES_MAX, TransferError, TransferOptions};

/// What is reserved first, when an upload has shown that it is no small file. Further pieces are as long as the upload is by
/// then, up to the most.
const PIECE_BYTES_MIN: u64 = 4 << 20;
const PIECE_BYTES_MAX: u64 = 64 << 20;
/// Nothing is reserved where so many pieces have no room: others may need it before this upload does.
const PIECES_LEFT_MIN: u64 = 8;

/// What is reserved of one upload.
pub(crate) struct ReserveAhead {
    is_wanted: bool,
    replaces: bool,
    /// What the upload is known to have at least, and was reserved when it was opened.
    announced_until: u64,
    reserved_until: u64,
}

impl ReserveAhead {
    pub(crate) fn new(options: &TransferOptions, system: &FileSystem) -> ReserveAhead {
        let is_wanted = options.destination != Destination::InPlace
            && options.cache_policy == CachePolicy::Keep
            && system.allocates_late();
        let announced_until = if is_wanted { options.reserved_until } else { 0 };
        ReserveAhead {
            is_wanted,
            replaces: options.destination == Destination::ReplacesAnother,
            announced_until,
            reserved_until: announced_until,
        }
    }

    /// All before `until` is stored: reserves what comes next. It may wait for the disk, so another thread does it.
    pub(crate) async fn wrote(&mut self, file: &mut Shared<'_>, until: u64) -> Result<(), TransferError> {
        let next_turn = TURN_BYTES_MAX as u64;
        let is_enough = until <= self.announced_until || until + next_turn <= self.reserved_until;
        if !self.is_wanted || until < next_turn || is_enough {
            return Ok(());
        }
        let from = until.max(self.reserved_until);
        let bytes = until.clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
        let reserving = file.elsewhere(move |file| {
            // Whether there is room for what really comes, its writes will tell.
            let has_room = kernel::free_bytes(file).is_ok_and(|free| free >= PIECES_LEFT_MIN * bytes);
            if has_room && kernel::reserve(file, from, bytes).is_ok() {
                return Ok(true);
            }
            // A part may be reserved all the same.
            kernel::cut(file, until).map(|()| false)
        });
        self.is_wanted = reserving.await?.map_err(|error| TransferError::of_storage(&error))?;
        self.reserved_until = if self.is_wanted { from + bytes } else { until };
        Ok(())
    }

    /// All before `end` is stored, and nothing more comes: gives back what is reserved beyond it.
    pub(crate) async fn finish(&mut self, file: &mut Shared<'_>, end: u64) -> Result<(), TransferError> {
        if self.reserved_until == 0 {
            return Ok(());
        }
        let (is_more, replaces) = (self.reserved_until > end, self.replaces);
        let given_back = file.elsewhere(move |file| {
            if replaces {
                kernel::begin_write_back(file);
            }
            if is_more { kernel::cut(file, end) } else { Ok(()) }
        });
        given_back.await?.map_err(|error| TransferError::of_storage(&error))
    }
}
