//! The route from the page cache to the socket.

use std::io;
use std::ops::Range;

use runtime::{Interest, Stream};

use super::Sent;
use crate::TransferError;
use crate::cache::{Probe, Window, Windows};
use crate::file_system::is_not_offered;
use crate::kernel;
use crate::pace::Pace;
use crate::shared::Shared;

/// Sends a range, window by window: made sure to be in the page cache first, so that the call never waits for the
/// disk, then sent without waiting for the peer.
pub(crate) async fn send(
    file: &mut Shared<'_>,
    probe: Probe,
    range: Range<u64>,
    stream: &Stream,
    pace: &mut Pace<'_>,
) -> Result<Sent, TransferError> {
    let mut windows = Windows::new(probe);
    let mut offset = range.start;
    while offset < range.end {
        // Tried before it is waited for: a small file goes in one call.
        let mut count = pace.ready(stream.source(), Interest::Writable, range.end - offset).await?;
        // Asked after the peer was waited for, which may have taken long.
        match windows.prepare(file, offset, range.end, pace).await? {
            Window::Warm { until } => {
                count = count.min(usize::try_from(until - offset).unwrap_or(usize::MAX));
            }
            Window::Ended => return Err(TransferError::SourceShrank { missing: range.end - offset }),
            Window::Bypassed => return Ok(Sent::Uncached(offset)),
        }
        let sent = stream
            .source()
            .try_io(Interest::Writable, |socket| kernel::sendfile(socket, file.file(), offset, count));
        match sent {
            Ok(0) => return Err(TransferError::SourceShrank { missing: range.end - offset }),
            Ok(sent) => {
                offset += sent as u64;
                pace.moved(sent);
                if sent < count {
                    stream.source().look_again(Interest::Writable);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_not_offered(&error) => return Ok(Sent::UpTo(offset)),
            Err(error) => return Err(TransferError::of_either(&error)),
        }
    }
    Ok(Sent::All)
}
