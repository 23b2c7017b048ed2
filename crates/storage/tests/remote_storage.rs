//! Uploads to a file system that stores elsewhere, as NFS, sshfs and s3fs do: it takes every write, tells what it could not
//! store when it is asked to or when the file is closed, and knows neither links nor a rename that does not replace.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use storage::{Root, StorageError, SyncPolicy, UploadMode};
use tempfile::TempDir;

/// When the file system says that it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refuses {
    Nothing,
    Syncing,
    Closing,
}

/// What is stored: contents by node, and names.
struct Stored {
    names: BTreeMap<OsString, u64>,
    contents: BTreeMap<u64, Vec<u8>>,
    refuses: Refuses,
}

#[derive(Clone)]
struct Elsewhere(Arc<Mutex<Stored>>);

/// The mounted file system, unmounted when dropped.
struct Mounted {
    elsewhere: Elsewhere,
    session: Option<BackgroundSession>,
    mount_point: TempDir,
}

impl Elsewhere {
    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("no test panics with it")
    }

    fn attributes(&self, node: INodeNo) -> FileAttr {
        let is_root = node == INodeNo::ROOT;
        let size = self.stored().contents.get(&u64::from(node)).map_or(0, Vec::len) as u64;
        FileAttr {
            ino: node,
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_root { FileType::Directory } else { FileType::RegularFile },
            perm: if is_root { 0o777 } else { 0o666 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn answer(&self, refusal: Refuses, reply: ReplyEmpty) {
        if self.stored().refuses == refusal { reply.error(Errno::ENOSPC) } else { reply.ok() }
    }
}

impl Filesystem for Elsewhere {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let node = self.stored().names.get(name).copied();
        match node {
            Some(node) => reply.entry(&Duration::ZERO, &self.attributes(INodeNo(node)), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::ZERO, &self.attributes(node));
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<fuser::TimeOrNow>,
        _: Option<fuser::TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&Duration::ZERO, &self.attributes(node));
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let node = {
            let mut stored = self.stored();
            let node = stored.contents.keys().max().map_or(2, |last| last + 1);
            stored.contents.insert(node, Vec::new());
            stored.names.insert(name.to_owned(), node);
            node
        };
        let attributes = self.attributes(INodeNo(node));
        reply.created(&Duration::ZERO, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut stored = self.stored();
        let contents = stored.contents.entry(u64::from(node)).or_default();
        contents.truncate(usize::try_from(offset).expect("a small file"));
        contents.extend_from_slice(bytes);
        reply.written(u32::try_from(bytes.len()).expect("what one request carries"));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.answer(Refuses::Closing, reply);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.answer(Refuses::Syncing, reply);
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.stored().names.remove(name);
        reply.ok();
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let mut stored = self.stored();
        match stored.names.remove(name) {
            Some(node) => {
                stored.names.insert(new_name.to_owned(), node);
                reply.ok();
            }
            None => reply.error(Errno::ENOENT),
        }
    }
}

impl Mounted {
    /// With a file `old` in it. `None`, with a word about it, where this user may not mount.
    fn new() -> Option<Mounted> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("NOT AVAILABLE HERE: FUSE (it takes root)");
            return None;
        }
        assert!(Path::new("/dev/fuse").exists(), "the kernel's FUSE is needed: modprobe fuse");
        let stored = Stored {
            names: BTreeMap::from([("old".into(), 2)]),
            contents: BTreeMap::from([(2, b"what was there".to_vec())]),
            refuses: Refuses::Nothing,
        };
        let elsewhere = Elsewhere(Arc::new(Mutex::new(stored)));
        let mount_point = tempfile::tempdir().expect("a mount point");
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("elsewhere".to_owned()), MountOption::RW];
        let session = fuser::spawn_mount(elsewhere.clone(), mount_point.path(), &config).expect("mounted");
        Some(Mounted { elsewhere, session: Some(session), mount_point })
    }

    fn root(&self) -> Root {
        Root::open(self.mount_point.path()).expect("a root")
    }

    fn refuse(&self, refuses: Refuses) {
        self.elsewhere.stored().refuses = refuses;
    }

    /// Names and contents.
    fn files(&self) -> Vec<(String, String)> {
        let stored = self.elsewhere.stored();
        let contents = |node: &u64| String::from_utf8_lossy(&stored.contents[node]).into_owned();
        stored
            .names
            .iter()
            .map(|(name, node)| (name.to_string_lossy().into_owned(), contents(node)))
            .collect()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let give_up_at = Instant::now() + Duration::from_secs(30);
        let ended = loop {
            match nix::mount::umount(self.mount_point.path()) {
                Err(nix::errno::Errno::EBUSY) if Instant::now() < give_up_at => std::thread::yield_now(),
                outcome => break outcome,
            }
        };
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
        if let Some(session) = self.session.take() {
            session.join().expect("ended");
        }
    }
}

fn old() -> (String, String) {
    ("old".to_owned(), "what was there".to_owned())
}

#[test]
fn what_could_not_be_stored_gets_no_name_whatever_is_waited_for() {
    let Some(mounted) = Mounted::new() else { return };
    let root = mounted.root();
    for policy in [SyncPolicy::None, SyncPolicy::Data, SyncPolicy::Full] {
        for refuses in [Refuses::Syncing, Refuses::Closing] {
            for (path, mode) in [("/old", UploadMode::Replace), ("/new", UploadMode::New)] {
                let mut upload = root.open_upload(path.as_bytes(), mode).expect("an upload");
                upload.file().write_all(b"every write is taken").expect("written");
                mounted.refuse(refuses);
                assert_eq!(upload.sync(policy), Err(StorageError::Full), "{policy:?} {refuses:?} {mode:?}");
                mounted.refuse(Refuses::Nothing);
                drop(upload);
                assert_eq!(mounted.files(), [old()], "{policy:?} {refuses:?} {mode:?}");
            }
        }
    }
}

#[test]
fn a_new_name_is_taken_where_there_are_no_links() {
    let Some(mounted) = Mounted::new() else { return };
    let root = mounted.root();
    let store = |path: &str, mode| {
        let mut upload = root.open_upload(path.as_bytes(), mode)?;
        upload.file().write_all(b"new").expect("written");
        upload.sync(SyncPolicy::None)?;
        upload.publish()
    };
    assert_eq!(store("/new", UploadMode::New), Ok(()));
    assert_eq!(store("/old", UploadMode::New), Err(StorageError::Exists));
    assert_eq!(mounted.files(), [("new".to_owned(), "new".to_owned()), old()]);

    // The name comes while the bytes do.
    let mut upload = root.open_upload(b"/contested", UploadMode::New).expect("an upload");
    assert_eq!(store("/contested", UploadMode::Replace), Ok(()));
    upload.sync(SyncPolicy::None).expect("stored");
    assert_eq!(upload.publish(), Err(StorageError::Exists));
    let contested = ("contested".to_owned(), "new".to_owned());
    assert_eq!(mounted.files(), [contested, ("new".to_owned(), "new".to_owned()), old()]);
}
