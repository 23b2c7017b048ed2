//! Every key there is: its type, its default, its meaning. All else about keys follows from here.
//!
//! A new key is a line here, and `UPDATE_DOCS=1 cargo test -p ringftpd-config` writes it into the manual.

use std::net::{Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use passive_ports::PortRange;
use protocol::rights::Rights;

use crate::choices::{
    AnonymousAccess, DataPeer, ListenerKind, LogFormat, LogLevel, ProxyProtocol, RuntimeChoice, SourcePort,
    SyncPolicy, TransferRoute, UploadCache,
};
use crate::error::Fault;
use crate::section::section;
use crate::value::{Entry, Scalar, entry_value};
use crate::values::{AccountName, Advertise, ByteSize, Host, Network, PasswordHash, Rate, Seconds, Whole};

/// The port to listen on where nothing is said: what anybody may bind.
const PORT: u16 = 2121;

section! {
    /// The server as a whole: these keys stand above the first table of the file.
    pub struct Config {
        /// The directory to serve. Clients see it as `/` and cannot leave it. It has to be given.
        directory: PathBuf = PathBuf::new(),

        /// The user to become once all ports are bound, by name. Left out, the server stays who started it.
        [restart] user: Option<String> = None,

        /// How many workers there are, each on a core of its own. Left out, there is one for each core that this
        /// process may use.
        [restart] workers: Option<NonZeroUsize> = None,

        /// What the workers run on.
        [restart] runtime: RuntimeChoice = RuntimeChoice::Auto,

        /// What clients are greeted with, in place of the name of the server. Lines are kept as lines.
        banner: Option<String> = None,

        /// A file with `[[accounts]]` and nothing else, so that who administers accounts need not see the rest.
        users_file: Option<PathBuf> = None,

        /// Where to listen for clients. A listener of nothing but an address can be written as that:
        /// `listeners = ["0.0.0.0:21", "[::1]:2121"]`; so it is in the environment. To add or to remove one takes a restart.
        listeners: Vec<Listener> = vec![Listener::default()],

        /// Who may log in with a name and a password. `anonymous` and `ftp` are not among them: see `[anonymous]`.
        accounts: Vec<Account> = Vec::new(),
    }
    sections {
        /// Logging in without an account.
        anonymous: Anonymous,
        /// Passive data connections.
        passive: Passive,
        /// Active data connections.
        active: Active,
        /// Transfers between two servers.
        fxp: Fxp,
        /// How long the server waits.
        deadlines: Deadlines,
        /// How much at once.
        limits: Limits,
        /// How files are moved.
        transfer: Transfer,
        /// The log.
        log: Log,
        /// The metrics page and the health checks, by HTTP.
        metrics: Metrics,
    }
}

section! {
    /// A listener.
    pub struct Listener {
        /// The address and port. `[::]` is every address of this machine, IPv4 too; port 0 takes a free port, and the log
        /// says which.
        [restart] address: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT),

        /// What is spoken on it.
        [restart] kind: ListenerKind = ListenerKind::Ftp,

        /// Whether a load balancer in front tells the client's address by a PROXY protocol header.
        proxy_protocol: ProxyProtocol = ProxyProtocol::Off,

        /// The networks of the load balancers that are believed. Needed with `proxy_protocol = "required"`, for
        /// whoever is believed can be anybody.
        proxy_networks: Vec<Network> = Vec::new(),

        /// What `passive.advertise` says, for the clients of this listener.
        advertise: Advertise = Advertise::default(),
    }
}

impl Entry for Listener {
    const EXPECTED: &'static str = "an address and port such as \"[::]:2121\", or a table with an address";
    const REQUIRED: &'static [&'static str] = &["address"];
    const HAS_WORD: bool = true;

    fn from_word(word: &str) -> Option<Result<Self, Fault>> {
        Some(<SocketAddr as Scalar>::from_text(word).map(Self::at))
    }

    fn to_word(&self) -> Option<String> {
        (*self == Self::at(self.address)).then(|| Scalar::to_toml(&self.address))
    }
}
entry_value!(Listener);

impl Listener {
    /// An FTP listener, all else at its default.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address, ..Self::default() }
    }
}

section! {
    /// An address to advertise, and to whom. The first entry that matches a client counts.
    pub struct AdvertiseRule {
        /// The networks of the clients that are told this address. Left out, it is for all clients.
        networks: Vec<Network> = Vec::new(),

        /// The address to tell, or a DNS name. A name is looked up in the background, again and again; if that fails,
        /// the last good address stays.
        address: Host = Host::Address(std::net::Ipv4Addr::UNSPECIFIED),
    }
}

