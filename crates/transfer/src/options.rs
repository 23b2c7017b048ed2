//! How a transfer is done.

use std::time::Duration;

use crate::limits::Limits;
use crate::plan::{RoutePreference, TransferType};

/// What an upload leaves in the page cache. On a mirror, what was just stored is seldom what is fetched next, and it
/// would push out what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CachePolicy {
    /// All of it, to be written to the disk when the kernel finds time.
    #[default]
    Keep,
    /// Nothing: what is stored is brought to the disk while the upload goes on, some mebibytes at a time, and dropped.
    DropBehind,
    /// Nothing, and nothing passes through it (`O_DIRECT`), on a file system that can; on others as `DropBehind`.
    /// While an upload waits for its client in the middle of a block, it holds a buffer of a mebibyte.
    Direct,
}

/// What an upload's file is, to those who know it by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Destination {
    /// It has its name: what is in it and beyond it is not the upload's alone.
    #[default]
    InPlace,
    /// It gets a name that is free when it is whole, and vanishes if it is not.
    New,
    /// The same with the name of another file.
    ReplacesAnother,
}

/// How a transfer is done.
#[derive(Debug, Clone, Default)]
pub struct TransferOptions {
    /// Whether line ends are converted (RFC 959, section 3.1.1).
    pub transfer_type: TransferType,
    /// Overrides the planned route where the transfer can take the other one.
    pub route: RoutePreference,
    /// How long the peer may neither take nor send a byte; without it, as long as it likes.
    pub stall_timeout: Option<Duration>,
    /// What an upload leaves in the page cache.
    pub cache_policy: CachePolicy,
    /// What is being uploaded to.
    pub destination: Destination,
    /// Whether the first read of a download's file is noted in the file system, where it is mounted to note reads: that is a write.
    pub first_read_is_noted: bool,
    /// Where the space ends that is reserved for an upload already, in bytes of the file.
    pub reserved_until: u64,
    /// What bounds the rate; shared with other transfers.
    pub limits: Limits,
}
