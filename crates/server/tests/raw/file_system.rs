//! File systems of a test's own: small ones, that get full or cannot be written to.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs, mounted as long as this lives.
pub(crate) struct TemporaryFileSystem {
    path: PathBuf,
}

impl TemporaryFileSystem {
    /// Mounts one on the directory `path`, of this size in the units of `mount` (`1m`).
    ///
    /// # Panics
    ///
    /// If that is not permitted: a test must not pass for want of its file system.
    pub(crate) fn mount(path: &Path, size: &str) -> Self {
        mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs"], path);
        Self { path: path.to_owned() }
    }

    /// Whether it is still there.
    pub(crate) fn is_mounted(&self) -> bool {
        Command::new("mountpoint")
            .arg("--quiet")
            .arg(&self.path)
            .status()
            .is_ok_and(|status| status.success())
    }

    /// From now on nothing on it can be changed.
    pub(crate) fn becomes_read_only(&self) {
        mount(&["-o", "remount,ro"], &self.path);
    }
}

impl Drop for TemporaryFileSystem {
    fn drop(&mut self) {
        // A server that is being killed may still hold it: it goes when that does.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be unmounted", self.path.display());
        }
    }
}

fn mount(options: &[&str], path: &Path) {
    let output = Command::new("mount").args(options).arg(path).output().expect("mount(8) is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "this test mounts a file system, for which it needs the right to (run it as root): mount {} {}: {said}",
        options.join(" "),
        path.display(),
    );
}
