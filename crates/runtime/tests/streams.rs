//! Connections: what is sent arrives, and a wait that is given up loses nothing.

mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use runtime::{
    ConnectOptions, Interest, ListenOptions, Listener, connect, end_long_turn, sleep_until, spawn,
};
use support::{connected_pair, exchange, loopback, on_each_backend, one_turn};

#[test]
fn what_is_sent_comes_back_from_an_echo() {
    on_each_backend(|| async {
        let (stream, peer) = connected_pair().await;
        let sent: Vec<u8> = (0..1_000_003_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let peer = {
            let sent = sent.clone();
            // The peer reads only when it has sent all: the echo has to hold more than a socket does.
            std::thread::spawn(move || {
                let mut writer = peer.try_clone().expect("a second handle");
                let answer = exchange_reader(peer);
                writer.write_all(&sent).expect("sent");
                writer.shutdown(std::net::Shutdown::Write).expect("ended");
                answer.join().expect("the reader")
            })
        };
        let mut buffer = vec![0; 4096];
        loop {
            let received = stream.receive(&mut buffer).await.expect("received");
            if received == 0 {
                break;
            }
            stream.send_all(&buffer[..received]).await.expect("sent");
        }
        stream.close().await;
        assert!(peer.join().expect("the peer") == sent);
    });
}

fn exchange_reader(mut peer: std::net::TcpStream) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).expect("received");
        answer
    })
}

#[test]
fn a_wait_that_was_given_up_is_taken_up_again() {
    on_each_backend(|| async {
        let (stream, mut peer) = connected_pair().await;
        for round in 0..100_u8 {
            for _ in 0..3 {
                let mut given_up = pin!(stream.source().ready(Interest::Readable));
                let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
                assert!(polled.is_pending(), "nothing was sent yet");
            }
            peer.write_all(&[round]).expect("sent");
            let mut buffer = [0; 16];
            assert_eq!(stream.receive(&mut buffer).await.expect("received"), 1);
            assert_eq!(buffer[0], round);
        }
    });
}

/// A call stopped short, for whatever reason: to look again tells whether there is room, and what was not told is noticed.
#[test]
fn who_looks_again_waits_only_where_there_is_no_room() {
    on_each_backend(|| async {
        let (stream, peer) = connected_pair().await;
        let is_ready = async || {
            let mut ready = pin!(stream.source().ready(Interest::Writable));
            poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx))).await.is_ready()
        };
        stream.source().look_again(Interest::Writable);
        assert!(is_ready().await, "nothing was sent yet");
        let (piece, mut sent) = (vec![7; 1 << 20], 0);
        loop {
            let taken = stream.try_send(&piece).expect("room, or at least some");
            sent += taken;
            if taken < piece.len() {
                stream.source().look_again(Interest::Writable);
                if !is_ready().await {
                    break;
                }
            }
        }
        let reader = exchange_reader(peer);
        stream.source().ready(Interest::Writable).await.expect("room");
        stream.close().await;
        assert_eq!(reader.join().expect("the peer").len(), sent);
    });
}

