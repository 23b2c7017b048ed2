//! What a session asks of the outside, and what the outside answers.

use std::net::SocketAddr;

use crate::command::{HashAlgorithm, ListArgument, VerbNumber};
use crate::path::VirtualPath;
use crate::reply::Reply;
use crate::rights::Rights;

use super::facts::FactSelection;

/// Something that the outside must do. The answer, where there is one, comes by the method that the variant names.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this reply.
    Reply {
        /// The reply.
        reply: Reply,
        /// The verb of the command that it answers; none for what the server says of itself.
        to: Option<VerbNumber>,
    },
    /// Check this password for the name that [`Session::user_asked`](super::Session::user_asked) gives; answered by
    /// [`Session::handle_login`](super::Session::handle_login).
    Authenticate(Secret),
    /// Lease a passive port, giving back the one that is held; answered by
    /// [`Session::handle_passive`](super::Session::handle_passive).
    LeasePassive(PassiveKind),
    /// Give back the passive port that is held, if there is one.
    ReturnPassive,
    /// `PORT` or `EPRT` names this address: may the session have a data connection made to it? Answered by
    /// [`Session::handle_address_verdict`](super::Session::handle_address_verdict).
    PermitAddress(SocketAddr),
    /// Do this transfer; answered by [`Session::handle_transfer_opened`](super::Session::handle_transfer_opened) once
    /// it is certain that it may begin, and by [`Session::handle_transfer_ended`](super::Session::handle_transfer_ended).
    Transfer(Box<Transfer>),
    /// Take back what is outstanding, a transfer or a file request; it still answers by its own method.
    Abort,
    /// Do this to the tree; answered by [`Session::handle_file_answer`](super::Session::handle_file_answer).
    File(Box<FileRequest>),
    /// The account is no longer that of this session.
    Logout,
    /// Close the control connection once everything before is sent.
    Close,
}

/// What became of [`Action::PermitAddress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressVerdict {
    /// It is the client's own, or the account may have transfers made between two servers.
    Permitted,
    /// It is somebody else's: a transfer between two servers, or the bounce attack of RFC 2577 section 3.
    Foreign,
    /// It is where this server listens itself.
    TheServer,
}

/// A password on its way to whoever checks it. It does not print.
#[derive(PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one place that compares them.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(...)")
    }
}

/// Which command asked for a passive port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassiveKind {
    /// `PASV`: the reply names an IPv4 address and a port.
    Pasv,
    /// `EPSV`: the reply names a port alone.
    Epsv,
}

/// How the data connection of a transfer comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataSetup {
    /// The client connects to the port that was leased.
    Passive,
    /// The server connects to the client.
    Active(SocketAddr),
}

/// The representation of the data on the wire (RFC 959 section 3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransferType {
    /// `TYPE A`: lines end with CRLF on the wire. What a session starts with.
    #[default]
    Ascii,
    /// `TYPE I`: bytes as they are.
    Image,
}

/// A transfer over a data connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What is transferred.
    pub what: TransferKind,
    /// How the data connection comes about. Where it is `None`, no command has said so, and the transfer cannot begin: then
    /// only what is wrong with the request is looked for, for that is told first.
    pub setup: Option<DataSetup>,
    /// How the data is represented.
    pub transfer_type: TransferType,
}

/// What is transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferKind {
    /// `RETR`.
    Download {
        /// The file.
        path: VirtualPath,
        /// Where to begin, in bytes, if the client has said so, be it 0.
        restart: Option<u64>,
    },
    /// `STOR`, `APPE` and `STOU`.
    Upload {
        /// The file; for [`UploadMode::Unique`] the directory and a hint for the name.
        path: VirtualPath,
        /// How it is written.
        mode: UploadMode,
        /// What `ALLO` said of the size, 0 where it said nothing.
        allocate_bytes: u64,
    },
    /// `LIST`, `NLST` and `MLSD`.
    Listing(ListRequest),
}

impl TransferKind {
    /// What it is about.
    #[must_use]
    pub fn path(&self) -> &VirtualPath {
        match self {
            Self::Download { path, .. } | Self::Upload { path, .. } => path,
            Self::Listing(request) => &request.path,
        }
    }
}

/// How an upload meets what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadMode {
    /// The file takes the name, from another file if need be, once it is whole.
    Replace,
    /// The file takes the name once it is whole, if the name is free.
    New,
    /// The bytes follow what is there, in place.
    Append,
    /// The bytes are written in place from this offset.
    ResumeAt(u64),
    /// The file takes a name of the server's choice.
    Unique,
}

/// What is to be listed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// The directory, file or pattern.
    pub path: VirtualPath,
    /// The argument as the client wrote it, for `NLST` prefixes names with it; empty where there was none.
    pub argument: Box<[u8]>,
    /// The form of a line.
    pub format: ListFormat,
    /// Names that begin with a dot are listed too.
    pub all: bool,
}

