//! Runs a test on a worker of each backend, with connected pairs and files to move.
#![allow(dead_code)] // Each test file uses its part.

pub(crate) mod slow_file_system;

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use runtime::{
    Backend, BackendChoice, ListenOptions, Listener, Stream, WorkerConfig, allowed_cores, choose_backend,
    spawn_worker,
};
use transfer::TransferOptions;

/// The backends to test: both, or those that `RINGFTPD_TEST_BACKENDS` names, with commas between.
fn backends() -> Vec<Backend> {
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

/// Runs `main` on a worker of each backend in turn.
pub(crate) fn on_each_backend<F, Fut>(main: F)
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let core = allowed_cores().expect("an affinity mask")[0];
    for backend in backends() {
        eprintln!("on {backend}");
        let config = WorkerConfig { name: format!("test-{backend}"), core, backend };
        let worker = spawn_worker(config, main.clone()).expect("a worker");
        worker.join().expect("the test passes on this backend");
    }
}

/// A data connection of this worker and its peer, a blocking socket of the standard library.
pub(crate) async fn connected_pair() -> (Stream, TcpStream) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = Listener::bind(address, ListenOptions::default()).expect("a listener");
    let peer = TcpStream::connect(listener.local()).expect("a connection");
    let (accepted, _) = listener.accept().await.expect("accepted");
    listener.close().await;
    (accepted.into_stream().expect("a stream"), peer)
}

/// A thread that reads all that comes.
pub(crate) fn reader(mut peer: TcpStream) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut received = Vec::new();
        peer.read_to_end(&mut received).expect("received");
        received
    })
}

/// A thread that reads a little now and then, until the connection ends.
pub(crate) fn trickling_reader(mut peer: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut received = [0; 256];
        while matches!(peer.read(&mut received), Ok(1..)) {
            thread::sleep(Duration::from_millis(50));
        }
    })
}

/// A thread that sends `bytes` and ends its side; it keeps the connection open until joined.
pub(crate) fn writer(mut peer: TcpStream, bytes: Vec<u8>) -> JoinHandle<TcpStream> {
    thread::spawn(move || {
        peer.write_all(&bytes).expect("sent");
        peer.shutdown(Shutdown::Write).expect("ended");
        peer
    })
}

/// Bytes that differ from their neighbours and from page to page.
pub(crate) fn sample(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| step()).collect()
}

/// An unnamed file on the file system of the build, which is a real one.
pub(crate) fn empty_file() -> File {
    // Only the tests beside the crate are told of a directory; the program itself lies in one for all.
    let program = std::env::current_exe().expect("this program");
    tempfile::tempfile_in(program.parent().expect("its directory")).expect("a file")
}

pub(crate) fn file_of(bytes: &[u8]) -> File {
    let file = empty_file();
    file.write_all_at(bytes, 0).expect("written");
    file
}

/// Has the page cache forget a file, which has to be on the disk.
pub(crate) fn forget(file: &File) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).expect("advised");
}

/// The first `length` bytes of a file, which must have no more.
pub(crate) fn contents(file: &File) -> Vec<u8> {
    let length = usize::try_from(file.metadata().expect("its size").len()).expect("a small file");
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).expect("read");
    bytes
}

pub(crate) fn device(path: &str) -> File {
    OpenOptions::new().write(true).open(path).expect("a device")
}

/// The planned route, and each of the others; a transfer takes the planned one where it cannot take the other.
pub(crate) fn routes() -> [TransferOptions; 5] {
    ["auto", "sendfile", "splice", "ring-splice", "copy"]
        .map(|route| TransferOptions { route: route.parse().expect("a route"), ..TransferOptions::default() })
}

/// The descriptors that this process has open.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}
