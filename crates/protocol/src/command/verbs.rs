//! The table of verbs: one row a verb, which says how its argument is read and what `HELP` shows.

use super::address::{parse_eprt, parse_epsv, parse_host_port};
use super::checksum::parse_checksum;
use super::listing::{parse_listing, parse_status};
use super::options::{parse_options, parse_site};
use super::parse::{alone, keyword, parse_mode, parse_structure, parse_type};
use super::words::{decimal, non_empty, split_word, trim, trim_start};
use super::{Command, HashAlgorithm, ParseError, Password, Timestamp, Verb};

/// Reads the argument of one verb, which has at least one byte if there is one. `None` is an error in it.
type ReadArgument = for<'a> fn(Option<&'a [u8]>) -> Option<Command<'a>>;

/// One verb.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) reading: Reading,
    key: u64,
}

/// How a verb's argument is read.
pub(super) enum Reading {
    Offered {
        /// As `HELP` shows it: `"RETR path"`.
        syntax: &'static str,
        /// As a 501 reply shows it: `"Syntax: RETR path"`.
        usage: &'static str,
        read: ReadArgument,
    },
    NotOffered,
}

const NEEDS_ARGUMENT: &str = "Syntax error: command needs an argument.";
const ACCEPTS_NO_ARGUMENT: &str = "Syntax error: command does not accept arguments.";

impl Row {
    const fn new(name: &'static str, reading: Reading) -> Self {
        Self { name, reading, key: Verb::of(name).key() }
    }

    /// Reads the argument of this verb.
    pub(super) fn read<'a>(&self, argument: Option<&'a [u8]>) -> Result<Command<'a>, ParseError> {
        let verb = Verb::from_key(self.key);
        let Reading::Offered { syntax, usage, read } = self.reading else {
            return Ok(Command::NotOffered(verb));
        };
        read(argument).ok_or_else(|| {
            let usage = match argument {
                None => NEEDS_ARGUMENT,
                Some(_) if syntax == self.name => ACCEPTS_NO_ARGUMENT,
                Some(argument) if self.name == "SITE" => site_usage(argument).unwrap_or(usage),
                Some(_) => usage,
            };
            ParseError::Arguments { verb, usage }
        })
    }
}

/// A verb, the rest of its syntax, and how its argument is read.
macro_rules! row {
    ($name:literal, $arguments:literal, $read:expr) => {
        Row::new(
            $name,
            Reading::Offered {
                syntax: concat!($name, $arguments),
                usage: concat!("Syntax: ", $name, $arguments),
                read: $read,
            },
        )
    };
}

const fn not_offered(name: &'static str) -> Row {
    Row::new(name, Reading::NotOffered)
}

