//! Work that may wait for a disk, so that who waits for one holds up nobody who waits for another.
//!
//! All of a worker's such jobs share places while these suffice, and nobody asks what each waits for. Where they are taken, as
//! by those who wait for a mount that hangs, each mount has places of its own, and each sort of job there: what the kernel's cache
//! tells is the mount on which a name is looked up next, and one that hangs may lie behind it.

use std::os::fd::AsFd;

use protocol::session::{FileRequest, TransferKind};
use runtime::{Places, PlacesOf};
use storage::{MountId, Root, Towards};

/// Sorts of jobs that may wait for another mount than the one that is known, and so must not hold up the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Name,
    /// A name that is a symbolic link, or lies behind one that nobody has followed of late.
    Link,
    /// Entries may be mounts, or links to them.
    Listing,
    /// From one mount to another, which is refused once both were asked.
    Move,
    /// What is done with an open file beside its transfer.
    File,
    /// Reads a whole file, and takes its time even where nothing hangs.
    Digest,
}

thread_local! {
    static PLACES: PlacesOf<(MountId, Sort)> = PlacesOf::default();
}

/// The places for a file request.
pub(crate) fn for_request(root: &Root, request: &FileRequest) -> Places {
    let path = request.path().as_bytes();
    match request {
        FileRequest::Digest { .. } => {
            root.towards(path).map_or_else(common, |found| of(found.mount, Sort::Digest))
        }
        FileRequest::Status(_) => common_unless_taken(|| of_listing(root, path)),
        FileRequest::Rename { to, .. } => common_unless_taken(|| {
            let (from, to) = (root.towards(path)?, root.towards(to.as_bytes())?);
            Some(if from.mount == to.mount { of_name(from) } else { of(to.mount, Sort::Move) })
        }),
        _ => common_unless_taken(|| root.towards(path).map(of_name)),
    }
}

/// The places for opening what a transfer is about.
pub(crate) fn for_opening(root: &Root, what: &TransferKind) -> Places {
    let path = what.path().as_bytes();
    match what {
        TransferKind::Listing(_) => common_unless_taken(|| of_listing(root, path)),
        _ => common_unless_taken(|| root.towards(path).map(of_name)),
    }
}

/// The places for going on with a listing of this directory.
pub(crate) fn for_listing(directory: &impl AsFd) -> Places {
    common_unless_taken(|| MountId::of(directory).ok().map(|mount| of(mount, Sort::Listing)))
}

/// The places for publishing or closing a file.
pub(crate) fn for_file(file: &impl AsFd) -> Places {
    common_unless_taken(|| MountId::of(file).ok().map(|mount| of(mount, Sort::File)))
}

fn of_name(Towards { mount, is_link }: Towards) -> Places {
    of(mount, if is_link { Sort::Link } else { Sort::Name })
}

fn of_listing(root: &Root, path: &[u8]) -> Option<Places> {
    root.towards(path).map(|found| of(found.mount, Sort::Listing))
}

fn of(mount: MountId, sort: Sort) -> Places {
    PLACES.with(|places| places.of((mount, sort)))
}

/// The places that all share, or else those that only who waits for the same has, which are asked for only where it matters.
fn common_unless_taken(others: impl FnOnce() -> Option<Places>) -> Places {
    let common = common();
    if common.have_room() { common } else { others().unwrap_or(common) }
}

fn common() -> Places {
    Places::common().unwrap_or_default()
}
