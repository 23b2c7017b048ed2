//! A run: workers at work, and what is looked at meanwhile and afterwards.

use std::cell::{Cell, RefCell};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::unistd::Pid;
use runtime::{WorkerConfig, spawn_worker};

use crate::cli::RunOptions;
use crate::interrupt;
use crate::limits;
use crate::measure::{
    Live, Memory, ProcessorClock, ProcessorSample, Recorder, ServerUsage, Went, Window, descriptors, memory,
    own_processor_time, own_wait, process_name,
};
use crate::plan::Plan;
use crate::probe::{Published, published};
use crate::report::{Findings, Progress, Report, Totals, assemble};
use crate::scenario::Scenario;
use crate::setup::Setup;
use crate::worker::{Share, work};

/// How often the run is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Why a run ended whose server is gone.
const SERVER_ENDED: &str = "the server's process has ended";
/// Why a run ended that somebody ended.
const INTERRUPTED: &str = "interrupted";
/// Once the time is over, sessions that move no more than this for as long as `--timeout` allows are not waited for.
const MOVING_BYTES: u64 = 64 * 1024;
/// Processor time that is looked at later than by that part of the window is of another time than what it is divided by.
const LOOKED_LATE_PART: u32 = 100;
/// A rate may be so low that nothing comes for long: it takes as many units as that, all errors, to give a server up.
const ERRORS_IN_A_ROW: f64 = 3.0;
/// How much later than the sessions' own timeouts it is looked at those that do not end.
const TIMEOUT_SLACK: Duration = Duration::from_secs(1);
/// How long a server may take to close what its clients left.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// Sets a run up, runs it, and reports it.
///
/// # Errors
///
/// If it cannot begin. What goes wrong later is in the report.
pub(crate) fn run(scenario: Scenario, options: &RunOptions) -> anyhow::Result<Report> {
    let mut setup = Setup::new(scenario, options)?;
    let before = setup.server_clock.map(|clock| Before::of(clock.pid()));
    let now = Instant::now();
    setup.plan.window = if scenario.has_rounds() || scenario == Scenario::Idle {
        Window::of_rounds(now, options.duration)
    } else if options.rate.is_some() {
        Window::of_starts(now, options.warmup, options.duration)
    } else {
        Window::new(now, options.warmup, options.duration)
    };
    let plan = Arc::new(setup.plan);
    let live: Vec<Arc<Live>> = setup.cores.iter().map(|_| Arc::default()).collect();
    let workers = setup.cores.len();
    let mut threads: Vec<JoinHandle<Recorder>> = Vec::with_capacity(workers);
    for (index, (&core, live)) in setup.cores.iter().zip(&live).enumerate() {
        let config = WorkerConfig { name: format!("load-{index}"), core, backend: setup.backend };
        let (plan, live, share) = (Arc::clone(&plan), Arc::clone(live), Share { index, workers });
        threads.push(spawn_worker(config, move || work(plan, share, live)).context("cannot start a worker")?);
    }

    let watcher = Watcher {
        plan: &plan,
        live: &live,
        threads: &threads,
        server_seen: RefCell::new(None),
        server_seen_until: Cell::new(now),
        tester_waited_seen: Cell::default(),
        server: setup.server_clock,
        give_up_after: options.give_up_after,
        timeout: options.timeout,
    };
    let watched = watcher.watch(&mut Progress::new(plan.window));
    let mut recorder = Recorder::new(plan.window, Arc::default());
    for thread in threads {
        recorder.merge(thread.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?);
    }

    let mut findings = Findings {
        target: setup.target,
        workers,
        measured_s: watched.measured.as_secs_f64(),
        warmup_s: watched.warmed_up.as_secs_f64(),
        storms: watched.storms,
        ended_early: watched.ended_early,
        connection_table_full: limits::connection_table_is_full(),
        tester_share: watched.tester_share,
        tester_waited: watched.tester_waited,
        warnings: setup.notes.into_iter().chain(watched.warnings).collect(),
        ..Findings::default()
    };
    if let (Some(clock), Some(before)) = (setup.server_clock, before) {
        findings.server = Some(usage(&plan, clock, &before, &watched.server));
    }
    if scenario == Scenario::Abort {
        let folder = setup.tree.as_ref().map(crate::server::Tree::path);
        findings.leftovers = leftovers(&plan, folder, &setup.cores, setup.backend);
        if let Some(server) = &findings.server
            && let Some((after, before)) = server.descriptors_after.zip(server.descriptors_before)
            && after > before + descriptors_kept()
        {
            findings.leftovers.push(format!("{} descriptors of the server's", after - before));
        }
    }
    if setup.tree.is_none() {
        findings.leftovers.extend(uploads_left(&plan, recorder.files_left));
    }
    let report = assemble(&plan, &recorder, findings);
    drop((setup.server, setup.other));
    Ok(report)
}

