//! A server that the tester starts, on a core of its own, and ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::affinity::on_cores;
use super::child;
use crate::interrupt;
use crate::limits::ports_of_the_kernels_choice;

/// How long a server may take until it listens, and until it ends.
const START_MAX: Duration = Duration::from_secs(10);
const END_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Below are the ports of well-known services.
const PORT_MIN: u16 = 10_000;
const PORTS_TRIED_MAX: usize = 100;

/// How a server is started: words, in which `{dir}` and `{port}` stand for the directory and the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerCommand {
    words: Vec<String>,
    serves_the_directory: bool,
    talks_to_others: bool,
}

/// Tells a ringftpd that a transfer's other end may be another server of this machine.
const MAY_TALK_TO: (&str, &str) = ("RINGFTPD_FXP_NETWORKS", "127.0.0.0/8");

impl ServerCommand {
    /// A command line, of words as a shell splits it.
    ///
    /// # Errors
    ///
    /// If it is empty, or a quote in it does not end.
    pub(crate) fn parse(line: &str, workers: usize, writes: bool) -> anyhow::Result<Self> {
        let words = shell_words::split(line).with_context(|| format!("the server's command {line}"))?;
        if words.is_empty() {
            bail!("the server's command is empty");
        }
        Ok(Self::of(words, workers, writes))
    }

    /// The program and its arguments. One that is not told `{port}` is taken for a ringftpd, which needs to be told more.
    pub(crate) fn of(mut words: Vec<String>, workers: usize, writes: bool) -> Self {
        if !words.iter().any(|word| word.contains("{port}")) {
            words.splice(1..1, ["serve".to_owned(), "{dir}".to_owned()]);
            let anonymous = if writes { "write" } else { "read" };
            let more = [
                "--listen",
                "127.0.0.1:{port}",
                "--anonymous",
                anonymous,
                "--log-level",
                "warn",
                "--workers",
            ];
            words.extend(more.map(str::to_owned));
            words.push(workers.to_string());
        }
        let serves_the_directory = words.iter().any(|word| word.contains("{dir}"));
        Self { words, serves_the_directory, talks_to_others: false }
    }

    /// The ringftpd that stands beside this program, or on the search path.
    pub(crate) fn beside_this_program() -> String {
        let beside = std::env::current_exe().ok().map(|own| own.with_file_name("ringftpd"));
        beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("ringftpd")).display().to_string()
    }

    /// Lets it take part in transfers between servers, if it is a ringftpd.
    pub(crate) fn may_talk_to_others(&mut self) {
        self.talks_to_others = true;
    }

    /// Whether it was told of the directory: then what it sends must be what is in there.
    pub(crate) fn serves_the_directory(&self) -> bool {
        self.serves_the_directory
    }

    fn filled(&self, folder: &Path, port: u16) -> Vec<String> {
        let fill = |word: &String| {
            word.replace("{dir}", &folder.display().to_string()).replace("{port}", &port.to_string())
        };
        self.words.iter().map(fill).collect()
    }
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub(crate) struct OwnServer {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl OwnServer {
    /// Starts it on `cores`, and waits until it listens on loopback.
    ///
    /// # Errors
    ///
    /// If it cannot be started, ends, or does not listen in time.
    pub(crate) fn start(command: &ServerCommand, folder: &Path, cores: &[usize]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let words = command.filled(folder, port);
        let program = words.first().context("the server's command is empty")?;
        let child = on_cores(cores, || {
            let mut process = child::command(&words);
            if command.talks_to_others {
                process.env(MAY_TALK_TO.0, MAY_TALK_TO.1);
            }
            // In a group of its own, Ctrl-C ends the run first, and the run ends the server.
            process.process_group(0);
            child::spawn(&mut process)
                .with_context(|| format!("cannot start {program}: name it with --server"))
        })?;
        let mut server = Self { child, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
        server.wait_until_it_listens(&shell_words::join(&words))?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self, command: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            interrupt::check()?;
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended at its start ({status}): {command}");
            }
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            sleep(LOOK_AGAIN);
        }
        bail!("the server does not listen on {} after {} s: {command}", self.address, START_MAX.as_secs());
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill(self.pid(), Signal::SIGTERM);
        let deadline = Instant::now() + END_MAX;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(LOOK_AGAIN);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has at this moment, and that the kernel gives nobody who names none: until the server has it, a connection or a
/// listener of another program could take it, and be taken for the server.
fn free_port() -> anyhow::Result<u16> {
    let below = ports_of_the_kernels_choice()?.map_or(0, |ports| *ports.start());
    let below = u16::try_from(below).unwrap_or(u16::MAX);
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?.local_addr().ok();
    let random = || (below > PORT_MIN).then(|| rand::random_range(PORT_MIN..below));
    let found = (0..PORTS_TRIED_MAX).find_map(|_| random().and_then(is_free)).or_else(|| is_free(0));
    Ok(found.context("cannot find a free port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ringftpd_is_told_what_it_needs() {
        let command = ServerCommand::parse("/usr/bin/ringftpd --runtime epoll", 2, true).unwrap();
        let words = command.filled(Path::new("/srv/a b"), 2121).join("|");
        assert_eq!(
            words,
            "/usr/bin/ringftpd|serve|/srv/a b|--runtime|epoll|--listen|127.0.0.1:2121|--anonymous|write|--log-level|\
             warn|--workers|2"
        );
    }

    #[test]
    fn another_server_is_told_what_its_command_says() {
        let command = ServerCommand::parse("roofline 127.0.0.1:{port}", 1, false).unwrap();
        assert_eq!(command.filled(Path::new("/srv"), 7), ["roofline", "127.0.0.1:7"]);
        assert!(ServerCommand::parse(" ", 1, false).is_err());
    }

    #[test]
    fn blanks_are_part_of_a_word_where_they_are_quoted() {
        let words = |line| ServerCommand::parse(line, 1, false).map(|command| command.words);
        let expected = ["/a b/server", "--greeting", "come in", "{port}", "c d"].map(str::to_owned);
        assert_eq!(words(r#"'/a b/server' --greeting "come in" {port} c\ d"#).unwrap(), expected);
        assert!(words("'/a b/server").is_err());
        // A path that nobody wrote as a command is one word.
        let command = ServerCommand::of(vec!["/a b/ringftpd".to_owned()], 1, false);
        assert_eq!(command.words[..2], ["/a b/ringftpd", "serve"]);
    }

    #[test]
    fn no_other_program_gets_the_port_by_chance() {
        let ports = ports_of_the_kernels_choice().unwrap().unwrap();
        for _ in 0..100 {
            let port = usize::from(free_port().unwrap());
            // Unless next to no port is left.
            assert!(!ports.contains(&port) || *ports.start() < 11_000, "{port} of {ports:?}");
        }
    }
}
