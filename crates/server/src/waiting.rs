//! Work that may wait for a disk, so that who waits for one holds up nobody who waits for another.
//!
//! All of a worker's such jobs share places while these suffice, and nobody asks what each waits for. Where they are taken, as
//! by those who wait for a mount that hangs, each mount has places of its own, which are those of its transfers.

use std::os::fd::AsFd;

use runtime::Places;
use storage::{MountId, Root};
use transfer::PlacesOfMounts;

thread_local! {
    static OF_DIGESTS: PlacesOfMounts = PlacesOfMounts::default();
}

/// The places for a job that waits for what the name `path` leads to.
pub(crate) fn for_name(root: &Root, path: &[u8]) -> Places {
    common_unless_taken(|| root.mount_towards(path))
}

/// The places for a job that waits for what `file` lies on.
pub(crate) fn for_file(file: &impl AsFd) -> Places {
    common_unless_taken(|| MountId::of(file).ok())
}

/// The places for the digest of a file, which is read whole and takes its time even where nothing hangs.
pub(crate) fn for_digest(root: &Root, path: &[u8]) -> Places {
    root.mount_towards(path).map_or_else(Places::default, |mount| OF_DIGESTS.with(|places| places.of(mount)))
}

/// The places for a job that waits for `mount`, which is asked for only where it matters.
fn common_unless_taken(mount: impl FnOnce() -> Option<MountId>) -> Places {
    let common = Places::common().unwrap_or_default();
    if common.have_room() {
        return common;
    }
    mount().map_or(common, transfer::places_of)
}
