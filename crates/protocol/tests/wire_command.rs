//! Every verb with good arguments and bad ones, and that a command that is encoded reads as itself.

#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped is a failed test")]

use std::borrow::Cow;
use std::net::SocketAddr;

use proptest::prelude::*;
use protocol::command::{
    self, ChecksumArgument, Command, Eprt, Epsv, HashAlgorithm, HashName, ListArgument, Opts, ParseError,
    Password, Site, Structure, Timestamp, TransferMode, TypeCode, Verb,
};
use protocol::line::{Frame, LINE_BYTES_MAX, LineSplitter};

const NEEDS_ARGUMENT: &str = "Syntax error: command needs an argument.";
const ACCEPTS_NO_ARGUMENT: &str = "Syntax error: command does not accept arguments.";

fn parse(line: &str) -> Result<Command<'_>, ParseError> {
    command::parse(line.as_bytes())
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text.as_bytes()).unwrap()
}

fn list(all: bool, path: Option<&str>) -> ListArgument<'_> {
    ListArgument { all, path: path.map(str::as_bytes) }
}

fn file(path: &str, start: u64, end: Option<u64>) -> ChecksumArgument<'_> {
    ChecksumArgument { path: Cow::Borrowed(path.as_bytes()), start, end }
}

fn not_offered(verb: &str) -> Command<'static> {
    Command::NotOffered(Verb::new(verb.as_bytes()).unwrap())
}

