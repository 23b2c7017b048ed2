//! Why a transfer ended early, and whose fault it was.

use std::io;

use nix::errno::Errno;
use runtime::BlockingError;
use thiserror::Error;

/// Why a transfer did not come to its end.
#[derive(Debug, Error)]
pub enum TransferError {
    /// The peer's fault: it closed or reset the data connection in the middle.
    #[error("the peer closed the data connection")]
    PeerReset,
    /// The peer's fault: for the whole stall timeout it neither took nor sent a byte.
    #[error("the peer stalled")]
    Stalled,
    /// The network's fault: the peer cannot be reached any more.
    #[error("the network failed: {0}")]
    Network(#[source] Errno),
    /// Somebody else's fault: the file was truncated while it was sent, and this many bytes could not be.
    #[error("the file shrank while it was sent, {missing} bytes are missing")]
    SourceShrank {
        /// Bytes of the file that were announced and are not there.
        missing: u64,
    },
    /// A limit's fault: the file system is full.
    #[error("no space is left for the file")]
    StorageFull,
    /// A limit's fault: the quota of the user that the server runs as is used up.
    #[error("the disk quota is used up")]
    QuotaExceeded,
    /// A limit's fault: the file would grow beyond what the file system or the process's limit allows.
    #[error("the file is larger than is allowed here")]
    FileTooLarge,
    /// The system's fault: the file cannot be read or written, `EIO` for one.
    #[error("the storage failed: {0}")]
    Storage(#[source] Errno),
    /// A limit's fault: memory, descriptors or threads have run out.
    #[error("resources have run out: {0}")]
    Resources(#[source] Errno),
    /// The server's own fault.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl TransferError {
    /// Sorts an error of a call on the data connection alone.
    pub(crate) fn of_socket(error: &io::Error) -> TransferError {
        let errno = errno_of(error);
        match errno {
            Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN | Errno::ECONNABORTED => {
                TransferError::PeerReset
            }
            Errno::ENOMEM | Errno::ENOBUFS | Errno::EMFILE | Errno::ENFILE => TransferError::Resources(errno),
            _ => TransferError::Network(errno),
        }
    }

    /// Sorts an error of a call on the file alone.
    pub(crate) fn of_storage(error: &io::Error) -> TransferError {
        let errno = errno_of(error);
        match errno {
            Errno::ENOSPC => TransferError::StorageFull,
            Errno::EDQUOT => TransferError::QuotaExceeded,
            Errno::EFBIG => TransferError::FileTooLarge,
            Errno::ENOMEM | Errno::ENOBUFS | Errno::EMFILE | Errno::ENFILE => TransferError::Resources(errno),
            _ => TransferError::Storage(errno),
        }
    }

    /// Sorts an error of sendfile(2), which touches both the file and the data connection.
    pub(crate) fn of_either(error: &io::Error) -> TransferError {
        match errno_of(error) {
            Errno::EPIPE
            | Errno::ECONNRESET
            | Errno::ENOTCONN
            | Errno::ECONNABORTED
            | Errno::ETIMEDOUT
            | Errno::EHOSTUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENETUNREACH
            | Errno::ENETDOWN => TransferError::of_socket(error),
            _ => TransferError::of_storage(error),
        }
    }
}

impl From<BlockingError> for TransferError {
    fn from(error: BlockingError) -> TransferError {
        match error {
            BlockingError::NoThread(error) => TransferError::Resources(errno_of(&error)),
            BlockingError::Panicked(_) => TransferError::Internal("a job on another thread panicked"),
            BlockingError::NoWorker => TransferError::Internal("the worker is stopping"),
        }
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Why generated data did not come to its end.
#[derive(Debug, Error)]
pub enum ChunksError<E> {
    /// The producer's fault, as it says.
    #[error("what was to be sent could not be made: {0}")]
    Producer(E),
    /// The transfer's.
    #[error(transparent)]
    Transfer(#[from] TransferError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: Errno) -> io::Error {
        errno.into()
    }

    #[test]
    fn each_errno_names_who_is_at_fault() {
        use TransferError as Fault;
        assert!(matches!(Fault::of_storage(&error(Errno::ENOSPC)), Fault::StorageFull));
        assert!(matches!(Fault::of_storage(&error(Errno::EDQUOT)), Fault::QuotaExceeded));
        assert!(matches!(Fault::of_storage(&error(Errno::EFBIG)), Fault::FileTooLarge));
        assert!(matches!(Fault::of_storage(&error(Errno::EIO)), Fault::Storage(Errno::EIO)));
        assert!(matches!(Fault::of_either(&error(Errno::EIO)), Fault::Storage(Errno::EIO)));
        assert!(matches!(Fault::of_either(&error(Errno::EPIPE)), Fault::PeerReset));
        assert!(matches!(Fault::of_either(&error(Errno::ETIMEDOUT)), Fault::Network(Errno::ETIMEDOUT)));
        assert!(matches!(Fault::of_socket(&error(Errno::ECONNRESET)), Fault::PeerReset));
        assert!(matches!(Fault::of_socket(&error(Errno::ENOBUFS)), Fault::Resources(Errno::ENOBUFS)));
    }
}
