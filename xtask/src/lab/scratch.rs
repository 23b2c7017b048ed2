//! The laboratory's own directory: what servers serve, clients download, and programs are configured by.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Where it is: only root makes files there, and it does not survive a restart of the machine.
const PATH: &str = "/run/ringftpd-lab";

/// The directory. Dropped, it is removed with all that is in it.
#[derive(Debug)]
pub(crate) struct Scratch(());

impl Scratch {
    /// Makes it anew: what a run that was killed left is removed. Every user may enter it, for servers give root up.
    pub(crate) fn create() -> anyhow::Result<Self> {
        remove().with_context(|| format!("cannot remove {PATH}"))?;
        fs::create_dir(PATH).with_context(|| format!("cannot create {PATH}"))?;
        fs::set_permissions(PATH, Permissions::from_mode(0o755))?;
        Ok(Self(()))
    }

    /// Where it is.
    #[expect(clippy::unused_self, reason = "it is there while this value is")]
    pub(crate) fn path(&self) -> &'static Path {
        Path::new(PATH)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove() {
            eprintln!("lab: cannot remove {PATH}: {error}");
        }
    }
}

fn remove() -> io::Result<()> {
    match fs::remove_dir_all(PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}
