//! A flag that is raised once and reaches every task of every worker.

use std::sync::Arc;

use tokio::sync::watch;

/// Raises the flag. Dropping every clone without raising it leaves the waiters waiting.
#[derive(Debug, Clone)]
pub struct ShutdownSource {
    flag: Arc<watch::Sender<bool>>,
}

impl ShutdownSource {
    /// A flag that is down.
    #[must_use]
    pub fn new() -> ShutdownSource {
        ShutdownSource { flag: Arc::new(watch::Sender::new(false)) }
    }

    /// Raises the flag, for good. From any thread, any number of times.
    pub fn trigger(&self) {
        self.flag.send_replace(true);
    }

    /// A view of the flag, to be given to a task.
    #[must_use]
    pub fn subscribe(&self) -> Shutdown {
        Shutdown { flag: self.flag.subscribe() }
    }
}

impl Default for ShutdownSource {
    fn default() -> ShutdownSource {
        ShutdownSource::new()
    }
}

/// Sees the flag.
#[derive(Debug, Clone)]
pub struct Shutdown {
    flag: watch::Receiver<bool>,
}

impl Shutdown {
    /// Waits until the flag is up; at once if it is already. Dropping the future loses nothing.
    pub async fn wait(&mut self) {
        if self.flag.wait_for(|up| *up).await.is_err() {
            // Nobody is left who could raise it.
            std::future::pending::<()>().await;
        }
    }
}
