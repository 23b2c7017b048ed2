//! The system's `ssh` as a control master: one connection to the SSH host, and forwardings added to it and taken away.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::complaints::Complaints;
use crate::error::TunnelError;
use crate::options::TunnelOptions;
use crate::stop::StopHandle;
use crate::watchdog::Watchdog;

/// How long the SSH connection may take to come about, in seconds.
const CONNECT_S: u64 = 60;

/// How often is looked whether the connection stands: `ssh` tells by making its control socket.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Options that stand before the user's own, for the tunnel depends on them. `ssh` takes the first that it sees.
const FIRM_OPTIONS: [&str; 7] = [
    // A question would wait for ever for an answer.
    "BatchMode=yes",
    "ControlPersist=no",
    // What the user's configuration forwards for sessions of its own is none of the tunnel's.
    "ClearAllForwardings=yes",
    "ExitOnForwardFailure=no",
    "PermitLocalCommand=no",
    "StreamLocalBindMask=0177",
    // At this level `ssh` says why it could not open a channel.
    "LogLevel=INFO",
];

/// Options that the user's own replace.
const USUAL_OPTIONS: [&str; 5] = [
    "ConnectTimeout=30",
    // A network that is gone is noticed after a minute.
    "ServerAliveInterval=20",
    "ServerAliveCountMax=3",
    "ForwardAgent=no",
    "ForwardX11=no",
];

/// A connection to the SSH host. It ends when it is dropped, and its directory with it.
#[derive(Debug)]
pub(crate) struct Ssh {
    program: PathBuf,
    host: String,
    complaints: Arc<Complaints>,
    child: Mutex<Child>,
    /// Ends `ssh` when this process was killed and could not.
    watchdog: Watchdog,
    /// Only this user may open it. The control socket and those of the forwardings are in it.
    directory: TempDir,
}

impl Ssh {
    /// Connects. `stop` ends the attempt, and is told when the connection is lost later.
    pub(crate) fn connect(options: &TunnelOptions, stop: &StopHandle) -> Result<Self, TunnelError> {
        if options.ssh_host.is_empty() || options.ssh_host.starts_with('-') {
            return Err(TunnelError::InvalidHost(options.ssh_host.clone()));
        }
        let directory = tempfile::Builder::new().prefix("ringftpd-tunnel-").tempdir()?;
        let watchdog = Watchdog::start(directory.path())?;
        let started = start_master(options, &control_socket(&directory));
        let mut child = started.inspect_err(|_| watchdog.dismiss())?;
        watchdog.watch(child.id()).inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
            watchdog.dismiss();
        })?;
        let complaints = Arc::new(Complaints::default());
        if let Some(stderr) = child.stderr.take() {
            let (complaints, stop) = (Arc::clone(&complaints), stop.clone());
            thread::Builder::new().spawn(move || listen_to(stderr, &complaints, &stop))?;
        }
        let (program, host) = (options.ssh_program.clone(), options.ssh_host.clone());
        let ssh = Self { program, host, complaints, child: Mutex::new(child), watchdog, directory };
        ssh.wait_until_connected(stop)?;
        Ok(ssh)
    }

    fn wait_until_connected(&self, stop: &StopHandle) -> Result<(), TunnelError> {
        let deadline = Instant::now() + Duration::from_secs(CONNECT_S);
        while !control_socket(&self.directory).exists() {
            let host = self.host.clone();
            // Its last words end a moment before it does.
            if self.complaints.have_ended(Duration::ZERO) || self.child().try_wait()?.is_some() {
                return Err(TunnelError::NotConnected { host, said: self.complaints.all() });
            }
            if stop.is_asked() {
                return Err(TunnelError::Stopped);
            }
            if Instant::now() >= deadline {
                return Err(TunnelError::Deadline { host, seconds: CONNECT_S, said: self.complaints.all() });
            }
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// A path in the private directory.
    pub(crate) fn private_path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What `ssh` says while it runs.
    pub(crate) fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    /// The SSH host, as it was named.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The error to report if `ssh` has ended by itself; waits at most `patience` for that.
    pub(crate) fn lost(&self, patience: Duration) -> Option<TunnelError> {
        let has_ended = self.complaints.have_ended(patience);
        has_ended.then(|| TunnelError::Lost { host: self.host.clone(), said: self.complaints.last() })
    }

    /// Asks the master for something: `forward`, `cancel` or `exit`, with the arguments that say what. Gives what it prints.
    pub(crate) fn ask(&self, request: &str, arguments: &[OsString]) -> Result<String, TunnelError> {
        let mut command = Command::new(&self.program);
        // Without the configuration: the forwardings in it would be asked for once more.
        command.args(["-F", "none", "-S"]).arg(control_socket(&self.directory)).args(["-O", request]);
        command.args(arguments).arg("--").arg(&self.host).stdin(Stdio::null());
        let Output { status, stdout, stderr } = command
            .output()
            .map_err(|source| TunnelError::SshFailed { program: self.program.clone(), source })?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&stderr);
        // The first line says what, further ones only that the request has failed. Its beginning is a function's name.
        let reason = said.lines().map(str::trim).find(|line| !line.is_empty());
        let reason = reason.map(|line| line.split_once("failed: ").map_or(line, |(_, reason)| reason));
        Err(TunnelError::Refused(reason.map_or_else(|| format!("ssh -O {request}: {status}"), str::to_owned)))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        // A master that hears the request ends at once. One that has ended, or does not hear, is past asking.
        let asked = control_socket(&self.directory).exists() && self.ask("exit", &[]).is_ok();
        let mut child = self.child();
        if !asked {
            let _ = child.kill();
        }
        let _ = child.wait();
        self.watchdog.dismiss();
    }
}

fn control_socket(directory: &TempDir) -> PathBuf {
    directory.path().join("ssh")
}

fn start_master(options: &TunnelOptions, socket: &Path) -> Result<Child, TunnelError> {
    let program = &options.ssh_program;
    let mut command = Command::new(program);
    command.args(["-M", "-N", "-T", "-S"]).arg(socket);
    let user = options.ssh_options.iter().map(String::as_str);
    for option in FIRM_OPTIONS.into_iter().chain(user).chain(USUAL_OPTIONS) {
        command.args(["-o", option]);
    }
    command.arg("--").arg(&options.ssh_host);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // Control-C at a terminal is for the tunnel, which has things to put away before its ssh ends.
    command.process_group(0);
    command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TunnelError::SshMissing(program.clone()),
        _ => TunnelError::SshFailed { program: program.clone(), source },
    })
}

/// Keeps what `ssh` says, to its end.
fn listen_to(stderr: ChildStderr, complaints: &Complaints, stop: &StopHandle) {
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if !line.is_empty() {
            tracing::info!("ssh: {line}");
            complaints.add(line);
        }
    }
    complaints.end();
    stop.stop();
}
