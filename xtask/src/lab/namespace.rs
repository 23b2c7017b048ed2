//! Network namespaces: machines of the laboratory that share this one's files and processes, but no network.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Every namespace of the laboratory is named with this in front, so that leftovers are known as its own.
const PREFIX: &str = "ringftpd-lab-";

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";

/// Files that `ip netns exec` shows to programs in place of those of `/etc`.
const OVERLAYS: &str = "/etc/netns";

/// One machine. Dropped, it is taken down, with whatever still runs on it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new machine with nothing but a loopback interface.
    pub(crate) fn create(label: &str) -> anyhow::Result<Self> {
        let name = format!("{PREFIX}{label}");
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip(&["link set lo up"])?;
        Ok(namespace)
    }

    /// The name that `ip` knows it by.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A program that is to run on this machine.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `ip` commands, each written as its arguments.
    pub(crate) fn ip(&self, commands: &[&str]) -> anyhow::Result<()> {
        let mut batch = Command::new("ip");
        batch.args(["-netns", &self.name, "-batch", "-"]);
        run_with_input(&mut batch, &commands.join("\n"))
    }

    /// Puts this ruleset in the place of whatever the firewall had.
    pub(crate) fn nft(&self, ruleset: &str) -> anyhow::Result<()> {
        let ruleset = format!("flush ruleset\n{ruleset}");
        run_with_input(self.command("nft").args(["-f", "-"]), &ruleset)
    }

    /// Sets a kernel parameter, named by its path below `/proc/sys/net`.
    pub(crate) fn set(&self, parameter: &str, value: &str) -> anyhow::Result<()> {
        let path = Path::new("/proc/sys/net").join(parameter);
        self.within(|| fs::write(&path, value))?.with_context(|| format!("cannot set {}", path.display()))
    }

    /// Runs `work` on this machine. Sockets that it makes stay there wherever they are used.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let handle = fs::File::open(Path::new(NAMES).join(&self.name))?;
        // A namespace is a thread's own: this one comes and goes with the work.
        let there = thread::scope(|scope| {
            let worker = scope.spawn(|| setns(&handle, CloneFlags::CLONE_NEWNET).map(|()| work()));
            worker.join()
        });
        match there {
            Ok(entered) => entered.with_context(|| format!("cannot enter {}", self.name)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Gives programs on this machine a file of `/etc` of their own.
    pub(crate) fn overlay(&self, file: &str, text: &str) -> anyhow::Result<()> {
        let directory = overlays_of(&self.name);
        fs::create_dir_all(&directory)?;
        fs::write(directory.join(file), text)?;
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.name) {
            eprintln!("lab: {error:#}");
        }
    }
}

/// Connects two machines by a cable; each end is an interface of the given name.
pub(crate) fn connect(one: (&Namespace, &str), other: (&Namespace, &str)) -> anyhow::Result<()> {
    run(Command::new("ip").args(["link", "add", one.1, "netns", &one.0.name]).args([
        "type",
        "veth",
        "peer",
        "name",
        other.1,
        "netns",
        &other.0.name,
    ]))
}

/// Takes down what a run that was killed left.
pub(crate) fn remove_leftovers() -> anyhow::Result<()> {
    let Ok(names) = fs::read_dir(NAMES) else { return Ok(()) };
    for name in names {
        let name = name?.file_name();
        if let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) {
            remove(name)?;
        }
    }
    Ok(())
}

fn remove(name: &str) -> anyhow::Result<()> {
    let inside = Command::new("ip").args(["netns", "pids", name]).output().context("cannot run ip")?;
    for pid in String::from_utf8_lossy(&inside.stdout).split_whitespace() {
        // It may have ended by itself since.
        let _ = kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL);
    }
    let overlays = overlays_of(name);
    if overlays.exists() {
        fs::remove_dir_all(&overlays)?;
        // Others may keep theirs beside it.
        let _ = fs::remove_dir(OVERLAYS);
    }
    run(Command::new("ip").args(["netns", "delete", name]))
}

fn overlays_of(name: &str) -> PathBuf {
    Path::new(OVERLAYS).join(name)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    run_with_input(command, "")
}

/// Runs a command to its end; what it complained of is the error.
fn run_with_input(command: &mut Command, input: &str) -> anyhow::Result<()> {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot run {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that fails need not have read it all; its exit status says so.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{input}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
