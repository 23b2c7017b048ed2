use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::*;
use crate::testing::{Scratch, as_plain_user};

#[test]
fn directories_are_made_and_removed() {
    let scratch = Scratch::new();
    let root = &scratch.root;
    root.make_directory(b"/d").unwrap();
    root.make_directory(b"/d/\xfe\n").unwrap();
    assert_eq!(root.make_directory(b"/d"), Err(StorageError::Exists));
    assert_eq!(root.make_directory(b"/"), Err(StorageError::Exists));
    assert_eq!(root.make_directory(b"/none/d"), Err(StorageError::NotFound));
    assert_eq!(root.remove_directory(b"/d"), Err(StorageError::NotEmpty));
    root.remove_directory(b"/d/\xfe\n").unwrap();
    root.remove_directory(b"/d").unwrap();
    assert_eq!(root.remove_directory(b"/d"), Err(StorageError::NotFound));
    assert_eq!(root.remove_directory(b"/"), Err(StorageError::Busy));
}

#[test]
fn only_files_and_links_are_removed_as_files() {
    let scratch = Scratch::new();
    scratch.directory("d");
    scratch.file("f", "");
    scratch.link("link", "f");
    scratch.link("link-to-directory", "d");
    let root = &scratch.root;
    assert_eq!(root.remove_file(b"/d"), Err(StorageError::IsADirectory));
    assert_eq!(root.remove_file(b"/"), Err(StorageError::IsADirectory));
    assert_eq!(root.remove_directory(b"/f"), Err(StorageError::NotADirectory));
    assert_eq!(root.remove_directory(b"/link-to-directory"), Err(StorageError::NotADirectory));
    root.remove_file(b"/link").unwrap();
    root.remove_file(b"/link-to-directory").unwrap();
    assert_eq!(scratch.names("."), ["d", "f"]);
    root.remove_file(b"/f").unwrap();
    assert_eq!(root.remove_file(b"/f"), Err(StorageError::NotFound));
}

#[test]
fn a_rename_replaces_only_where_it_may() {
    let scratch = Scratch::new();
    scratch.file("a", "a");
    scratch.file("b", "b");
    scratch.directory("d");
    let root = &scratch.root;
    assert_eq!(root.rename(b"/a", b"/b", Replace::No), Err(StorageError::Exists));
    assert_eq!(root.rename(b"/a", b"/d", Replace::No), Err(StorageError::Exists));
    assert_eq!(root.rename(b"/a", b"/d", Replace::Yes), Err(StorageError::IsADirectory));
    assert_eq!(root.rename(b"/d", b"/a", Replace::Yes), Err(StorageError::NotADirectory));
    root.rename(b"/a", b"/b", Replace::Yes).unwrap();
    assert_eq!(scratch.contents("b"), b"a");
    root.rename(b"/b", b"/d/across the tree", Replace::No).unwrap();
    assert_eq!(scratch.names("d"), ["across the tree"]);
    assert_eq!(root.rename(b"/b", b"/c", Replace::No), Err(StorageError::NotFound));
}

#[test]
fn a_directory_does_not_move_into_itself_nor_onto_a_full_one() {
    let scratch = Scratch::new();
    for name in ["d", "d/sub", "full", "full/sub"] {
        scratch.directory(name);
    }
    let root = &scratch.root;
    for replace in [Replace::Yes, Replace::No] {
        assert_eq!(root.rename(b"/d", b"/d/sub/d", replace), Err(StorageError::IntoItself));
        assert_eq!(root.rename(b"/", b"/x", replace), Err(StorageError::Busy));
        assert_eq!(root.rename(b"/d", b"/", replace), Err(StorageError::Busy));
    }
    assert_eq!(root.rename(b"/d", b"/full", Replace::Yes), Err(StorageError::NotEmpty));
}

#[test]
fn a_rename_across_file_systems_says_so() {
    // The two file systems lie beneath one root: that of this machine.
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
    std::fs::write(one.path().join("f"), "").unwrap();
    let root = Root::open(Path::new("/")).unwrap();
    let path = |directory: &Path| [directory.as_os_str().as_encoded_bytes(), b"/f"].concat();
    let moved = root.rename(&path(one.path()), &path(other.path()), Replace::Yes);
    assert_eq!(moved, Err(StorageError::CrossDevice));
}

#[test]
fn names_reserved_for_uploads_cannot_be_touched() {
    let scratch = Scratch::new();
    let reserved = b"/.ringftpd-upload-0123456789abcdef";
    scratch.file(&reserved[1..], "");
    scratch.file("f", "");
    let root = &scratch.root;
    let refused = Err(StorageError::InvalidName);
    assert_eq!(root.remove_file(reserved), refused);
    assert_eq!(root.make_directory(reserved), refused);
    assert_eq!(root.rename(reserved, b"/x", Replace::Yes), refused);
    assert_eq!(root.rename(b"/f", reserved, Replace::Yes), refused);
    assert_eq!(root.facts(reserved).unwrap_err(), StorageError::InvalidName);
    assert_eq!(root.open_download(reserved, 0).unwrap_err(), StorageError::InvalidName);
}

