//! Commands as values: RFC 959 section 4.1 and its successors.
//!
//! A [`Command`] borrows from the line it was read from, so reading one allocates nothing. (One rarity does:
//! a checksum's quoted path with quotes in it.) What a command's argument means at the level of the wire
//! (numbers, addresses, times) is checked here; what it means for the session (is it allowed now, is it
//! offered at all) is decided in [`crate::session`].

mod address;
mod checksum;
mod encode;
mod listing;
mod options;
mod parse;
mod timestamp;
mod verbs;
mod words;

pub use address::{parse_extended_passive_reply, parse_passive_reply};
pub use parse::{parse, parse_counted};
pub use verbs::{VerbNumber, offered_verbs, site_syntaxes, syntax};

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A command read from one line. Path arguments are bytes: a name need not be UTF-8 (RFC 2640 section 2.2
/// asks for UTF-8 and allows for servers whose names are not).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// `USER name` (RFC 959 section 4.1.1).
    User(&'a [u8]),
    /// `PASS password`. An empty password is a password.
    Pass(Password<'a>),
    /// `ACCT account`.
    Acct(&'a [u8]),
    /// `CWD path`, `XCWD path`. Without an argument the login directory is meant, as clients of old expect.
    Cwd(Option<&'a [u8]>),
    /// `CDUP`, `XCUP`.
    Cdup,
    /// `SMNT path`.
    Smnt(&'a [u8]),
    /// `REIN`.
    Rein,
    /// `QUIT`.
    Quit,
    /// `HOST name` (RFC 7151).
    Host(&'a [u8]),

    /// `PORT h1,h2,h3,h4,p1,p2`.
    Port(SocketAddr),
    /// `PASV`.
    Pasv,
    /// `EPRT |family|address|port|` (RFC 2428 section 2).
    Eprt(Eprt),
    /// `EPSV [family|ALL]` (RFC 2428 section 3).
    Epsv(Epsv),
    /// `TYPE code`.
    Type(TypeCode),
    /// `STRU code`.
    Stru(Structure),
    /// `MODE code`.
    Mode(TransferMode),

    /// `RETR path`.
    Retr(&'a [u8]),
    /// `STOR path`.
    Stor(&'a [u8]),
    /// `STOU`. An argument, which RFC 959 does not have but clients send, is a hint for the name.
    Stou(Option<&'a [u8]>),
    /// `APPE path`.
    Appe(&'a [u8]),
    /// `ALLO bytes [R record]`: the size in bytes, 0 where it is no number; the record size is dropped.
    Allo(u64),
    /// `REST marker`: in stream mode a byte offset (RFC 3659 section 5).
    Rest(u64),
    /// `RNFR path`.
    Rnfr(&'a [u8]),
    /// `RNTO path`.
    Rnto(&'a [u8]),
    /// `ABOR`.
    Abor,
    /// `DELE path`.
    Dele(&'a [u8]),
    /// `RMD path`, `XRMD path`.
    Rmd(&'a [u8]),
    /// `MKD path`, `XMKD path`.
    Mkd(&'a [u8]),
    /// `PWD`, `XPWD`.
    Pwd,
    /// `LIST [path]`; leading `-flags`, which are `ls`'s and not the protocol's, are already taken off.
    List(ListArgument<'a>),
    /// `NLST [path]`.
    Nlst(ListArgument<'a>),
    /// `MLST [path]` (RFC 3659 section 7).
    Mlst(Option<&'a [u8]>),
    /// `MLSD [path]` (RFC 3659 section 7).
    Mlsd(Option<&'a [u8]>),
    /// `SITE subcommand`.
    Site(Site<'a>),
    /// `SYST`.
    Syst,
    /// `STAT [path]`.
    Stat(ListArgument<'a>),
    /// `HELP [command]`.
    Help(Option<&'a [u8]>),
    /// `NOOP`.
    Noop,

    /// `FEAT` (RFC 2389 section 3).
    Feat,
    /// `OPTS command [options]` (RFC 2389 section 4).
    Opts(Opts<'a>),
    /// `SIZE path` (RFC 3659 section 4).
    Size(&'a [u8]),
    /// `MDTM path` (RFC 3659 section 3).
    Mdtm(&'a [u8]),
    /// `MFMT time path`: sets the time of the last change (draft-somers-ftp-mfxx).
    Mfmt(Timestamp, &'a [u8]),
    /// `MFCT time path`: sets the time of creation (draft-somers-ftp-mfxx).
    Mfct(Timestamp, &'a [u8]),
    /// `LANG [tag]` (RFC 2640 section 4.1).
    Lang(Option<&'a [u8]>),
    /// `CLNT name`: the client names itself.
    Clnt(&'a [u8]),
    /// `HASH path` (draft-bryan-ftpext-hash).
    Hash(&'a [u8]),
    /// `XCRC`, `XMD5`, `XSHA1`, `XSHA256` (and `XSHA`, `MD5`): `path [start [end]]`, the path possibly in
    /// double quotes.
    Checksum(HashAlgorithm, ChecksumArgument<'a>),

    /// A command that is known, by a standard or by practice, and that this server never offers (`AUTH`
    /// without TLS, `MLFL`, `XSEN` and their like): the answer is 502.
    NotOffered(Verb),
}

/// Why a line is not a command. Either way it is the client's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The verb is not one of FTP: the answer is 500.
    #[error("the verb is not one of FTP")]
    Unknown,
    /// The verb is known, its argument is missing, superfluous or malformed: the answer is 501.
    #[error("{verb}: {usage}")]
    Arguments {
        /// The verb whose argument it is.
        verb: Verb,
        /// What is wrong, as text for the reply: `"Syntax error: command needs an argument."`, or for example
        /// `"Syntax: PORT h1,h2,h3,h4,p1,p2"`.
        usage: &'static str,
    },
}

/// A verb in upper case, at most eight ASCII letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verb {
    letters: [u8; 8],
}

impl Verb {
    /// The bytes of the longest verb.
    pub const LENGTH_MAX: usize = 8;

    /// A verb from its letters in any case. `None` where they are more than eight, none at all, or something
    /// else than ASCII letters and digits. Whether FTP has such a verb is another question.
    pub fn new(word: &[u8]) -> Option<Self> {
        let mut letters = [0; Self::LENGTH_MAX];
        if word.is_empty() || word.len() > Self::LENGTH_MAX {
            return None;
        }
        for (letter, byte) in letters.iter_mut().zip(word) {
            if !byte.is_ascii_alphanumeric() {
                return None;
            }
            *letter = byte.to_ascii_uppercase();
        }
        Some(Self { letters })
    }

    /// A verb that stands in this source, in upper case.
    ///
    /// # Panics
    /// If it has more than eight letters; in a constant, that is an error of compilation.
    pub(crate) const fn of(name: &'static str) -> Self {
        let mut letters = [0; Self::LENGTH_MAX];
        let mut at = 0;
        while at < name.len() {
            letters[at] = name.as_bytes()[at];
            assert!(letters[at].is_ascii_uppercase() || letters[at].is_ascii_digit());
            at += 1;
        }
        Self { letters }
    }

    /// The letters as a number, by which a verb is found.
    const fn key(self) -> u64 {
        u64::from_le_bytes(self.letters)
    }

    const fn from_key(key: u64) -> Self {
        Self { letters: key.to_le_bytes() }
    }

    /// The verb as text.
    pub fn as_str(&self) -> &str {
        let length = self.letters.iter().position(|&letter| letter == 0).unwrap_or(self.letters.len());
        // The constructors let nothing in but ASCII letters and digits.
        str::from_utf8(&self.letters[..length]).unwrap_or("?")
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for Verb {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A password, which no log line can show: it has neither `Display` nor a `Debug` that tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password<'a>(&'a [u8]);

impl<'a> Password<'a> {
    /// Takes the bytes of a password.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that compares them.
    pub fn reveal(&self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Password<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(...)")
    }
}

/// The argument of `EPRT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eprt {
    /// An address of a family that is known here: 1 is IPv4, 2 is IPv6.
    Address(SocketAddr),
    /// Family 1, and what is no IPv4 address: an error to those who have IPv4, and another family to the others.
    NotIpv4,
    /// Family 2, and what is no IPv6 address.
    NotIpv6,
    /// A well-formed argument whose family number is another: the answer is 522 (RFC 2428 section 2).
    UnknownFamily,
}

/// The argument of `EPSV`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epsv {
    /// None: the family of the control connection.
    SameFamily,
    /// `1`.
    Ipv4,
    /// `2`.
    Ipv6,
    /// Another number: the answer is 522.
    UnknownFamily,
    /// `ALL`: from now on the client uses nothing but `EPSV`.
    All,
}

/// The argument of `TYPE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeCode {
    /// `A` or `A N`, and `L 7`: bytes of seven bits are those of ASCII.
    Ascii,
    /// `I`, or `L 8`, which is the same on a machine of eight-bit bytes.
    Image,
    /// A type of RFC 959 that is not offered: `E`, `A T`, `A C`, `L` of another byte size. The answer is 504.
    NotOffered,
}

/// The argument of `STRU`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// `F`.
    File,
    /// `R` or `P`: the answer is 504.
    NotOffered,
}

/// The argument of `MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferMode {
    /// `S`.
    Stream,
    /// `B`, `C` or `Z`: the answer is 504.
    NotOffered,
}

/// The argument of `LIST`, `NLST` and `STAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ListArgument<'a> {
    /// `-a` was among the flags: names that begin with a dot are listed too.
    pub all: bool,
    /// What is to be listed; the working directory where there is none.
    pub path: Option<&'a [u8]>,
}

/// The subcommand of `SITE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site<'a> {
    /// `SITE CHMOD octal path`: at most `0o7777`.
    Chmod(u32, &'a [u8]),
    /// `SITE UTIME time path`, or `SITE UTIME path atime mtime ctime UTC`: the time of the last change.
    Utime(Timestamp, &'a [u8]),
    /// `SITE HELP`.
    Help,
    /// Another word: the answer is 504.
    Unknown,
}

/// The argument of `OPTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opts<'a> {
    /// `OPTS UTF8 ON`, and `OPTS UTF8` alone.
    Utf8On,
    /// `OPTS UTF8 OFF`.
    Utf8Off,
    /// `OPTS MLST fact;fact;`: the list as it came, possibly empty.
    Mlst(&'a [u8]),
    /// `OPTS HASH`, with the algorithm where there is one.
    Hash(Option<HashName<'a>>),
    /// Another command's options: the answer is 501 (RFC 2389 section 4).
    Unknown,
}

/// The name of a hash in `OPTS HASH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashName<'a> {
    /// One that is offered.
    Known(HashAlgorithm),
    /// Another: the answer is 504.
    Unknown(&'a [u8]),
}

/// An algorithm of `HASH` and of the `X` checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashAlgorithm {
    /// `CRC32`.
    Crc32,
    /// `MD5`.
    Md5,
    /// `SHA-1`.
    Sha1,
    /// `SHA-256`: what `HASH` uses until `OPTS HASH` chooses another.
    #[default]
    Sha256,
    /// `SHA-512`.
    Sha512,
}

impl HashAlgorithm {
    /// Every algorithm, in the order in which `FEAT` lists them.
    pub const ALL: [Self; 5] = [Self::Sha512, Self::Sha256, Self::Sha1, Self::Md5, Self::Crc32];

    /// The name in the registry of draft-bryan-ftpext-hash.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The algorithm of a name in the registry, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| name.eq_ignore_ascii_case(algorithm.name().as_bytes()))
    }
}

/// The argument of an `X` checksum: a path, and the bytes of it that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChecksumArgument<'a> {
    /// The file, without quotes. It is a copy only where a quote inside was written twice.
    pub path: Cow<'a, [u8]>,
    /// The first byte, 0 where none is named.
    pub start: u64,
    /// The byte behind the last, or the file's end where none is named.
    pub end: Option<u64>,
}

/// A time of RFC 3659 section 2.3 as seconds since 1970-01-01 UTC; fractions are read and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since the epoch, negative before it.
    pub unix_seconds: i64,
}

/// The address family of `IpAddr`, as `EPRT` and `EPSV` number it.
pub fn family_number(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 1,
        IpAddr::V6(_) => 2,
    }
}
