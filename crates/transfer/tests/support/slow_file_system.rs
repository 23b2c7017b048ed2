//! A file system in this process whose answers can be held back for as long as a test likes.
#![allow(dead_code)] // Each test file uses its part.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, WriteFlags,
};
use nix::mount::umount;
use tempfile::TempDir;

/// How long answers are held back at most: a test that has come to a stand fails then, instead of standing there.
const HELD_MAX: Duration = Duration::from_secs(30);
/// What was said of a file's attributes is not remembered by the kernel.
const ASKED_EACH_TIME: Duration = Duration::ZERO;
/// Which names there are, the kernel remembers for as long as a test may take, and with them the attributes until
/// they are forgotten.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Bytes of each file that can be read.
pub(crate) const FILE_BYTES: usize = 700_001;
/// A file that the page cache keeps while it is open.
pub(crate) const CACHED: &str = "cached";
/// A file that passes the page cache by.
pub(crate) const UNCACHED: &str = "uncached";
/// A file to be written, empty at first.
pub(crate) const WRITTEN: &str = "written";

/// The mounted file system; unmounted when dropped.
pub(crate) struct SlowFileSystem {
    gate: Arc<Gate>,
    written: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
    session: Option<BackgroundSession>,
    mount_point: TempDir,
}

/// What holds answers back.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

/// What is asked of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    /// To read or to write.
    Contents,
    /// To open, or to tell something about a file.
    Attributes,
    /// To close, which the kernel calls a flush.
    Closing,
    /// To bring all to the disk.
    Syncing,
}

#[derive(Default)]
struct GateState {
    /// What the gate is shut for.
    shut: &'static [Request],
    held: usize,
    gave_up: bool,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the gate is open.
    fn pass(&self, request: Request) {
        let mut state = self.lock();
        if !state.shut.contains(&request) {
            return;
        }
        state.held += 1;
        self.changed.notify_all();
        let is_shut = |state: &mut GateState| state.shut.contains(&request);
        let waited = self.changed.wait_timeout_while(state, HELD_MAX, is_shut);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.held -= 1;
        if timeout.timed_out() {
            state.gave_up = true;
            state.shut = &[];
            self.changed.notify_all();
        }
    }
}

impl SlowFileSystem {
    /// Mounts one; `None`, with a word about it, where this user may not.
    ///
    /// # Panics
    ///
    /// If root cannot mount.
    pub(crate) fn mount() -> Option<SlowFileSystem> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("NOT AVAILABLE HERE: FUSE (it takes root)");
            return None;
        }
        assert!(Path::new("/dev/fuse").exists(), "the kernel's FUSE is needed: modprobe fuse");
        let mount_point = tempfile::tempdir().expect("a mount point");
        let gate = Arc::<Gate>::default();
        let written = Arc::default();
        let files = Files { gate: Arc::clone(&gate), written: Arc::clone(&written) };
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("slow".to_owned()), MountOption::RW];
        let session = fuser::spawn_mount(files, mount_point.path(), &config).expect("mounted");
        Some(SlowFileSystem { gate, written, session: Some(session), mount_point })
    }

    pub(crate) fn root(&self) -> &Path {
        self.mount_point.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// From now on answers are held back, and attributes are asked for.
    pub(crate) fn shut(&self) {
        self.forget_attributes();
        self.shut_for(&[Request::Contents, Request::Attributes, Request::Closing]);
    }

    /// From now on the answers to reads and writes are held back, and no others.
    pub(crate) fn shut_contents(&self) {
        self.shut_for(&[Request::Contents]);
    }

    /// From now on files take their time to be closed, and nothing else does.
    pub(crate) fn shut_closing(&self) {
        self.shut_for(&[Request::Closing]);
    }

    /// From now on files take their time to be on the disk, and nothing else does.
    pub(crate) fn shut_syncing(&self) {
        self.shut_for(&[Request::Syncing]);
    }

    /// Unmounts it once nothing of it is open: a worker's threads outlive it by the job that they do, and a file that is closed by
    /// one of them is in use until that has been answered.
    fn unmount(&self) -> nix::Result<()> {
        let give_up_at = Instant::now() + HELD_MAX;
        loop {
            match umount(self.root()) {
                Err(nix::errno::Errno::EBUSY) if Instant::now() < give_up_at => {
                    thread::sleep(Duration::from_millis(5));
                }
                outcome => return outcome,
            }
        }
    }

    fn shut_for(&self, requests: &'static [Request]) {
        self.gate.lock().shut = requests;
    }

    /// Lets the kernel forget what it was told of the files, but not which names there are.
    fn forget_attributes(&self) {
        let Some(session) = &self.session else { return };
        for node in Files::NODES {
            // A file that the kernel knows nothing of needs not to be forgotten.
            let _ = session.notifier().inval_inode(node, -1, 0);
        }
    }

    /// Waits until some answer is held back.
    pub(crate) fn wait_until_asked(&self) {
        self.wait_until_asked_for(1);
    }

    /// Waits until so many answers are held back.
    pub(crate) fn wait_until_asked_for(&self, answers: usize) {
        let are_fewer = |state: &mut GateState| state.held < answers;
        let waited = self.gate.changed.wait_timeout_while(self.gate.lock(), HELD_MAX, are_fewer);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "the file system was asked {} times, and not {answers}", state.held);
    }

    /// Gives the answers, after making sure that they were held back all the time.
    pub(crate) fn open(&self) {
        let mut state = self.gate.lock();
        assert!(!state.gave_up, "whoever was to open the gate waited for what is behind it");
        assert!(state.held > 0, "somebody waits");
        state.shut = &[];
        self.gate.changed.notify_all();
    }

    /// What was written.
    pub(crate) fn written(&self) -> Vec<u8> {
        let pieces = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.values().flatten().copied().collect()
    }

    pub(crate) fn forget_what_was_written(&self) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for SlowFileSystem {
    fn drop(&mut self) {
        self.gate.lock().shut = &[];
        self.gate.changed.notify_all();
        let ended = self.unmount().map_err(io::Error::from).and_then(|()| match self.session.take() {
            Some(session) => session.join(),
            None => Ok(()),
        });
        assert!(ended.is_ok() || thread::panicking(), "{ended:?}");
    }
}

