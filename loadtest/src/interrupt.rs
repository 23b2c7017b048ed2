//! Ctrl-C and its like: a run ends with what was measured until then, and what was made for it is taken down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

/// A signal is the whole program's, and so is this.
static RECEIVED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// What a shell reports of a program that Ctrl-C has ended.
const EXIT_BY_SIGNAL: i32 = 130;

/// From now on the first signal does not end the program by itself. The second one does, whatever is left behind then.
///
/// # Errors
///
/// What the system says.
pub(crate) fn listen() -> anyhow::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first signal finds nothing received yet.
        register_conditional_shutdown(signal, EXIT_BY_SIGNAL, Arc::clone(&RECEIVED))
            .and_then(|_| register(signal, Arc::clone(&RECEIVED)))
            .context("cannot listen for signals")?;
    }
    Ok(())
}

/// Whether somebody wants the program to end.
pub(crate) fn is_received() -> bool {
    RECEIVED.load(Ordering::Relaxed)
}

/// For what goes before a run.
///
/// # Errors
///
/// Once somebody wants the program to end. Whoever gets it returns, and so everything is taken down on the way.
pub(crate) fn check() -> anyhow::Result<()> {
    if is_received() {
        bail!("interrupted before anything was measured");
    }
    Ok(())
}
