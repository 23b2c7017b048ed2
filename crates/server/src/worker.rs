//! One worker: a core's listeners and its sessions.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use passive_ports::ShardHandle;
use runtime::{BoundListener, Listener, Receiver, Sender, Shutdown, Subscriber, sleep_until};

use crate::admission::Admission;
use crate::descriptors::SpareDescriptor;
use crate::farewell::Farewell;
use crate::logging::{Seldom, TransferLog};
use crate::logins::LoginGate;
use crate::metrics::{Metrics, Refusal, WorkerCounters};
use crate::newcomers::{self, Newcomers};
use crate::own_ports::OwnPorts;
use crate::passive::{HandedOver, Holder, PassivePorts};
use crate::replies;
use crate::service_manager::Pulse;
use crate::settings::{CurrentSettings, Deadlines, Settings};

/// What every worker and session of the server shares as long as it runs.
pub(crate) struct Service {
    /// Where each listener listens.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) own_ports: OwnPorts,
    pub(crate) gate: LoginGate,
    pub(crate) admission: Admission,
    pub(crate) sessions_started: AtomicU64,
    /// Workers that may have sessions; all of them at the start.
    pub(crate) workers_serving: AtomicUsize,
    /// It was said in the log that the port below the control port cannot be had.
    pub(crate) source_port_refusal_told: AtomicBool,
    pub(crate) metrics: &'static Metrics,
    /// Where it is wanted.
    pub(crate) transfer_log: Option<&'static TransferLog>,
}

/// What a worker is started with; it moves to the worker's thread.
pub(crate) struct WorkerParts {
    pub(crate) service: &'static Service,
    pub(crate) settings: Arc<Settings>,
    /// Newer ones.
    pub(crate) news: Subscriber<Arc<Settings>>,
    /// Told which ones the worker has taken up.
    pub(crate) taken_up: mpsc::Sender<(usize, u64)>,
    pub(crate) pulse: Arc<Pulse>,
    /// How often it beats, if anybody listens.
    pub(crate) pulse_every: Option<Duration>,
    /// In the order of [`Service::addresses`].
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
    pub(crate) settings: Rc<CurrentSettings>,
    pub(crate) counters: &'static WorkerCounters,
    pub(crate) passive: Rc<PassivePorts>,
    pub(crate) farewell: Rc<Farewell>,
    pub(crate) newcomers: Newcomers,
    /// Addresses that the server was asked to connect to, and does not.
    pub(crate) refused_addresses: Seldom,
    spare: RefCell<SpareDescriptor>,
}

/// Whom a control connection is from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    /// Its address.
    pub(crate) peer: SocketAddr,
    /// The address that it reached, if somebody told: otherwise it is the connection's own.
    pub(crate) reached: Option<SocketAddr>,
}

/// Runs a worker until the server shuts down and its sessions are gone.
pub(crate) async fn run(parts: WorkerParts) -> io::Result<()> {
    let WorkerParts { service, control, passive, shard, mailboxes, inbox, mut shutdown, accepting, .. } =
        parts;
    let WorkerParts { settings, news, taken_up, pulse, pulse_every, .. } = parts;
    let serving = Serving(&service.workers_serving);
    let number = shard.worker();
    service.metrics.watch_this_worker(number);
    let settings = Rc::new(CurrentSettings::new(settings));
    let passive_ports = PassivePorts::new(shard, Rc::clone(&settings), mailboxes);
    for listener in passive {
        runtime::spawn(Rc::clone(&passive_ports).accept_on(Listener::from_bound(listener)?));
    }
    runtime::spawn(Rc::clone(&passive_ports).take_handovers(inbox));
    runtime::spawn(Rc::clone(&passive_ports).expire_leases());
    runtime::spawn(take_up(Rc::clone(&settings), news, number, taken_up));
    if let Some(every) = pulse_every {
        runtime::spawn(beat(Arc::clone(&pulse), every));
    }

    let worker = Rc::new(Worker {
        service,
        settings,
        counters: service.metrics.counters(number),
        passive: passive_ports,
        farewell: Rc::default(),
        newcomers: Newcomers::default(),
        refused_addresses: Seldom::default(),
        spare: RefCell::new(SpareDescriptor::open()?),
    });
    let mut acceptors = Vec::with_capacity(control.len());
    for (number, listener) in control.into_iter().enumerate() {
        acceptors.push(runtime::spawn(Rc::clone(&worker).accept_on(Listener::from_bound(listener)?, number)));
    }
    // Nobody may be waiting for it any more.
    let _ = accepting.send(());
    drop(accepting);
    shutdown.wait().await;
    let told = Instant::now();
    let Deadlines { drain, drain_delay, .. } = worker.settings.get().deadlines;
    sleep_until(told + drain_delay).await;
    for acceptor in &acceptors {
        acceptor.abort();
    }
    worker.farewell.say();
    worker.wait_for_sessions(told + drain).await;
    drop(serving);
    service.wait_for_workers(told + drain).await;
    pulse.end();
    Ok(())
}

/// How long to rest between two looks for the end of the last session.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A worker that may have sessions, until this is dropped.
struct Serving(&'static AtomicUsize);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service {
    /// Waits until no worker has sessions any more: those of one may be waiting for data connections that come to the ports
    /// of another.
    async fn wait_for_workers(&self, deadline: Instant) {
        while self.workers_serving.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            sleep_until(Instant::now() + LOOK_EVERY).await;
        }
    }
}

/// Goes by the newest settings, for ever.
async fn take_up(
    settings: Rc<CurrentSettings>,
    mut news: Subscriber<Arc<Settings>>,
    worker: usize,
    taken_up: mpsc::Sender<(usize, u64)>,
) {
    loop {
        let newest = news.next().await;
        let generation = newest.generation;
        settings.set(newest);
        // Whoever asked for it may wait no longer.
        let _ = taken_up.send((worker, generation));
    }
}

/// Shows that the worker's event loop turns, for ever.
async fn beat(pulse: Arc<Pulse>, every: Duration) {
    loop {
        pulse.beat();
        sleep_until(Instant::now() + every).await;
    }
}

impl Worker {
    async fn accept_on(self: Rc<Self>, listener: Listener, number: usize) {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => self.on_connection(connection, number),
                Err(error) => self.on_accept_failed(&listener, &error).await,
            }
        }
    }

    /// No descriptor was left to accept with: the spare one is lent to tell the client.
    async fn on_accept_failed(&self, listener: &Listener, error: &io::Error) {
        /// How long to wait for descriptors to come free before the next newcomer is told.
        const REST: Duration = Duration::from_millis(50);
        tracing::warn!(%error, "a connection could not be accepted");
        self.spare.borrow_mut().lend(|| {
            if let Ok((connection, _)) = listener.try_accept() {
                self.counters.on_refused(Refusal::Descriptors);
                newcomers::turn_away(connection, &replies::OUT_OF_DESCRIPTORS);
            }
        });
        sleep_until(Instant::now() + REST).await;
    }

    /// Waits until the last session is gone. Every session listens for the farewell.
    async fn wait_for_sessions(&self, deadline: Instant) {
        while self.farewell.has_listeners() && Instant::now() < deadline {
            sleep_until(Instant::now() + LOOK_EVERY).await;
        }
        if self.farewell.has_listeners() {
            tracing::warn!("the time to drain is over: transfers are cut off");
        }
    }
}
