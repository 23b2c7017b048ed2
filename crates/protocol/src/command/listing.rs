//! The argument of `LIST`, `NLST` and `STAT`.

use super::ListArgument;
use super::words::{non_empty, split_word};

/// Takes leading words that begin with `-` off as flags of `ls`, which clients send though no standard has
/// them; `a` or `A` in one of them asks for names that begin with a dot. A `-` alone is a name. `--` ends the
/// flags, so a name that begins with `-` is reached by `-- -name`, and by `./-name`.
pub(super) fn parse_listing(argument: Option<&[u8]>) -> ListArgument<'_> {
    let mut all = false;
    let mut rest = argument.unwrap_or_default();
    while let (flags @ [b'-', _, ..], path) = split_word(rest) {
        rest = path;
        if flags == b"--" {
            break;
        }
        all |= flags.iter().any(|flag| flag.eq_ignore_ascii_case(&b'a'));
    }
    ListArgument { all, path: non_empty(rest) }
}

/// The same of `STAT`, which without an argument asks about the server: with flags alone it is about the working directory.
pub(super) fn parse_status(argument: Option<&[u8]>) -> ListArgument<'_> {
    let parsed = parse_listing(argument);
    let path = parsed.path.or_else(|| argument.map(|_| b".".as_slice()));
    ListArgument { path, ..parsed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_off() {
        for (text, all, path) in [
            ("", false, None),
            ("path", false, Some("path")),
            (" path", false, Some(" path")),
            ("a b ", false, Some("a b ")),
            ("-a", true, None),
            ("-l", false, None),
            ("-la", true, None),
            ("-lA path", true, Some("path")),
            ("-a -l path", true, Some("path")),
            ("-l -a", true, None),
            ("-l  path", false, Some(" path")),
            ("-l path -a", false, Some("path -a")),
            ("-", false, Some("-")),
            ("- -a", false, Some("- -a")),
            ("-a -", true, Some("-")),
            ("-- -a", false, Some("-a")),
            ("-a -- --", true, Some("--")),
            ("--", false, None),
            ("./-a", false, Some("./-a")),
        ] {
            let expected = ListArgument { all, path: path.map(str::as_bytes) };
            assert_eq!(parse_listing(Some(text.as_bytes())), expected, "{text}");
        }
        assert_eq!(parse_listing(None), ListArgument::default());
        assert_eq!(parse_status(None), ListArgument::default());
        assert_eq!(parse_status(Some(b"-la")), ListArgument { all: true, path: Some(b".") });
        assert_eq!(parse_status(Some(b"-l path")), ListArgument { all: false, path: Some(b"path") });
    }
}