/// A byte of the files that can be read.
fn byte_at(offset: u64) -> u8 {
    let mixed = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed.to_be_bytes()[0]
}

/// What the files that can be read hold.
pub(crate) fn contents() -> Vec<u8> {
    (0..FILE_BYTES as u64).map(byte_at).collect()
}

struct Files {
    gate: Arc<Gate>,
    written: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
}

impl Files {
    const NAMES: [&str; 3] = [CACHED, UNCACHED, WRITTEN];
    const NODES: [INodeNo; 3] = [INodeNo(2), INodeNo(3), INodeNo(4)];

    fn attributes(&self, node: INodeNo) -> FileAttr {
        let is_root = node == INodeNo::ROOT;
        let is_written = u64::from(node) == 4;
        let written_bytes = || {
            let pieces = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            pieces.iter().map(|(at, piece)| at + piece.len() as u64).max().unwrap_or(0)
        };
        let size = if is_root {
            0
        } else if is_written {
            written_bytes()
        } else {
            FILE_BYTES as u64
        };
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

    /// Answers on a thread of its own, once the gate is open for it.
    fn later(&self, request: Request, answer: impl FnOnce() + Send + 'static) {
        let gate = Arc::clone(&self.gate);
        thread::spawn(move || {
            gate.pass(request);
            answer();
        });
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &fuser::Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match Files::NAMES.iter().position(|known| name == *known) {
            Some(at) => {
                let attributes = self.attributes(Files::NODES[at]);
                reply.entry(&REMEMBERED, &attributes, Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &fuser::Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let attributes = self.attributes(node);
        // The way to a file is open: only what is asked of the file itself is held back.
        if node == INodeNo::ROOT {
            return reply.attr(&ASKED_EACH_TIME, &attributes);
        }
        self.later(Request::Attributes, move || reply.attr(&ASKED_EACH_TIME, &attributes));
    }

    fn statfs(&self, _: &fuser::Request, _: INodeNo, reply: ReplyStatfs) {
        self.later(Request::Attributes, move || reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096));
    }

    fn open(&self, _: &fuser::Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let flags = match u64::from(node) {
            3 => FopenFlags::FOPEN_DIRECT_IO,
            _ => FopenFlags::empty(),
        };
        self.later(Request::Attributes, move || reply.opened(FileHandle(0), flags));
    }

    fn flush(&self, _: &fuser::Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.later(Request::Closing, move || reply.ok());
    }

    fn fsync(&self, _: &fuser::Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.later(Request::Syncing, move || reply.ok());
    }

    fn read(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let end = (FILE_BYTES as u64).min(offset + u64::from(size));
        let bytes: Vec<u8> = (offset..end).map(byte_at).collect();
        self.later(Request::Contents, move || reply.data(&bytes));
    }

    fn write(
        &self,
        _: &fuser::Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(offset, bytes.to_vec());
        let count = u32::try_from(bytes.len()).expect("what one request carries");
        self.later(Request::Contents, move || reply.written(count));
    }
}
