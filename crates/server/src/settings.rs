//! What the server goes by: made of the configuration as a whole, never changed, and replaced as a whole by a reload.
//!
//! All workers share one [`Settings`]; each holds it by a count of its own ([`Current`]), so that to look something up,
//! or to keep it over a wait, touches nothing that another core touches.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::{Config, Network, ProxyProtocol, SourcePort, TransferRoute, UploadCache};
use protocol::session::SessionSettings;
use storage::SyncPolicy;
use transfer::{CachePolicy, Route, RoutePreference};

use crate::admission::AdmissionLimits;
use crate::advertise::{AddressBook, Advertiser};
use crate::ledger::Ledger;
use crate::logins::Logins;
use crate::peers::DataPeers;
use crate::rates::Rates;
use crate::roots::OpenRoots;

/// What holds for all workers and sessions.
pub(crate) struct Settings {
    /// Which reload it came with; 0 is the start.
    pub(crate) generation: u64,
    pub(crate) logins: Logins,
    pub(crate) session: SessionSettings,
    /// In the order of the control listeners.
    pub(crate) listeners: Vec<ListenerSettings>,
    pub(crate) peers: DataPeers,
    /// Whether active data connections come from the port below the control port.
    pub(crate) from_port_below: bool,
    pub(crate) sync: SyncPolicy,
    pub(crate) route: RoutePreference,
    pub(crate) cache_policy: CachePolicy,
    pub(crate) admission: AdmissionLimits,
    /// What each session may transfer.
    limits: config::Limits,
    /// What all together may transfer.
    pub(crate) total_rates: Rates,
    pub(crate) deadlines: Deadlines,
}

impl Settings {
    /// Cannot fail: what can, the opening of roots and the looking up of names, was done before.
    pub(crate) fn new(
        config: &Config,
        generation: u64,
        roots: &OpenRoots,
        listeners: Vec<ListenerSettings>,
        ledger: &mut Ledger,
    ) -> Self {
        let limits = &config.limits;
        let total_rates =
            ledger.total_rates(limits.download_rate_total, limits.upload_rate_total, limits.burst);
        Self {
            generation,
            logins: Logins::new(config, roots, ledger),
            session: session_settings(config),
            listeners,
            peers: DataPeers::from(config),
            from_port_below: config.active.source_port == SourcePort::ControlMinusOne,
            sync: sync_policy(config.transfer.sync),
            route: route(config.transfer.route),
            cache_policy: cache_policy(config.transfer.upload_cache),
            admission: AdmissionLimits::from(limits),
            limits: limits.clone(),
            total_rates,
            deadlines: Deadlines {
                login: config.deadlines.login_s.duration(),
                idle: config.deadlines.idle_s.duration(),
                data: config.deadlines.data_s.duration(),
                stall: config.deadlines.stall_s.duration(),
                drain: config.deadlines.drain_s.duration(),
                drain_delay: config.deadlines.drain_delay_s.duration(),
            },
        }
    }

    /// The limiters of a new session; none are made where nothing is limited.
    pub(crate) fn session_rates(&self) -> Rates {
        let limits = &self.limits;
        Rates::new(limits.download_rate_per_session, limits.upload_rate_per_session, limits.burst)
    }
}

/// What is particular to one listener.
#[derive(Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) advertiser: Advertiser,
    /// The proxies in front of it, where it takes connections with a PROXY header.
    pub(crate) proxies: Option<Vec<Network>>,
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

/// One worker's hold on the settings.
#[derive(Clone)]
pub(crate) struct Current(Rc<Held>);

struct Held {
    settings: Arc<Settings>,
    /// The worker's own copy of [`Settings::session`], which its sessions count among themselves.
    session: Arc<SessionSettings>,
}

impl Current {
    fn new(settings: Arc<Settings>) -> Self {
        let session = Arc::new(settings.session.clone());
        Self(Rc::new(Held { settings, session }))
    }

    /// What the protocol's part of a session goes by.
    pub(crate) fn session_settings(&self) -> Arc<SessionSettings> {
        Arc::clone(&self.0.session)
    }
}

impl Deref for Current {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0.settings
    }
}

/// Where one worker has its settings.
pub(crate) struct CurrentSettings(RefCell<Current>);

impl CurrentSettings {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self(RefCell::new(Current::new(settings)))
    }

    /// What holds now.
    pub(crate) fn get(&self) -> Current {
        self.0.borrow().clone()
    }

    /// Replaces them.
    pub(crate) fn set(&self, settings: Arc<Settings>) {
        let old = self.0.replace(Current::new(settings));
        drop(old);
    }
}

fn session_settings(config: &Config) -> SessionSettings {
    let defaults = SessionSettings::default();
    SessionSettings {
        banner: config.banner.clone().unwrap_or(defaults.banner),
        active: config.active.enabled,
        privileged_ports: config.active.privileged_ports,
        ..defaults
    }
}

fn sync_policy(policy: config::SyncPolicy) -> SyncPolicy {
    match policy {
        config::SyncPolicy::None => SyncPolicy::None,
        config::SyncPolicy::Data => SyncPolicy::Data,
        config::SyncPolicy::Full => SyncPolicy::Full,
    }
}

fn route(route: TransferRoute) -> RoutePreference {
    match route {
        TransferRoute::Auto => RoutePreference::Planned,
        TransferRoute::Sendfile => RoutePreference::Prefer(Route::Sendfile),
        TransferRoute::Splice => RoutePreference::Prefer(Route::Splice),
        TransferRoute::RingSplice => RoutePreference::Prefer(Route::RingSplice),
        TransferRoute::Copy => RoutePreference::Prefer(Route::Copy),
    }
}

fn cache_policy(policy: UploadCache) -> CachePolicy {
    match policy {
        UploadCache::Keep => CachePolicy::Keep,
        UploadCache::DropBehind => CachePolicy::DropBehind,
        UploadCache::Direct => CachePolicy::Direct,
    }
}

/// What is particular to each listener, with the hosts that it advertises in the book.
pub(crate) fn listeners(config: &Config, book: &mut AddressBook) -> Vec<ListenerSettings> {
    let passive = &config.passive;
    let settings = |listener: &config::Listener| ListenerSettings {
        advertiser: book.advertiser(&listener.advertise, &passive.advertise, passive.port_offset),
        proxies: match listener.proxy_protocol {
            ProxyProtocol::Off => None,
            ProxyProtocol::Required => Some(listener.proxy_networks.clone()),
        },
    };
    config.listeners.iter().map(settings).collect()
}

/// The address that every client of a listener at `address` reaches; `None` where it listens on several.
pub(crate) fn only_address(address: SocketAddr) -> Option<SocketAddr> {
    Some(address).filter(|address| !address.ip().is_unspecified())
}
