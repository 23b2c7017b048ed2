//! The table of faults of the crate's documentation, row by row.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::support::{
    connected_pair, contents, empty_file, file_of, forget, on_each_backend, reader, sample, writer,
};
use crate::kernel::injection::Call::{
    Bring, Cachestat, Duplicate, Mincore, MountOf, Mounted, Pipe, PipeCapacity, Read, ReadCached, ReadPipe,
    Receive, RingSplice, Send, Sendfile, SetDirect, SpliceFromFile, SpliceFromSocket, SpliceToFile,
    SpliceToSocket, Write, WriteBack,
};
use crate::kernel::injection::Fault::{Fails, GoesWell, StopsAfter};
use crate::kernel::injection::{Call, Fault, Script};
use crate::{CachePolicy, Progress, TransferError, TransferOptions, download, upload};

/// How a transfer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With every byte where it belongs.
    Whole,
    PeerReset,
    Network(Errno),
    StorageFull,
    QuotaExceeded,
    FileTooLarge,
    Storage(Errno),
    Resources(Errno),
    SourceShrank,
}

impl End {
    fn of(outcome: &Result<u64, TransferError>) -> End {
        match outcome {
            Ok(_) => End::Whole,
            Err(TransferError::PeerReset) => End::PeerReset,
            Err(TransferError::Network(errno)) => End::Network(*errno),
            Err(TransferError::StorageFull) => End::StorageFull,
            Err(TransferError::QuotaExceeded) => End::QuotaExceeded,
            Err(TransferError::FileTooLarge) => End::FileTooLarge,
            Err(TransferError::Storage(errno)) => End::Storage(*errno),
            Err(TransferError::Resources(errno)) => End::Resources(*errno),
            Err(TransferError::SourceShrank { .. }) => End::SourceShrank,
            Err(other) => panic!("no row ends with {other:?}"),
        }
    }
}

/// One row: by this route, with this happening, a transfer ends so.
struct Row {
    route: &'static str,
    /// Whether the file of a download has to come from the disk.
    cold: bool,
    bytes: usize,
    policy: CachePolicy,
    faults: Vec<(Call, Fault)>,
    end: End,
}

fn row(route: &'static str, faults: &[(Call, Fault)], end: End) -> Row {
    Row { route, cold: false, bytes: 300_001, policy: CachePolicy::Keep, faults: faults.to_vec(), end }
}

fn cold(row: Row) -> Row {
    Row { cold: true, ..row }
}

fn small(row: Row) -> Row {
    Row { bytes: 1024, ..row }
}

/// So few bytes that all of them come, and their end with them, however little is received. A row may have the socket say that there
/// is nothing, and then nobody else would tell of what there is: but that a connection has ended is not forgotten.
fn with_its_end(row: Row) -> Row {
    Row { bytes: 30_001, ..row }
}

fn with(policy: CachePolicy, row: Row) -> Row {
    Row { policy, ..row }
}

/// What every call has to survive: a signal, "not now", and moving less than was asked for.
fn harmless(call: Call) -> [(Call, Fault); 4] {
    [
        (call, Fails(Errno::EINTR)),
        (call, StopsAfter(1)),
        (call, Fails(Errno::EINTR)),
        (call, StopsAfter(4097)),
    ]
}

const AGAIN: Fault = Fails(Errno::EAGAIN);
const NOT_OFFERED: Fault = Fails(Errno::EINVAL);
const DISK_FAILS: Fault = Fails(Errno::EIO);

