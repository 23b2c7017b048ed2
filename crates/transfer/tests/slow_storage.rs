//! While a file system takes its time, its worker does not wait: other connections of it are answered.

mod support;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use runtime::blocking::PLACES;
use runtime::{Stream, Task, WorkerObserver, blocking, sleep_until, spawn};
use support::slow_file_system::{CACHED, SlowFileSystem, UNCACHED, WRITTEN, contents};
use support::{connected_pair, file_of, forget, on_each_backend, reader, routes, sample, writer};
use transfer::{CachePolicy, Progress, Route, TransferError, TransferOptions, download, upload};

/// Questions that are asked while the file system is silent.
const QUESTIONS: usize = 200;

/// Asks one thing after another, each after the answer to the one before.
fn ask(mut peer: TcpStream) -> usize {
    peer.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
    let mut answered = 0;
    while answered < QUESTIONS && peer.write_all(b"?").is_ok() && peer.read_exact(&mut [0]).is_ok() {
        answered += 1;
    }
    answered
}

/// Answers until the peer asks no more.
async fn answer(stream: Stream) {
    let mut question = [0];
    while matches!(stream.receive(&mut question).await, Ok(1)) {
        stream.send_all(b"!").await.expect("answered");
    }
    stream.close().await;
}

/// Has a connection of this worker answered while the file system holds something back, then opens the gate.
async fn others_are_answered(system: &Arc<SlowFileSystem>) {
    let asked = Arc::clone(system);
    blocking(move || asked.wait_until_asked()).await.expect("a job");
    let (stream, peer) = connected_pair().await;
    let questions = std::thread::spawn(move || ask(peer));
    answer(stream).await;
    assert_eq!(questions.join().expect("the peer"), QUESTIONS);
    system.open();
}

/// A download under way, with its file and with who reads it.
struct Sending {
    task: Task<(Result<u64, TransferError>, File, Progress)>,
    peer: JoinHandle<Vec<u8>>,
}

impl Sending {
    /// Begins to send the first `bytes` of a file.
    async fn begin(file: File, bytes: usize, options: TransferOptions) -> Sending {
        let (stream, peer) = connected_pair().await;
        let task = spawn(async move {
            let progress = Progress::new();
            let sent = download(&file, 0..bytes as u64, &stream, options, &progress).await;
            stream.close().await;
            (sent, file, progress)
        });
        Sending { task, peer: reader(peer) }
    }

    /// Waits for its end; all of it has come.
    async fn brings(self, expected: &[u8]) -> (File, Progress) {
        let (sent, file, progress) = self.task.await.expect("a task");
        assert_eq!(sent.expect("sent"), expected.len() as u64);
        assert!(self.peer.join().expect("the peer") == expected, "other bytes came");
        (file, progress)
    }
}

async fn opened(system: &Arc<SlowFileSystem>, name: &'static str) -> File {
    let path = system.path(name);
    let opening = blocking(move || OpenOptions::new().read(true).write(name == WRITTEN).open(path));
    opening.await.expect("a job").expect("opened")
}

/// To close is to ask the file system, too.
async fn closed(file: File) {
    blocking(move || drop(file)).await.expect("a job");
}

#[test]
fn a_slow_read_delays_nobody_else() {
    let Some(system) = SlowFileSystem::mount().map(Arc::new) else { return };
    on_each_backend(move || {
        let system = Arc::clone(&system);
        async move {
            for (name, options) in
                [CACHED, UNCACHED].into_iter().flat_map(|name| routes().map(|by| (name, by)))
            {
                let (file, whole) = (opened(&system, name).await, contents());
                system.shut();
                eprintln!("{name} by {}", options.route);
                let sending = Sending::begin(file, whole.len(), options).await;
                others_are_answered(&system).await;
                let (file, progress) = sending.brings(&whole).await;
                // The ring's own threads do not say whether they had to wait.
                let told = progress.cold_reads() > 0 || progress.route() == Some(Route::RingSplice);
                assert!(told, "{progress:?}");
                closed(file).await;
            }
        }
    });
}

/// What somebody reads already is in the page cache, and not there yet.
#[test]
fn a_second_reader_of_a_slow_file_delays_nobody_else() {
    let Some(system) = SlowFileSystem::mount().map(Arc::new) else { return };
    on_each_backend(move || {
        let system = Arc::clone(&system);
        async move {
            for (name, options) in
                [CACHED, UNCACHED].into_iter().flat_map(|name| routes().map(|by| (name, by)))
            {
                let files = [opened(&system, name).await, opened(&system, name).await];
                system.shut();
                eprintln!("{name} by {}", options.route);
                let mut sendings = Vec::new();
                for file in files {
                    sendings.push(Sending::begin(file, 1000, options.clone()).await);
                    let asked = Arc::clone(&system);
                    blocking(move || asked.wait_until_asked()).await.expect("a job");
                }
                others_are_answered(&system).await;
                for sending in sendings {
                    let (file, _) = sending.brings(&contents()[..1000]).await;
                    closed(file).await;
                }
            }
        }
    });
}

#[test]
fn a_slow_write_delays_nobody_else() {
    let Some(system) = SlowFileSystem::mount().map(Arc::new) else { return };
    on_each_backend(move || {
        let system = Arc::clone(&system);
        async move {
            let policies = [CachePolicy::Keep, CachePolicy::DropBehind, CachePolicy::Direct];
            let kinds = policies
                .into_iter()
                .flat_map(|cache_policy| routes().map(|by| TransferOptions { cache_policy, ..by }));
            for options in kinds {
                system.forget_what_was_written();
                let file = opened(&system, WRITTEN).await;
                let bytes = sample(400_000);
                let (stream, peer) = connected_pair().await;
                let peer = writer(peer, bytes.clone());
                system.shut();
                eprintln!("by {} with {:?}", options.route, options.cache_policy);
                let storing = spawn(async move {
                    let stored = upload(&stream, &file, 0, options, &Progress::new()).await;
                    stream.close().await;
                    (stored, file)
                });
                others_are_answered(&system).await;
                let (stored, file) = storing.await.expect("a task");
                assert_eq!(stored.expect("stored"), bytes.len() as u64);
                assert!(system.written() == bytes);
                drop(peer.join().expect("the peer"));
                closed(file).await;
            }
        }
    });
}

