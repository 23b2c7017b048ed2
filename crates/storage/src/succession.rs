//! What a file that replaces another takes over from it: to whom it belongs, and who may do what with it.
//!
//! Whoever writes into the old file in place keeps all that without knowing; a new file that is renamed over it does not.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};
use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, fremovexattr, fsetxattr, getxattr};
use rustix::io::Errno as XattrErrno;

use crate::target::Target;
use crate::{Facts, StorageError};

/// Where the kernel shows a file's access list (acl(5)) beyond its permission bits.
const ACCESS_LIST: &str = "system.posix_acl_access";

/// No attribute of a file is longer, in bytes (`XATTR_SIZE_MAX`).
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// A file that is about to be replaced.
#[derive(Debug)]
pub(crate) struct Predecessor {
    facts: Facts,
    access_list: Result<Option<Vec<u8>>, XattrErrno>,
}

impl Predecessor {
    /// The file that has the name of `target`, or nothing where it is free.
    ///
    /// # Errors
    /// [`StorageError::IsADirectory`] and [`StorageError::NotRegular`] for what is no file, or what the file system gives.
    pub(crate) fn find(target: &Target) -> Result<Option<Self>, StorageError> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = match openat(&target.directory, target.name.as_slice(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            found => found?,
        };
        let facts = Facts::from(&fstat(&found)?);
        facts.require_file()?;
        Ok(Some(Self { facts, access_list: access_list(&found) }))
    }

    /// Passes on group, access list, permission bits and owner, as far as this process may.
    ///
    /// Where the group or the list cannot be passed on, the bits of the group would be rights of somebody else; then it gets no more
    /// than everybody has.
    ///
    /// # Errors
    /// What the file system gives when the bits are set.
    pub(crate) fn bequeath(&self, successor: impl AsFd) -> Result<(), StorageError> {
        let own = Facts::from(&fstat(&successor)?);
        let group = Gid::from_raw(self.facts.group);
        let same_group = self.facts.group == own.group || fchown(&successor, None, Some(group)).is_ok();
        let same_list = self.pass_access_list_on(&successor).is_ok();
        let mut mode = Mode::from_bits_truncate(self.facts.mode & 0o777);
        if !(same_group && same_list) {
            let everybody = mode & Mode::S_IRWXO;
            mode &= !Mode::S_IRWXG | Mode::from_bits_truncate(everybody.bits() << 3);
        }
        set_mode(&successor, mode)?;
        if self.facts.owner != own.owner {
            // Last, since only the owner may change the rest. Nobody but root may give a file away.
            let _ = fchown(&successor, Some(Uid::from_raw(self.facts.owner)), None);
        }
        Ok(())
    }

    fn pass_access_list_on(&self, successor: impl AsFd) -> Result<(), XattrErrno> {
        match &self.access_list {
            Ok(Some(list)) => fsetxattr(successor, ACCESS_LIST, list, XattrFlags::empty()),
            // What the directory gives to new files by default is not for this one.
            Ok(None) => match fremovexattr(successor, ACCESS_LIST) {
                Err(XattrErrno::NODATA | XattrErrno::OPNOTSUPP) => Ok(()),
                result => result,
            },
            Err(errno) => Err(*errno),
        }
    }
}

