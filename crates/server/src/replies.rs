//! What the client is told when files or data connections fail: the one table from errors to replies.

use std::io;

use nix::errno::Errno;
use protocol::reply::{Code, Reply};
use storage::StorageError;
use transfer::TransferError;

use crate::admission::Full;
use crate::digest::DigestError;

const fn reply(code: u16, text: &'static str) -> Reply {
    Reply::fixed(Code::new(code), text)
}

const TOO_MANY_SESSIONS: Reply = reply(421, "Too many connections; try again later.");
const TOO_MANY_PENDING: Reply = reply(421, "Too many connections are waiting for a login; try again later.");
const TOO_MANY_OF_ADDRESS: Reply =
    reply(421, "Too many connections from the same IP address; close one or try again later.");
const TOO_MANY_OF_NETWORK: Reply = reply(421, "Too many connections from your network; try again later.");
pub(crate) const OUT_OF_DESCRIPTORS: Reply = reply(421, "Out of file descriptors; try again later.");
pub(crate) const NO_PASSIVE_PORT: Reply =
    reply(425, "No passive port is free for your address; finish a transfer or try again later.");
pub(crate) const NO_DATA_CONNECTION: Reply =
    reply(425, "Can't open data connection: nobody connected within the time allowed.");
pub(crate) const DATA_SETUP_LOST: Reply =
    reply(425, "Can't open data connection: the port is no longer kept; use PASV again.");
pub(crate) const DATA_CONNECT_DEADLINE: Reply =
    reply(425, "Can't open data connection: the connection timed out.");
pub(crate) const INTERNAL: Reply = reply(451, "Local error; the server's log says more.");
pub(crate) const NOT_A_DIRECTORY_FOR_MLSD: Reply =
    reply(501, "Not a directory; MLST tells the facts of a file.");
pub(crate) const NOT_RETRIEVABLE: Reply =
    reply(550, "Not a regular file: not retrievable, and not to be replaced.");
pub(crate) const DIGEST_CANCELLED: Reply = reply(426, "Checksum aborted.");
pub(crate) const SHRANK_UNDER_DIGEST: Reply = reply(451, "The file shrank while it was read; try again.");
pub(crate) const RANGE_BEYOND_END: Reply = reply(501, "The range lies beyond the end of the file.");

/// The reply to a client for whom there is no place.
pub(crate) fn full(full: Full) -> Reply {
    match full {
        Full::Total => TOO_MANY_SESSIONS,
        Full::Pending => TOO_MANY_PENDING,
        Full::Address => TOO_MANY_OF_ADDRESS,
        Full::Network => TOO_MANY_OF_NETWORK,
    }
}

/// The reply to a failed operation on files.
pub(crate) fn storage(error: StorageError) -> Reply {
    match error {
        StorageError::NotFound => reply(550, "No such file or directory."),
        StorageError::NotADirectory => reply(550, "Not a directory."),
        StorageError::IsADirectory => {
            reply(550, "Is a directory: not retrievable, and not to be replaced or deleted as a file.")
        }
        StorageError::NotRegular => NOT_RETRIEVABLE,
        StorageError::Exists => reply(550, "File exists: the name is taken."),
        StorageError::NotEmpty => reply(550, "The directory is not empty."),
        StorageError::OutsideRoot => reply(550, "The path leads out of the served directory."),
        StorageError::SymlinkLoop => reply(550, "Too many symbolic links."),
        StorageError::IntoItself => reply(550, "A directory cannot be moved into itself."),
        StorageError::CrossDevice => reply(550, "Cannot rename from one file system to another."),
        StorageError::PermissionDenied => reply(550, "Permission denied."),
        StorageError::ReadOnly => reply(550, "The file system is read-only."),
        StorageError::NameTooLong => reply(553, "The name is too long."),
        StorageError::InvalidName => reply(553, "The name is not allowed."),
        StorageError::RestartBeyondEnd => {
            reply(554, "Invalid REST parameter: position asked for > file size.")
        }
        StorageError::TooManyUnique => reply(450, "No free name was found; try again."),
        StorageError::Busy => reply(450, "The file is in use; try again later."),
        StorageError::NameLost => {
            reply(451, "The file was removed or replaced meanwhile: what was sent is not kept.")
        }
        StorageError::Full => reply(452, "No space left on the device."),
        StorageError::Quota => reply(552, "The disk quota is used up."),
        StorageError::TooLarge => reply(552, "The file is too large for the file system."),
        StorageError::OutOfDescriptors => {
            reply(450, "The server is out of file descriptors; try again later.")
        }
        StorageError::WouldBlock | StorageError::System(_) => {
            Reply::new(Code::new(451), format!("Local error: {error}."))
        }
    }
}

/// The reply to a transfer that failed on its way.
pub(crate) fn transfer(error: &TransferError) -> Reply {
    match error {
        TransferError::PeerReset => reply(426, "The data connection was reset; transfer aborted."),
        TransferError::Stalled => reply(426, "Nothing moved for too long; transfer aborted."),
        TransferError::Network(errno) => {
            Reply::new(Code::new(426), format!("The data connection failed: {}.", errno.desc()))
        }
        TransferError::SourceShrank { missing } => Reply::new(
            Code::new(451),
            format!("The file shrank while it was sent: {missing} bytes are missing."),
        ),
        TransferError::StorageFull => storage(StorageError::Full),
        TransferError::QuotaExceeded => storage(StorageError::Quota),
        TransferError::FileTooLarge => storage(StorageError::TooLarge),
        TransferError::Storage(errno) | TransferError::Resources(errno) => {
            Reply::new(Code::new(451), format!("Local error: {}.", errno.desc()))
        }
        TransferError::Internal(_) => INTERNAL,
    }
}

/// The reply when the server could not connect to the client.
pub(crate) fn connect(error: &io::Error) -> Reply {
    Reply::new(Code::new(425), format!("Can't open data connection: {}.", cause(error)))
}

/// The reply when there is no digest.
pub(crate) fn digest(error: &DigestError) -> Reply {
    match error {
        DigestError::Cancelled => DIGEST_CANCELLED,
        DigestError::BeyondEnd => RANGE_BEYOND_END,
        DigestError::Shrank => SHRANK_UNDER_DIGEST,
        DigestError::Io(error) => Reply::new(Code::new(451), format!("Local error: {}.", cause(error))),
    }
}

/// What the kernel calls the error, without the number that `io::Error` adds.
fn cause(error: &io::Error) -> &'static str {
    error.raw_os_error().map_or("input/output error", |number| Errno::from_raw(number).desc())
}
