//! A server that runs on a machine of the laboratory.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use crate::lab::PATIENCE;
use crate::lab::namespace::Namespace;
use crate::lab::plan::{CONTROL_PORTS, PASSIVE_HIGH, PASSIVE_LOW};

/// What a server is told beyond what all are told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Settings {
    /// Flags.
    pub(crate) flags: &'static [&'static str],
    /// Lines of its configuration.
    pub(crate) config: &'static str,
}

/// A running server. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: Arc<Log>,
    /// The directory that it serves.
    pub(crate) directory: PathBuf,
}

/// What a program has written so far.
#[derive(Debug, Default)]
struct Log {
    text: Mutex<(String, bool)>,
    grown: Condvar,
}

impl Server {
    /// Starts ringftpd on every control port of this machine, serving a new directory below `scratch`.
    pub(crate) fn start(
        binary: &Path,
        machine: &Namespace,
        scratch: &Path,
        settings: Settings,
    ) -> anyhow::Result<Self> {
        let directory = scratch.join(machine.name());
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir(&directory)?;
        wait_until_ports_are_free(machine)?;
        let mut command = machine.command(binary);
        command.arg("serve").arg(&directory).args(["--anonymous", "write", "--data-timeout", "3"]);
        command.args(["--passive-ports", &format!("{PASSIVE_LOW}-{PASSIVE_HIGH}")]).args(settings.flags);
        let listeners = if settings.config.contains("listeners = ") { &[][..] } else { &CONTROL_PORTS };
        for port in listeners {
            command.args(["--listen", &format!("[::]:{port}")]);
        }
        if !settings.config.is_empty() {
            let file = scratch.join(format!("{}.toml", machine.name()));
            fs::write(&file, settings.config)?;
            command.arg("--config").arg(file);
        }
        let mut child =
            command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().context("cannot run ip")?;
        let log = Arc::new(Log::default());
        let stderr = child.stderr.take().context("the server's log was asked for")?;
        let reader = Arc::clone(&log);
        thread::spawn(move || reader.take_from(BufReader::new(stderr)));
        let server = Self { child, log, directory };
        server.wait_for_log(" ready")?;
        Ok(server)
    }

    /// Waits until the log has a line with `wanted`.
    pub(crate) fn wait_for_log(&self, wanted: &str) -> anyhow::Result<()> {
        let awaited = |log: &mut (String, bool)| !log.1 && !log.0.contains(wanted);
        let (log, waited) = self
            .log
            .grown
            .wait_timeout_while(self.log.lock(), PATIENCE, awaited)
            .unwrap_or_else(PoisonError::into_inner);
        if log.0.contains(wanted) {
            return Ok(());
        }
        let mut said = format!("the server did not log \"{wanted}\"");
        let _ = write!(said, "{}", if waited.timed_out() { " in time" } else { " before it ended" });
        bail!("{said}; it logged:\n{}", log.0)
    }

    /// What the kernel says of its process.
    pub(crate) fn status(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(format!("/proc/{}/status", self.child.id()))?)
    }

    /// The last that it has logged, where all would be thousands of lines.
    pub(crate) fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        format!("the end of the server's log:\n{}", end.join("\n"))
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().0.clone()
    }
}

/// The sockets of a process that had an io_uring live on for a moment after it: the kernel takes a ring down by and by.
fn wait_until_ports_are_free(machine: &Namespace) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let ports = || CONTROL_PORTS.into_iter().chain(PASSIVE_LOW..=PASSIVE_HIGH);
    let are_free = || ports().all(|port| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_ok());
    while !machine.within(are_free)? {
        ensure!(Instant::now() < deadline, "something else listens on a port of the server");
        thread::yield_now();
    }
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        // `ip netns exec` becomes the server, so that this is its process. It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, (String, bool)> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_from(&self, mut lines: impl BufRead) {
        let mut line = String::new();
        while let Ok(1..) = lines.read_line(&mut line) {
            self.lock().0.push_str(&line);
            self.grown.notify_all();
            line.clear();
        }
        self.lock().1 = true;
        self.grown.notify_all();
    }
}
