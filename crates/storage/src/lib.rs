//! The files beneath a root: a client's path to an open file, facts, changes, listings as streams, and uploads that
//! take their name only when they are whole.
//!
//! Every path is the client's: absolute, of bytes, already normalised, and `/` is the root's own directory. None can
//! leave the root, whatever symbolic links say, because the kernel resolves each one beneath the root's descriptor.
//!
//! Every call may block on a disk, so it belongs on a thread that may wait; only those named `*_cached` never do:
//! they answer from the kernel's caches or with [`StorageError::WouldBlock`].
#![forbid(unsafe_code)]

pub mod calendar;
mod changes;
mod download;
mod error;
mod facts;
mod file_system;
mod listing;
mod path;
mod publish;
mod root;
mod succession;
mod sweep;
mod target;
#[cfg(test)]
mod testing;
mod upload;

pub use changes::Replace;
pub use download::Download;
pub use error::StorageError;
pub use facts::{Facts, Kind};
pub use file_system::{FileSystemKind, MountId};
pub use listing::long::format_long_entry;
pub use listing::machine::{FactSelection, Permissions, format_machine_entry};
pub use listing::{Format, ListOptions, Listing};
pub use path::UPLOAD_NAME_PREFIX;
pub use root::{Root, RootIdentity, Towards};
pub use sweep::SweepReport;
pub use upload::{SyncPolicy, Upload, UploadMode};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_open_may_move_between_threads() {
        fn moves<T: Send>() {}
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Root>();
        moves::<Download>();
        moves::<Listing>();
        moves::<Upload>();
    }
}
