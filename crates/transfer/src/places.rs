//! Where a worker's jobs wait for each mount, so that one that is slow, or hangs, holds up no other.

use std::cell::RefCell;

use runtime::Places;
use storage::MountId;

/// Mounts that have places at once, at most; of more, the one that came first gets new ones.
const MOUNTS_MAX: usize = 64;

thread_local! {
    static OF_MOUNTS: RefCell<Vec<(MountId, Places)>> = const { RefCell::new(Vec::new()) };
}

/// The places of this worker for jobs that wait for `mount`. What transfers do with their files is done there.
#[must_use]
pub fn places_of(mount: MountId) -> Places {
    OF_MOUNTS.with_borrow_mut(|known| {
        if let Some((_, places)) = known.iter().find(|(id, _)| *id == mount) {
            return places.clone();
        }
        if known.len() == MOUNTS_MAX {
            known.remove(0);
        }
        let places = Places::default();
        known.push((mount, places.clone()));
        places
    })
}
