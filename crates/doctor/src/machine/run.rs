//! Kernel settings, and programs that are asked for an answer.

use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a program may take to list what it knows.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(5);

/// A setting below `/proc/sys`, if there is one and it reads as `T`.
pub(super) fn kernel_setting<T: FromStr>(path: &str) -> Option<T> {
    let text = std::fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
    text.trim().parse().ok()
}

/// What a program prints.
///
/// # Errors
/// That there is no such program, that it failed (with what it complained of), or that it took too long and was stopped.
pub(super) fn output_of(program: &str, arguments: &[&str]) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (told, wait) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::spawn(move || {
        let mut printed = (String::new(), String::new());
        // What is no text is no list of rules either.
        let _ = stdout.map(|mut stdout| stdout.read_to_string(&mut printed.0));
        let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut printed.1));
        // The receiver may have given up.
        let _ = told.send(printed);
    });
    let Ok((printed, complaint)) = wait.recv_timeout(PROGRAM_TIMEOUT) else {
        child.kill()?;
        child.wait()?;
        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{program} did not answer")));
    };
    if child.wait()?.success() {
        return Ok(printed);
    }
    let first_line = complaint.lines().next().unwrap_or("it failed without a word");
    Err(io::Error::other(format!("{program}: {first_line}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_heard_or_its_complaint_is() {
        assert_eq!(output_of("echo", &["all", "well"]).unwrap(), "all well\n");
        let failed = output_of("sh", &["-c", "echo no right >&2; exit 1"]).unwrap_err();
        assert_eq!(failed.to_string(), "sh: no right");
        assert_eq!(output_of("/nonexistent/nft", &[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_setting_is_read_or_is_not_there() {
        assert!(kernel_setting::<u32>("net/core/somaxconn").is_some());
        assert_eq!(kernel_setting::<u32>("net/core/no_such_setting"), None);
    }
}
