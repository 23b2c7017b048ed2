//! A process that puts away what a killed tunnel leaves.
//!
//! `ssh -N` lives on when its parent is killed, and the port of a remote forwarding with it. The watchdog is a shell
//! that reads from a pipe, to whose other end only this process has: that read ends when this process does, however it does.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

const SCRIPT: &str = r#"read -r _; kill "$1"; rm -rf -- "$2""#;

/// Watches over one `ssh` and its directory.
#[derive(Debug)]
pub(crate) struct Watchdog(Mutex<Child>);

impl Watchdog {
    pub(crate) fn start(ssh_process: u32, directory: &Path) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "ringftpd-tunnel-watchdog", &ssh_process.to_string()]).arg(directory);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // What ends the tunnel by its process group must not end this one.
        command.process_group(0);
        Ok(Self(Mutex::new(command.spawn()?)))
    }

    /// Ends the watch: everything is put away.
    pub(crate) fn dismiss(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}
