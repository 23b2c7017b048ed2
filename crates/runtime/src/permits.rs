//! A number of permits that the workers share: what may be done so many times at once, whichever core asks.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits, given out in the order in which they are asked for.
#[derive(Debug, Clone)]
pub struct Permits {
    semaphore: Arc<Semaphore>,
}

/// One permit, given back when it is dropped, on any thread.
#[derive(Debug)]
pub struct Permit {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Permits {
    /// So many at once; at least one.
    #[must_use]
    pub fn new(count: usize) -> Permits {
        Permits { semaphore: Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// Waits for a permit. Dropping the future gives the place in the queue up.
    pub async fn acquire(&self) -> Permit {
        // The semaphore is never closed.
        Permit { _permit: Arc::clone(&self.semaphore).acquire_owned().await.ok() }
    }
}
