//! A private sshd.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::namespace::Namespace;
use super::program::{find, succeed};
use super::{PATIENCE, wait_until};

/// The files of an sshd and of those who may log in there.
pub(crate) struct Sshd {
    child: Child,
    directory: PathBuf,
    host: String,
}

impl Sshd {
    /// Starts an sshd at port 22 of `host` in `namespace`, with its files in `directory`, and `settings` in its configuration.
    #[track_caller]
    pub(crate) fn start(namespace: &Namespace, host: &str, directory: &Path, settings: &[&str]) -> Self {
        let program = find("sshd", "openssh-server");
        // As the service's own start does it.
        fs::create_dir_all("/run/sshd").expect("root may make it");
        for key in ["host_key", "user_key", "stranger_key"] {
            let mut keygen = Command::new(find("ssh-keygen", "openssh-client"));
            succeed(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(directory.join(key)));
        }
        fs::copy(directory.join("user_key.pub"), directory.join("authorized_keys")).expect("copied");
        let host_key = fs::read_to_string(directory.join("host_key.pub")).expect("a key");
        fs::write(directory.join("known_hosts"), format!("{host} {host_key}")).expect("written");
        fs::write(directory.join("nobody_known"), "").expect("written");
        let shown = directory.display();
        let configuration = format!(
            "Port 22\nListenAddress {host}\nHostKey {shown}/host_key\nAuthorizedKeysFile {shown}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n{}\n",
            settings.join("\n")
        );
        let file = directory.join("sshd_config");
        fs::write(&file, configuration).expect("written");
        let mut command = Command::new(program);
        command.args(["-D", "-e", "-f"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = namespace.enter(|| command.spawn()).expect("sshd starts");
        wait_until_listening(child.stderr.take().expect("piped"));
        Self { child, directory: directory.to_owned(), host: host.to_owned() }
    }

    /// Who to log in as, and where.
    pub(crate) fn destination(&self) -> String {
        format!("root@{}", self.host)
    }

    /// The options that `ssh` needs to get in.
    pub(crate) fn options(&self) -> Vec<String> {
        self.options_with("user_key", "known_hosts")
    }

    /// As [`Sshd::options`], with other files.
    pub(crate) fn options_with(&self, key: &str, known_hosts: &str) -> Vec<String> {
        let shown = self.directory.display();
        vec![
            format!("IdentityFile={shown}/{key}"),
            String::from("IdentitiesOnly=yes"),
            String::from("IdentityAgent=none"),
            format!("UserKnownHostsFile={shown}/{known_hosts}"),
            String::from("GlobalKnownHostsFile=none"),
            String::from("StrictHostKeyChecking=yes"),
        ]
    }

    /// Sets a rule for what the user's key may do.
    pub(crate) fn restrict_key(&self, rule: &str) {
        let key = fs::read_to_string(self.directory.join("user_key.pub")).expect("a key");
        fs::write(self.directory.join("authorized_keys"), format!("{rule} {key}")).expect("written");
    }

    /// Ends the connections that stand, as a crash does; new ones are still taken.
    pub(crate) fn cut_connections(&self) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let connections = || fs::read_to_string(&children).expect("sshd runs");
        for pid in connections().split_whitespace() {
            kill(Pid::from_raw(pid.parse().expect("a number")), Signal::SIGKILL).expect("root may");
        }
        wait_until("the connections of sshd are gone", || connections().trim().is_empty());
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let connections = fs::read_to_string(children).unwrap_or_default();
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in connections.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn wait_until_listening(stderr: impl Read + Send + 'static) {
    let (said_in, said) = mpsc::channel();
    thread::spawn(move || {
        // To the end, lest sshd write to a pipe that nobody reads.
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = said_in.send(line);
        }
    });
    let mut lines = Vec::new();
    while !lines.iter().any(|line: &String| line.starts_with("Server listening")) {
        match said.recv_timeout(PATIENCE) {
            Ok(line) => lines.push(line),
            Err(error) => panic!("sshd does not listen: {error}\n{}", lines.join("\n")),
        }
    }
}
