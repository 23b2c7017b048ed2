//! What the tests share: running the program, and servers with faults.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub(crate) mod fake;

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::unistd::Pid;
use serde_json::Value;

/// A server that does with each connection what `serve` says, until the test is over.
pub(crate) fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(connection));
        }
    });
    address
}

/// The program; its exit status and what it said.
pub(crate) fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().unwrap()
}

/// A run, with the report that it wrote.
pub(crate) fn report(arguments: &[&str]) -> (Output, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut all = arguments.to_vec();
    all.extend(["--json", file.path().to_str().unwrap()]);
    let output = loadtest(&all);
    let text = std::fs::read(file.path()).unwrap();
    let report = serde_json::from_slice(&text).unwrap_or_else(|_| panic!("no report: {output:?}"));
    (output, report)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The server beside this program: cargo does not tell it to tests of other packages.
pub(crate) fn ringftpd() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("ringftpd");
    assert!(binary.is_file(), "there is no {}: run `cargo build -p ringftpd` first", binary.display());
    binary
}

/// How many descriptors a process has open.
pub(crate) fn descriptors(pid: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// A ringftpd that the test has started, and not the tester; ended when dropped.
pub(crate) struct Ringftpd {
    process: Child,
    address: String,
    log: Option<thread::JoinHandle<()>>,
}

impl Ringftpd {
    /// Everybody may read and write in `folder`.
    pub(crate) fn serving(folder: &Path) -> Self {
        let mut command = Command::new(ringftpd());
        command.arg("serve").arg(folder).args(["--listen", "127.0.0.1:0", "--log-format", "json"]);
        let mut process = command.args(["--anonymous", "write"]).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, addresses) = mpsc::channel();
        let log = BufReader::new(process.stderr.take().unwrap());
        // Its log is read to the end, lest it waits.
        let log = thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let entry: Value = serde_json::from_str(&line).unwrap_or_default();
                let message =
                    entry["message"].as_str().or(entry["fields"]["message"].as_str()).unwrap_or_default();
                if let Some(rest) = message.strip_prefix("listening on ") {
                    let address = rest.split(';').next().unwrap_or_default().to_owned();
                    // The test may have what it wanted.
                    let _ = sender.send(address);
                }
            }
        });
        Self { process, address: addresses.recv().unwrap(), log: Some(log) }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().unwrap())
    }
}

impl Drop for Ringftpd {
    fn drop(&mut self) {
        // The test may have ended it.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

/// The latency of a step in a report, in microseconds.
pub(crate) fn latency_us(report: &Value, step: &str, which: &str) -> f64 {
    let latencies = report["latencies"].as_array().unwrap();
    let of_step = latencies.iter().find(|latency| latency["step"] == step);
    of_step.unwrap_or_else(|| panic!("no {step} in {report}"))[which].as_f64().unwrap()
}

/// How often a kind of error is in a report.
pub(crate) fn errors(report: &Value, kind: &str) -> u64 {
    let errors = report["errors"].as_array().unwrap();
    errors.iter().filter(|error| error["kind"] == kind).map(|error| error["count"].as_u64().unwrap()).sum()
}
