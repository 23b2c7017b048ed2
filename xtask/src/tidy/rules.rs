//! Each rule by itself.

use std::path::{Component, Path};

use super::SourceFile;

/// A longer file says why, in a comment that begins with [`LONG_BECAUSE`].
const LINES_MAX: usize = 600;
const LONG_BECAUSE: &str = "// Long because ";

/// The crates that may have unsafe code.
const MAY_BE_UNSAFE: [&str; 2] = ["crates/runtime", "crates/transfer"];

/// A test that sleeps longer hides a race, and makes everybody wait.
const SLEEP_MILLISECONDS_MAX: u64 = 50;

/// Marks of unfinished work. Written so that this file does not hold them.
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("db", "g!("), concat!("todo", "!(")];

/// Paths of one machine, which mean nothing on another.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tm", "p/")];

/// What is against the rules in a file, each with its place.
pub(super) fn complaints(file: &SourceFile) -> Vec<String> {
    let path = file.path.display();
    let mut found: Vec<String> = white_space(&file.text)
        .chain(unfinished(&file.text))
        .map(|(line, what)| format!("{path}:{line}: {what}"))
        .collect();
    if is_rust(&file.path) {
        let rust = sleeps(file).chain(machine_paths(file));
        found.extend(rust.map(|(line, what)| format!("{path}:{line}: {what}")));
        found.extend(length(&file.text).map(|what| format!("{path}: {what}")));
        found.extend(unsafe_code(file).map(|what| format!("{path}: {what}")));
    }
    found.extend(lints(file).map(|what| format!("{path}: {what}")));
    found
}

/// A place and what is wrong there. Lines count from 1.
type Complaint = (usize, &'static str);

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.split('\n'))
}

fn white_space(text: &str) -> impl Iterator<Item = Complaint> {
    let end = (!text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")))
        .then_some((text.lines().count(), "a file ends with one line end"));
    let lines = numbered(text).filter_map(|(number, line)| {
        if line.contains('\t') {
            Some((number, "a tab"))
        } else if line.ends_with([' ', '\r']) {
            Some((number, "white space at the end of a line"))
        } else {
            None
        }
    });
    lines.chain(end)
}

fn unfinished(text: &str) -> impl Iterator<Item = Complaint> {
    let is_unfinished = |line: &str| UNFINISHED.iter().any(|mark| line.contains(mark));
    numbered(text)
        .filter(move |(_, line)| is_unfinished(line))
        .map(|(number, _)| (number, "a mark of unfinished work"))
}

fn length(text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > LINES_MAX && !text.contains(LONG_BECAUSE))
        .then(|| format!("{lines} lines, and no comment that begins with `{}`", LONG_BECAUSE.trim_end()))
}

/// Sleeps of tests that are longer than they may be, where the length is written out.
fn sleeps(file: &SourceFile) -> impl Iterator<Item = Complaint> {
    let is_test_file = is_test(&file.path);
    let tests_begin = file.text.find("#[cfg(test)]\nmod tests").map(|at| file.text[..at].lines().count());
    numbered(&file.text).filter_map(move |(number, line)| {
        let is_test = is_test_file || tests_begin.is_some_and(|begin| number > begin);
        let (_, after) = line.split_once("sleep(")?;
        let is_long = match (number_after(after, "from_millis("), number_after(after, "from_secs(")) {
            (Some(milliseconds), _) => milliseconds > SLEEP_MILLISECONDS_MAX,
            (None, seconds) => seconds.is_some(),
        };
        (is_test && is_long).then_some((number, "a long sleep in a test"))
    })
}

fn number_after(text: &str, before: &str) -> Option<u64> {
    let (_, rest) = text.split_once(before)?;
    let digits: String =
        rest.chars().filter(|digit| *digit != '_').take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn machine_paths(file: &SourceFile) -> impl Iterator<Item = Complaint> {
    let is_test = is_test(&file.path);
    let has_path = move |line: &str| !is_test && MACHINE_PATHS.iter().any(|path| line.contains(path));
    numbered(&file.text)
        .filter(move |(_, line)| has_path(line))
        .map(|(number, _)| (number, "a path of one machine"))
}

/// The root of each program and library forbids unsafe code, apart from the crates that may have it.
fn unsafe_code(file: &SourceFile) -> Option<&'static str> {
    let is_root = file.path.ends_with("src/lib.rs")
        || file.path.ends_with("src/main.rs")
        || file.path.parent().is_some_and(|parent| parent.ends_with("src/bin"));
    let may = MAY_BE_UNSAFE.iter().any(|may| file.path.starts_with(may));
    (is_root && !may && !file.text.contains("#![forbid(unsafe_code)]"))
        .then_some("does not forbid unsafe code")
}

