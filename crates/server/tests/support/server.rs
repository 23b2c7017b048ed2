//! The real `ringftpd`, started for one test.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Names the runtime that the servers of a test run on: `auto`, `io_uring` or `epoll`.
const RUNTIME_VARIABLE: &str = "RINGFTPD_TEST_RUNTIME";

/// How long a start or an end may take before the test fails. No good run comes near it, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. It is stopped, and must end well, when it is dropped; its log is shown if the test fails.
pub(crate) struct Server {
    child: Child,
    addresses: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    log: Log,
    log_ended: Receiver<()>,
    has_ended: bool,
    launch: Launch,
}

/// How a server is started.
#[derive(Default)]
struct Launch {
    /// What runs the server, if it is not run as it is.
    wrapper: Vec<OsString>,
    directory: PathBuf,
    arguments: Vec<OsString>,
}

/// What the server has written so far.
#[derive(Clone, Default)]
struct Log(Arc<LogLines>);

#[derive(Default)]
struct LogLines {
    lines: Mutex<Vec<String>>,
    /// Another line is there.
    grown: Condvar,
}

/// What a line of the log says about the start.
enum Sign {
    Listening(SocketAddr),
    Metrics(SocketAddr),
    Ready,
}

impl Server {
    /// Serves `directory` on a free port of 127.0.0.1, with two workers, unless `arguments` say otherwise.
    ///
    /// # Panics
    ///
    /// If the server does not say that it is ready.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_by(&[], directory, arguments)
    }

    /// As [`Server::start`], by a program that ends in becoming the one its further arguments name:
    /// `["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"]`.
    ///
    /// # Panics
    ///
    /// If the server does not say that it is ready.
    pub(crate) fn start_by(wrapper: &[&str], directory: &Path, arguments: &[&str]) -> Self {
        Self::launch(Launch::new(wrapper, directory, arguments))
    }

    fn launch(launch: Launch) -> Self {
        let mut child = launch.command().spawn().expect("the server's binary starts");
        let log = Log::default();
        let (signs_in, signs) = mpsc::channel();
        let (ended_in, log_ended) = mpsc::channel();
        let stderr = child.stderr.take().expect("standard error is piped");
        let gathered = log.clone();
        thread::spawn(move || {
            gathered.gather(stderr, &signs_in);
            // Nobody may be waiting.
            let _ = ended_in.send(());
        });
        let mut server =
            Self { child, addresses: Vec::new(), metrics: None, log, log_ended, has_ended: false, launch };
        server.wait_until_ready(&signs);
        server
    }

    fn wait_until_ready(&mut self, signs: &Receiver<Sign>) {
        loop {
            match signs.recv_timeout(PATIENCE) {
                Ok(Sign::Listening(address)) => self.addresses.push(address),
                Ok(Sign::Metrics(address)) => self.metrics = Some(address),
                Ok(Sign::Ready) => break,
                Err(error) => panic!("the server did not get ready: {error}"),
            }
        }
        assert!(!self.addresses.is_empty(), "a server that is ready has said where it listens");
    }

    /// Where the first listener is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where the listeners are, in the order of `--listen`.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where its metrics are, if it was started with `--metrics`.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics.expect("a server with --metrics")
    }

    /// The port of the first listener, as clients want it on their command line.
    pub(crate) fn port(&self) -> String {
        self.address().port().to_string()
    }

    /// `ftp://127.0.0.1:PORT/` and `path`, which is percent-encoded already.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("ftp://{}/{path}", self.address())
    }

    /// The lines of the log, with all that was logged before this call: the server's log is written with a delay, so
    /// that a command of its own is sent after the others, and waited for.
    pub(crate) fn log(&self) -> Vec<String> {
        static MARKS: AtomicU64 = AtomicU64::new(0);
        let mark = format!("NOOP mark-{}-", MARKS.fetch_add(1, Ordering::Relaxed));
        let mut connection = TcpStream::connect(self.address()).expect("the server takes a connection");
        write!(connection, "{mark}\r\n").expect("the server takes a command");
        self.log.lines_up_to(&mark)
    }

    /// The lines of the log that are written by now.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    /// Waits until so many lines of the log have `text`; gives the last of them.
    pub(crate) fn logs(&self, text: &str, times: usize) -> String {
        let is_missing =
            |lines: &mut Vec<String>| lines.iter().filter(|line| line.contains(text)).count() < times;
        let waited = self.log.0.grown.wait_timeout_while(self.log.lock(), PATIENCE, is_missing);
        let (lines, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "the log has not {times} times {text}:\n{}", lines.join("\n"));
        lines.iter().rfind(|line| line.contains(text)).cloned().unwrap_or_default()
    }

    /// How often the log has the field `"line":"COMMAND..."`, that is, how many commands began so.
    pub(crate) fn commands_seen(&self, command: &str) -> usize {
        let wanted = format!("\"line\":\"{command}");
        self.log().iter().filter(|line| line.contains(&wanted)).count()
    }

    /// The number of the server's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many file descriptors the server has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the server runs").count()
    }

    /// Asks the server to end, and checks that it does so, with success.
    pub(crate) fn stop(mut self) {
        self.end_well();
    }

    /// Ends the server in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        let status = self.wait();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "the server was still there to be killed");
    }

    /// Stops the server and starts it again, as it was started: on another port, unless that was named.
    pub(crate) fn restart(mut self) -> Self {
        self.end_well();
        Self::launch(std::mem::take(&mut self.launch))
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process number");
        kill(Pid::from_raw(pid), signal).expect("the server runs");
    }

    /// Waits for the server's end, which somebody has asked for.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = self.log_ended.recv_timeout(PATIENCE);
        self.has_ended = true;
        if ended.is_err() {
            self.child.kill().expect("the server can be killed");
        }
        let status = self.child.wait().expect("the server is ours");
        assert!(ended.is_ok(), "the server did not end within {PATIENCE:?}");
        status
    }

    fn end_well(&mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        assert!(status.success(), "the server ended with {status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            if !self.has_ended {
                // It may have ended by itself, which its log then tells.
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            eprintln!("the server's log:\n{}", self.log.lock().join("\n"));
        } else if !self.has_ended {
            self.end_well();
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines so far, once one of them has `mark`.
    fn lines_up_to(&self, mark: &str) -> Vec<String> {
        let is_missing = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(mark));
        let waited = self.0.grown.wait_timeout_while(self.lock(), PATIENCE, is_missing);
        let (lines, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "the log has no {mark}");
        lines.clone()
    }

    /// Keeps every line, and tells those that the start waits for.
    fn gather(&self, stderr: ChildStderr, signs: &Sender<Sign>) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(sign) = sign(&line) {
                // After the start nobody waits for signs.
                let _ = signs.send(sign);
            }
            self.lock().push(line);
            self.0.grown.notify_all();
        }
    }
}

