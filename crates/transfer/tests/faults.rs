//! What goes wrong is named, and whose fault it was.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;
use support::{
    connected_pair, contents, device, empty_file, file_of, on_each_backend, reader, routes, sample, writer,
};
use transfer::{Progress, TransferError, TransferOptions, close_delivered, download, upload};

/// More than the kernel takes of a connection that is not read.
const MORE_THAN_A_SOCKET_HOLDS: usize = 64 << 20;

/// A sparse file: what it holds does not matter, only how much.
fn large_file() -> File {
    let file = empty_file();
    file.set_len(MORE_THAN_A_SOCKET_HOLDS as u64).expect("sparse");
    file
}

#[test]
fn a_file_that_shrinks_is_not_a_success() {
    on_each_backend(|| async {
        for options in routes() {
            let file = large_file();
            let (stream, mut peer) = connected_pair().await;
            let shorter = file.try_clone().expect("a second handle");
            let peer = std::thread::spawn(move || {
                // The first bytes are here, so the transfer runs; the rest is gone before it is asked for.
                peer.read_exact(&mut [0; 1000]).expect("the beginning");
                shorter.set_len(5000).expect("truncated");
                reader(peer).join().expect("the rest").len() + 1000
            });
            let range = 0..MORE_THAN_A_SOCKET_HOLDS as u64;
            let progress = Progress::new();
            let shrank =
                download(&file, range, &stream, options.clone(), &progress).await.expect_err("it shrank");
            stream.close().await;
            let received = peer.join().expect("the peer") as u64;
            assert_eq!(received, progress.bytes());
            assert!(
                matches!(shrank, TransferError::SourceShrank { missing }
                    if missing + received == MORE_THAN_A_SOCKET_HOLDS as u64),
                "{shrank:?} after {received} bytes"
            );
        }
    });
}

#[test]
fn a_range_beyond_the_end_is_missing_at_once() {
    on_each_backend(|| async {
        for options in routes() {
            let file = file_of(b"short");
            let (stream, _peer) = connected_pair().await;
            let shrank = download(&file, 0..10, &stream, options.clone(), &Progress::new()).await;
            assert!(matches!(shrank, Err(TransferError::SourceShrank { missing: 5 })), "{shrank:?}");
        }
    });
}

fn reset(peer: TcpStream) {
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(peer);
}

#[test]
fn a_peer_that_resets_is_at_fault() {
    on_each_backend(|| async {
        for options in routes() {
            let (stream, mut peer) = connected_pair().await;
            let peer = std::thread::spawn(move || {
                peer.read_exact(&mut [0; 1000]).expect("the beginning");
                reset(peer);
            });
            let range = 0..MORE_THAN_A_SOCKET_HOLDS as u64;
            let cut = download(&large_file(), range, &stream, options.clone(), &Progress::new()).await;
            assert!(matches!(cut, Err(TransferError::PeerReset)), "{cut:?}");
            peer.join().expect("the peer");

            let (stream, mut peer) = connected_pair().await;
            let file = empty_file();
            let peer = std::thread::spawn(move || {
                peer.write_all(b"the beginning").expect("sent");
                reset(peer);
            });
            let cut = upload(&stream, &file, 0, options.clone(), &Progress::new()).await;
            assert!(matches!(cut, Err(TransferError::PeerReset)), "{cut:?}");
            peer.join().expect("the peer");
        }
    });
}

#[test]
fn a_peer_that_stalls_is_at_fault() {
    on_each_backend(|| async {
        for options in routes() {
            let options = TransferOptions { stall_timeout: Some(Duration::from_millis(50)), ..options };
            let (stream, _silent) = connected_pair().await;
            let range = 0..MORE_THAN_A_SOCKET_HOLDS as u64;
            let progress = Progress::new();
            let stalled = download(&large_file(), range, &stream, options.clone(), &progress).await;
            assert!(matches!(stalled, Err(TransferError::Stalled)), "{stalled:?}");
            assert!(progress.bytes() > 0 && progress.last_moved().elapsed() >= Duration::from_millis(50));

            let (stream, _silent) = connected_pair().await;
            let stalled = upload(&stream, &empty_file(), 0, options.clone(), &Progress::new()).await;
            assert!(matches!(stalled, Err(TransferError::Stalled)), "{stalled:?}");
        }
    });
}

