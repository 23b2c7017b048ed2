//! What a small transfer costs in system calls: no more than docs/performance.md lists, each with its reason.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use raw::{Client, read_all};
use support::site::Site;
use support::tree;

const TRANSFERS: u64 = 100;
/// Timers, and a wait that is answered a moment too early, add a call now and then: so many for a hundred transfers.
const NOW_AND_THEN: u64 = 60;

/// What each runtime calls for one `PASV`, its data connection and the `RETR` of a warm file of 1 KiB, as docs/performance.md
/// lists it. A wait is one more where the client's next step comes a moment later.
const ON_IO_URING: [(&str, u64); 9] = [
    ("accept4", 1),
    ("close", 2),
    ("io_uring_enter", 3),
    ("newfstatat", 1),
    ("openat2", 1),
    ("poll", 1),
    ("preadv2", 1),
    ("recvfrom", 1),
    ("sendto", 4),
];
const ON_EPOLL: [(&str, u64); 9] = [
    ("accept4", 1),
    ("close", 2),
    ("epoll_wait", 3),
    ("newfstatat", 1),
    ("openat2", 1),
    ("poll", 1),
    ("preadv2", 1),
    ("recvfrom", 3),
    ("sendto", 4),
];
/// What is asked in builds for tests alone: whether a descriptor may block.
const WITH_ASSERTIONS: (&str, u64) = ("fcntl", 3);

/// strace on a running thread. Its output is what it saw until it is told to end.
struct Trace {
    strace: Child,
    output: PathBuf,
}

impl Trace {
    /// Traces a thread, and no other.
    fn of(thread: &str, output: PathBuf) -> Self {
        let mut strace = Command::new("strace")
            .args(["-qqq", "-o"])
            .arg(&output)
            .args(["-p", thread])
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed: apt-get install strace (or cargo xtask test, which does it)");
        // It says nothing when it has attached, but the thread tells.
        let tracer = format!("TracerPid:\t{}\n", strace.id());
        raw::waiting::until("strace has attached", || {
            if let Some(ended) = strace.try_wait().expect("a child") {
                let mut said = String::new();
                let stderr = strace.stderr.take().expect("standard error is piped");
                BufReader::new(stderr).read_to_string(&mut said).expect("strace says why");
                panic!("strace ended, {ended}: {said}");
            }
            fs::read_to_string(format!("/proc/{thread}/status")).is_ok_and(|status| status.contains(&tracer))
        });
        Self { strace, output }
    }

    /// The calls that were made, each with its result.
    fn lines(mut self) -> Vec<String> {
        let pid = i32::try_from(self.strace.id()).expect("a process number");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("strace runs");
        self.strace.wait().expect("strace ends");
        let output = BufReader::new(fs::File::open(&self.output).expect("its output"));
        output.lines().map(|line| line.expect("text")).collect()
    }

    /// How often each system call was made.
    fn counts(self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for line in self.lines() {
            // `sendto(7, ...` is a call; `--- SIGCHLD ...` is none.
            if let Some((name, _)) = line.split_once('(')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                *counts.entry(name.to_owned()).or_insert(0) += 1;
            }
        }
        counts
    }
}

/// The thread of the only worker.
fn worker(pid: u32) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
    let is_worker =
        |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("worker-"));
    let task = tasks.map(|task| task.expect("an entry").path()).find(is_worker).expect("a worker");
    task.file_name().and_then(|name| name.to_str()).expect("a number").to_owned()
}

