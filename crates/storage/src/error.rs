//! Why an operation on files failed, and whose fault it is.

use nix::errno::Errno;

/// Why an operation failed, named so that a reply can say who is at fault: the client's argument, a limit, the
/// system, or (for [`StorageError::WouldBlock`]) nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    // The client's argument.
    /// Nothing has that name, or a pattern matches nothing.
    #[error("no such file or directory")]
    NotFound,
    /// A directory is needed and the name is something else.
    #[error("not a directory")]
    NotADirectory,
    /// The name is a directory where a file is needed.
    #[error("is a directory")]
    IsADirectory,
    /// The name is a FIFO, a socket or a device.
    #[error("not a regular file")]
    NotRegular,
    /// The name is taken.
    #[error("the name exists already")]
    Exists,
    /// The directory to remove or to replace has entries.
    #[error("the directory is not empty")]
    NotEmpty,
    /// The path leads out of the root by a symbolic link.
    #[error("the path leaves the served directory")]
    OutsideRoot,
    /// A name or the whole path is longer than the file system takes.
    #[error("the name is too long")]
    NameTooLong,
    /// The path is not absolute and normalised, a byte of it is refused, or it has a name reserved for uploads.
    #[error("the name is not allowed")]
    InvalidName,
    /// Symbolic links lead in a circle, or too many follow one another.
    #[error("too many symbolic links")]
    SymlinkLoop,
    /// A directory was to be moved into itself or into one beneath it.
    #[error("a directory cannot be moved into itself")]
    IntoItself,
    /// A rename from one file system to another.
    #[error("the names are on different file systems")]
    CrossDevice,
    /// The restart position lies beyond the file's end.
    #[error("the restart position is beyond the end of the file")]
    RestartBeyondEnd,

    // A right or a limit.
    /// The operating system refuses it to the server's user.
    #[error("permission denied")]
    PermissionDenied,
    /// The file system is mounted read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// The file is larger than the file system or the process may write.
    #[error("the file is too large")]
    TooLarge,
    /// The disk quota is used up.
    #[error("the disk quota is used up")]
    Quota,
    /// No free unique name was found in a bounded number of tries.
    #[error("no unique name was found")]
    TooManyUnique,

    // The system.
    /// Somebody else holds the file or the directory: another upload writes to it, or it is a mount point.
    #[error("the file is in use")]
    Busy,
    /// What was written has no name any more: the file was removed or replaced meanwhile.
    #[error("the file was removed or replaced meanwhile")]
    NameLost,
    /// The device has no space left.
    #[error("no space left")]
    Full,
    /// The process or the machine has no descriptor left.
    #[error("out of file descriptors")]
    OutOfDescriptors,
    /// Only from `*_cached` calls: the answer needs a disk, so ask again with the plain call on a thread that may wait.
    #[error("the answer is not cached")]
    WouldBlock,
    /// Whatever else the kernel says, as its error number.
    #[error("system error: {}", Errno::from_raw(*.0).desc())]
    System(i32),
}

impl From<Errno> for StorageError {
    /// The one table from the kernel's error numbers.
    ///
    /// Two numbers mean something else where a path is resolved beneath the root, and are read there: `EXDEV` (the
    /// path leaves the root) and `EAGAIN`.
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOENT => Self::NotFound,
            Errno::ENOTDIR => Self::NotADirectory,
            Errno::EISDIR => Self::IsADirectory,
            // What opening a socket or a device without a driver says.
            Errno::ENXIO | Errno::ENODEV => Self::NotRegular,
            Errno::EACCES | Errno::EPERM => Self::PermissionDenied,
            Errno::EROFS => Self::ReadOnly,
            Errno::EEXIST => Self::Exists,
            Errno::ENOTEMPTY => Self::NotEmpty,
            Errno::EXDEV => Self::CrossDevice,
            Errno::ENAMETOOLONG => Self::NameTooLong,
            // File systems with narrower names than bytes (vfat, for one) refuse a name so.
            Errno::EILSEQ => Self::InvalidName,
            Errno::ELOOP => Self::SymlinkLoop,
            Errno::EBUSY | Errno::ETXTBSY => Self::Busy,
            Errno::ENOSPC => Self::Full,
            Errno::EDQUOT => Self::Quota,
            Errno::EFBIG => Self::TooLarge,
            Errno::EMFILE | Errno::ENFILE => Self::OutOfDescriptors,
            Errno::EAGAIN => Self::WouldBlock,
            other => Self::System(other as i32),
        }
    }
}

impl From<std::io::Error> for StorageError {
    /// Reads the error number out of `error`; one without a number is [`StorageError::System`] with `EIO`.
    fn from(error: std::io::Error) -> Self {
        Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_number_finds_the_one_at_fault() {
        for (errno, error) in [
            (Errno::ENOENT, StorageError::NotFound),
            (Errno::ENOTDIR, StorageError::NotADirectory),
            (Errno::EISDIR, StorageError::IsADirectory),
            (Errno::ENXIO, StorageError::NotRegular),
            (Errno::EACCES, StorageError::PermissionDenied),
            (Errno::EPERM, StorageError::PermissionDenied),
            (Errno::EROFS, StorageError::ReadOnly),
            (Errno::EEXIST, StorageError::Exists),
            (Errno::ENOTEMPTY, StorageError::NotEmpty),
            (Errno::EXDEV, StorageError::CrossDevice),
            (Errno::ENAMETOOLONG, StorageError::NameTooLong),
            (Errno::ELOOP, StorageError::SymlinkLoop),
            (Errno::EBUSY, StorageError::Busy),
            (Errno::ENOSPC, StorageError::Full),
            (Errno::EDQUOT, StorageError::Quota),
            (Errno::EFBIG, StorageError::TooLarge),
            (Errno::EMFILE, StorageError::OutOfDescriptors),
            (Errno::ENFILE, StorageError::OutOfDescriptors),
            (Errno::EIO, StorageError::System(5)),
        ] {
            assert_eq!(StorageError::from(errno), error);
            assert_eq!(StorageError::from(std::io::Error::from_raw_os_error(errno as i32)), error);
        }
        assert_eq!(StorageError::from(std::io::Error::other("no number")), StorageError::System(5));
        assert_eq!(StorageError::System(5).to_string(), "system error: I/O error");
    }
}
