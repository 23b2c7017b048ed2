//! Changes to names and their attributes: directories made and removed, files removed, renamed, dated, and their
//! permission bits set.

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, renameat, renameat2};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, fstatat, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::path::RelativePath;
use crate::{Kind, Root, StorageError};

/// Whether a rename may take a name that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It may: what had the name is gone.
    Yes,
    /// It may not: a name that exists is [`StorageError::Exists`].
    No,
}

impl Root {
    /// Makes a directory, with the permission bits 0777 less the process's umask.
    ///
    /// # Errors
    /// [`StorageError::Exists`], or what the resolution and the file system give.
    pub fn make_directory(&self, path: &[u8]) -> Result<(), StorageError> {
        let (directory, name) = self.resolve_parent(RelativePath::of(path)?, StorageError::Exists)?;
        Ok(mkdirat(directory, name, Mode::S_IRWXU | Mode::S_IRWXG | Mode::S_IRWXO)?)
    }

    /// Removes an empty directory; a symbolic link to one is none.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`], [`StorageError::NotADirectory`], [`StorageError::Busy`] for the root and for mount
    /// points, or what the resolution and the file system give.
    pub fn remove_directory(&self, path: &[u8]) -> Result<(), StorageError> {
        let (directory, name) = self.resolve_parent(RelativePath::of(path)?, StorageError::Busy)?;
        match unlinkat(directory, name, UnlinkatFlags::RemoveDir) {
            // POSIX lets a file system say so.
            Err(Errno::EEXIST) => Err(StorageError::NotEmpty),
            result => Ok(result?),
        }
    }

    /// Removes a name that is not a directory: of a symbolic link the link itself.
    ///
    /// # Errors
    /// [`StorageError::IsADirectory`], or what the resolution and the file system give.
    pub fn remove_file(&self, path: &[u8]) -> Result<(), StorageError> {
        let (directory, name) = self.resolve_parent(RelativePath::of(path)?, StorageError::IsADirectory)?;
        Ok(unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Gives what is at `from` the name `to`. Links at the end of either path are not followed.
    ///
    /// A directory replaces an empty directory only, and a file never replaces a directory.
    ///
    /// # Errors
    /// [`StorageError::Exists`] with [`Replace::No`], [`StorageError::IntoItself`], [`StorageError::CrossDevice`],
    /// [`StorageError::NotEmpty`], [`StorageError::IsADirectory`], [`StorageError::NotADirectory`],
    /// [`StorageError::Busy`] for the root, or what the resolution and the file system give.
    pub fn rename(&self, from: &[u8], to: &[u8], replace: Replace) -> Result<(), StorageError> {
        let (from_directory, from_name) = self.resolve_parent(RelativePath::of(from)?, StorageError::Busy)?;
        let (to_directory, to_name) = self.resolve_parent(RelativePath::of(to)?, StorageError::Busy)?;
        if replace == Replace::No {
            let flags = RenameFlags::RENAME_NOREPLACE;
            match renameat2(&from_directory, from_name, &to_directory, to_name, flags) {
                // Either a directory into itself, or a file system that cannot do it in one step: the second is
                // done in two, which another process could come between.
                Err(Errno::EINVAL) => match fstatat(&to_directory, to_name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                    Err(Errno::ENOENT) => {}
                    result => {
                        return result.map_or_else(|errno| Err(errno.into()), |_| Err(StorageError::Exists));
                    }
                },
                result => return Ok(result?),
            }
        }
        match renameat(&from_directory, from_name, &to_directory, to_name) {
            Err(Errno::EINVAL) => Err(StorageError::IntoItself),
            Err(Errno::EEXIST) => Err(StorageError::NotEmpty),
            result => Ok(result?),
        }
    }

    /// Sets when the contents of `path` last changed, in seconds since 1970-01-01 00:00:00 UTC; the time of the last
    /// access stays. Symbolic links are followed beneath the root.
    ///
    /// A file system stores the nearest time that it can, which is given back.
    ///
    /// # Errors
    /// [`StorageError::PermissionDenied`] where the server's user does not own the file, or what the resolution gives.
    pub fn set_modified(&self, path: &[u8], unix_seconds: i64) -> Result<i64, StorageError> {
        let target = self.resolve_target(RelativePath::of(path)?)?;
        let modified = TimeSpec::new(unix_seconds, 0);
        // A link that takes the name's place meanwhile is dated itself, and not followed out of the root.
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(&target.directory, target.name.as_slice(), &TimeSpec::UTIME_OMIT, &modified, flags)?;
        Ok(target.facts()?.ok_or(StorageError::NotFound)?.modified_unix_seconds)
    }

    /// Sets the permission bits of `path`; symbolic links are followed beneath the root.
    ///
    /// Only the nine bits of `0o777` count, because a client has no business with setuid and setgid programs on the
    /// server's machine: a file loses those bits. A directory keeps the ones that it has, since setgid there is how
    /// groups share a tree, and the sticky bit keeps users from one another's files.
    ///
    /// # Errors
    /// [`StorageError::PermissionDenied`] where the server's user does not own the file, or what the resolution gives.
    pub fn set_mode(&self, path: &[u8], mode: u32) -> Result<(), StorageError> {
        let target = self.resolve_target(RelativePath::of(path)?)?;
        let facts = target.facts()?.ok_or(StorageError::NotFound)?;
        let kept = if facts.kind == Kind::Directory { facts.mode & 0o7000 } else { 0 };
        let mode = Mode::from_bits_truncate(mode & 0o777 | kept);
        Ok(fchmodat(&target.directory, target.name.as_slice(), mode, FchmodatFlags::NoFollowSymlink)?)
    }

    /// Checks that `path` is a directory that may be entered (searched).
    ///
    /// # Errors
    /// [`StorageError::NotADirectory`], [`StorageError::PermissionDenied`], or what the resolution gives.
    pub fn enter_directory(&self, path: &[u8]) -> Result<(), StorageError> {
        let directory = self.resolve(&inside(path)?, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        self.kind_of_mount(&directory);
        Ok(())
    }

    /// Checks as [`Root::enter_directory`] does, where the kernel has the path cached and asks nobody.
    ///
    /// # Errors
    /// [`StorageError::WouldBlock`] where it has not; otherwise as [`Root::enter_directory`].
    pub fn enter_directory_cached(&self, path: &[u8]) -> Result<(), StorageError> {
        self.resolve_cached(&inside(path)?, OFlag::O_PATH | OFlag::O_DIRECTORY).map(drop)
    }
}

/// `path` and `/.`: looking up `.` needs the right to search the directory, so that one call checks both.
fn inside(path: &[u8]) -> Result<Vec<u8>, StorageError> {
    Ok([RelativePath::of(path)?.as_bytes(), b"/."].concat())
}

#[cfg(test)]
mod tests;
