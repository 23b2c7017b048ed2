//! Ctrl-C and its like: a run ends with what was measured until then, and what was made for it is taken down.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use anyhow::{Context as _, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag::register;

/// A signal is the whole program's, and so is this.
static RECEIVED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// How often it is looked whether a thread has ended, or somebody wants the program to.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// From now on no signal ends the program by itself: it would leave its server and its directory behind.
///
/// # Errors
///
/// What the system says.
pub(crate) fn listen() -> anyhow::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        register(signal, Arc::clone(&RECEIVED)).context("cannot listen for signals")?;
    }
    // A file that is as large as one may be is an error of whoever writes it.
    register(SIGXFSZ, Arc::default()).context("cannot listen for signals")?;
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
        bail!("interrupted");
    }
    Ok(())
}

/// What a thread comes to, unless somebody wants the program to end before; then the thread is left alone.
///
/// # Errors
///
/// Once somebody wants that, or if the thread panicked.
pub(crate) fn joined<T>(thread: JoinHandle<T>) -> anyhow::Result<T> {
    while !thread.is_finished() {
        check()?;
        sleep(LOOK_AGAIN);
    }
    thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))
}
