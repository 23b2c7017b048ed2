//! Why there is no tunnel, or no longer one.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a tunnel did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The SSH host's name would be taken for an option.
    #[error("{0:?} is no SSH host")]
    InvalidHost(String),
    /// There is no such program.
    #[error("{} is not installed; it is part of OpenSSH (Debian: apt-get install openssh-client)", .0.display())]
    SshMissing(PathBuf),
    /// The program could not be run.
    #[error("cannot run {}", program.display())]
    SshFailed {
        /// Which one.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `ssh` gave up before the connection stood: the host cannot be reached, its key is unknown, it refuses to let us in.
    #[error("ssh cannot connect to {host}: {said}")]
    NotConnected {
        /// The SSH host.
        host: String,
        /// The words of `ssh` itself.
        said: String,
    },
    /// The connection to the SSH host did not come about in the time allowed.
    #[error("ssh did not connect to {host} within {seconds} seconds: {said}")]
    Deadline {
        /// The SSH host.
        host: String,
        /// The time allowed.
        seconds: u64,
        /// The words of `ssh` itself.
        said: String,
    },
    /// The connection to the SSH host stood, and ended.
    #[error("the SSH connection to {host} was lost: {said}")]
    Lost {
        /// The SSH host.
        host: String,
        /// The words of `ssh` itself.
        said: String,
    },
    /// `ssh` refused a forwarding.
    #[error("{0}")]
    Refused(String),
    /// Nobody can connect to the address to listen on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// No private directory, thread or signal handler could be had.
    #[error("the system refuses")]
    System(#[from] io::Error),
    /// Somebody asked for the end before the tunnel stood.
    #[error("stopped before the tunnel stood")]
    Stopped,
}
