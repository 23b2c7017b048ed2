//! Connections that the kernel receives from by itself: all that was sent comes, in order, and nobody takes too much.

mod support;

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::pin;
use std::task::Poll;
use std::thread;

use runtime::{Stream, spawn};
use support::{connected_pair, loopback, on_each_backend};

async fn connected_ahead() -> (Stream, TcpStream) {
    let (mut stream, peer) = connected_pair().await;
    stream.receive_ahead();
    (stream, peer)
}

async fn receive_to_end(stream: &Stream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0; 700];
    loop {
        match stream.receive(&mut buffer).await.expect("received") {
            0 => return all,
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
}

fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

#[test]
fn messages_come_one_by_one() {
    on_each_backend(|| async {
        let (stream, mut peer) = connected_ahead().await;
        let mut buffer = [0; 64];
        for round in 0..1000_u32 {
            peer.write_all(&round.to_le_bytes()).expect("sent");
            assert_eq!(stream.receive(&mut buffer).await.expect("received"), 4);
            assert_eq!(buffer[..4], round.to_le_bytes());
        }
        drop(peer);
        assert_eq!(stream.receive(&mut buffer).await.expect("the end"), 0);
        assert_eq!(stream.receive(&mut buffer).await.expect("the end again"), 0);
    });
}

#[test]
fn a_wait_that_was_given_up_loses_nothing() {
    on_each_backend(|| async {
        let (stream, mut peer) = connected_ahead().await;
        for round in 0..100_u8 {
            let mut buffer = [0; 16];
            {
                let mut given_up = pin!(stream.receive(&mut buffer));
                let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
                assert!(polled.is_pending(), "nothing was sent yet");
            }
            peer.write_all(&[round]).expect("sent");
            assert_eq!(stream.receive(&mut buffer).await.expect("received"), 1);
            assert_eq!(buffer[0], round);
        }
    });
}

/// The kernel stops to receive for a client that sends without end, and the client notices.
#[test]
fn what_nobody_takes_stays_with_the_peer() {
    on_each_backend(|| async {
        let (stream, mut peer) = connected_ahead().await;
        let (mut other, mut other_peer) = connected_ahead().await;
        let mut first = [0; 1];
        peer.write_all(b"x").expect("sent");
        assert_eq!(stream.receive(&mut first).await.expect("received"), 1);
        let sent = pattern(64 << 20);
        peer.set_nonblocking(true).expect("non-blocking");
        let mut taken = 0;
        // Full again after the worker had its turns: more than the sockets hold was not received.
        for _ in 0..100 {
            while let Ok(more) = peer.write(&sent[taken..]) {
                taken += more;
            }
            other_peer.write_all(b"y").expect("sent");
            assert_eq!(other.receive(&mut first).await.expect("received"), 1);
        }
        assert!(taken < sent.len(), "{taken} bytes are held for one client");
        peer.set_nonblocking(false).expect("blocking");
        let (rest, received) = (sent.clone(), &stream);
        let sender = thread::spawn(move || {
            peer.write_all(&rest[taken..]).expect("sent");
            peer.shutdown(Shutdown::Write).expect("ended");
            peer
        });
        assert!(receive_to_end(received).await == sent, "all of it came, in order");
        drop(sender.join().expect("the sender"));
        other.receive_ahead();
    });
}

/// More connections than there are buffers send more than one of these at the same time.
#[test]
fn many_send_at_once() {
    on_each_backend(|| async {
        let listener = TcpListener::bind(loopback()).expect("a listener");
        let mut receivers = Vec::new();
        let mut peers = Vec::new();
        let sent = pattern(10_000);
        for _ in 0..400 {
            let peer = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
            let (accepted, address) = listener.accept().expect("accepted");
            accepted.set_nonblocking(true).expect("non-blocking");
            let mut stream = Stream::new(accepted.into(), address).expect("a stream");
            stream.receive_ahead();
            receivers.push(spawn(async move { receive_to_end(&stream).await }));
            peers.push(peer);
        }
        let senders = {
            let sent = sent.clone();
            thread::spawn(move || {
                for peer in &mut peers {
                    peer.write_all(&sent).expect("sent");
                }
            })
        };
        for receiver in receivers {
            assert!(receiver.await.expect("received") == sent);
        }
        senders.join().expect("the senders");
    });
}

#[test]
fn what_has_come_is_there_without_waiting() {
    on_each_backend(|| async {
        let (stream, mut peer) = connected_ahead().await;
        let mut buffer = [0; 16];
        assert_eq!(stream.try_receive(&mut buffer).expect_err("nothing").kind(), ErrorKind::WouldBlock);
        for round in 0..50_u8 {
            if round % 2 == 0 {
                // Now the kernel receives by itself.
                let mut given_up = pin!(stream.receive(&mut buffer));
                let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
                assert!(polled.is_pending());
            }
            peer.write_all(&[round]).expect("sent");
            assert_eq!(stream.try_receive(&mut buffer).expect("it was sent before"), 1);
            assert_eq!(buffer[0], round);
        }
    });
}

#[test]
fn urgent_data_comes_in_its_place() {
    on_each_backend(|| async {
        let (stream, peer) = connected_ahead().await;
        stream.set_urgent_inline(true).expect("set");
        let peer = socket2::Socket::from(peer);
        let sender = thread::spawn(move || {
            for _ in 0..100 {
                peer.send(b"abc").expect("sent");
                peer.send_out_of_band(b"d").expect("sent");
                peer.send(b"ef").expect("sent");
            }
        });
        let received = receive_to_end(&stream).await;
        sender.join().expect("the sender");
        assert_eq!(received, b"abcdef".repeat(100));
    });
}

#[test]
fn a_reset_is_an_error_and_then_the_end_of_it() {
    on_each_backend(|| async {
        let (stream, peer) = connected_ahead().await;
        let reset = thread::spawn(move || {
            let peer = socket2::Socket::from(peer);
            peer.set_linger(Some(std::time::Duration::ZERO)).expect("set");
        });
        let mut buffer = [0; 16];
        let error = stream.receive(&mut buffer).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        reset.join().expect("the peer");
    });
}
