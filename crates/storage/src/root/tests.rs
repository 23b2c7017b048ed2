//! That no path leaves the root, and what each kind of attempt is told.

use std::path::Path;

use super::*;
use crate::testing::{Scratch, as_plain_user};
use crate::{Replace, UploadMode};

/// What a client can do with one path, each of which must refuse it alike.
fn every_operation(root: &Root, path: &[u8]) -> Vec<(&'static str, Option<StorageError>)> {
    vec![
        ("facts", root.facts(path).err()),
        ("download", root.open_download(path, 0).err()),
        ("enter", root.enter_directory(path).err()),
        ("set modified", root.set_modified(path, 0).err()),
        ("set mode", root.set_mode(path, 0o600).err()),
        ("replace", root.open_upload(path, UploadMode::Replace).err()),
        ("append", root.open_upload(path, UploadMode::Append).err()),
        ("resume", root.open_upload(path, UploadMode::ResumeAt(1)).err()),
    ]
}

#[test]
fn links_that_leave_the_root_are_refused_by_every_operation() {
    let scratch = Scratch::new();
    scratch.directory("deep");
    scratch.link("absolute", scratch.around().join("secret"));
    scratch.link("climbing", "../secret");
    scratch.link("deep/climbing", "../../secret");
    scratch.link("far", "../../../../../../../../../../etc/passwd");
    scratch.link("through", "deep/../../secret");
    scratch.link("chained", "climbing");
    scratch.link("chained-absolute", "absolute");
    scratch.link("around", "..");
    scratch.link("around-slash", "../");
    scratch.link("everything", "/");
    // Absolute, though it points inside: the kernel does not know the root's own path, so all absolute ones leave.
    scratch.link("inside-absolute", scratch.at("deep"));

    for name in [
        "absolute",
        "climbing",
        "deep/climbing",
        "far",
        "through",
        "chained",
        "chained-absolute",
        "around",
        "around-slash",
        "everything",
        "inside-absolute",
    ] {
        for (operation, error) in every_operation(&scratch.root, format!("/{name}").as_bytes()) {
            assert_eq!(error, Some(StorageError::OutsideRoot), "{operation} {name}");
        }
    }
    for (operation, error) in every_operation(&scratch.root, b"/around/secret") {
        assert_eq!(error, Some(StorageError::OutsideRoot), "{operation}");
    }
    assert_eq!(scratch.root.make_directory(b"/around/new"), Err(StorageError::OutsideRoot));
    assert_eq!(scratch.root.remove_file(b"/around/secret"), Err(StorageError::OutsideRoot));
    assert_eq!(scratch.root.remove_directory(b"/around/served"), Err(StorageError::OutsideRoot));
    scratch.file("own", "");
    assert_eq!(scratch.root.rename(b"/own", b"/around/own", Replace::Yes), Err(StorageError::OutsideRoot));
    assert_eq!(scratch.root.rename(b"/around/secret", b"/s", Replace::Yes), Err(StorageError::OutsideRoot));
    assert_eq!(std::fs::read(scratch.around().join("secret")).unwrap(), b"secret");
}

#[test]
fn links_inside_the_root_work() {
    let scratch = Scratch::new();
    scratch.directory("real");
    scratch.directory("other");
    scratch.file("real/file", "contents");
    scratch.link("link", "real");
    scratch.link("other/up", "../link/file");
    scratch.link("self", ".");
    for path in ["/link/file", "/other/up", "/self/self/link/file"] {
        assert_eq!(scratch.root.facts(path.as_bytes()).unwrap().size, 8, "{path}");
        assert_eq!(scratch.root.open_download(path.as_bytes(), 0).unwrap().size, 8, "{path}");
    }
    scratch.root.enter_directory(b"/self").unwrap();
}

#[test]
fn a_link_through_the_roots_parent_is_refused_though_it_comes_back() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    scratch.link("back", "../served/file");
    assert_eq!(scratch.root.facts(b"/back"), Err(StorageError::OutsideRoot));
}

#[test]
fn links_in_a_circle_are_told() {
    let scratch = Scratch::new();
    scratch.link("one", "two");
    scratch.link("two", "one");
    for (operation, error) in every_operation(&scratch.root, b"/one") {
        assert_eq!(error, Some(StorageError::SymlinkLoop), "{operation}");
    }
}

#[test]
fn the_magic_links_of_proc_are_refused() {
    let root = Root::open(Path::new("/")).unwrap();
    let own = std::process::id();
    for path in [format!("/proc/{own}/root/etc"), format!("/proc/{own}/cwd"), format!("/proc/{own}/exe")] {
        assert_eq!(root.facts(path.as_bytes()), Err(StorageError::SymlinkLoop), "{path}");
        assert!(root.open_download(path.as_bytes(), 0).is_err(), "{path}");
        assert!(root.set_mode(path.as_bytes(), 0o777).is_err(), "{path}");
    }
}

#[test]
fn paths_that_are_not_normalised_never_reach_the_kernel() {
    let scratch = Scratch::new();
    for path in [&b""[..], b"secret", b"/../secret", b"/a\0b", b"//", b"/."] {
        for (operation, error) in every_operation(&scratch.root, path) {
            assert_eq!(error, Some(StorageError::InvalidName), "{operation} {}", path.escape_ascii());
        }
    }
    let long = [b"/".as_slice(), &b"d/".repeat(2499), b"x"].concat();
    for (operation, error) in every_operation(&scratch.root, &long) {
        assert_eq!(error, Some(StorageError::NameTooLong), "{operation}");
    }
    let name = [b"/".as_slice(), &b"n".repeat(256)].concat();
    for (operation, error) in every_operation(&scratch.root, &name) {
        assert_eq!(error, Some(StorageError::NameTooLong), "{operation}");
    }
}

