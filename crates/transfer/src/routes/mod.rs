//! The routes, a file each.

pub(crate) mod copy;
pub(crate) mod direct;
pub(crate) mod ring_splice;
pub(crate) mod sendfile;
pub(crate) mod splice;

/// How far a route has led.
pub(crate) enum Sent {
    /// To the end of the range.
    All,
    /// To this offset of the file, where the file system turned out to have no such operation, or no pipe was to be had:
    /// from there on the bytes have to be copied.
    UpTo(u64),
    /// To this offset of the file, which turned out not to be kept in the page cache.
    Uncached(u64),
}

/// How far a route has led, in bytes.
pub(crate) enum Received {
    /// To the end that the peer has set.
    All(u64),
    /// To here: from there on the bytes have to be copied.
    SoFar(u64),
}