fn downloads() -> Vec<Row> {
    use End::{Network, PeerReset, Resources, SourceShrank, Storage, Whole};
    let no_cachestat = (Cachestat, Fails(Errno::ENOSYS));
    vec![
        row("sendfile", &harmless(Sendfile), Whole),
        row("sendfile", &[(Sendfile, AGAIN)], Whole),
        row("sendfile", &[(Sendfile, StopsAfter(1000)), (Sendfile, NOT_OFFERED)], Whole),
        row("sendfile", &[(Sendfile, StopsAfter(0))], SourceShrank),
        row("sendfile", &[(Sendfile, StopsAfter(1000)), (Sendfile, DISK_FAILS)], Storage(Errno::EIO)),
        row("sendfile", &[(Sendfile, Fails(Errno::ECONNRESET))], PeerReset),
        row("sendfile", &[(Sendfile, Fails(Errno::EPIPE))], PeerReset),
        row("sendfile", &[(Sendfile, Fails(Errno::ETIMEDOUT))], Network(Errno::ETIMEDOUT)),
        row("sendfile", &[(Sendfile, Fails(Errno::ENOMEM))], Resources(Errno::ENOMEM)),
        row("sendfile", &[no_cachestat], Whole),
        row("sendfile", &[no_cachestat, (Mincore, Fails(Errno::EPERM))], Whole),
        cold(row("sendfile", &harmless(Bring), Whole)),
        cold(row("sendfile", &[(Bring, DISK_FAILS)], Storage(Errno::EIO))),
        cold(row("sendfile", &[(Bring, NOT_OFFERED), (Read, Fails(Errno::EINTR))], Whole)),
        cold(row("sendfile", &[(Bring, StopsAfter(0))], SourceShrank)),
        cold(row("sendfile", &[(Duplicate, Fails(Errno::EMFILE))], Whole)),
        row("auto", &[(MountOf, Fails(Errno::ENOSYS))], Whole),
        row("auto", &[(MountOf, Fails(Errno::EPERM)), (Sendfile, GoesWell)], Whole),
        small(row("auto", &[(ReadCached, Fails(Errno::EINTR))], Whole)),
        small(row("auto", &[(ReadCached, AGAIN), (ReadCached, AGAIN), (Read, GoesWell)], Whole)),
        small(row("auto", &[(ReadCached, StopsAfter(100)), (Send, StopsAfter(10)), (Send, AGAIN)], Whole)),
        small(row("auto", &[(ReadCached, DISK_FAILS)], Whole)),
        small(row("auto", &[(Send, Fails(Errno::ECONNRESET))], PeerReset)),
        row("copy", &harmless(Send), Whole),
        row("copy", &[(Send, AGAIN)], Whole),
        row("copy", &[(Send, Fails(Errno::EPIPE))], PeerReset),
        row("copy", &[(Send, Fails(Errno::ENOBUFS))], Resources(Errno::ENOBUFS)),
        row("copy", &[(ReadCached, StopsAfter(1)), (ReadCached, AGAIN), (Read, StopsAfter(2))], Whole),
        row("copy", &[(ReadCached, Fails(Errno::EOPNOTSUPP)), (Read, StopsAfter(7))], Whole),
        cold(row("copy", &[(Read, Fails(Errno::EINTR)), (Read, StopsAfter(1))], Whole)),
        cold(row("copy", &[(Read, DISK_FAILS)], Storage(Errno::EIO))),
        cold(row("copy", &[(Read, StopsAfter(0))], SourceShrank)),
        row("splice", &harmless(SpliceFromFile), Whole),
        row("splice", &harmless(SpliceToSocket), Whole),
        row("splice", &[(SpliceToSocket, AGAIN), (SpliceToSocket, AGAIN)], Whole),
        row("splice", &[(SpliceFromFile, StopsAfter(10)), (SpliceFromFile, NOT_OFFERED)], Whole),
        row("splice", &[(SpliceFromFile, DISK_FAILS)], Storage(Errno::EIO)),
        row("splice", &[(SpliceFromFile, StopsAfter(0))], SourceShrank),
        row("splice", &[(SpliceToSocket, Fails(Errno::ECONNRESET))], PeerReset),
        cold(row("splice", &harmless(SpliceFromFile), Whole)),
        cold(row("splice", &[(SpliceFromFile, DISK_FAILS)], Storage(Errno::EIO))),
        row("ring-splice", &harmless(RingSplice), Whole),
        row("ring-splice", &[(RingSplice, StopsAfter(10)), (RingSplice, NOT_OFFERED)], Whole),
        row("ring-splice", &[(RingSplice, DISK_FAILS)], Storage(Errno::EIO)),
        row("ring-splice", &[(RingSplice, StopsAfter(0))], SourceShrank),
    ]
}

