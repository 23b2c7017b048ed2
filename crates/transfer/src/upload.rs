//! Socket to file.

use std::fs::File;

use runtime::Stream;

use crate::ascii::FromNetwork;
use crate::cache::PAGE_BYTES_MIN;
use crate::disk_side::DiskSide;
use crate::file_system::FileSystem;
use crate::pace::Pace;
use crate::plan::{CacheState, Direction, TransferFacts, TransferType, plan};
use crate::routes::{Received, copy, direct, splice};
use crate::shared::Shared;
use crate::{CachePolicy, Progress, Route, TransferError, TransferOptions};

/// Stores what the peer sends, from `offset` of the file on, until it ends its side; gives the number of bytes that
/// came over the network.
///
/// The file has to be open for writing and without `O_APPEND`. It is neither truncated nor synced here. With
/// [`CachePolicy::Direct`] its `O_DIRECT` is switched meanwhile, and off in the end. That the
/// peer has ended its side does not tell whether it meant to: FTP cannot tell a finished upload from one whose
/// client died, and only the control connection knows more.
///
/// Dropping the future ends the transfer: what was stored stays, and what another thread was just writing is still
/// written.
///
/// # Errors
///
/// [`TransferError`]. What arrived before it may be in the file in part.
pub async fn upload(
    stream: &Stream,
    file: &File,
    offset: u64,
    options: TransferOptions,
    progress: &Progress,
) -> Result<u64, TransferError> {
    let TransferOptions { transfer_type, route: preference, cache_policy, .. } = options;
    let mut file = Shared::new(file);
    let system = FileSystem::of(&mut file).await?;
    let facts = TransferFacts {
        direction: Direction::Upload,
        transfer_type,
        size: None,
        encrypted: false,
        file_system: Some(system.kind()),
        cache: CacheState::Used,
        cache_policy,
        preference,
    };
    if !offset.is_multiple_of(PAGE_BYTES_MIN) {
        file.first_write_reads();
    }
    let mut pace = Pace::new(progress, &options);
    let route = plan(&facts);
    pace.takes(route);
    if cache_policy == CachePolicy::Direct && facts.is_image() {
        return direct::receive(stream, &mut file, offset, &mut pace).await;
    }
    let mut disk = DiskSide::new(&options, &system, offset);
    let mut received = 0;
    if let Some(half) = route.file_half() {
        match splice::receive(stream, &mut file, &system, offset, half, &mut disk, &mut pace).await? {
            Received::All(bytes) => {
                disk.finish(&mut file).await?;
                return Ok(bytes);
            }
            Received::SoFar(bytes) => received = bytes,
        }
        pace.takes(Route::Copy);
    }
    let lines = match transfer_type {
        TransferType::Ascii => Some(FromNetwork::new()),
        TransferType::Image => None,
    };
    received +=
        copy::receive(stream, &mut file, &system, offset + received, lines, &mut disk, &mut pace).await?;
    disk.finish(&mut file).await?;
    Ok(received)
}