/// The access list of an open file, in the kernel's own form; nothing where the permission bits say it all.
fn access_list(file: &OwnedFd) -> Result<Option<Vec<u8>>, XattrErrno> {
    let mut list = Vec::with_capacity(ATTRIBUTE_BYTES_MAX);
    // By its magic link, for an attribute cannot be read by a descriptor that only stands for the name.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match getxattr(path, ACCESS_LIST, spare_capacity(&mut list)) {
        Ok(_) => Ok(Some(list)),
        Err(XattrErrno::NODATA | XattrErrno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Sets permission bits; a file system without such bits refuses, which is no harm.
pub(crate) fn set_mode(file: impl AsFd, mode: Mode) -> Result<(), StorageError> {
    match fchmod(file, mode) {
        Ok(()) | Err(Errno::EPERM | Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown};

    use nix::unistd::geteuid;
    use rustix::fs::setxattr;

    use super::*;
    use crate::UploadMode;
    use crate::testing::{Scratch, as_plain_user};

    /// One entry of an access list, in the kernel's form.
    fn entry(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
        [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
    }

    /// `user::rw-, user:1234:rw-, group::---, mask::rw-, other::---`.
    fn list_for_a_user() -> Vec<u8> {
        let nobody = u32::MAX;
        [
            2_u32.to_le_bytes().to_vec(),
            entry(0x01, 6, nobody),
            entry(0x02, 6, 1234),
            entry(0x04, 0, nobody),
            entry(0x10, 6, nobody),
            entry(0x20, 0, nobody),
        ]
        .concat()
    }

    fn give_list(scratch: &Scratch, name: &str, attribute: &str) {
        setxattr(scratch.at(name), attribute, &list_for_a_user(), XattrFlags::empty()).unwrap();
    }

    fn list_of(scratch: &Scratch, name: &str) -> Option<Vec<u8>> {
        access_list(&OwnedFd::from(fs::File::open(scratch.at(name)).unwrap())).unwrap()
    }

    fn replace(scratch: &Scratch) {
        scratch.root.open_upload(b"/f", UploadMode::Replace).unwrap().publish().unwrap();
    }

    #[test]
    fn an_access_list_is_passed_on() {
        for scratch in Scratch::of_every_kind() {
            scratch.file("f", "old");
            give_list(&scratch, "f", ACCESS_LIST);
            replace(&scratch);
            assert_eq!(scratch.contents("f"), b"");
            assert_eq!(list_of(&scratch, "f"), Some(list_for_a_user()));
            assert_eq!(scratch.mode("f"), 0o660);
        }
    }

    #[test]
    fn who_may_use_new_files_by_default_may_not_use_the_successor_of_an_old_one() {
        for scratch in Scratch::of_every_kind() {
            scratch.file("f", "old");
            scratch.permit("f", 0o640);
            give_list(&scratch, ".", "system.posix_acl_default");
            scratch.file("new", "");
            assert!(list_of(&scratch, "new").is_some(), "the default does nothing here");
            replace(&scratch);
            assert_eq!(list_of(&scratch, "f"), None);
            assert_eq!(scratch.mode("f"), 0o640);
        }
    }

    #[test]
    fn root_passes_owner_and_group_on() {
        for scratch in Scratch::of_every_kind() {
            scratch.file("f", "old");
            scratch.permit("f", 0o640);
            // Who is not root owns what is made here, and passes on no less.
            if geteuid().is_root() {
                chown(scratch.at("f"), Some(1234), Some(4321)).unwrap();
            }
            let before = fs::metadata(scratch.at("f")).unwrap();
            replace(&scratch);
            let after = fs::metadata(scratch.at("f")).unwrap();
            assert_ne!(after.ino(), before.ino());
            assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
            assert_eq!(scratch.mode("f"), 0o640);
        }
    }

    #[test]
    fn a_group_that_cannot_be_passed_on_leaves_no_rights_to_another() {
        let name = "succession::tests::a_group_that_cannot_be_passed_on_leaves_no_rights_to_another";
        as_plain_user(name, |scratch: &Scratch| {
            for (before, after) in [(0o664, 0o644), (0o660, 0o600), (0o646, 0o646)] {
                scratch.file("f", "");
                let own = scratch.root.facts(b"/f").unwrap();
                let facts = Facts { group: own.group - 1, owner: 0, mode: before, ..own };
                let predecessor = Predecessor { facts, access_list: Ok(None) };
                predecessor.bequeath(fs::File::open(scratch.at("f")).unwrap()).unwrap();
                assert_eq!(scratch.mode("f"), after);
                assert_eq!(scratch.root.facts(b"/f").unwrap().group, own.group);
            }
        });
    }
}