fn uploads() -> Vec<Row> {
    use CachePolicy::{Direct, DropBehind};
    use End::{FileTooLarge, PeerReset, QuotaExceeded, Resources, Storage, StorageFull, Whole};
    vec![
        row("splice", &harmless(SpliceFromSocket), Whole),
        with_its_end(row("splice", &[(SpliceFromSocket, AGAIN)], Whole)),
        row("splice", &[(SpliceFromSocket, StopsAfter(100)), (SpliceFromSocket, NOT_OFFERED)], Whole),
        row("splice", &[(SpliceFromSocket, Fails(Errno::ECONNRESET))], PeerReset),
        row("splice", &harmless(SpliceToFile), Whole),
        row("splice", &[(SpliceToFile, NOT_OFFERED)], Whole),
        row(
            "splice",
            &[
                (SpliceToFile, StopsAfter(5)),
                (SpliceToFile, NOT_OFFERED),
                (ReadPipe, Fails(Errno::EINTR)),
                (ReadPipe, StopsAfter(3)),
            ],
            Whole,
        ),
        row("splice", &[(SpliceToFile, StopsAfter(5)), (SpliceToFile, Fails(Errno::ENOSPC))], StorageFull),
        row("splice", &[(SpliceToFile, Fails(Errno::EDQUOT))], QuotaExceeded),
        row("splice", &[(SpliceToFile, Fails(Errno::EFBIG))], FileTooLarge),
        row("splice", &[(SpliceToFile, DISK_FAILS)], Storage(Errno::EIO)),
        row("splice", &[(SpliceToFile, StopsAfter(0))], Storage(Errno::EIO)),
        row("ring-splice", &harmless(RingSplice), Whole),
        row("ring-splice", &[(RingSplice, StopsAfter(5)), (RingSplice, NOT_OFFERED)], Whole),
        row("ring-splice", &[(RingSplice, Fails(Errno::ENOSPC))], StorageFull),
        row("ring-splice", &[(RingSplice, StopsAfter(0))], Storage(Errno::EIO)),
        row("copy", &harmless(Receive), Whole),
        with_its_end(row("copy", &[(Receive, AGAIN)], Whole)),
        row("copy", &[(Receive, Fails(Errno::ECONNRESET))], PeerReset),
        row("copy", &harmless(Write), Whole),
        row("copy", &[(Write, StopsAfter(5)), (Write, Fails(Errno::ENOSPC))], StorageFull),
        row("copy", &[(Write, Fails(Errno::EDQUOT))], QuotaExceeded),
        row("copy", &[(Write, DISK_FAILS)], Storage(Errno::EIO)),
        row("copy", &[(Write, StopsAfter(0))], Storage(Errno::EIO)),
        with(DropBehind, row("auto", &[(WriteBack, DISK_FAILS)], Storage(Errno::EIO))),
        with(DropBehind, row("auto", &[(WriteBack, Fails(Errno::ENOSYS))], Whole)),
        with(DropBehind, row("auto", &[(Duplicate, Fails(Errno::EMFILE))], Resources(Errno::EMFILE))),
        with(Direct, row("auto", &harmless(Receive), Whole)),
        with(Direct, row("auto", &[(SetDirect, NOT_OFFERED)], Whole)),
        with(Direct, row("auto", &[(Write, NOT_OFFERED)], Whole)),
        with(Direct, row("auto", &[(Write, Fails(Errno::EINTR)), (Write, StopsAfter(8192))], Whole)),
        with(Direct, row("auto", &[(Write, Fails(Errno::ENOSPC))], StorageFull)),
        with(
            Direct,
            row("auto", &[(Receive, StopsAfter(9)), (Receive, Fails(Errno::ECONNRESET))], PeerReset),
        ),
    ]
}

/// Tells of room in the send buffer again and again. A row may have the socket say that there is none, and then nobody else
/// would: there was room all the time.
async fn tell_of_room(socket: OwnedFd) {
    loop {
        runtime::sleep_until(Instant::now() + Duration::from_millis(1)).await;
        socket2::SockRef::from(&socket).set_send_buffer_size(1 << 20).expect("set");
    }
}

