//! What the data engine knows of the file systems that its files lie on.
//!
//! To ask a file system for its type may mean to ask a daemon or a server and to wait for it. So a worker asks once for
//! each, on another thread, and remembers; which one a file is on, the kernel always knows at once.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::statfs::EXT4_SUPER_MAGIC;
use runtime::{Places, PlacesOf};
use storage::{FileSystemKind, MountId};

use crate::TransferError;
use crate::kernel;
use crate::shared::Shared;

/// A write of at most [`TURN_BYTES_MAX`](crate::TURN_BYTES_MAX) bytes into the page cache takes well under a
/// millisecond. One that takes longer was throttled by the kernel, because the disk is behind, or waited for it.
const QUICK: Duration = Duration::from_millis(2);
/// For so many times as long as a slow write took the next ones are made on another thread. If that write was made on the core's
/// own, then the core waits for disks for less than half a percent of its time.
const ELSEWHERE_FOR_TIMES: u32 = 256;
/// And for so long at most.
const ELSEWHERE_MAX: Duration = Duration::from_secs(60);
/// File systems that a worker remembers.
const REMEMBERED_MAX: usize = 64;

/// A mounted file system, as one worker knows it.
#[derive(Debug)]
pub(crate) struct FileSystem {
    kind: FileSystemKind,
    allocates_late: bool,
    notes_reads: bool,
    /// Until then writes are made on another thread. All uploads of the worker share it: the kernel holds back whoever writes to a
    /// disk that is behind, and one such wait of the core is enough.
    elsewhere_until: Rc<Cell<Option<Instant>>>,
    /// One that is slow, or hangs, has the threads of these places and no others.
    places: Places,
    /// For what is over soon, so that it does not wait behind what is read from the disk.
    places_for_trifles: Places,
}

/// For so long a kind is believed where the kernel may give the mount's name to another one.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

thread_local! {
    static REMEMBERED: RefCell<Vec<Remembered>> = const { RefCell::new(Vec::new()) };
    static PLACES: PlacesOf<MountId> = PlacesOf::default();
    static PLACES_FOR_TRIFLES: PlacesOf<MountId> = PlacesOf::default();
}

struct Remembered {
    mount: MountId,
    asked_at: Instant,
    system: Rc<FileSystem>,
}

fn remembered(mount: MountId) -> Option<Rc<FileSystem>> {
    REMEMBERED.with_borrow(|remembered| {
        let known = remembered.iter().find(|known| known.mount == mount)?;
        let is_believed = mount.is_unique() || known.asked_at.elapsed() < BELIEVED_FOR;
        is_believed.then(|| Rc::clone(&known.system))
    })
}

/// Remembers what was asked, but for what another transfer has found out meanwhile.
fn remember(mount: MountId, mut system: FileSystem) -> Rc<FileSystem> {
    if let Some(known) = remembered(mount) {
        return known;
    }
    REMEMBERED.with_borrow_mut(|remembered| {
        if let Some(old) = remembered.iter().position(|known| known.mount == mount) {
            // Whether its disk is behind, those learn together who knew it by then.
            system.elsewhere_until = Rc::clone(&remembered.remove(old).system.elsewhere_until);
        } else if remembered.len() == REMEMBERED_MAX {
            remembered.remove(0);
        }
        let system = Rc::new(system);
        remembered.push(Remembered { mount, asked_at: Instant::now(), system: Rc::clone(&system) });
        system
    })
}

impl FileSystem {
    fn new(kind: FileSystemKind, places: Places, places_for_trifles: Places) -> FileSystem {
        FileSystem {
            kind,
            allocates_late: false,
            notes_reads: false,
            elsewhere_until: Rc::default(),
            places,
            places_for_trifles,
        }
    }

    /// The file system that a file is on. One that cannot be found out is taken for one that always has to be waited for.
    pub(crate) async fn of(file: &mut Shared<'_>) -> Result<Rc<FileSystem>, TransferError> {
        let mount = kernel::mount_of(file.file()).ok();
        let system = match mount.and_then(remembered) {
            Some(known) => known,
            None => FileSystem::asked(mount, file).await?,
        };
        file.waits_in(&system.places);
        if system.kind.always_waits() {
            file.closing_waits();
        }
        Ok(system)
    }

