//! What arrives is what was sent, by every route, both ways.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;

use support::{
    connected_pair, contents, empty_file, file_of, forget, on_each_backend, reader, routes, sample, writer,
};
use transfer::{
    ChunksError, Progress, Route, RoutePreference, TransferOptions, TransferType, download, send_chunks,
    upload,
};

/// Around the sizes of a page, of a pipe's page run, and of a turn.
const SIZES: [usize; 9] = [0, 1, 4095, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, (5 << 20) + 3];

#[test]
fn a_download_sends_the_file() {
    on_each_backend(|| async {
        for size in SIZES {
            let bytes = sample(size);
            let file = file_of(&bytes);
            for options in routes() {
                let (stream, peer) = connected_pair().await;
                let peer = reader(peer);
                let progress = Progress::new();
                let sent =
                    download(&file, 0..size as u64, &stream, options.clone(), &progress).await.expect("sent");
                stream.close().await;
                assert_eq!((sent, progress.bytes()), (size as u64, size as u64));
                match options.route {
                    RoutePreference::Planned if size == 0 => assert_eq!(progress.route(), Some(Route::Copy)),
                    RoutePreference::Planned => assert!(progress.route().is_some()),
                    RoutePreference::Prefer(route) => assert!(size == 0 || progress.route() == Some(route)),
                }
                assert!(peer.join().expect("the peer") == bytes, "{size} bytes by {options:?}");
            }
        }
    });
}

#[test]
fn an_upload_stores_what_comes() {
    on_each_backend(|| async {
        for size in SIZES {
            let bytes = sample(size);
            for options in routes() {
                let file = empty_file();
                let (stream, peer) = connected_pair().await;
                let peer = writer(peer, bytes.clone());
                let progress = Progress::new();
                let stored = upload(&stream, &file, 0, options.clone(), &progress).await.expect("stored");
                stream.close().await;
                assert_eq!((stored, progress.bytes()), (size as u64, size as u64));
                assert!(contents(&file) == bytes, "{size} bytes by {options:?}");
                drop(peer.join().expect("the peer"));
            }
        }
    });
}

#[test]
fn offsets_go_beyond_4_gib() {
    const FAR: u64 = (5 << 30) + 12_345;
    on_each_backend(|| async {
        let bytes = sample(100_000);
        for options in routes() {
            let file = empty_file();
            let (stream, peer) = connected_pair().await;
            let peer = writer(peer, bytes.clone());
            let stored =
                upload(&stream, &file, FAR, options.clone(), &Progress::new()).await.expect("stored");
            assert_eq!(stored, 100_000);
            assert_eq!(file.metadata().expect("its size").len(), FAR + 100_000);
            drop(peer.join().expect("the peer"));

            let (stream, peer) = connected_pair().await;
            let peer = reader(peer);
            // From within the hole before it.
            let range = FAR - 5000..FAR + 100_000;
            let sent =
                download(&file, range, &stream, options.clone(), &Progress::new()).await.expect("sent");
            stream.close().await;
            assert_eq!(sent, 105_000);
            let received = peer.join().expect("the peer");
            assert!(received[..5000].iter().all(|&byte| byte == 0));
            assert!(received[5000..] == bytes);
        }
    });
}

#[test]
fn type_a_converts_both_ways() {
    on_each_backend(|| async {
        // Longer than a buffer, with a line end at every distance from its edges.
        let file_text = b"line\n\nlonger line\n".repeat(40_000);
        let network_text = b"line\r\n\r\nlonger line\r\n".repeat(40_000);
        let options = TransferOptions { transfer_type: TransferType::Ascii, ..TransferOptions::default() };
        let (stream, peer) = connected_pair().await;
        let peer = reader(peer);
        let file = file_of(&file_text);
        let progress = Progress::new();
        let sent = download(&file, 0..file_text.len() as u64, &stream, options.clone(), &progress).await;
        assert_eq!(sent.expect("sent"), network_text.len() as u64);
        assert_eq!(progress.bytes(), network_text.len() as u64);
        stream.close().await;
        assert!(peer.join().expect("the peer") == network_text);

        let (stream, peer) = connected_pair().await;
        let peer = writer(peer, [&network_text[..], b"\r"].concat());
        let file = empty_file();
        let stored = upload(&stream, &file, 0, options.clone(), &Progress::new()).await.expect("stored");
        assert_eq!(stored, network_text.len() as u64 + 1);
        assert!(contents(&file) == [&file_text[..], b"\r"].concat(), "the last CR is the file's");
        drop(peer.join().expect("the peer"));
    });
}

