//! Ctrl-C and its like: what was made for a run is taken down before the program ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether somebody wants the run to end.
#[derive(Debug)]
pub(crate) struct Interrupt {
    received: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on signals no longer end the program by themselves.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let received = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&received))
                .context("cannot listen for signals")?;
        }
        Ok(Self { received })
    }

    /// An error once a signal came. Whoever gets it returns, and so everything is taken down on the way.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.received.load(Ordering::Relaxed) {
            bail!("interrupted; what was made for the run was taken down");
        }
        Ok(())
    }
}
