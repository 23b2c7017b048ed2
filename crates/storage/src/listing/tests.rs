//! Listings as a client reads them.

use super::*;
use crate::testing::{Scratch, as_plain_user};

/// 2024-11-22 17:50:00 UTC.
const NOW: i64 = 1_732_297_800;

const MACHINE: Format = Format::Machine {
    selection: FactSelection::all(),
    permissions: Permissions {
        download: true,
        upload: true,
        overwrite: true,
        append: true,
        delete: true,
        rename: true,
        make_directory: true,
        list: true,
    },
};

fn options(format: Format, argument: &str) -> ListOptions {
    ListOptions { format, all: false, argument: argument.as_bytes().to_vec(), now_unix_seconds: NOW }
}

/// All lines of a listing, which must end in CRLF and hold no other.
fn lines(mut listing: Listing) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while listing.fill(&mut out, 100).unwrap() {}
    split(&out)
}

fn split(out: &[u8]) -> Vec<Vec<u8>> {
    let Some(out) = out.strip_suffix(b"\r\n") else {
        assert!(out.is_empty());
        return Vec::new();
    };
    let mut lines = vec![Vec::new()];
    for &byte in out {
        match byte {
            b'\n' => {
                assert_eq!(lines.last_mut().unwrap().pop(), Some(b'\r'));
                lines.push(Vec::new());
            }
            byte => lines.last_mut().unwrap().push(byte),
        }
    }
    assert!(lines.iter().all(|line| !line.contains(&b'\r')));
    lines
}

