//! From options to a plan: the server is there, and was asked what it knows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use nix::unistd::Pid;
use runtime::{Backend, WorkerConfig, spawn_worker};

use crate::cli::RunOptions;
use crate::content::Content;
use crate::limits;
use crate::measure::{ProcessorClock, Window};
use crate::plan::{Listed, Plan};
use crate::probe::probe;
use crate::rendezvous::Rendezvous;
use crate::scenario::Scenario;
use crate::server::{OwnServer, ServerCommand, Tree, TreeFiles, cores, listening_process};

/// Sessions that share a source address on loopback, if nobody says: no more than a server has passive ports, as a port
/// serves each address once at a time.
const SESSIONS_PER_SOURCE: usize = 8;

/// Everything that a run needs. The server of the tester's own ends with it.
pub(crate) struct Setup {
    pub(crate) plan: Plan,
    pub(crate) backend: Backend,
    /// The core of each worker.
    pub(crate) cores: Vec<usize>,
    /// The server in words.
    pub(crate) target: String,
    pub(crate) server_clock: Option<ProcessorClock>,
    // Declared, and so ended, before the directory that it serves.
    pub(crate) server: Option<OwnServer>,
    pub(crate) tree: Option<Tree>,
}

/// Where the server is and what it is asked for.
struct Place {
    address: SocketAddr,
    user: Vec<u8>,
    password: Vec<u8>,
    files: Vec<(Vec<u8>, Option<Content>)>,
    listed: Vec<u8>,
    upload_folder: Vec<u8>,
    target: String,
    server: Option<OwnServer>,
    tree: Option<Tree>,
}

impl Setup {
    /// Checks the limits, starts a server if none is named, and has a first session with it.
    ///
    /// # Errors
    ///
    /// Each says what is wrong and, where it is a limit, what would be possible.
    pub(crate) fn new(scenario: Scenario, options: &RunOptions) -> anyhow::Result<Self> {
        if options.rate.is_some() && !scenario.has_open_loop() {
            bail!("{} has a rhythm of its own: it takes no --rate", scenario.name());
        }
        let sessions = options.sessions.unwrap_or(scenario.sessions_default());
        let descriptors_left = limits::check_descriptors(scenario, sessions)?;
        let (backend, _) = runtime::choose_backend(options.runtime)?;
        let allowed = runtime::allowed_cores().context("cannot tell which cores may be used")?;
        let for_server = if options.target.is_some() { 0 } else { options.server.server_workers };
        let split = cores(&allowed, for_server.max(1));
        let tester = if options.target.is_some() { &allowed } else { &split.tester };
        let workers = options.workers.unwrap_or(tester.len());
        let seed = options.seed.unwrap_or_else(seed_of_the_clock);

        let place = match &options.target {
            Some(target) => Place::elsewhere(scenario, target, options)?,
            None => Place::here(scenario, options, &split.server, seed)?,
        };
        let sources = sources(&place, options, sessions);
        limits::check_ports(sessions, sources.len())?;
        let server_pid = match (&place.server, options.server.server_pid) {
            (Some(server), _) => Some(server.pid()),
            (None, Some(pid)) => Some(Pid::from_raw(pid)),
            (None, None) => listening_process(place.address),
        };
        let cores: Vec<usize> = tester.iter().copied().cycle().take(workers).collect();
        let unknown = Content::bytes(Vec::new());
        let mut plan = Plan {
            scenario,
            address: place.address,
            user: place.user,
            password: place.password,
            files: place
                .files
                .iter()
                .map(|(path, content)| (path.clone(), content.clone().unwrap_or_else(|| unknown.clone())))
                .collect(),
            listed: Listed { path: place.listed, ..Listed::default() },
            upload_folder: place.upload_folder,
            upload_bytes: options.upload_size,
            data: options.data,
            sources,
            sessions,
            ready_at_once: options.ready_at_once,
            data_connections_max: descriptors_left.min(sessions),
            rate: options.rate,
            pipeline: options.pipeline,
            mix: options.mix.clone(),
            timeout: options.timeout,
            seed,
            window: Window::new(Instant::now(), Duration::ZERO, options.timeout),
            rendezvous: Rendezvous::new(sessions),
            stopped: AtomicBool::new(false),
        };
        plan = ask(plan, backend, cores[0], &place.target)?;
        Ok(Self {
            plan,
            backend,
            cores,
            target: place.target,
            server_clock: server_pid.map(ProcessorClock::of),
            server: place.server,
            tree: place.tree,
        })
    }
}

