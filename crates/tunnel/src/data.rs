//! Data connections: one forwarding each, for one connection.

use std::fmt;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::complaints::{Complaints, Moment};
use crate::error::TunnelError;
use crate::forwarding::{LocalForwarding, RemoteForwarding};
use crate::listener::{Listener, PrivateListener};
use crate::relay;

/// How long the client may take to accept an active data connection.
const CLIENT_CONNECT: Duration = Duration::from_secs(30);

/// A data connection that is to come, or has come. Its forwarding is cancelled as soon as it has served.
pub(crate) struct DataChannel {
    shared: Arc<Shared>,
    door: Door,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the connection comes in by.
enum Door {
    Client(Listener),
    Server(PrivateListener),
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    phase: Phase,
    aborted: bool,
    /// When `ssh` was connected to: what it says of a channel that it cannot open comes later.
    connected: Option<Moment>,
    error: Option<io::Error>,
}

#[derive(Default)]
enum Phase {
    #[default]
    Waiting,
    Moving(TcpStream, UnixStream),
    Over,
}

impl DataChannel {
    /// For `PASV` and `EPSV`: waits at `local` for a connection from `client`, which goes on by `forwarding`. Gives the port
    /// that it waits at.
    pub(crate) fn passive(
        forwarding: LocalForwarding,
        local: IpAddr,
        client: IpAddr,
    ) -> Result<(Self, u16), TunnelError> {
        let listener = Listener::bind(SocketAddr::new(local, 0))?;
        let port = listener.address()?.port();
        let door = Door::Client(listener.clone());
        let channel = Self::start(door, move |shared| {
            if let Some(connection) = accept_from(&listener, client) {
                shared.carry_up(&forwarding, &connection);
            }
        })?;
        Ok((channel, port))
    }

    /// For `PORT` and `EPRT`: waits for a connection of the server by `forwarding`, which goes on to `client`.
    pub(crate) fn active(forwarding: RemoteForwarding, client: SocketAddr) -> Result<Self, TunnelError> {
        let door = Door::Server(forwarding.listener().clone());
        Self::start(door, move |shared| {
            if let Ok(connection) = forwarding.listener().accept() {
                shared.carry_down(forwarding, &connection, client);
            }
        })
    }

    fn start(door: Door, serve: impl FnOnce(&Shared) + Send + 'static) -> Result<Self, TunnelError> {
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let thread = thread::Builder::new().spawn(move || {
            serve(&served);
            served.enter(Phase::Over);
        })?;
        Ok(Self { shared, door, thread: Mutex::new(Some(thread)) })
    }

    /// Gives up waiting for a connection. One that has come is left alone.
    pub(crate) fn cancel(&self) {
        match &self.door {
            Door::Client(listener) => listener.close(),
            Door::Server(listener) => listener.close(),
        }
    }

    /// Ends it, whatever it does.
    pub(crate) fn abort(&self) {
        self.cancel();
        let mut state = self.shared.state();
        state.aborted = true;
        if let Phase::Moving(client, server) = &state.phase {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    /// Waits, at most `patience`, until a connection that the server makes has reached the client, or never will.
    pub(crate) fn wait_until_server_arrived(&self, patience: Duration) {
        if matches!(self.door, Door::Server(_)) {
            let is_waiting = |state: &mut State| matches!(state.phase, Phase::Waiting);
            drop(self.shared.changed.wait_timeout_while(self.shared.state(), patience, is_waiting));
        }
    }

    /// Whether bytes are on their way.
    pub(crate) fn is_moving(&self) -> bool {
        matches!(self.shared.state().phase, Phase::Moving(..))
    }

    /// Whether it is over, its forwarding cancelled.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.shared.state().phase, Phase::Over)
    }

    /// Why it failed, as far as it is known on this side of the server.
    pub(crate) fn failure(&self, complaints: &Complaints) -> Option<String> {
        let state = self.shared.state();
        let refused =
            state.connected.and_then(|moment| complaints.open_failure_since(moment, Duration::ZERO));
        refused.or_else(|| state.error.as_ref().map(ToString::to_string))
    }

    /// Waits until it is over.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for DataChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DataChannel").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

/// Waits for the client itself: another program of its machine, or another machine, must not get its data.
fn accept_from(listener: &Listener, client: IpAddr) -> Option<TcpStream> {
    loop {
        let (connection, peer) = listener.accept().ok()?;
        if peer.ip().to_canonical() == client {
            listener.close();
            return Some(connection);
        }
        tracing::warn!(%peer, "refused a data connection that is not the client's");
    }
}

impl Shared {
    /// The client has connected.
    fn carry_up(&self, forwarding: &LocalForwarding, client: &TcpStream) {
        self.state().connected = Some(forwarding.ssh().complaints().now());
        self.note(forwarding.connect().and_then(|server| self.carry(client, &server)));
    }

    /// The server has connected.
    fn carry_down(&self, forwarding: RemoteForwarding, server: &UnixStream, client: SocketAddr) {
        let connection = TcpStream::connect_timeout(&client, CLIENT_CONNECT);
        thread::scope(|scope| {
            // It has served: a second connection is a stranger's. To say so takes a process, which the data need not wait for.
            let cancelling = thread::Builder::new().spawn_scoped(scope, || drop(forwarding));
            let moved = cancelling.and(connection);
            self.note(moved.and_then(|client| self.carry(&client, server)));
        });
    }

    fn note(&self, moved: io::Result<()>) {
        if let Err(error) = moved {
            tracing::debug!("a data connection ended early: {error}");
            self.state().error = Some(error);
        }
    }

    fn carry(&self, client: &TcpStream, server: &UnixStream) -> io::Result<()> {
        let handles = Phase::Moving(client.try_clone()?, server.try_clone()?);
        self.enter(handles);
        // An abort from here on finds the handles; one before has left its mark.
        if self.state().aborted {
            return Ok(());
        }
        relay::relay(client, server)
    }

    fn enter(&self, phase: Phase) {
        self.state().phase = phase;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
