//! Runs a test on a worker of each backend.
#![allow(dead_code)] // Each test file uses its part.

use std::future::{Future, poll_fn};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;
use std::thread;

use runtime::{
    Accepted, Backend, BackendChoice, ListenOptions, Listener, Stream, WorkerConfig, allowed_cores,
    choose_backend, spawn_worker,
};

/// A free port of the loopback.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// The backends to test: both, or those that `RINGFTPD_TEST_BACKENDS` names, with commas between.
///
/// # Panics
///
/// If io_uring is refused here. A test must not pass for want of what it tests.
pub(crate) fn backends() -> Vec<Backend> {
    let named = std::env::var("RINGFTPD_TEST_BACKENDS").unwrap_or_else(|_| "io_uring,epoll".to_owned());
    let choose = |name: &str| {
        let choice: BackendChoice = name.parse().expect("RINGFTPD_TEST_BACKENDS names backends");
        match choose_backend(choice) {
            Ok((backend, _)) => backend,
            Err(refused) => panic!("{refused} (RINGFTPD_TEST_BACKENDS=epoll tests the rest)"),
        }
    };
    named.split(',').map(choose).collect()
}

/// Starts a worker on the first core that is allowed.
pub(crate) fn start<F, Fut>(backend: Backend, main: F) -> thread::JoinHandle<Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let core = allowed_cores().expect("an affinity mask")[0];
    let config = WorkerConfig { name: format!("test-{backend}"), core, backend };
    spawn_worker(config, main).expect("a worker")
}

/// Runs `main` on a worker of each backend in turn.
pub(crate) fn on_each_backend<F, Fut>(main: F)
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    for backend in backends() {
        eprintln!("on {backend}");
        start(backend, main.clone()).join().expect("the test passes on this backend");
    }
}

/// Keeps the tests of one process that count its descriptors from running beside each other.
pub(crate) fn alone() -> impl Drop {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The descriptors that this process has open.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// A connection of this worker and its peer, a blocking socket of the standard library.
pub(crate) async fn connected_pair() -> (Stream, TcpStream) {
    let listener = Listener::bind(loopback(), ListenOptions::default()).expect("a listener");
    let peer = TcpStream::connect(listener.local()).expect("a connection");
    let (accepted, address): (Accepted, SocketAddr) = listener.accept().await.expect("an accepted one");
    assert_eq!(address, peer.local_addr().expect("an address"));
    listener.close().await;
    (accepted.into_stream().expect("a stream"), peer)
}

/// A thread that sends `bytes` and then reads to the end.
pub(crate) fn exchange(mut peer: TcpStream, bytes: Vec<u8>) -> thread::JoinHandle<Vec<u8>> {
    use std::io::Write;
    thread::spawn(move || {
        peer.write_all(&bytes).expect("sent");
        peer.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).expect("received");
        answer
    })
}

/// Whether `address` can be listened on by somebody who did not ask for SO_REUSEPORT.
pub(crate) fn can_be_bound(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

/// Lets the worker go round once: all others go first that are ready.
pub(crate) async fn one_turn() {
    let mut is_round = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_round, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