async fn download_by(row: &Row, options: TransferOptions) -> (Result<u64, TransferError>, bool) {
    let bytes = sample(row.bytes);
    let file = file_of(&bytes);
    if row.cold {
        file.sync_all().expect("synced");
        forget(&file);
    }
    let (stream, peer) = connected_pair().await;
    let peer = reader(peer);
    let range = 0..bytes.len() as u64;
    let duplicate = stream.as_fd().try_clone_to_owned().expect("a duplicate");
    let telling = runtime::spawn(tell_of_room(duplicate));
    let outcome = download(&file, range, &stream, options, &Progress::new()).await;
    telling.abort();
    assert!(telling.await.is_err(), "it never ends by itself");
    stream.close().await;
    let is_right = peer.join().expect("the peer") == bytes;
    (outcome, is_right)
}

async fn upload_by(row: &Row, options: TransferOptions) -> (Result<u64, TransferError>, bool) {
    let bytes = sample(row.bytes);
    let (stream, peer) = connected_pair().await;
    let sent = bytes.clone();
    // The other side may give up in the middle: sending all of it may fail.
    let peer = std::thread::spawn(move || {
        drop(std::io::Write::write_all(&mut &peer, &sent));
        drop(peer.shutdown(std::net::Shutdown::Write));
        peer
    });
    let file = empty_file();
    let outcome = upload(&stream, &file, 0, options, &Progress::new()).await;
    stream.close().await;
    drop(peer.join().expect("the peer"));
    (outcome, contents(&file) == bytes)
}

async fn check(row: &Row, is_download: bool) {
    let what = format!(
        "{} by {} with {:?}",
        if is_download { "a download" } else { "an upload" },
        row.route,
        row.faults
    );
    let options = TransferOptions {
        route: row.route.parse().expect("a route"),
        cache_policy: row.policy,
        ..TransferOptions::default()
    };
    let script = Script::new(row.faults.iter().copied());
    script.begin();
    let (outcome, is_right) =
        if is_download { download_by(row, options).await } else { upload_by(row, options).await };
    Script::new([]).begin();
    assert_eq!(End::of(&outcome), row.end, "{what}: {outcome:?}");
    assert_eq!(script.left(), [], "{what}: this did not come to pass");
    assert!(is_right || row.end != End::Whole, "{what}: the bytes are not the same");
}

#[test]
fn each_row_of_a_download_ends_as_it_says() {
    on_each_backend(|| async {
        for row in downloads() {
            check(&row, true).await;
        }
    });
}

#[test]
fn each_row_of_an_upload_ends_as_it_says() {
    on_each_backend(|| async {
        for row in uploads() {
            check(&row, false).await;
        }
    });
}

/// A worker that has no pipe yet, and gets none, or only small ones.
#[test]
fn without_pipes_bytes_are_copied() {
    for fault in [(Pipe, Fails(Errno::EMFILE)), (PipeCapacity, Fails(Errno::EPERM))] {
        on_each_backend(move || async move {
            check(&row("splice", &[fault], End::Whole), true).await;
            check(&row("splice", &[fault], End::Whole), false).await;
            check(&row("ring-splice", &[fault], End::Whole), false).await;
        });
    }
}

/// A worker that has not met the file system yet.
#[test]
fn a_file_system_that_says_nothing_is_waited_for() {
    on_each_backend(|| async {
        check(&row("auto", &[(Mounted, DISK_FAILS)], End::Whole), true).await;
    });
}

/// With bytes in a pipe when an upload fails: the next upload does not find them in its own.
#[test]
fn what_a_failed_upload_leaves_in_a_pipe_reaches_nobody() {
    on_each_backend(|| async {
        let lost = row(
            "splice",
            &[(SpliceToFile, StopsAfter(5)), (SpliceToFile, DISK_FAILS)],
            End::Storage(Errno::EIO),
        );
        check(&lost, false).await;
        let file = empty_file();
        file.write_all_at(b"....", 0).expect("written");
        let (stream, peer) = connected_pair().await;
        let peer = writer(peer, b"next".to_vec());
        upload(&stream, &file, 2, TransferOptions::default(), &Progress::new()).await.expect("stored");
        assert_eq!(contents(&file), b"..next");
        drop(peer.join().expect("the peer"));
    });
}
