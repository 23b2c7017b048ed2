//! From options to a plan: the server is there, and was asked what it knows.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use nix::unistd::Pid;
use runtime::{Backend, WorkerConfig, spawn_worker};

use crate::cli::{RunOptions, ServerOptions};
use crate::content::Content;
use crate::interrupt;
use crate::limits;
use crate::measure::{ProcessorClock, Storms, Window, process_name};
use crate::output::is_same_file;
use crate::plan::{Endpoint, Listed, Plan};
use crate::probe::{ProbedServer, probe};
use crate::rendezvous::Rendezvous;
use crate::room::{check_room, kept_bytes_max};
use crate::scenario::Scenario;
use crate::server::{Listening, OwnServer, ServerCommand, Tree, TreeFiles, cores, listening_process};
use crate::stored::StoredRules;

/// Sessions that share a source address on loopback, if nobody says: no more than a server has passive ports, as a port
/// serves each address once at a time.
const SESSIONS_PER_SOURCE: usize = 8;

/// The lines of a listing that are of no entry: the directory itself and the one above it, or a sum.
const LINES_BESIDES: u64 = 2;

/// Everything that a run needs. The server of the tester's own ends with it.
pub(crate) struct Setup {
    pub(crate) plan: Plan,
    pub(crate) backend: Backend,
    /// The core of each worker.
    pub(crate) cores: Vec<usize>,
    /// The server in words.
    pub(crate) target: String,
    /// What is to be said of the run besides.
    pub(crate) notes: Vec<String>,
    pub(crate) server_clock: Option<ProcessorClock>,
    // Declared, and so ended, before the directory that it serves.
    pub(crate) server: Option<OwnServer>,
    pub(crate) tree: Option<Tree>,
    /// The other server of the tester's own, with what it serves.
    pub(crate) other: Option<(OwnServer, Tree)>,
}

/// Where the server is and what it is asked for. What a file contains is not known where that is empty.
struct Place {
    endpoint: Endpoint,
    listed: Vec<u8>,
    target: String,
    server: Option<OwnServer>,
    tree: Option<Tree>,
    /// What it sends is what is in the tree.
    serves_the_directory: bool,
}

impl Setup {
    /// Checks the limits, starts a server if none is named, and has a first session with it.
    ///
    /// # Errors
    ///
    /// Each says what is wrong and, where it is a limit, what would be possible.
    pub(crate) fn new(scenario: Scenario, options: &RunOptions) -> anyhow::Result<Self> {
        check_options(scenario, options)?;
        let (backend, _) = runtime::choose_backend(options.runtime)?;
        let allowed = runtime::allowed_cores().context("cannot tell which cores may be used")?;
        let for_server = if options.target.is_some() { 0 } else { options.server.server_workers };
        let split = cores(&allowed, for_server.max(1));
        let tester = if options.target.is_some() { &allowed } else { &split.tester };
        limits::check_workers(options.workers, tester.len(), options.target.is_some())?;
        // One without a session would have nothing to do.
        let workers = options.workers.unwrap_or(tester.len());
        let workers = options.sessions.map_or(workers, |sessions| workers.min(sessions.max(1)));
        let server_workers = options.target.is_none().then_some(options.server.server_workers);
        let limits::Held { sessions, data_connections, note } =
            limits::check_descriptors(scenario, options.sessions, workers, server_workers)?;
        if let Some(note) = &note {
            eprintln!("loadtest: {note}");
        }
        if options.target.is_none() {
            check_room(scenario, options, sessions)?;
        }
        let workers = workers.min(sessions);
        let seed = options.seed.unwrap_or_else(seed_of_the_clock);

        let place = match &options.target {
            Some(target) => Place::elsewhere(scenario, target, options)?,
            None => Place::here(scenario, options, &split.server, seed)?,
        };
        let other = match (scenario.has_two_servers(), &options.target2) {
            (false, _) => None,
            (true, Some(target)) => Some(Place::elsewhere(scenario, target, options)?),
            (true, None) => Some(Place::here(scenario, options, &split.server, !seed)?),
        };
        let is_loopback = place.endpoint.address.ip().is_loopback();
        let servers: Vec<SocketAddr> = [Some(&place), other.as_ref()]
            .into_iter()
            .flatten()
            .map(|place| place.endpoint.address)
            .collect();
        check_sources(options, &servers)?;
        let sources = sources(&servers, options, sessions);
        for &server in &servers {
            limits::check_ports(scenario, sessions, sources.len(), server)?;
        }
        if let Some(rate) = options.rate {
            limits::check_rate(scenario, rate, workers, sources.len(), is_loopback)?;
            limits::check_begins(rate, options.duration)?;
        }
        let (server_clock, mut notes) = server_clock(&place, other.as_ref(), &options.server)?;
        notes.extend(note);
        let cores: Vec<usize> = tester.iter().copied().cycle().take(workers).collect();
        let targets = [place.target.as_str(), other.as_ref().map_or("", |other| &other.target)];
        let target = match &other {
            Some(other) if options.target.is_some() => format!("{} and {}", place.target, other.target),
            Some(_) => format!("two of {}", place.target),
            None => place.target.clone(),
        };
        let mut plan = Plan {
            scenario,
            server: place.endpoint,
            other: other.as_ref().map(|other| other.endpoint.clone()),
            listed: Listed { path: place.listed, ..Listed::default() },
            kept_bytes_max: kept_bytes_max(scenario)?,
            upload_bytes: options.upload_size,
            data: options.data,
            sources,
            sessions,
            ready_at_once: options.ready_at_once,
            data_connections_max: data_connections,
            rate: options.rate,
            pipeline: options.pipeline,
            mix: options.mix.clone(),
            timeout: options.timeout,
            seed,
            mark: seed_of_the_clock(),
            window: Window::new(Instant::now(), Duration::ZERO, options.timeout),
            rendezvous: Rendezvous::new(sessions),
            storms: Storms::default(),
            may_end: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            looked_at: AtomicBool::new(false),
        };
        plan = ask(plan, backend, cores[0], targets, place.tree.is_some())?;
        if place.serves_the_directory {
            check_listing(&plan.listed, options.server.entries, &target)?;
        }
        Ok(Self {
            plan,
            backend,
            cores,
            target,
            notes,
            server_clock,
            server: place.server,
            tree: place.tree,
            other: other.and_then(|other| other.server.zip(other.tree)),
        })
    }
}

