//! Limits of rate hold over all the transfers that share them.

mod support;

use std::net::Shutdown;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runtime::{Stream, Task, TaskError};
use socket2::SockRef;

use support::{
    connected_pair, contents, empty_file, file_of, on_each_backend, reader, routes, sample, trickling_reader,
    writer,
};
use transfer::{Limits, Progress, RateLimit, RateLimiter, TransferOptions, TransferType, download, upload};

fn limiter(bytes_per_second: u64, burst_bytes: u64) -> Arc<RateLimiter> {
    let number = |number| NonZeroU64::new(number).expect("not zero");
    Arc::new(RateLimiter::new(RateLimit {
        bytes_per_second: number(bytes_per_second),
        burst_bytes: number(burst_bytes),
    }))
}

/// Bytes that may have gone since `began`: the burst, the rate, and a slice of an eighth of a second for each transfer.
fn allowed(limit: RateLimit, began: Instant, transfers: u64) -> u64 {
    let (rate, burst) = (limit.bytes_per_second.get(), limit.burst_bytes.get());
    let by_rate = u128::from(rate) * began.elapsed().as_nanos() / 1_000_000_000;
    burst + u64::try_from(by_rate).expect("few") + transfers * (rate / 8)
}

/// Counted while they run: by any moment, together they have moved no more than that moment allows.
#[test]
fn several_downloads_of_one_user_move_no_more_than_the_limit() {
    const BYTES: usize = 150_000;
    on_each_backend(|| async {
        for by in routes() {
            let user = limiter(1_000_000, 100_000);
            let file = Rc::new(file_of(&sample(BYTES)));
            let began = Instant::now();
            let mut transfers = Vec::new();
            for _ in 0..4 {
                let (stream, peer) = connected_pair().await;
                let peer = reader(peer);
                let limits = Limits::new(None, Some(Arc::clone(&user)), None);
                let options = TransferOptions { limits, ..by.clone() };
                let progress = Rc::new(Progress::new());
                let (file, moved) = (Rc::clone(&file), Rc::clone(&progress));
                let task = runtime::spawn(async move {
                    let sent = download(&file, 0..BYTES as u64, &stream, options, &moved).await;
                    stream.close().await;
                    sent.expect("sent")
                });
                transfers.push((task, progress, peer));
            }
            while transfers.iter().any(|(task, ..)| !task.is_finished()) {
                // What is allowed is read after what has gone.
                let gone: u64 = transfers.iter().map(|(_, progress, _)| progress.bytes()).sum();
                let allowed = allowed(user.limit(), began, 4);
                assert!(gone <= allowed, "{gone} of {allowed} bytes by {}", by.route);
                runtime::sleep_until(Instant::now() + Duration::from_millis(1)).await;
            }
            for (task, _, peer) in transfers {
                assert_eq!(task.await.expect("a task"), BYTES as u64);
                assert_eq!(peer.join().expect("the peer").len(), BYTES);
            }
        }
    });
}

