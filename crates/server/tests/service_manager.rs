//! What systemd hears of the server, on a real socket of its kind, and the unit that ships.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use raw::{Client, PATIENCE, read_all};
use support::program::Program;
use support::server::Server;
use support::tree;
use tempfile::TempDir;

/// A service manager's end, and a directory with a configuration and something to serve.
struct Manager {
    socket: UnixDatagram,
    scratch: TempDir,
}

impl Manager {
    fn new(socket: UnixDatagram, scratch: TempDir) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        tree::write(&scratch.path().join("served"), "file".as_ref(), b"contents");
        let large = scratch.path().join("served/large");
        File::create(large).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
        Self { socket, scratch }
    }

    fn at_path() -> (Self, String) {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let path = scratch.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let name = path.to_str().expect("a temporary path is text").to_owned();
        (Self::new(socket, scratch), name)
    }

    fn starts(&self, name: &str, more: &[&str]) -> Server {
        let socket = format!("NOTIFY_SOCKET={name}");
        let mut environment = vec!["env", &socket];
        environment.extend(more);
        let config = self.scratch.path().join("ringftpd.toml");
        fs::write(&config, "banner = \"a\"\n").expect("a configuration");
        let config = config.to_str().expect("a temporary path is text");
        Server::start_by(&environment, &self.scratch.path().join("served"), &["--config", config])
    }

    /// The next message, but for the watchdog's.
    fn hears(&self) -> String {
        loop {
            let message = self.hears_any().expect("a message");
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    fn hears_any(&self) -> std::io::Result<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer)?;
        Ok(String::from_utf8(buffer[..length].to_vec()).expect("messages are text"))
    }

    /// What came by now.
    fn has_heard(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("a socket option");
        let heard = std::iter::from_fn(|| self.hears_any().ok()).collect();
        self.socket.set_nonblocking(false).expect("a socket option");
        heard
    }
}

#[track_caller]
fn is_reloading(message: &str) {
    let usec = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a reload begins");
    assert!(usec.parse::<u64>().expect("a number") > 0);
}

#[test]
fn it_hears_of_start_reload_and_stop() {
    let (manager, name) = Manager::at_path();
    let mut server = manager.starts(&name, &[]);
    let ready = manager.hears();
    assert_eq!(ready, format!("READY=1\nSTATUS=serving on {}", server.address()));
    // It was told when clients were served, not before.
    let mut client = Client::log_in(server.address());

    server.signal(Signal::SIGHUP);
    is_reloading(&manager.hears());
    assert_eq!(manager.hears(), "READY=1\nSTATUS=configuration reloaded");

    // A fault ends the reload as well, and is seen in the status.
    let config = manager.scratch.path().join("ringftpd.toml");
    fs::write(&config, "baner = 1\nworkers = false\n").expect("a configuration");
    server.signal(Signal::SIGHUP);
    is_reloading(&manager.hears());
    let failed = manager.hears();
    assert!(failed.starts_with("READY=1\nSTATUS=configuration not reloaded: "), "{failed}");
    assert!(failed.contains("ringftpd.toml:1:1: baner: unknown key; did you mean banner?; "), "{failed}");
    assert_eq!(failed.lines().count(), 2, "{failed}");

    let mut data = client.opens_data();
    client.says("RETR large", 150);
    server.signal(Signal::SIGTERM);
    let stopping = manager.hears();
    // The drain deadline of the defaults, and ten seconds.
    assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=70000000\nSTATUS=draining"), "{stopping}");
    read_all(&mut data);
    client.hears(226);
    assert!(server.wait().success());
}

#[test]
fn a_socket_may_be_abstract() {
    let name = format!("ringftpd-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    let manager = Manager::new(socket, tempfile::tempdir().expect("a temporary directory"));
    let server = manager.starts(&format!("@{name}"), &[]);
    assert!(manager.hears().starts_with("READY=1\n"));
    server.stop();
    assert!(manager.hears().starts_with("STOPPING=1\n"));
}

#[test]
fn a_manager_that_is_not_there_stops_nothing() {
    let (manager, name) = Manager::at_path();
    let nobody = format!("{name}-of-nobody");
    let server = manager.starts(&nobody, &["WATCHDOG_USEC=1000000"]);
    server.logs("the service manager at", 1);
    Client::log_in(server.address()).quits();
}

#[test]
fn the_watchdog_hears_as_long_as_every_worker_answers() {
    let (manager, name) = Manager::at_path();
    // Half of it is the time in which every worker has to get its turn, on a busy machine too.
    let server = manager.starts(&name, &["WATCHDOG_USEC=2000000"]);
    let hears_watchdog = || while manager.hears_any().expect("a message") != "WATCHDOG=1" {};
    hears_watchdog();
    hears_watchdog();

    // One worker stands still, and the process as a whole does not.
    let worker = thread_of(server.pid(), "worker-1");
    ptrace::attach(worker).expect("the server is a child of the test");
    waitpid(worker, Some(WaitPidFlag::__WALL)).expect("the thread stops");
    let silence = "a worker does not answer";
    server.logs(silence, 1);
    manager.has_heard();
    server.logs(silence, 3);
    let heard = manager.has_heard();
    // The worker goes on before the test can fail, so that the server can end.
    ptrace::detach(worker, None).expect("the thread goes on");
    assert_eq!(heard, [""; 0], "the watchdog was told that all is well");
    hears_watchdog();
    Client::log_in(server.address()).quits();
}

/// The thread of a process with this name.
fn thread_of(pid: u32, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs");
    let mut tasks = tasks.map(|task| task.expect("an entry").path());
    let is_named = |task: &std::path::PathBuf| {
        fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let task = tasks.find(is_named).expect("a thread of that name");
    let number = task.file_name().and_then(|number| number.to_str()?.parse().ok());
    Pid::from_raw(number.expect("a thread's number"))
}

#[test]
fn the_unit_is_right_and_tight() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd/ringftpd.service");
    let text = fs::read_to_string(&unit).expect("the unit is there");
    // What it starts has to be there, and so has its manual.
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let verified = scratch.path().join("ringftpd.service");
    let text = text.replace("/usr/bin/ringftpd", env!("CARGO_BIN_EXE_ringftpd"));
    let text = text.replace("Documentation=man:ringftpd(1)\n", "");
    fs::write(&verified, &text).expect("written");
    let analyze = || Program::new("systemd-analyze", "systemd", scratch.path(), scratch.path());
    let said = analyze().args(["verify", "--man=no", "./ringftpd.service"]).succeeds();
    assert_eq!(said.stderr.trim(), "", "an unknown key or value is only a warning");
    // The exposure that systemd counts, times ten; what is left of it is that this is a server on a network.
    analyze().args(["security", "--offline=true", "--threshold=25", "./ringftpd.service"]).succeeds();
}
