//! The real server.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A server of this test, which ends with it.
pub(crate) struct Ringftpd {
    process: Child,
    directory: tempfile::TempDir,
    listening: Vec<SocketAddr>,
}

/// The binary beside this test's own: cargo does not tell it to tests of other packages.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("ringftpd");
    assert!(binary.is_file(), "there is no {}: run `cargo build -p ringftpd` first", binary.display());
    binary
}

impl Ringftpd {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("hello.txt"), "hello").unwrap();
        let mut process = Command::new(binary())
            .arg("serve")
            .arg(directory.path())
            .args(arguments)
            .args(["--log-format", "json"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let listening = addresses(process.stderr.take().unwrap());
        Self { process, directory, listening }
    }

    pub(crate) fn port_of(&self, host: &str) -> Option<u16> {
        let address = self.listening.iter().find(|address| address.ip().to_string() == host);
        address.map(SocketAddr::port)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

/// The addresses that the log names until it says that the server is ready. What is logged later is read too, lest the pipe
/// fill.
fn addresses(log: std::process::ChildStderr) -> Vec<SocketAddr> {
    let (told, wait) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            // The test may have all it wants by now.
            let _ = told.send(line);
        }
    });
    let mut listening = Vec::new();
    loop {
        let line =
            wait.recv_timeout(START_TIMEOUT).expect("the server is ready in time, or its log says why not");
        let address = line.split_once("listening on ").map(|(_, rest)| rest);
        let end = |character: char| !character.is_ascii_hexdigit() && !".:[]".contains(character);
        listening.extend(address.and_then(|rest| rest.split(end).next()?.parse::<SocketAddr>().ok()));
        if line.contains("ready") {
            return listening;
        }
    }
}

impl Drop for Ringftpd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
