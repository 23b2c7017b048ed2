//! What every server serves, and where it finds room of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The small file, in bytes.
pub(crate) const SMALL_BYTES: usize = 1024;
/// The big one.
pub(crate) const BIG_BYTES: usize = 64 << 20;
/// How many entries the big directory has.
pub(crate) const ENTRIES: usize = 10_000;

/// One directory that all servers serve, and one in which each has its configuration. Gone when dropped.
#[derive(Debug)]
pub(crate) struct Site {
    folder: PathBuf,
}

impl Site {
    /// Makes it. Servers that become other users have to reach it, so it is where everybody may go; and it is
    /// on a disk, which temporary directories often are not.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let folder = Path::new("/var/tmp").join(format!("ringftpd-compare-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let site = Self { folder };
        let root = site.root();
        for path in [root.clone(), root.join("list"), root.join("upload"), site.folder.join("own")] {
            fs::create_dir(&path)?;
        }
        fs::set_permissions(&site.folder, Permissions::from_mode(0o755))?;
        fs::set_permissions(&root, Permissions::from_mode(0o755))?;
        fs::set_permissions(root.join("upload"), Permissions::from_mode(0o777))?;
        fs::write(root.join("1k.bin"), bytes(SMALL_BYTES))?;
        fs::write(root.join("big.bin"), bytes(BIG_BYTES))?;
        for number in 0..ENTRIES {
            fs::write(root.join(format!("list/entry-{number:06}.dat")), [])?;
        }
        Ok(site)
    }

    /// What is served.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// A server's own folder.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub(crate) fn own(&self, name: &str) -> anyhow::Result<PathBuf> {
        let own = self.folder.join("own").join(name);
        fs::create_dir_all(&own)?;
        Ok(own)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("compare: {} is left: {error}", self.folder.display());
        }
    }
}

/// Bytes that no compression and no luck makes alike.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(count).collect()
}
