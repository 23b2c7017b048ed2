//! Whether the server takes clients: what load balancers and the service manager want to know.

use std::sync::atomic::{AtomicU8, Ordering};

/// Where the server stands between its start and its end. It only ever goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not every worker accepts yet.
    Starting,
    /// Clients are served.
    Ready,
    /// The server has been told to stop: newcomers should go elsewhere, even while they are still taken.
    Draining,
}

/// The phase, shared by whoever sets or tells it.
#[derive(Debug, Default)]
pub(crate) struct Readiness(AtomicU8);

impl Readiness {
    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    /// Every worker accepts. Nothing changes if the server has been told to stop meanwhile.
    pub(crate) fn set_ready(&self) {
        self.0.fetch_max(1, Ordering::Relaxed);
    }

    /// The server has been told to stop.
    pub(crate) fn set_draining(&self) {
        self.0.fetch_max(2, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_no_way_back() {
        let readiness = Readiness::default();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.set_ready();
        assert_eq!(readiness.phase(), Phase::Ready);
        readiness.set_draining();
        readiness.set_ready();
        assert_eq!(readiness.phase(), Phase::Draining);
    }
}