/// What to say of uploads that may be there still.
fn uploads_left(plan: &Plan, by_sessions: u64) -> Option<String> {
    let endpoints = std::iter::once(&plan.server).chain(&plan.other);
    // The first session with each left one that it could not delete.
    let kept = endpoints.filter(|endpoint| !endpoint.stored.deletes).count() as u64;
    let (left, prefix) = (by_sessions + kept, plan.upload_prefix());
    let why = if kept > 0 {
        "that were stored: the server lets nobody delete them"
    } else {
        "of uploads that did not come to a good end: delete them"
    };
    (left > 0).then(|| format!("up to {left} files {prefix}* {why}"))
}

/// What a server may keep open for those who come next and call its own: two pipes for each core. Whatever clients leave
/// behind is more, since there are thousands of them.
fn descriptors_kept() -> u64 {
    4 * std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64)
}

/// The server before the run.
struct Before {
    name: Option<String>,
    memory_bytes: Option<u64>,
    descriptors: Option<u64>,
}

impl Before {
    fn of(pid: Pid) -> Self {
        Self {
            name: process_name(pid),
            memory_bytes: memory(pid).map(|memory| memory.resident_bytes),
            descriptors: descriptors(pid),
        }
    }
}

/// What was seen while the run went on.
struct Watched {
    measured: Duration,
    warmed_up: Duration,
    storms: Option<Went>,
    ended_early: Option<String>,
    /// Its processor time as a part of the time over which that was taken: in storms until after the last of them.
    tester_share: f64,
    /// How long it waited for cores.
    tester_waited: Duration,
    server: ServerWatched,
    warnings: Vec<String>,
}

fn share(taken: Duration, of: Duration) -> f64 {
    if of.is_zero() { 0.0 } else { taken.as_secs_f64() / of.as_secs_f64() }
}

/// What the tester and the server had taken at a moment.
struct Processors {
    moment: Instant,
    tester: Duration,
    tester_waited: Duration,
    server: Option<ProcessorSample>,
}

impl Processors {
    fn server_time_since(&self, before: &Self) -> Option<Duration> {
        let (after, before) = (self.server.as_ref()?, before.server.as_ref()?);
        Some(after.time.saturating_sub(before.time))
    }

    /// What may be wrong with what they took between two looks.
    fn warnings_since(&self, before: &Self, window: Window) -> Vec<String> {
        let mut warnings = Vec::new();
        let (Some(after_server), Some(before_server)) = (&self.server, &before.server) else {
            return warnings;
        };
        if after_server.may_have_missed_since(before_server) {
            warnings.push(String::from(
                "the server's processes come and go, and what one took whose end nobody asked about is missing: let the kernel \
                 count for all of them with --server-cgroup",
            ));
        }
        let mut late = before.moment.saturating_duration_since(window.opens);
        if !window.has_rounds() {
            late = late.max(self.moment.saturating_duration_since(window.closes));
        }
        if late > window.duration() / LOOKED_LATE_PART {
            warnings.push(format!(
                "the server's processor time was looked at {:.1} ms too late: it is of another time than the units",
                late.as_secs_f64() * 1000.0
            ));
        }
        warnings
    }
}

#[derive(Default)]
struct ServerWatched {
    processor: Option<Duration>,
    memory_bytes_at_end: Option<u64>,
    memory_bytes_peak: Option<u64>,
    /// Units complete by then, from the run's beginning on.
    units: u64,
}

struct Watcher<'a> {
    plan: &'a Plan,
    live: &'a [Arc<Live>],
    threads: &'a [JoinHandle<Recorder>],
    /// The server's processor time when it was last looked at, and until when that is good enough for one that dies.
    server_seen: RefCell<Option<ProcessorSample>>,
    server_seen_until: Cell<Instant>,
    tester_waited_seen: Cell<Duration>,
    server: Option<ProcessorClock>,
    give_up_after: Duration,
    timeout: Duration,
}

