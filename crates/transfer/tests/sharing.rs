//! Transfers share their core, and leave nothing behind when they are dropped.

mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use support::{
    connected_pair, empty_file, file_of, forget, on_each_backend, open_descriptors, reader, routes, sample,
    writer,
};
use transfer::{Progress, SENDFILE_TURN_BYTES_MAX, TransferOptions, download, upload};

/// Keeps the tests of this file from running beside each other: one counts the descriptors of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_small_download_does_not_wait_for_bulk_ones() {
    const BULK: usize = 50;
    let _alone = alone();
    on_each_backend(|| async {
        let large = Rc::new(file_of(&sample(16 << 20)));
        let mut bulk = Vec::new();
        let mut peers = Vec::new();
        for _ in 0..BULK {
            let (stream, peer) = connected_pair().await;
            peers.push(std::thread::spawn(move || {
                std::io::copy(&mut { peer }, &mut std::io::sink()).expect("received")
            }));
            let progress = Rc::new(Progress::new());
            let (file, moved) = (Rc::clone(&large), Rc::clone(&progress));
            let task = runtime::spawn(async move {
                // Again and again, until aborted.
                while download(&file, 0..16 << 20, &stream, TransferOptions::default(), &moved).await.is_ok()
                {
                }
            });
            bulk.push((task, progress));
        }
        // Under way, all of them.
        while bulk.iter().any(|(_, progress)| progress.bytes() == 0) {
            let (stream, mut peer) = connected_pair().await;
            let sender = std::thread::spawn(move || std::io::Write::write_all(&mut peer, b"x"));
            assert_eq!(stream.receive(&mut [0; 1]).await.expect("received"), 1);
            sender.join().expect("the sender").expect("sent");
        }
        let before: Vec<u64> = bulk.iter().map(|(_, progress)| progress.bytes()).collect();
        let small = file_of(&sample(1024));
        let (stream, peer) = connected_pair().await;
        let peer = reader(peer);
        download(&small, 0..1024, &stream, TransferOptions::default(), &Progress::new()).await.expect("sent");
        stream.close().await;
        let turns_max = 8;
        for ((_, progress), before) in bulk.iter().zip(before) {
            let meanwhile = progress.bytes() - before;
            assert!(
                meanwhile <= turns_max * SENDFILE_TURN_BYTES_MAX as u64,
                "a bulk download moved {meanwhile} bytes in the time of a small one"
            );
        }
        assert_eq!(peer.join().expect("the peer").len(), 1024);
        for (task, _) in bulk {
            task.abort();
            drop(task.await);
        }
        // The peers are waited for on this very thread, which has to have closed their connections first.
        runtime::drained().await;
        for peer in peers {
            peer.join().expect("a peer");
        }
    });
}

/// A turn's end lets another task of the core run, even when the peer takes everything at once.
#[test]
fn a_transfer_takes_turns() {
    let _alone = alone();
    on_each_backend(|| async {
        for options in routes() {
            let bytes = sample(16 << 20);
            let file = file_of(&bytes);
            let (stream, peer) = connected_pair().await;
            let peer = reader(peer);
            let progress = Progress::new();
            let mut sending = Box::pin(download(&file, 0..16 << 20, &stream, options.clone(), &progress));
            let most = Cell::new(0);
            poll_fn(|cx| {
                let before = progress.bytes();
                let polled = sending.as_mut().poll(cx);
                most.set(most.get().max(progress.bytes() - before));
                polled.map(|sent| sent.expect("sent"))
            })
            .await;
            drop(sending);
            assert!(most.get() < 2 * SENDFILE_TURN_BYTES_MAX as u64, "{} bytes in one turn", most.get());
            stream.close().await;
            assert!(peer.join().expect("the peer") == bytes);
        }
    });
}

/// Polls a transfer so many times and drops it then, if it is not done before.
async fn drop_after<F: Future>(polls: u32, transfer: F) {
    let mut transfer = pin!(transfer);
    let mut polled = 0;
    poll_fn(|cx| {
        polled += 1;
        if transfer.as_mut().poll(cx).is_ready() || polled >= polls { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn dropped_transfers_leave_no_descriptor_behind() {
    let _alone = alone();
    on_each_backend(|| async {
        let bytes = sample(8 << 20);
        let file = file_of(&bytes);
        file.sync_all().expect("synced");
        // What is kept for good, a pipe and a device, is there after the first transfers that are not dropped.
        let (stream, peer) = connected_pair().await;
        let peer = writer(peer, bytes.clone());
        let stored = empty_file();
        upload(&stream, &stored, 0, TransferOptions::default(), &Progress::new()).await.expect("stored");
        stream.close().await;
        drop((stored, peer.join().expect("the peer")));
        forget(&file);
        let (stream, peer) = connected_pair().await;
        let peer = reader(peer);
        download(&file, 0..8 << 20, &stream, TransferOptions::default(), &Progress::new())
            .await
            .expect("sent");
        stream.close().await;
        drop(peer.join().expect("the peer"));
        let before = open_descriptors();
        for polls in [1, 2, 3, 5, 8, 13, 21, 34] {
            for options in routes() {
                forget(&file);
                let (stream, peer) = connected_pair().await;
                let peer = std::thread::spawn(move || std::io::copy(&mut { peer }, &mut std::io::sink()));
                drop_after(polls, download(&file, 0..8 << 20, &stream, options.clone(), &Progress::new()))
                    .await;
                stream.close().await;
                // What was not read is answered with a reset.
                drop(peer.join().expect("the peer"));

                let (stream, mut peer) = connected_pair().await;
                let bytes = bytes.clone();
                let peer = std::thread::spawn(move || std::io::Write::write_all(&mut peer, &bytes));
                let stored = empty_file();
                drop_after(polls, upload(&stream, &stored, 0, options.clone(), &Progress::new())).await;
                stream.close().await;
                drop(peer.join().expect("the peer"));
            }
            runtime::drained().await;
            // A job that ran when its transfer was dropped still holds its descriptor for a moment.
            let deadline = Instant::now() + Duration::from_secs(20);
            // A second pipe may be kept.
            while open_descriptors() > before + 2 && Instant::now() < deadline {
                runtime::blocking(std::thread::yield_now).await.expect("a job");
            }
            assert!(open_descriptors() <= before + 2, "{} became {}", before, open_descriptors());
        }
    });
}
