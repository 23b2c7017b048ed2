//! The sweep: removes the hidden files of uploads whose server was killed.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::libc;
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::path::is_upload_name;
use crate::{Facts, Kind, Root, StorageError};

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// How many stale files were removed.
    pub removed: u64,
    /// How many hidden files were left alone: their upload lives, or they could not be removed.
    pub kept: u64,
    /// How many names were looked at.
    pub visited: u64,
    /// How many directories could not be read, vanished before they were, or lie deeper than a path can say.
    pub skipped: u64,
    /// Whether it was stopped before it had seen everything.
    pub cancelled: bool,
}

impl Root {
    /// Removes the hidden files that unfinished uploads left behind, everywhere beneath the root and on its mount.
    ///
    /// A file whose upload still lives, in this process or another, is locked by it and left alone. Symbolic links
    /// are not followed. Two descriptors are open at a time, however deep the tree; the memory held is for the paths
    /// of directories seen and not yet entered. Setting `cancelled` stops the sweep within one name.
    ///
    /// # Errors
    /// Only where the root itself cannot be read; directories beneath that cannot be are counted as skipped.
    pub fn sweep_stale_uploads(&self, cancelled: &AtomicBool) -> Result<SweepReport, StorageError> {
        let mut report = SweepReport::default();
        let mut pending = Vec::new();
        self.sweep_directory(b".", cancelled, &mut report, &mut pending)?;
        while let Some(path) = pending.pop() {
            if self.sweep_directory(&path, cancelled, &mut report, &mut pending).is_err() {
                report.skipped += 1;
            }
        }
        Ok(report)
    }

    /// Sweeps one directory's own names, and notes the directories in it.
    fn sweep_directory(
        &self,
        path: &[u8],
        cancelled: &AtomicBool,
        report: &mut SweepReport,
        pending: &mut Vec<Vec<u8>>,
    ) -> Result<(), StorageError> {
        if cancelled.load(Ordering::Relaxed) {
            report.cancelled = true;
            pending.clear();
            return Ok(());
        }
        let directory = self.resolve_same_mount(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        for entry in Dir::from_fd(directory.try_clone()?)? {
            if cancelled.load(Ordering::Relaxed) {
                report.cancelled = true;
                pending.clear();
                return Ok(());
            }
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            report.visited += 1;
            if is_upload_name(name) {
                match remove_if_stale(&directory, name) {
                    Ok(true) => report.removed += 1,
                    Ok(false) | Err(_) => report.kept += 1,
                }
            } else if is_directory(&directory, name, entry.file_type()) {
                pending.push([path, b"/", name].concat());
            }
        }
        Ok(())
    }
}

/// Whether `name` is a directory; asked of the file system where the listing does not say.
fn is_directory(directory: &OwnedFd, name: &[u8], listed: Option<Type>) -> bool {
    match listed {
        Some(kind) => kind == Type::Directory,
        None => fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|status| Facts::from(&status).kind == Kind::Directory),
    }
}

/// Removes `name` if it is a file that nobody holds a lock on.
fn remove_if_stale(directory: &OwnedFd, name: &[u8]) -> Result<bool, StorageError> {
    // A FIFO or a device of such a name is not an upload's, and is not even opened.
    let status = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Ok(false);
    }
    let file = open_to_lock(directory, name)?;
    // Held until the name is gone: an upload that has just made the file finds it locked or without a name, and takes
    // another.
    if file.try_lock().is_err() {
        return Ok(false);
    }
    unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
    Ok(true)
}

/// Opens a hidden file in whatever way its permission bits allow; over NFS an exclusive lock needs a writable one.
fn open_to_lock(directory: &OwnedFd, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(directory, name, OFlag::O_RDWR | flags, Mode::empty())
        .or_else(|_| openat(directory, name, OFlag::O_WRONLY | flags, Mode::empty()))
        .or_else(|_| openat(directory, name, OFlag::O_RDONLY | flags, Mode::empty()))
        .map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scratch, as_plain_user};

    const STALE: &str = ".ringftpd-upload-0123456789abcdef";

    fn sweep(root: &Root) -> SweepReport {
        root.sweep_stale_uploads(&AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn stale_files_are_removed_everywhere_and_nothing_else_is() {
        for scratch in Scratch::of_every_kind() {
            scratch.directory("d");
            scratch.directory(b"d/\xff\n");
            for directory in [&b""[..], b"d/", b"d/\xff\n/"] {
                scratch.file([directory, STALE.as_bytes()].concat(), "partial");
                scratch.file([directory, b".ringftpd-upload-notes"].concat(), "a person's own");
                scratch.file([directory, b"f"].concat(), "");
            }
            scratch.directory("e");
            scratch.directory(format!("e/{STALE}"));
            scratch.directory("g");
            scratch.fifo(format!("g/{STALE}"));
            scratch.directory("h");
            scratch.link(format!("h/{STALE}"), "../f");
            let report = sweep(&scratch.root);
            assert_eq!((report.removed, report.kept, report.skipped, report.cancelled), (3, 3, 0, false));
            assert_eq!(scratch.names("."), [".ringftpd-upload-notes", "d", "e", "f", "g", "h"]);
            assert_eq!(scratch.names(b"d/\xff\n"), [".ringftpd-upload-notes", "f"]);
            assert_eq!(sweep(&scratch.root).removed, 0);
        }
    }

    #[test]
    fn links_are_not_followed_out_of_the_root_nor_in_circles() {
        let scratch = Scratch::new();
        let outside = scratch.around().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join(STALE), "").unwrap();
        scratch.link("out", &outside);
        scratch.link("out-relative", "../outside");
        scratch.link("circle", ".");
        assert_eq!(sweep(&scratch.root), SweepReport { visited: 3, ..SweepReport::default() });
        assert!(outside.join(STALE).exists());
    }

    #[test]
    fn a_tree_deeper_than_a_path_can_say_is_swept_as_far_as_clients_reach() {
        let scratch = Scratch::new();
        let name = "d".repeat(200);
        let mut directory = scratch.root.resolve_directory(b".").unwrap();
        for _ in 0..30 {
            nix::sys::stat::mkdirat(&directory, name.as_str(), Mode::S_IRWXU).unwrap();
            directory = openat(&directory, name.as_str(), OFlag::O_PATH, Mode::empty()).unwrap();
        }
        let reachable = vec![name.as_str(); 19].join("/");
        scratch.file(format!("{reachable}/{STALE}"), "");
        let report = sweep(&scratch.root);
        assert_eq!((report.removed, report.skipped), (1, 1));
    }

    #[test]
    fn a_cancelled_sweep_stops() {
        let scratch = Scratch::new();
        scratch.file(STALE, "");
        let report = scratch.root.sweep_stale_uploads(&AtomicBool::new(true)).unwrap();
        assert_eq!(report, SweepReport { cancelled: true, ..SweepReport::default() });
        assert_eq!(scratch.names("."), [STALE]);
    }

    #[test]
    fn what_may_not_be_read_is_skipped_and_unreadable_files_are_removed() {
        as_plain_user(
            "sweep::tests::what_may_not_be_read_is_skipped_and_unreadable_files_are_removed",
            |scratch| {
                scratch.directory("closed");
                scratch.directory("d");
                scratch.file(format!("d/{STALE}"), "");
                scratch.permit(format!("d/{STALE}"), 0o200);
                scratch.permit("closed", 0o000);
                let report = sweep(&scratch.root);
                assert_eq!((report.removed, report.skipped), (1, 1));
                scratch.permit("closed", 0o700);
            },
        );
    }
}
