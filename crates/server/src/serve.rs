//! `ringftpd serve`: from options to running workers, and to their end.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use config::{Config, RuntimeChoice, Sources};
use nix::sys::signal::Signal;
use passive_ports::{Limits, ShardHandle};
use runtime::{
    Backend, BackendChoice, BoundListener, DESCRIPTORS_PER_WORKER_MAX, Publisher, Shutdown, ShutdownSource,
    WorkerConfig, mailbox, spawn_worker,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::admission::Admission;
use crate::bind::{self, PassiveSockets};
use crate::descriptors;
use crate::logging::{LogLevelSetter, TransferLog, TransferLogGuard};
use crate::logins::LoginGate;
use crate::metrics::{Bounds, Metrics, MetricsListener};
use crate::own_ports::OwnPorts;
use crate::passive::Holder;
use crate::privileges;
use crate::readiness::Readiness;
use crate::reload::{Links, Reloader, Reloads};
use crate::service_manager::{Pulse, ServiceManager};
use crate::settings::Settings;
use crate::sweep::Sweeper;
use crate::worker::{self, Service, WorkerParts};

/// How many connections one worker may have accepted for another before that one takes them.
const HANDOVERS_MAX: usize = 4096;

/// How long the start waits for leftovers of an earlier run to be cleared away; what is left then is cleared meanwhile.
const SWEEP_WAIT: Duration = Duration::from_secs(2);

/// Serves until a signal says to stop. On SIGHUP the sources are read again.
///
/// Who started the server may be root, and binds; who serves opens what is served, so that what he may not read is found out
/// before anybody is served.
pub(crate) fn serve(sources: Sources, config: &Config, log_level: LogLevelSetter) -> anyhow::Result<()> {
    let signals = catch_signals()?;
    let manager = Arc::new(ServiceManager::from_environment());
    let bound = Bound::by_who_started(config)?;
    if let Some(user) = &config.user {
        privileges::become_user(user)?;
    }
    let prepared = Prepared::by_who_serves(sources, config, bound)?;
    prepared.start(config, manager, log_level)?.wait_until_told(signals)
}

fn catch_signals() -> anyhow::Result<Signals> {
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
    // By itself it ends the process when one upload passes RLIMIT_FSIZE; caught, the write fails with EFBIG.
    signal_hook::flag::register(Signal::SIGXFSZ as i32, Arc::default()).context("cannot catch SIGXFSZ")?;
    Ok(signals)
}

/// What the process has of the machine: limits, cores and every port.
struct Bound {
    descriptors_max: u64,
    backend: Backend,
    /// The core of each worker.
    cores: Vec<usize>,
    sockets: Sockets,
    metrics: Option<MetricsListener>,
}

impl Bound {
    fn by_who_started(config: &Config) -> anyhow::Result<Self> {
        let descriptors_max =
            descriptors::raise_limit().context("cannot raise the limit of file descriptors")?;
        descriptors::reserve(descriptors_max);
        let backend = choose_backend(config.runtime)?;
        let cores = cores(config.workers)?;
        let sockets = Sockets::bind(config, cores.len())?;
        let metrics = bind_metrics(config)?;
        Ok(Self { descriptors_max, backend, cores, sockets, metrics })
    }
}

/// What the workers will serve, and all that they share.
struct Prepared {
    backend: Backend,
    cores: Vec<usize>,
    sockets: Sockets,
    lease_lifetime: Duration,
    readiness: Arc<Readiness>,
    reloader: Reloader,
    sweeper: Sweeper,
    service: &'static Service,
    transfer_log_guard: Option<TransferLogGuard>,
}

impl Prepared {
    fn by_who_serves(sources: Sources, config: &Config, bound: Bound) -> anyhow::Result<Self> {
        let Bound { descriptors_max, backend, cores, sockets, metrics: listener } = bound;
        let readiness = Arc::new(Readiness::default());
        let metrics: &'static Metrics =
            Box::leak(Box::new(Metrics::new(cores.len(), backend, Arc::clone(&readiness))));
        let metrics_port = listener.as_ref().and_then(MetricsListener::port);
        if let Some(listener) = listener {
            listener.serve(metrics)?;
        }
        let (transfer_log, transfer_log_guard) = open_transfer_log(config, metrics)?.unzip();
        let lease_lifetime = config.deadlines.data_s.duration().max(Limits::default().lease_lifetime);
        let reloader = Reloader::first(sources, config.clone(), lease_lifetime)?;
        let sweeper = Sweeper::default();
        // Usually this is over at once, and nobody ever sees a leftover; a huge tree is swept while it is served.
        sweeper.sweep(reloader.roots().for_uploads(config), SWEEP_WAIT).context("cannot start a thread")?;

        let workers_own = DESCRIPTORS_PER_WORKER_MAX * cores.len() as u64;
        let descriptors_open =
            descriptors::count_open().context("cannot count file descriptors")? + workers_own;
        let addresses = sockets.addresses();
        let hosts = addresses.iter().map(SocketAddr::ip);
        let control_ports = addresses.iter().map(SocketAddr::port);
        let passive_ports = sockets.passive.ports.iter().copied();
        let service: &'static Service = Box::leak(Box::new(Service {
            own_ports: OwnPorts::new(hosts, control_ports, passive_ports, metrics_port),
            addresses,
            gate: LoginGate::new(&config.limits)?,
            admission: Admission::new(&config.limits, descriptors_max, descriptors_open),
            sessions_started: AtomicU64::new(0),
            workers_serving: AtomicUsize::new(cores.len()),
            source_port_refusal_told: AtomicBool::new(false),
            metrics,
            transfer_log,
        }));
        Ok(Self {
            backend,
            cores,
            sockets,
            lease_lifetime,
            readiness,
            reloader,
            sweeper,
            service,
            transfer_log_guard,
        })
    }

    /// Starts the workers and what looks after them, and tells everybody once all of them accept.
    fn start(
        self,
        config: &Config,
        manager: Arc<ServiceManager>,
        log_level: LogLevelSetter,
    ) -> anyhow::Result<Serving> {
        let Self { backend, cores, service, .. } = self;
        let shutdown = ShutdownSource::new();
        let settings = Arc::clone(self.reloader.settings());
        service.metrics.set_sessions_max(service.admission.sessions_max(&settings.admission));
        let news = Publisher::new(Arc::clone(&settings));
        let (takes_up, taken_up) = mpsc::channel();
        let parts = StartParts {
            service,
            settings: Arc::clone(&settings),
            news: news.clone(),
            takes_up,
            pulse_every: manager.pulse_every(),
            lease_lifetime: self.lease_lifetime,
            shutdown: shutdown.subscribe(),
        };
        let ports = self.sockets.passive.ports.clone();
        let running = start_workers(&parts, self.sockets, &cores, backend)?;
        drop(parts);
        // A worker that fails is not ready, and is found out by who waits for its end.
        if running.accepting.iter().count() == cores.len() {
            self.readiness.set_ready();
        }
        announce(config, &ports, &cores, backend, service, &settings);
        drop(settings);
        manager.watch(running.pulses)?;
        let links = Links {
            service,
            news: news.clone(),
            taken_up,
            workers: cores.len(),
            log_level,
            manager: Arc::clone(&manager),
            sweeper: self.sweeper.clone(),
        };
        let reloads = self.reloader.start(links)?;
        manager.ready(&format!(
            "serving on {}",
            service.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ));
        Ok(Serving {
            workers: running.workers,
            reloads,
            shutdown,
            news,
            manager,
            readiness: self.readiness,
            sweeper: self.sweeper,
            _transfer_log_guard: self.transfer_log_guard,
        })
    }
}

