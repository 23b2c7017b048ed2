//! Uploads from opening to publishing, on every file system at hand and in both ways of writing.

use std::fs;
use std::io::Write;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::testing::{Scratch, as_plain_user};

fn receive(upload: &Upload, contents: &str) {
    upload.file().write_all(contents.as_bytes()).unwrap();
}

fn store(scratch: &Scratch, path: &str, mode: UploadMode, contents: &str) {
    let upload = scratch.root.open_upload(path.as_bytes(), mode).unwrap();
    receive(&upload, contents);
    upload.publish().unwrap();
}

fn refusal(scratch: &Scratch, path: &str, mode: UploadMode) -> StorageError {
    scratch.root.open_upload(path.as_bytes(), mode).unwrap_err()
}

#[test]
fn a_new_file_has_its_name_only_when_published() {
    for scratch in Scratch::of_every_kind() {
        for mode in [UploadMode::Replace, UploadMode::New] {
            let upload = scratch.root.open_upload(b"/f\xff", mode).unwrap();
            assert_eq!((upload.offset(), upload.name(), upload.path()), (0, &b"f\xff"[..], &b"/f\xff"[..]));
            assert_eq!(matches!(upload.place, Place::Unnamed), scratch.root.unnamed_uploads);
            receive(&upload, "contents");
            assert!(!scratch.at(b"f\xff").exists());
            upload.publish().unwrap();
            assert_eq!(scratch.contents(b"f\xff"), b"contents");
            assert_eq!(scratch.names(".").len(), 1);
            fs::remove_file(scratch.at(b"f\xff")).unwrap();
        }
    }
}

#[test]
fn a_new_file_has_the_bits_that_the_umask_leaves() {
    for scratch in Scratch::of_every_kind() {
        scratch.file("made by another", "");
        store(&scratch, "/uploaded", UploadMode::New, "");
        assert_eq!(scratch.mode("uploaded"), scratch.mode("made by another"));
    }
}

#[test]
fn a_partial_hidden_file_is_closed_to_others() {
    let mut scratch = Scratch::new();
    scratch.root.unnamed_uploads = false;
    let upload = scratch.root.open_upload(b"/f", UploadMode::New).unwrap();
    let hidden = scratch.names(".");
    assert_eq!((hidden.len(), scratch.mode(&hidden[0])), (1, 0o600));
    drop(upload);
}

#[test]
fn a_dropped_upload_leaves_nothing_and_the_old_file_whole() {
    for scratch in Scratch::of_every_kind() {
        scratch.file("old", "old");
        for (path, mode) in [
            ("/old", UploadMode::Replace),
            ("/new", UploadMode::Replace),
            ("/new", UploadMode::New),
            ("/", UploadMode::Unique),
        ] {
            let upload = scratch.root.open_upload(path.as_bytes(), mode).unwrap();
            receive(&upload, "partial");
            drop(upload);
            assert_eq!(scratch.names("."), ["old"]);
            assert_eq!(scratch.contents("old"), b"old");
        }
    }
}

#[test]
fn a_replaced_file_is_whole_until_its_successor_is_and_passes_its_bits_on() {
    for scratch in Scratch::of_every_kind() {
        scratch.file("f", "the old contents");
        scratch.permit("f", 0o4604);
        let reader = scratch.root.open_download(b"/f", 0).unwrap();
        let upload = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
        receive(&upload, "new");
        assert_eq!(scratch.contents("f"), b"the old contents");
        upload.publish().unwrap();
        assert_eq!(scratch.contents("f"), b"new");
        assert_eq!(scratch.mode("f"), 0o604);
        assert_eq!(scratch.names("."), ["f"]);
        // Who was reading the old file reads it to its end.
        assert_eq!(reader.file.metadata().unwrap().len(), 16);
    }
}

