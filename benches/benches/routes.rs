//! What each route costs over loopback, beside the bare loops that the kernel's calls would make of it.
//!
//! What is measured is processor time, of all threads of this process but the peer's: of the worker, of the threads that it
//! hands work to, and of the kernel's own that belong to the process. The peer runs on another core and throws away what it
//! receives without looking at it. `ROUTES_DIRECTORY` names where the files lie, `/dev/shm` unless it is set.
//!
//! On a machine that does other things at the same time, figures that were taken minutes apart do not compare.
//! `cargo bench --bench routes -- pairs` therefore takes each route's figure right after the bare loop's, many times, and
//! gives the median of the quotients; `no-download` and `no-upload` leave out the half of it. With `ROUTES_BOTH_ENDS` set, the
//! peer's processor time is counted, too.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, recv};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use runtime::{Backend, BackendChoice, Stream, WorkerConfig, allowed_cores, choose_backend, spawn_worker};
use transfer::{CachePolicy, Progress, TransferOptions, download, upload};

const SIZES: [(&str, usize); 4] =
    [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("1 GiB", 1 << 30)];
/// In place of the last of them where every sample moves it anew: criterion takes many.
const BIG_FOR_CRITERION: (&str, usize) = ("256 MiB", 256 << 20);
const ROUTES: [&str; 5] = ["auto", "sendfile", "splice", "ring-splice", "copy"];
/// Bytes that the bare loops move with a call.
const BARE_BYTES: usize = 1 << 20;
const BARE_BUFFER_BYTES: usize = 256 << 10;
/// Uploads whose connections stand at the same time.
const CONNECTIONS_MAX: u64 = 256;

fn directory() -> PathBuf {
    std::env::var_os("ROUTES_DIRECTORY").map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from)
}

fn unnamed_file() -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::libc::O_TMPFILE);
    options.open(directory()).expect("an unnamed file")
}

/// A file whose bytes are in the page cache.
fn file_of(bytes: usize) -> File {
    let file = unnamed_file();
    let piece = vec![0x5a; bytes.min(1 << 20)];
    for offset in (0..bytes).step_by(piece.len()) {
        file.write_all_at(&piece, offset as u64).expect("written");
    }
    file
}

fn time_of(clock: ClockId) -> Duration {
    clock_gettime(clock).expect("a clock").into()
}