#[test]
fn login_and_session() {
    for (line, expected) in [
        ("USER anonymous", Command::User(b"anonymous")),
        ("user a b ", Command::User(b"a b ")),
        ("PASS secret", Command::Pass(Password::new(b"secret"))),
        ("PASS", Command::Pass(Password::new(b""))),
        ("PASS ", Command::Pass(Password::new(b""))),
        ("PASS  a ", Command::Pass(Password::new(b" a "))),
        ("ACCT a", Command::Acct(b"a")),
        ("REIN", Command::Rein),
        ("QUIT", Command::Quit),
        ("qUiT ", Command::Quit),
        ("HOST ftp.example.org", Command::Host(b"ftp.example.org")),
        ("HOST [::1] ", Command::Host(b"[::1]")),
        ("CLNT NcFTP 3.2", Command::Clnt(b"NcFTP 3.2")),
        ("LANG", Command::Lang(None)),
        ("LANG en-GB ", Command::Lang(Some(b"en-GB"))),
    ] {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
}

#[test]
fn data_connections_and_parameters() {
    let address: SocketAddr = "10.0.0.1:1025".parse().unwrap();
    let address_v6: SocketAddr = "[2001:db8::1]:1025".parse().unwrap();
    for (line, expected) in [
        ("PORT 10,0,0,1,4,1", Command::Port(address)),
        ("PORT  10,0,0,1,4,1 ", Command::Port(address)),
        ("PASV", Command::Pasv),
        ("EPRT |1|10.0.0.1|1025|", Command::Eprt(Eprt::Address(address))),
        ("EPRT |2|2001:db8::1|1025|", Command::Eprt(Eprt::Address(address_v6))),
        ("EPRT |3|x|1025|", Command::Eprt(Eprt::UnknownFamily)),
        ("EPSV", Command::Epsv(Epsv::SameFamily)),
        ("EPSV 1", Command::Epsv(Epsv::Ipv4)),
        ("EPSV 2", Command::Epsv(Epsv::Ipv6)),
        ("EPSV 3", Command::Epsv(Epsv::UnknownFamily)),
        ("EPSV all", Command::Epsv(Epsv::All)),
        ("TYPE A", Command::Type(TypeCode::Ascii)),
        ("TYPE a n", Command::Type(TypeCode::Ascii)),
        ("TYPE A  N ", Command::Type(TypeCode::Ascii)),
        ("TYPE i", Command::Type(TypeCode::Image)),
        ("TYPE L 8", Command::Type(TypeCode::Image)),
        ("TYPE l7", Command::Type(TypeCode::Ascii)),
        ("type l8", Command::Type(TypeCode::Image)),
        ("TYPE A T", Command::Type(TypeCode::NotOffered)),
        ("TYPE A c", Command::Type(TypeCode::NotOffered)),
        ("TYPE E", Command::Type(TypeCode::NotOffered)),
        ("TYPE E N", Command::Type(TypeCode::NotOffered)),
        ("TYPE L 36", Command::Type(TypeCode::NotOffered)),
        ("STRU F", Command::Stru(Structure::File)),
        ("STRU f ", Command::Stru(Structure::File)),
        ("STRU R", Command::Stru(Structure::NotOffered)),
        ("STRU P", Command::Stru(Structure::NotOffered)),
        ("MODE s", Command::Mode(TransferMode::Stream)),
        ("MODE B", Command::Mode(TransferMode::NotOffered)),
        ("MODE C", Command::Mode(TransferMode::NotOffered)),
        ("MODE Z", Command::Mode(TransferMode::NotOffered)),
        ("ALLO 1000", Command::Allo(1000)),
        ("ALLO 1000 R 80", Command::Allo(1000)),
        ("ALLO x", Command::Allo(0)),
        ("REST 0", Command::Rest(0)),
        ("REST 18446744073709551615 ", Command::Rest(u64::MAX)),
    ] {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
}

#[test]
fn files_and_directories() {
    for (line, expected) in [
        ("CWD", Command::Cwd(None)),
        ("CWD ", Command::Cwd(None)),
        ("CWD  ", Command::Cwd(Some(b" "))),
        ("CWD a b ", Command::Cwd(Some(b"a b "))),
        ("XCWD a", Command::Cwd(Some(b"a"))),
        ("CDUP", Command::Cdup),
        ("XCUP", Command::Cdup),
        ("SMNT a", Command::Smnt(b"a")),
        ("RETR a", Command::Retr(b"a")),
        ("RETR  a", Command::Retr(b" a")),
        ("RETR \u{e4}", Command::Retr("\u{e4}".as_bytes())),
        ("STOR a\0b", Command::Stor(b"a\0b")),
        ("STOU", Command::Stou(None)),
        ("STOU a", Command::Stou(Some(b"a"))),
        ("APPE a", Command::Appe(b"a")),
        ("RNFR a", Command::Rnfr(b"a")),
        ("RNTO a", Command::Rnto(b"a")),
        ("DELE a", Command::Dele(b"a")),
        ("RMD a", Command::Rmd(b"a")),
        ("XRMD a", Command::Rmd(b"a")),
        ("MKD a", Command::Mkd(b"a")),
        ("XMKD a", Command::Mkd(b"a")),
        ("PWD", Command::Pwd),
        ("XPWD", Command::Pwd),
        ("LIST", Command::List(list(false, None))),
        ("LIST -la /a b", Command::List(list(true, Some("/a b")))),
        ("NLST a", Command::Nlst(list(false, Some("a")))),
        ("NLST -- -a", Command::Nlst(list(false, Some("-a")))),
        ("STAT", Command::Stat(list(false, None))),
        ("STAT -l a", Command::Stat(list(false, Some("a")))),
        ("MLST", Command::Mlst(None)),
        ("MLST -a", Command::Mlst(Some(b"-a"))),
        ("MLSD a", Command::Mlsd(Some(b"a"))),
        ("SIZE a", Command::Size(b"a")),
        ("MDTM 20240102030405 a", Command::Mdtm(b"20240102030405 a")),
        ("MFMT 20240102030405 a b", Command::Mfmt(time("20240102030405"), b"a b")),
        ("MFMT  20240102030405.123  a", Command::Mfmt(time("20240102030405"), b" a")),
        ("MFCT 20240102030405 a", Command::Mfct(time("20240102030405"), b"a")),
        ("HASH a b", Command::Hash(b"a b")),
        ("XCRC a", Command::Checksum(HashAlgorithm::Crc32, file("a", 0, None))),
        ("XMD5 \"a b\" 1 2", Command::Checksum(HashAlgorithm::Md5, file("a b", 1, Some(2)))),
        ("MD5 a", Command::Checksum(HashAlgorithm::Md5, file("a", 0, None))),
        ("XSHA a", Command::Checksum(HashAlgorithm::Sha1, file("a", 0, None))),
        ("XSHA1 a 7", Command::Checksum(HashAlgorithm::Sha1, file("a", 7, None))),
        ("XSHA256 a", Command::Checksum(HashAlgorithm::Sha256, file("a", 0, None))),
        ("xsha512 a", Command::Checksum(HashAlgorithm::Sha512, file("a", 0, None))),
    ] {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
}

#[test]
fn information_and_options() {
    for (line, expected) in [
        ("SYST", Command::Syst),
        ("HELP", Command::Help(None)),
        ("HELP SITE CHMOD ", Command::Help(Some(b"SITE CHMOD"))),
        ("NOOP", Command::Noop),
        ("noop  ", Command::Noop),
        ("FEAT", Command::Feat),
        ("OPTS UTF8 ON", Command::Opts(Opts::Utf8On)),
        ("OPTS MLST size;", Command::Opts(Opts::Mlst(b"size;"))),
        ("OPTS HASH CRC32", Command::Opts(Opts::Hash(Some(HashName::Known(HashAlgorithm::Crc32))))),
        ("OPTS x", Command::Opts(Opts::Unknown)),
        ("SITE HELP", Command::Site(Site::Help)),
        ("SITE chmod 644 a b", Command::Site(Site::Chmod(0o644, b"a b"))),
        ("SITE UTIME 20240102030405 a", Command::Site(Site::Utime(time("20240102030405"), b"a"))),
        ("SITE INDEX", Command::Site(Site::Unknown)),
        ("ABOR", Command::Abor),
    ] {
        assert_eq!(parse(line), Ok(expected), "{line}");
    }
}

#[test]
fn verbs_that_are_known_and_not_offered() {
    for verb in [
        "AUTH", "ADAT", "PBSZ", "PROT", "CCC", "MIC", "CONF", "ENC", "MLFL", "MAIL", "MSND", "MSOM", "MSAM",
        "MRSQ", "MRCP", "XSEN", "XSEM", "XMAS", "XRSQ", "XRCP", "LPRT", "LPSV", "MFF", "ESTA", "ESTP",
        "REPL", "AVBL", "CSID", "COMB", "THMB", "DSIZ", "RMDA",
    ] {
        assert_eq!(parse(verb), Ok(not_offered(verb)));
        let line = format!("{} TLS", verb.to_lowercase());
        assert_eq!(parse(&line), Ok(not_offered(verb)));
        assert_eq!(command::syntax(verb.as_bytes()), None, "{verb}");
    }
}

#[test]
fn what_is_no_verb_is_unknown() {
    for line in [
        "",
        " ",
        " NOOP",
        "\tNOOP",
        "NOOPX",
        "NOO",
        "N\0OP",
        "NOOP\0",
        "NOOP\t",
        "SITEFOO bar",
        "NOOP\r",
        "GET a",
        "\u{e4}",
        "ABCDEFGHI",
        "ABCDEFGH",
        "XSHA5120",
        "XSHA512X a",
        "220 x",
        "GET / HTTP/1.1",
        "Host: a",
        "-",
        "NOOP-x",
    ] {
        assert_eq!(parse(line), Err(ParseError::Unknown), "{line:?}");
    }
}

#[test]
fn what_is_left_of_telnets_synch_is_skipped_where_it_is_used() {
    for line in [&b"\xf2ABOR"[..], b"\xf4\xffabor", b"\xf4\xf2ABOR", b"\xffABOR"] {
        assert_eq!(command::parse(line), Ok(Command::Abor), "{}", line.escape_ascii());
    }
    assert_eq!(command::parse(b"\xf2QUIT"), Ok(Command::Quit));
    assert_eq!(command::parse(b"\xf2STAT a"), Ok(Command::Stat(list(false, Some("a")))));
    for line in [&b"\xf2NOOP"[..], b"\xf2DELE a", b"\xefABOR", b"\xf2 ABOR", b"\xf2"] {
        assert_eq!(command::parse(line), Err(ParseError::Unknown), "{}", line.escape_ascii());
    }
}

#[test]
fn commands_that_need_an_argument_say_so() {
    for verb in [
        "ACCT",
        "ALLO",
        "APPE",
        "CLNT",
        "DELE",
        "EPRT",
        "HASH",
        "HOST",
        "MD5",
        "MDTM",
        "MFCT",
        "MFMT",
        "MKD",
        "MODE",
        "OPTS",
        "PORT",
        "REST",
        "RETR",
        "RMD",
        "RNFR",
        "RNTO",
        "SITE",
        "SITE CHMOD",
        "SITE UTIME",
        "SIZE",
        "SMNT",
        "STOR",
        "STRU",
        "TYPE",
        "USER",
        "XCRC",
        "XMD5",
        "XMKD",
        "XRMD",
        "XSHA",
        "XSHA1",
        "XSHA256",
        "XSHA512",
    ] {
        for line in [verb.to_owned(), format!("{verb} "), verb.to_lowercase()] {
            let error = parse(&line).unwrap_err();
            let verb = Verb::new(verb.split(' ').next().unwrap().as_bytes()).unwrap();
            assert_eq!(error, ParseError::Arguments { verb, usage: NEEDS_ARGUMENT }, "{line}");
        }
    }
}

#[test]
fn commands_without_an_argument_refuse_one() {
    for verb in ["ABOR", "CDUP", "FEAT", "NOOP", "PASV", "PWD", "QUIT", "REIN", "SYST", "XCUP", "XPWD"] {
        let line = format!("{verb} arg");
        let verb = Verb::new(verb.as_bytes()).unwrap();
        assert_eq!(parse(&line), Err(ParseError::Arguments { verb, usage: ACCEPTS_NO_ARGUMENT }));
    }
}

#[test]
fn malformed_arguments_are_answered_with_the_syntax() {
    for (line, usage) in [
        ("PORT 127,0,0,1,1.1", "Syntax: PORT h1,h2,h3,h4,p1,p2"),
        ("EPRT ||||", "Syntax: EPRT |family|address|port|"),
        ("EPSV x", "Syntax: EPSV [family|ALL]"),
        ("TYPE ?!?", "Syntax: TYPE A|I|L 8"),
        ("TYPE L", "Syntax: TYPE A|I|L 8"),
        ("TYPE L x", "Syntax: TYPE A|I|L 8"),
        ("TYPE I N", "Syntax: TYPE A|I|L 8"),
        ("TYPE A X", "Syntax: TYPE A|I|L 8"),
        ("TYPE  ", "Syntax: TYPE A|I|L 8"),
        ("STRU ?!?", "Syntax: STRU F"),
        ("STRU FF", "Syntax: STRU F"),
        ("MODE ?!?", "Syntax: MODE S"),
        ("REST str", "Syntax: REST offset"),
        ("REST -1", "Syntax: REST offset"),
        ("REST 10.1", "Syntax: REST offset"),
        ("REST 18446744073709551616", "Syntax: REST offset"),
        ("HOST  ", "Syntax: HOST name"),
        ("MFMT a", "Syntax: MFMT YYYYMMDDHHMMSS path"),
        ("MFMT 20240102030405", "Syntax: MFMT YYYYMMDDHHMMSS path"),
        ("MFMT 2024010203040x a", "Syntax: MFMT YYYYMMDDHHMMSS path"),
        ("MFCT 20241302030405 a", "Syntax: MFCT YYYYMMDDHHMMSS path"),
        ("OPTS UTF8 x", "Syntax: OPTS command [options]"),
        ("OPTS MLST type ;", "Syntax: OPTS command [options]"),
        ("SITE CHMOD 778 a", "Invalid SITE CHMOD format: it needs two arguments, SITE CHMOD octal path"),
        ("SITE CHMOD 777", "Invalid SITE CHMOD format: it needs two arguments, SITE CHMOD octal path"),
        ("SITE UTIME x a", "Syntax: SITE UTIME YYYYMMDDHHMMSS path"),
        ("XCRC \"a", "Syntax: XCRC path [start [end]]"),
        ("XSHA512 a 2 1", "Syntax: XSHA512 path [start [end]]"),
    ] {
        let verb = Verb::new(line.split(' ').next().unwrap().as_bytes()).unwrap();
        assert_eq!(parse(line), Err(ParseError::Arguments { verb, usage }), "{line}");
    }
}

#[test]
fn help_knows_every_verb_that_is_offered() {
    for verb in command::offered_verbs() {
        let syntax = command::syntax(verb.to_lowercase().as_bytes()).unwrap();
        assert!(syntax.starts_with(verb), "{verb}: {syntax}");
        assert!(!matches!(parse(verb), Err(ParseError::Unknown) | Ok(Command::NotOffered(_))), "{verb}");
    }
    assert!(command::offered_verbs().count() > 50);
    assert_eq!(command::syntax(b"site chmod"), Some("SITE CHMOD octal path"));
    for unknown in [&b""[..], b"?!?", b"AUTH", b"SITE FOO", b"NOOPNOOPN"] {
        assert_eq!(command::syntax(unknown), None, "{}", unknown.escape_ascii());
    }
}

#[test]
fn a_password_is_never_shown() {
    let command = parse("PASS secret").unwrap();
    assert!(!format!("{command:?}").contains("secret"));
    assert_eq!(command.verb(), "PASS");
}

#[test]
fn what_ftp_cannot_say_is_not_sent() {
    let mut out = Vec::new();
    Command::Dele(b"a\r\nDELE b").encode(&mut out);
    assert_eq!(out, b"DELE a\r?DELE b\r\n");
}

/// Bytes that a line can carry: all but LF; those that mean something are frequent.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(&b" \"-a8\r\0\xff\xfa\xf0\xf2"[..])];
    let byte = byte.prop_map(|byte| if byte == b'\n' { b'_' } else { byte });
    prop::collection::vec(byte, 1..20)
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(33_u8..127, 1..20)
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.unix_seconds..=Timestamp::MAX.unix_seconds)
        .prop_map(|unix_seconds| Timestamp { unix_seconds })
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), 1_u16..).prop_map(SocketAddr::from)
}

