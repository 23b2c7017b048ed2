//! Commands inside of commands: `OPTS` (RFC 2389 section 4) and `SITE`.

use super::words::{non_empty, split_last_word, split_word, trim, trim_start};
use super::{HashAlgorithm, HashName, Opts, Site, Timestamp};

/// Reads `command [options]`. Options that the command cannot have are an error; a command without options is
/// [`Opts::Unknown`].
pub(super) fn parse_options(argument: &[u8]) -> Option<Opts<'_>> {
    let (command, options) = split_word(trim(argument));
    let options = trim(options);
    match command.to_ascii_uppercase().as_slice() {
        b"" => None,
        // `NLST` is of draft-ietf-ftpext-utf-8-option: names in listings are UTF-8 as well, as they are
        // anyway.
        b"UTF8" | b"UTF-8" => match options.to_ascii_uppercase().as_slice() {
            b"" | b"ON" | b"NLST" => Some(Opts::Utf8On),
            b"OFF" => Some(Opts::Utf8Off),
            _ => None,
        },
        b"MLST" => is_fact_list(options).then_some(Opts::Mlst(options)),
        b"HASH" => Some(Opts::Hash(non_empty(options).map(|name| match HashAlgorithm::from_name(name) {
            Some(algorithm) => HashName::Known(algorithm),
            None => HashName::Unknown(name),
        }))),
        _ => Some(Opts::Unknown),
    }
}

/// `*( factname ";" )`: RFC 3659 section 7.8.
fn is_fact_list(list: &[u8]) -> bool {
    let is_fact_character = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_/:;".contains(byte);
    (list.is_empty() || list.ends_with(b";")) && list.iter().all(is_fact_character)
}

/// Reads a subcommand with its arguments. A word that is none is [`Site::Unknown`].
pub(super) fn parse_site(argument: &[u8]) -> Option<Site<'_>> {
    let (subcommand, arguments) = split_word(trim_start(argument));
    match subcommand.to_ascii_uppercase().as_slice() {
        b"" => None,
        b"CHMOD" => parse_chmod(arguments),
        b"UTIME" => parse_utime(arguments),
        b"HELP" => Some(match trim(arguments).to_ascii_uppercase().as_slice() {
            b"" | b"HELP" | b"CHMOD" | b"UTIME" => Site::Help,
            _ => Site::Unknown,
        }),
        _ => Some(Site::Unknown),
    }
}

/// `octal path`, of one to four octal digits.
fn parse_chmod(arguments: &[u8]) -> Option<Site<'_>> {
    let (digits, path) = split_word(trim_start(arguments));
    if !(1..=4).contains(&digits.len()) {
        return None;
    }
    let mode = digits.iter().try_fold(0, |mode, &digit| {
        matches!(digit, b'0'..=b'7').then(|| mode * 8 + u32::from(digit - b'0'))
    })?;
    Some(Site::Chmod(mode, non_empty(path)?))
}

/// Both forms that are in use: `path atime mtime ctime UTC`, which is tried first for it is the longer one,
/// and `time path`. Seconds may be left out.
fn parse_utime(arguments: &[u8]) -> Option<Site<'_>> {
    if let Some((path, mtime)) = parse_three_times(arguments) {
        return Some(Site::Utime(mtime, path));
    }
    let (time, path) = split_word(trim_start(arguments));
    Some(Site::Utime(Timestamp::parse_with_optional_seconds(time)?, non_empty(path)?))
}

fn parse_three_times(arguments: &[u8]) -> Option<(&[u8], Timestamp)> {
    let (arguments, zone) = split_last_word(arguments)?;
    let (arguments, ctime) = split_last_word(arguments)?;
    let (arguments, mtime) = split_last_word(arguments)?;
    let (path, atime) = split_last_word(arguments)?;
    Timestamp::parse_with_optional_seconds(atime)?;
    Timestamp::parse_with_optional_seconds(ctime)?;
    let mtime = Timestamp::parse_with_optional_seconds(mtime)?;
    (zone.eq_ignore_ascii_case(b"UTC") && !path.is_empty()).then_some((path, mtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_commands() {
        for (text, expected) in [
            ("UTF8 ON", Some(Opts::Utf8On)),
            ("utf8 on", Some(Opts::Utf8On)),
            ("UTF-8", Some(Opts::Utf8On)),
            ("UTF8 NLST", Some(Opts::Utf8On)),
            ("UTF8  OFF ", Some(Opts::Utf8Off)),
            ("UTF8 MAYBE", None),
            ("MLST", Some(Opts::Mlst(b""))),
            ("mlst Type;size;", Some(Opts::Mlst(b"Type;size;"))),
            ("MLST UNIX.mode;x-y/z:1;", Some(Opts::Mlst(b"UNIX.mode;x-y/z:1;"))),
            ("MLST bad_fact", None),
            ("MLST type ;", None),
            ("MLST ;\u{e9};", None),
            ("HASH", Some(Opts::Hash(None))),
            ("HASH sha-1", Some(Opts::Hash(Some(HashName::Known(HashAlgorithm::Sha1))))),
            ("HASH MD4", Some(Opts::Hash(Some(HashName::Unknown(b"MD4"))))),
            ("RETR x", Some(Opts::Unknown)),
            ("not_mlst", Some(Opts::Unknown)),
            (" ", None),
        ] {
            assert_eq!(parse_options(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn modes_are_octal() {
        for (text, expected) in [
            ("CHMOD 755 a b", Some(Site::Chmod(0o755, b"a b"))),
            ("chmod  0  a", Some(Site::Chmod(0, b" a"))),
            ("CHMOD 7777 a", Some(Site::Chmod(0o7777, b"a"))),
            ("CHMOD", None),
            ("CHMOD 755", None),
            ("CHMOD 755 ", None),
            ("CHMOD 00755 a", None),
            ("CHMOD 778 a", None),
            ("CHMOD -77 a", None),
            ("CHMOD u+w a", None),
        ] {
            assert_eq!(parse_site(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn times_come_in_two_forms() {
        let time = Timestamp::parse(b"20240102030400").unwrap();
        let utime = |path| Some(Site::Utime(time, path));
        for (text, expected) in [
            ("UTIME 20240102030400 a b", utime(b"a b")),
            ("UTIME 202401020304 a", utime(b"a")),
            ("utime a b 20200101000000 20240102030400 20200101000000 UTC", utime(b"a b")),
            ("UTIME a 20200101000000 20240102030400 20200101000000 utc", utime(b"a")),
            (
                "UTIME 20240102030400 20200101000000 20240102030400 20200101000000 UTC",
                utime(b"20240102030400"),
            ),
            ("UTIME 20240102030400 a 20200101000000 UTC", utime(b"a 20200101000000 UTC")),
            ("UTIME 20240102030400", None),
            ("UTIME 20241302030400 a", None),
            ("UTIME a 20200101000000 20240102030400 20200101000000 CET", None),
            ("UTIME", None),
        ] {
            assert_eq!(parse_site(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn other_words_of_site() {
        for (text, expected) in [
            ("HELP", Some(Site::Help)),
            ("help chmod", Some(Site::Help)),
            ("HELP ?!?", Some(Site::Unknown)),
            ("EXEC ls", Some(Site::Unknown)),
            (" ", None),
        ] {
            assert_eq!(parse_site(text.as_bytes()), expected, "{text}");
        }
    }
}
