//! What a name is: its kind, size, times and owner.

use std::io;
use std::os::fd::AsFd;

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::{FileStat, fstat};
use rustix::fs::{Statx, StatxFlags, makedev, statx};

use crate::path::RelativePath;
use crate::{Root, StorageError};

/// What kind of thing a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link itself.
    Symlink,
    /// A FIFO, a socket or a device.
    Other,
}

/// What the file system knows of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Its size in bytes; of no meaning for a client unless it is a file.
    pub size: u64,
    /// When its contents last changed, in seconds since 1970-01-01 00:00:00 UTC; negative before.
    pub modified_unix_seconds: i64,
    /// The permission bits, `0o7777` at most.
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
    /// The number of the user that owns it.
    pub owner: u32,
    /// The number of the group that owns it.
    pub group: u32,
    /// The file system that it is on.
    pub device: u64,
    /// Its number on that file system.
    pub inode: u64,
}

impl Kind {
    fn of_mode(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::File,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            _ => Self::Other,
        }
    }
}

impl From<&FileStat> for Facts {
    // Some of these fields are narrower on other processors than on this one.
    #[allow(clippy::useless_conversion)]
    fn from(status: &FileStat) -> Self {
        Self {
            kind: Kind::of_mode(status.st_mode),
            size: u64::try_from(status.st_size).unwrap_or(0),
            modified_unix_seconds: status.st_mtime,
            mode: status.st_mode & 0o7777,
            links: u64::from(status.st_nlink),
            owner: status.st_uid,
            group: status.st_gid,
            device: status.st_dev,
            inode: status.st_ino,
        }
    }
}

impl From<&Statx> for Facts {
    fn from(status: &Statx) -> Self {
        Self {
            kind: Kind::of_mode(status.stx_mode.into()),
            size: status.stx_size,
            modified_unix_seconds: status.stx_mtime.tv_sec,
            mode: u32::from(status.stx_mode) & 0o7777,
            links: status.stx_nlink.into(),
            owner: status.stx_uid,
            group: status.stx_gid,
            device: makedev(status.stx_dev_major, status.stx_dev_minor),
            inode: status.stx_ino,
        }
    }
}

impl Facts {
    /// The facts of an open file or directory as the kernel knows them, without asking a daemon or a server whether they still hold.
    pub(crate) fn known(descriptor: impl AsFd) -> Result<Self, StorageError> {
        let flags = rustix::fs::AtFlags::EMPTY_PATH | rustix::fs::AtFlags::STATX_DONT_SYNC;
        let known = statx(descriptor, c"", flags, StatxFlags::BASIC_STATS);
        Ok(Self::from(&known.map_err(io::Error::from)?))
    }

    /// Passes a regular file, and says what is wrong with anything else.
    pub(crate) fn require_file(&self) -> Result<(), StorageError> {
        match self.kind {
            Kind::File => Ok(()),
            Kind::Directory => Err(StorageError::IsADirectory),
            Kind::Symlink | Kind::Other => Err(StorageError::NotRegular),
        }
    }
}

impl Root {
    /// The facts of what `path` leads to, symbolic links followed beneath the root.
    ///
    /// # Errors
    /// As the resolution gives: [`StorageError::NotFound`], [`StorageError::OutsideRoot`] and the like.
    pub fn facts(&self, path: &[u8]) -> Result<Facts, StorageError> {
        self.facts_at(RelativePath::of(path)?.as_bytes())
    }

    /// The same of a path that is relative to the root.
    pub(crate) fn facts_at(&self, path: &[u8]) -> Result<Facts, StorageError> {
        let descriptor = self.resolve(path, OFlag::O_PATH)?;
        self.kind_of_mount(&descriptor);
        Ok(Facts::from(&fstat(descriptor)?))
    }

    /// The facts of what `path` leads to as [`Root::facts`] gives them, where the kernel has the path cached and asks nobody.
    ///
    /// # Errors
    /// [`StorageError::WouldBlock`] where it has not; otherwise as [`Root::facts`].
    pub fn facts_cached(&self, path: &[u8]) -> Result<Facts, StorageError> {
        let descriptor = self.resolve_cached(RelativePath::of(path)?.as_bytes(), OFlag::O_PATH)?;
        Ok(Facts::from(&fstat(descriptor)?))
    }

    /// The facts of the name itself: those of the link where the last name is a symbolic link.
    ///
    /// # Errors
    /// As [`Root::facts`].
    pub fn link_facts(&self, path: &[u8]) -> Result<Facts, StorageError> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
        let descriptor = self.resolve(RelativePath::of(path)?.as_bytes(), flags)?;
        Ok(Facts::from(&fstat(descriptor)?))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn facts_are_those_of_the_file_system() {
        let scratch = Scratch::new();
        scratch.file("f", "12345");
        scratch.permit("f", 0o4640);
        scratch.root.set_modified(b"/f", -5).unwrap();
        let facts = scratch.root.facts(b"/f").unwrap();
        let metadata = std::fs::metadata(scratch.at("f")).unwrap();
        let expected = Facts {
            kind: Kind::File,
            size: 5,
            modified_unix_seconds: -5,
            mode: 0o4640,
            links: 1,
            owner: metadata.uid(),
            group: metadata.gid(),
            device: metadata.dev(),
            inode: metadata.ino(),
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn a_link_has_facts_of_its_own() {
        let scratch = Scratch::new();
        scratch.directory("d");
        scratch.link("to-directory", "d");
        scratch.link("dangling", "none");
        scratch.link("leaving", "/etc");
        scratch.fifo("fifo");
        let kind = |path: &[u8]| scratch.root.facts(path).map(|facts| facts.kind);
        let link_kind = |path: &[u8]| scratch.root.link_facts(path).map(|facts| facts.kind);
        assert_eq!(kind(b"/to-directory"), Ok(Kind::Directory));
        assert_eq!(kind(b"/dangling"), Err(StorageError::NotFound));
        assert_eq!(kind(b"/leaving"), Err(StorageError::OutsideRoot));
        assert_eq!(kind(b"/fifo"), Ok(Kind::Other));
        assert_eq!(kind(b"/"), Ok(Kind::Directory));
        for path in [&b"/to-directory"[..], b"/dangling", b"/leaving"] {
            assert_eq!(link_kind(path), Ok(Kind::Symlink));
        }
        assert_eq!(link_kind(b"/d"), Ok(Kind::Directory));
    }
}