/// What tells the processor time of the server, or of both; nothing where the server is on another machine, or only a process is seen
/// that is not the server, which is noted.
fn server_clock(
    place: &Place,
    other: Option<&Place>,
    options: &ServerOptions,
) -> anyhow::Result<(Option<ProcessorClock>, Vec<String>)> {
    let mut notes = Vec::new();
    let mut process = |place: &Place| {
        if let Some(own) = &place.server {
            return Some(own.pid());
        }
        match listening_process(place.endpoint.address) {
            Listening::Unseen => None,
            Listening::Server(pid) => Some(pid),
            Listening::Ancestor(pid) => {
                notes.push(format!(
                    "what listens on {} is process {pid}{}, which this one comes from, and nothing is told of what it takes: name \
                     the server's process by --server-pid, and with it --server-cgroup where its processes come and go",
                    place.endpoint.address,
                    process_name(pid).map_or(String::new(), |name| format!(" ({name})")),
                ));
                None
            }
        }
    };
    let pid = match options.server_pid {
        Some(pid) => Some(Pid::from_raw(pid)),
        None => process(place),
    };
    let Some(pid) = pid else {
        if let Some(folder) = &options.server_cgroup {
            let why = notes.pop().unwrap_or_else(|| {
                String::from("no process of the server is seen: name one by --server-pid")
            });
            bail!("--server-cgroup {}: {why}", folder.display());
        }
        return Ok((None, notes));
    };
    let clock = ProcessorClock::of(pid).and(other.and_then(process));
    if let Some(pid) = options.server_pid {
        clock.look().with_context(|| format!("--server-pid {pid} is no process that can be looked at"))?;
    }
    let Some(folder) = &options.server_cgroup else { return Ok((Some(clock), notes)) };
    let clock = clock.in_cgroup(folder);
    clock
        .look()
        .with_context(|| format!("--server-cgroup {} is none that can be looked at", folder.display()))?;
    Ok((Some(clock), notes))
}

/// Refuses what the scenario makes no sense with.
fn check_options(scenario: Scenario, options: &RunOptions) -> anyhow::Result<()> {
    let name = scenario.name();
    if options.tls {
        bail!("--tls: neither ringftpd nor this tester speaks TLS yet; leave it out to test plain FTP");
    }
    if options.json.as_ref().zip(options.html.as_ref()).is_some_and(|(json, html)| is_same_file(json, html)) {
        bail!("--json and --html name the same file");
    }
    if scenario.has_two_servers() && options.target.is_some() && options.target2.is_none() {
        bail!("{name} moves files between two servers: name the other one with --target2");
    }
    Ok(())
}

impl Place {
    fn elsewhere(
        scenario: Scenario,
        target: &crate::target::Target,
        options: &RunOptions,
    ) -> anyhow::Result<Self> {
        let address = target.resolve().with_context(|| format!("cannot resolve {}", target.host))?;
        if scenario.fetches() && target.path.is_empty() {
            bail!("{} fetches a file: name it in the target, as {target}/file", scenario.name());
        }
        let mut upload_folder = match &options.upload_to {
            Some(folder) => folder.clone().into_bytes(),
            None if scenario == Scenario::Upload => target.path.clone(),
            None => Vec::new(),
        };
        if !upload_folder.is_empty() && !upload_folder.ends_with(b"/") {
            upload_folder.push(b'/');
        }
        let endpoint = Endpoint {
            address,
            user: target.user.clone(),
            password: target.password.clone(),
            files: vec![(target.path.clone(), Content::bytes(Vec::new()))],
            upload_folder,
            tells_hashes: false,
            stored: StoredRules::ALL,
        };
        Ok(Self {
            endpoint,
            listed: if scenario == Scenario::List { target.path.clone() } else { Vec::new() },
            target: target.to_string(),
            server: None,
            tree: None,
            serves_the_directory: false,
        })
    }

