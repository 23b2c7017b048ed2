//! Forwardings, each asked of `ssh` for one purpose and cancelled when it is dropped.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::TunnelError;
use crate::listener::PrivateListener;
use crate::ssh::Ssh;

/// What may stand in the way of a remote forwarding.
const REMOTE_HINT: &str = "sshd's AllowTcpForwarding and PermitListen have to allow it";

/// From a private socket of this machine to a host and port, as the SSH host sees them.
#[derive(Debug)]
pub(crate) struct LocalForwarding {
    asked: Asked,
    socket: PathBuf,
}

/// From a port of the SSH host to a private socket of this machine.
#[derive(Debug)]
pub(crate) struct RemoteForwarding {
    /// Dropped first: connections that come in between are refused, not lost.
    _asked: Asked,
    listener: PrivateListener,
    port: u16,
}

/// What was asked for and is to be cancelled. The socket's file is removed with it.
#[derive(Debug)]
struct Asked {
    ssh: Arc<Ssh>,
    arguments: [OsString; 2],
    socket: PathBuf,
}

impl LocalForwarding {
    /// Asks for a forwarding to `host`, whose socket is to be called `name`.
    pub(crate) fn ask(ssh: &Arc<Ssh>, name: &str, host: &str, port: u16) -> Result<Self, TunnelError> {
        let socket = ssh.private_path(name);
        let mut specification = socket.clone().into_os_string();
        specification.push(format!(":{}:{port}", bracketed(host)));
        let asked = Asked::ask(ssh, ["-L".into(), specification], &socket)?.0;
        Ok(Self { asked, socket })
    }

    /// Connects to the socket. Whether the other side can be reached shows only when the connection is used.
    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.socket)
    }

    pub(crate) fn ssh(&self) -> &Ssh {
        &self.asked.ssh
    }
}

impl RemoteForwarding {
    /// Asks for a forwarding from a port that sshd picks at `address`, to a socket that is to be called `name`.
    pub(crate) fn ask(ssh: &Arc<Ssh>, name: &str, address: IpAddr) -> Result<Self, TunnelError> {
        let socket = ssh.private_path(name);
        let listener = PrivateListener::bind(&socket)?;
        // Without an address sshd listens on its loopback, which needs no GatewayPorts and which PermitListen calls localhost.
        let bind = match address {
            address if is_usual_loopback(address) => String::new(),
            address => format!("{}:", bracketed(&address.to_string())),
        };
        let mut specification = OsString::from(format!("{bind}0:"));
        specification.push(&socket);
        let asked = Asked::ask(ssh, ["-R".into(), specification], &socket);
        let (asked, printed) = asked.map_err(|error| match error {
            // sshd gives no reason for its refusal.
            TunnelError::Refused(said) => TunnelError::Refused(format!("{said}; {REMOTE_HINT}")),
            error => error,
        })?;
        let port =
            printed.lines().next_back().and_then(|line| line.trim().parse().ok()).filter(|&port| port != 0);
        let port = port.ok_or_else(|| TunnelError::Refused(format!("ssh names no port: {printed:?}")))?;
        Ok(Self { _asked: asked, listener, port })
    }

    /// The port of the SSH host.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn listener(&self) -> &PrivateListener {
        &self.listener
    }
}

impl Asked {
    /// Asks, and gives what `ssh` printed.
    fn ask(ssh: &Arc<Ssh>, arguments: [OsString; 2], socket: &Path) -> Result<(Self, String), TunnelError> {
        // What is refused may stand in the master's list nevertheless: it is cancelled like the rest.
        let asked = Self { ssh: Arc::clone(ssh), arguments, socket: socket.to_owned() };
        let printed = ssh.ask("forward", &asked.arguments)?;
        Ok((asked, printed))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Err(error) = self.ssh.ask("cancel", &self.arguments) {
            tracing::debug!("a forwarding was not cancelled: {error}");
        }
        let _ = fs::remove_file(&self.socket);
    }
}

fn is_usual_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address == std::net::Ipv4Addr::LOCALHOST,
        IpAddr::V6(address) => address.is_loopback(),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
