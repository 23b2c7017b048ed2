//! What a file lies on, and whether the kernel alone answers for it.

use std::io;
use std::os::fd::AsFd;
use std::sync::{PoisonError, RwLock, TryLockError};

use nix::sys::statfs::{FsType, fstatfs};
use rustix::fs::{AtFlags, StatxFlags, statx};

/// What a file lies on, as far as it matters to a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystemKind {
    /// On a disk of this machine, or on anything else that is not listed here: the page cache tells what it holds.
    Disk,
    /// In memory: tmpfs, ramfs.
    Memory,
    /// Upon another file system, whose page cache it uses: overlayfs, which containers run on.
    Stacked,
    /// In a process of this machine: FUSE. Even for what the page cache holds, the process may be asked first; what is written
    /// goes to it at once.
    UserSpace,
    /// On another machine, or shared with others: NFS, SMB, 9P, Ceph, GFS2. Even for what the page cache holds, the other machine may be asked first.
    Network,
}

impl FileSystemKind {
    /// All of them.
    pub const ALL: [FileSystemKind; 5] = [
        FileSystemKind::Disk,
        FileSystemKind::Memory,
        FileSystemKind::Stacked,
        FileSystemKind::UserSpace,
        FileSystemKind::Network,
    ];

    /// What an open file or directory lies on. It may have to wait, for some are asked what they are.
    ///
    /// # Errors
    /// Whatever fstatfs(2) says.
    pub fn of(descriptor: impl AsFd) -> io::Result<Self> {
        Ok(Self::of_type(fstatfs(descriptor)?.filesystem_type()))
    }

    /// The kind that a file system of this type is of.
    #[must_use]
    pub fn of_type(FsType(magic): FsType) -> Self {
        // The kernel's field is signed or not and of one width or another, as the architecture has it.
        let magic = i128::from(magic) & 0xffff_ffff;
        let known = MAGICS.iter().find(|(known, _)| i128::from(*known) == magic);
        known.map_or(FileSystemKind::Disk, |(_, kind)| *kind)
    }

    /// Whether a read that must not wait (`RWF_NOWAIT`) is likely to be understood.
    #[must_use]
    pub fn answers_at_once(self) -> bool {
        self == FileSystemKind::Disk
    }

    /// Whether opening, writing, closing and unasked-for reads always have to wait for somebody.
    #[must_use]
    pub fn always_waits(self) -> bool {
        matches!(self, FileSystemKind::UserSpace | FileSystemKind::Network)
    }
}

/// Of the kernel's magic.h and of the file systems' own headers.
const MAGICS: [(u32, FileSystemKind); 20] = [
    (0x0102_1994, FileSystemKind::Memory),    // tmpfs
    (0x8584_58f6, FileSystemKind::Memory),    // ramfs
    (0x794c_7630, FileSystemKind::Stacked),   // overlayfs
    (0x0000_f15f, FileSystemKind::Stacked),   // eCryptfs
    (0x6573_5546, FileSystemKind::UserSpace), // FUSE
    (0x0000_6969, FileSystemKind::Network),   // NFS
    (0x0000_517b, FileSystemKind::Network),   // SMB
    (0xff53_4d42, FileSystemKind::Network),   // CIFS
    (0xfe53_4d42, FileSystemKind::Network),   // SMB2
    (0x0102_1997, FileSystemKind::Network),   // 9P
    (0x00c3_6400, FileSystemKind::Network),   // Ceph
    (0x5346_414f, FileSystemKind::Network),   // AFS
    (0x0bd0_0bd0, FileSystemKind::Network),   // Lustre
    (0x4750_4653, FileSystemKind::Network),   // GPFS
    (0x1983_0326, FileSystemKind::Network),   // BeeGFS
    (0x2003_0528, FileSystemKind::Network),   // OrangeFS
    (0x7375_7245, FileSystemKind::Network),   // Coda
    (0x786f_4256, FileSystemKind::Network),   // vboxsf, folders of a virtual machine's host
    // On a disk that several machines share, which lock each page of it among them.
    (0x0116_1970, FileSystemKind::Network), // GFS2
    (0x7461_636f, FileSystemKind::Network), // OCFS2
];

/// `STATX_MNT_ID_UNIQUE`, Linux 6.8, which rustix does not name.
const MOUNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Which mounted file system a file is on.
#[derive(Debug, Clone, Copy)]
pub struct MountId {
    device: (u32, u32),
    mount: u64,
    is_unique: bool,
}

/// A mount whose number no other has is one, however many devices it shows: btrfs has one for each subvolume.
impl PartialEq for MountId {
    fn eq(&self, other: &Self) -> bool {
        let is_same = self.mount == other.mount && self.is_unique == other.is_unique;
        is_same && (self.is_unique || self.device == other.device)
    }
}

