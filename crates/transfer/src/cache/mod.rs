//! Keeps the core's thread from waiting for a disk: is a range in the page cache, and if not, fetch it elsewhere.

mod fetch;
mod read;
mod windows;

pub(crate) use read::read;
pub(crate) use windows::{Window, Windows};

use std::fs::File;
use std::io;
use std::ops::Range;

use storage::FileSystemKind;

use crate::kernel;

/// Bytes that are looked at, and fetched, at once, at most.
const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// The first window that is fetched, in bytes; each further one is twice as large, up to [`WINDOW_BYTES_MAX`]. The first
/// bytes should not wait for the last of a large window.
const FIRST_FETCH_BYTES: u64 = 256 << 10;
/// The smallest page of the supported architectures: with larger ones a range takes fewer, and a warm range may be
/// taken for a cold one, never the other way round.
pub(crate) const PAGE_BYTES_MIN: u64 = 4096;
/// What mincore(2) is asked about at once, in pages.
const WINDOW_PAGES_MAX: usize = (WINDOW_BYTES_MAX / PAGE_BYTES_MIN) as usize + 1;
/// Beyond the end of every file, and at a page's beginning whatever its size.
const NOWHERE: u64 = 1 << 62;

/// What the kernel says of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Residency {
    /// It can be sent without waiting.
    Warm,
    /// Not all of it can.
    Cold,
    /// It does not say.
    Untold,
}

/// How the kernel is asked whether a range of one file is in the page cache. Not of a file that a daemon or another machine has: to read
/// it and to let go of a mapping may both mean to ask them, and to wait.
///
/// | way | where | for 4 MiB |
/// | --- | --- | --- |
/// | cachestat(2) | Linux 6.5, and not on stacked file systems | 0.3 to 11 µs |
/// | mincore(2) on a mapping | files that this user owns or may write | 28 µs |
/// | reading the ends without waiting | older kernels, other people's files | 1 µs |
pub(crate) struct Probe {
    kind: FileSystemKind,
    /// Whether mincore tells the truth, once that was found out.
    mincore_tells: Option<bool>,
}

impl Probe {
    pub(crate) fn new(kind: FileSystemKind) -> Probe {
        Probe { kind, mincore_tells: None }
    }

    /// Whether a range of at most [`WINDOW_BYTES_MAX`] can be sent without waiting for the disk.
    pub(crate) fn ask(&mut self, file: &File, range: &Range<u64>) -> Residency {
        // Overlayfs keeps what it reads in the page cache of the layer below, and would say "nothing".
        if self.kind != FileSystemKind::Stacked
            && let Ok(known) = kernel::cachestat(file, range)
        {
            let are_there = known.cached >= pages(range, PAGE_BYTES_MIN);
            return Residency::warm_if(are_there && is_read(file, range));
        }
        if self.mincore_tells(file) {
            return Residency::warm_if(is_mapped(file, range));
        }
        match self.kind {
            FileSystemKind::Stacked => Residency::Untold,
            // Only what was swapped out has to be waited for.
            FileSystemKind::Memory => Residency::Warm,
            _ => Residency::warm_if(ends_are_cached(file, range)),
        }
    }

    /// Whether a range that was fetched just now can be sent without waiting. Where nothing can be told, that is assumed.
    pub(crate) fn keeps_what_was_fetched(&mut self, file: &File, range: &Range<u64>) -> bool {
        self.ask(file, range) != Residency::Cold
    }

    /// Whether mincore is for this user to ask: to others it says that everything is there, even what cannot be.
    fn mincore_tells(&mut self, file: &File) -> bool {
        *self.mincore_tells.get_or_insert_with(|| {
            let mut resident = [1];
            kernel::mincore(file, NOWHERE, kernel::page_bytes(), &mut resident).is_ok() && resident == [0]
        })
    }
}

impl Residency {
    fn warm_if(warm: bool) -> Residency {
        if warm { Residency::Warm } else { Residency::Cold }
    }
}

/// Pages that a range touches.
fn pages(range: &Range<u64>, page_bytes: u64) -> u64 {
    range.end.div_ceil(page_bytes) - range.start / page_bytes
}

/// Whether mincore finds all pages of a range.
fn is_mapped(file: &File, range: &Range<u64>) -> bool {
    let page_bytes = kernel::page_bytes();
    let mut resident = [0; WINDOW_PAGES_MAX];
    let Some(resident) =
        usize::try_from(pages(range, page_bytes as u64)).ok().and_then(|pages| resident.get_mut(..pages))
    else {
        return false;
    };
    let start = range.start - range.start % page_bytes as u64;
    kernel::mincore(file, start, page_bytes, resident).is_ok() && resident.iter().all(|page| page & 1 == 1)
}