/// Processor time of the process, to be had twice.
fn process_time() -> Duration {
    time_of(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// Runs `work` as a peer: on a core of its own; gives the processor time that it took.
fn peer(work: impl FnOnce() + Send + 'static) -> JoinHandle<Duration> {
    thread::spawn(move || {
        let cores = allowed_cores().expect("an affinity mask");
        pin(cores[1 % cores.len()]);
        work();
        time_of(ClockId::CLOCK_THREAD_CPUTIME_ID)
    })
}

/// What of the processor time is the peer's, and not to be counted: none of it with `ROUTES_BOTH_ENDS` set. Which end a
/// segment's way through the kernel is charged to depends on who happens to run when it comes.
fn share_of(peer: JoinHandle<Duration>) -> Duration {
    let time = peer.join().expect("the peer");
    if std::env::var_os("ROUTES_BOTH_ENDS").is_some() { Duration::ZERO } else { time }
}

fn pin(core: usize) {
    let mut only = CpuSet::new();
    only.set(core).expect("a core");
    sched_setaffinity(Pid::from_raw(0), &only).expect("pinned");
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let peer = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
    let (ours, _) = listener.accept().expect("accepted");
    (ours, peer)
}

fn stream_of(socket: TcpStream) -> Stream {
    socket.set_nonblocking(true).expect("an option");
    let address = socket.peer_addr().expect("an address");
    Stream::new(socket.into(), address).expect("a stream")
}

/// Receives until the end, looking at nothing.
fn discard(socket: &TcpStream) {
    let mut nothing = vec![0; 1 << 20];
    while recv(socket.as_raw_fd(), &mut nothing, MsgFlags::MSG_TRUNC).expect("received") > 0 {}
}

/// Sends so many bytes and the end.
fn send(mut socket: &TcpStream, mut bytes: usize) {
    let piece = vec![0x5a; bytes.min(1 << 20)];
    while bytes > 0 {
        let now = bytes.min(piece.len());
        socket.write_all(&piece[..now]).expect("sent");
        bytes -= now;
    }
    socket.shutdown(Shutdown::Write).expect("ended");
}

fn on_a_worker<F, Fut>(backend: Backend, main: F) -> Fut::Output
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    let core = allowed_cores().expect("an affinity mask")[0];
    let config = WorkerConfig { name: "bench".to_owned(), core, backend };
    spawn_worker(config, main).expect("a worker").join().expect("no panic")
}

/// Downloads one file again and again over one connection.
fn downloads(backend: Backend, options: TransferOptions, bytes: usize, times: u64) -> Duration {
    on_a_worker(backend, move || async move {
        let file = file_of(bytes);
        let (ours, theirs) = connected();
        let stream = stream_of(ours);
        let before = process_time();
        let receiving = peer(move || discard(&theirs));
        for _ in 0..times {
            let range = 0..bytes as u64;
            download(&file, range, &stream, options.clone(), &Progress::new()).await.expect("sent");
        }
        stream.close().await;
        let peer_time = share_of(receiving);
        process_time() - before - peer_time
    })
}

/// The same by sendfile(2) alone, on a socket that waits.
fn bare_downloads(bytes: usize, times: u64) -> Duration {
    on_a_thread(move || {
        let file = file_of(bytes);
        let (ours, theirs) = connected();
        let before = process_time();
        let receiving = peer(move || discard(&theirs));
        for _ in 0..times {
            let mut offset = 0;
            while offset < i64::try_from(bytes).expect("small") {
                sendfile64(&ours, &file, Some(&mut offset), BARE_BYTES).expect("sent");
            }
        }
        drop(ours);
        let peer_time = share_of(receiving);
        process_time() - before - peer_time
    })
}

fn on_a_thread(work: impl FnOnce() -> Duration + Send + 'static) -> Duration {
    let pinned = thread::spawn(|| {
        pin(allowed_cores().expect("an affinity mask")[0]);
        work()
    });
    pinned.join().expect("no panic")
}

/// The connections of a batch of uploads, and the peer that fills them.
fn fillers(bytes: usize, times: u64) -> (Vec<TcpStream>, JoinHandle<Duration>) {
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..times).map(|_| connected()).unzip();
    let sending = peer(move || theirs.iter().for_each(|socket| send(socket, bytes)));
    (ours, sending)
}

/// Uploads to one file again and again, a connection for each.
#[allow(clippy::needless_pass_by_value, reason = "of one shape with what measures downloads")]
fn uploads(backend: Backend, options: TransferOptions, bytes: usize, times: u64) -> Duration {
    let mut sum = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let batch = left.min(CONNECTIONS_MAX);
        left -= batch;
        let options = options.clone();
        sum += on_a_worker(backend, move || async move {
            let file = Rc::new(unnamed_file());
            let before = process_time();
            let (ours, sending) = fillers(bytes, batch);
            let setting_up = process_time() - before;
            for socket in ours {
                let stream = stream_of(socket);
                upload(&stream, &file, 0, options.clone(), &Progress::new()).await.expect("stored");
                stream.close().await;
            }
            let peer_time = share_of(sending);
            (process_time() - before).saturating_sub(setting_up + peer_time)
        });
    }
    sum
}

/// The same by recv(2) and write(2).
fn bare_uploads(bytes: usize, times: u64) -> Duration {
    let mut sum = Duration::ZERO;
    let mut left = times;
    while left > 0 {
        let batch = left.min(CONNECTIONS_MAX);
        left -= batch;
        sum += on_a_thread(move || {
            let file = unnamed_file();
            let mut buffer = vec![0; BARE_BUFFER_BYTES];
            let before = process_time();
            let (ours, sending) = fillers(bytes, batch);
            let setting_up = process_time() - before;
            for mut socket in ours {
                receive_and_write(&mut socket, &file, &mut buffer).expect("stored");
            }
            let peer_time = share_of(sending);
            (process_time() - before).saturating_sub(setting_up + peer_time)
        });
    }
    sum
}