impl Eq for MountId {}

impl MountId {
    /// The mount of an open file or directory, without asking a server or a daemon; but the 9P client asks its server all the same.
    ///
    /// # Errors
    /// Whatever statx(2) says.
    pub fn of(descriptor: impl AsFd) -> io::Result<Self> {
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let known = statx(descriptor, c"", flags, MOUNT_ID_UNIQUE)?;
        let device = (known.stx_dev_major, known.stx_dev_minor);
        let is_unique = known.stx_mask & MOUNT_ID_UNIQUE.bits() != 0;
        Ok(Self { device, mount: known.stx_mnt_id, is_unique })
    }

    /// Its number, which no other mount has while anything on it is open.
    pub(crate) fn number(self) -> u64 {
        self.mount
    }

    /// Whether no other mount has it, or ever will: kernels before 6.8 give a number and a device again once a mount is gone.
    #[must_use]
    pub fn is_unique(self) -> bool {
        self.is_unique
    }
}

/// Mounts that are remembered at most; of more, the oldest is asked again.
const MOUNTS_MAX: usize = 64;

/// The kinds of the mounts beneath a root, as far as they were asked and are not to be confused with others.
#[derive(Debug, Default)]
pub(crate) struct Mounts(RwLock<Vec<(MountId, FileSystemKind)>>);

impl Mounts {
    /// The kind of the mount that an open file is on, which is asked once. Blocks.
    pub(crate) fn kind_of(&self, descriptor: impl AsFd) -> io::Result<FileSystemKind> {
        let mount = MountId::of(&descriptor)?;
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = find(&known, mount) {
            return Ok(kind);
        }
        drop(known);
        let kind = FileSystemKind::of(descriptor)?;
        if mount.is_unique {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() == MOUNTS_MAX {
                known.remove(0);
            }
            known.push((mount, kind));
        }
        Ok(kind)
    }

    /// The same from memory; `None` where it was not asked yet, is being asked, or is not kept.
    pub(crate) fn remembered(&self, mount: MountId) -> Option<FileSystemKind> {
        match self.0.try_read() {
            Ok(known) => find(&known, mount),
            Err(TryLockError::Poisoned(known)) => find(known.get_ref(), mount),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether mounts other than the root's own were asked.
    pub(crate) fn know_another(&self) -> bool {
        self.0.try_read().is_ok_and(|known| known.len() > 1)
    }
}

fn find(known: &[(MountId, FileSystemKind)], mount: MountId) -> Option<FileSystemKind> {
    known.iter().find(|(id, _)| *id == mount).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn types_are_told_apart() {
        let kind = |path: &str| FileSystemKind::of(File::open(path).unwrap()).unwrap();
        assert_eq!(kind("/proc"), FileSystemKind::Disk);
        assert_eq!(kind("/dev/shm"), FileSystemKind::Memory);
    }

    #[test]
    fn a_mount_is_remembered_once_it_was_asked() {
        let (mounts, memory) = (Mounts::default(), File::open("/dev/shm").unwrap());
        let mount = MountId::of(&memory).unwrap();
        assert_ne!(mount, MountId::of(File::open("/proc").unwrap()).unwrap());
        assert_eq!(mounts.remembered(mount), None);
        for _ in 0..2 {
            assert_eq!(mounts.kind_of(&memory).unwrap(), FileSystemKind::Memory);
            assert_eq!(mounts.remembered(mount), Some(FileSystemKind::Memory));
        }
    }

    #[test]
    fn a_mount_is_one_whatever_devices_it_shows() {
        let mount = |device, mount, is_unique| MountId { device: (0, device), mount, is_unique };
        assert_eq!(mount(1, 7, true), mount(2, 7, true));
        assert_ne!(mount(1, 7, true), mount(1, 8, true));
        assert_ne!(mount(1, 7, false), mount(2, 7, false), "another may have the number by now");
        assert_ne!(mount(1, 7, true), mount(1, 7, false));
    }

    #[test]
    fn mounts_that_are_remembered_are_bounded() {
        let mounts = Mounts::default();
        let numbered =
            |number| (MountId { device: (0, 0), mount: number, is_unique: true }, FileSystemKind::Disk);
        *mounts.0.write().unwrap() = (0..).take(MOUNTS_MAX).map(numbered).collect();
        mounts.kind_of(File::open("/dev/shm").unwrap()).unwrap();
        assert_eq!(mounts.0.read().unwrap().len(), MOUNTS_MAX);
        assert_eq!(mounts.remembered(numbered(0).0), None);
        assert_eq!(mounts.remembered(numbered(1).0), Some(FileSystemKind::Disk));
    }
}