/// A server that serves, as the thread sees it that started it.
struct Serving {
    workers: Vec<Running>,
    reloads: Reloads,
    shutdown: ShutdownSource,
    news: Publisher<Arc<Settings>>,
    manager: Arc<ServiceManager>,
    readiness: Arc<Readiness>,
    sweeper: Sweeper,
    /// Goes last, and writes what is left.
    _transfer_log_guard: Option<TransferLogGuard>,
}

impl Serving {
    /// Goes on until a signal or the end of a worker, and then until all have ended.
    fn wait_until_told(self, signals: Signals) -> anyhow::Result<()> {
        let stop = || {
            self.readiness.set_draining();
            self.manager.stopping(self.news.latest().deadlines.drain);
            self.shutdown.trigger();
        };
        wait_until_told(signals, self.workers, &self.reloads, stop)?;
        self.sweeper.stop();
        Ok(())
    }
}

fn choose_backend(choice: RuntimeChoice) -> anyhow::Result<Backend> {
    let (backend, refusal) = runtime::choose_backend(match choice {
        RuntimeChoice::Auto => BackendChoice::Auto,
        RuntimeChoice::IoUring => BackendChoice::IoUring,
        RuntimeChoice::Epoll => BackendChoice::Epoll,
    })?;
    if let Some(refusal) = refusal {
        tracing::warn!("io_uring cannot be used, so the workers run on epoll: {refusal}");
    }
    Ok(backend)
}

