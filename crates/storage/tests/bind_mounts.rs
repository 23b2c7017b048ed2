//! Directories that are mounted a second time elsewhere.
#![forbid(unsafe_code)]

use std::fs;

use nix::mount::{MsFlags, mount, umount};
use storage::{Root, StorageError, UploadMode};

/// The same directory by way of a read-only mount is another root: whoever was to read alone would write, or the other way round.
#[test]
fn a_directory_is_another_root_by_another_mount() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("NOT AVAILABLE HERE: bind mounts (it takes root)");
        return;
    }
    let scratch = tempfile::tempdir().expect("a directory");
    let [data, bound] = ["data", "bound"].map(|name| scratch.path().join(name));
    for folder in [&data, &bound] {
        fs::create_dir(folder).expect("a directory");
    }
    let none = None::<&str>;
    mount(Some(&data), &bound, none, MsFlags::MS_BIND, none).expect("mounted");
    mount(none, &bound, none, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none)
        .expect("read-only");
    let [by_itself, again, by_mount] = [&data, &data, &bound].map(|path| Root::open(path).expect("a root"));
    let identity = |root: &Root| root.identity().expect("an identity");
    let (is_same, is_other) =
        (identity(&by_itself) == identity(&again), identity(&by_itself) != identity(&by_mount));
    let refused = by_mount.open_upload(b"/file", UploadMode::New).map(drop);
    let taken = by_itself.open_upload(b"/file", UploadMode::New).map(drop);
    drop((by_itself, again, by_mount));
    umount(&bound).expect("unmounted");
    assert!(is_same && is_other);
    assert_eq!((refused, taken), (Err(StorageError::ReadOnly), Ok(())));
}