impl Place {
    fn elsewhere(
        scenario: Scenario,
        target: &crate::target::Target,
        options: &RunOptions,
    ) -> anyhow::Result<Self> {
        let address = target.resolve().with_context(|| format!("cannot resolve {}", target.host))?;
        if scenario.fetches() && target.path.is_empty() {
            bail!("{} fetches a file: name it in the target, as ftp://{}/file", scenario.name(), target.host);
        }
        let mut upload_folder = match &options.upload_to {
            Some(folder) => folder.clone().into_bytes(),
            None if scenario == Scenario::Upload => target.path.clone(),
            None => Vec::new(),
        };
        if !upload_folder.is_empty() && !upload_folder.ends_with(b"/") {
            upload_folder.push(b'/');
        }
        Ok(Self {
            address,
            user: target.user.clone(),
            password: target.password.clone(),
            files: vec![(target.path.clone(), None)],
            listed: if scenario == Scenario::List { target.path.clone() } else { Vec::new() },
            upload_folder,
            target: format!("ftp://{}:{}", target.host, target.port),
            server: None,
            tree: None,
        })
    }

    fn here(scenario: Scenario, options: &RunOptions, cores: &[usize], seed: u64) -> anyhow::Result<Self> {
        let server = &options.server;
        let line = server.server.clone().unwrap_or_else(ServerCommand::beside_this_program);
        let command = ServerCommand::parse(&line, server.server_workers, scenario.stores())?;
        let sizes = TreeFiles {
            small_bytes: usize::try_from(server.small_size).context("--small-size is too much")?,
            big_bytes: server.big_size,
            entries: server.entries,
            different: command.serves_the_directory(),
        };
        let tree = Tree::make(scenario, sizes, seed)?;
        let process = OwnServer::start(&command, tree.path(), cores)?;
        let is_known = command.serves_the_directory();
        let known = |(path, content): &(Vec<u8>, Content)| (path.clone(), is_known.then(|| content.clone()));
        Ok(Self {
            address: process.address,
            user: b"anonymous".to_vec(),
            password: b"loadtest@".to_vec(),
            files: tree.files.iter().map(known).collect(),
            listed: tree.listed.clone(),
            upload_folder: tree.upload_folder.clone(),
            target: line,
            server: Some(process),
            tree: Some(tree),
        })
    }
}

fn sources(place: &Place, options: &RunOptions, sessions: usize) -> Vec<std::net::IpAddr> {
    let is_loopback = place.address.ip().is_loopback() && place.address.is_ipv4();
    let usual = if is_loopback { sessions.div_ceil(SESSIONS_PER_SOURCE) } else { 0 };
    limits::source_addresses(options.source_addresses.unwrap_or(usual))
}

/// Has a first session with the server, and settles by it what the plan left open.
fn ask(plan: Plan, backend: Backend, core: usize, target: &str) -> anyhow::Result<Plan> {
    let plan = Arc::new(plan);
    let asked = Arc::clone(&plan);
    let config = WorkerConfig { name: String::from("probe"), core, backend };
    let thread = spawn_worker(config, move || probe(asked)).context("cannot start a worker")?;
    let probed = thread.join().map_err(|_| anyhow::anyhow!("the first session panicked"))?;
    let probed =
        probed.with_context(|| format!("the first session with {target} ({}) failed", plan.address))?;
    let Ok(mut plan) = Arc::try_unwrap(plan).map_err(drop) else { bail!("the first session did not end") };
    plan.data = probed.data;
    plan.listed = probed.listed;
    if let Some(content) = probed.content {
        let (path, expected) = &plan.files[0];
        if *expected != content && expected.length() > 0 && !is_same(expected, &content) {
            bail!("{target} sends other bytes for {} than are in the file", path.escape_ascii());
        }
        if expected.length() == 0 {
            plan.files[0].1 = content;
        }
    }
    Ok(plan)
}

/// Whether two descriptions are of the same bytes, as far as their lengths tell; the load compares the rest.
fn is_same(one: &Content, other: &Content) -> bool {
    one.length() == other.length() && matches!(other, Content::Digest { .. })
}

fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() ^ u64::from(since.subsec_nanos()) << 20
}