/// The core of each worker.
fn cores(workers: Option<NonZeroUsize>) -> anyhow::Result<Vec<usize>> {
    let allowed = runtime::allowed_cores().context("cannot tell which cores may be used")?;
    let Some(workers) = workers else { return Ok(allowed) };
    if workers.get() > allowed.len() {
        tracing::warn!(workers, cores = allowed.len(), "more workers than cores: some share one");
    }
    Ok(allowed.iter().copied().cycle().take(workers.get()).collect())
}

/// Every listening socket, before they go to their workers.
struct Sockets {
    /// For each address the sockets of all workers.
    control: Vec<Vec<BoundListener>>,
    passive: PassiveSockets,
}

impl Sockets {
    fn bind(config: &Config, workers: usize) -> anyhow::Result<Self> {
        let wanted = listen_addresses(config.listeners.iter().map(|listener| listener.address));
        let control = wanted
            .iter()
            .map(|address| bind::bind_control(*address, &wanted, workers))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let passive = bind::bind_passive(config.passive.ports, &wanted)?;
        Ok(Self { control, passive })
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.control.iter().filter_map(|listeners| listeners.first()).map(BoundListener::local).collect()
    }
}

/// Opens the log of transfers, if one is wanted; with the guard that writes what is left of it.
fn open_transfer_log(
    config: &Config,
    metrics: &Metrics,
) -> anyhow::Result<Option<(&'static TransferLog, TransferLogGuard)>> {
    let Some(path) = &config.log.xferlog else { return Ok(None) };
    let (log, guard) = TransferLog::open(path)?;
    let log: &'static TransferLog = Box::leak(Box::new(log));
    metrics.watch_transfer_log(log);
    Ok(Some((log, guard)))
}

fn bind_metrics(config: &Config) -> anyhow::Result<Option<MetricsListener>> {
    listen_addresses(config.metrics.address.into_iter())
        .first()
        .copied()
        .map(MetricsListener::bind)
        .transpose()
}

/// The addresses to listen on: without IPv6 on this machine, `[::]` means every IPv4 address.
fn listen_addresses(listen: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let has_ipv6 = bind::has_ipv6();
    let usable = |address: SocketAddr| {
        if address.is_ipv6() && address.ip().is_unspecified() && !has_ipv6 {
            tracing::warn!("this machine has no IPv6: listening on IPv4 alone");
            SocketAddr::from(([0, 0, 0, 0], address.port()))
        } else {
            address
        }
    };
    listen.map(usable).collect()
}

/// A worker's thread.
type Running = thread::JoinHandle<io::Result<()>>;

struct Workers {
    workers: Vec<Running>,
    pulses: Vec<Arc<Pulse>>,
    /// Each worker says once that it accepts; there is nobody left to say so once every worker has, or has failed.
    accepting: mpsc::Receiver<()>,
}

/// What every worker is started with alike.
struct StartParts {
    service: &'static Service,
    settings: Arc<Settings>,
    news: Publisher<Arc<Settings>>,
    takes_up: mpsc::Sender<(usize, u64)>,
    pulse_every: Option<Duration>,
    lease_lifetime: Duration,
    shutdown: Shutdown,
}

fn start_workers(
    start: &StartParts,
    sockets: Sockets,
    cores: &[usize],
    backend: Backend,
) -> anyhow::Result<Workers> {
    let limits = Limits {
        // A reload may allow more sessions than the start did.
        leases_max: u32::try_from(start.service.admission.sessions_possible()).unwrap_or(u32::MAX),
        lease_lifetime: start.lease_lifetime,
        ..Limits::default()
    };
    let shards = passive_ports::shards::<Holder>(&sockets.passive.ports, cores.len(), limits)?;
    let (mailboxes, inboxes): (Vec<_>, Vec<_>) = cores.iter().map(|_| mailbox(HANDOVERS_MAX)).unzip();
    let mut control: Vec<_> = sockets.control.into_iter().map(Vec::into_iter).collect();
    let mut passive = sockets.passive.listeners;
    if let Some(shard) = shards.first() {
        start.service.metrics.set_bounds(Bounds {
            passive: shard.observer(),
            passive_ports: sockets.passive.ports.len(),
            password_checks: start.service.gate.checks(),
        });
    }
    let (says, accepting) = mpsc::channel();
    let pulses: Vec<_> = cores.iter().map(|_| Arc::new(Pulse::default())).collect();
    let mut workers = Vec::with_capacity(cores.len());
    for (((&core, shard), inbox), pulse) in cores.iter().zip(shards).zip(inboxes).zip(&pulses) {
        let parts = WorkerParts {
            service: start.service,
            settings: Arc::clone(&start.settings),
            news: start.news.subscribe(),
            taken_up: start.takes_up.clone(),
            pulse: Arc::clone(pulse),
            pulse_every: start.pulse_every,
            control: control.iter_mut().filter_map(Iterator::next).collect(),
            passive: slice_of(&shard, &mut passive),
            mailboxes: mailboxes.clone(),
            shard,
            inbox,
            shutdown: start.shutdown.clone(),
            accepting: says.clone(),
        };
        let name = format!("worker-{}", parts.shard.worker());
        let config = WorkerConfig { name, core, backend };
        workers.push(spawn_worker(config, move || worker::run(parts)).context("cannot start a worker")?);
    }
    Ok(Workers { workers, pulses, accepting })
}