fn receive_and_write(socket: &mut TcpStream, file: &File, buffer: &mut [u8]) -> io::Result<()> {
    let mut offset = 0;
    loop {
        let read = socket.read(buffer)?;
        if read == 0 {
            return Ok(());
        }
        file.write_all_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
}

fn options(route: &str) -> TransferOptions {
    TransferOptions { route: route.parse().expect("a route"), ..TransferOptions::default() }
}

/// One group for a direction and a size.
fn group(
    criterion: &mut Criterion,
    direction: &str,
    (name, bytes): (&str, usize),
    bare: fn(usize, u64) -> Duration,
    ours: fn(Backend, TransferOptions, usize, u64) -> Duration,
) {
    let (backend, _) = choose_backend(BackendChoice::Auto).expect("a backend");
    let mut group = criterion.benchmark_group(format!("{direction} {name}"));
    group.throughput(Throughput::Bytes(bytes as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group.bench_function("bare loop", |bencher| bencher.iter_custom(|times| bare(bytes, times)));
    for route in ROUTES {
        if direction == "upload" && route == "sendfile" {
            continue;
        }
        let id = BenchmarkId::new(route, backend);
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|times| ours(backend, options(route), bytes, times));
        });
    }
    if direction == "upload" {
        for cache_policy in [CachePolicy::DropBehind, CachePolicy::Direct] {
            let policy = TransferOptions { cache_policy, ..TransferOptions::default() };
            let id = BenchmarkId::new(format!("{cache_policy:?}"), backend);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|times| ours(backend, policy.clone(), bytes, times));
            });
        }
    }
    group.finish();
}

fn routes(criterion: &mut Criterion) {
    let [small, middle, large, _] = SIZES;
    for size in [small, middle, large, BIG_FOR_CRITERION] {
        group(criterion, "download", size, bare_downloads, downloads);
        group(criterion, "upload", size, bare_uploads, uploads);
    }
}

/// Rounds of [`pairs`].
const ROUNDS: usize = 7;
/// Bytes that a round moves with each way, about; small files would be measured in clock ticks otherwise.
const ROUND_BYTES: usize = 1 << 30;
/// Transfers of a round, at most.
const ROUND_TRANSFERS_MAX: u64 = 20_000;

/// The lower quartile, the median and the upper quartile.
fn quartiles(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

/// Each way after the bare loop, round by round, as a table in Markdown.
fn pairs(
    direction: &str,
    bare: fn(usize, u64) -> Duration,
    ours: fn(Backend, TransferOptions, usize, u64) -> Duration,
) {
    let (backend, _) = choose_backend(BackendChoice::Auto).expect("a backend");
    for (name, bytes) in SIZES {
        let times = ((ROUND_BYTES / bytes) as u64).min(ROUND_TRANSFERS_MAX);
        let mut ways: Vec<(String, TransferOptions)> =
            ROUTES.iter().map(|route| ((*route).to_owned(), options(route))).collect();
        if direction == "upload" {
            ways.retain(|(name, _)| name != "sendfile");
            ways.extend([CachePolicy::DropBehind, CachePolicy::Direct].map(|cache_policy| {
                (format!("{cache_policy:?}"), TransferOptions { cache_policy, ..TransferOptions::default() })
            }));
        }
        println!(
            "\n| {direction} {name} on {backend} | bare loop | this way | quotient (quartiles) |\n| --- | --- | --- | --- |"
        );
        for (way, options) in ways {
            let rounds: Vec<(f64, f64)> = (0..ROUNDS)
                .map(|_| {
                    let each = |sum: Duration| {
                        sum.as_secs_f64() * 1e6 / f64::from(u32::try_from(times).expect("few"))
                    };
                    (each(bare(bytes, times)), each(ours(backend, options.clone(), bytes, times)))
                })
                .collect();
            let [_, bare_median, _] = quartiles(rounds.iter().map(|round| round.0).collect());
            let [_, our_median, _] = quartiles(rounds.iter().map(|round| round.1).collect());
            let [low, median, high] = quartiles(rounds.iter().map(|round| round.1 / round.0).collect());
            println!(
                "| {way} | {bare_median:.1} µs | {our_median:.1} µs | {median:.2} ({low:.2} to {high:.2}) |"
            );
        }
    }
}

criterion_group!(benches, routes);

fn main() {
    if std::env::args().any(|argument| argument == "pairs") {
        let wanted = |direction: &str| std::env::args().all(|argument| argument != format!("no-{direction}"));
        if wanted("download") {
            pairs("download", bare_downloads, downloads);
        }
        if wanted("upload") {
            pairs("upload", bare_uploads, uploads);
        }
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
