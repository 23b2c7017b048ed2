//! Three machines: the client, the SSH host, and behind it a network that the client has no way to.
//!
//! ```text
//! client 10.98.1.2 ---- 10.98.1.1 SSH host 10.98.2.1 ---- 10.98.2.2 server
//! ```
//!
//! The SSH host does not route. An FTP server runs on the server, or on the SSH host's loopback: the client reaches neither
//! but through sshd, so what arrives has come through the tunnel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tunnel::{Tunnel, TunnelError, TunnelOptions};

use super::ftp_server::FtpServer;
use super::namespace::{Namespace, connect};
use super::program::program;
use super::sshd::Sshd;

/// Where the FTP server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the SSH host itself, at its loopback.
    SshHost,
    /// The same, by IPv6.
    SshHostIpv6,
    /// On a machine behind the SSH host.
    Behind,
}

/// The machines, and what runs there.
pub(crate) struct Lab {
    pub(crate) ftp: FtpServer,
    pub(crate) sshd: Sshd,
    pub(crate) client: Namespace,
    pub(crate) ssh_host: Namespace,
    /// Lasts as long as the others.
    _server: Namespace,
    place: Place,
    directory: TempDir,
}

impl Lab {
    /// Machines with an FTP server at `place`.
    #[track_caller]
    pub(crate) fn new(place: Place) -> Self {
        Self::with(place, &["GatewayPorts clientspecified"], &[])
    }

    /// As [`Lab::new`], with lines for the configuration of sshd, and arguments for the FTP server.
    #[track_caller]
    pub(crate) fn with(place: Place, ssh_settings: &[&str], ftp_arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let files = ["ssh", "served", "local"].map(|name| directory.path().join(name));
        for folder in &files {
            fs::create_dir(folder).expect("made");
        }
        let (client, ssh_host, server) = (Namespace::new(), Namespace::new(), Namespace::new());
        connect((&client, "10.98.1.2/24"), (&ssh_host, "10.98.1.1/24"));
        connect((&ssh_host, "10.98.2.1/24"), (&server, "10.98.2.2/24"));
        let sshd = Sshd::start(&ssh_host, "10.98.1.1", &files[0], ssh_settings);
        let machine = if place == Place::Behind { &server } else { &ssh_host };
        let ftp = FtpServer::start(machine, place.address(), &files[1], ftp_arguments);
        Self { ftp, sshd, client, ssh_host, _server: server, place, directory }
    }

    /// What the FTP server serves.
    pub(crate) fn served(&self) -> PathBuf {
        self.directory.path().join("served")
    }

    /// Where clients run.
    pub(crate) fn local(&self) -> PathBuf {
        self.directory.path().join("local")
    }

    /// A tunnel to the FTP server, from a free port of the client's.
    pub(crate) fn options(&self) -> TunnelOptions {
        let server = format!("ftp://{}:{}", self.place.address(), self.ftp.port).parse().expect("a server");
        let listen = if self.place == Place::SshHostIpv6 { "[::1]:0" } else { "127.0.0.1:0" };
        let mut options =
            TunnelOptions::new(self.sshd.destination(), listen.parse().expect("an address"), server);
        options.ssh_options = self.sshd.options();
        if self.place == Place::Behind {
            options.ssh_address = Some("10.98.2.1".parse().expect("an address"));
        }
        options
    }

    /// Opens it on the client's machine.
    #[track_caller]
    pub(crate) fn tunnel(&self) -> Tunnel {
        self.start(&self.options()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens a tunnel on the client's machine.
    pub(crate) fn start(&self, options: &TunnelOptions) -> Result<Tunnel, TunnelError> {
        self.client.enter(|| Tunnel::start(options))
    }

    /// A program for the client's machine.
    #[track_caller]
    pub(crate) fn program(&self, name: &str, package: &str) -> Command {
        program(name, package, &self.local())
    }

    /// Runs a program on the client's machine, as `by` does.
    #[track_caller]
    pub(crate) fn run(&self, mut command: Command, by: fn(&mut Command) -> String) -> String {
        self.client.enter(|| by(&mut command))
    }
}

impl Place {
    fn address(self) -> &'static str {
        match self {
            Self::SshHost => "127.0.0.1",
            Self::SshHostIpv6 => "[::1]",
            Self::Behind => "10.98.2.2",
        }
    }
}

/// A file of `bytes` bytes, none like the next.
pub(crate) fn write(path: &Path, bytes: usize) -> Vec<u8> {
    let mut state = bytes as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let content: Vec<u8> = (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[7]
        })
        .collect();
    fs::write(path, &content).expect("written");
    content
}

/// Whether a file has exactly this content; its bytes would fill the screen.
#[track_caller]
pub(crate) fn assert_holds(path: &Path, content: &[u8]) {
    let found = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(found.len(), content.len(), "{}", path.display());
    assert!(found == content, "{} has other bytes", path.display());
}