#[test]
fn a_name_that_is_taken_or_freed_meanwhile_is_met_at_publishing() {
    for scratch in Scratch::of_every_kind() {
        let new = scratch.root.open_upload(b"/f", UploadMode::New).unwrap();
        let replacing = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
        scratch.file("f", "faster");
        assert_eq!(new.publish().unwrap_err(), StorageError::Exists);
        assert_eq!(scratch.contents("f"), b"faster");
        replacing.publish().unwrap();
        assert_eq!(scratch.contents("f"), b"");

        let replacing = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
        fs::remove_file(scratch.at("f")).unwrap();
        replacing.publish().unwrap();
        assert_eq!(scratch.names("."), ["f"]);

        let replacing = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
        fs::remove_file(scratch.at("f")).unwrap();
        scratch.directory("f");
        assert_eq!(replacing.publish().unwrap_err(), StorageError::IsADirectory);
        assert_eq!(scratch.names("."), ["f"]);
    }
}

#[test]
fn a_directory_that_vanishes_takes_the_upload_with_it() {
    for scratch in Scratch::of_every_kind() {
        scratch.directory("d");
        let upload = scratch.root.open_upload(b"/d/f", UploadMode::Replace).unwrap();
        fs::remove_dir_all(scratch.at("d")).unwrap();
        assert_eq!(upload.publish().unwrap_err(), StorageError::NotFound);
    }
}

#[test]
fn what_is_no_file_is_refused_when_opened() {
    for scratch in Scratch::of_every_kind() {
        scratch.directory("d");
        scratch.fifo("fifo");
        scratch.file("f", "");
        scratch.link("dangling", "none");
        for mode in [UploadMode::Replace, UploadMode::Append, UploadMode::ResumeAt(0)] {
            assert_eq!(refusal(&scratch, "/d", mode), StorageError::IsADirectory);
            assert_eq!(refusal(&scratch, "/", mode), StorageError::IsADirectory);
            assert_eq!(refusal(&scratch, "/fifo", mode), StorageError::NotRegular);
            assert_eq!(refusal(&scratch, "/f/x", mode), StorageError::NotADirectory);
            assert_eq!(refusal(&scratch, "/none/x", mode), StorageError::NotFound);
            assert_eq!(refusal(&scratch, "/.ringftpd-upload-0", mode), StorageError::InvalidName);
        }
        for path in ["/d", "/fifo", "/f", "/dangling", "/"] {
            assert_eq!(refusal(&scratch, path, UploadMode::New), StorageError::Exists);
        }
        let devices = Root::open(std::path::Path::new("/dev")).unwrap();
        assert_eq!(devices.open_upload(b"/null", UploadMode::Replace).unwrap_err(), StorageError::NotRegular);
        assert_eq!(devices.open_upload(b"/null", UploadMode::Append).unwrap_err(), StorageError::NotRegular);
    }
}

#[test]
fn behind_a_link_the_file_is_replaced_and_not_the_link() {
    for scratch in Scratch::of_every_kind() {
        for name in ["real", "real/deep", "other"] {
            scratch.directory(name);
        }
        scratch.file("real/f", "old");
        scratch.link("way", "real/deep");
        // Physically `real/f`, since `way` is `real/deep`; by its letters it would be `f` beside `way`.
        scratch.link("other/link", "../way/../f");
        scratch.link("other/chain", "link");
        scratch.link("other/new", "../real/made");
        scratch.link("to-directory", "other/..");

        store(&scratch, "/other/chain", UploadMode::Replace, "replaced");
        assert_eq!(scratch.contents("real/f"), b"replaced");
        assert!(fs::symlink_metadata(scratch.at("other/link")).unwrap().is_symlink());
        store(&scratch, "/other/link", UploadMode::Append, ", appended");
        assert_eq!(scratch.contents("real/f"), b"replaced, appended");
        store(&scratch, "/other/new", UploadMode::Replace, "made");
        assert_eq!(scratch.contents("real/made"), b"made");
        assert_eq!(refusal(&scratch, "/to-directory", UploadMode::Replace), StorageError::IsADirectory);
        assert_eq!(scratch.names("real"), ["deep", "f", "made"]);
        assert_eq!(scratch.names("other"), ["chain", "link", "new"]);
    }
}

