//! Where a worker's jobs wait for each mount, so that one that is slow, or hangs, holds up no other.

use std::cell::RefCell;

use runtime::Places;
use storage::MountId;

/// Mounts that have places at once, at most; of more, the one that came first gets new ones.
const MOUNTS_MAX: usize = 64;

thread_local! {
    static OF_FILES: PlacesOfMounts = PlacesOfMounts::default();
}

/// The places of this worker for jobs that wait for `mount`. What transfers do with their files is done there.
#[must_use]
pub fn places_of(mount: MountId) -> Places {
    OF_FILES.with(|places| places.of(mount))
}

/// Places for jobs of one sort, for each mount that such a job waits for.
#[derive(Debug, Default)]
pub struct PlacesOfMounts(RefCell<Vec<(MountId, Places)>>);

impl PlacesOfMounts {
    /// Those for jobs that wait for `mount`.
    #[must_use]
    pub fn of(&self, mount: MountId) -> Places {
        let mut known = self.0.borrow_mut();
        if let Some((_, places)) = known.iter().find(|(id, _)| *id == mount) {
            return places.clone();
        }
        if known.len() == MOUNTS_MAX {
            known.remove(0);
        }
        let places = Places::default();
        known.push((mount, places.clone()));
        places
    }
}
