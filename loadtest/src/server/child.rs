//! From this program to the server that it starts. In between, the process asks the kernel to be told when the tester ends: whatever ends
//! that, be it a signal that nobody can listen for, its server does not stay behind.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// The subcommand that becomes the server, which nobody else needs.
pub(crate) const SUBCOMMAND: &str = "__serve-child";

/// This very program, whatever became of its file.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// What will run `words`, as a child of this process with the same number; to be started by [`spawn`]. The kernel takes the end of the
/// thread that starts it for the end of the tester: that has to be the one that waits for the run.
pub(super) fn command(words: &[String]) -> Command {
    let mut command = Command::new(OWN_PROGRAM);
    command.arg(SUBCOMMAND).arg(Pid::this().to_string()).arg("--").args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Starts it, and waits until it is the server.
///
/// # Errors
///
/// What kept it from that.
pub(super) fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let mut child = command.spawn()?;
    let said = child.stdout.take().map(io::read_to_string).transpose()?.unwrap_or_default();
    if !said.is_empty() {
        child.wait()?;
        bail!("{said}");
    }
    Ok(child)
}

/// Becomes the server. What keeps it from that is written to where the tester reads; that is closed when it is the server, and so the
/// tester knows.
pub(crate) fn become_server(tester: i32, words: &[OsString]) -> ExitCode {
    // Before the standard output becomes the server's.
    let Ok(told) = io::stdout().as_fd().try_clone_to_owned() else { return ExitCode::FAILURE };
    let why = match run(tester, words) {
        Ok(never) => match never {},
        Err(error) => format!("{error:#}"),
    };
    // If nobody reads it, there is nobody to tell.
    let _ = File::from(told).write_all(why.as_bytes());
    ExitCode::FAILURE
}

fn run(tester: i32, words: &[OsString]) -> anyhow::Result<std::convert::Infallible> {
    let (program, arguments) = words.split_first().context("it has no name")?;
    set_pdeathsig(Signal::SIGTERM).context("cannot be told when the tester ends")?;
    if Pid::parent().as_raw() != tester {
        bail!("the tester has ended");
    }
    Err(Command::new(program).args(arguments).stdout(Stdio::null()).exec().into())
}
