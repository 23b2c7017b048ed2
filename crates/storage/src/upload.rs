//! Uploads: where the bytes of a STOR, STOU or APPE go before and until they have their name.
//!
//! A new or replacing file is written without a name (`O_TMPFILE`), or under a hidden one where the file system cannot
//! do that, and [`Upload::publish`] gives it its name in one step. What is appended or resumed is written in place.

use std::fs::{File, TryLockError};
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, fallocate, openat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{AccessFlags, Uid, UnlinkatFlags, close, faccessat, geteuid, unlinkat};

use crate::path::{RelativePath, random_digits, random_upload_name};
use crate::target::Target;
use crate::{Facts, FileSystemKind, Kind, Root, StorageError};

/// How often a random name is drawn again that is taken.
const RANDOM_NAME_TRIES_MAX: u32 = 16;

/// The longest name in bytes.
const NAME_BYTES_MAX: usize = 255;

/// How an upload treats the name that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadMode {
    /// STOR with the right to overwrite: the file that has the name stays whole until the new one is.
    Replace,
    /// STOR without that right: a name that exists is [`StorageError::Exists`], a symbolic link's too.
    New,
    /// APPE: in place, from the file's end on; a missing file is made.
    Append,
    /// STOR after REST (RFC 3659 section 5): in place, from this byte on, keeping what stands before and beyond. A
    /// missing file is made for 0, and is [`StorageError::NotFound`] for more.
    ResumeAt(u64),
    /// STOU: a new file with a name of the server's choice, in the directory that the path names, or where it names
    /// none, in its parent with the last name as the beginning of the new one.
    Unique,
}

/// How much of an upload is on the disk before its name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// No disk of this machine is waited for: its crash may lose the upload, and leave an empty or partial file under its
    /// name.
    None,
    /// The contents (fdatasync): what has its name after a crash is whole.
    Data,
    /// Contents, times and, after publishing, the directory: what was acknowledged has its name after a crash.
    Full,
}

/// A file that is being received. Dropped without [`Upload::publish`], it leaves nothing behind where it is new, and
/// the old file untouched where it was to be replaced; what was appended or resumed in place stays as far as it came.
#[derive(Debug)]
pub struct Upload {
    pub(crate) file: File,
    pub(crate) target: Target,
    pub(crate) client_path: Vec<u8>,
    pub(crate) offset: u64,
    pub(crate) place: Place,
    pub(crate) replaces: bool,
    /// Whether a file had the name when the upload was opened.
    found_another: bool,
    pub(crate) sync_policy: SyncPolicy,
    /// Where the blocks that [`Upload::allocate`] reserved end, in bytes of the file; 0 where none are.
    allocated_end: u64,
}

/// Where the bytes of an upload are.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a file without a name, which vanishes with its descriptor.
    Unnamed,
    /// In a file of this reserved name in the target's directory; its lock is held as long as it is open.
    Hidden {
        /// The reserved name.
        name: Vec<u8>,
        /// The permission bits that it gets with its final name.
        mode: Mode,
    },
    /// In the target itself; whether the upload made it.
    Direct {
        /// Whether the upload made the file.
        created: bool,
    },
    /// Under its final name: nothing is left to clean up.
    Published,
}

