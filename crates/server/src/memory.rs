//! The memory of the process.

use nix::sys::prctl;

/// Has the kernel give memory in small pages. In huge ones, whose 2 MiB are resident at the first touch, an idle session took
/// half as much again, and a server that had just started 17 MiB instead of 2. Processor time did not differ.
pub(crate) fn use_small_pages() {
    if let Err(error) = prctl::set_thp_disable(true) {
        tracing::debug!(%error, "huge pages stay in use");
    }
}
