//! Network namespaces: networks of their own on one machine.

use std::fs::File;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::program::{find, succeed};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A network namespace with its loopback up. It is removed when it is dropped.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringftpd-ssh-{}-{number}", std::process::id());
        let made = ip(&["netns", "add", &name]).output().expect("ip starts");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "network namespaces cannot be made (are you root?): {said}");
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    /// Runs `ip` inside.
    #[track_caller]
    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        succeed(ip(&["-n", &self.name]).args(arguments))
    }

    /// Runs `inside` on a thread whose sockets, and those of the processes that it starts, are in this namespace.
    pub(crate) fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("the namespace is there");
        let entered = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter");
                inside()
            });
            thread.join()
        });
        entered.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The TCP ports that are listened on inside, in order.
    pub(crate) fn listening(&self) -> Vec<String> {
        let mut command = self.command(&["ss", "-Hltn"]);
        let mut lines: Vec<_> = succeed(&mut command)
            .lines()
            .filter_map(|line| line.split_whitespace().nth(3).map(str::to_owned))
            .collect();
        lines.sort();
        lines
    }

    /// The names of the processes inside.
    pub(crate) fn processes(&self) -> Vec<String> {
        let pids = succeed(&mut ip(&["netns", "pids", &self.name]));
        pids.lines().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()).collect()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = ip(&["netns", "exec", &self.name]);
        command.args(words);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]).output();
    }
}

/// A cable between two namespaces, with an address at each end.
#[track_caller]
pub(crate) fn connect(one: (&Namespace, &str), other: (&Namespace, &str)) {
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let ends = [format!("to{number}a"), format!("to{number}b")];
    one.0.ip(&["link", "add", &ends[0], "type", "veth", "peer", "name", &ends[1], "netns", &other.0.name]);
    for ((namespace, address), end) in [one, other].into_iter().zip(&ends) {
        // IPv6 addresses are used at once, without a look for duplicates.
        let no_look: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        namespace.ip(&[&["addr", "add", address, "dev", end][..], no_look].concat());
        namespace.ip(&["link", "set", end, "up"]);
    }
}

fn ip(arguments: &[&str]) -> Command {
    let mut command = Command::new(find("ip", "iproute2"));
    command.args(arguments);
    command
}