/// Every package of the workspace keeps its lints.
fn lints(file: &SourceFile) -> Option<&'static str> {
    let is_package = file.path.ends_with("Cargo.toml") && file.text.contains("[package]\n");
    let stands_alone = file.text.contains("[workspace]\n");
    (is_package && !stands_alone && !file.text.contains("[lints]\nworkspace = true\n"))
        .then_some("does not take the workspace's lints")
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn is_test(path: &Path) -> bool {
    let is_tests = |component| component == Component::Normal("tests".as_ref());
    path.components().any(is_tests) || path.ends_with("tests.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_complaints(path: &str, text: &str, expected: &[&str]) {
        let file = SourceFile { path: path.into(), text: text.to_owned() };
        assert_eq!(complaints(&file), expected, "of {path}: {text}");
    }

    #[test]
    fn white_space_is_tidy() {
        assert_complaints("a.md", "fine\n\nfine\n", &[]);
        assert_complaints("a.md", "", &[]);
        assert_complaints("a.md", "a \n", &["a.md:1: white space at the end of a line"]);
        assert_complaints("a.md", "a\r\n", &["a.md:1: white space at the end of a line"]);
        assert_complaints("a.md", "a\n\tb\n", &["a.md:2: a tab"]);
        assert_complaints("a.md", "a\nb", &["a.md:2: a file ends with one line end"]);
        assert_complaints("a.md", "a\n\n", &["a.md:2: a file ends with one line end"]);
    }

    #[test]
    fn work_is_finished() {
        for mark in UNFINISHED {
            assert_complaints("a.rs", &format!("// {mark}\n"), &["a.rs:1: a mark of unfinished work"]);
        }
    }

    #[test]
    fn long_files_say_why() {
        let long = "//\n".repeat(LINES_MAX + 1);
        assert_complaints(
            "a.rs",
            &long,
            &["a.rs: 601 lines, and no comment that begins with `// Long because`"],
        );
        assert_complaints("a.rs", &format!("// Long because it is a table.\n{long}"), &[]);
        assert_complaints("a.rs", &"//\n".repeat(LINES_MAX), &[]);
    }

    #[test]
    fn tests_do_not_sleep_long() {
        // Written in parts, for this is a test too.
        let sleep = |duration: &str| format!("sleep(Duration::{duration});\n");
        let complaint = ["x/tests/a.rs:1: a long sleep in a test"];
        for duration in ["from_millis(51)", "from_millis(1_000)", "from_secs(1)"] {
            assert_complaints("x/tests/a.rs", &sleep(duration), &complaint);
            assert_complaints("x/src/a.rs", &sleep(duration), &[]);
            let inside = format!("\n#[cfg(test)]\nmod tests {{\n    {}}}\n", sleep(duration));
            assert_complaints("x/src/a.rs", &inside, &["x/src/a.rs:4: a long sleep in a test"]);
        }
        assert_complaints("x/tests/a.rs", &sleep("from_millis(50)"), &[]);
        assert_complaints("x/tests/a.rs", "sleep(pause);\n", &[]);
    }

    #[test]
    fn no_machine_is_named() {
        for path in MACHINE_PATHS {
            let text = format!("const A: &str = \"{path}a\";\n");
            assert_complaints("x/src/a.rs", &text, &["x/src/a.rs:1: a path of one machine"]);
            assert_complaints("x/tests/a.rs", &text, &[]);
        }
    }

    #[test]
    fn unsafe_code_is_forbidden_where_it_is_not_needed() {
        for path in ["crates/a/src/lib.rs", "a/src/main.rs", "a/src/bin/b.rs"] {
            assert_complaints(path, "//! A.\n", &[&format!("{path}: does not forbid unsafe code")]);
            assert_complaints(path, "//! A.\n#![forbid(unsafe_code)]\n", &[]);
        }
        assert_complaints("crates/runtime/src/lib.rs", "//! A.\n", &[]);
        assert_complaints("crates/a/src/module.rs", "//! A.\n", &[]);
    }

    #[test]
    fn packages_take_the_lints() {
        let bare = "[package]\nname = \"a\"\n";
        assert_complaints("a/Cargo.toml", bare, &["a/Cargo.toml: does not take the workspace's lints"]);
        assert_complaints("a/Cargo.toml", &format!("{bare}\n[lints]\nworkspace = true\n"), &[]);
        assert_complaints("a/Cargo.toml", &format!("{bare}\n[workspace]\n"), &[]);
    }
}