impl Entry for AdvertiseRule {
    const EXPECTED: &'static str = "a table with an address, and perhaps networks";
    const REQUIRED: &'static [&'static str] = &["address"];
}
entry_value!(AdvertiseRule);

section! {
    /// Logging in without an account, as `anonymous` or `ftp`.
    pub struct Anonymous {
        /// What such a client may do.
        access: AnonymousAccess = AnonymousAccess::Read,

        /// What it sees as `/`. Left out, that is `directory`.
        root: Option<PathBuf> = None,

        /// The networks from which it may log in. Left out, everywhere.
        networks: Vec<Network> = Vec::new(),

        /// How many such sessions there may be at once. Left out, no limit of their own.
        sessions_max: Option<NonZeroU32> = None,

        /// The rate of the downloads of all such sessions together.
        download_rate: Rate = Rate::UNLIMITED,

        /// The rate of the uploads of all such sessions together.
        upload_rate: Rate = Rate::UNLIMITED,
    }
}

section! {
    /// Passive data connections: the client connects.
    pub struct Passive {
        /// The ports, both ends included. They are bound once, at the start, and each serves many clients at a time; one
        /// that somebody else has is left out with a warning. Left out, the kernel picks 16 ports.
        [restart] ports: Option<PortRange> = None,

        /// The address that PASV answers: for all clients, or by their networks. Left out, it is the address by which
        /// the client reached the server. In the environment: one for all clients.
        advertise: Advertise = Advertise::default(),

        /// What to add to a port before it is told to a client, where a NAT moves the range. Needs `ports`.
        [restart] port_offset: i32 = 0,

        /// How often names to advertise are looked up.
        resolve_every_s: Seconds = Seconds::constant::<60>(),

        /// From which addresses a data connection is taken, besides those that `[fxp]` allows.
        [restart] peer: DataPeer = DataPeer::Exact,

        /// For `peer = "network"`: how many leading bits of two IPv4 addresses must agree.
        [restart] peer_ipv4_prefix_bits: Whole<1, 32> = Whole::constant::<24>(),

        /// For `peer = "network"`: how many leading bits of two IPv6 addresses must agree.
        [restart] peer_ipv6_prefix_bits: Whole<1, 128> = Whole::constant::<64>(),

        /// For `peer = "proxies"`: the networks of the proxies.
        [restart] peer_proxies: Vec<Network> = Vec::new(),
    }
}

section! {
    /// Active data connections: the server connects, to where PORT or EPRT says.
    pub struct Active {
        /// Whether there are any. Without, PORT and EPRT are refused.
        enabled: bool = true,

        /// The port they come from.
        source_port: SourcePort = SourcePort::ControlMinusOne,

        /// Whether they may go to ports below 1024. RFC 2577 section 3 advises against it.
        privileged_ports: bool = false,
    }
}

section! {
    /// Transfers between two servers, arranged by a client of both (FXP). They need data connections with others than
    /// the client, which can be misused (RFC 2577), so that there are none unless one of these keys is set; where both
    /// are, both must agree.
    pub struct Fxp {
        /// The networks of the other servers. Left out while `users` is set, they may be anywhere.
        networks: Vec<Network> = Vec::new(),

        /// The accounts that may, by name. Left out while `networks` is set, everybody may.
        users: Vec<String> = Vec::new(),
    }
}

section! {
    /// How long the server waits, in whole seconds.
    pub struct Deadlines {
        /// Close a connection on which nobody has logged in after this long.
        login_s: Seconds = Seconds::constant::<60>(),

        /// Close a connection without a command or a transfer for this long. It never ends a transfer.
        idle_s: Seconds = Seconds::constant::<300>(),

        /// Give a data connection this long to come about; then the answer is 425. A reload can raise it to 60, or to what it
        /// was at the start.
        data_s: Seconds = Seconds::constant::<30>(),

        /// End a transfer, or a client that takes no replies, when not a byte has moved for this long. Of a download, what the
        /// client's system acknowledges has moved.
        stall_s: Seconds = Seconds::constant::<300>(),

        /// From SIGTERM to the end at the latest, `drain_delay_s` included: what is still moving then is cut off.
        /// systemd is asked for the time; elsewhere keep it below what is granted: `terminationGracePeriodSeconds` of
        /// Kubernetes, `stop_grace_period` of Compose.
        drain_s: Seconds = Seconds::constant::<60>(),

        /// How long after SIGTERM new connections are still accepted, so that load balancers see first that the server
        /// is no longer ready.
        drain_delay_s: Seconds<0> = Seconds::constant::<0>(),
    }
}

