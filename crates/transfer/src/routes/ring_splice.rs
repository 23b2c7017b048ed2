//! The file's half of a splice, on the kernel's own threads.
//!
//! The socket's half stays with the core: it never waits, and a ring would only say that the socket is not ready. On
//! the epoll backend the file's half runs on a thread of this process.

use std::io;

use runtime::Places;
use runtime::splice::{SpliceEnd, splice};

use crate::TransferError;
use crate::kernel::injection::{Call, allowed};
use crate::pipe::Pipe;
use crate::shared::Shared;

/// Takes at most `count` bytes from `offset` of the file into the pipe; 0 at the file's end.
///
/// Dropped in the middle, the pipe is closed once the kernel is done with it.
pub(super) async fn fill(
    pipe: &mut Pipe,
    file: &mut Shared<'_>,
    offset: u64,
    count: usize,
) -> Result<io::Result<usize>, TransferError> {
    let from = SpliceEnd { descriptor: file.handle()?, offset: Some(offset) };
    let to = SpliceEnd { descriptor: pipe.writer(), offset: None };
    let moved = moved(from, to, count.min(pipe.capacity()), &file.places()?).await;
    if let Ok(bytes) = moved {
        pipe.filled_by(bytes);
    }
    Ok(moved)
}

/// Writes all that is in the pipe to `offset` of the file. On an error the rest stays in the pipe.
pub(super) async fn empty(
    pipe: &mut Pipe,
    file: &mut Shared<'_>,
    mut offset: u64,
) -> Result<io::Result<()>, TransferError> {
    while pipe.filled() > 0 {
        let from = SpliceEnd { descriptor: pipe.reader(), offset: None };
        let to = SpliceEnd { descriptor: file.handle()?, offset: Some(offset) };
        match moved(from, to, pipe.filled(), &file.places()?).await {
            Ok(0) => return Ok(Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                pipe.emptied(written);
                offset += written as u64;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

/// One operation; again if it was interrupted.
async fn moved(from: SpliceEnd, to: SpliceEnd, count: usize, places: &Places) -> io::Result<usize> {
    loop {
        let moved = match allowed(Call::RingSplice, count) {
            Ok(count) => {
                splice(from.clone(), to.clone(), u32::try_from(count).unwrap_or(u32::MAX), places).await
            }
            Err(error) => Err(error),
        };
        match moved {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            moved => return moved,
        }
    }
}
