//! Opening a file to send it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, fstat};

use crate::path::RelativePath;
use crate::{Facts, FileSystemKind, Root, StorageError};

/// A regular file, open for reading, with what was known of it when it was opened.
#[derive(Debug)]
pub struct Download {
    /// The file; its own position is at 0 whatever the restart, since transfers pass their offset with each call.
    pub file: File,
    /// Its size in bytes when it was opened; it may change while it is sent.
    pub size: u64,
    /// Where sending starts: the restart position, at most `size`.
    pub offset: u64,
    /// Whether the file system notes the first read, unless it is mounted not to: so it does by the kernel's rule for access times
    /// (`relatime`) after each change of the file, and once a day.
    pub first_read_is_noted: bool,
    /// Whether closing the file may take long: a daemon or another machine is asked, or the last one to hold a large file whose
    /// name is gone frees its blocks.
    pub closing_waits: bool,
}

/// Files from this size on are closed where it may take long.
const LARGE_BYTES: u64 = 64 << 20;

const A_DAY_SECONDS: i64 = 24 * 3600;

/// `O_NONBLOCK` lets the opening of a FIFO return at once, and `O_NOCTTY` keeps a terminal from becoming the server's.
const DOWNLOAD_FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

impl AsFd for Download {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Root {
    /// Opens the file `path` for sending from byte `restart` on.
    ///
    /// The file is opened first and looked at then, which a FIFO cannot hold up. Opening a device node may do something (a
    /// watchdog starts, a tape rewinds); but only root puts device nodes into a tree, and a server that gave root up
    /// opens none that any program of its user could not. To look first would cost each download a second resolution.
    ///
    /// # Errors
    /// [`StorageError::IsADirectory`], [`StorageError::NotRegular`], [`StorageError::RestartBeyondEnd`], or what the
    /// resolution gives.
    pub fn open_download(&self, path: &[u8], restart: u64) -> Result<Download, StorageError> {
        let mut download = self.download(path, restart, Self::resolve)?;
        download.closing_waits |= self.kind_of_mount(&download.file).is_none_or(FileSystemKind::always_waits);
        Ok(download)
    }

    /// Opens the file as [`Root::open_download`] does, where the kernel has the path cached and asks nobody. Nobody is asked to
    /// close it either.
    ///
    /// # Errors
    /// [`StorageError::WouldBlock`] where it has not; otherwise as [`Root::open_download`].
    pub fn open_download_cached(&self, path: &[u8], restart: u64) -> Result<Download, StorageError> {
        self.download(path, restart, Self::resolve_cached)
    }

    fn download(
        &self,
        path: &[u8],
        restart: u64,
        resolve: impl Fn(&Self, &[u8], OFlag) -> Result<OwnedFd, StorageError>,
    ) -> Result<Download, StorageError> {
        let path = RelativePath::of(path)?.as_bytes();
        let descriptor = resolve(self, path, DOWNLOAD_FLAGS)?;
        let status = fstat(&descriptor)?;
        let facts = Facts::from(&status);
        facts.require_file()?;
        if restart > facts.size {
            return Err(StorageError::RestartBeyondEnd);
        }
        Ok(Download {
            file: File::from(descriptor),
            size: facts.size,
            offset: restart,
            first_read_is_noted: is_access_noted(&status, SystemTime::now()),
            closing_waits: facts.size >= LARGE_BYTES,
        })
    }
}

/// What the kernel's `relatime` asks of a file that is read.
fn is_access_noted(status: &FileStat, now: SystemTime) -> bool {
    let accessed = (status.st_atime, status.st_atime_nsec);
    let is_changed_since = accessed <= (status.st_mtime, status.st_mtime_nsec)
        || accessed <= (status.st_ctime, status.st_ctime_nsec);
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    is_changed_since
        || i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(status.st_atime) >= A_DAY_SECONDS
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn reads_are_noted_as_the_kernel_does() {
        let scratch = Scratch::new();
        scratch.file("f", b"contents");
        let now = SystemTime::now();
        let is_noted = |accessed: SystemTime| {
            let file = File::options().write(true).open(scratch.at("f")).unwrap();
            file.set_times(FileTimes::new().set_accessed(accessed).set_modified(now)).unwrap();
            scratch.root.open_download(b"/f", 0).unwrap().first_read_is_noted
        };
        assert!(is_noted(now - Duration::from_secs(1)), "it was changed since");
        assert!(!is_noted(now + Duration::from_secs(60)));
        let status = fstat(File::open(scratch.at("f")).unwrap()).unwrap();
        assert!(is_access_noted(&status, now + Duration::from_secs(2 * 24 * 3600)), "a day is over");
    }

    #[test]
    fn a_file_opens_at_its_restart_position() {
        let scratch = Scratch::new();
        scratch.file(b"n\xff\n", "0123456789");
        for restart in [0, 4, 10] {
            let mut download = scratch.root.open_download(b"/n\xff\n", restart).unwrap();
            assert_eq!((download.size, download.offset, download.closing_waits), (10, restart, false));
            let mut contents = String::new();
            download.file.read_to_string(&mut contents).unwrap();
            assert_eq!(contents, "0123456789");
        }
        assert_eq!(scratch.root.open_download(b"/n\xff\n", 11).unwrap_err(), StorageError::RestartBeyondEnd);
        assert_eq!(scratch.root.open_download(b"/none", 0).unwrap_err(), StorageError::NotFound);
    }

    #[test]
    fn a_restart_beyond_four_gibibytes_works() {
        let scratch = Scratch::new();
        let sparse = File::create(scratch.at("big")).unwrap();
        sparse.set_len(5 << 30).unwrap();
        let download = scratch.root.open_download(b"/big", 5 << 30).unwrap();
        assert_eq!((download.offset, download.closing_waits), (5 << 30, true), "it is large");
    }

    #[test]
    fn what_is_no_file_is_refused_and_never_waited_for() {
        let scratch = Scratch::new();
        scratch.directory("directory");
        scratch.fifo("fifo");
        let _listener = UnixListener::bind(scratch.at("socket")).unwrap();
        scratch.link("link", "fifo");
        let refusal = |path: &[u8]| scratch.root.open_download(path, 0).unwrap_err();
        assert_eq!(refusal(b"/directory"), StorageError::IsADirectory);
        assert_eq!(refusal(b"/"), StorageError::IsADirectory);
        assert_eq!(refusal(b"/fifo"), StorageError::NotRegular);
        assert_eq!(refusal(b"/link"), StorageError::NotRegular);
        assert_eq!(refusal(b"/socket"), StorageError::NotRegular);
        assert_eq!(refusal(b"/directory/none"), StorageError::NotFound);
        assert_eq!(refusal(b"/fifo/none"), StorageError::NotADirectory);
        let devices = Root::open(std::path::Path::new("/dev")).unwrap();
        assert_eq!(devices.open_download(b"/null", 0).unwrap_err(), StorageError::NotRegular);
    }
}