section! {
    /// How much at once. A count that is left out has no limit of its own.
    pub struct Limits {
        /// Sessions in total. Left out, what the limit of file descriptors allows.
        sessions_max: Option<NonZeroU32> = None,

        /// Sessions of one client address.
        sessions_per_address_max: Option<NonZeroU32> = None,

        /// Sessions of one client network, whose size the two keys that follow tell.
        sessions_per_network_max: Option<NonZeroU32> = None,

        /// How many leading bits make an IPv4 network.
        [restart] network_ipv4_prefix_bits: Whole<1, 32> = Whole::constant::<24>(),

        /// How many leading bits make an IPv6 network.
        [restart] network_ipv6_prefix_bits: Whole<1, 128> = Whole::constant::<56>(),

        /// Sessions on which nobody is logged in. Whoever says REIN, or USER again, needs such a place, too.
        sessions_pending_max: Option<NonZeroU32> = None,

        /// Passwords that are checked at the same time, each with a core and with the memory that its hash asks for.
        /// Further ones wait their turn.
        password_checks_max: Whole<1, 1024> = Whole::constant::<2>(),

        /// After so many failed logins in a row, an address waits.
        login_failures_max: Whole<1, 1_000_000> = Whole::constant::<10>(),

        /// So long it waits.
        login_wait_s: Seconds = Seconds::constant::<60>(),

        /// So much later a failed login is answered.
        login_failure_delay_s: Seconds<0> = Seconds::constant::<1>(),

        /// The rate of the downloads of one session.
        download_rate_per_session: Rate = Rate::UNLIMITED,

        /// The rate of the uploads of one session.
        upload_rate_per_session: Rate = Rate::UNLIMITED,

        /// The rate of all downloads together.
        download_rate_total: Rate = Rate::UNLIMITED,

        /// The rate of all uploads together.
        upload_rate_total: Rate = Rate::UNLIMITED,

        /// How much may go at full speed before a rate is kept, after a pause.
        burst: ByteSize<16_384> = ByteSize::constant::<1_048_576>(),
    }
}

section! {
    /// How files are moved.
    pub struct Transfer {
        /// The way of the bytes.
        route: TransferRoute = TransferRoute::Auto,

        /// What an upload leaves in the page cache.
        upload_cache: UploadCache = UploadCache::Keep,

        /// How much of an upload is on the disk before it gets its name and the client its 226.
        sync: SyncPolicy = SyncPolicy::None,
    }
}

section! {
    /// The log, which goes to standard error.
    pub struct Log {
        /// The form of a line.
        [restart] format: LogFormat = LogFormat::Human,

        /// The least that is logged.
        level: LogLevel = LogLevel::Info,

        /// A file that gets a line for each download and upload besides, in the form of wu-ftpd's `xferlog`. It is written
        /// by the user that the server becomes, and begun anew when it was moved away.
        [restart] xferlog: Option<PathBuf> = None,
    }
}

section! {
    /// The metrics page and the health checks, by HTTP: `/metrics` for Prometheus, `/health/live`, and `/health/ready`,
    /// which is 503 while the server starts or drains.
    pub struct Metrics {
        /// Where to listen for them. Whoever can connect there can read them, so let it be loopback or an inner network.
        /// Left out, there are none.
        [restart] address: Option<SocketAddr> = None,
    }
}

section! {
    /// An account.
    pub struct Account {
        /// The name, as `USER` gives it.
        name: AccountName = AccountName::none(),

        /// The hash of the password: what `ringftpd hash-password` prints.
        password_hash: PasswordHash = PasswordHash::none(),

        /// What it sees as `/`. Left out, that is `directory`.
        root: Option<PathBuf> = None,

        /// What it may do: a list of `"list"`, `"download"`, `"upload"`, `"overwrite"`, `"append"`, `"delete"`,
        /// `"rename"`, `"make_directory"`, `"set_times"`, `"set_modes"`; or `"reader"` for the first two, `"uploader"`
        /// for these and `"upload"` and `"make_directory"`, `"writer"` for all. `"append"` is `APPE` and `STOR` after `REST`, which change a
        /// file in place, from any byte on.
        rights: Rights = Rights::READER,

        /// The networks from which it may log in. Left out, everywhere.
        networks: Vec<Network> = Vec::new(),

        /// How many sessions it may have at once. Left out, no limit of its own.
        sessions_max: Option<NonZeroU32> = None,

        /// The rate of the downloads of all its sessions together.
        download_rate: Rate = Rate::UNLIMITED,

        /// The rate of the uploads of all its sessions together.
        upload_rate: Rate = Rate::UNLIMITED,
    }
}

impl Entry for Account {
    const EXPECTED: &'static str = "a table with a name and a password_hash";
    const REQUIRED: &'static [&'static str] = &["name", "password_hash"];
}
entry_value!(Account);