/// Runs the server where it is expected to refuse to start; gives what it said.
///
/// # Panics
///
/// If it starts after all, or ends with success.
pub(crate) fn refusal(directory: &Path, arguments: &[&str]) -> String {
    let mut child =
        Launch::new(&[], directory, arguments).command().spawn().expect("the server's binary starts");
    let stderr = child.stderr.take().expect("standard error is piped");
    let (signs_in, signs) = mpsc::channel();
    let log = Log::default();
    let gathered = log.clone();
    let gatherer = thread::spawn(move || gathered.gather(stderr, &signs_in));
    let started = signs.iter().any(|sign| matches!(sign, Sign::Ready));
    if started {
        child.kill().expect("the server can be killed");
    }
    let status = child.wait().expect("the server is ours");
    gatherer.join().expect("the log is read");
    let said = log.lock().join("\n");
    assert!(!started, "the server started:\n{said}");
    assert!(!status.success() && status.code().is_some(), "the server ended with {status}:\n{said}");
    said
}

impl Launch {
    fn new(wrapper: &[&str], directory: &Path, arguments: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(OsString::from).collect();
        Self { wrapper: owned(wrapper), directory: directory.to_owned(), arguments: owned(arguments) }
    }

    fn command(&self) -> Command {
        let mut words = self.wrapper.clone();
        words.extend([env!("CARGO_BIN_EXE_ringftpd").into(), "serve".into()]);
        words.push(self.directory.clone().into_os_string());
        words.extend(["--log-format".into(), "json".into()]);
        let runtime = std::env::var_os(RUNTIME_VARIABLE).unwrap_or_else(|| "auto".into());
        let defaults: [(&str, OsString); 4] = [
            ("--listen", "127.0.0.1:0".into()),
            ("--workers", "2".into()),
            ("--log-level", "debug".into()),
            ("--runtime", runtime),
        ];
        for (option, value) in defaults {
            if !self.arguments.iter().any(|argument| argument == option) {
                words.extend([option.into(), value]);
            }
        }
        words.extend_from_slice(&self.arguments);
        let mut command = Command::new(&words[0]);
        // The server reads every variable of its prefix, and knows none of the tests'.
        command.env_remove(RUNTIME_VARIABLE);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

fn sign(line: &str) -> Option<Sign> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = event.get("message")?.as_str()?;
    if message == "ready" {
        return Some(Sign::Ready);
    }
    if let Some((address, _)) = message.strip_prefix("metrics on http://").and_then(|url| url.split_once('/'))
    {
        return address.parse().ok().map(Sign::Metrics);
    }
    let (address, _) = message.strip_prefix("listening on ")?.split_once(';')?;
    address.parse().ok().map(Sign::Listening)
}