fn texts(listing: Listing) -> Vec<String> {
    lines(listing).iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

fn names(scratch: &Scratch, path: &str, argument: &str) -> Vec<String> {
    texts(scratch.root.list(path.as_bytes(), options(Format::Names, argument)).unwrap())
}

fn refusal(scratch: &Scratch, path: &str, format: Format) -> StorageError {
    scratch.root.list(path.as_bytes(), options(format, "")).unwrap_err()
}

#[test]
fn names_are_sorted_by_their_bytes_and_dot_names_shown_when_asked() {
    let scratch = Scratch::new();
    for name in ["b", "a", "B", ".hidden", ".ringftpd-upload-0123456789abcdef"] {
        scratch.file(name, "");
    }
    scratch.file(b"\xff", "");
    scratch.directory("d");
    let list =
        |all| lines(scratch.root.list(b"/", ListOptions { all, ..options(Format::Names, "") }).unwrap());
    assert_eq!(list(false), [&b"B"[..], b"a", b"b", b"d", b"\xff"]);
    assert_eq!(list(true), [&b".hidden"[..], b"B", b"a", b"b", b"d", b"\xff"]);
}

#[test]
fn names_have_the_directory_that_the_client_wrote() {
    let scratch = Scratch::new();
    scratch.directory("d");
    scratch.file("d/a.txt", "");
    scratch.file("d/b.c", "");
    assert_eq!(names(&scratch, "/d", ""), ["a.txt", "b.c"]);
    assert_eq!(names(&scratch, "/d", "d"), ["d/a.txt", "d/b.c"]);
    assert_eq!(names(&scratch, "/d", "d/"), ["d/a.txt", "d/b.c"]);
    assert_eq!(names(&scratch, "/d", "/d"), ["/d/a.txt", "/d/b.c"]);
    assert_eq!(names(&scratch, "/", "/"), ["/d"]);
    assert_eq!(names(&scratch, "/d/*.txt", "d/*.txt"), ["d/a.txt"]);
    assert_eq!(names(&scratch, "/d/*", "*"), ["a.txt", "b.c"]);
    assert_eq!(names(&scratch, "/d/b.c", "d/b.c"), ["d/b.c"]);
    assert_eq!(names(&scratch, "/d/b.c", "b.c"), ["b.c"]);
}

#[test]
fn long_lines_are_those_of_ls() {
    let scratch = Scratch::new();
    scratch.file("file", "x".repeat(1234));
    scratch.permit("file", 0o644);
    scratch.root.set_modified(b"/file", NOW).unwrap();
    scratch.directory("dir");
    scratch.permit("dir", 0o755);
    scratch.root.set_modified(b"/dir", 0).unwrap();
    scratch.link("link", "dir");
    let facts = scratch.root.facts(b"/file").unwrap();
    let listed = texts(scratch.root.list(b"/", options(Format::Long, "")).unwrap());
    let (owner, group) = (facts.owner, facts.group);
    let size = scratch.root.facts(b"/dir").unwrap().size;
    assert_eq!(listed[0], format!("drwxr-xr-x    2 {owner:<8} {group:<8} {size:>8} Jan  1  1970 dir"));
    assert_eq!(listed[1], format!("-rw-r--r--    1 {owner:<8} {group:<8}     1234 Nov 22 17:50 file"));
    assert!(listed[2].starts_with("lrwxrwxrwx ") && listed[2].ends_with(" link -> dir"), "{}", listed[2]);
    // Of a file, the file; through a link to a directory, what is in it.
    assert_eq!(
        texts(scratch.root.list(b"/file", options(Format::Long, "file")).unwrap()),
        [listed[1].clone()]
    );
    assert!(texts(scratch.root.list(b"/link", options(Format::Long, "")).unwrap()).is_empty());
}

#[test]
fn a_listing_is_not_split_by_a_name() {
    let scratch = Scratch::new();
    scratch.file(b"a\r\nb\x1b\x7f", "");
    scratch.link("link", "x\r\ny");
    for (format, end) in [(Format::Long, " a??b??"), (Format::Names, "a??b??"), (MACHINE, "; a??b??")] {
        let listed = texts(scratch.root.list(b"/", options(format, "")).unwrap());
        assert_eq!(listed.len(), 2);
        assert!(listed[0].ends_with(end), "{}", listed[0]);
    }
    let listed = texts(scratch.root.list(b"/", options(Format::Long, "")).unwrap());
    assert!(listed[1].ends_with(" link -> x??y"));
    assert_eq!(names(&scratch, "/", "a\r\nb"), ["a??b/a??b??", "a??b/link"]);
}

#[test]
fn machine_lines_have_the_facts_of_rfc_3659() {
    let scratch = Scratch::new();
    scratch.file("f", "12345");
    scratch.permit("f", 0o640);
    scratch.root.set_modified(b"/f", NOW).unwrap();
    scratch.directory("d");
    scratch.file(".dot", "");
    scratch.link("to-file", "f");
    scratch.link("to-nothing", "none");
    scratch.link("outside", "/etc");
    scratch.fifo("pipe");
    let facts = scratch.root.facts(b"/f").unwrap();
    let listed = texts(scratch.root.list(b"/", options(MACHINE, "")).unwrap());
    assert_eq!(listed.len(), 7);
    let of_file = format!(
        "type=file;size=5;modify=20241122175000;perm=adfrw;unique={:x}g{:x};UNIX.mode=0640;UNIX.owner={};UNIX.group={}; ",
        facts.device, facts.inode, facts.owner, facts.group
    );
    assert!(listed[0].ends_with("; .dot"));
    assert!(
        listed[1].starts_with("type=dir;modify=") && listed[1].contains(";perm=cdeflmp;"),
        "{}",
        listed[1]
    );
    assert!(!listed[1].contains("size="));
    assert_eq!(listed[2], format!("{of_file}f"));
    assert!(listed[3].starts_with("type=OS.unix=slink;") && listed[3].ends_with(" outside"));
    assert!(listed[4].starts_with("type=OS.unix=special;") && listed[4].ends_with(" pipe"));
    assert_eq!(listed[5], format!("{of_file}to-file"));
    assert!(listed[6].starts_with("type=OS.unix=slink;") && listed[6].ends_with(" to-nothing"));
}

#[test]
fn only_the_facts_and_permissions_given_are_written() {
    let scratch = Scratch::new();
    scratch.file("f", "");
    scratch.directory("d");
    let line = |path: &[u8], selection, permissions| {
        let mut out = b" ".to_vec();
        let facts = scratch.root.facts(path).unwrap();
        format_machine_entry(&facts, path, selection, permissions, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(line(b"/f", FactSelection::empty(), Permissions::default()), "  /f");
    let selection = FactSelection::TYPE | FactSelection::PERM;
    assert_eq!(line(b"/f", selection, Permissions::default()), " type=file;perm=; /f");
    assert_eq!(line(b"/d", selection, Permissions::default()), " type=dir;perm=e; /d");
    let reader = Permissions { download: true, list: true, ..Permissions::default() };
    assert_eq!(line(b"/f", selection, reader), " type=file;perm=r; /f");
    assert_eq!(line(b"/d", selection, reader), " type=dir;perm=el; /d");
    let appender = Permissions { append: true, upload: true, ..Permissions::default() };
    assert_eq!(line(b"/f", selection, appender), " type=file;perm=a; /f");
    assert_eq!(line(b"/d", selection, appender), " type=dir;perm=ce; /d");
    assert_eq!(line(b"/f", FactSelection::SIZE, reader), " size=0; /f");
}

#[test]
fn links_in_a_subdirectory_are_followed_beneath_the_root() {
    let scratch = Scratch::new();
    scratch.directory("d");
    scratch.file("f", "12345");
    scratch.link("d/up", "../f");
    scratch.link("d/out", "../../secret");
    let listed = texts(scratch.root.list(b"/d", options(MACHINE, "")).unwrap());
    assert!(listed[0].starts_with("type=OS.unix=slink;"), "{}", listed[0]);
    assert!(listed[1].starts_with("type=file;size=5;"), "{}", listed[1]);
}

#[test]
fn patterns_are_matched_where_nothing_has_the_literal_name() {
    let scratch = Scratch::new();
    for name in ["a.txt", "b.txt", "c.bin", ".d.txt", ".ringftpd-upload-0123456789abcdef"] {
        scratch.file(name, "");
    }
    assert_eq!(names(&scratch, "/*.txt", "*.txt"), ["a.txt", "b.txt"]);
    assert_eq!(names(&scratch, "/.*", ".*"), [".d.txt"]);
    assert_eq!(names(&scratch, "/{a,c}.*", ""), ["a.txt", "c.bin"]);
    assert_eq!(names(&scratch, "/[!a].???", ""), ["b.txt", "c.bin"]);
    scratch.file("*.txt", "");
    assert_eq!(names(&scratch, "/*.txt", "*.txt"), ["*.txt"]);
    for format in [Format::Names, Format::Long] {
        assert_eq!(refusal(&scratch, "/*.none", format), StorageError::NotFound);
        assert_eq!(refusal(&scratch, "/none/*", format), StorageError::NotFound);
        assert_eq!(refusal(&scratch, "/a.txt/*", format), StorageError::NotADirectory);
        assert_eq!(refusal(&scratch, "/none", format), StorageError::NotFound);
    }
    assert_eq!(refusal(&scratch, "/?.bin", MACHINE), StorageError::NotFound);
    assert_eq!(refusal(&scratch, "/a.txt", MACHINE), StorageError::NotADirectory);
}

#[test]
fn what_is_no_file_lists_as_what_it_is() {
    let scratch = Scratch::new();
    scratch.fifo("pipe");
    let listed = texts(scratch.root.list(b"/pipe", options(Format::Long, "pipe")).unwrap());
    assert!(listed[0].starts_with("prwx------ "));
    let _listener = std::os::unix::net::UnixListener::bind(scratch.at("socket")).unwrap();
    let listed = texts(scratch.root.list(b"/socket", options(Format::Long, "")).unwrap());
    assert!(listed[0].starts_with('s'));
    let devices = Root::open(std::path::Path::new("/dev")).unwrap();
    let listed = texts(devices.list(b"/null", options(Format::Long, "")).unwrap());
    assert!(listed[0].starts_with('c'));
}

#[test]
fn entries_that_vanish_meanwhile_are_left_out() {
    let scratch = Scratch::new();
    for name in ["a", "b", "c"] {
        scratch.file(name, "");
    }
    for format in [Format::Long, MACHINE] {
        let listing = scratch.root.list(b"/", options(format, "")).unwrap();
        std::fs::remove_file(scratch.at("b")).unwrap();
        assert_eq!(texts(listing).len(), 2);
        scratch.file("b", "");
    }
}

#[test]
fn an_empty_directory_lists_as_nothing() {
    let scratch = Scratch::new();
    let mut out = Vec::new();
    for format in [Format::Long, Format::Names, MACHINE] {
        let mut listing = scratch.root.list(b"/", options(format, "")).unwrap();
        assert_eq!(listing.fill(&mut out, 100), Ok(false));
    }
    assert!(out.is_empty());
}

#[test]
fn a_large_directory_starts_at_once_and_is_never_held_whole() {
    let scratch = Scratch::new();
    for index in 0..5000 {
        scratch.file(format!("{index:05}"), "");
    }
    let mut listing = scratch.root.list(b"/", options(Format::Names, "")).unwrap();
    // What is held was read before the first line; a directory of a million names holds as much.
    assert_eq!(listing.entries.held(), 1025);
    let mut out = Vec::new();
    assert_eq!(listing.fill(&mut out, 700), Ok(true));
    assert_eq!(out.len(), 700);
    while listing.fill(&mut out, 1 << 16).unwrap() {
        assert_eq!(listing.entries.held(), 1025);
    }
    let mut listed = split(&out);
    listed.sort();
    let expected: Vec<_> = (0..5000).map(|index| format!("{index:05}").into_bytes()).collect();
    assert_eq!(listed, expected);
}

#[test]
fn a_directory_of_the_sorted_size_is_sorted_and_one_more_is_whole() {
    let scratch = Scratch::new();
    for index in 0..1024 {
        scratch.file(format!("{index:04}"), "");
    }
    let listed = names(&scratch, "/", "");
    assert!(listed.is_sorted());
    assert_eq!(listed.len(), 1024);
    scratch.file("more", "");
    let mut listed = names(&scratch, "/", "");
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), 1025);
}

#[test]
fn one_fill_looks_at_a_bounded_number_of_names() {
    let scratch = Scratch::new();
    for index in 0..15_000 {
        scratch.file(format!(".{index}"), "");
    }
    let mut listing = scratch.root.list(b"/", options(Format::Names, "")).unwrap();
    let mut out = Vec::new();
    assert_eq!(listing.fill(&mut out, 100), Ok(true));
    assert!(out.is_empty());
    assert_eq!(listing.fill(&mut out, 100), Ok(false));
    assert_eq!(refusal(&scratch, "/*", Format::Names), StorageError::NotFound);
}

#[test]
fn a_directory_that_may_not_be_read_or_searched_is_refused() {
    as_plain_user("listing::tests::a_directory_that_may_not_be_read_or_searched_is_refused", |scratch| {
        scratch.directory("unreadable");
        scratch.directory("unsearchable");
        scratch.file("unsearchable/f", "");
        scratch.permit("unreadable", 0o300);
        scratch.permit("unsearchable", 0o600);
        for format in [Format::Long, MACHINE] {
            assert_eq!(refusal(scratch, "/unreadable", format), StorageError::PermissionDenied);
            assert_eq!(refusal(scratch, "/unsearchable", format), StorageError::PermissionDenied);
        }
        assert_eq!(refusal(scratch, "/unreadable", Format::Names), StorageError::PermissionDenied);
        assert_eq!(names(scratch, "/unsearchable", ""), ["f"]);
        scratch.permit("unreadable", 0o700);
        scratch.permit("unsearchable", 0o700);
    });
}