/// The encoded command, split and read again, is the command.
fn assert_reads_as_itself(command: &Command<'_>) -> Result<(), TestCaseError> {
    let mut line = Vec::new();
    command.encode(&mut line);
    let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
    let mut input = &line[..];
    let Some(Frame::Line(line)) = splitter.next(&mut input) else {
        return Err(TestCaseError::fail("one command is one line"));
    };
    let read = command::parse(line);
    prop_assert_eq!(read.as_ref(), Ok(command));
    prop_assert!(input.is_empty());
    Ok(())
}

proptest! {
    #[test]
    fn commands_of_paths_read_as_themselves(
        path in bytes(), has_path in any::<bool>(), all in any::<bool>(),
    ) {
        let path = &path[..];
        let optional = has_path.then_some(path);
        let listing = ListArgument { all, path: optional };
        // Flags alone mean the working directory.
        let status = ListArgument { all: all && has_path, path: optional };
        for command in [
            Command::User(path), Command::Pass(Password::new(path)), Command::Acct(path),
            Command::Cwd(optional), Command::Smnt(path), Command::Retr(path), Command::Stor(path),
            Command::Stou(optional), Command::Appe(path), Command::Rnfr(path), Command::Rnto(path),
            Command::Dele(path), Command::Rmd(path), Command::Mkd(path), Command::List(listing),
            Command::Nlst(listing), Command::Stat(status), Command::Mlst(optional),
            Command::Mlsd(optional), Command::Size(path), Command::Mdtm(path), Command::Clnt(path),
            Command::Hash(path),
        ] {
            assert_reads_as_itself(&command)?;
        }
    }

    #[test]
    fn commands_of_words_read_as_themselves(word in word(), has_word in any::<bool>()) {
        let word = &word[..];
        let optional = has_word.then_some(word);
        let hash = HashAlgorithm::from_name(word).map_or(HashName::Unknown(word), HashName::Known);
        for command in [
            Command::Host(word), Command::Help(optional), Command::Lang(optional),
            Command::Opts(Opts::Hash(has_word.then_some(hash))),
        ] {
            assert_reads_as_itself(&command)?;
        }
    }

    #[test]
    fn commands_of_numbers_read_as_themselves(number in any::<u64>(), address in address()) {
        assert_reads_as_itself(&Command::Allo(number))?;
        assert_reads_as_itself(&Command::Rest(number))?;
        assert_reads_as_itself(&Command::Eprt(Eprt::Address(address)))?;
        if address.is_ipv4() {
            assert_reads_as_itself(&Command::Port(address))?;
        }
    }

    #[test]
    fn commands_of_times_and_modes_read_as_themselves(
        time in timestamp(), path in bytes(), mode in 0_u32..0o10000,
    ) {
        for command in [
            Command::Mfmt(time, &path), Command::Mfct(time, &path), Command::Site(Site::Utime(time, &path)),
            Command::Site(Site::Chmod(mode, &path)),
        ] {
            assert_reads_as_itself(&command)?;
        }
    }

    #[test]
    fn checksums_read_as_themselves(
        path in bytes(), start in any::<u64>(), length in prop::option::of(any::<u64>()),
        algorithm in prop::sample::select(&HashAlgorithm::ALL[..]),
    ) {
        let end = length.map(|length| start.saturating_add(length));
        let argument = ChecksumArgument { path: Cow::Owned(path), start, end };
        assert_reads_as_itself(&Command::Checksum(algorithm, argument))?;
    }

    #[test]
    fn what_was_read_reads_as_itself(
        verb in prop::sample::select(command::offered_verbs().chain(["AUTH", "MLFL"]).collect::<Vec<_>>()),
        argument in prop_oneof![
            bytes(),
            "[ ]{0,2}[-A-Za-z0-9.,|:;\" ]{0,20}".prop_map(String::into_bytes),
            "(CHMOD|UTIME|HELP|UTF8|MLST|HASH|A|L|[|][123][|]) ?[0-9:.;|]{0,15} ?[a-z]{0,3}"
                .prop_map(String::into_bytes),
        ],
    ) {
        let line = [verb.as_bytes(), b" ", &argument].concat();
        if let Ok(command) = command::parse(&line) {
            assert_reads_as_itself(&command)?;
        }
    }
}

