//! The directory and the last name behind a path whose end may be a symbolic link.
//!
//! Calls that create, replace or change a name work on a directory and one name in it, and follow no link there. So a
//! link at the end of a path is followed here, step by step, each step resolved by the kernel beneath the root.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::fstatat;

use crate::path::{RelativePath, is_reserved};
use crate::{Facts, Root, StorageError};

/// How many links one after the other are followed: the kernel's own bound.
const LINKS_FOLLOWED_MAX: u32 = 40;

/// A name in an open directory, with no symbolic link to follow any more when it was looked up.
#[derive(Debug)]
pub(crate) struct Target {
    /// The directory, open for `*at` calls only.
    pub(crate) directory: OwnedFd,
    /// The name in it, or `.` for the directory itself.
    pub(crate) name: Vec<u8>,
}

impl Target {
    /// The facts of the name itself, or nothing where it is free.
    pub(crate) fn facts(&self) -> Result<Option<Facts>, StorageError> {
        match fstatat(&self.directory, self.name.as_slice(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) => Ok(Some(Facts::from(&status))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Root {
    /// Follows `path` to the directory and the name that it means; the name need not exist.
    pub(crate) fn resolve_target(&self, path: RelativePath<'_>) -> Result<Target, StorageError> {
        let Some((directory, name)) = path.split() else {
            return Ok(Target { directory: self.resolve_directory(b".")?, name: b".".to_vec() });
        };
        let mut directory_path = directory.as_bytes().to_vec();
        let mut name = name.to_vec();
        for _ in 0..LINKS_FOLLOWED_MAX {
            let directory = self.resolve_directory(&directory_path)?;
            let link = match readlinkat(&directory, name.as_slice()) {
                // Not a link, or nothing at all: this is the place.
                Err(Errno::EINVAL | Errno::ENOENT) => return Ok(Target { directory, name }),
                link => link?.into_vec(),
            };
            if link.starts_with(b"/") {
                return Err(StorageError::OutsideRoot);
            }
            // The kernel walks the link's `..` from where the link really is, since the path to it stands before.
            let (before, last) = split_link(&link);
            directory_path.push(b'/');
            directory_path.extend_from_slice(before);
            match last {
                // The link's end is no name: it means a directory, which is resolved whole.
                b"" | b"." | b".." => {
                    directory_path.push(b'/');
                    directory_path.extend_from_slice(last);
                    let directory = self.resolve_directory(&directory_path)?;
                    return Ok(Target { directory, name: b".".to_vec() });
                }
                last if is_reserved(last) => return Err(StorageError::InvalidName),
                last => name = last.to_vec(),
            }
        }
        Err(StorageError::SymlinkLoop)
    }
}

/// What stands before the last `/` of a link's text, and what after it.
fn split_link(link: &[u8]) -> (&[u8], &[u8]) {
    match link.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&link[..slash], &link[slash + 1..]),
        None => (b"", link),
    }
}
