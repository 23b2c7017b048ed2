//! What the tests stand on: three networks, an sshd, the FTP server, and other people's clients.

pub(crate) mod control;
pub(crate) mod ftp_server;
pub(crate) mod lab;
pub(crate) mod namespace;
pub(crate) mod program;
pub(crate) mod sshd;

use std::time::{Duration, Instant};

/// How long anything may take before the test fails. No good run comes near it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `holds`, for what no event tells.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
