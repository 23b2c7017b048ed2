//! One worker: a core's listeners and its sessions.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use config::{Network, SourcePort};
use passive_ports::ShardHandle;
use protocol::reply::Reply;
use protocol::session::SessionSettings;
use runtime::{
    Accepted, BoundListener, Listener, Receiver, Sender, Shutdown, Stream, sleep_until, timeout_at,
};
use storage::SyncPolicy;
use transfer::{CachePolicy, RoutePreference};

use crate::admission::{Admission, SessionPlace};
use crate::advertise::Advertiser;
use crate::control::{Client, ControlConnection};
use crate::descriptors::SpareDescriptor;
use crate::farewell::Farewell;
use crate::logins::Logins;
use crate::passive::{HandedOver, Holder, PassivePorts};
use crate::peers::DataPeers;
use crate::proxy_protocol::{Origin, read_origin};
use crate::rates::Rates;
use crate::replies;

/// What every worker and session of the server shares, and nobody changes.
pub(crate) struct Service {
    pub(crate) logins: Logins,
    pub(crate) settings: Arc<SessionSettings>,
    pub(crate) listeners: Vec<ListenerSettings>,
    pub(crate) peers: DataPeers,
    pub(crate) active: ActiveSettings,
    pub(crate) sync: SyncPolicy,
    pub(crate) route: RoutePreference,
    pub(crate) cache_policy: CachePolicy,
    /// What each session may transfer, and all together.
    pub(crate) limits: config::Limits,
    pub(crate) total_rates: Rates,
    pub(crate) deadlines: Deadlines,
    pub(crate) admission: Admission,
    pub(crate) sessions_started: AtomicU64,
}

impl Service {
    /// The limiters of a new session; none are made where nothing is limited.
    pub(crate) fn session_rates(&self) -> Rates {
        let limits = &self.limits;
        Rates::new(limits.download_rate_per_session, limits.upload_rate_per_session, limits.burst)
    }
}

/// What is particular to one listener.
#[derive(Debug)]
pub(crate) struct ListenerSettings {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    pub(crate) advertiser: Advertiser,
    /// The proxies in front of it, where it takes connections with a PROXY header.
    pub(crate) proxies: Option<Vec<Network>>,
}

/// How the server connects to clients.
#[derive(Debug)]
pub(crate) struct ActiveSettings {
    /// From the port below the control port, where that can be had.
    pub(crate) from_port_below: bool,
    /// It was said in the log that it cannot be had.
    pub(crate) refusal_told: AtomicBool,
}

impl ListenerSettings {
    /// The address that every client of this listener reaches; `None` where it listens on several.
    pub(crate) fn only_address(&self) -> Option<SocketAddr> {
        Some(self.address).filter(|address| !address.ip().is_unspecified())
    }
}

impl ActiveSettings {
    pub(crate) fn new(source_port: SourcePort) -> Self {
        Self {
            from_port_below: source_port == SourcePort::ControlMinusOne,
            refusal_told: AtomicBool::new(false),
        }
    }
}

/// How long the server waits for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    pub(crate) login: Duration,
    pub(crate) idle: Duration,
    pub(crate) data: Duration,
    pub(crate) stall: Duration,
    /// From the signal to stop until what still moves is cut off.
    pub(crate) drain: Duration,
    /// From the signal to stop until newcomers are no longer taken.
    pub(crate) drain_delay: Duration,
}

/// What a worker is started with; it moves to the worker's thread.
pub(crate) struct WorkerParts {
    pub(crate) service: &'static Service,
    /// In the order of [`Service::listeners`].
    pub(crate) control: Vec<BoundListener>,
    pub(crate) passive: Vec<BoundListener>,
    pub(crate) shard: ShardHandle<Holder>,
    pub(crate) mailboxes: Vec<Sender<HandedOver>>,
    pub(crate) inbox: Receiver<HandedOver>,
    pub(crate) shutdown: Shutdown,
    /// Told once, when the worker accepts.
    pub(crate) accepting: mpsc::Sender<()>,
}

/// What the sessions of one worker share.
pub(crate) struct Worker {
    pub(crate) service: &'static Service,
    pub(crate) passive: Rc<PassivePorts>,
    pub(crate) farewell: Rc<Farewell>,
    spare: RefCell<SpareDescriptor>,
}

/// Runs a worker until the server shuts down and its sessions are gone.
pub(crate) async fn run(parts: WorkerParts) -> io::Result<()> {
    let WorkerParts { service, control, passive, shard, mailboxes, inbox, mut shutdown, accepting } = parts;
    let passive_ports = PassivePorts::new(shard, &service.peers, mailboxes);
    for listener in passive {
        runtime::spawn(Rc::clone(&passive_ports).accept_on(Listener::from_bound(listener)?));
    }
    runtime::spawn(Rc::clone(&passive_ports).take_handovers(inbox));
    runtime::spawn(Rc::clone(&passive_ports).expire_leases());

    let worker = Rc::new(Worker {
        service,
        passive: passive_ports,
        farewell: Rc::default(),
        spare: RefCell::new(SpareDescriptor::open()?),
    });
    let mut acceptors = Vec::with_capacity(control.len());
    for (listener, settings) in control.into_iter().zip(&service.listeners) {
        acceptors
            .push(runtime::spawn(Rc::clone(&worker).accept_on(Listener::from_bound(listener)?, settings)));
    }
    // Nobody may be waiting for it any more.
    let _ = accepting.send(());
    drop(accepting);
    shutdown.wait().await;
    let told = Instant::now();
    sleep_until(told + service.deadlines.drain_delay).await;
    for acceptor in &acceptors {
        acceptor.abort();
    }
    worker.farewell.say();
    worker.wait_for_sessions(told + service.deadlines.drain).await;
    Ok(())
}