#[test]
fn times_are_set_through_links_and_the_access_time_stays() {
    let scratch = Scratch::new();
    scratch.directory("d");
    scratch.file("d/f", "");
    scratch.link("link", "d/f");
    scratch.link("to-directory", "d");
    scratch.link("to-here", "d/.");
    let before = std::fs::metadata(scratch.at("d/f")).unwrap();
    let link_before = std::fs::symlink_metadata(scratch.at("link")).unwrap();
    scratch.root.set_modified(b"/link", 1_000_000_000).unwrap();
    let after = std::fs::metadata(scratch.at("d/f")).unwrap();
    assert_eq!((after.mtime(), after.mtime_nsec()), (1_000_000_000, 0));
    assert_eq!((after.atime(), after.atime_nsec()), (before.atime(), before.atime_nsec()));
    assert_eq!(std::fs::symlink_metadata(scratch.at("link")).unwrap().mtime(), link_before.mtime());
    for (index, path) in ["/", "/to-directory", "/to-here"].into_iter().enumerate() {
        let seconds = i64::try_from(index).unwrap();
        assert_eq!(scratch.root.set_modified(path.as_bytes(), seconds), Ok(seconds));
        assert_eq!(scratch.root.facts(path.as_bytes()).unwrap().modified_unix_seconds, seconds);
    }
    // The year 9999, which not every file system can store.
    let stored = scratch.root.set_modified(b"/d/f", 253_402_300_799).unwrap();
    assert_eq!(stored, std::fs::metadata(scratch.at("d/f")).unwrap().mtime());
    assert_eq!(scratch.root.set_modified(b"/none", 0), Err(StorageError::NotFound));
}

#[test]
fn modes_are_set_through_links_without_the_bits_that_lend_rights() {
    let scratch = Scratch::new();
    scratch.file("f", "");
    scratch.link("link", "f");
    scratch.fifo("fifo");
    scratch.directory("d");
    scratch.root.set_mode(b"/link", 0o6755).unwrap();
    assert_eq!(scratch.mode("f"), 0o755);
    scratch.permit("f", 0o4755);
    scratch.root.set_mode(b"/f", 0o000).unwrap();
    assert_eq!(scratch.mode("f"), 0o000);
    scratch.root.set_mode(b"/fifo", 0o600).unwrap();
    assert_eq!(scratch.mode("fifo"), 0o600);
    scratch.permit("d", 0o3777);
    scratch.root.set_mode(b"/d", 0o770).unwrap();
    assert_eq!(scratch.mode("d"), 0o3770);
    assert_eq!(scratch.root.set_mode(b"/none", 0o600), Err(StorageError::NotFound));
}

#[test]
fn a_mode_can_be_set_where_the_file_cannot_be_opened() {
    as_plain_user("changes::tests::a_mode_can_be_set_where_the_file_cannot_be_opened", |scratch| {
        scratch.file("f", "");
        scratch.permit("f", 0o000);
        scratch.root.set_mode(b"/f", 0o640).unwrap();
        assert_eq!(scratch.mode("f"), 0o640);
        scratch.permit("f", 0o000);
        scratch.root.set_modified(b"/f", 7).unwrap();
        assert_eq!(scratch.root.facts(b"/f").unwrap().modified_unix_seconds, 7);
    });
}

#[test]
fn a_directory_that_may_not_be_written_refuses_changes() {
    as_plain_user("changes::tests::a_directory_that_may_not_be_written_refuses_changes", |scratch| {
        scratch.directory("d");
        scratch.file("d/f", "");
        scratch.file("f", "");
        scratch.permit("d", 0o500);
        let root = &scratch.root;
        let denied = Err(StorageError::PermissionDenied);
        assert_eq!(root.make_directory(b"/d/new"), denied);
        assert_eq!(root.remove_file(b"/d/f"), denied);
        assert_eq!(root.rename(b"/d/f", b"/x", Replace::Yes), denied);
        assert_eq!(root.rename(b"/f", b"/d/x", Replace::No), denied);
        scratch.permit("d", 0o700);
    });
}

#[test]
fn only_directories_are_entered() {
    let scratch = Scratch::new();
    scratch.directory("d");
    scratch.file("f", "");
    let root = &scratch.root;
    root.enter_directory(b"/").unwrap();
    root.enter_directory(b"/d").unwrap();
    assert_eq!(root.enter_directory(b"/f"), Err(StorageError::NotADirectory));
    assert_eq!(root.enter_directory(b"/none"), Err(StorageError::NotFound));
}
