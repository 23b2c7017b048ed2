//! Reading into a buffer without waiting on the core's thread.

use std::io;
use std::ops::DerefMut;

use super::{Probe, Residency};
use crate::TransferError;
use crate::file_system::FileSystem;
use crate::kernel;
use crate::shared::Shared;

/// Bytes beyond what is read that the disk is told to bring as well.
const READ_AHEAD_BYTES: u64 = 8 << 20;

/// Reads into the buffer from `offset`: from the page cache here, or from the disk on another thread.
///
/// Gives the buffer back with the number of bytes, 0 at the file's end, and whether it was on another thread.
pub(crate) async fn read<B>(
    file: &mut Shared<'_>,
    system: &FileSystem,
    mut buffer: B,
    length: usize,
    offset: u64,
) -> Result<(B, usize, bool), TransferError>
where
    B: DerefMut<Target = [u8]> + Send + 'static,
{
    let length = length.min(buffer.len());
    // Before a read(2), a daemon or a server may be asked whether the file is still the same.
    if !system.reads_always_wait() {
        match kernel::read_cached(file.file(), &mut buffer[..length], offset) {
            Ok(read) => return Ok((buffer, read, false)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // It cannot be read so, and may be in the page cache all the same.
            Err(_) => {
                let range = offset..offset + length as u64;
                if Probe::new(system.kind()).ask(file.file(), &range) == Residency::Warm {
                    let read = kernel::read(file.file(), &mut buffer[..length], offset);
                    return Ok((buffer, read.map_err(|error| TransferError::of_storage(&error))?, false));
                }
            }
        }
    }
    let (buffer, read) = file
        .elsewhere(move |file| {
            kernel::will_need(file, offset, READ_AHEAD_BYTES);
            let read = kernel::read(file, &mut buffer[..length], offset);
            (buffer, read)
        })
        .await?;
    Ok((buffer, read.map_err(|error| TransferError::of_storage(&error))?, true))
}
