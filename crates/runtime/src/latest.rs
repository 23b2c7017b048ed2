//! The latest of something, told to every worker whenever it changes.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells the latest. Who is behind misses what came between, never the last.
#[derive(Debug, Clone)]
pub struct Publisher<T> {
    latest: Arc<watch::Sender<T>>,
}

impl<T: Clone + Send + Sync> Publisher<T> {
    /// With a first value, which everybody has already.
    #[must_use]
    pub fn new(first: T) -> Publisher<T> {
        Publisher { latest: Arc::new(watch::Sender::new(first)) }
    }

    /// Tells everybody. From any thread.
    pub fn publish(&self, latest: T) {
        self.latest.send_replace(latest);
    }

    /// What was published last.
    #[must_use]
    pub fn latest(&self) -> T {
        self.latest.borrow().clone()
    }

    /// A view of what comes from now on, to be given to a task.
    #[must_use]
    pub fn subscribe(&self) -> Subscriber<T> {
        Subscriber { latest: self.latest.subscribe() }
    }
}

/// Hears the latest.
#[derive(Debug, Clone)]
pub struct Subscriber<T> {
    latest: watch::Receiver<T>,
}

impl<T: Clone + Send + Sync> Subscriber<T> {
    /// Waits for something that was not heard yet. Dropping the future loses nothing.
    pub async fn next(&mut self) -> T {
        if self.latest.changed().await.is_err() {
            // Nobody is left who could publish anything.
            std::future::pending::<()>().await;
        }
        self.latest.borrow_and_update().clone()
    }
}