/// The form of a listing's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListFormat {
    /// As `ls -l` prints: `LIST`, and `STAT` with a path.
    Long,
    /// Names alone: `NLST`.
    Names,
    /// Facts (RFC 3659 section 7): `MLSD` and `MLST`.
    Machine(FactSelection, Rights),
}

/// Something to do to the tree that needs no data connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRequest {
    /// `CWD`, `CDUP`: is this a directory that can be entered?
    Enter(VirtualPath),
    /// `DELE`.
    Delete(VirtualPath),
    /// `RMD`.
    RemoveDirectory(VirtualPath),
    /// `MKD`.
    MakeDirectory(VirtualPath),
    /// `RNFR`: is it there?
    RenameFrom(VirtualPath),
    /// `RNTO`.
    Rename {
        /// The name that it has.
        from: VirtualPath,
        /// The name that it gets.
        to: VirtualPath,
        /// Whether a file of that name may be replaced.
        replace: bool,
    },
    /// `SIZE`.
    Size(VirtualPath),
    /// `MDTM`.
    Modified(VirtualPath),
    /// `MFMT`, `SITE UTIME`.
    SetModified {
        /// The file.
        path: VirtualPath,
        /// Seconds since 1970-01-01 UTC.
        unix_seconds: i64,
    },
    /// `SITE CHMOD`.
    SetMode {
        /// The file.
        path: VirtualPath,
        /// Permission bits.
        mode: u32,
    },
    /// `MLST`.
    Facts {
        /// The file or directory.
        path: VirtualPath,
        /// The facts to tell.
        facts: FactSelection,
        /// What the perm fact is made of.
        rights: Rights,
    },
    /// `STAT` with a path: a listing over the control connection.
    Status(ListRequest),
    /// `HASH` and the `X` checksums.
    Digest {
        /// The file.
        path: VirtualPath,
        /// The algorithm.
        algorithm: HashAlgorithm,
        /// The first byte.
        start: u64,
        /// The byte behind the last; the file's end where there is none.
        end: Option<u64>,
        /// How the command wants it answered.
        form: DigestForm,
    },
}

impl FileRequest {
    /// What it is about: for a rename, the name that is given up.
    #[must_use]
    pub fn path(&self) -> &VirtualPath {
        match self {
            Self::Enter(path)
            | Self::Delete(path)
            | Self::RemoveDirectory(path)
            | Self::MakeDirectory(path)
            | Self::RenameFrom(path)
            | Self::Size(path)
            | Self::Modified(path)
            | Self::Rename { from: path, .. }
            | Self::SetModified { path, .. }
            | Self::SetMode { path, .. }
            | Self::Facts { path, .. }
            | Self::Digest { path, .. } => path,
            Self::Status(request) => &request.path,
        }
    }
}

/// The form of the answer to a checksum command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestForm {
    /// `HASH`: 213, the algorithm, the range, the digest and the path.
    Hash,
    /// `XCRC` and its like: 250 and the digest.
    Plain,
}

/// What a [`FileRequest`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum FileAnswer {
    /// It is done, or it is so.
    Done,
    /// The size in bytes.
    Size(u64),
    /// The time of the last change, in seconds since 1970-01-01 UTC.
    Modified(i64),
    /// Lines of a listing, each with its CRLF.
    Lines {
        /// The lines.
        text: Vec<u8>,
        /// There would be more, but a reply has a bound.
        cut: bool,
    },
    /// A digest in lower-case hexadecimal, and the byte behind the last that it covers.
    Digest {
        /// The digits.
        hexadecimal: String,
        /// The byte behind the last.
        end: u64,
    },
}

/// What the opening of a transfer found, for its first reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// A download of this many bytes, counted from its restart marker.
    Download {
        /// The bytes that will be sent in `TYPE I`.
        bytes: u64,
    },
    /// An upload.
    Upload,
    /// An upload under a name that the server chose.
    Unique {
        /// The name.
        name: Vec<u8>,
    },
    /// A listing.
    Listing,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferEnd {
    /// It could not begin; this is the reply, and the data connection is still set up.
    Refused(Reply),
    /// It could begin, but there is no [`Transfer::setup`].
    NotSetUp,
    /// Every byte was handed over, and an upload has its name.
    Complete,
    /// It was taken back, as [`Action::Abort`] asked.
    Aborted,
    /// It failed; this is the reply.
    Failed(Reply),
}

impl ListRequest {
    pub(super) fn new(path: VirtualPath, argument: ListArgument<'_>, format: ListFormat) -> Self {
        Self { path, argument: argument.path.unwrap_or_default().into(), format, all: argument.all }
    }
}