/// Every verb that is known, in the order of the standards that brought them.
#[rustfmt::skip] // One row a line, where rustfmt would give some of them five.
const ROWS: &[Row] = &[
    // RFC 959: access control.
    row!("USER", " name", |argument| argument.map(Command::User)),
    row!("PASS", " password", |argument| Some(Command::Pass(Password::new(argument.unwrap_or_default())))),
    row!("ACCT", " account", |argument| argument.map(Command::Acct)),
    row!("CWD", " [path]", |argument| Some(Command::Cwd(argument))),
    row!("CDUP", "", |argument| alone(argument, Command::Cdup)),
    row!("SMNT", " path", |argument| argument.map(Command::Smnt)),
    row!("REIN", "", |argument| alone(argument, Command::Rein)),
    row!("QUIT", "", |argument| alone(argument, Command::Quit)),
    // RFC 959: transfer parameters.
    row!("PORT", " h1,h2,h3,h4,p1,p2", |argument| {
        parse_host_port(trim(argument?)).map(|address| Command::Port(address.into()))
    }),
    row!("PASV", "", |argument| alone(argument, Command::Pasv)),
    row!("TYPE", " A|I|L 8", |argument| parse_type(argument?).map(Command::Type)),
    row!("STRU", " F", |argument| parse_structure(argument?).map(Command::Stru)),
    row!("MODE", " S", |argument| parse_mode(argument?).map(Command::Mode)),
    // RFC 959: service.
    row!("RETR", " path", |argument| argument.map(Command::Retr)),
    row!("STOR", " path", |argument| argument.map(Command::Stor)),
    row!("STOU", " [path]", |argument| Some(Command::Stou(argument))),
    row!("APPE", " path", |argument| argument.map(Command::Appe)),
    row!("ALLO", " bytes [R record-bytes]", |argument| {
        argument.map(|argument| Command::Allo(allocation(argument)))
    }),
    row!("REST", " offset", |argument| decimal(trim(argument?)).map(Command::Rest)),
    row!("RNFR", " path", |argument| argument.map(Command::Rnfr)),
    row!("RNTO", " path", |argument| argument.map(Command::Rnto)),
    row!("ABOR", "", |argument| alone(argument, Command::Abor)),
    row!("DELE", " path", |argument| argument.map(Command::Dele)),
    row!("RMD", " path", |argument| argument.map(Command::Rmd)),
    row!("MKD", " path", |argument| argument.map(Command::Mkd)),
    row!("PWD", "", |argument| alone(argument, Command::Pwd)),
    row!("LIST", " [-a] [path]", |argument| Some(Command::List(parse_listing(argument)))),
    row!("NLST", " [-a] [path]", |argument| Some(Command::Nlst(parse_listing(argument)))),
    row!("SITE", " HELP|CHMOD|UTIME [arguments]", |argument| parse_site(argument?).map(Command::Site)),
    row!("SYST", "", |argument| alone(argument, Command::Syst)),
    row!("STAT", " [path]", |argument| Some(Command::Stat(parse_status(argument)))),
    row!("HELP", " [command]", |argument| Some(Command::Help(keyword(argument)))),
    row!("NOOP", "", |argument| alone(argument, Command::Noop)),
    // RFC 775, which RFC 1123 section 4.1.3.1 keeps.
    row!("XCWD", " [path]", |argument| Some(Command::Cwd(argument))),
    row!("XCUP", "", |argument| alone(argument, Command::Cdup)),
    row!("XPWD", "", |argument| alone(argument, Command::Pwd)),
    row!("XMKD", " path", |argument| argument.map(Command::Mkd)),
    row!("XRMD", " path", |argument| argument.map(Command::Rmd)),
    // RFC 2389, 2428, 2640, 3659, 7151.
    row!("FEAT", "", |argument| alone(argument, Command::Feat)),
    row!("OPTS", " command [options]", |argument| parse_options(argument?).map(Command::Opts)),
    row!("EPRT", " |family|address|port|", |argument| parse_eprt(argument?).map(Command::Eprt)),
    row!("EPSV", " [family|ALL]", |argument| parse_epsv(argument).map(Command::Epsv)),
    row!("LANG", " [tag]", |argument| Some(Command::Lang(keyword(argument)))),
    row!("MDTM", " path", |argument| argument.map(Command::Mdtm)),
    row!("SIZE", " path", |argument| argument.map(Command::Size)),
    row!("MLST", " [path]", |argument| Some(Command::Mlst(argument))),
    row!("MLSD", " [path]", |argument| Some(Command::Mlsd(argument))),
    row!("HOST", " name", |argument| keyword(argument).map(Command::Host)),
    // Practice.
    row!("MFMT", " YYYYMMDDHHMMSS path", |argument| {
        time_and_path(argument?).map(|(time, path)| Command::Mfmt(time, path))
    }),
    row!("MFCT", " YYYYMMDDHHMMSS path", |argument| {
        time_and_path(argument?).map(|(time, path)| Command::Mfct(time, path))
    }),
    row!("CLNT", " name", |argument| argument.map(Command::Clnt)),
    row!("HASH", " path", |argument| argument.map(Command::Hash)),
    row!("XCRC", " path [start [end]]", |argument| checksum(HashAlgorithm::Crc32, argument)),
    row!("XMD5", " path [start [end]]", |argument| checksum(HashAlgorithm::Md5, argument)),
    row!("MD5", " path [start [end]]", |argument| checksum(HashAlgorithm::Md5, argument)),
    row!("XSHA", " path [start [end]]", |argument| checksum(HashAlgorithm::Sha1, argument)),
    row!("XSHA1", " path [start [end]]", |argument| checksum(HashAlgorithm::Sha1, argument)),
    row!("XSHA256", " path [start [end]]", |argument| checksum(HashAlgorithm::Sha256, argument)),
    row!("XSHA512", " path [start [end]]", |argument| checksum(HashAlgorithm::Sha512, argument)),
    // RFC 2228: security. Without TLS there is nothing to set up.
    not_offered("AUTH"), not_offered("ADAT"), not_offered("PBSZ"), not_offered("PROT"), not_offered("CCC"),
    not_offered("MIC"), not_offered("CONF"), not_offered("ENC"),
    // RFC 765: mail, before SMTP took it.
    not_offered("MLFL"), not_offered("MAIL"), not_offered("MSND"), not_offered("MSOM"), not_offered("MSAM"),
    not_offered("MRSQ"), not_offered("MRCP"),
    // RFC 743: the X forms of the same.
    not_offered("XSEN"), not_offered("XSEM"), not_offered("XMAS"), not_offered("XRSQ"), not_offered("XRCP"),
    // RFC 1639, superseded by EPRT and EPSV.
    not_offered("LPRT"), not_offered("LPSV"),
    // Drafts and practice of other servers.
    not_offered("MFF"), not_offered("ESTA"), not_offered("ESTP"), not_offered("REPL"), not_offered("AVBL"),
    not_offered("CSID"), not_offered("COMB"), not_offered("THMB"), not_offered("DSIZ"), not_offered("RMDA"),
    not_offered("MMD5"), not_offered("SPSV"), not_offered("SSCN"), not_offered("CPSV"),
];