#[test]
fn a_small_download_makes_the_calls_that_are_listed() {
    let site = Site::new(&["--workers", "1"], |served, _| {
        tree::write(served, "small".as_ref(), &[b'x'; 1024]);
    });
    let mut client = Client::log_in(site.server.address());
    client.says("TYPE I", 200);
    for _ in 0..3 {
        client.fetches("RETR small");
    }
    let trace = Trace::of(&worker(site.server.pid()), site.elsewhere("trace").join("calls"));
    for _ in 0..TRANSFERS {
        assert_eq!(client.fetches("RETR small").len(), 1024);
    }
    let counts = trace.counts();
    let on_io_uring = counts.contains_key("io_uring_enter");
    let mut listed: BTreeMap<&str, u64> = if on_io_uring { ON_IO_URING.into() } else { ON_EPOLL.into() };
    if cfg!(debug_assertions) {
        listed.extend([WITH_ASSERTIONS]);
    }
    for (name, count) in &counts {
        let most = listed.get(name.as_str()).copied().unwrap_or(0);
        assert!(
            *count <= most * TRANSFERS + NOW_AND_THEN,
            "{name}: {count} calls for {TRANSFERS} transfers, and {most} for each are listed; all: {counts:?}"
        );
    }
    for (name, each) in [("sendto", 4), ("openat2", 1), ("close", 2)] {
        let count = counts.get(name).copied().unwrap_or(0);
        assert!(count >= each * TRANSFERS, "{name}: {count} calls were seen; all: {counts:?}");
    }
}

/// Its blocks are freed with its last descriptor, which waits for the journal of a disk that is behind.
#[test]
fn a_file_that_was_deleted_under_its_download_is_not_closed_by_the_worker() {
    const BYTES: usize = 32 << 20;
    let site = Site::new(&["--workers", "1", "--anonymous", "write"], |served, _| {
        for name in ["kept", "deleted"] {
            tree::write(served, name.as_ref(), &vec![7; BYTES]);
        }
    });
    let mut client = Client::log_in(site.server.address());
    client.says("TYPE I", 200);
    let mut other = Client::log_in(site.server.address());
    for (name, is_closed_by_the_worker) in [("kept", true), ("deleted", false)] {
        let mut data = client.opens_data();
        client.says(format!("RETR {name}"), 150);
        data.read_exact(&mut [0]).expect("the transfer has begun");
        if !is_closed_by_the_worker {
            other.says(format!("DELE {name}"), 250);
        }
        let trace = Trace::of(&worker(site.server.pid()), site.elsewhere(name).join("calls"));
        assert_eq!(read_all(&mut data).len(), BYTES - 1);
        client.hears(226);
        let lines = trace.lines();
        let sent = lines.iter().find(|line| line.starts_with("sendfile(")).expect("it was sent");
        let file = argument(sent, 1);
        let is_closed = lines.iter().any(|line| line.starts_with("close(") && argument(line, 0) == file);
        assert_eq!(is_closed, is_closed_by_the_worker, "{name}: {lines:?}");
    }
}

/// While the kernel still watches a descriptor that was closed, its next owner would be told of events that are not his.
#[test]
fn what_is_waited_for_is_let_go_before_it_is_closed() {
    const UPLOADS: usize = 5;
    let site = Site::new(&["--workers", "1", "--anonymous", "write"], |_, _| ());
    let mut client = Client::log_in(site.server.address());
    let trace = Trace::of(&worker(site.server.pid()), site.elsewhere("trace").join("calls"));
    for _ in 0..UPLOADS {
        client.stores("STOR file", b"contents");
    }
    let lines = trace.lines();
    let is_end_of_upload = |line: &String| line.starts_with("splice(") && line.ends_with("= 0");
    let ends: Vec<_> = lines.iter().enumerate().filter(|(_, line)| is_end_of_upload(line)).collect();
    assert_eq!(ends.len(), UPLOADS, "{lines:?}");
    for (end, line) in ends {
        let connection = argument(line, 0);
        let closes = |line: &String| line.starts_with("close(") && argument(line, 0) == connection;
        let after = &lines[end..];
        let closed = after.iter().position(closes).expect("the connection is closed");
        assert!(after[..closed].iter().any(|line| lets_go(line)), "{after:?}");
    }
}

/// Whether a call takes a registration with epoll back, or hands something to the ring: at an upload's end that is a cancel.
fn lets_go(call: &str) -> bool {
    call.contains("EPOLL_CTL_DEL") && call.ends_with("= 0")
        || call.starts_with("io_uring_enter(") && argument(call, 1) != "0"
}

/// One of a call's arguments, as strace writes it.
fn argument(call: &str, number: usize) -> &str {
    let arguments = call.split_once('(').map_or("", |(_, arguments)| arguments);
    arguments.split([',', ')']).nth(number).unwrap_or_default().trim()
}