/// Each file system has threads of its own to wait on.
#[test]
fn a_silent_file_system_does_not_hold_up_a_disk() {
    let Some(system) = SlowFileSystem::mount().map(Arc::new) else { return };
    on_each_backend(move || {
        let system = Arc::clone(&system);
        async move {
            let begin = async |file, bytes| Sending::begin(file, bytes, TransferOptions::default()).await;
            // The worker knows then what it is.
            let sending = begin(opened(&system, UNCACHED).await, 1000).await;
            let (file, _) = sending.brings(&contents()[..1000]).await;
            closed(file).await;
            let mut files = Vec::new();
            for _ in 0..PLACES + 4 {
                files.push(opened(&system, UNCACHED).await);
            }
            system.shut_contents();
            let mut held = Vec::new();
            for file in files {
                held.push(begin(file, 1000).await);
            }
            let observer = WorkerObserver::of_this_worker().expect("a worker");
            while observer.figures().jobs_waiting < 4 {
                sleep_until(Instant::now() + Duration::from_millis(1)).await;
            }
            let bytes = sample(1 << 20);
            let file = file_of(&bytes);
            file.sync_all().expect("on the disk");
            forget(&file);
            let (_, progress) = begin(file, bytes.len()).await.brings(&bytes).await;
            assert!(progress.cold_reads() > 0, "{progress:?}");
            system.open();
            for sending in held {
                let (file, _) = sending.brings(&contents()[..1000]).await;
                closed(file).await;
            }
        }
    });
}

/// A worker that stops drops what is in the middle, and waits for nobody.
#[test]
fn a_worker_ends_amid_transfers_of_a_slow_file_system() {
    let Some(system) = SlowFileSystem::mount().map(Arc::new) else { return };
    on_each_backend(move || {
        let system = Arc::clone(&system);
        async move {
            let mut peers = Vec::new();
            for _ in 0..2 {
                let (file, (stream, mut peer)) = (opened(&system, WRITTEN).await, connected_pair().await);
                let progress = Rc::new(Progress::new());
                let seen = Rc::clone(&progress);
                spawn(async move {
                    upload(&stream, &file, 0, TransferOptions::default(), &seen).await.expect("never whole")
                });
                peer.write_all(&sample(100_000)).expect("sent");
                peers.push(peer);
                while progress.bytes() < 100_000 {
                    sleep_until(Instant::now() + Duration::from_millis(1)).await;
                }
            }
        }
    });
}

/// What the page cache held when the peer stopped reading may be gone when it reads on.
#[test]
fn what_was_forgotten_while_the_peer_stalled_is_fetched_again() {
    on_each_backend(|| async {
        // One window, and far more than this peer's end of the connection holds.
        let whole = sample(4 << 20);
        let file = file_of(&whole);
        file.sync_all().expect("on the disk");
        let sent_from = file.try_clone().expect("a second descriptor");
        let (stream, peer) = connected_pair().await;
        setsockopt(&stream.source(), sockopt::SndBuf, &(64 << 10)).expect("an option");
        let progress = Rc::new(Progress::new());
        let seen = Rc::clone(&progress);
        let sending = spawn(async move {
            let range = 0..4 << 20;
            let sent = download(&sent_from, range, &stream, TransferOptions::default(), &seen).await;
            stream.close().await;
            sent
        });
        while progress.bytes() == 0 || progress.last_moved().elapsed() < Duration::from_millis(100) {
            sleep_until(Instant::now() + Duration::from_millis(10)).await;
        }
        assert_eq!(progress.cold_reads(), 0, "it was just written");
        assert!(progress.bytes() < 4 << 20, "the peer does not read");
        forget(&file);
        let received = reader(peer);
        assert_eq!(sending.await.expect("a task").expect("sent"), 4 << 20);
        assert!(received.join().expect("the peer") == whole);
        assert!(progress.cold_reads() > 0, "{progress:?}");
    });
}

/// To note when a file was read is a write, which waits where the file system's journal is full.
#[test]
fn the_first_read_of_a_file_is_noted_elsewhere() {
    on_each_backend(|| async {
        let bytes = sample(1000);
        let file = file_of(&bytes);
        let mounted = nix::sys::statfs::fstatfs(&file).expect("mounted");
        let silent = nix::sys::statvfs::FsFlags::ST_NOATIME | nix::sys::statvfs::FsFlags::ST_RDONLY;
        let is_in_memory = mounted.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC;
        let notes_reads = !mounted.flags().intersects(silent) && !is_in_memory;
        let observer = WorkerObserver::of_this_worker().expect("a worker");
        let jobs_of = async |first_read_is_noted| {
            let before = observer.figures().jobs;
            let options = TransferOptions { first_read_is_noted, ..TransferOptions::default() };
            let file = file.try_clone().expect("a second descriptor");
            Sending::begin(file, bytes.len(), options).await.brings(&bytes).await;
            observer.figures().jobs - before
        };
        // What the worker asks once for each mount is asked by then.
        jobs_of(true).await;
        assert_eq!((jobs_of(true).await, jobs_of(false).await), (u64::from(notes_reads), 0));
    });
}