/// The subcommands of `SITE`: what is typed, its syntax for `HELP`, and its syntax for a 501 reply.
const SITE_SYNTAX: [(&str, &str, &str); 3] = [
    (
        "SITE CHMOD",
        "SITE CHMOD octal path",
        "Invalid SITE CHMOD format: it needs two arguments, SITE CHMOD octal path",
    ),
    ("SITE UTIME", "SITE UTIME YYYYMMDDHHMMSS path", "Syntax: SITE UTIME YYYYMMDDHHMMSS path"),
    ("SITE HELP", "SITE HELP", "Syntax: SITE HELP"),
];

/// How each subcommand of `SITE` is written behind that word, for `SITE HELP`: for example `"CHMOD octal path"`.
pub fn site_syntaxes() -> impl Iterator<Item = &'static str> {
    SITE_SYNTAX.iter().map(|(_, syntax, _)| &syntax["SITE ".len()..])
}

/// What is wrong with the argument of `SITE`, of which more is known than that it is malformed.
fn site_usage(argument: &[u8]) -> Option<&'static str> {
    let (subcommand, arguments) = split_word(trim(argument));
    if arguments.is_empty() {
        return Some(NEEDS_ARGUMENT);
    }
    let is_named = |name: &str| name.as_bytes()["SITE ".len()..].eq_ignore_ascii_case(subcommand);
    SITE_SYNTAX.iter().find(|(name, ..)| is_named(name)).map(|&(_, _, usage)| usage)
}

/// The row of a verb, and the verb's number.
pub(super) fn find(verb: Verb) -> Option<(VerbNumber, &'static Row)> {
    let at = INDEX.rows[slot(verb.key(), INDEX.multiplier)];
    let row = &ROWS[at as usize];
    (row.key == verb.key()).then_some((VerbNumber(at.min(OFFERED_COUNT)), row))
}

/// A verb as a small number, by which commands can be counted. Those that are offered have one each; all others, and
/// lines that are no command, share [`VerbNumber::OTHER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerbNumber(u8);