/// The listeners of a shard's own ports.
fn slice_of(shard: &ShardHandle<Holder>, listeners: &mut Vec<BoundListener>) -> Vec<BoundListener> {
    listeners.extract_if(.., |listener| shard.ports().contains(&listener.local().port())).collect()
}

/// Says where the server listens and how to try it.
fn announce(
    config: &Config,
    ports: &[u16],
    cores: &[usize],
    backend: Backend,
    service: &Service,
    settings: &Settings,
) {
    for address in &service.addresses {
        let host = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            _ => [127, 0, 0, 1].into(),
        };
        tracing::info!(
            directory = %config.directory.display(),
            anonymous = %config.anonymous.access,
            "listening on {address}; try: curl ftp://{}/",
            SocketAddr::new(host, address.port()),
        );
    }
    tracing::info!(
        runtime = %backend,
        workers = cores.len(),
        ?cores,
        passive_ports = %summary(ports),
        sessions_max = service.admission.sessions_max(&settings.admission),
        "ready"
    );
}

/// Ports as runs, `50000-50003 50007`.
fn summary(ports: &[u16]) -> String {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let texts: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            run => run.iter().map(u16::to_string).collect(),
        })
        .collect();
    texts.join(" ")
}

/// What ends the server.
enum Told {
    BySignal(i32),
    ByWorker(usize, io::Result<()>),
}

/// Waits for a signal to stop, or for a worker that ends by itself, which is a failure; then ends the others.
fn wait_until_told(
    mut signals: Signals,
    running: Vec<Running>,
    reloads: &Reloads,
    stop: impl FnOnce(),
) -> anyhow::Result<()> {
    let (tell, told) = mpsc::channel();
    let watchers: Vec<_> = running
        .into_iter()
        .enumerate()
        .map(|(number, worker)| {
            let tell = tell.clone();
            thread::spawn(move || {
                let ended = worker.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
                // Nobody listens any more once the server has been told to end.
                let _ = tell.send(Told::ByWorker(number, ended));
            })
        })
        .collect();
    let handle = signals.handle();
    thread::spawn(move || {
        for signal in signals.forever() {
            if tell.send(Told::BySignal(signal)).is_err() {
                return;
            }
        }
    });
    let outcome = loop {
        match told.recv() {
            Ok(Told::BySignal(SIGHUP)) => reloads.ask(),
            Ok(Told::BySignal(signal)) => {
                tracing::info!("draining: received {}; a second signal ends at once", name_of(signal));
                break Ok(());
            }
            Ok(Told::ByWorker(number, ended)) => {
                break ended.with_context(|| format!("worker {number} ended"));
            }
            Err(mpsc::RecvError) => break Ok(()),
        }
    };
    stop();
    let mut left = watchers.len() - usize::from(outcome.is_err());
    while left > 0 {
        match told.recv() {
            Ok(Told::BySignal(SIGHUP)) => tracing::warn!("not reloaded: the server is draining"),
            Ok(Told::BySignal(signal)) => {
                tracing::warn!("ending at once: received {}", name_of(signal));
                break;
            }
            Ok(Told::ByWorker(..)) => left -= 1,
            Err(mpsc::RecvError) => break,
        }
    }
    handle.close();
    outcome
}

fn name_of(signal: i32) -> &'static str {
    signal_hook::low_level::signal_name(signal).unwrap_or("a signal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_told_as_runs() {
        assert_eq!(summary(&[50003, 50001, 50000, 50007, 65535]), "50000-50001 50003 50007 65535");
        assert_eq!(summary(&[1]), "1");
    }
}
