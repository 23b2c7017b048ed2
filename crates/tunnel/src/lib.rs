//! FTP through SSH, for clients that know nothing of tunnels.
//!
//! A client connects to a local address. Its control connection goes through the system's `ssh` to the SSH host and from
//! there to the FTP server. On the way, whatever sets up a data connection is rewritten, so that the data goes
//! through the same SSH connection:
//!
//! | set up by | asked of ssh | told to |
//! | --- | --- | --- |
//! | `PASV`, `EPSV` | a local forwarding to the port in the server's reply | the client: a port of this machine |
//! | `PORT`, `EPRT` | a remote forwarding, on a port that sshd picks | the server: that port of the SSH host |
//!
//! Everything else passes byte for byte.
//!
//! The way of a command: `session` reads it, `request` says what it sets up, `dialogue` keeps which reply will be its answer,
//! and `data` carries what was set up. `ssh` starts one control master, and asks it for forwardings; each leads to or from a
//! Unix socket in a directory that nobody else can open, so that no port of this machine stands open to the inside of
//! the tunnel.
//!
//! There are a few sessions at a time, so each connection has its own threads, and blocks.
#![forbid(unsafe_code)]

mod complaints;
mod data;
mod dialogue;
mod error;
mod forwarding;
mod lines;
mod listener;
mod options;
mod relay;
mod request;
mod session;
mod ssh;
mod stop;
mod tunnel;
mod watchdog;

pub use error::TunnelError;
pub use options::{InvalidServer, PassiveTarget, ServerAddress, TunnelOptions};
pub use stop::StopHandle;
pub use tunnel::{Tunnel, run};