/// Long before a full socket can be written to again, what its peer takes shows.
#[test]
fn what_is_not_acknowledged_shrinks_as_the_peer_reads() {
    on_each_backend(|| async {
        let (stream, mut peer) = connected_pair().await;
        assert_eq!(stream.source().unacknowledged().expect("told"), 0);
        let mut sent = 0;
        while let Ok(taken) = stream.try_send(&[7; 65536]) {
            sent += taken as u64;
        }
        let mut before = stream.source().unacknowledged().expect("told");
        assert!(before > 0 && before <= sent, "{before} of {sent}");
        let mut left = sent;
        while left > 0 {
            let mut received = vec![0; usize::try_from(left.min(256 << 10)).expect("few")];
            peer.read_exact(&mut received).expect("sent");
            left -= received.len() as u64;
            let now = stream.source().unacknowledged().expect("told");
            assert!(now <= before, "{now} after {before}");
            before = now;
        }
        while stream.source().unacknowledged().expect("told") > 0 {
            sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
    });
}

#[test]
fn one_task_reads_while_another_writes() {
    on_each_backend(|| async {
        let (stream, peer) = connected_pair().await;
        let stream = Rc::new(stream);
        let bulk = vec![7; 8 << 20];
        // The peer neither reads nor sends before it has been told that the stream is full.
        let (full, is_full) = std::sync::mpsc::channel::<()>();
        let peer = std::thread::spawn(move || {
            is_full.recv().expect("the stream fills up");
            exchange(peer, b"hello".to_vec()).join().expect("the exchange")
        });
        let reader = {
            let stream = Rc::clone(&stream);
            spawn(async move {
                let mut buffer = [0; 16];
                let received = stream.receive(&mut buffer).await.expect("received");
                buffer[..received].to_vec()
            })
        };
        let mut sent = 0;
        loop {
            match stream.try_send(&bulk[sent..]) {
                Ok(taken) => sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        full.send(()).expect("the peer lives");
        stream.send_all(&bulk[sent..]).await.expect("sent");
        stream.shutdown_write().expect("ended");
        assert_eq!(reader.await.expect("the reader"), b"hello");
        assert_eq!(peer.join().expect("the peer").len(), bulk.len());
    });
}

#[test]
fn urgent_data_does_not_hide_what_follows() {
    on_each_backend(|| async {
        let (stream, peer) = connected_pair().await;
        stream.set_urgent_inline(true).expect("an option");
        let urgent = socket2::SockRef::from(&peer);
        let mut received = Vec::new();
        for _ in 0..50 {
            (&peer).write_all(b"before").expect("sent");
            urgent.send_out_of_band(b"!").expect("sent");
            (&peer).write_all(b"after\n").expect("sent");
        }
        peer.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut buffer = [0; 4096];
        loop {
            let count = stream.receive(&mut buffer).await.expect("received");
            if count == 0 {
                break;
            }
            received.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(received, b"before!after\n".repeat(50));
    });
}

#[test]
fn the_end_of_the_peer_is_seen_without_receiving() {
    on_each_backend(|| async {
        let (stream, mut peer) = connected_pair().await;
        assert!(!stream.peer_closed());
        peer.write_all(b"last words").expect("sent");
        stream.source().ready(Interest::Readable).await.expect("ready");
        assert!(!stream.peer_closed(), "words are not an end");
        let mut buffer = [0; 64];
        assert_eq!(stream.receive(&mut buffer).await.expect("received"), 10);
        peer.shutdown(std::net::Shutdown::Write).expect("ended");
        stream.source().ready(Interest::Readable).await.expect("ready");
        assert!(stream.peer_closed());
        assert_eq!(stream.receive(&mut buffer).await.expect("received"), 0);
        assert_eq!(stream.receive(&mut buffer).await.expect("and it stays so"), 0);
    });
}

#[test]
fn a_connection_is_made_or_refused() {
    on_each_backend(|| async {
        let listener = Listener::bind(loopback(), ListenOptions::default()).expect("a listener");
        let address = listener.local();
        let options = ConnectOptions { local: Some(loopback()), share_port: true };
        let stream = connect(address, options).await.expect("a connection");
        let (accepted, peer) = listener.accept().await.expect("accepted");
        assert_eq!(stream.local().expect("an address"), peer);
        assert_eq!(stream.peer(), address);
        let accepted = accepted.into_stream().expect("a stream");
        accepted.send_all(b"220").await.expect("sent");
        let mut buffer = [0; 8];
        assert_eq!(stream.receive(&mut buffer).await.expect("received"), 3);
        listener.close().await;
        let refused = connect(address, ConnectOptions::default()).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn the_end_of_a_turn_lets_the_others_go_first() {
    on_each_backend(|| async {
        let (stream, _peer) = connected_pair().await;
        let turns = Rc::new(Cell::new(0));
        let other = {
            let turns = Rc::clone(&turns);
            spawn(async move { turns.set(turns.get() + 1) })
        };
        end_long_turn().await;
        stream.source().ready(Interest::Writable).await.expect("still writable");
        assert_eq!(turns.get(), 1);
        other.await.expect("done");
    });
}

#[test]
fn whoever_accepts_without_a_pause_leaves_the_worker_to_others() {
    const CONNECTIONS: usize = 200;
    on_each_backend(|| async {
        let listener = Listener::bind(loopback(), ListenOptions::default()).expect("a listener");
        let peers: Vec<_> = (0..CONNECTIONS)
            .map(|_| std::net::TcpStream::connect(listener.local()).expect("connected"))
            .collect();
        let accepted = Rc::new(Cell::new(0));
        let count = Rc::clone(&accepted);
        spawn(async move {
            loop {
                drop(listener.accept().await.expect("accepted"));
                count.set(count.get() + 1);
            }
        });
        let (mut seen, mut most_at_once) = (0, 0);
        while seen < CONNECTIONS {
            one_turn().await;
            most_at_once = most_at_once.max(accepted.get() - seen);
            seen = accepted.get();
        }
        assert!(most_at_once <= CONNECTIONS / 4, "{most_at_once} were accepted in one turn");
        drop(peers);
    });
}