impl AsFd for Upload {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Root {
    /// Opens an upload to `path`.
    ///
    /// Everything that would make publishing fail and can be known now is refused now: a directory that may not be
    /// written, a file that may not be, a name that is a directory, a FIFO or a device. A symbolic link at the end of
    /// the path is followed beneath the root, so that the file it points to is the one replaced.
    ///
    /// # Errors
    /// [`StorageError::IsADirectory`], [`StorageError::NotRegular`], [`StorageError::Exists`],
    /// [`StorageError::PermissionDenied`], [`StorageError::RestartBeyondEnd`], [`StorageError::Busy`] where another
    /// upload writes to the same file in place, [`StorageError::TooManyUnique`], or what the resolution and the file
    /// system give.
    pub fn open_upload(&self, path: &[u8], mode: UploadMode) -> Result<Upload, StorageError> {
        let checked = RelativePath::of(path)?;
        match mode {
            UploadMode::Replace => {
                let target = self.resolve_target(checked)?;
                let existing = target.facts()?;
                if let Some(existing) = &existing {
                    require_replaceable(&target, existing)?;
                }
                let mut upload = self.open_new(target, path.to_vec(), true)?;
                upload.found_another = existing.is_some();
                Ok(upload)
            }
            UploadMode::New => {
                let (directory, name) = self.resolve_parent(checked, StorageError::Exists)?;
                let target = Target { directory, name: name.to_vec() };
                if target.facts()?.is_some() {
                    return Err(StorageError::Exists);
                }
                self.open_new(target, path.to_vec(), false)
            }
            UploadMode::Unique => {
                let (target, client_path) = self.unique_target(checked)?;
                self.open_new(target, client_path, false)
            }
            UploadMode::Append => open_in_place(self.resolve_target(checked)?, path, None),
            UploadMode::ResumeAt(offset) => open_in_place(self.resolve_target(checked)?, path, Some(offset)),
        }
    }

    fn open_new(&self, target: Target, client_path: Vec<u8>, replaces: bool) -> Result<Upload, StorageError> {
        let unnamed = if self.unnamed_uploads { open_unnamed(&target.directory)? } else { None };
        let (file, place) = match unnamed {
            Some(file) => (file, Place::Unnamed),
            None => open_hidden(&target.directory)?,
        };
        Ok(Upload {
            file,
            target,
            client_path,
            offset: 0,
            place,
            replaces,
            found_another: false,
            sync_policy: SyncPolicy::None,
            allocated_end: 0,
        })
    }