/// Closing with something unread would reset the connection, and most of what was sent would be lost.
#[test]
fn a_peer_that_sends_something_itself_gets_all_the_same() {
    on_each_backend(|| async {
        for length in [1000, 300_000] {
            let (stream, mut peer) = connected_pair().await;
            peer.write_all(b"nobody has asked for this").expect("sent");
            let (file, whole) = (file_of(&sample(length)), 0..length as u64);
            let sent = download(&file, whole, &stream, TransferOptions::default(), &Progress::new()).await;
            assert_eq!(sent.expect("sent"), length as u64);
            let reading = reader(peer);
            close_delivered(stream, Some(Duration::from_secs(60))).await.expect("delivered");
            assert_eq!(reading.join().expect("the peer").len(), length);
        }
    });
}

#[test]
fn it_is_told_when_the_last_bytes_may_not_have_been_delivered() {
    on_each_backend(|| async {
        let sent_to_a_peer = async || {
            let (stream, mut peer) = connected_pair().await;
            peer.write_all(b"nobody has asked for this").expect("sent");
            // More than the peer has room for.
            let mut sent = 0;
            while let Ok(taken) = stream.try_send(&[7; 65536]) {
                sent += taken;
            }
            assert!(sent > 0);
            (stream, peer)
        };
        let (stream, _peer) = sent_to_a_peer().await;
        let stalled = close_delivered(stream, Some(Duration::from_millis(50))).await;
        assert!(matches!(stalled, Err(TransferError::Stalled)), "{stalled:?}");
        let (stream, peer) = sent_to_a_peer().await;
        reset(peer);
        let lost = close_delivered(stream, None).await;
        assert!(matches!(lost, Err(TransferError::PeerReset)), "{lost:?}");
    });
}

/// It can neither be spliced to nor written to: the first makes the transfer copy, the second ends it. The pipe
/// with the bytes in it must not reach the next upload.
#[test]
fn a_full_disk_is_named_and_leaves_nothing_in_the_pipes() {
    on_each_backend(|| async {
        let bytes = sample(300_000);
        for options in routes() {
            let (stream, mut peer) = connected_pair().await;
            let lost = bytes.clone();
            let peer = std::thread::spawn(move || {
                // The other side gives up in the middle: sending all of it may fail.
                drop(peer.write_all(&lost));
                peer
            });
            let full = upload(&stream, &device("/dev/full"), 0, options.clone(), &Progress::new()).await;
            assert!(matches!(full, Err(TransferError::StorageFull)), "{full:?}");
            stream.close().await;
            drop(peer.join().expect("the peer"));

            let file = empty_file();
            let (stream, peer) = connected_pair().await;
            let peer = writer(peer, b"of the next upload".to_vec());
            upload(&stream, &file, 0, options.clone(), &Progress::new()).await.expect("stored");
            assert_eq!(contents(&file), b"of the next upload");
            drop(peer.join().expect("the peer"));
        }
    });
}

/// A file that is open for reading only: the kernel's answer to the write is an error of the storage, not of the
/// peer.
#[test]
fn a_file_that_cannot_be_written_is_the_storages_fault() {
    on_each_backend(|| async {
        for options in routes() {
            let file = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).expect("a file");
            let (stream, peer) = connected_pair().await;
            let peer = writer(peer, b"something".to_vec());
            let refused = upload(&stream, &file, 0, options.clone(), &Progress::new()).await;
            assert!(matches!(refused, Err(TransferError::Storage(nix::errno::Errno::EBADF))), "{refused:?}");
            drop(peer.join().expect("the peer"));
        }
    });
}
