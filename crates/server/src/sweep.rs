//! Clears away what an earlier run that was killed left of its uploads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use storage::Root;

/// Sweeps trees, one after the other, on threads of its own. Uploads that are under way stay as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sweeper {
    cancelled: Arc<AtomicBool>,
}

impl Sweeper {
    /// Sweeps these trees, and waits for that so long at most.
    pub(crate) fn sweep(&self, roots: Vec<Arc<Root>>, wait: Duration) -> io::Result<()> {
        if roots.is_empty() {
            return Ok(());
        }
        let (done, is_done) = mpsc::channel();
        let cancelled = Arc::clone(&self.cancelled);
        thread::Builder::new().name(String::from("sweep")).spawn(move || {
            for root in roots {
                sweep(&root, &cancelled);
            }
            // Whoever waited may have gone on already.
            let _ = done.send(());
        })?;
        let _ = is_done.recv_timeout(wait);
        Ok(())
    }

    /// The server ends.
    pub(crate) fn stop(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

fn sweep(root: &Root, cancelled: &AtomicBool) {
    match root.sweep_stale_uploads(cancelled) {
        Ok(report) if report.removed > 0 => {
            tracing::info!(removed = report.removed, "removed uploads that an earlier run left unfinished");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%error, "could not look for uploads that an earlier run left unfinished");
        }
    }
}
