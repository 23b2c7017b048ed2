//! What the tests of this crate share: directories to serve on every kind of file system at hand, and a way to be a
//! user whom permissions bind.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, geteuid, setegid, seteuid};
use tempfile::TempDir;

use crate::Root;

/// A served directory, with a directory around it that no client may see.
pub(crate) struct Scratch {
    around: TempDir,
    pub(crate) root: Root,
}

impl Scratch {
    /// One on the file system of temporary files.
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    fn within(directory: &Path) -> Self {
        let around = tempfile::tempdir_in(directory).unwrap();
        fs::create_dir(around.path().join("served")).unwrap();
        fs::write(around.path().join("secret"), "secret").unwrap();
        let root = Root::open(&around.path().join("served")).unwrap();
        Self { around, root }
    }

    /// One for each file system and each way of writing uploads: on disk and in memory, without a name and with a
    /// hidden one.
    pub(crate) fn of_every_kind() -> impl Iterator<Item = Self> {
        let places = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
        places.into_iter().flat_map(|place| [true, false].map(|unnamed| (place.clone(), unnamed))).map(
            |(place, unnamed)| {
                let mut scratch = Self::within(&place);
                scratch.root.unnamed_uploads = unnamed;
                scratch
            },
        )
    }

    /// Where `name` is on this machine.
    pub(crate) fn at(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.around.path().join("served").join(std::ffi::OsStr::from_bytes(name.as_ref()))
    }

    /// The directory around the served one.
    pub(crate) fn around(&self) -> &Path {
        self.around.path()
    }

    /// Makes a file.
    pub(crate) fn file(&self, name: impl AsRef<[u8]>, contents: impl AsRef<[u8]>) {
        fs::write(self.at(name), contents).unwrap();
    }

    /// Makes a directory.
    pub(crate) fn directory(&self, name: impl AsRef<[u8]>) {
        fs::create_dir(self.at(name)).unwrap();
    }

    /// Makes a symbolic link.
    pub(crate) fn link(&self, name: impl AsRef<[u8]>, target: impl AsRef<Path>) {
        std::os::unix::fs::symlink(target, self.at(name)).unwrap();
    }

    /// Makes a FIFO.
    pub(crate) fn fifo(&self, name: impl AsRef<[u8]>) {
        nix::unistd::mkfifo(&self.at(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }

    /// Sets permission bits.
    pub(crate) fn permit(&self, name: impl AsRef<[u8]>, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The permission bits.
    pub(crate) fn mode(&self, name: impl AsRef<[u8]>) -> u32 {
        fs::symlink_metadata(self.at(name)).unwrap().permissions().mode() & 0o7777
    }

    /// What a file holds.
    pub(crate) fn contents(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        fs::read(self.at(name)).unwrap()
    }

    /// The names in a directory, hidden ones too, sorted.
    pub(crate) fn names(&self, directory: impl AsRef<[u8]>) -> Vec<String> {
        let entries = fs::read_dir(self.at(directory)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Says to the process started by [`as_plain_user`] that it is the one.
const PLAIN_USER_VARIABLE: &str = "RINGFTPD_TEST_AS_PLAIN_USER";

/// Runs `test` as a user whom permissions bind, in a directory that this user owns.
///
/// Where the tests run as root, which passes every permission check, `name` (the test's full name) is run again in a
/// process of its own, which gives up its effective user before `test` begins.
pub(crate) fn as_plain_user(name: &str, test: impl FnOnce(&Scratch)) {
    if !geteuid().is_root() {
        return test(&Scratch::new());
    }
    if std::env::var_os(PLAIN_USER_VARIABLE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads=1"])
            .env(PLAIN_USER_VARIABLE, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let mut scratch = Scratch::new();
    std::os::unix::fs::chown(scratch.at("."), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::set_permissions(scratch.around(), fs::Permissions::from_mode(0o755)).unwrap();
    let dropped = DroppedRoot::new();
    scratch.root = Root::open(&scratch.at(".")).unwrap();
    test(&scratch);
    drop(dropped);
}

/// The user and group that own nothing.
const NOBODY: u32 = 65_534;

/// While it lives, the process has no rights of root; it has them again to clean up.
struct DroppedRoot;

impl DroppedRoot {
    fn new() -> Self {
        setegid(Gid::from_raw(NOBODY)).unwrap();
        seteuid(Uid::from_raw(NOBODY)).unwrap();
        Self
    }
}

impl Drop for DroppedRoot {
    fn drop(&mut self) {
        seteuid(Uid::from_raw(0)).unwrap();
        setegid(Gid::from_raw(0)).unwrap();
    }
}
