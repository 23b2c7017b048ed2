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
    static PLACES: PlacesOf<(Towards, Sort)> = PlacesOf::default();
}

/// The places for a file request.
pub(crate) fn for_request(root: &Root, request: &FileRequest) -> Places {
    let path = request.path().as_bytes();
    let of_path = |sort| root.towards(path).map(|towards| of(towards, sort));
    match request {
        FileRequest::Digest { .. } => of_path(Sort::Digest).unwrap_or_default(),
        FileRequest::Status(_) => common_unless_taken(|| of_path(Sort::Listing)),
        FileRequest::Rename { to, .. } => common_unless_taken(|| {
            let (from, to) = (root.towards(path)?, root.towards(to.as_bytes())?);
            let is_link = from.is_link || to.is_link;
            let sort = if from.mount == to.mount { Sort::Name } else { Sort::Move };
            Some(of(Towards { is_link, ..to }, sort))
        }),
        _ => common_unless_taken(|| of_path(Sort::Name)),
    }
}

/// The places for opening what a transfer is about.
pub(crate) fn for_opening(root: &Root, what: &TransferKind) -> Places {
    let sort = if matches!(what, TransferKind::Listing(_)) { Sort::Listing } else { Sort::Name };
    common_unless_taken(|| root.towards(what.path().as_bytes()).map(|towards| of(towards, sort)))
}

/// The places for going on with a listing of this directory.
pub(crate) fn for_listing(directory: &impl AsFd) -> Places {
    common_unless_taken(|| of_open(directory, Sort::Listing))
}

/// The places for publishing or closing a file.
pub(crate) fn for_file(file: &impl AsFd) -> Places {
    common_unless_taken(|| of_open(file, Sort::File))
}

fn of_open(descriptor: &impl AsFd, sort: Sort) -> Option<Places> {
    MountId::of(descriptor).ok().map(|mount| of(Towards { mount, is_link: false }, sort))
}

fn of(towards: Towards, sort: Sort) -> Places {
    PLACES.with(|places| places.of((towards, sort)))
}

/// The places that all share, or else those that only who waits for the same has, which are asked for only where it matters. There
/// are none for a path that is none, which is told at once.
fn common_unless_taken(others: impl FnOnce() -> Option<Places>) -> Places {
    let common = Places::common().unwrap_or_default();
    if common.have_room() { common } else { others().unwrap_or_default() }
}