impl VerbNumber {
    /// Whatever is not offered.
    pub const OTHER: Self = Self(OFFERED_COUNT);
    /// How many numbers there are, from 0 on.
    pub const COUNT: usize = OFFERED_COUNT as usize + 1;

    /// The number.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The verb in upper case, or `other`.
    pub fn name(self) -> &'static str {
        if self == Self::OTHER { "other" } else { ROWS[self.index()].name }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=OFFERED_COUNT).map(Self)
    }
}

/// How many rows are of verbs that are offered. They stand before the others, or the crate does not compile.
const OFFERED_COUNT: u8 = {
    let mut count = 0;
    let mut at = 0;
    while at < ROWS.len() {
        if matches!(ROWS[at].reading, Reading::Offered { .. }) {
            assert!(count as usize == at, "verbs that are offered come first");
            count += 1;
        }
        at += 1;
    }
    count
};

/// How a command is written, for `HELP command`: for example `"RETR path"`. `None` where it is unknown or not
/// offered. The subcommands of `SITE` are found too, as `SITE CHMOD`.
pub fn syntax(verb: &[u8]) -> Option<&'static str> {
    if let Some((_, syntax, _)) =
        SITE_SYNTAX.iter().find(|(name, ..)| verb.eq_ignore_ascii_case(name.as_bytes()))
    {
        return Some(syntax);
    }
    match find(Verb::new(verb)?)?.1.reading {
        Reading::Offered { syntax, .. } => Some(syntax),
        Reading::NotOffered => None,
    }
}

/// The verbs that are read as commands of their own, in the order of the standards that brought them.
pub fn offered_verbs() -> impl Iterator<Item = &'static str> {
    ROWS.iter().filter(|row| matches!(row.reading, Reading::Offered { .. })).map(|row| row.name)
}

/// `ALLO` asks for space that this server finds without being asked, and RFC 959 lets it be `NOOP` then. So
/// what is no number is not an error but a request for nothing, as with most servers.
fn allocation(argument: &[u8]) -> u64 {
    decimal(split_word(trim(argument)).0).unwrap_or(0)
}

fn time_and_path(argument: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (time, path) = split_word(trim_start(argument));
    Some((Timestamp::parse(time)?, non_empty(path)?))
}

fn checksum(algorithm: HashAlgorithm, argument: Option<&[u8]>) -> Option<Command<'_>> {
    parse_checksum(argument?).map(|argument| Command::Checksum(algorithm, argument))
}

/// A perfect hash of the verbs, found while this file is compiled: one multiplication finds the only row that
/// a verb can have.
struct Index {
    multiplier: u64,
    rows: [u8; SLOT_COUNT],
}

const SLOT_BITS: u32 = 11;
const SLOT_COUNT: usize = 1 << SLOT_BITS;

static INDEX: Index = build_index();

#[allow(clippy::cast_possible_truncation, reason = "eleven bits are left of the product")]
const fn slot(key: u64, multiplier: u64) -> usize {
    (key.wrapping_mul(multiplier) >> (u64::BITS - SLOT_BITS)) as usize
}

/// Tries multipliers until no two verbs share a slot. A verb that stands twice in the table has no such
/// multiplier, and the crate does not compile.
#[allow(clippy::cast_possible_truncation, reason = "there are fewer than 256 rows")]
const fn build_index() -> Index {
    const { assert!(ROWS.len() <= u8::MAX as usize) };
    // Any odd number will do to begin with; this one is Knuth's, 2^64 divided by the golden ratio.
    let mut multiplier = 0x9E37_79B9_7F4A_7C15_u64;
    loop {
        let mut rows = [0_u8; SLOT_COUNT];
        let mut taken = [false; SLOT_COUNT];
        let mut at = 0;
        while at < ROWS.len() {
            let slot = slot(ROWS[at].key, multiplier);
            if taken[slot] {
                break;
            }
            taken[slot] = true;
            rows[slot] = at as u8;
            at += 1;
        }
        if at == ROWS.len() {
            return Index { multiplier, rows };
        }
        multiplier = multiplier.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(2);
    }
}
