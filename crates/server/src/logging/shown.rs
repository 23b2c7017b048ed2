//! What a log may show.

use std::fmt;

/// A line or name of a client's as the log shows it: escaped, and without any password.
///
/// Whatever may be a PASS command is cut off behind that word, also one that is none for the blanks or for the remains of telnet
/// before it, or that stands in the middle of a line.
pub(crate) fn loggable(bytes: &[u8]) -> impl fmt::Display + '_ {
    // A value that looks and writes when it is asked to: most lines are never written.
    fmt::from_fn(move |out| {
        let shown = end_of_what_may_be_shown(bytes);
        let hidden = if shown < bytes.len() { " ..." } else { "" };
        write!(out, "{}{hidden}", bytes[..shown].escape_ascii())
    })
}

fn end_of_what_may_be_shown(bytes: &[u8]) -> usize {
    const VERB: &[u8] = b"PASS";
    let begins_a_word = |at: usize| at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
    let found = bytes.windows(VERB.len()).enumerate().find(|(at, window)| {
        let after = bytes.get(at + VERB.len());
        let ends_a_word = after.is_none_or(|byte| !byte.is_ascii_alphanumeric());
        // At the beginning of a line a blank may have been forgotten.
        let is_first = bytes[..*at].iter().all(|byte| !byte.is_ascii_alphanumeric());
        window.eq_ignore_ascii_case(VERB) && begins_a_word(*at) && (is_first || ends_a_word)
    });
    found.map_or(bytes.len(), |(at, _)| at + VERB.len())
}

/// A finished line, with every control character in it escaped but its end and, where there are colours, theirs.
///
/// Whoever logs a name of a client's has escaped it already. This is for what nobody thought of: a path of the
/// configuration, an error's text.
pub(super) fn in_one_line(line: &[u8], has_colours: bool) -> Option<Vec<u8>> {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, &b"\n"[..]),
        None => (line, &b""[..]),
    };
    let is_raw = |byte: u8| byte.is_ascii_control() && !(has_colours && byte == b'\x1b');
    // U+0080 to U+009F, which some terminals obey too.
    let is_raw_pair = |pair: &[u8]| pair[0] == 0xC2 && (0x80..0xA0).contains(&pair[1]);
    if !text.iter().any(|byte| is_raw(*byte)) && !text.windows(2).any(is_raw_pair) {
        return None;
    }
    let mut escaped = Vec::with_capacity(line.len() + 16);
    let mut at = 0;
    while at < text.len() {
        let length = if text[at..].len() > 1 && is_raw_pair(&text[at..at + 2]) { 2 } else { 1 };
        let piece = &text[at..at + length];
        if length == 2 || is_raw(piece[0]) {
            escaped.extend(piece.escape_ascii());
        } else {
            escaped.extend_from_slice(piece);
        }
        at += length;
    }
    escaped.extend_from_slice(end);
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_shows_a_password_or_a_control_character() {
        let shown = |line: &[u8]| loggable(line).to_string();
        assert_eq!(shown(b"PASS secret"), "PASS ...");
        assert_eq!(shown(b"pass"), "pass");
        assert_eq!(shown(b"passsecret"), "pass ...");
        assert_eq!(shown(b"  PASS secret"), "  PASS ...");
        assert_eq!(shown(b"\xff\xf4PASS secret"), "\\xff\\xf4PASS ...");
        assert_eq!(shown(b"USER a\rPASS secret"), "USER a\\rPASS ...");
        assert_eq!(shown(b"RETR compass.txt"), "RETR compass.txt");
        assert_eq!(shown(b"RETR passage"), "RETR passage");
        assert_eq!(shown(b"CWD a\x1b[31m\n\x07\xc2\x9b"), "CWD a\\x1b[31m\\n\\x07\\xc2\\x9b");
    }

    #[test]
    fn what_nobody_escaped_stays_in_its_line() {
        assert_eq!(in_one_line("plain, and ümläut\n".as_bytes(), false), None);
        assert_eq!(in_one_line(b"a\nb\x07\x7f\n", false).unwrap(), b"a\\nb\\x07\\x7f\n");
        assert_eq!(in_one_line("a\u{9b}31m b\n".as_bytes(), false).unwrap(), b"a\\xc2\\x9b31m b\n");
        assert_eq!(in_one_line(b"\x1b[32m INFO\x1b[0m a\n", true), None);
        assert_eq!(in_one_line(b"\x1b[32m\n", false).unwrap(), b"\\x1b[32m\n");
    }
}
