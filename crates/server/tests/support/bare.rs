//! A server that is started without listening to it.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::address::lone_address;

/// How long the start may take before the test fails. No good run comes near it, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to rest between two looks. No test depends on it.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A server whose standard error is a file, and so not listened to.
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Bare {
    /// Starts it; it listens when this returns, and may not be ready.
    ///
    /// # Panics
    ///
    /// If it ends instead.
    pub(crate) fn start(served: &Path, stderr: File, arguments: &[&str]) -> Self {
        let (address, metrics) = (lone_address(), lone_address());
        let runtime = std::env::var("RINGFTPD_TEST_RUNTIME").unwrap_or_else(|_| String::from("auto"));
        let child = Command::new(env!("CARGO_BIN_EXE_ringftpd"))
            .env_remove("RINGFTPD_TEST_RUNTIME")
            .arg("serve")
            .arg(served)
            .args(["--anonymous", "write", "--workers", "2", "--runtime", &runtime])
            .args(["--listen", &address.to_string(), "--metrics", &metrics.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("the server's binary starts");
        let mut server = Self { child, address, metrics };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert_eq!(server.child.try_wait().expect("a child"), None, "it ended");
            assert!(Instant::now() < deadline, "it does not listen");
            thread::sleep(LOOK_EVERY);
        }
        server
    }

    /// Ends it; it must end well.
    pub(crate) fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).expect("a process number");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
        assert!(self.child.wait().expect("a child").success());
    }
}