#[test]
fn appending_begins_at_the_end_and_makes_what_is_missing() {
    for scratch in Scratch::of_every_kind() {
        scratch.file("f", "old");
        let upload = scratch.root.open_upload(b"/f", UploadMode::Append).unwrap();
        assert_eq!(upload.offset(), 3);
        receive(&upload, " and ");
        drop(upload);
        store(&scratch, "/f", UploadMode::Append, "new");
        assert_eq!(scratch.contents("f"), b"old and new");
        store(&scratch, "/made", UploadMode::Append, "");
        assert_eq!(scratch.contents("made"), b"");
        // One that was made and never written to is taken back.
        drop(scratch.root.open_upload(b"/untouched", UploadMode::Append).unwrap());
        assert_eq!(scratch.names("."), ["f", "made"]);
    }
}

#[test]
fn resuming_keeps_what_stands_before_and_beyond() {
    for scratch in Scratch::of_every_kind() {
        scratch.file("f", "0123456789");
        let upload = scratch.root.open_upload(b"/f", UploadMode::ResumeAt(4)).unwrap();
        assert_eq!(upload.offset(), 4);
        receive(&upload, "xy");
        upload.publish().unwrap();
        assert_eq!(scratch.contents("f"), b"0123xy6789");
        store(&scratch, "/f", UploadMode::ResumeAt(10), "!");
        assert_eq!(scratch.contents("f"), b"0123xy6789!");
        assert_eq!(refusal(&scratch, "/f", UploadMode::ResumeAt(12)), StorageError::RestartBeyondEnd);
        assert_eq!(refusal(&scratch, "/none", UploadMode::ResumeAt(1)), StorageError::NotFound);
        store(&scratch, "/made", UploadMode::ResumeAt(0), "x");

        File::create(scratch.at("big")).unwrap().set_len(5 << 30).unwrap();
        store(&scratch, "/big", UploadMode::ResumeAt(5 << 30), "end");
        assert_eq!(fs::metadata(scratch.at("big")).unwrap().len(), (5 << 30) + 3);
    }
}

#[test]
fn two_uploads_do_not_write_to_one_file_in_place() {
    for scratch in Scratch::of_every_kind() {
        scratch.file("f", "123");
        let first = scratch.root.open_upload(b"/f", UploadMode::Append).unwrap();
        assert_eq!(refusal(&scratch, "/f", UploadMode::Append), StorageError::Busy);
        assert_eq!(refusal(&scratch, "/f", UploadMode::ResumeAt(1)), StorageError::Busy);
        drop(first);
        store(&scratch, "/f", UploadMode::Append, "4");
        assert_eq!(scratch.contents("f"), b"1234");
    }
}

#[test]
fn unique_names_are_in_the_directory_or_begin_with_the_hint() {
    for scratch in Scratch::of_every_kind() {
        scratch.directory("d");
        scratch.file("f", "kept");
        for (path, directory, prefix) in [
            ("/", "/", "ringftpd-"),
            ("/d", "/d/", "ringftpd-"),
            ("/d/hint", "/d/", "hint."),
            ("/f", "/", "f."),
        ] {
            let upload = scratch.root.open_upload(path.as_bytes(), UploadMode::Unique).unwrap();
            let name = String::from_utf8(upload.name().to_vec()).unwrap();
            assert!(name.starts_with(prefix) && name.len() == prefix.len() + 16, "{name}");
            receive(&upload, "unique");
            let chosen = upload.path().to_vec();
            assert_eq!(chosen, format!("{directory}{name}").into_bytes());
            upload.publish().unwrap();
            assert_eq!(scratch.contents(&chosen[1..]), b"unique");
        }
        assert_eq!(scratch.contents("f"), b"kept");
        let long = [b"/".as_slice(), &b"n".repeat(255)].concat();
        let upload = scratch.root.open_upload(&long, UploadMode::Unique).unwrap();
        assert_eq!(upload.name().len(), 255);
        assert_eq!(refusal(&scratch, "/none/hint", UploadMode::Unique), StorageError::NotFound);
    }
}

#[test]
fn an_upload_knows_whether_the_name_was_anothers_and_whether_it_writes_to_it() {
    for scratch in Scratch::of_every_kind() {
        let known = |mode| {
            let upload = scratch.root.open_upload(b"/f", mode).unwrap();
            let known = (upload.is_in_place(), upload.found_another());
            receive(&upload, "bytes");
            upload.publish().unwrap();
            known
        };
        assert_eq!(known(UploadMode::New), (false, false));
        assert_eq!(known(UploadMode::Replace), (false, true));
        assert_eq!(known(UploadMode::Append), (true, true));
    }
}

