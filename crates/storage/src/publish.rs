//! Publishing: the one step in which a received file takes its name.
//!
//! A kill before the step leaves the old file, a kill after it the new one. The only thing that can be left is a
//! hidden name, which [`Root::sweep_stale_uploads`](crate::Root::sweep_stale_uploads) removes.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, RenameFlags, openat, renameat, renameat2};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, fsync, linkat, syncfs, unlinkat};

use crate::path::random_upload_name;
use crate::succession::{Predecessor, set_mode};
use crate::upload::Place;
use crate::{StorageError, SyncPolicy, Upload};

/// How often a random hidden name is drawn again that is taken.
const RANDOM_NAME_TRIES_MAX: u32 = 16;

impl Upload {
    /// Gives the file its name. A file that is replaced passes on whose it is and who may do what with it, as far as this
    /// process may.
    ///
    /// # Errors
    /// [`StorageError::Exists`] where the upload may not replace and the name was taken meanwhile; otherwise what the
    /// file system gives. [`StorageError::NameLost`] where the file that was changed in place has no name any more. Nothing is left behind then, and the old file is untouched. With [`SyncPolicy::Full`], an
    /// error may also mean that the file has its name but the directory did not reach the disk.
    pub fn publish(mut self) -> Result<(), StorageError> {
        self.release_unused()?;
        match self.place {
            Place::Direct { .. } => self.require_name()?,
            Place::Unnamed | Place::Hidden { .. } if self.replaces => self.take_name_replacing()?,
            Place::Unnamed => link_unnamed(&self, &self.target.name)?,
            Place::Hidden { .. } | Place::Published => self.rename_hidden_to_new()?,
        }
        self.place = Place::Published;
        if self.sync_policy == SyncPolicy::Full {
            self.sync_directory()?;
        }
        Ok(())
    }

    /// Refuses what was written in place to a file that nobody can open any more.
    fn require_name(&self) -> Result<(), StorageError> {
        // The number of names alone is not to be believed: some file systems of FUSE always say that there is none.
        let has_none = fstat(&self.file)?.st_nlink == 0;
        if has_none && !self.has_its_name()? { Err(StorageError::NameLost) } else { Ok(()) }
    }

    /// Takes the name whether it is free or a file's.
    fn take_name_replacing(&mut self) -> Result<(), StorageError> {
        let mut predecessor = Predecessor::find(&self.target)?;
        if predecessor.is_none() && matches!(self.place, Place::Unnamed) {
            match link_unnamed(self, &self.target.name) {
                Err(Errno::EEXIST) => predecessor = Predecessor::find(&self.target)?,
                result => return Ok(result?),
            }
        }
        // A link to an unnamed file cannot replace: it gets a hidden name first, and the rename replaces.
        if matches!(self.place, Place::Unnamed) {
            self.take_hidden_name()?;
        }
        let Place::Hidden { name, mode } = &self.place else { return Err(StorageError::Busy) };
        match predecessor {
            Some(predecessor) => predecessor.bequeath(&self.file)?,
            None => set_mode(&self.file, *mode)?,
        }
        renameat(
            &self.target.directory,
            name.as_slice(),
            &self.target.directory,
            self.target.name.as_slice(),
        )?;
        Ok(())
    }

    /// Gives an unnamed file a hidden name, locked before anyone can see it.
    pub(crate) fn take_hidden_name(&mut self) -> Result<(), StorageError> {
        // Nobody else can hold a file without a name; where files cannot be locked, no sweep removes any.
        let _ = self.file.try_lock();
        let mode = Mode::from_bits_truncate(fstat(&self.file)?.st_mode & 0o777);
        for _ in 0..RANDOM_NAME_TRIES_MAX {
            let name = random_upload_name();
            match link_unnamed(self, &name) {
                Err(Errno::EEXIST) => {}
                result => {
                    result?;
                    self.place = Place::Hidden { name, mode };
                    return Ok(());
                }
            }
        }
        Err(StorageError::Busy)
    }

    /// Renames the hidden file to its final name, which must be free.
    fn rename_hidden_to_new(&self) -> Result<(), StorageError> {
        let Place::Hidden { name, mode } = &self.place else { return Ok(()) };
        set_mode(&self.file, *mode)?;
        let (directory, hidden, target) =
            (&self.target.directory, name.as_slice(), self.target.name.as_slice());
        match renameat2(directory, hidden, directory, target, RenameFlags::RENAME_NOREPLACE) {
            // A file system that cannot rename so; a hard link does not replace either.
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                match linkat(directory, hidden, directory, target, AtFlags::empty()) {
                    // It knows no links either. There is nothing better than to look first.
                    Err(Errno::EPERM | Errno::ENOSYS | Errno::EOPNOTSUPP) => {
                        if self.target.facts()?.is_some() {
                            return Err(StorageError::Exists);
                        }
                        return Ok(renameat(directory, hidden, directory, target)?);
                    }
                    result => result?,
                }
                // The file has its name now. A hidden one that stays is the next sweep's.
                let _ = unlinkat(directory, hidden, UnlinkatFlags::NoRemoveDir);
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// Waits until the new name is on the disk.
    fn sync_directory(&self) -> Result<(), StorageError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory: Result<OwnedFd, Errno> = openat(&self.target.directory, ".", flags, Mode::empty());
        match directory {
            Ok(directory) => Ok(fsync(directory)?),
            // A drop box: names may be made in it and not listed. Then the whole file system is synced.
            Err(Errno::EACCES) => Ok(syncfs(&self.file)?),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Names an unnamed file; fails with `EEXIST` where `name` is taken.
fn link_unnamed(upload: &Upload, name: &[u8]) -> Result<(), Errno> {
    match linkat(&upload.file, "", &upload.target.directory, name, AtFlags::AT_EMPTY_PATH) {
        // Kernels before 6.10 want a capability for that, and say that there is no such file; by `/proc` they do not.
        Err(Errno::ENOENT) => link_by_proc(upload, name),
        result => result,
    }
}

/// Names an unnamed file by the magic link of its descriptor.
fn link_by_proc(upload: &Upload, name: &[u8]) -> Result<(), Errno> {
    let descriptor = format!("/proc/self/fd/{}", upload.file.as_raw_fd());
    linkat(AT_FDCWD, descriptor.as_str(), &upload.target.directory, name, AtFlags::AT_SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UploadMode;
    use crate::testing::{Scratch, as_plain_user};

    #[test]
    fn an_unnamed_file_is_named_by_proc_too() {
        as_plain_user("publish::tests::an_unnamed_file_is_named_by_proc_too", |scratch: &Scratch| {
            let upload = scratch.root.open_upload(b"/f", UploadMode::New).unwrap();
            assert!(matches!(upload.place, Place::Unnamed));
            link_by_proc(&upload, b"f").unwrap();
            assert_eq!(link_by_proc(&upload, b"f"), Err(Errno::EEXIST));
            assert_eq!(scratch.names("."), ["f"]);
        });
    }
}
