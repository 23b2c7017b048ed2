//! The served directory, and the one place where a client's path is resolved.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{AccessFlags, access, faccessat};

use crate::file_system::Mounts;
use crate::path::RelativePath;
use crate::{FileSystemKind, MountId, StorageError};

/// How often a resolution is tried again that a concurrent rename or mount disturbed (`EAGAIN`, openat2(2)).
const RESOLUTION_TRIES_MAX: u32 = 32;

/// Known to kernels since 5.12 and to libc, not to nix.
const RESOLVE_CACHED: ResolveFlag = ResolveFlag::from_bits_retain(nix::libc::RESOLVE_CACHED);

/// A served directory: an `O_PATH` descriptor, beneath which every path of a client is resolved by openat2(2).
///
/// Symbolic links are followed as long as they stay inside; one that leaves the root, which every absolute one does,
/// gives [`StorageError::OutsideRoot`], and the magic links of `/proc` are never followed. Clones share the descriptor.
#[derive(Debug, Clone)]
pub struct Root {
    directory: Arc<OwnedFd>,
    /// Whether uploads may go to unnamed files: giving one a name needs `/proc` where the kernel is older than 6.10.
    pub(crate) unnamed_uploads: bool,
    /// Whether what the kernel has cached of the root's own mount is told and opened without asking anybody.
    answers_from_cache: bool,
    /// Of what kind the mounts beneath the root are, and its own.
    mounts: Arc<Mounts>,
}

/// Where a lookup may have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Towards {
    /// The mount of what is known of the path.
    pub mount: MountId,
    /// What comes next is a symbolic link, which may lead to another mount.
    pub is_link: bool,
}

/// What tells an open root from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootIdentity {
    mount: u64,
    device: u64,
    inode: u64,
}

