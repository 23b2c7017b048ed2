//! The argument of `XCRC` and its like: a path, and possibly a range of bytes.

use std::borrow::Cow;

use super::ChecksumArgument;
use super::words::{decimal, non_empty, split_last_word, split_word, trim};

/// Reads `path [start [end]]`, of which no standard says how it is to be cut:
///
/// - a path in double quotes, in which a quote is written twice, is followed by nothing but the range;
/// - a path without quotes is one word if it is followed by one or two numbers and nothing else; otherwise
///   the whole argument is the path, blanks and digits included.
///
/// So `XCRC report 2024` means the bytes from 2024 on of `report`; the name with the blank is reached by
/// `XCRC "report 2024"`. A range that ends before it starts is an error.
pub(super) fn parse_checksum(argument: &[u8]) -> Option<ChecksumArgument<'_>> {
    let (path, start, end) = match argument.strip_prefix(b"\"") {
        Some(quoted) => {
            let (path, range) = unquote(quoted)?;
            let (start, end) = parse_range(range)?;
            (path, start, end)
        }
        None => {
            let (word, range) = split_word(argument);
            match parse_range(range) {
                Some((start, end)) if !trim(range).is_empty() => (Cow::Borrowed(word), start, end),
                _ => (Cow::Borrowed(argument), 0, None),
            }
        }
    };
    let range_is_forward = end.is_none_or(|end| start <= end);
    (range_is_forward && !path.is_empty()).then_some(ChecksumArgument { path, start, end })
}

/// No number, a start, or a start and an end.
fn parse_range(range: &[u8]) -> Option<(u64, Option<u64>)> {
    let range = trim(range);
    match (non_empty(range), split_last_word(range)) {
        (None, _) => Some((0, None)),
        (Some(start), None) => Some((decimal(start)?, None)),
        (Some(_), Some((start, end))) => Some((decimal(trim(start))?, Some(decimal(end)?))),
    }
}

/// Cuts a path at its closing quote, the opening one being off already. Behind it there is nothing or a
/// blank.
fn unquote(quoted: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut doubled = 0;
    let mut at = 0;
    loop {
        at += memchr::memchr(b'"', &quoted[at..])?;
        match quoted.get(at + 1) {
            Some(b'"') => {
                doubled += 1;
                at += 2;
            }
            None | Some(b' ') => break,
            Some(_) => return None,
        }
    }
    let (path, range) = (&quoted[..at], &quoted[at + 1..]);
    if doubled == 0 {
        return Some((Cow::Borrowed(path), range));
    }
    let mut unquoted = Vec::with_capacity(path.len() - doubled);
    let mut bytes = path.iter();
    while let Some(&byte) = bytes.next() {
        unquoted.push(byte);
        if byte == b'"' {
            bytes.next();
        }
    }
    Some((Cow::Owned(unquoted), range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_ranges() {
        for (text, path, start, end) in [
            ("file", "file", 0, None),
            ("file 10", "file", 10, None),
            ("file 10 20", "file", 10, Some(20)),
            ("file 10 10", "file", 10, Some(10)),
            ("file  10  20 ", "file", 10, Some(20)),
            ("two words", "two words", 0, None),
            ("two words 10", "two words 10", 0, None),
            ("file 1 2 3", "file 1 2 3", 0, None),
            ("file -1", "file -1", 0, None),
            ("file ", "file ", 0, None),
            ("file 18446744073709551616", "file 18446744073709551616", 0, None),
            ("a\"b", "a\"b", 0, None),
            ("\"two words 10\"", "two words 10", 0, None),
            ("\"two words\" 10 20", "two words", 10, Some(20)),
            ("\"two words\" ", "two words", 0, None),
            ("\"a \"\"b\"\"\" 1", "a \"b\"", 1, None),
            ("\"\"\"\"", "\"", 0, None),
        ] {
            let expected = ChecksumArgument { path: Cow::Borrowed(path.as_bytes()), start, end };
            assert_eq!(parse_checksum(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn bad_quotes_and_ranges() {
        for text in [
            "\"",
            "\"\"",
            "\"a",
            "\"a\"b",
            "\"a\" x",
            "\"a\" 1 2 3",
            "\"a\" 2 1",
            "file 2 1",
            "\"a\"\"",
            " 1",
            "\"a\" -1",
        ] {
            assert_eq!(parse_checksum(text.as_bytes()), None, "{text}");
        }
    }
}
