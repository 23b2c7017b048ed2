//! The scenarios: each a dialogue that a file of this folder tells.

mod abort;
mod connect_back;
mod download;
mod fxp;
mod idle;
mod list;
mod login;
mod mixed;
mod noop;
mod pasv;
mod small_files;
mod storm;
mod stream;
mod upload;

pub(crate) use list::listing;
pub(crate) use mixed::Mix;
pub(crate) use upload::{COMPARED_BY_FETCHING, COMPARED_BY_HASH, NOT_COMPARED, STORED};

use std::rc::Rc;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::slot::Slot;

/// What sessions do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Connect, log in, quit.
    Login,
    /// Connect, log in, fetch a small file, quit.
    SmallFiles,
    /// Fetch a small file again and again in one session.
    Stream,
    /// NOOP and its reply, or many at once.
    Noop,
    /// The storm: every session holds a passive port, then all fetch at once.
    Pasv,
    /// The storm in active mode: the server connects to every session at once.
    ConnectBack,
    /// Fetch a big file.
    Download,
    /// Store files, and compare what the server has.
    Upload,
    /// List a big directory.
    List,
    /// Log in and do nothing.
    Idle,
    /// Sessions of several kinds, by weight.
    Mixed,
    /// Clients that vanish in the middle.
    Abort,
    /// Transfer files from server to server.
    Fxp,
}

impl Scenario {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::SmallFiles => "small-files",
            Self::Stream => "stream",
            Self::Noop => "noop",
            Self::Pasv => "pasv",
            Self::ConnectBack => "connect-back",
            Self::Download => "download",
            Self::Upload => "upload",
            Self::List => "list",
            Self::Idle => "idle",
            Self::Mixed => "mixed",
            Self::Abort => "abort",
            Self::Fxp => "fxp",
        }
    }

    /// What is counted.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Login | Self::SmallFiles | Self::Idle | Self::Mixed => "session",
            Self::Stream | Self::Pasv | Self::ConnectBack | Self::Download | Self::Upload | Self::Fxp => {
                "transfer"
            }
            Self::Noop => "round trip",
            Self::List => "listing",
            Self::Abort => "vanished client",
        }
    }

    /// How many sessions there are at once, if nobody says.
    pub(crate) fn sessions_default(self) -> usize {
        match self {
            Self::Login | Self::SmallFiles | Self::Stream | Self::Noop | Self::Mixed | Self::Abort => 64,
            Self::Pasv | Self::ConnectBack | Self::Idle => 2000,
            Self::Download => 4,
            Self::Upload | Self::Fxp => 16,
            Self::List => 2,
        }
    }

    /// How many descriptors a session has at most.
    pub(crate) fn descriptors_per_session(self) -> u64 {
        match self {
            // The data connections of the passive storm are not counted: they go through a gate.
            Self::Login | Self::Noop | Self::Idle | Self::Pasv => 1,
            // A listener and what it takes, beside the control connection; and two of those, with the data connection by which
            // `fxp` compares.
            Self::ConnectBack | Self::Fxp => 3,
            _ => 2,
        }
    }

    /// Whether there are as many data connections at once as descriptors are left for.
    pub(crate) fn data_connections_are_gated(self) -> bool {
        self == Self::Pasv
    }

    /// How many local ports a session takes for itself: that of its control connection, and one that it listens on.
    pub(crate) fn local_ports_per_session(self) -> usize {
        if self == Self::ConnectBack { 2 } else { 1 }
    }

    /// How many a server of the tester's own has for it: the connections, and the file.
    pub(crate) fn server_descriptors_per_session(self) -> u64 {
        match self {
            Self::Login | Self::Noop | Self::Idle | Self::Pasv => 1,
            _ => 3,
        }
    }

    /// Whether units begin at a rate if one is given. The others have a rhythm of their own.
    pub(crate) fn has_open_loop(self) -> bool {
        !matches!(self, Self::Pasv | Self::ConnectBack | Self::Idle)
    }

    /// Whether it comes in rounds, which are not cut where the time is over.
    pub(crate) fn has_rounds(self) -> bool {
        matches!(self, Self::Pasv | Self::ConnectBack)
    }

    /// Whether each of its units is a session, with connections of its own.
    pub(crate) fn connects_for_each_unit(self) -> bool {
        matches!(self, Self::Login | Self::SmallFiles | Self::Mixed | Self::Abort)
    }

    /// Whether it takes two servers.
    pub(crate) fn has_two_servers(self) -> bool {
        self == Self::Fxp
    }

    /// Whether servers listen for data connections.
    pub(crate) fn has_servers_listen(self) -> bool {
        self != Self::ConnectBack
    }

    /// Whether servers make data connections.
    pub(crate) fn has_servers_connect(self) -> bool {
        matches!(self, Self::ConnectBack | Self::Fxp)
    }

    /// Whether files are fetched.
    pub(crate) fn fetches(self) -> bool {
        !matches!(self, Self::Login | Self::Noop | Self::Upload | Self::List | Self::Idle)
    }

    /// Whether there is a small file among them.
    pub(crate) fn fetches_small_files(self) -> bool {
        self.fetches() && !matches!(self, Self::Download | Self::Abort | Self::Fxp)
    }

    /// Whether files are stored.
    pub(crate) fn stores(self) -> bool {
        matches!(self, Self::Upload | Self::Mixed | Self::Abort | Self::Fxp)
    }

    /// Whether a directory is listed.
    pub(crate) fn lists(self) -> bool {
        matches!(self, Self::List | Self::Mixed)
    }

    /// Runs a slot to the end of the run.
    pub(crate) async fn run(self, slot: Rc<Slot>) {
        match self {
            Self::Login => slot.run(login::session).await,
            Self::SmallFiles => slot.run(small_files::session).await,
            Self::Stream => slot.run(stream::session).await,
            Self::Noop => slot.run(noop::session).await,
            Self::Pasv => slot.run(pasv::session).await,
            Self::ConnectBack => slot.run(connect_back::session).await,
            Self::Download => slot.run(download::session).await,
            Self::Upload => slot.run(upload::session).await,
            Self::List => slot.run(list::session).await,
            Self::Idle => slot.run_once(idle::session).await,
            Self::Mixed => slot.run(mixed::session).await,
            Self::Abort => slot.run(abort::session).await,
            Self::Fxp => slot.run(fxp::session).await,
        }
    }
}
