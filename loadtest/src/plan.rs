//! What a run does, settled before it begins and the same for all its workers.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::content::Content;
use crate::measure::{Storms, Window};
use crate::rendezvous::Rendezvous;
use crate::scenario::{Mix, Scenario};
use crate::stored::StoredRules;

/// Which commands ask for a data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataMode {
    /// EPSV and EPRT (RFC 2428); PASV and PORT where the server does not know them.
    Epsv,
    /// PASV and PORT (RFC 959).
    Pasv,
}

/// So many times as long as a server may be silent, a session may go on that nobody wants to go on.
const TIMEOUTS_TO_END: u32 = 10;

/// What a run does.
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) server: Endpoint,
    /// The other server, where files go from server to server.
    pub(crate) other: Option<Endpoint>,
    /// The directory that is listed, and what its listing should look like.
    pub(crate) listed: Listed,
    /// How long a file of somebody else's may be to be kept and compared byte by byte; a longer one is compared by its hash.
    pub(crate) kept_bytes_max: usize,
    /// How long an upload is, in bytes.
    pub(crate) upload_bytes: u64,
    pub(crate) data: DataMode,
    /// The addresses that sessions come from in turn; the kernel's choice where there are none.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) sessions: usize,
    /// How many sessions get ready at once before a storm, over all workers.
    pub(crate) ready_at_once: usize,
    /// How many data connections may be open at once, over all workers.
    pub(crate) data_connections_max: usize,
    /// Units begun per second, over all workers; without it each slot begins one when it is done with the last.
    pub(crate) rate: Option<f64>,
    /// NOOPs sent at once.
    pub(crate) pipeline: usize,
    pub(crate) mix: Mix,
    /// How long the server may be silent.
    pub(crate) timeout: Duration,
    pub(crate) seed: u64,
    /// What no other run has, the same seed or not.
    pub(crate) mark: u64,
    pub(crate) window: Window,
    pub(crate) rendezvous: Rendezvous,
    /// When all sessions went at once.
    pub(crate) storms: Storms,
    /// What was to be seen of the server at the window's close was seen: sessions may end.
    pub(crate) may_end: AtomicBool,
    pub(crate) stopped: AtomicBool,
    /// Nobody waits for what is under way.
    pub(crate) abandoned: AtomicBool,
    /// What was to be seen of idle sessions was seen: they may go.
    pub(crate) looked_at: AtomicBool,
}

/// A server, who logs in, and what is done there.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
    /// What is fetched; slots take them in turn.
    pub(crate) files: Vec<(Vec<u8>, Content)>,
    /// The directory that is stored into, with its slash if it has a name.
    pub(crate) upload_folder: Vec<u8>,
    /// It tells the SHA-256 of a file, by what it says of itself (`FEAT`).
    pub(crate) tells_hashes: bool,
    pub(crate) stored: StoredRules,
}

/// Which of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The one that every scenario has.
    Server,
    /// The other end of transfers between servers.
    Other,
}

/// A directory that is listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listed {
    /// The server's login directory where it is empty.
    pub(crate) path: Vec<u8>,
    /// How many lines a listing of it has; unknown where there was none yet.
    pub(crate) lines: Option<u64>,
    /// How long one is, more or less; unknown where there was none yet.
    pub(crate) bytes: Option<u64>,
    /// The server has no `MLSD`.
    pub(crate) by_list: bool,
}

impl Plan {
    pub(crate) fn endpoint(&self, side: Side) -> &Endpoint {
        match (side, &self.other) {
            (Side::Other, Some(other)) => other,
            _ => &self.server,
        }
    }

    /// Whether the run was told to end before its time.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether nothing new is begun any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.is_stopped() || (now >= self.window.closes && self.may_end.load(Ordering::Relaxed))
    }

    /// How long sessions may go on once the run's time is over, and a session by itself at all, whatever comes of it meanwhile.
    pub(crate) fn time_to_end(&self) -> Duration {
        self.timeout.saturating_mul(TIMEOUTS_TO_END)
    }

    pub(crate) fn let_end(&self) {
        self.may_end.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether not even what is under way is waited for.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// How the names of files begin that must never come about: no other run has the same, unless it has the same seed.
    pub(crate) fn abandoned_prefix(&self) -> String {
        format!("loadtest-abandoned-{:x}-", self.seed)
    }

    /// How the names of files begin that are uploaded, and deleted when their session ends.
    pub(crate) fn upload_prefix(&self) -> String {
        format!("loadtest-{:x}-", self.seed)
    }

    /// Whether uploads are stored that are to come to a good end.
    pub(crate) fn stores_files(&self) -> bool {
        match self.scenario {
            Scenario::Upload | Scenario::Fxp => true,
            Scenario::Mixed => self.mix.has(Scenario::Upload),
            _ => false,
        }
    }

    /// How many units begin together.
    pub(crate) fn units_at_once(&self) -> usize {
        if self.scenario == Scenario::Noop { self.pipeline } else { 1 }
    }
}

#[cfg(test)]
impl Plan {
    /// Round trips at a rate, with nobody.
    pub(crate) fn at_rate(rate: f64, window: Window, sessions: usize) -> Self {
        let server = Endpoint {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            user: Vec::new(),
            password: Vec::new(),
            files: Vec::new(),
            upload_folder: Vec::new(),
            tells_hashes: false,
            stored: StoredRules::ALL,
        };
        Self {
            scenario: Scenario::Noop,
            server,
            other: None,
            listed: Listed::default(),
            kept_bytes_max: 0,
            upload_bytes: 0,
            data: DataMode::Epsv,
            sources: Vec::new(),
            sessions,
            ready_at_once: sessions,
            data_connections_max: sessions,
            rate: Some(rate),
            pipeline: 1,
            mix: "login=1".parse().expect("it is a mix"),
            timeout: Duration::from_secs(30),
            seed: 0,
            mark: 0,
            window,
            rendezvous: Rendezvous::new(sessions),
            storms: Storms::default(),
            may_end: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            looked_at: AtomicBool::new(false),
        }
    }
}