impl Root {
    /// Takes `path`, a directory on this machine, as a root; symbolic links in `path` itself are followed.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::NotADirectory`], [`StorageError::PermissionDenied`] where the
    /// directory may not be entered, or whatever the system says.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(path, flags, Mode::empty())?;
        require_access(&directory, AccessFlags::X_OK)?;
        let mounts = Mounts::default();
        let own = mounts.kind_of(&directory);
        Ok(Self {
            directory: Arc::new(directory),
            unnamed_uploads: access("/proc/self/fd", AccessFlags::F_OK).is_ok(),
            answers_from_cache: own.is_ok_and(|kind| !kind.always_waits()),
            mounts: Arc::new(mounts),
        })
    }

    /// What tells this directory from every other that is open: its file system, its number there, and the mount by which it was
    /// reached, for what may be written and what is mounted beneath it is a matter of that.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn identity(&self) -> Result<RootIdentity, StorageError> {
        let facts = fstat(&*self.directory)?;
        // No other mount has the number for as long as the directory is open.
        let mount = MountId::of(&*self.directory)?.number();
        Ok(RootIdentity { mount, device: facts.st_dev, inode: facts.st_ino })
    }

    /// Opens `path` beneath the root; waits for a disk where it must.
    pub(crate) fn resolve(&self, path: &[u8], flags: OFlag) -> Result<OwnedFd, StorageError> {
        self.open_beneath(path, flags, ResolveFlag::empty())
    }

    /// Opens `path` beneath the root if the kernel has every name of it cached and asks nobody to open it, and does not wait
    /// otherwise. What lies on a mount of FUSE or of another machine is not opened so, nor what lies on one that
    /// [`Root::kind_of_mount`] was not asked about yet.
    pub(crate) fn resolve_cached(&self, path: &[u8], flags: OFlag) -> Result<OwnedFd, StorageError> {
        if self.answers_from_cache {
            match self.open_beneath(path, flags, RESOLVE_CACHED | ResolveFlag::RESOLVE_NO_XDEV) {
                // So the kernel says, too, that the path leads to another mount.
                Err(StorageError::WouldBlock | StorageError::OutsideRoot) => {}
                found => return found,
            }
            if !self.mounts.know_another() {
                return Err(StorageError::WouldBlock);
            }
        }
        // To walk to another mount asks nobody, as long as nothing is opened.
        let walk = OFlag::O_PATH | (flags & (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW));
        let found = self.open_beneath(path, walk, RESOLVE_CACHED)?;
        let kind = MountId::of(&found).ok().and_then(|mount| self.mounts.remembered(mount));
        if kind.is_none_or(FileSystemKind::always_waits) {
            return Err(StorageError::WouldBlock);
        }
        if flags.contains(OFlag::O_PATH) { Ok(found) } else { self.open_beneath(path, flags, RESOLVE_CACHED) }
    }

    /// Where whoever looks `path` up has to wait, if at all: behind the longest beginning of it which the kernel has cached. It
    /// never waits itself.
    #[must_use]
    pub fn towards(&self, path: &[u8]) -> Option<Towards> {
        let mut mount = MountId::of(&*self.directory).ok();
        let path = RelativePath::of(path).ok()?.as_bytes();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends: Vec<_> = ends.chain([path.len()]).collect();
        // Each beginning of what is cached is cached: half of what is left is ruled out each time.
        let (mut known, mut unknown) = (0, ends.len());
        while known < unknown {
            let middle = usize::midpoint(known, unknown);
            match self.walk_cached(&path[..ends[middle]]) {
                Ok(found) => {
                    mount = MountId::of(&found).ok();
                    known = middle + 1;
                }
                Err(_) => unknown = middle,
            }
        }
        // A name that is there, and cannot be followed without waiting.
        let is_link = ends.get(known).is_some_and(|end| {
            self.open_beneath(&path[..*end], OFlag::O_PATH | OFlag::O_NOFOLLOW, RESOLVE_CACHED).is_ok()
        });
        Some(Towards { mount: mount?, is_link })
    }

    /// Finds `path`, to whatever mount it leads, if the kernel has every name of it cached. It asks nobody and does not wait.
    pub(crate) fn walk_cached(&self, path: &[u8]) -> Result<OwnedFd, StorageError> {
        self.open_beneath(path, OFlag::O_PATH, RESOLVE_CACHED)
    }

    /// Of what kind the mount is that an open file beneath the root lies on; from then on [`Root::resolve_cached`] knows it.
    pub(crate) fn kind_of_mount(&self, descriptor: impl AsFd) -> Option<FileSystemKind> {
        self.mounts.kind_of(descriptor).ok()
    }

    /// Opens `path`, a directory on the root's own mount, without following any symbolic link.
    pub(crate) fn resolve_same_mount(&self, path: &[u8], flags: OFlag) -> Result<OwnedFd, StorageError> {
        self.open_beneath(path, flags, ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    /// Opens a directory for the `*at` calls on its names.
    pub(crate) fn resolve_directory(&self, path: &[u8]) -> Result<OwnedFd, StorageError> {
        self.resolve(path, OFlag::O_PATH | OFlag::O_DIRECTORY)
    }

    /// The directory that holds `path`, open for `*at` calls, and the last name; the root, which is held by none, is
    /// refused with `refused`.
    pub(crate) fn resolve_parent<'a>(
        &self,
        path: RelativePath<'a>,
        refused: StorageError,
    ) -> Result<(OwnedFd, &'a [u8]), StorageError> {
        let (directory, name) = path.split().ok_or(refused)?;
        Ok((self.resolve_directory(directory.as_bytes())?, name))
    }

    fn open_beneath(&self, path: &[u8], flags: OFlag, resolve: ResolveFlag) -> Result<OwnedFd, StorageError> {
        let beneath = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(beneath | resolve);
        let cached_only = resolve.contains(RESOLVE_CACHED);
        for _ in 0..RESOLUTION_TRIES_MAX {
            match openat2(&*self.directory, path, how) {
                // Kernels before 5.12 do not know the flag, and say so.
                Err(Errno::EAGAIN | Errno::EINVAL) if cached_only => return Err(StorageError::WouldBlock),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(Errno::EXDEV) => return Err(StorageError::OutsideRoot),
                result => return Ok(result?),
            }
        }
        Err(StorageError::Busy)
    }
}

/// Checks that the server's effective user may do `access` to what `descriptor` holds.
pub(crate) fn require_access(descriptor: impl AsFd, access: AccessFlags) -> Result<(), StorageError> {
    Ok(faccessat(descriptor, "", access, AtFlags::AT_EACCESS | AtFlags::AT_EMPTY_PATH)?)
}

#[cfg(test)]
mod tests;
