//! Reading the configuration again while the server runs.
//!
//! A thread of its own does it, one reload at a time: to read a file, to open a root or to look a name up may take long. What
//! comes of it is one new [`Settings`], which every worker takes up when it hears of it. Until then, and for good where
//! there is a fault, everything stays as it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use config::{Config, ConfigErrors, Sources};
use runtime::Publisher;

use crate::advertise::{AddressBook, Resolver};
use crate::ledger::Ledger;
use crate::logging::LogLevelSetter;
use crate::metrics::Reload;
use crate::roots::OpenRoots;
use crate::service_manager::ServiceManager;
use crate::settings::{self, Settings};
use crate::sweep::Sweeper;
use crate::worker::Service;

/// How long the workers have to take new settings up before the log says that one does not.
const TAKE_UP: Duration = Duration::from_secs(10);

/// The configuration that holds, and all that the next one is made with.
pub(crate) struct Reloader {
    sources: Sources,
    running: Config,
    settings: Arc<Settings>,
    roots: OpenRoots,
    book: AddressBook,
    resolver: Option<Resolver>,
    ledger: Ledger,
    /// The longest that a data connection may be waited for: leases were made to last so long.
    data_deadline_max: Duration,
}

/// What a reload needs of the running server.
pub(crate) struct Links {
    pub(crate) service: &'static Service,
    pub(crate) news: Publisher<Arc<Settings>>,
    /// Each worker tells the generation of the settings that it has taken up, and who it is.
    pub(crate) taken_up: mpsc::Receiver<(usize, u64)>,
    pub(crate) workers: usize,
    pub(crate) log_level: LogLevelSetter,
    pub(crate) manager: Arc<ServiceManager>,
    pub(crate) sweeper: Sweeper,
}

/// Asks for reloads. Those that are asked for while one runs become one.
pub(crate) struct Reloads(mpsc::SyncSender<()>);

/// Why nothing changed.
#[derive(Debug, thiserror::Error)]
enum Faulty {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error("{0:#}")]
    Outside(#[from] anyhow::Error),
}

/// A configuration all of whose parts are there.
struct Prepared {
    config: Config,
    roots: OpenRoots,
    book: AddressBook,
    resolver: Option<Resolver>,
    listeners: Vec<settings::ListenerSettings>,
}

impl Prepared {
    /// Opens and looks up what the configuration names. Blocks.
    fn new(
        config: Config,
        roots_before: Option<&OpenRoots>,
        book_before: &AddressBook,
    ) -> anyhow::Result<Self> {
        let roots = OpenRoots::open(&config, roots_before)?;
        let mut book = AddressBook::after(book_before);
        let listeners = settings::listeners(&config, &mut book);
        let every = config.passive.resolve_every_s.duration();
        let resolver = book.keep_fresh(every).context("cannot start a thread")?;
        Ok(Self { config, roots, book, resolver, listeners })
    }
}

impl Reloader {
    /// The first settings, from the configuration of the start.
    pub(crate) fn first(
        sources: Sources,
        config: Config,
        data_deadline_max: Duration,
    ) -> anyhow::Result<Self> {
        let Prepared { config, roots, book, resolver, listeners } =
            Prepared::new(config, None, &AddressBook::default())?;
        let mut ledger = Ledger::default();
        let settings = Arc::new(Settings::new(&config, 0, &roots, listeners, &mut ledger));
        Ok(Self { sources, running: config, settings, roots, book, resolver, ledger, data_deadline_max })
    }

    pub(crate) fn roots(&self) -> &OpenRoots {
        &self.roots
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Reloads whenever it is asked for, on a thread of its own.
    pub(crate) fn start(mut self, links: Links) -> anyhow::Result<Reloads> {
        // One that waits stands for all that are asked for meanwhile.
        let (ask, asked) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name(String::from("reload"))
            .spawn(move || {
                for () in asked {
                    self.reload(&links);
                }
            })
            .context("cannot start a thread")?;
        Ok(Reloads(ask))
    }

    fn reload(&mut self, links: &Links) {
        links.manager.reloading();
        let read = self.read();
        let metrics = links.service.metrics;
        metrics.on_reload(if read.is_ok() { Reload::Done } else { Reload::Refused });
        let status = match read {
            Ok((prepared, kept)) => {
                self.change(prepared, links);
                if !kept.is_empty() {
                    tracing::warn!("not changed, for that takes a restart: {}", kept.join(", "));
                }
                tracing::info!(generation = self.settings.generation, "configuration reloaded");
                match kept.is_empty() {
                    true => String::from("configuration reloaded"),
                    false => format!(
                        "configuration reloaded; not changed, for that takes a restart: {}",
                        kept.join(", ")
                    ),
                }
            }
            Err(faulty) => {
                for fault in faulty.to_string().lines() {
                    tracing::error!("configuration not reloaded, nothing changes: {fault}");
                }
                format!("configuration not reloaded: {faulty}")
            }
        };
        links.manager.reloaded(&status);
    }

    /// Reads and opens everything; gives with it the keys that would have to change at a restart.
    fn read(&self) -> Result<(Prepared, Vec<String>), Faulty> {
        let (mut config, warnings) = Config::load(&self.sources)?;
        let mut kept = config.keep_what_takes_a_restart(&self.running);
        if config.deadlines.data_s.duration() > self.data_deadline_max {
            config.deadlines.data_s = self.running.deadlines.data_s;
            kept.push(String::from("deadlines.data_s"));
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok((Prepared::new(config, Some(&self.roots), &self.book)?, kept))
    }

    /// Makes the new configuration the one that holds. Nothing can fail any more.
    fn change(&mut self, prepared: Prepared, links: &Links) {
        let Prepared { config, roots, book, resolver, listeners } = prepared;
        let generation = self.settings.generation + 1;
        let settings = Settings::new(&config, generation, &roots, listeners, &mut self.ledger);
        (links.log_level)(config.log.level);
        links.service.gate.set_limits(&config.limits);
        let before = std::mem::replace(&mut self.settings, Arc::new(settings));
        let sessions_max = links.service.admission.sessions_max(&self.settings.admission);
        links.service.metrics.set_sessions_max(sessions_max);
        links.news.publish(Arc::clone(&self.settings));
        wait_until_taken_up(links, generation);
        // What is taken apart here, with its roots and accounts, is not taken apart by the last worker to let go of it.
        drop(before);
        // The old names are looked up until here.
        if let Err(error) = links.sweeper.sweep(roots.new_for_uploads(&config, &self.roots), Duration::ZERO) {
            tracing::warn!(%error, "could not look for uploads that an earlier run left unfinished");
        }
        (self.running, self.roots, self.book, self.resolver) = (config, roots, book, resolver);
    }
}

impl Reloads {
    pub(crate) fn ask(&self) {
        // One is waiting already, which will read what is there now.
        let _ = self.0.try_send(());
    }
}

/// Waits for every worker, so that who logs in after the log says so finds the new settings.
fn wait_until_taken_up(links: &Links, generation: u64) {
    let deadline = Instant::now() + TAKE_UP;
    let mut missing: BTreeSet<usize> = (0..links.workers).collect();
    while !missing.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        match links.taken_up.recv_timeout(left) {
            Ok((worker, taken_up)) if taken_up == generation => _ = missing.remove(&worker),
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::warn!(workers = ?missing, "these workers have not taken the new settings up yet");
                return;
            }
            // They have ended.
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
    }
}
