//! File descriptors: the limit, and the spare that says no when there are none left.

use std::fs::File;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What is reserved of the kernel's table of descriptors at the most: half a mebibyte. Where the limit is higher and more are open,
/// the table grows as it always does.
const RESERVED_MAX: u64 = 1 << 16;

/// Raises the soft limit to the hard one, and returns the limit that holds.
pub(crate) fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(soft.max(hard))
}

/// Has room made for the descriptors that the sessions will be, so that no newcomer waits for it.
pub(crate) fn reserve(limit: u64) {
    let wanted = u32::try_from(limit.min(RESERVED_MAX)).unwrap_or(u32::MAX);
    if let Err(error) = runtime::reserve_descriptors(wanted) {
        tracing::warn!(wanted, %error, "no room was made for descriptors: sessions may have to wait when there are many");
    }
}

/// How many descriptors this process has open.
pub(crate) fn count_open() -> io::Result<u64> {
    // The directory that is being read is one of them.
    Ok((std::fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1))
}

/// A descriptor kept back for the moment when `accept` finds none left: it is closed, the connection is taken and told
/// so, and the spare is opened again. Without it a full server would let newcomers wait, and spin.
#[derive(Debug)]
pub(crate) struct SpareDescriptor(Option<File>);

impl SpareDescriptor {
    pub(crate) fn open() -> io::Result<Self> {
        File::open("/dev/null").map(|file| Self(Some(file)))
    }

    /// Runs `with_one_free` while one descriptor more is free.
    pub(crate) fn lend<T>(&mut self, with_one_free: impl FnOnce() -> T) -> T {
        self.0 = None;
        let result = with_one_free();
        self.0 = File::open("/dev/null").ok();
        result
    }
}
