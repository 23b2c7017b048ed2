//! The one thing that workers share: a lock, from std, or from loom where the model checker runs.

use std::sync::{PoisonError, TryLockError};

#[cfg(loom)]
use loom::sync as shared;
#[cfg(not(loom))]
use std::sync as shared;

/// Exclusive access, until dropped.
pub(crate) type Guard<'a, T> = shared::MutexGuard<'a, T>;

/// A lock on cache lines of its own, so that one worker's use of it costs the others nothing. Two lines wide,
/// for processors fetch them in pairs.
#[repr(align(128))]
pub(crate) struct Seat<T> {
    value: shared::Mutex<T>,
    /// The model checker changes threads at operations of its own only, and the books have none: without this
    /// one it would never find anybody inside.
    #[cfg(loom)]
    inside: shared::atomic::AtomicUsize,
}

impl<T> Seat<T> {
    pub(crate) fn new(value: T) -> Seat<T> {
        Seat {
            value: shared::Mutex::new(value),
            #[cfg(loom)]
            inside: shared::atomic::AtomicUsize::new(0),
        }
    }

    /// Waits for whoever is inside. A panic inside is a defect of this crate that fails one session; it does
    /// not close the ports to all others.
    pub(crate) fn enter(&self) -> Guard<'_, T> {
        let guard = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        self.linger();
        guard
    }

    /// Does not wait: `None` where somebody is inside.
    pub(crate) fn try_enter(&self) -> Option<Guard<'_, T>> {
        let guard = match self.value.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.linger();
        Some(guard)
    }

    #[cfg(loom)]
    fn linger(&self) {
        self.inside.fetch_add(1, shared::atomic::Ordering::Relaxed);
    }

    #[cfg(not(loom))]
    fn linger(&self) {}
}