/// A file that cannot be sent by reference and is never in the page cache.
#[test]
fn a_file_of_proc_goes_by_copy() {
    on_each_backend(|| async {
        let file = File::open("/proc/self/auxv").expect("/proc is mounted");
        let mut bytes = vec![0; 4096];
        let length = file.read_at(&mut bytes, 0).expect("read");
        bytes.truncate(length);
        let (stream, peer) = connected_pair().await;
        let peer = reader(peer);
        let options = TransferOptions::default();
        download(&file, 0..length as u64, &stream, options.clone(), &Progress::new()).await.expect("sent");
        stream.close().await;
        assert_eq!(peer.join().expect("the peer"), bytes);
    });
}

#[test]
fn a_cold_file_is_sent() {
    on_each_backend(|| async {
        let bytes = sample(6 << 20);
        let file = file_of(&bytes);
        file.sync_all().expect("synced");
        for options in routes() {
            forget(&file);
            let (stream, peer) = connected_pair().await;
            let peer = reader(peer);
            let range = 0..bytes.len() as u64;
            download(&file, range, &stream, options.clone(), &Progress::new()).await.expect("sent");
            stream.close().await;
            assert!(peer.join().expect("the peer") == bytes);
        }
    });
}

#[test]
fn chunks_are_sent_in_order_until_there_are_none() {
    on_each_backend(|| async {
        let (stream, peer) = connected_pair().await;
        let peer = reader(peer);
        let mut number = 0_u32;
        let next_chunk = || {
            number += 1;
            let number = number;
            async move {
                let made = runtime::blocking(move || number.to_string().repeat(1000).into_bytes()).await;
                Ok::<_, runtime::BlockingError>((number <= 300).then_some(made?))
            }
        };
        let progress = Progress::new();
        let sent = send_chunks(&stream, next_chunk, TransferOptions::default(), &progress).await;
        stream.close().await;
        let expected: String = (1..=300).map(|number: u32| number.to_string().repeat(1000)).collect();
        assert_eq!(sent.expect("sent"), expected.len() as u64);
        assert!(peer.join().expect("the peer") == expected.into_bytes());
    });
}

#[test]
fn a_producer_that_fails_says_so() {
    on_each_backend(|| async {
        let (stream, _peer) = connected_pair().await;
        let next_chunk = || async { Err("the directory is gone") };
        let sent = send_chunks(&stream, next_chunk, TransferOptions::default(), &Progress::new()).await;
        assert!(matches!(sent, Err(ChunksError::Producer("the directory is gone"))));
    });
}

/// Byte after byte, each of them sent when the one before has been stored.
#[test]
fn a_peer_that_trickles_is_stored_byte_by_byte() {
    on_each_backend(|| async {
        for options in routes() {
            let bytes = sample(300);
            let file = empty_file();
            let stored_so_far = file.try_clone().expect("a second handle");
            let (stream, mut peer) = connected_pair().await;
            let trickling = bytes.clone();
            let peer = std::thread::spawn(move || {
                peer.set_nodelay(true).expect("an option");
                for (before, byte) in trickling.iter().enumerate() {
                    while stored_so_far.metadata().expect("its size").len() < before as u64 {
                        std::thread::yield_now();
                    }
                    std::io::Write::write_all(&mut peer, &[*byte]).expect("sent");
                }
            });
            let stored = upload(&stream, &file, 0, options.clone(), &Progress::new()).await.expect("stored");
            assert_eq!(stored, 300);
            assert!(contents(&file) == bytes, "by {options:?}");
            peer.join().expect("the peer");
        }
    });
}

/// Another file takes the name of the one that is sent: the peer gets the whole of the old one.
#[test]
fn a_file_that_is_replaced_is_sent_to_its_end() {
    on_each_backend(|| async {
        for options in routes() {
            let directory = tempfile::tempdir().expect("a directory");
            let [path, successor] = ["name", "successor"].map(|name| directory.path().join(name));
            let bytes = sample(20 << 20);
            std::fs::write(&path, &bytes).expect("written");
            std::fs::write(&successor, b"something else").expect("written");
            let file = File::open(&path).expect("opened");
            let (stream, mut peer) = connected_pair().await;
            let peer = std::thread::spawn(move || {
                // More than the kernel holds of it is still to come when the name changes.
                let mut received = vec![0; 1000];
                std::io::Read::read_exact(&mut peer, &mut received).expect("the beginning");
                std::fs::rename(successor, path).expect("renamed");
                std::io::Read::read_to_end(&mut peer, &mut received).expect("the rest");
                received
            });
            let range = 0..bytes.len() as u64;
            download(&file, range, &stream, options.clone(), &Progress::new()).await.expect("sent");
            stream.close().await;
            assert!(peer.join().expect("the peer") == bytes, "by {options:?}");
        }
    });
}
