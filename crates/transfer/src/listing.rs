//! Sending what is made on the way: listings.

use runtime::Stream;

use crate::kernel::Push;
use crate::pace::Pace;
use crate::routes::copy::send_all;
use crate::{ChunksError, Progress, Route, TransferOptions};

/// Sends the chunks that `next_chunk` gives until it gives none; gives the number of bytes sent.
///
/// A chunk is asked for when the one before is with the kernel, so that one is held at a time; a producer that may
/// block makes it with [`runtime::blocking()`]. The bytes are sent as they are, whatever the transfer type says: a
/// listing is written with the line ends of the network. Dropping the future ends the transfer.
///
/// # Errors
///
/// [`ChunksError::Producer`] with what the producer says, or [`ChunksError::Transfer`].
pub async fn send_chunks<E>(
    stream: &Stream,
    mut next_chunk: impl AsyncFnMut() -> Result<Option<Vec<u8>>, E>,
    options: TransferOptions,
    progress: &Progress,
) -> Result<u64, ChunksError<E>> {
    let mut pace = Pace::new(progress, &options);
    pace.takes(Route::Copy);
    let mut sent: u64 = 0;
    while let Some(chunk) = next_chunk().await.map_err(ChunksError::Producer)? {
        pace.excuse();
        send_all(stream, &chunk, 0, Push::Now, &mut pace).await?;
        sent += chunk.len() as u64;
    }
    Ok(sent)
}