#[test]
fn what_is_written_to_a_file_that_loses_its_name_is_not_stored() {
    for scratch in Scratch::of_every_kind() {
        for mode in [UploadMode::Append, UploadMode::ResumeAt(1)] {
            let replaced = |then: &dyn Fn()| {
                scratch.file("f", "old");
                let upload = scratch.root.open_upload(b"/f", mode).unwrap();
                receive(&upload, "more");
                then();
                upload.publish()
            };
            assert_eq!(replaced(&|| fs::remove_file(scratch.at("f")).unwrap()), Err(StorageError::NameLost));
            let by_another = || store(&scratch, "/f", UploadMode::Replace, "another's");
            assert_eq!(replaced(&by_another), Err(StorageError::NameLost));
            assert_eq!(scratch.contents("f"), b"another's");
            // Under another name it can be had.
            assert_eq!(replaced(&|| fs::rename(scratch.at("f"), scratch.at("g")).unwrap()), Ok(()));
            assert!(scratch.contents("g").ends_with(b"more"));
        }
    }
}

#[test]
fn reserved_space_is_given_back_and_a_full_disk_is_told() {
    for scratch in Scratch::of_every_kind() {
        let mut upload = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
        upload.allocate(0).unwrap();
        upload.allocate(1 << 20).unwrap();
        receive(&upload, "short");
        upload.publish().unwrap();
        let metadata = fs::metadata(scratch.at("f")).unwrap();
        assert_eq!(metadata.len(), 5);
        assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 < 1 << 20);

        let mut upload = scratch.root.open_upload(b"/f", UploadMode::Append).unwrap();
        upload.allocate(1 << 20).unwrap();
        drop(upload);
        let metadata = fs::metadata(scratch.at("f")).unwrap();
        assert!(std::os::unix::fs::MetadataExt::blocks(&metadata) * 512 < 1 << 20);

        let mut upload = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
        assert_eq!(upload.allocate(u64::MAX), Err(StorageError::TooLarge));
        let error = upload.allocate(1 << 60).unwrap_err();
        assert!(matches!(error, StorageError::Full | StorageError::TooLarge), "{error:?}");
        // Not a block is taken from others for what there is no room for.
        let free = upload.free_bytes().unwrap().expect("it says what is free");
        assert_eq!(upload.allocate(free.saturating_mul(2)), Err(StorageError::Full));
        assert_eq!(std::os::unix::fs::MetadataExt::blocks(&upload.file.metadata().unwrap()), 0);
        drop(upload);
        assert_eq!(scratch.contents("f"), b"short");
    }
}

#[test]
fn every_sync_policy_publishes() {
    for scratch in Scratch::of_every_kind() {
        for policy in [SyncPolicy::None, SyncPolicy::Data, SyncPolicy::Full] {
            let mut upload = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
            receive(&upload, "synced");
            upload.sync(policy).unwrap();
            upload.publish().unwrap();
            assert_eq!(scratch.contents("f"), b"synced");
        }
    }
}

#[test]
fn what_a_killed_server_leaves_is_swept_and_what_lives_is_not() {
    let mut scratch = Scratch::new();
    scratch.root.unnamed_uploads = false;
    scratch.directory("d");
    scratch.file("f", "old");
    let killed = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
    receive(&killed, "partial");
    let lives = scratch.root.open_upload(b"/d/g", UploadMode::New).unwrap();
    // A killed process's locks go with it, and nothing of its code runs any more.
    killed.file().unlock().unwrap();
    std::mem::forget(killed);

    let report = scratch.root.sweep_stale_uploads(&AtomicBool::new(false)).unwrap();
    assert_eq!((report.removed, report.kept), (1, 1));
    assert_eq!(scratch.names("."), ["d", "f"]);
    assert_eq!(scratch.contents("f"), b"old");
    lives.publish().unwrap();
    assert_eq!(scratch.names("d"), ["g"]);
}