    /// A free random name for STOU, and the client's path of it.
    fn unique_target(&self, path: RelativePath<'_>) -> Result<(Target, Vec<u8>), StorageError> {
        let (directory, parent, prefix) = match (self.resolve_directory(path.as_bytes()), path.split()) {
            (Ok(directory), _) => (directory, path, b"ringftpd-".to_vec()),
            (Err(StorageError::NotFound | StorageError::NotADirectory), Some((parent, hint))) => {
                let hint = &hint[..hint.len().min(NAME_BYTES_MAX - 1 - random_digits().len())];
                (self.resolve_directory(parent.as_bytes())?, parent, [hint, b"."].concat())
            }
            (Err(error), _) => return Err(error),
        };
        for _ in 0..RANDOM_NAME_TRIES_MAX {
            let name = [prefix.as_slice(), &random_digits()].concat();
            match fstatat(&directory, name.as_slice(), AtFlags::AT_SYMLINK_NOFOLLOW) {
                Ok(_) => {}
                Err(Errno::ENOENT) => {
                    let client_path = parent.client_path_of(&name);
                    return Ok((Target { directory, name }, client_path));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(StorageError::TooManyUnique)
    }
}

/// Refuses to replace what is no file, or what the server's user could not write or remove.
fn require_replaceable(target: &Target, existing: &Facts) -> Result<(), StorageError> {
    existing.require_file()?;
    let flags = AtFlags::AT_EACCESS | AtFlags::AT_SYMLINK_NOFOLLOW;
    faccessat(&target.directory, target.name.as_slice(), AccessFlags::W_OK, flags)?;
    let directory = Facts::from(&fstat(&target.directory)?);
    if may_rename_over(geteuid(), &directory, existing) {
        Ok(())
    } else {
        Err(StorageError::PermissionDenied)
    }
}

/// In a sticky directory only its owner and a name's own may rename over the name, however writable it is.
fn may_rename_over(user: Uid, directory: &Facts, existing: &Facts) -> bool {
    directory.mode & Mode::S_ISVTX.bits() == 0
        || user.is_root()
        || [directory.owner, existing.owner].contains(&user.as_raw())
}

/// What a new file may permit before the process's umask takes its part.
const NEW_FILE_MODE: Mode = Mode::from_bits_truncate(0o666);

/// Opens a file without a name in `directory`; gives nothing where the file system knows no such files.
fn open_unnamed(directory: &OwnedFd) -> Result<Option<File>, StorageError> {
    match openat(directory, ".", OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC, NEW_FILE_MODE) {
        Ok(descriptor) => Ok(Some(File::from(descriptor))),
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOSYS) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes a file with a hidden name in `directory` and locks it, so that no sweep takes it for a stale one.
fn open_hidden(directory: &OwnedFd) -> Result<(File, Place), StorageError> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    for _ in 0..RANDOM_NAME_TRIES_MAX {
        let name = random_upload_name();
        let file = match openat(directory, name.as_slice(), flags, NEW_FILE_MODE) {
            Err(Errno::EEXIST) => continue,
            result => File::from(result?),
        };
        // Made with its final bits, so that umask and the directory's default access list shape them, and closed to
        // others while it is partial. A file system without permission bits refuses the change, which is no harm.
        let mode = Mode::from_bits_truncate(fstat(&file)?.st_mode & 0o777);
        let _ = fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR);
        let swept = match file.try_lock() {
            Err(TryLockError::WouldBlock) => true,
            // Where files cannot be locked, a sweep cannot lock them either and leaves them alone.
            Err(TryLockError::Error(_)) | Ok(()) => fstat(&file)?.st_nlink == 0,
        };
        // A sweep that came between the making and the locking has removed it, or is about to.
        if !swept {
            return Ok((file, Place::Hidden { name, mode }));
        }
    }
    Err(StorageError::Busy)
}

/// Opens `target` itself for writing at `offset`, or at its end for none.
fn open_in_place(target: Target, path: &[u8], offset: Option<u64>) -> Result<Upload, StorageError> {
    let existing = target.facts()?;
    let mut flags =
        OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    match existing {
        Some(facts) => facts.require_file()?,
        None if offset.is_some_and(|offset| offset > 0) => return Err(StorageError::NotFound),
        None => flags |= OFlag::O_CREAT | OFlag::O_EXCL,
    }
    let file = match openat(&target.directory, target.name.as_slice(), flags, NEW_FILE_MODE) {
        // The name came, or became a link, since it was looked up: somebody else is at work on it.
        Err(Errno::EEXIST | Errno::ELOOP) => return Err(StorageError::Busy),
        result => File::from(result?),
    };
    let mut upload = Upload {
        file,
        target,
        client_path: path.to_vec(),
        offset: 0,
        place: Place::Direct { created: existing.is_none() },
        replaces: false,
        found_another: existing.is_some(),
        sync_policy: SyncPolicy::None,
        allocated_end: 0,
    };
    if matches!(upload.file.try_lock(), Err(TryLockError::WouldBlock)) {
        upload.place = Place::Published;
        return Err(StorageError::Busy);
    }
    // Asked of the open file, and after the lock: another upload may just have written to it.
    let facts = Facts::from(&fstat(&upload.file)?);
    facts.require_file()?;
    upload.offset = offset.unwrap_or(facts.size);
    if upload.offset > facts.size {
        return Err(StorageError::RestartBeyondEnd);
    }
    upload.file.seek(SeekFrom::Start(upload.offset))?;
    Ok(upload)
}

impl Upload {
    /// The file to write to, open for writing only; its position is at [`Upload::offset`].
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where writing starts, in bytes from the file's beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the bytes go into the file that has the name, and not into one that is to get it.
    pub fn is_in_place(&self) -> bool {
        matches!(self.place, Place::Direct { .. })
    }

    /// Whether a file had the name when the upload was opened.
    pub fn found_another(&self) -> bool {
        self.found_another
    }

    /// The last name of the client's path; for [`UploadMode::Unique`] the one that was chosen.
    pub fn name(&self) -> &[u8] {
        let slash = self.client_path.iter().rposition(|&byte| byte == b'/');
        &self.client_path[slash.map_or(0, |slash| slash + 1)..]
    }

    /// The client's path of the file; for [`UploadMode::Unique`] with the name that was chosen.
    pub fn path(&self) -> &[u8] {
        &self.client_path
    }

    /// Reserves space for `bytes` bytes from [`Upload::offset`] on, as ALLO announces them. The file's size does not
    /// change, publishing gives back what was not used, and a file system that cannot reserve is no error.
    ///
    /// # Errors
    /// [`StorageError::Full`], [`StorageError::Quota`], [`StorageError::TooLarge`].
    pub fn allocate(&mut self, bytes: u64) -> Result<(), StorageError> {
        if bytes == 0 {
            return Ok(());
        }
        let end = self.offset.checked_add(bytes).ok_or(StorageError::TooLarge)?;
        let offset = i64::try_from(self.offset).map_err(|_| StorageError::TooLarge)?;
        let length = i64::try_from(bytes).map_err(|_| StorageError::TooLarge)?;
        // The kernel would take what there is before it says that there is not enough. What is changed in place has blocks already.
        if !self.is_in_place() && self.free_bytes()?.is_some_and(|free| bytes > free) {
            return Err(StorageError::Full);
        }
        // Set first: a call that fails half-way may have reserved a part.
        self.allocated_end = end;
        loop {
            match fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length) {
                Err(Errno::EINTR) => {}
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(()),
                result => return Ok(result?),
            }
        }
    }

    /// What others than root may still use of the file system; `None` where it does not say.
    fn free_bytes(&self) -> Result<Option<u64>, StorageError> {
        let system = fstatvfs(&self.file)?;
        let says = system.blocks() > 0;
        Ok(says.then(|| system.blocks_available().saturating_mul(system.fragment_size())))
    }

    /// Where in the file the space ends that [`Upload::allocate`] has reserved, in bytes; 0 where it has not.
    pub fn reserved_until(&self) -> u64 {
        self.allocated_end
    }

    /// Waits until what was written is on the disk, as far as `policy` asks; [`SyncPolicy::Full`] also makes
    /// [`Upload::publish`] wait for the directory.
    ///
    /// Where another machine or a daemon has the disk, it is waited for whatever the policy: what they cannot store they say only
    /// when they are asked to, or when the file is closed (NFS, SMB, sshfs, s3fs), and by then it would have its name.
    ///
    /// # Errors
    /// What the disk says: [`StorageError::Full`], [`StorageError::Quota`], [`StorageError::System`] (`EIO`).
    pub fn sync(&mut self, policy: SyncPolicy) -> Result<(), StorageError> {
        self.sync_policy = policy;
        let is_elsewhere = FileSystemKind::of(&self.file)?.always_waits();
        match policy {
            SyncPolicy::None if is_elsewhere => self.file.sync_data()?,
            SyncPolicy::None => {}
            SyncPolicy::Data => self.file.sync_data()?,
            SyncPolicy::Full => self.file.sync_all()?,
        }
        if is_elsewhere {
            // There is an answer to each closing, not only to the last.
            close(self.file.try_clone()?)?;
        }
        Ok(())
    }

    /// Gives back the reserved blocks beyond the file's end.
    pub(crate) fn release_unused(&mut self) -> Result<(), StorageError> {
        let size = self.file.metadata()?.len();
        if std::mem::take(&mut self.allocated_end) > size {
            self.file.set_len(size)?;
        }
        Ok(())
    }

    /// Removes the target that this upload made in place, where nothing was written to it.
    fn remove_created_if_empty(&self) -> Result<(), StorageError> {
        let ours = Facts::from(&fstat(&self.file)?);
        if self.has_its_name()? && ours.kind == Kind::File && ours.size == 0 {
            unlinkat(&self.target.directory, self.target.name.as_slice(), UnlinkatFlags::NoRemoveDir)?;
        }
        Ok(())
    }

    /// Whether the name is this very file's.
    pub(crate) fn has_its_name(&self) -> Result<bool, StorageError> {
        let ours = Facts::from(&fstat(&self.file)?);
        let named = self.target.facts()?;
        Ok(named.is_some_and(|named| (named.device, named.inode) == (ours.device, ours.inode)))
    }
}

impl Drop for Upload {
    // Nobody is left to tell of a failure here; a hidden file that stays is removed by the next sweep.
    fn drop(&mut self) {
        match &self.place {
            Place::Unnamed | Place::Published => {}
            Place::Hidden { name, .. } => {
                let _ = unlinkat(&self.target.directory, name.as_slice(), UnlinkatFlags::NoRemoveDir);
            }
            Place::Direct { created } => {
                let created = *created;
                let _ = self.release_unused();
                if created {
                    let _ = self.remove_created_if_empty();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
