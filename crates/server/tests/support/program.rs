//! Other people's programs, run with a bound and without the user's own settings.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a program may run before it counts as hanging. No good run comes near it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program to run.
pub(crate) struct Program {
    command: Command,
    name: &'static str,
    input: Vec<u8>,
}

/// What a program said. Bytes that are not UTF-8 are replaced: tests of names look at files.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Standard output as it came.
    pub(crate) bytes: Vec<u8>,
}

impl Program {
    /// The program `name`, of the Debian package `package`, to run in `directory`. It finds its settings, and leaves
    /// its notes, in `home`.
    ///
    /// # Panics
    ///
    /// If it is not there: a test must not pass for want of its client.
    pub(crate) fn new(name: &'static str, package: &str, directory: &Path, home: &Path) -> Self {
        let path = find(name).unwrap_or_else(|| {
            panic!("{name} is not installed: apt-get install {package} (or cargo xtask test, which does it)")
        });
        let mut command = Command::new(path);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("LC_ALL", "C.UTF-8")
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { command, name, input: Vec::new() }
    }

    /// One argument more.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// More arguments.
    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// What the program reads from standard input.
    pub(crate) fn input(mut self, input: &str) -> Self {
        self.input = input.as_bytes().to_vec();
        self
    }

    /// Runs the program.
    ///
    /// # Panics
    ///
    /// If it does not succeed.
    #[track_caller]
    pub(crate) fn succeeds(self) -> Said {
        let name = self.name;
        let output = self.run();
        let said = Said::new(&output);
        assert!(output.status.success(), "{name}: {}\n{said:?}", output.status);
        said
    }

    /// Runs the program.
    ///
    /// # Panics
    ///
    /// If it succeeds, or ends by a signal.
    #[track_caller]
    pub(crate) fn fails(self) -> Said {
        let name = self.name;
        let output = self.run();
        let said = Said::new(&output);
        assert!(!output.status.success(), "{name} succeeded\n{said:?}");
        assert_eq!(output.status.signal(), None, "{name} was killed\n{said:?}");
        said
    }

    #[track_caller]
    fn run(mut self) -> Output {
        let child = self.command.spawn().expect("the program starts");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process number"));
        let (output_in, output) = mpsc::channel();
        let input = self.input;
        thread::spawn(move || output_in.send(feed(child, &input)));
        output.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            kill(pid, Signal::SIGKILL).expect("the program runs");
            let output = output.recv().expect("what it said");
            panic!("{} hangs; it said:\n{:?}", self.name, Said::new(&output));
        })
    }
}

impl Said {
    fn new(output: &Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout.clone(),
        }
    }

    /// Whether a line of standard output ends with `name`, as a listing's line of that name does.
    pub(crate) fn lists(&self, name: &str) -> bool {
        self.stdout.lines().any(|line| line.trim_end_matches('\r').ends_with(name))
    }
}

/// Gives a program its input, and takes what it says until it ends.
fn feed(mut child: Child, input: &[u8]) -> Output {
    if let Some(mut stdin) = child.stdin.take() {
        // A program may end without having read it all.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output().expect("the program is ours")
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
