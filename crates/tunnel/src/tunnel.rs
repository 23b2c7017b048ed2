//! The tunnel as a whole: from its start to its end.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::TunnelError;
use crate::forwarding::LocalForwarding;
use crate::listener::Listener;
use crate::options::TunnelOptions;
use crate::session::{Session, farewell};
use crate::ssh::Ssh;
use crate::stop::StopHandle;

/// How many clients may be connected at a time.
const SESSIONS_MAX: usize = 100;

/// How long accepting rests when the system has no descriptors to give.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// How long sessions may take to say goodbye when the SSH connection is lost, and how often is looked.
const GOODBYE: Duration = Duration::from_secs(2);
const GOODBYE_LOOK: Duration = Duration::from_millis(10);

/// A tunnel that stands: clients can connect. It ends when it is dropped.
#[derive(Debug)]
pub struct Tunnel {
    address: SocketAddr,
    stop: StopHandle,
    accepting: Option<JoinHandle<Result<(), TunnelError>>>,
}

/// Opens a tunnel and holds it open until SIGINT or SIGTERM comes, or the SSH connection is lost.
///
/// # Errors
/// If the tunnel cannot be opened, or the SSH connection is lost. To be stopped is no error.
pub fn run(options: &TunnelOptions) -> Result<(), TunnelError> {
    let stop = StopHandle::new();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    let stop_by_signal = stop.clone();
    let listening = thread::Builder::new().spawn(move || {
        for _ in signals.forever() {
            stop_by_signal.stop();
        }
    })?;
    let outcome = Tunnel::start_with(options, &stop).and_then(Tunnel::wait);
    handle.close();
    let _ = listening.join();
    match outcome {
        Err(TunnelError::Stopped) => Ok(()),
        outcome => outcome,
    }
}

impl Tunnel {
    /// Opens a tunnel.
    ///
    /// # Errors
    /// If `ssh` is missing or cannot connect, or the listening address cannot be had.
    pub fn start(options: &TunnelOptions) -> Result<Self, TunnelError> {
        Self::start_with(options, &StopHandle::new())
    }

    /// Opens a tunnel that `stop` can end, before it stands too.
    ///
    /// # Errors
    /// As [`Tunnel::start`], and [`TunnelError::Stopped`].
    pub fn start_with(options: &TunnelOptions, stop: &StopHandle) -> Result<Self, TunnelError> {
        let listener = Listener::bind(options.listen)
            .map_err(|source| TunnelError::Listen { address: options.listen, source })?;
        let address = listener.address()?;
        let ssh = Arc::new(Ssh::connect(options, stop)?);
        let server = &options.server;
        let control = LocalForwarding::ask(&ssh, "control", server.host(), server.port())?;
        let active =
            options.active_address().map_or_else(|| String::from("refused"), |active| active.to_string());
        tracing::info!(%address, host = ssh.host(), %server, %active, "the tunnel stands");
        let hub = Hub { options: Arc::new(options.clone()), ssh, control, sessions: Arc::default() };
        stop.watch(listener.clone());
        let asked = stop.clone();
        let accepting = thread::Builder::new().spawn(move || hub.serve(&listener, &asked))?;
        Ok(Self { address, stop: stop.clone(), accepting: Some(accepting) })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle to end the tunnel with.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Waits for the end: until everything is put away.
    ///
    /// # Errors
    /// If the end is that the SSH connection was lost.
    pub fn wait(mut self) -> Result<(), TunnelError> {
        self.join()
    }

    fn join(&mut self) -> Result<(), TunnelError> {
        let Some(accepting) = self.accepting.take() else { return Ok(()) };
        accepting
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread of the tunnel has panicked").into()))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop.stop();
        if let Err(error) = self.join() {
            tracing::warn!("{error}");
        }
    }
}

/// What the accepting thread works with.
struct Hub {
    options: Arc<TunnelOptions>,
    /// Dropped before `ssh`, which it is cancelled by.
    control: LocalForwarding,
    ssh: Arc<Ssh>,
    sessions: Arc<Mutex<HashMap<u64, Arc<Session>>>>,
}

impl Hub {
    /// Accepts clients until somebody asks for the end, and puts everything away then.
    fn serve(self, listener: &Listener, stop: &StopHandle) -> Result<(), TunnelError> {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        let mut number = 0;
        while !stop.is_asked() {
            match listener.accept() {
                Ok((client, peer)) => {
                    threads.retain(|thread| !thread.is_finished());
                    number += 1;
                    match self.begin_session(number, client) {
                        Ok(thread) => threads.push(thread),
                        Err(error) => tracing::warn!(%peer, "no session: {error}"),
                    }
                }
                Err(_) if stop.is_asked() => break,
                Err(error) => {
                    tracing::warn!("cannot accept a client: {error}");
                    thread::sleep(ACCEPT_REST);
                }
            }
        }
        // Before the end of ssh is this tunnel's own doing.
        let lost = self.ssh.lost(Duration::ZERO);
        if lost.is_some() {
            self.wait_for_goodbyes();
        }
        for session in sessions(&self.sessions).values() {
            session.abort();
        }
        for thread in threads {
            // What it panicked with is on standard error already.
            let _ = thread.join();
        }
        lost.map_or(Ok(()), Err)
    }

    /// Without its ssh a session ends by itself, with a word to its client.
    fn wait_for_goodbyes(&self) {
        let deadline = Instant::now() + GOODBYE;
        while !sessions(&self.sessions).is_empty() && Instant::now() < deadline {
            thread::sleep(GOODBYE_LOOK);
        }
    }

    fn begin_session(&self, number: u64, mut client: TcpStream) -> io::Result<JoinHandle<()>> {
        let refused = if sessions(&self.sessions).len() >= SESSIONS_MAX {
            io::Error::other("too many sessions; try again later")
        } else {
            let welcome = client.try_clone()?;
            match Session::new(number, &self.options, &self.control, &self.ssh, welcome) {
                Ok(session) => return self.spawn(number, session),
                Err(error) => error,
            }
        };
        let mut reply = Vec::new();
        farewell(&format!("The tunnel cannot serve: {refused}.")).encode(&mut reply);
        client.write_all(&reply)?;
        Err(refused)
    }

    fn spawn(&self, number: u64, session: Session) -> io::Result<JoinHandle<()>> {
        let session = Arc::new(session);
        let all = Arc::clone(&self.sessions);
        sessions(&all).insert(number, Arc::clone(&session));
        let spawned = thread::Builder::new().spawn(move || {
            session.run();
            sessions(&all).remove(&number);
        });
        spawned.inspect_err(|_| drop(sessions(&self.sessions).remove(&number)))
    }
}

fn sessions(all: &Mutex<HashMap<u64, Arc<Session>>>) -> MutexGuard<'_, HashMap<u64, Arc<Session>>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}