    async fn asked(mount: Option<MountId>, file: &mut Shared<'_>) -> Result<Rc<FileSystem>, TransferError> {
        let (places, for_trifles) = match mount {
            Some(mount) => {
                (PLACES.with(|places| places.of(mount)), PLACES_FOR_TRIFLES.with(|places| places.of(mount)))
            }
            None => (file.places()?, file.places()?),
        };
        let Ok(mounted) = file.elsewhere_in(&for_trifles, kernel::mounted).await? else {
            return Ok(Rc::new(FileSystem::new(FileSystemKind::Network, places, for_trifles)));
        };
        let kind = FileSystemKind::of_type(mounted.kind);
        let known = FileSystem {
            allocates_late: mounted.kind == EXT4_SUPER_MAGIC,
            notes_reads: kind == FileSystemKind::Disk && mounted.notes_reads,
            ..FileSystem::new(kind, places, for_trifles)
        };
        Ok(match mount {
            Some(mount) => remember(mount, known),
            None => Rc::new(known),
        })
    }

    pub(crate) fn kind(&self) -> FileSystemKind {
        self.kind
    }

    /// Whether writing costs less where blocks were reserved before.
    pub(crate) fn allocates_late(&self) -> bool {
        self.allocates_late
    }

    /// Has it noted elsewhere that a file is read, if that may be a write, so that the reads that follow write nothing. Where that
    /// cannot be done, the first of them does it.
    pub(crate) async fn note_read(&self, file: &mut Shared<'_>, offset: u64) {
        if self.notes_reads {
            let read = move |file: &File| kernel::read(file, &mut [0], offset);
            let _ = file.elsewhere_in(&self.places_for_trifles, read).await;
        }
    }

    /// Whether a read(2) has to wait for somebody even where the page cache has the bytes.
    pub(crate) fn reads_always_wait(&self) -> bool {
        self.kind.always_waits()
    }

    /// Whether a write that begins now belongs on another thread.
    pub(crate) fn writes_elsewhere(&self, now: Instant) -> bool {
        self.kind.always_waits() || self.elsewhere_until.get().is_some_and(|until| now < until)
    }

    /// A write has taken this long.
    pub(crate) fn wrote(&self, began: Instant, took: Duration) {
        if took > QUICK {
            let until = began + took + (took * ELSEWHERE_FOR_TIMES).min(ELSEWHERE_MAX);
            self.elsewhere_until.set(self.elsewhere_until.get().max(Some(until)));
        }
    }

    /// Writes by `write`: here while that is quick, and on another thread while it is not, or where it may have to read first.
    ///
    /// The flag says whether it was on another thread.
    pub(crate) async fn written<T: Send + 'static>(
        &self,
        file: &mut Shared<'_>,
        write: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Result<(T, bool), TransferError> {
        let timed = move |file: &File| {
            let began = Instant::now();
            let outcome = write(file);
            (outcome, began, began.elapsed())
        };
        let elsewhere = file.take_first_write_reads() || self.writes_elsewhere(Instant::now());
        let (outcome, began, took) =
            if elsewhere { file.elsewhere(timed).await? } else { timed(file.file()) };
        self.wrote(began, took);
        Ok((outcome, elsewhere))
    }
}

/// The file system has no such operation.
pub(crate) fn is_not_offered(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_write_moves_the_next_ones_away_for_a_multiple_of_its_time() {
        let (disk, now) =
            (FileSystem::new(FileSystemKind::Disk, Places::default(), Places::default()), Instant::now());
        assert!(!disk.writes_elsewhere(now));
        disk.wrote(now, QUICK);
        assert!(!disk.writes_elsewhere(now));
        let slow = QUICK * 2;
        disk.wrote(now, slow);
        disk.wrote(now + slow, Duration::ZERO);
        let until = now + slow + slow * ELSEWHERE_FOR_TIMES;
        assert!(disk.writes_elsewhere(until - QUICK) && !disk.writes_elsewhere(until));
        disk.wrote(until, ELSEWHERE_MAX);
        disk.wrote(until, slow);
        let until = until + 2 * ELSEWHERE_MAX;
        assert!(disk.writes_elsewhere(until - QUICK) && !disk.writes_elsewhere(until));
    }

    #[test]
    fn who_always_waits_never_writes_here() {
        let now = Instant::now();
        for kind in [FileSystemKind::UserSpace, FileSystemKind::Network] {
            let system = FileSystem::new(kind, Places::default(), Places::default());
            assert!(system.writes_elsewhere(now) && system.writes_elsewhere(now + 2 * ELSEWHERE_MAX));
        }
    }
}