#[test]
fn commands_of_keywords_read_as_themselves() {
    let commands = [
        Command::Cdup,
        Command::Rein,
        Command::Quit,
        Command::Pasv,
        Command::Eprt(Eprt::NotIpv4),
        Command::Eprt(Eprt::NotIpv6),
        Command::Eprt(Eprt::UnknownFamily),
        Command::Epsv(Epsv::SameFamily),
        Command::Epsv(Epsv::Ipv4),
        Command::Epsv(Epsv::Ipv6),
        Command::Epsv(Epsv::UnknownFamily),
        Command::Epsv(Epsv::All),
        Command::Type(TypeCode::Ascii),
        Command::Type(TypeCode::Image),
        Command::Type(TypeCode::NotOffered),
        Command::Stru(Structure::File),
        Command::Stru(Structure::NotOffered),
        Command::Mode(TransferMode::Stream),
        Command::Mode(TransferMode::NotOffered),
        Command::Abor,
        Command::Pwd,
        Command::Site(Site::Help),
        Command::Site(Site::Unknown),
        Command::Syst,
        Command::Noop,
        Command::Feat,
        Command::Opts(Opts::Utf8On),
        Command::Opts(Opts::Utf8Off),
        Command::Opts(Opts::Mlst(b"")),
        Command::Opts(Opts::Mlst(b"type;size;")),
        Command::Opts(Opts::Unknown),
        not_offered("AUTH"),
    ];
    for command in &commands {
        assert_reads_as_itself(command).unwrap();
    }
}
