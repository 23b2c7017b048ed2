//! The kernel's table of a process's descriptors.

use std::io;

/// Makes room in the kernel's table for descriptors with numbers below `count`, before there are so many.
///
/// The table doubles when it is full, and in a process with threads whoever opens that descriptor then waits for a grace
/// period of the kernel's, some ten to thirty milliseconds. A server that is taken by storm stands still so at 1,024 descriptors, at 2,048,
/// and so on. Each costs eight bytes of kernel memory. It is best done before any thread is started.
///
/// # Errors
///
/// `EMFILE` or `EINVAL` if the process may not open so many.
pub fn reserve_descriptors(count: u32) -> io::Result<()> {
    let last = i32::try_from(count).unwrap_or(i32::MAX).saturating_sub(1).max(0);
    // The table stays as large as it was once.
    drop(rustix::io::fcntl_dupfd_cloexec(io::stderr(), last)?);
    Ok(())
}