/// Whether what is in the page cache has come from the disk, too: cachestat counts pages from the moment on at which their read
/// begins. It is looked for at the range's ends, and, while this process fetches something, at every [`FIRST_FETCH_BYTES`], which no
/// fetch is shorter than: a seldom read that another process has under way in the middle of a range is not found.
fn is_read(file: &File, range: &Range<u64>) -> bool {
    let reaches = |offset| match kernel::read_cached(file, &mut [0], offset) {
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        Ok(_) => true,
    };
    let step = if fetch::is_any_under_way() { FIRST_FETCH_BYTES } else { WINDOW_BYTES_MAX };
    (pages(range, PAGE_BYTES_MIN) == 1 || reaches(range.end - 1))
        && range.clone().step_by(usize::try_from(step).unwrap_or(usize::MAX)).all(reaches)
}

/// Reads a byte of the first and of the last page if that needs no waiting.
fn ends_are_cached(file: &File, range: &Range<u64>) -> bool {
    let cached = |offset| {
        let mut byte = [0];
        // At the end of a file that shrank nothing is read, and nothing has to be waited for.
        kernel::read_cached(file, &mut byte, offset).is_ok()
    };
    cached(range.start) && (pages(range, PAGE_BYTES_MIN) == 1 || cached(range.end - 1))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::kernel::injection::{Call, Fault, Script};

    #[test]
    fn ranges_are_counted_in_touched_pages() {
        assert_eq!(pages(&(0..1), 4096), 1);
        assert_eq!(pages(&(0..4096), 4096), 1);
        assert_eq!(pages(&(4095..4097), 4096), 2);
        assert_eq!(pages(&(8191..8192), 4096), 1);
    }

    /// On a disk: what only memory holds is never cold.
    fn file_on_a_disk(bytes: &[u8]) -> File {
        let directory = std::env::current_exe().expect("this test's own path");
        let file = tempfile::tempfile_in(directory.parent().expect("its directory")).expect("a file");
        file.write_all_at(bytes, 0).expect("written");
        file.sync_all().expect("synced");
        file
    }

    /// Every way of asking gives the same answers.
    #[test]
    fn a_file_is_warm_once_it_was_read() {
        let refused = |call| (call, Fault::Fails(nix::errno::Errno::ENOSYS));
        let ways = [
            ("cachestat", vec![]),
            ("mincore", vec![refused(Call::Cachestat); 9]),
            ("the ends", [vec![refused(Call::Cachestat); 9], vec![refused(Call::Mincore); 9]].concat()),
        ];
        for (way, faults) in ways {
            Script::new(faults).begin();
            let file = file_on_a_disk(&[7; 3 * 4096 + 1]);
            let whole = 0..3 * 4096 + 1;
            let mut probe = Probe::new(FileSystemKind::Disk);
            assert_eq!(probe.ask(&file, &whole), Residency::Warm, "just written, by {way}");
            kernel::wont_need(&file, 0, 0);
            assert_eq!(probe.ask(&file, &whole), Residency::Cold, "dropped, by {way}");
            assert_eq!(fetch::bring(&file, whole.clone()).expect("fetched"), whole.end);
            assert_eq!(probe.ask(&file, &whole), Residency::Warm, "fetched, by {way}");
        }
        Script::new([]).begin();
    }

    #[test]
    fn what_is_being_read_is_not_warm() {
        let being_read = (Call::ReadCached, Fault::Fails(nix::errno::Errno::EAGAIN));
        let file = file_on_a_disk(&vec![7; 1 << 20]);
        let fetch = fetch::UnderWay::begin();
        for places_read in 0..=5 {
            let read = vec![(Call::ReadCached, Fault::GoesWell); places_read];
            Script::new(read.into_iter().chain([being_read])).begin();
            let expected = if places_read < 5 { Residency::Cold } else { Residency::Warm };
            assert_eq!(Probe::new(FileSystemKind::Disk).ask(&file, &(0..1 << 20)), expected);
        }
        drop(fetch);
        Script::new([]).begin();
    }

    #[test]
    fn a_range_in_the_middle_is_asked_about_alone() {
        let file = file_on_a_disk(&vec![7; 64 * 4096]);
        kernel::wont_need(&file, 0, 0);
        kernel::read(&file, &mut [0; 10], 40 * 4096 + 4090).expect("read");
        assert!(is_mapped(&file, &(40 * 4096 + 4090..40 * 4096 + 4100)), "both pages that were touched");
    }

    /// The kernel's answer to whoever may not ask: all is there.
    #[test]
    fn a_mincore_that_lies_is_not_believed() {
        let file = File::open("/proc/self/exe").expect("this program");
        let mut probe = Probe::new(FileSystemKind::Stacked);
        probe.mincore_tells = Some(false);
        assert_eq!(probe.ask(&file, &(0..4096)), Residency::Untold);
        assert!(probe.keeps_what_was_fetched(&file, &(0..4096)));
    }
}