impl Watcher<'_> {
    /// Looks on from the beginning to the end of the window.
    fn watch(&self, progress: &mut Progress) -> Watched {
        let window = self.plan.window;
        let mut ended_early = self.wait_until(window.opens, progress);
        let before = self.look_at_processors();
        if ended_early.is_none() {
            ended_early = self.wait_until(window.closes, progress);
        }
        // Before sessions are told to quit: processes that end with them would be missing.
        let at_close = (!window.has_rounds()).then(|| self.look_at_processors());
        self.plan.let_end();
        let deadline = Instant::now() + self.plan.time_to_end();
        if ended_early.is_some() {
            self.plan.stop();
        }
        let mut memory_seen = None;
        if self.plan.scenario == Scenario::Idle {
            memory_seen = self.look_at_the_idle(deadline);
        }
        if window.has_rounds() {
            let ended = self.wait_until_all_is_done(deadline, progress);
            ended_early = ended_early.or(ended);
        }
        let after = at_close.unwrap_or_else(|| self.look_at_processors());
        // It is seen only now and then whether all is done, and the time until then is nobody's.
        let ended = if window.has_rounds() {
            self.plan.storms.ended().unwrap_or(after.moment)
        } else {
            after.moment.min(window.closes)
        };
        let memory = memory_seen.or_else(|| self.memory());
        let mut watched = Watched {
            measured: ended.saturating_duration_since(window.opens),
            warmed_up: window.opens.min(after.moment) - window.began,
            storms: self.plan.storms.until(after.moment),
            ended_early,
            tester_share: share(after.tester.saturating_sub(before.tester), after.moment - before.moment),
            tester_waited: after.tester_waited.saturating_sub(before.tester_waited),
            server: ServerWatched {
                processor: after.server_time_since(&before),
                memory_bytes_at_end: memory.map(|memory| memory.resident_bytes),
                memory_bytes_peak: memory.map(|memory| memory.peak_bytes),
                units: Totals::of(self.live).units,
            },
            warnings: after.warnings_since(&before, window),
        };
        // What is not measured any more still has to come to its end.
        let ended = self.wait_until_all_is_done(deadline, progress);
        watched.ended_early = watched.ended_early.or(ended);
        watched
    }

    fn look_at_processors(&self) -> Processors {
        if let Some(sample) = self.server.and_then(|clock| clock.sample().ok()) {
            self.see_server(sample, Instant::now());
        }
        Processors {
            moment: Instant::now(),
            tester: own_processor_time(),
            tester_waited: self.look_at_own_wait(),
            server: self.server_seen.borrow().clone(),
        }
    }

    /// How long the tester's threads have waited. Threads that end take what they waited with them.
    fn look_at_own_wait(&self) -> Duration {
        self.tester_waited_seen.set(self.tester_waited_seen.get().max(own_wait()));
        self.tester_waited_seen.get()
    }

    fn memory(&self) -> Option<Memory> {
        self.server.and_then(|clock| memory(clock.pid()))
    }

    /// The server's memory once every session is logged in or has failed; then they may go.
    fn look_at_the_idle(&self, deadline: Instant) -> Option<Memory> {
        loop {
            let totals = Totals::of(self.live);
            let all_came = totals.units + totals.errors >= self.plan.sessions as u64;
            if all_came
                || Instant::now() > deadline
                || self.plan.is_stopped()
                || interrupt::is_received()
                || self.threads.iter().all(JoinHandle::is_finished)
            {
                break;
            }
            sleep(LOOK);
        }
        let seen = self.memory();
        self.plan.looked_at.store(true, Ordering::Relaxed);
        seen
    }

    /// Waits for what was begun in time, until the deadline. A server that dies meanwhile is noticed, and so is one that keeps
    /// sessions from ending.
    fn wait_until_all_is_done(&self, deadline: Instant, progress: &mut Progress) -> Option<String> {
        let mut reason = None;
        let mut last_moved = (Instant::now(), Totals::of(self.live));
        while !self.threads.iter().all(JoinHandle::is_finished) {
            let (now, totals) = (Instant::now(), Totals::of(self.live));
            self.look_at_own_wait();
            progress.show(now, totals, self.plan.scenario.unit());
            if totals.have_moved_since(&last_moved.1, MOVING_BYTES) {
                last_moved = (now, totals);
            }
            // The sessions' own timeouts come first.
            let stands_still = now - last_moved.0 > self.timeout + TIMEOUT_SLACK;
            if (stands_still || now > deadline) && !self.plan.is_abandoned() {
                let waited = if stands_still { self.timeout } else { self.plan.time_to_end() };
                reason = reason.or_else(|| {
                    Some(format!(
                        "{} sessions had not ended {} s after the time was over",
                        totals.sessions,
                        waited.as_secs_f64()
                    ))
                });
                self.plan.abandon();
            }
            if reason.is_none() {
                reason = self.reason_to_end();
            }
            if reason.is_some() {
                self.plan.stop();
            }
            if interrupt::is_received() {
                self.plan.abandon();
            }
            sleep(LOOK);
        }
        reason
    }

    /// Somebody ends the run, or the server is gone.
    fn reason_to_end(&self) -> Option<String> {
        if interrupt::is_received() {
            return Some(String::from(INTERRUPTED));
        }
        self.server_has_ended().then(|| String::from(SERVER_ENDED))
    }

    fn server_has_ended(&self) -> bool {
        let Some(clock) = self.server else { return false };
        if !clock.is_alive() {
            return true;
        }
        let now = Instant::now();
        if now >= self.server_seen_until.get()
            && let Ok(sample) = clock.look()
        {
            self.see_server(sample, now);
        }
        false
    }

    fn see_server(&self, sample: ProcessorSample, now: Instant) {
        self.server_seen_until.set(now + sample.is_good_for());
        self.server_seen.replace(Some(sample));
    }

    /// Waits, unless there is a reason not to.
    fn wait_until(&self, moment: Instant, progress: &mut Progress) -> Option<String> {
        let mut seen = Totals::of(self.live);
        // The first and the last of errors that nothing else came between.
        let mut only_errors: Option<(Instant, Instant)> = None;
        let long = self.give_up_after.max(self.plan.rate.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(ERRORS_IN_A_ROW / rate).unwrap_or(Duration::MAX)
        }));
        loop {
            let now = Instant::now();
            if now >= moment {
                return None;
            }
            let totals = Totals::of(self.live);
            progress.show(now, totals, self.plan.scenario.unit());
            if let Some(reason) = self.reason_to_end() {
                return Some(reason);
            }
            if totals.units > seen.units || totals.bytes > seen.bytes {
                only_errors = None;
            } else if totals.errors > seen.errors {
                only_errors = only_errors.map(|(first, _)| (first, now)).or(Some((now, now)));
            }
            seen = totals;
            if let Some(lasted) = only_errors.map(|(first, last)| last - first).filter(|&time| time > long) {
                return Some(format!("nothing but errors for {:.1} s", lasted.as_secs_f64()));
            }
            sleep(LOOK.min(moment - now));
        }
    }
}