/// Who converts line ends stands in the same line as everybody else, and once.
#[test]
fn text_and_images_share_a_limit_alike() {
    const BYTES: usize = 2 << 20;
    on_each_backend(|| async {
        let user = limiter(16_000_000, 1 << 20);
        let file = Rc::new(file_of(&vec![b'x'; BYTES]));
        // Nobody gets the burst.
        let (stream, peer) = connected_pair().await;
        let peer = reader(peer);
        let limits = Limits::new(None, Some(Arc::clone(&user)), None);
        let options = TransferOptions { limits, ..TransferOptions::default() };
        download(&file, 0..1 << 20, &stream, options, &Progress::new()).await.expect("sent");
        stream.close().await;
        assert_eq!(peer.join().expect("the peer").len(), 1 << 20);
        let mut transfers = Vec::new();
        for transfer_type in [TransferType::Ascii].into_iter().chain([TransferType::Image; 7]) {
            let (stream, peer) = connected_pair().await;
            let peer = reader(peer);
            let limits = Limits::new(None, Some(Arc::clone(&user)), None);
            let options = TransferOptions { limits, transfer_type, ..TransferOptions::default() };
            let progress = Rc::new(Progress::new());
            let (file, moved) = (Rc::clone(&file), Rc::clone(&progress));
            let task = runtime::spawn(async move {
                download(&file, 0..BYTES as u64, &stream, options, &moved).await.expect("sent");
                stream.close().await;
            });
            transfers.push((task, progress, peer));
        }
        while !transfers.iter().any(|(task, ..)| task.is_finished()) {
            runtime::sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
        let text = transfers[0].1.bytes();
        assert!(text >= BYTES as u64 * 2 / 3, "{text} of {BYTES} bytes when another was done");
        for (task, _, peer) in transfers {
            task.await.expect("a task");
            assert_eq!(peer.join().expect("the peer").len(), BYTES);
        }
    });
}

/// They reserve what they take, and not what they might: else the limit would stand idle while it is reserved for them.
#[test]
fn readers_that_take_little_leave_the_rest_to_others() {
    const SLOW: usize = 30;
    const RATE: u64 = 2_000_000;
    const BYTES: usize = 2_000_000;
    on_each_backend(|| async {
        let total = limiter(RATE, 500_000);
        let file = Rc::new(file_of(&vec![b'x'; BYTES]));
        let begin = |stream: Stream| {
            let limits = Limits::new(None, None, Some(Arc::clone(&total)));
            let options = TransferOptions { limits, ..TransferOptions::default() };
            let file = Rc::clone(&file);
            runtime::spawn(async move {
                let sent = download(&file, 0..BYTES as u64, &stream, options, &Progress::new()).await;
                stream.close().await;
                sent
            })
        };
        let (mut slow, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..SLOW {
            let (stream, peer) = connected_pair().await;
            SockRef::from(stream.source()).set_send_buffer_size(8192).expect("a socket option");
            SockRef::from(&peer).set_recv_buffer_size(4096).expect("a socket option");
            let other_handle = peer.try_clone().expect("a second handle");
            peers.push((trickling_reader(peer), other_handle));
            slow.push(begin(stream));
        }
        let (stream, peer) = connected_pair().await;
        let (peer, began) = (reader(peer), Instant::now());
        begin(stream).await.expect("a task").expect("sent");
        let gave = u128::from(RATE) * began.elapsed().as_nanos() / 1_000_000_000;
        assert!(gave < 3 * BYTES as u128, "{BYTES} of {gave} bytes that the limit gave meanwhile");
        assert_eq!(peer.join().expect("the peer").len(), BYTES);
        slow.iter().for_each(Task::abort);
        for task in slow {
            assert!(matches!(task.await, Err(TaskError::Aborted)), "it could not be done");
        }
        runtime::drained().await;
        for (peer, other_handle) in peers {
            // What is left for it would take it long; it may have been told of the end already.
            let _ = other_handle.shutdown(Shutdown::Both);
            peer.join().expect("the peer");
        }
    });
}

#[test]
fn an_upload_obeys_the_narrowest_of_its_limits() {
    const BYTES: usize = 200_000;
    on_each_backend(|| async {
        let narrow = limiter(500_000, 50_000);
        let limits = Limits::new(Some(Arc::clone(&narrow)), Some(limiter(5_000_000, 1_000_000)), None);
        let options = TransferOptions { limits, ..TransferOptions::default() };
        let bytes = sample(BYTES);
        let (stream, peer) = connected_pair().await;
        let peer = writer(peer, bytes.clone());
        let (file, progress) = (empty_file(), Rc::new(Progress::new()));
        let began = Instant::now();
        let moved = Rc::clone(&progress);
        let task = runtime::spawn(async move {
            upload(&stream, &file, 0, options, &moved).await.expect("stored");
            file
        });
        while !task.is_finished() {
            let gone = progress.bytes();
            let allowed = allowed(narrow.limit(), began, 1);
            assert!(gone <= allowed, "{gone} of {allowed} bytes");
            runtime::sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
        assert!(contents(&task.await.expect("a task")) == bytes);
        drop(peer.join().expect("the peer"));
    });
}

/// A peer is not taken for a stalled one while it is we who hold back.
#[test]
fn waiting_for_a_limit_is_no_stall() {
    on_each_backend(|| async {
        let options = TransferOptions {
            limits: Limits::new(None, None, Some(limiter(8_000, 1000))),
            stall_timeout: Some(Duration::from_millis(40)),
            ..TransferOptions::default()
        };
        let file = file_of(&sample(3000));
        let (stream, peer) = connected_pair().await;
        let peer = reader(peer);
        download(&file, 0..3000, &stream, options, &Progress::new()).await.expect("sent");
        stream.close().await;
        assert_eq!(peer.join().expect("the peer").len(), 3000);
    });
}

/// What a dropped transfer had reserved is there for the next.
#[test]
fn a_dropped_transfer_gives_its_reservation_back() {
    on_each_backend(|| async {
        let shared = limiter(1, 1000);
        let options = || TransferOptions {
            limits: Limits::new(Some(Arc::clone(&shared)), None, None),
            ..TransferOptions::default()
        };
        let file = file_of(&sample(2000));
        for _ in 0..50 {
            let (stream, _peer) = connected_pair().await;
            // The first uses the burst up; each waits for the next byte.
            let progress = Progress::new();
            let sending = download(&file, 0..2000, &stream, options(), &progress);
            let given_up = runtime::timeout_at(Instant::now(), sending).await;
            assert!(given_up.is_err());
        }
        let (stream, _peer) = connected_pair().await;
        let progress = Progress::new();
        let sending = download(&file, 0..1, &stream, options(), &progress);
        let soon = Instant::now() + Duration::from_secs(30);
        assert!(runtime::timeout_at(soon, sending).await.is_ok(), "the line is as long as if all had gone");
    });
}
