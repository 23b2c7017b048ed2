//! Waiting for what has to happen.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;

/// How long anything may take that has to happen. No good run comes near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long between one look and the next.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again whether it `happened`; an error if it does not, or if a look fails.
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !happened()? {
        if Instant::now() > deadline {
            bail!("not within {} s: {what}", PATIENCE.as_secs());
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}
