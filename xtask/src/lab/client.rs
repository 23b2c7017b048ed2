//! A real client, curl, made to take one way of bringing about a data connection and no other.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;

use crate::lab::namespace::Namespace;
use crate::lab::plan::in_url;

/// How a data connection comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The client connects, where the reply to `PASV` says.
    Pasv,
    /// The client connects, to the port that the reply to `EPSV` names.
    Epsv,
    /// The server connects, where `PORT` says.
    Port,
    /// The server connects, where `EPRT` says.
    Eprt,
}

impl Way {
    /// The columns of the table.
    pub(crate) const ALL: [Self; 4] = [Self::Pasv, Self::Epsv, Self::Port, Self::Eprt];

    /// The command.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Pasv => "PASV",
            Self::Epsv => "EPSV",
            Self::Port => "PORT",
            Self::Eprt => "EPRT",
        }
    }

    /// What makes curl take it. That the address of a 227 reply is believed has to be asked for nowadays.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Pasv => &["--disable-epsv", "--no-ftp-skip-pasv-ip"],
            Self::Epsv => &["--no-ftp-skip-pasv-ip"],
            Self::Port => &["--ftp-port", "-", "--disable-eprt"],
            Self::Eprt => &["--ftp-port", "-"],
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.command())
    }
}

/// A client on a machine, and the server that it goes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    /// Where it runs.
    pub(crate) machine: &'a Namespace,
    /// The server's address, as the client knows it.
    pub(crate) host: IpAddr,
    /// The control port.
    pub(crate) port: u16,
}

/// What a run of the client came to.
#[derive(Debug)]
pub(crate) struct Dialogue {
    /// Whether the client was content.
    pub(crate) succeeded: bool,
    /// What it said of itself, with the control connection's lines: `> ` sent, `< ` received.
    pub(crate) text: String,
}

impl Client<'_> {
    /// Downloads a file of the served directory.
    pub(crate) fn download(&self, way: Way, name: &str, to: &Path) -> anyhow::Result<Dialogue> {
        self.curl(way, name, &["--output", &to.to_string_lossy()])
    }

    /// Uploads a file into the served directory.
    pub(crate) fn upload(&self, way: Way, from: &Path, name: &str) -> anyhow::Result<Dialogue> {
        self.curl(way, name, &["--upload-file", &from.to_string_lossy()])
    }

    /// Only sends a command, with an argument that would do. curl never sends `PASV` or `PORT` on IPv6 by itself.
    pub(crate) fn send(&self, way: Way) -> anyhow::Result<Dialogue> {
        let command = match way {
            Way::Port => "PORT 198,18,0,20,200,0",
            way => way.command(),
        };
        self.curl(Way::Epsv, "", &["--quote", command])
    }

    fn curl(&self, way: Way, name: &str, options: &[&str]) -> anyhow::Result<Dialogue> {
        let url = format!("ftp://{}:{}/{name}", in_url(self.host), self.port);
        let mut curl = self.machine.command("curl");
        curl.args(["--disable", "--silent", "--show-error", "--verbose", "--noproxy", "*"]);
        curl.args(["--connect-timeout", "5", "--max-time", "15"]).args(way.options()).args(options).arg(url);
        let output = curl.output().context("cannot run curl")?;
        let text = String::from_utf8_lossy(&output.stderr).replace('\r', "");
        Ok(Dialogue { succeeded: output.status.success(), text })
    }
}

impl Dialogue {
    /// Whether the client sent this command, whatever its argument.
    pub(crate) fn sent(&self, command: &str) -> bool {
        self.text.lines().any(|line| is_command(line, command))
    }

    /// The replies to this command and to all that came after it.
    pub(crate) fn replies_from(&self, command: &str) -> impl Iterator<Item = &str> {
        let from = self.text.lines().skip_while(move |line| !is_command(line, command));
        from.filter_map(|line| line.strip_prefix("< "))
    }
}

fn is_command(line: &str, command: &str) -> bool {
    let sent = line.strip_prefix("> ").and_then(|line| line.strip_prefix(command));
    sent.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}