impl Worker {
    async fn accept_on(self: Rc<Self>, listener: Listener, settings: &'static ListenerSettings) {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => self.on_connection(connection, settings),
                Err(error) => self.on_accept_failed(&listener, &error).await,
            }
        }
    }

    fn on_connection(self: &Rc<Self>, connection: Accepted, settings: &'static ListenerSettings) {
        let place = match self.service.admission.admit() {
            Ok(place) => place,
            Err(full) => {
                tracing::warn!(peer = %connection.peer(), ?full, "refused: too many sessions");
                return turn_away(connection, &replies::full(full));
            }
        };
        let id = self.service.sessions_started.fetch_add(1, Ordering::Relaxed) + 1;
        match connection.into_stream() {
            Ok(stream) => match &settings.proxies {
                Some(proxies) => {
                    let behind_proxy =
                        Rc::clone(self).serve_behind_proxy(id, stream, settings, proxies, place);
                    drop(runtime::spawn(behind_proxy));
                }
                None => {
                    let client = Client { peer: stream.peer(), reached: None };
                    self.serve(id, stream, settings, client, Vec::new(), place);
                }
            },
            Err(error) => tracing::warn!(session = id, %error, "a connection could not be served"),
        }
    }

    /// Learns from the proxy whom it connects for, and serves that client.
    async fn serve_behind_proxy(
        self: Rc<Self>,
        id: u64,
        stream: Stream,
        settings: &'static ListenerSettings,
        proxies: &'static [Network],
        place: SessionPlace,
    ) {
        let deadline = Instant::now() + self.service.deadlines.login;
        match timeout_at(deadline, read_origin(&stream, proxies)).await {
            Ok(Ok((origin, received))) => {
                let client = match origin {
                    Origin::Client { peer, reached } => Client { peer, reached: Some(reached) },
                    Origin::Proxy => Client { peer: stream.peer(), reached: None },
                };
                self.serve(id, stream, settings, client, received, place);
            }
            Ok(Err(error)) => tracing::debug!(session = id, peer = %stream.peer(), %error, "not served"),
            Err(runtime::Elapsed) => {
                tracing::debug!(session = id, peer = %stream.peer(), "no PROXY header came");
            }
        }
    }

    /// Serves a client, who sent `received` already, in a task of its own.
    fn serve(
        self: &Rc<Self>,
        id: u64,
        stream: Stream,
        settings: &'static ListenerSettings,
        client: Client,
        received: Vec<u8>,
        place: SessionPlace,
    ) {
        let client_place = match self.service.admission.admit_client(client.peer.ip()) {
            Ok(client_place) => client_place,
            Err(full) => {
                tracing::warn!(session = id, peer = %client.peer, ?full, "refused: too many sessions");
                return tell_and_close(&stream, &replies::full(full));
            }
        };
        // Made here and only borrowed by what runs it: a future that took it by value would hold it several times over, for
        // as long as the client is idle.
        let mut control = ControlConnection::new(
            Rc::clone(self),
            id,
            stream,
            settings,
            client,
            received,
            (place, client_place),
        );
        drop(runtime::spawn(async move { control.run().await }));
    }

    /// No descriptor was left to accept with: the spare one is lent to tell the client.
    async fn on_accept_failed(&self, listener: &Listener, error: &io::Error) {
        /// How long to wait for descriptors to come free before the next newcomer is told.
        const REST: Duration = Duration::from_millis(50);
        tracing::warn!(%error, "a connection could not be accepted");
        self.spare.borrow_mut().lend(|| {
            if let Ok((connection, _)) = listener.try_accept() {
                turn_away(connection, &replies::OUT_OF_DESCRIPTORS);
            }
        });
        sleep_until(Instant::now() + REST).await;
    }

    /// Waits until the last session is gone. Every session listens for the farewell.
    async fn wait_for_sessions(&self, deadline: Instant) {
        const LOOK_EVERY: Duration = Duration::from_millis(10);
        while self.farewell.has_listeners() && Instant::now() < deadline {
            sleep_until(Instant::now() + LOOK_EVERY).await;
        }
        if self.farewell.has_listeners() {
            tracing::warn!("the time to drain is over: transfers are cut off");
        }
    }
}

fn turn_away(connection: Accepted, reply: &Reply) {
    if let Ok(stream) = connection.into_stream() {
        tell_and_close(&stream, reply);
    }
}

/// Tells a client why it is not served, as far as that fits in its socket.
fn tell_and_close(stream: &Stream, reply: &Reply) {
    let mut text = Vec::new();
    reply.encode(&mut text);
    // Whoever does not take one line at once has to do without it.
    let _ = stream.try_send(&text);
}