#[test]
fn a_kill_in_the_middle_of_replacing_leaves_the_old_file_and_a_name_to_sweep() {
    let scratch = Scratch::new();
    scratch.file("f", "old");
    scratch.permit("f", 0o200);
    let mut upload = scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap();
    receive(&upload, "new");
    upload.take_hidden_name().unwrap();
    assert_eq!(scratch.names(".").len(), 2);
    let alive = scratch.root.sweep_stale_uploads(&AtomicBool::new(false)).unwrap();
    assert_eq!((alive.removed, alive.kept), (0, 1));
    upload.file().unlock().unwrap();
    std::mem::forget(upload);
    let report = scratch.root.sweep_stale_uploads(&AtomicBool::new(false)).unwrap();
    assert_eq!((report.removed, report.kept), (1, 0));
    assert_eq!(scratch.names("."), ["f"]);
    assert_eq!(scratch.contents("f"), b"old");
}

#[test]
fn what_may_not_be_written_is_refused_when_opened() {
    as_plain_user("upload::tests::what_may_not_be_written_is_refused_when_opened", |scratch| {
        scratch.file("read-only", "old");
        scratch.permit("read-only", 0o444);
        scratch.directory("closed");
        scratch.file("closed/f", "old");
        scratch.permit("closed", 0o555);
        for mode in [UploadMode::Replace, UploadMode::Append, UploadMode::ResumeAt(1)] {
            assert_eq!(refusal(scratch, "/read-only", mode), StorageError::PermissionDenied);
        }
        for unnamed in [true, false] {
            let mut root = scratch.root.clone();
            root.unnamed_uploads = unnamed;
            for (path, mode) in [
                (&b"/closed/f"[..], UploadMode::Replace),
                (b"/closed/new", UploadMode::Replace),
                (b"/closed/new", UploadMode::New),
                (b"/closed/new", UploadMode::Append),
                (b"/closed", UploadMode::Unique),
            ] {
                assert_eq!(root.open_upload(path, mode).unwrap_err(), StorageError::PermissionDenied);
            }
        }
        // Writing in place needs the right to the file alone.
        store(scratch, "/closed/f", UploadMode::Append, " and new");
        assert_eq!(scratch.contents("closed/f"), b"old and new");
        scratch.permit("closed", 0o755);
    });
}

#[test]
fn a_plain_user_publishes_in_every_way() {
    as_plain_user("upload::tests::a_plain_user_publishes_in_every_way", |scratch| {
        // A drop box: it may be written and searched, and not read.
        scratch.directory("box");
        scratch.permit("box", 0o300);
        for (index, unnamed) in [true, false].into_iter().enumerate() {
            let mut root = scratch.root.clone();
            root.unnamed_uploads = unnamed;
            for (mode, path) in [
                (UploadMode::New, format!("/f{index}")),
                (UploadMode::Replace, format!("/f{index}")),
                (UploadMode::New, format!("/box/f{index}")),
            ] {
                let mut upload = root.open_upload(path.as_bytes(), mode).unwrap();
                receive(&upload, "contents");
                upload.sync(SyncPolicy::Full).unwrap();
                upload.publish().unwrap();
                assert_eq!(scratch.contents(&path.as_bytes()[1..]), b"contents");
            }
        }
        scratch.permit("box", 0o700);
        assert_eq!(scratch.names("."), ["box", "f0", "f1"]);
    });
}

#[test]
fn in_a_sticky_directory_only_owners_rename_over_a_name() {
    let scratch = Scratch::new();
    scratch.directory("sticky");
    scratch.file("sticky/f", "");
    let root = &scratch.root;
    let owned_by = |owner, mode, path: &[u8]| Facts { owner, mode, ..root.facts(path).unwrap() };
    let file = owned_by(1001, 0o666, b"/sticky/f");
    for (user, mode, allowed) in [
        (0, 0o1777, true),
        (1000, 0o1777, true),
        (1001, 0o1777, true),
        (1002, 0o1777, false),
        (1002, 0o777, true),
    ] {
        let directory = owned_by(1000, mode, b"/sticky");
        assert_eq!(may_rename_over(Uid::from_raw(user), &directory, &file), allowed, "{user} {mode:o}");
    }
}
