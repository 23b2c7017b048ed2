//! What the service manager is told: `sd_notify(3)`, spoken by systemd and by others that took it over.
//!
//! Messages go to the socket that `NOTIFY_SOCKET` names; without it there is nobody to tell. A manager that does not listen
//! costs at most a moment: none of the threads that tell it anything serves clients.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;

/// Names the manager's socket: a path, or with `@` before it a name of Linux's own.
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";

/// How long a manager that does not read is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is granted beyond the drain deadline before the manager may kill: the time to end once everything is cut off.
const GRACE: Duration = Duration::from_secs(10);

/// The service manager, if there is one.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How long it waits for a sign of life before it takes the server for dead.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// As the environment tells. One that cannot be reached is a line in the log.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = std::env::var_os(SOCKET_VARIABLE).filter(|name| !name.is_empty()) else {
            return Self { socket: None, watchdog: None };
        };
        match connect(&name) {
            Ok(socket) => Self { socket: Some(socket), watchdog: sd_notify::watchdog_enabled() },
            Err(error) => {
                tracing::warn!("the service manager at {} cannot be told anything: {error}", name.display());
                Self { socket: None, watchdog: None }
            }
        }
    }

    /// Every worker accepts.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read again.
    pub(crate) fn reloading(&self) {
        // systemd matches the two by the time.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// That is over, whatever came of it.
    pub(crate) fn reloaded(&self, status: &str) {
        self.ready(status);
    }

    /// The server drains, which may take so long.
    pub(crate) fn stopping(&self, drain: Duration) {
        let extend = u32::try_from((drain + GRACE).as_micros()).unwrap_or(u32::MAX);
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(extend),
            NotifyState::Status("draining: transfers go on until they end or the drain deadline"),
        ]);
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let lines: Vec<String> = states.iter().map(|state| one_line(&state.to_string())).collect();
        if let Err(error) = socket.send(lines.join("\n").as_bytes()) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }

    /// How often each worker has to show that it answers, if somebody wants to know.
    pub(crate) fn pulse_every(&self) -> Option<Duration> {
        Some(self.watchdog? / 8)
    }

    /// Tells the manager twice in its time that the server lives, as long as every worker shows that it does.
    pub(crate) fn watch(self: &Arc<Self>, pulses: Vec<Arc<Pulse>>) -> anyhow::Result<()> {
        let Some(watchdog) = self.watchdog else { return Ok(()) };
        let manager = Arc::clone(self);
        thread::Builder::new()
            .name(String::from("watchdog"))
            .spawn(move || {
                let mut watched: Vec<Watched> = pulses.into_iter().map(Watched::new).collect();
                loop {
                    thread::sleep(watchdog / 2);
                    let silent = watched.iter_mut().position(|worker| !worker.answers());
                    match silent {
                        None => manager.tell(&[NotifyState::Watchdog]),
                        Some(worker) => tracing::error!(
                            worker,
                            "a worker does not answer: the watchdog is not told otherwise"
                        ),
                    }
                }
            })
            .context("cannot start a thread")?;
        Ok(())
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A message's line; what a status quotes may have several.
fn one_line(text: &str) -> String {
    text.replace('\n', "; ")
}

/// A worker's signs of life: its event loop turns.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    beats: AtomicU64,
    has_ended: AtomicBool,
}

impl Pulse {
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// The worker has ended as it should; it owes no sign of life.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }
}

/// A worker that is watched.
struct Watched {
    pulse: Arc<Pulse>,
    beats_seen: u64,
}

impl Watched {
    fn new(pulse: Arc<Pulse>) -> Self {
        let beats_seen = pulse.beats.load(Ordering::Relaxed);
        Self { pulse, beats_seen }
    }

    /// Whether it has shown a sign of life since this was asked last.
    fn answers(&mut self) -> bool {
        let before = std::mem::replace(&mut self.beats_seen, self.pulse.beats.load(Ordering::Relaxed));
        self.beats_seen != before || self.pulse.has_ended.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_answers_as_long_as_it_beats_or_once_it_has_ended() {
        let pulse = Arc::new(Pulse::default());
        let mut watched = Watched::new(Arc::clone(&pulse));
        assert!(!watched.answers());
        pulse.beat();
        assert!(watched.answers());
        assert!(!watched.answers());
        pulse.end();
        assert!(watched.answers());
        assert!(watched.answers());
    }

    #[test]
    fn a_status_stays_one_line() {
        assert_eq!(one_line("a.toml:1:1: one\na.toml:2:1: two"), "a.toml:1:1: one; a.toml:2:1: two");
    }
}
