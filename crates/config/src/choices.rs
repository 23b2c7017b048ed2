//! The keys whose values are words.

use protocol::rights::Rights;

use crate::choice::choice;

choice! {
    /// What the workers run on.
    pub enum RuntimeChoice {
        /// io_uring where the kernel allows it, and epoll elsewhere, with a line in the log that says why.
        Auto = "auto",
        /// io_uring, or the server does not start.
        IoUring = "io_uring",
        /// epoll, without asking for io_uring.
        Epoll = "epoll",
    }
}

choice! {
    /// What is spoken on a listener.
    pub enum ListenerKind {
        /// FTP (RFC 959).
        Ftp = "ftp",
    }
}

choice! {
    /// Whether connections begin with a PROXY protocol header, of version 1 or 2.
    pub enum ProxyProtocol {
        /// They do not, and what looks like a header is a wrong command.
        Off = "off",
        /// They do: a connection without one, or from an address outside `proxy_networks`, is closed.
        Required = "required",
    }
}

choice! {
    /// What somebody may do who logs in as `anonymous` or `ftp`.
    pub enum AnonymousAccess {
        /// Nobody logs in without an account.
        Off = "off",
        /// List and download.
        Read = "read",
        /// Store new files, and neither see nor fetch what is there: a place to hand something in.
        Drop = "drop",
        /// List and download, store new files and make directories; what is there stays as it is. What one stores, all others can fetch.
        Upload = "upload",
        /// Everything: also replace, change, rename and delete, and set times and modes.
        Write = "write",
    }
}

impl AnonymousAccess {
    /// The rights that this comes to; `None` where there is no login at all.
    #[must_use]
    pub fn rights(self) -> Option<Rights> {
        match self {
            Self::Off => None,
            Self::Read => Some(Rights::READER),
            Self::Drop => Some(Rights::UPLOAD),
            Self::Upload => Some(Rights::UPLOADER),
            Self::Write => Some(Rights::WRITER),
        }
    }
}

choice! {
    /// From which addresses a passive data connection is taken.
    pub enum DataPeer {
        /// The address of the control connection alone.
        Exact = "exact",
        /// Any address of the same network, whose size the two `peer_..._prefix_bits` tell.
        Network = "network",
        /// The address of the control connection; and where that one is in `peer_proxies`, any other in them.
        Proxies = "proxies",
    }
}

choice! {
    /// The port that active data connections come from.
    pub enum SourcePort {
        /// The control port minus one, as RFC 959 says; any port where this process may not bind that one.
        ControlMinusOne = "control-minus-one",
        /// Any port, picked by the kernel.
        Any = "any",
    }
}

choice! {
    /// The way that a transfer's bytes take.
    pub enum TransferRoute {
        /// The cheapest way that can do the transfer.
        Auto = "auto",
        /// `sendfile` for the downloads that can take it, the cheapest way for all else.
        Sendfile = "sendfile",
        /// `splice` for the downloads and uploads that can take it, the cheapest way for all else.
        Splice = "splice",
        /// As `splice`, the file's half of it on the kernel's own threads.
        RingSplice = "ring-splice",
        /// Through a buffer of this process.
        Copy = "copy",
    }
}

choice! {
    /// What an upload leaves in the page cache.
    pub enum UploadCache {
        /// All of it.
        Keep = "keep",
        /// Nothing: what is stored is brought to the disk meanwhile, and dropped, so that it pushes nothing else out.
        DropBehind = "drop-behind",
        /// Nothing, and nothing passes through it, on a file system that can; on others as `drop-behind`.
        Direct = "direct",
    }
}

choice! {
    /// How much of an upload is on the disk before it gets its name and the client its 226.
    pub enum SyncPolicy {
        /// No disk of this machine is waited for: its crash may leave the old file, or an empty or partial one. FUSE, NFS and SMB are, as with `data`.
        None = "none",
        /// The contents: what has its name after a crash is whole.
        Data = "data",
        /// Contents, times and the directory: what was acknowledged is there after a crash.
        Full = "full",
    }
}

choice! {
    /// The form of a log line.
    pub enum LogFormat {
        /// For people.
        Human = "human",
        /// A JSON object a line.
        Json = "json",
    }
}

choice! {
    /// The least that is logged.
    pub enum LogLevel {
        /// What the operator must mend.
        Error = "error",
        /// Also what the operator should know.
        Warn = "warn",
        /// Also logins and transfers.
        Info = "info",
        /// Also every command.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}
