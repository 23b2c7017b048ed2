//! Digests of files for `HASH` and the `X` checksums, streamed off the cores' threads.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::thread;

use md5::Md5;
use protocol::command::HashAlgorithm;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512};

/// How many bytes are read at a time, and so how often the file's digest can be taken back.
const READ_BYTES: usize = 256 * 1024;

/// Why there is no digest.
#[derive(Debug)]
pub(crate) enum DigestError {
    /// It was taken back.
    Cancelled,
    /// The range does not lie within the file.
    BeyondEnd,
    /// The file became shorter while it was read.
    Shrank,
    /// The file could not be read.
    Io(io::Error),
}

/// The digest of the bytes from `start` to before `end` (the file's end where there is none), as lower-case hexadecimal, with
/// the end that it came to. Blocks; looks at `cancelled` between reads.
pub(crate) fn digest(
    algorithm: HashAlgorithm,
    mut file: File,
    start: u64,
    end: Option<u64>,
    cancelled: &AtomicBool,
) -> Result<(String, u64), DigestError> {
    let size = file.metadata().map_err(DigestError::Io)?.len();
    let end = end.unwrap_or(size);
    if start > end || end > size {
        return Err(DigestError::BeyondEnd);
    }
    file.seek(SeekFrom::Start(start)).map_err(DigestError::Io)?;
    let mut range = file.take(end - start);
    let hexadecimal = match algorithm {
        HashAlgorithm::Crc32 => {
            let mut crc = crc32fast::Hasher::new();
            for_each_chunk(&mut range, cancelled, |chunk| crc.update(chunk))?;
            format!("{:08x}", crc.finalize())
        }
        HashAlgorithm::Md5 => digest_with::<Md5>(&mut range, cancelled)?,
        HashAlgorithm::Sha1 => digest_with::<Sha1>(&mut range, cancelled)?,
        HashAlgorithm::Sha256 => digest_with::<Sha256>(&mut range, cancelled)?,
        HashAlgorithm::Sha512 => digest_with::<Sha512>(&mut range, cancelled)?,
    };
    // Else it would be told as the digest of bytes that are no more.
    if range.limit() > 0 {
        return Err(DigestError::Shrank);
    }
    Ok((hexadecimal, end))
}

fn digest_with<D: Digest>(range: impl Read, cancelled: &AtomicBool) -> Result<String, DigestError> {
    let mut hasher = D::new();
    for_each_chunk(range, cancelled, |chunk| hasher.update(chunk))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn for_each_chunk(
    mut range: impl Read,
    cancelled: &AtomicBool,
    mut take: impl FnMut(&[u8]),
) -> Result<(), DigestError> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        if cancelled.load(Ordering::Relaxed) {
            return Err(DigestError::Cancelled);
        }
        match range.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let _turn = Turn::wait();
                take(&buffer[..length]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DigestError::Io(error)),
        }
    }
}

/// The right to compute: no more do at a time than there are cores, however many wait for their disks.
struct Turn;

static TURNS_FREE: LazyLock<Mutex<usize>> =
    LazyLock::new(|| Mutex::new(thread::available_parallelism().map_or(1, NonZeroUsize::get)));
static TURN_ENDED: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Self {
        let free = TURNS_FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = TURN_ENDED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TURNS_FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        TURN_ENDED.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_of(contents: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(contents).unwrap();
        file
    }

    fn digest_of(algorithm: HashAlgorithm, start: u64, end: Option<u64>) -> String {
        digest(algorithm, file_of(b"123456789"), start, end, &AtomicBool::new(false)).unwrap().0
    }

    #[test]
    fn digests_are_the_published_ones() {
        assert_eq!(digest_of(HashAlgorithm::Crc32, 0, None), "cbf43926");
        assert_eq!(digest_of(HashAlgorithm::Md5, 0, None), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(digest_of(HashAlgorithm::Sha1, 0, None), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(
            digest_of(HashAlgorithm::Sha256, 0, None),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert!(digest_of(HashAlgorithm::Sha512, 0, None).starts_with("d9e6762dd1c8eaf6d61b3c6192fc408d"));
    }

    #[test]
    fn a_range_is_digested_alone() {
        let mut part = file_of(b"456");
        part.rewind().unwrap();
        let alone = digest(HashAlgorithm::Md5, part, 0, None, &AtomicBool::new(false)).unwrap();
        assert_eq!(digest_of(HashAlgorithm::Md5, 3, Some(6)), alone.0);
        assert_eq!(alone.1, 3);
    }

    #[test]
    fn what_lies_beyond_the_end_is_refused() {
        let past = digest(HashAlgorithm::Crc32, file_of(b"123"), 0, Some(4), &AtomicBool::new(false));
        assert!(matches!(past, Err(DigestError::BeyondEnd)));
        let backwards = digest(HashAlgorithm::Crc32, file_of(b"123"), 3, Some(2), &AtomicBool::new(false));
        assert!(matches!(backwards, Err(DigestError::BeyondEnd)));
    }

    #[test]
    fn a_file_that_shrinks_has_no_digest() {
        const BYTES: u64 = 1 << 40;
        let file = tempfile::tempfile().unwrap();
        file.set_len(BYTES).unwrap();
        // Its position is that of the reader.
        let mut same = file.try_clone().unwrap();
        thread::scope(|scope| {
            let never = AtomicBool::new(false);
            let reader = scope.spawn(move || digest(HashAlgorithm::Crc32, file, 0, None, &never));
            while same.stream_position().unwrap() == 0 {
                thread::yield_now();
            }
            same.set_len(1).unwrap();
            assert!(matches!(reader.join().unwrap(), Err(DigestError::Shrank)));
        });
    }

    #[test]
    fn it_can_be_taken_back() {
        let cancelled = digest(HashAlgorithm::Crc32, file_of(b"123"), 0, None, &AtomicBool::new(true));
        assert!(matches!(cancelled, Err(DigestError::Cancelled)));
    }
}
