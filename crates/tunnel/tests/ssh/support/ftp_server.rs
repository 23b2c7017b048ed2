//! The real `ringftpd`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use super::PATIENCE;
use super::namespace::Namespace;

/// Names the binary, where it is not beside this test.
const BINARY_VARIABLE: &str = "RINGFTPD_TEST_BINARY";

/// Below the ports that the kernel picks. sshd listens on ::1 and on 127.0.0.1, takes the number that is free on the first, and
/// says nothing where the second has it already: of a port of the server's own, once in some hundred runs.
const PASSIVE_PORTS: &str = "20000-20015";

/// A running server.
pub(crate) struct FtpServer {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) port: u16,
}

impl FtpServer {
    /// Serves `directory` at a free port of `address`, from inside `namespace`.
    #[track_caller]
    pub(crate) fn start(namespace: &Namespace, address: &str, directory: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.arg("serve").arg(directory).args(["--listen", &format!("{address}:0"), "--workers", "1"]);
        command.args(["--anonymous", "write", "--log-level", "debug"]);
        if !arguments.contains(&"--passive-ports") {
            command.args(["--passive-ports", PASSIVE_PORTS]);
        }
        command.args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = namespace.enter(|| command.spawn()).expect("the server starts");
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (port_in, port) = mpsc::channel();
        let gathered = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(port) = listening_port(&line) {
                    let _ = port_in.send(port);
                }
                gathered.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut server = Self { child, log, port: 0 };
        server.port = port.recv_timeout(PATIENCE).expect("the server listens");
        server
    }

    /// How many lines of the log have this in them.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }
}

impl Drop for FtpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("the FTP server's log:\n{}", log.join("\n"));
        }
    }
}

/// Finds `listening on ADDRESS:PORT;` in a line of the log, whatever colours it has.
fn listening_port(line: &str) -> Option<u16> {
    let (_, address) = line.split_once("listening on ")?;
    let (address, _) = address.split_once(';')?;
    address.rsplit_once(':')?.1.parse().ok()
}

#[track_caller]
fn binary() -> PathBuf {
    let beside =
        std::env::current_exe().expect("this test").parent().and_then(Path::parent).map(Path::to_owned);
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug");
    let places = [beside, Some(usual)].into_iter().flatten().map(|folder| folder.join("ringftpd"));
    std::env::var_os(BINARY_VARIABLE)
        .map(PathBuf::from)
        .into_iter()
        .chain(places)
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!("ringftpd is not built: cargo build -p ringftpd (or name it in {BINARY_VARIABLE})")
        })
}