#[test]
fn cached_calls_answer_from_the_cache_or_not_at_all() {
    let scratch = Scratch::new();
    scratch.directory("d");
    scratch.file("d/f", "12345");
    // Just made, so in the cache of names; a kernel under memory pressure may yet say that it would block.
    let cached_or =
        |result: Result<u64, StorageError>| matches!(result, Ok(5) | Err(StorageError::WouldBlock));
    assert!(cached_or(scratch.root.facts_cached(b"/d/f").map(|facts| facts.size)));
    assert!(cached_or(scratch.root.open_download_cached(b"/d/f", 0).map(|download| download.size)));
    assert!(matches!(scratch.root.enter_directory_cached(b"/d"), Ok(()) | Err(StorageError::WouldBlock)));
    // A name that nobody has asked for is not known to be missing until the directory was read.
    let unknown = format!("/d/{}", std::process::id());
    let error = scratch.root.facts_cached(unknown.as_bytes()).unwrap_err();
    assert!(matches!(error, StorageError::WouldBlock | StorageError::NotFound), "{error:?}");
}

#[test]
fn another_mount_answers_from_the_cache_once_it_was_asked_what_it_is() {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    std::fs::write(memory.path().join("f"), "12345").unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let path = [memory.path().as_os_str().as_encoded_bytes(), b"/f"].concat();
    let cached = || root.open_download_cached(&path, 0).map(|download| download.size);
    assert_eq!(cached().unwrap_err(), StorageError::WouldBlock);
    let asked = root.open_download(&path, 0).unwrap();
    assert_eq!((asked.size, asked.closing_waits), (5, false));
    // A kernel under memory pressure may have forgotten a name on the way.
    assert!((0..100).any(|_| cached() == Ok(5)));
    assert!((0..100).any(|_| root.facts_cached(&path).is_ok_and(|facts| facts.size == 5)));
}

#[test]
fn a_root_must_be_a_directory() {
    let scratch = Scratch::new();
    scratch.file("f", "");
    assert_eq!(Root::open(&scratch.at("f")).unwrap_err(), StorageError::NotADirectory);
    assert_eq!(Root::open(&scratch.at("none")).unwrap_err(), StorageError::NotFound);
}

#[test]
fn a_root_survives_being_renamed() {
    let scratch = Scratch::new();
    scratch.file("f", "1");
    let moved = scratch.around().join("moved");
    std::fs::rename(scratch.around().join("served"), &moved).unwrap();
    assert_eq!(scratch.root.facts(b"/f").unwrap().size, 1);
}

#[test]
fn directories_that_may_not_be_entered_are_told() {
    as_plain_user("root::tests::directories_that_may_not_be_entered_are_told", |scratch| {
        scratch.directory("closed");
        scratch.file("closed/f", "");
        scratch.file("unreadable", "");
        scratch.permit("closed", 0o600);
        scratch.permit("unreadable", 0o200);
        assert_eq!(scratch.root.enter_directory(b"/closed"), Err(StorageError::PermissionDenied));
        assert_eq!(scratch.root.facts(b"/closed/f"), Err(StorageError::PermissionDenied));
        assert_eq!(Root::open(&scratch.at("closed")).unwrap_err(), StorageError::PermissionDenied);
        assert_eq!(
            scratch.root.open_download(b"/unreadable", 0).unwrap_err(),
            StorageError::PermissionDenied
        );
        scratch.permit("closed", 0o700);
    });
}

#[test]
fn a_directory_is_known_by_whatever_path_it_was_opened() {
    let scratch = Scratch::new();
    scratch.directory("deep");
    let open = |path: &Path| Root::open(path).unwrap().identity().unwrap();
    let itself = scratch.root.identity().unwrap();
    assert_eq!(open(&scratch.at("deep/..")), itself);
    assert_ne!(open(&scratch.at("deep")), itself);
}

#[test]
fn a_lookup_waits_on_the_mount_that_it_would_come_to() {
    let root = Root::open(Path::new("/")).unwrap();
    let mount_of = |path: &str| MountId::of(std::fs::File::open(path).unwrap()).ok();
    assert_ne!(mount_of("/proc"), mount_of("/"));
    for (path, mount) in [
        ("/", "/"),
        ("/nobody-has-this-name", "/"),
        ("/nobody-has-this-name/proc/self", "/"),
        ("/proc", "/proc"),
        ("/proc/version", "/proc"),
        ("/proc/no/such/thing/in/here", "/proc"),
    ] {
        let found = root.towards(path.as_bytes()).map(|found| (found.mount, found.is_link));
        assert_eq!(found, mount_of(mount).map(|mount| (mount, false)), "{path}");
    }
}

#[test]
fn a_link_to_what_nobody_has_looked_up_may_lead_to_another_mount() {
    let scratch = Scratch::new();
    scratch.directory("directory");
    scratch.file("directory/file", b"contents");
    scratch.link("known", "directory");
    scratch.link("unknown", "nobody/has/looked/this/up");
    scratch.root.facts(b"/known/file").unwrap();
    let leads = |path: &str| scratch.root.towards(path.as_bytes()).map(|found| found.is_link);
    assert_eq!(leads("/known/file"), Some(false));
    assert_eq!(leads("/known/no-such-file"), Some(false));
    assert_eq!(leads("/unknown"), Some(true));
    assert_eq!(leads("/unknown/file"), Some(true));
}