fn usage(plan: &Plan, clock: ProcessorClock, before: &Before, watched: &ServerWatched) -> ServerUsage {
    let pid = clock.pid();
    let grown =
        watched.memory_bytes_at_end.zip(before.memory_bytes).map(|(end, before)| end.saturating_sub(before));
    #[expect(clippy::cast_precision_loss, reason = "memory of a machine, and its sessions")]
    let each = grown.filter(|&grown| grown > 0).map(|grown| grown as f64 / watched.units.max(1) as f64);
    ServerUsage {
        pid: pid.as_raw(),
        name: before.name.clone(),
        processor_s: watched.processor.unwrap_or_default().as_secs_f64(),
        processor_us_per_unit: None,
        processor_s_per_gib: None,
        memory_bytes_peak: memory(pid).map(|memory| memory.peak_bytes).or(watched.memory_bytes_peak),
        memory_bytes_per_session: each.filter(|_| plan.scenario == Scenario::Idle),
        descriptors_before: before.descriptors,
        descriptors_after: settled_descriptors(pid, before.descriptors),
    }
}

/// The server's descriptors once it has closed what its clients left, or after [`SETTLE_MAX`].
fn settled_descriptors(pid: Pid, before: Option<u64>) -> Option<u64> {
    let deadline = Instant::now() + SETTLE_MAX;
    loop {
        let now = descriptors(pid);
        let has_settled = now <= before.map(|before| before + descriptors_kept());
        if has_settled || interrupt::is_received() || Instant::now() >= deadline {
            return now;
        }
        sleep(LOOK);
    }
}

/// What vanished clients left: files that were published though their uploads were cut.
fn leftovers(
    plan: &Arc<Plan>,
    folder: Option<&std::path::Path>,
    cores: &[usize],
    backend: runtime::Backend,
) -> Vec<String> {
    if let Some(folder) = folder {
        let entries = fs::read_dir(folder.join("upload")).into_iter().flatten().filter_map(Result::ok);
        let named = entries.map(|entry| format!("upload/{}", entry.file_name().to_string_lossy()));
        return named.collect();
    }
    let config = WorkerConfig { name: String::from("look"), core: cores[0], backend };
    let asked = Arc::clone(plan);
    let looked = spawn_worker(config, move || published(asked)).context("cannot start a worker");
    let prefix = plan.abandoned_prefix();
    match looked.and_then(interrupt::joined).and_then(|published| Ok(published?)) {
        Ok(Published { deleted: 0, kept: 0 }) => Vec::new(),
        Ok(Published { deleted, kept: 0 }) => {
            vec![format!("{deleted} files {prefix}* were published, and deleted now")]
        }
        Ok(Published { deleted, kept }) => {
            let both = deleted + kept;
            vec![format!("{both} files {prefix}* were published, and {kept} of them cannot be deleted")]
        }
        Err(error) => vec![format!("it cannot be told which files {prefix}* were published: {error:#}")],
    }
}
