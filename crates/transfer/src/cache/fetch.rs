//! Bringing a range into the page cache, on a thread that may wait.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime::{BlockingError, Task, sleep_until};

use crate::TransferError;
use crate::kernel;
use crate::pace::Pace;
use crate::shared::Shared;

/// Bytes read at once where there is no device that throws them away.
const SCRATCH_BYTES: usize = 128 << 10;

/// How long a transfer waits for a descriptor, and how often it looks for one.
const DESCRIPTOR_WAIT_MAX: Duration = Duration::from_secs(30);
const DESCRIPTOR_LOOK_EVERY: Duration = Duration::from_millis(50);

/// Fetches of all workers that are not over.
static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// Whether pages may be in the page cache whose bytes are still to come from the disk.
pub(super) fn is_any_under_way() -> bool {
    UNDER_WAY.load(Ordering::Relaxed) > 0
}

/// One fetch, counted until it is over, which may be later than that anybody waits for it.
pub(super) struct UnderWay(());

impl UnderWay {
    pub(super) fn begin() -> UnderWay {
        UNDER_WAY.fetch_add(1, Ordering::Relaxed);
        UnderWay(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A range on its way into the page cache. Dropped, it is given up, or comes to its end by itself if it has begun.
pub(crate) struct Fetching {
    range: Range<u64>,
    task: Task<Result<io::Result<u64>, BlockingError>>,
}

impl Fetching {
    /// Begins to fetch, while the caller goes on.
    pub(crate) fn begin(file: &mut Shared<'_>, range: Range<u64>) -> Result<Fetching, TransferError> {
        let wanted = range.clone();
        let under_way = UnderWay::begin();
        let task = runtime::spawn(file.begin_elsewhere(move |file| {
            let brought = bring(file, wanted);
            drop(under_way);
            brought
        })?);
        Ok(Fetching { range, task })
    }

    /// Begins to fetch. Where there is no descriptor left for the other thread, other transfers end and give some back: that is
    /// waited for, and a transfer that has begun is not lost for it.
    pub(crate) async fn begin_in_time(
        file: &mut Shared<'_>,
        range: Range<u64>,
    ) -> Result<Fetching, TransferError> {
        let give_up_at = Instant::now() + DESCRIPTOR_WAIT_MAX;
        loop {
            match Fetching::begin(file, range.clone()) {
                Err(TransferError::Resources(_)) if Instant::now() < give_up_at => {
                    sleep_until(Instant::now() + DESCRIPTOR_LOOK_EVERY).await;
                }
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// Waits for it; gives the end of what was fetched, which is before the range's if the file ends there.
    pub(crate) async fn done(mut self, pace: &mut Pace<'_>) -> Result<u64, TransferError> {
        let fetched = (&mut self.task).await;
        pace.excuse();
        let fetched = fetched.map_err(|_| TransferError::Internal("a fetch was stopped"))?;
        fetched?.map_err(|error| TransferError::of_storage(&error))
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a range; gives the end of what there is of it. The bytes go nowhere: the page cache has them.
pub(super) fn bring(file: &File, range: Range<u64>) -> io::Result<u64> {
    // One request for all of it: the reads that follow would make smaller ones.
    kernel::will_need(file, range.start, range.end - range.start);
    let Some(nowhere) = nowhere() else { return read_through(file, range) };
    let mut offset = range.start;
    while offset < range.end {
        let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
        match kernel::bring(nowhere, file, offset, left) {
            Ok(0) => break,
            Ok(brought) => offset += brought as u64,
            Err(error) if crate::file_system::is_not_offered(&error) => {
                return read_through(file, offset..range.end);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(offset)
}

/// The same with a copy.
fn read_through(file: &File, range: Range<u64>) -> io::Result<u64> {
    let mut scratch = vec![0; SCRATCH_BYTES];
    let mut offset = range.start;
    while offset < range.end {
        match kernel::read(file, &mut scratch, offset)? {
            0 => break,
            read => offset += read as u64,
        }
    }
    Ok(offset.min(range.end))
}

/// The device that throws everything away, if this process may see it.
fn nowhere() -> Option<&'static File> {
    static NOWHERE: OnceLock<Option<File>> = OnceLock::new();
    NOWHERE.get_or_init(|| OpenOptions::new().write(true).open("/dev/null").ok()).as_ref()
}
