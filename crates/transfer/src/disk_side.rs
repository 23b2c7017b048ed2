//! What happens to an upload's file beside the writes.

use crate::file_system::FileSystem;
use crate::reserve_ahead::ReserveAhead;
use crate::shared::Shared;
use crate::write_behind::WriteBehind;
use crate::{TransferError, TransferOptions};

/// What is done with the file before the bytes that come, and behind those that are stored.
pub(crate) struct DiskSide {
    ahead: ReserveAhead,
    behind: WriteBehind,
    until: u64,
}

impl DiskSide {
    pub(crate) fn new(options: &TransferOptions, system: &FileSystem, offset: u64) -> DiskSide {
        DiskSide {
            ahead: ReserveAhead::new(options, system),
            behind: WriteBehind::new(options.cache_policy, system.kind(), offset),
            until: offset,
        }
    }

    /// All before `until` is stored.
    pub(crate) async fn wrote(&mut self, file: &mut Shared<'_>, until: u64) -> Result<(), TransferError> {
        self.until = until;
        self.behind.wrote(file, until).await?;
        self.ahead.wrote(file, until).await
    }

    /// Nothing more comes.
    pub(crate) async fn finish(&mut self, file: &mut Shared<'_>) -> Result<(), TransferError> {
        self.behind.finish(file).await?;
        self.ahead.finish(file, self.until).await
    }
}
