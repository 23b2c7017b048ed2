//! Nothing that is given up leaves a descriptor, a bound port or an operation behind.

mod support;

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use runtime::{
    DESCRIPTORS_PER_WORKER_MAX, Interest, ListenOptions, Listener, Source, Stream, blocking, drained, spawn,
    timeout_at,
};
use support::{
    alone, backends, can_be_bound, connected_pair, loopback, on_each_backend, open_descriptors, start,
};

/// Polls a future once and drops it.
async fn give_up<F: Future>(future: F) {
    let mut future = pin!(future);
    let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
    assert!(polled, "what is ready is not given up");
}

/// Lets what was submitted reach the kernel: a wait of one connection that really waits.
async fn let_the_kernel_see_it() {
    let (stream, mut peer) = connected_pair().await;
    let sender = std::thread::spawn(move || peer.write_all(b"x").map(|()| peer));
    let mut buffer = [0; 2];
    assert_eq!(stream.receive(&mut buffer).await.expect("received"), 1);
    drop(sender.join().expect("the sender"));
}

#[test]
fn given_up_accepts_free_the_port() {
    let _alone = alone();
    on_each_backend(|| async {
        let_the_kernel_see_it().await;
        drained().await;
        let before = open_descriptors();
        // An address where no test beside this one listens, nor connects from: the port is to be had again and again.
        let mut address = SocketAddr::from(([127, 0, 0, 77], 0));
        for round in 0..200 {
            let listener = Listener::bind(address, ListenOptions::default()).expect("the port is free again");
            address = listener.local();
            for _ in 0..3 {
                give_up(listener.accept()).await;
            }
            let too_late = timeout_at(Instant::now() + Duration::from_millis(1), listener.accept()).await;
            assert!(too_late.is_err());
            // Closed and awaited, dropped with an accept in flight, or dropped by a task that is aborted.
            match round % 3 {
                0 => listener.close().await,
                1 => {
                    drop(listener);
                    drained().await;
                }
                _ => {
                    let accepting = spawn(async move { listener.accept().await.map(drop) });
                    let_the_kernel_see_it().await;
                    accepting.abort();
                    assert!(accepting.await.is_err());
                    drained().await;
                }
            }
            assert!(can_be_bound(address), "the port stayed bound in round {round}");
            let refused = TcpStream::connect(address).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_connection_that_came_to_a_given_up_accept_is_not_lost() {
    let _alone = alone();
    on_each_backend(|| async {
        let listener = Listener::bind(loopback(), ListenOptions::default()).expect("a listener");
        give_up(listener.accept()).await;
        let_the_kernel_see_it().await;
        let peer = TcpStream::connect(listener.local()).expect("a connection");
        let_the_kernel_see_it().await;
        give_up(poll_fn(|_| Poll::<()>::Pending)).await;
        let (_, address) = listener.accept().await.expect("accepted");
        assert_eq!(address, peer.local_addr().expect("an address"));
    });
}

#[test]
fn sources_dropped_with_polls_in_flight_close() {
    let _alone = alone();
    on_each_backend(|| async {
        let_the_kernel_see_it().await;
        drained().await;
        let before = open_descriptors();
        let mut peers = Vec::new();
        for _ in 0..300 {
            let (stream, peer) = connected_pair().await;
            let mut buffer = [0; 16];
            give_up(stream.receive(&mut buffer)).await;
            peers.push((stream, peer));
        }
        let_the_kernel_see_it().await;
        for (stream, peer) in peers {
            drop(stream);
            drained().await;
            // The peer sees the end, so the kernel has really closed our side.
            let mut byte = [0];
            assert_eq!(Read::read(&mut &peer, &mut byte).expect("the end"), 0);
        }
        drained().await;
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn closing_one_of_two_handles_leaves_the_other_ready() {
    let _alone = alone();
    on_each_backend(|| async {
        let (stream, mut peer) = connected_pair().await;
        let second: OwnedFd = std::os::fd::AsFd::as_fd(&stream).try_clone_to_owned().expect("a duplicate");
        let second = Stream::new(second, stream.peer()).expect("a stream");
        let mut buffer = [0; 16];
        give_up(stream.receive(&mut buffer)).await;
        let receiving = spawn(async move {
            let mut buffer = [0; 16];
            second.receive(&mut buffer).await
        });
        let_the_kernel_see_it().await;
        stream.close().await;
        peer.write_all(b"still here").expect("sent");
        assert_eq!(receiving.await.expect("the task").expect("received"), 10);
    });
}

/// Opens and closes ten thousand sockets with polls in flight, while others live on. The kernel gives out the
/// lowest free number, so that nearly every socket gets the number of one that was just closed; a cancel that came
/// late would take the poll of its successor.
#[test]
fn a_reused_descriptor_number_is_safe_from_old_cancels() {
    const ROUNDS: usize = 10_000;
    const LIVING: usize = 64;
    let _alone = alone();
    on_each_backend(|| async {
        let mut living = std::collections::VecDeque::new();
        for round in 0..ROUNDS {
            let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
            near.set_nonblocking(true).expect("non-blocking");
            let source = Source::new(near.into()).expect("a source");
            give_up(source.ready(Interest::Readable)).await;
            living.push_back((source, far));
            if living.len() < LIVING {
                continue;
            }
            let (source, far) = living.remove(round * 31 % LIVING).expect("one of the living");
            if round % 7 == 0 {
                // One of the oldest has to be alive, with the very poll that it began with.
                (&far).write_all(b"!").expect("sent");
                source.ready(Interest::Readable).await.expect("ready");
            }
            match round % 2 {
                0 => drop(source),
                _ => source.close().await,
            }
        }
        for (source, far) in living {
            (&far).write_all(b"!").expect("sent");
            source.ready(Interest::Readable).await.expect("ready");
            let readable = source.try_io(Interest::Readable, |fd| {
                let mut byte = [0];
                Ok(nix::unistd::read(fd, &mut byte)?)
            });
            assert_eq!(readable.expect("a byte"), 1);
        }
        drained().await;
    });
}

#[test]
fn a_worker_that_ends_closes_what_is_in_flight() {
    let _alone = alone();
    for backend in backends() {
        let before = open_descriptors();
        let (address, peers) = start(backend, || async {
            let listener = Listener::bind(loopback(), ListenOptions::default()).expect("a listener");
            let address = listener.local();
            let mut peers = Vec::new();
            for _ in 0..1000 {
                let (stream, peer) = connected_pair().await;
                peers.push(peer);
                // Tasks that wait for ever, for both interests, and for timers.
                spawn(async move {
                    let mut buffer = [0; 8];
                    let deadline = Instant::now() + Duration::from_secs(3600);
                    drop(timeout_at(deadline, stream.receive(&mut buffer)).await);
                });
            }
            spawn(async move { listener.accept().await.map(drop) });
            spawn(async {
                drop(blocking(|| std::thread::park_timeout(Duration::from_secs(3600))).await);
            });
            // One more wait, so that all those are with the kernel.
            let (stream, peer) = connected_pair().await;
            drop(peer);
            stream.source().ready(Interest::Readable).await.expect("ready");
            (address, peers)
        })
        .join()
        .expect("it does not hang");
        assert!(can_be_bound(address));
        drop(peers);
        assert_eq!(open_descriptors(), before);
    }
}

/// The kernel holds a connection that it receives from: to drop it must end it all the same.
#[test]
fn a_dropped_connection_that_is_received_ahead_is_closed() {
    let _alone = alone();
    on_each_backend(|| async {
        drained().await;
        let before = open_descriptors();
        for round in 0..100 {
            let (mut stream, mut peer) = connected_pair().await;
            stream.receive_ahead();
            give_up(stream.receive(&mut [0; 16])).await;
            if round % 2 == 0 {
                stream.close().await;
            } else {
                assert_eq!(stream.try_send_last(b"bye").expect("sent"), 3);
                drop(stream);
            }
            let mut last = Vec::new();
            peer.read_to_end(&mut last).expect("the end, and no reset");
            assert_eq!(last, if round % 2 == 0 { b"".as_slice() } else { b"bye" });
        }
        drained().await;
        assert_eq!(open_descriptors(), before);
    });
}

#[test]
fn a_worker_itself_opens_few_descriptors() {
    let _alone = alone();
    for backend in backends() {
        let before = open_descriptors();
        let inside = start(backend, || async { open_descriptors() }).join().expect("a worker");
        let own = u64::try_from(inside - before).expect("a number");
        assert!(own <= DESCRIPTORS_PER_WORKER_MAX, "{own} on {backend}");
    }
}
