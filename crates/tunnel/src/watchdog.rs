//! A process that puts away what a killed tunnel leaves.
//!
//! `ssh -N` lives on when its parent is killed, and the port of a remote forwarding with it. The watchdog is a shell
//! that reads from a pipe, to whose other end only this process has: that read ends when this process does, however it does. It runs
//! before `ssh` does, lest there be a moment in which nobody watches.

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

const SCRIPT: &str = r#"read -r ssh; if [ -n "$ssh" ]; then read -r _; kill "$ssh"; fi; rm -rf -- "$1""#;

/// Watches over a directory, and over the `ssh` whose it is.
#[derive(Debug)]
pub(crate) struct Watchdog(Mutex<Child>);

impl Watchdog {
    pub(crate) fn start(directory: &Path) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "ringftpd-tunnel-watchdog"]).arg(directory);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // What ends the tunnel by its process group must not end this one.
        command.process_group(0);
        Ok(Self(Mutex::new(command.spawn()?)))
    }

    /// From now on it watches over this `ssh`, too.
    pub(crate) fn watch(&self, ssh_process: u32) -> io::Result<()> {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut child.stdin {
            Some(pipe) => writeln!(pipe, "{ssh_process}"),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Ends the watch: everything is put away.
    pub(crate) fn dismiss(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}
