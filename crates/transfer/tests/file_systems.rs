//! Every route on every file system that this machine has, both ways.
//!
//! Image files are made and mounted for it, which takes root: for other users, and for a file system that this kernel does not
//! have, standard error says that there was no test. Anything else that is missing is a failure.

mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{connected_pair, contents, forget, on_each_backend, reader, routes, sample, writer};
use tempfile::TempDir;
use transfer::{CachePolicy, Progress, TransferOptions, download, upload};

/// Bytes of an image: the least that mkfs.xfs takes, and some.
const IMAGE_BYTES: u64 = 320 << 20;

/// A mounted file system, unmounted when dropped.
struct Mounted {
    root: PathBuf,
    // The image and the mount point; empty for what was there before.
    scratch: Option<TempDir>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.scratch.is_some() {
            // Whatever comes of it: the directory then says why it cannot be removed.
            let _ = Command::new("umount").arg(&self.root).status();
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// An image of a file system, made by `program` and mounted.
fn image(kind: &str, arguments: &[&str]) -> Result<Mounted, String> {
    let scratch = tempfile::tempdir().expect("a directory");
    let (image, root) = (scratch.path().join("image"), scratch.path().join("mounted"));
    File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).expect("an image");
    fs::create_dir(&root).expect("a mount point");
    run(&format!("mkfs.{kind}"), &[arguments, &[text(&image)]].concat())?;
    run("mount", &["-t", kind, "-o", "loop", text(&image), text(&root)])?;
    Ok(Mounted { root, scratch: Some(scratch) })
}

fn tmpfs() -> Result<Mounted, String> {
    let scratch = tempfile::tempdir().expect("a directory");
    let root = scratch.path().to_owned();
    run("mount", &["-t", "tmpfs", "tmpfs", text(&root)])?;
    Ok(Mounted { root, scratch: Some(scratch) })
}

/// Over the file system of the build, as containers have it.
fn overlayfs() -> Result<Mounted, String> {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let [lower, upper, work, root] =
        ["lower", "upper", "work", "mounted"].map(|name| scratch.path().join(name));
    for directory in [&lower, &upper, &work, &root] {
        fs::create_dir(directory).expect("a directory");
    }
    let layers = format!("lowerdir={},upperdir={},workdir={}", text(&lower), text(&upper), text(&work));
    run("mount", &["-t", "overlay", "overlay", "-o", &layers, text(&root)])?;
    Ok(Mounted { root, scratch: Some(scratch) })
}

fn of_the_build() -> Result<Mounted, String> {
    Ok(Mounted { root: PathBuf::from(env!("CARGO_TARGET_TMPDIR")), scratch: None })
}

fn new_file(root: &Path) -> File {
    let path = root.join("file");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.expect("a file");
    fs::remove_file(path).expect("unlinked");
    file
}

async fn is_sent(file: &File, range: std::ops::Range<u64>, options: &TransferOptions, expected: &[u8]) {
    let (stream, peer) = connected_pair().await;
    let peer = reader(peer);
    let what = format!("{range:?} by {}", options.route);
    download(file, range, &stream, options.clone(), &Progress::new()).await.expect("sent");
    stream.close().await;
    assert!(peer.join().expect("the peer") == expected, "{what}");
}

async fn is_stored(root: &Path, offset: u64, bytes: &[u8], options: &TransferOptions) -> File {
    let file = new_file(root);
    let (stream, peer) = connected_pair().await;
    let peer = writer(peer, bytes.to_vec());
    let stored = upload(&stream, &file, offset, options.clone(), &Progress::new()).await.expect("stored");
    stream.close().await;
    assert_eq!(stored, bytes.len() as u64);
    drop(peer.join().expect("the peer"));
    file
}

/// Both ways, from the page cache and from the disk, with every policy; nothing, little and much; far into a sparse file.
async fn files_come_and_go(root: &Path) {
    const FAR: u64 = (5 << 30) + 12_345;
    for by in routes() {
        for cache_policy in [CachePolicy::Keep, CachePolicy::DropBehind, CachePolicy::Direct] {
            let options = TransferOptions { cache_policy, ..by.clone() };
            for size in [0, 1000, 3_000_001] {
                let bytes = sample(size);
                let file = is_stored(root, 0, &bytes, &options).await;
                assert!(contents(&file) == bytes, "{size} bytes by {} with {cache_policy:?}", by.route);
                is_sent(&file, 0..size as u64, &options, &bytes).await;
                file.sync_all().expect("synced");
                forget(&file);
                is_sent(&file, 0..size as u64, &options, &bytes).await;
            }
        }
        let bytes = sample(100_000);
        let file = is_stored(root, FAR, &bytes, &by).await;
        let with_a_hole = [vec![0; 5000], bytes].concat();
        is_sent(&file, FAR - 5000..FAR + 100_000, &by, &with_a_hole).await;
        let mut first = [1; 10];
        file.read_exact_at(&mut first, 0).expect("read");
        assert_eq!(first, [0; 10]);
    }
}

/// Runs the test on a file system, or says why not.
fn on(name: &str, mounted: Result<Mounted, String>) {
    let mounted = match mounted {
        Ok(mounted) => mounted,
        Err(reason) => {
            let cannot_be_had =
                !nix::unistd::geteuid().is_root() || reason.contains("unknown filesystem type");
            assert!(cannot_be_had, "{name}: {reason}");
            eprintln!("NOT AVAILABLE HERE: {name} ({reason})");
            return;
        }
    };
    let root = mounted.root.clone();
    on_each_backend(move || {
        let root = root.clone();
        async move { files_come_and_go(&root).await }
    });
    drop(mounted);
}

#[test]
fn the_file_system_of_the_build() {
    on("the file system of the build", of_the_build());
}

#[test]
fn ext4_images() {
    on("ext4", image("ext4", &["-q"]));
}

#[test]
fn btrfs_images() {
    on("btrfs", image("btrfs", &["-q"]));
}

#[test]
fn xfs_images() {
    on("xfs", image("xfs", &["-q"]));
}

#[test]
fn a_tmpfs() {
    on("tmpfs", tmpfs());
}

#[test]
fn an_overlayfs() {
    on("overlayfs", overlayfs());
}
