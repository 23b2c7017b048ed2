//! File to socket.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use runtime::{Elapsed, Stream, timeout_at};

use crate::ascii::ToNetwork;
use crate::cache::Probe;
use crate::file_system::FileSystem;
use crate::pace::Pace;
use crate::plan::{CacheState, Direction, Route, RoutePreference, TransferFacts, TransferType, plan};
use crate::routes::splice::FileHalf;
use crate::routes::{Sent, copy, sendfile, splice};
use crate::shared::Shared;
use crate::{Progress, TransferError, TransferOptions};

/// Bytes that wait in the kernel for a peer whose transfer has a limit, beyond those that are on their way to it.
const UNSENT_MAX: u32 = 256 << 10;

/// Sends a range of a file and gives the number of bytes that went over the network.
///
/// The range is in bytes of the file, in TYPE A too. All bytes are with the kernel when this returns; the caller
/// closes the connection at once, by [`close_delivered`], for the kernel may wait for that to send the last of them together with
/// the connection's end. `stream` must not have other writers meanwhile.
///
/// Dropping the future ends the transfer: what was sent was sent.
///
/// # Errors
///
/// [`TransferError`]; [`SourceShrank`](TransferError::SourceShrank) if the file ends before the range does.
pub async fn download(
    file: &File,
    range: Range<u64>,
    stream: &Stream,
    options: TransferOptions,
    progress: &Progress,
) -> Result<u64, TransferError> {
    let TransferOptions { transfer_type, route: preference, cache_policy, .. } = options;
    let size = range.end.saturating_sub(range.start);
    let facts = TransferFacts {
        direction: Direction::Download,
        transfer_type,
        size: Some(size),
        encrypted: false,
        file_system: None,
        cache: CacheState::Used,
        cache_policy,
        preference,
    };
    let mut file = Shared::new(file);
    let mut pace = Pace::new(progress, &options);
    let mut offset = range.start;
    let mut known = None;
    if options.first_read_is_noted && size > 0 {
        // Where it cannot be found out, a small file needs it not.
        known = FileSystem::of(&mut file).await.ok();
    }
    if let Some(system) = &known {
        system.note_read(&mut file, offset).await;
    }
    // A small file is over before anybody has asked what it lies on.
    if facts.is_image() && preference == RoutePreference::Planned && plan(&facts) == Route::Copy {
        pace.takes(Route::Copy);
        offset += copy::send_at_once(&file, &range, stream, &mut pace).await?;
    }
    if offset >= range.end {
        return Ok(size);
    }
    if options.limits.are_some() {
        // Else a peer that reads slowly would get megabytes of the limit that only wait for it. It helps, and is no need.
        let _ = stream.set_unsent_max(UNSENT_MAX);
    }
    let system = match known {
        Some(system) => system,
        None => FileSystem::of(&mut file).await?,
    };
    let facts = TransferFacts { file_system: Some(system.kind()), ..facts };
    if transfer_type == TransferType::Ascii {
        pace.takes(Route::Copy);
        let lines = Some(ToNetwork::new());
        return copy::send(&mut file, &system, range, stream, lines, &mut pace).await;
    }
    send_image(&mut file, &system, facts, offset..range.end, stream, &mut pace).await?;
    Ok(size)
}

/// Ends this side of a [`download`]'s connection, and waits until the peer has ended its own, or `deadline` has come. What it sends
/// meanwhile is thrown away.
///
/// # Errors
///
/// [`TransferError::PeerReset`] or [`TransferError::Network`]: what was sent last may not have reached the peer.
pub async fn peer_ends(stream: &Stream, deadline: Instant) -> Result<(), TransferError> {
    match timeout_at(deadline, stream.end_both()).await {
        Ok(ended) => ended.map_err(|error| TransferError::of_socket(&error)),
        Err(Elapsed) => Ok(()),
    }
}

/// Closes the connection of a [`download`], or of [`send_chunks`](crate::send_chunks), so that the peer gets all that was sent.
/// It waits only for a peer that has itself sent something, which is thrown away: until it has acknowledged everything.
///
/// # Errors
///
/// [`TransferError::PeerReset`], [`TransferError::Network`], or [`TransferError::Stalled`] if nothing more is acknowledged for
/// `patience`: what was sent last may not have reached the peer.
pub async fn close_delivered(stream: Stream, patience: Option<Duration>) -> Result<(), TransferError> {
    stream.close_delivered(patience).await.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut if error.raw_os_error().is_none() => TransferError::Stalled,
        _ => TransferError::of_socket(&error),
    })
}

/// Sends bytes as they are, by the route that is planned, and by the next best where that turns out not to lead on.
async fn send_image(
    file: &mut Shared<'_>,
    system: &FileSystem,
    facts: TransferFacts,
    range: Range<u64>,
    stream: &Stream,
    pace: &mut Pace<'_>,
) -> Result<(), TransferError> {
    let rest = |offset| offset..range.end;
    let mut route = plan(&facts);
    let mut offset = range.start;
    pace.takes(route);
    if route == Route::Sendfile {
        let probe = Probe::new(system.kind());
        match sendfile::send(file, probe, range.clone(), stream, pace).await? {
            Sent::All => return Ok(()),
            Sent::UpTo(reached) => (route, offset) = (Route::Copy, reached),
            Sent::Uncached(reached) => {
                route = plan(&TransferFacts { cache: CacheState::Bypassed, ..facts });
                offset = reached;
            }
        }
        pace.takes(route);
    }
    if let Some(half) = route.file_half() {
        match splice::send(file, system, rest(offset), stream, half, pace).await? {
            Sent::All => return Ok(()),
            Sent::UpTo(reached) | Sent::Uncached(reached) => offset = reached,
        }
        pace.takes(Route::Copy);
    }
    copy::send(file, system, rest(offset), stream, None, pace).await.map(drop)
}

impl Route {
    /// Where the file's half of a splice runs; of the other routes there is none.
    pub(crate) fn file_half(self) -> Option<FileHalf> {
        match self {
            Route::Splice => Some(FileHalf::Threads),
            Route::RingSplice => Some(FileHalf::Ring),
            Route::Sendfile | Route::Copy => None,
        }
    }
}
