//! Words, numbers and blanks: what the arguments of all commands are made of.

/// What stands before the first blank, and what stands behind it; without a blank, everything and nothing.
/// Only that one blank is a separator, further ones belong to what follows.
pub(super) fn split_word(argument: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', argument) {
        Some(at) => (&argument[..at], &argument[at + 1..]),
        None => (argument, &[]),
    }
}

/// The same from the end: what stands before the last blank, and the word behind it.
pub(super) fn split_last_word(argument: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memrchr(b' ', argument)?;
    Some((&argument[..at], &argument[at + 1..]))
}

/// `argument` without the blanks at both ends.
pub(super) fn trim(argument: &[u8]) -> &[u8] {
    let start = argument.iter().position(|&byte| byte != b' ').unwrap_or(argument.len());
    let end = argument.iter().rposition(|&byte| byte != b' ').map_or(start, |last| last + 1);
    &argument[start..end]
}

/// `argument` without the blanks in front.
pub(super) fn trim_start(argument: &[u8]) -> &[u8] {
    let start = argument.iter().position(|&byte| byte != b' ').unwrap_or(argument.len());
    &argument[start..]
}

/// `None` for nothing, so that `RETR` and `RETR ` are the same.
pub(super) fn non_empty(argument: &[u8]) -> Option<&[u8]> {
    (!argument.is_empty()).then_some(argument)
}

/// A number of digits alone: no sign, no blank. `None` too where it does not fit.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    non_empty(digits)?.iter().try_fold(0_u64, |number, &digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_blank_separates() {
        assert_eq!(split_word(b"755  a b"), (&b"755"[..], &b" a b"[..]));
        assert_eq!(split_word(b"alone"), (&b"alone"[..], &b""[..]));
        assert_eq!(split_last_word(b"a b 7"), Some((&b"a b"[..], &b"7"[..])));
        assert_eq!(split_last_word(b"alone"), None);
    }

    #[test]
    fn blanks_are_trimmed() {
        assert_eq!(trim(b"  a b "), b"a b");
        assert_eq!(trim(b"   "), b"");
        assert_eq!(trim(b""), b"");
        assert_eq!(trim_start(b"  a "), b"a ");
    }

    #[test]
    fn a_number_is_digits_that_fit() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"007"), Some(7));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b"18446744073709551616"[..], b"", b"-1", b"+1", b"1.0", b" 1", b"1 ", b"x"] {
            assert_eq!(decimal(bad), None, "{}", bad.escape_ascii());
        }
    }
}