    fn here(scenario: Scenario, options: &RunOptions, cores: &[usize], seed: u64) -> anyhow::Result<Self> {
        let server = &options.server;
        let (workers, writes) = (server.server_workers, scenario.stores());
        let (line, mut command) = match &server.server {
            Some(line) => (line.clone(), ServerCommand::parse(line, workers, writes)?),
            None => {
                let program = ServerCommand::beside_this_program();
                (program.clone(), ServerCommand::of(vec![program], workers, writes))
            }
        };
        if scenario.has_two_servers() {
            command.may_talk_to_others();
        }
        let sizes = TreeFiles {
            small_bytes: usize::try_from(server.small_size).context("--small-size is too much")?,
            big_bytes: server.big_size,
            exchanged_bytes: usize::try_from(options.upload_size).context("--upload-size is too much")?,
            entries: server.entries,
            different: command.serves_the_directory(),
        };
        let tree = Tree::make(scenario, sizes, seed)?;
        let process = OwnServer::start(&command, tree.path(), cores)?;
        let is_known = command.serves_the_directory();
        let unknown = || Content::bytes(Vec::new());
        let known = |(path, content): &(Vec<u8>, Content)| {
            (path.clone(), if is_known { content.clone() } else { unknown() })
        };
        let endpoint = Endpoint {
            address: process.address,
            user: b"anonymous".to_vec(),
            password: b"loadtest@".to_vec(),
            files: tree.files.iter().map(known).collect(),
            upload_folder: tree.upload_folder.clone(),
            tells_hashes: false,
            stored: StoredRules::ALL,
        };
        Ok(Self {
            endpoint,
            listed: tree.listed.clone(),
            target: line,
            server: Some(process),
            tree: Some(tree),
            serves_the_directory: is_known,
        })
    }
}

/// Refuses addresses of 127.0.0.0/8 where no server can be reached from there.
fn check_sources(options: &RunOptions, servers: &[SocketAddr]) -> anyhow::Result<()> {
    if options.source_addresses.is_some_and(|count| count > 0)
        && !servers.iter().any(|&server| limits::takes_sources(server))
    {
        bail!(
            "--source-addresses are of 127.0.0.0/8, from where nobody reaches {}: leave them out",
            servers[0].ip()
        );
    }
    Ok(())
}

fn sources(servers: &[SocketAddr], options: &RunOptions, sessions: usize) -> Vec<IpAddr> {
    let is_of_use = servers.iter().any(|&server| limits::takes_sources(server));
    let usual = if is_of_use { sessions.div_ceil(SESSIONS_PER_SOURCE) } else { 0 };
    limits::source_addresses(options.source_addresses.unwrap_or(usual))
}

/// Has a first session with each server, which are so named, and settles by it what the plan left open.
fn ask(
    plan: Plan,
    backend: Backend,
    core: usize,
    targets: [&str; 2],
    owns_the_directory: bool,
) -> anyhow::Result<Plan> {
    let plan = Arc::new(plan);
    let asked = Arc::clone(&plan);
    let config = WorkerConfig { name: String::from("probe"), core, backend };
    let thread = spawn_worker(config, move || probe(asked)).context("cannot start a worker")?;
    let probed = interrupt::joined(thread)?.map_err(|(side, failure)| {
        let (target, address) = (targets[side as usize], plan.endpoint(side).address);
        anyhow::Error::from(failure).context(format!("the first session with {target} ({address}) failed"))
    })?;
    let Ok(mut plan) = Arc::try_unwrap(plan).map_err(drop) else { bail!("the first session did not end") };
    plan.data = probed.data;
    plan.listed = probed.listed;
    if plan.scenario.stores() && !owns_the_directory {
        // What is listed may be what is stored into, and changes all the time.
        (plan.listed.lines, plan.listed.bytes) = (None, None);
    }
    take_over(&mut plan.server, probed.server);
    if let (Some(other), Some(probed)) = (&mut plan.other, probed.other) {
        take_over(other, probed);
    }
    Ok(plan)
}

fn take_over(endpoint: &mut Endpoint, probed: ProbedServer) {
    endpoint.tells_hashes = probed.tells_hashes;
    endpoint.stored = probed.stored;
    if let Some(content) = probed.content {
        endpoint.files[0].1 = content;
    }
}

/// Compares the first listing with how many entries there are.
fn check_listing(listed: &Listed, entries: usize, target: &str) -> anyhow::Result<()> {
    match listed.lines {
        Some(lines) if !(0..=LINES_BESIDES).contains(&lines.wrapping_sub(entries as u64)) => {
            bail!("{target} lists {lines} lines of a directory of {entries} entries")
        }
        _ => Ok(()),
    }
}

fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() ^ u64::from(since.subsec_nanos()) << 20
}
