//! What this machine is like: read once, as a value that configurations are judged by.

pub(crate) mod filter;
mod helper;
mod limits;
mod network;
mod run;
mod sockets;
mod surroundings;

pub(crate) use helper::Helper;
pub(crate) use limits::{Descriptors, Rights};
pub(crate) use network::{Ephemeral, Network, Resolved, resolve};
pub(crate) use sockets::{Bind, Owner, Owners, try_bind};

use filter::Filter;
use runtime::{BackendChoice, IoUringRefusal, RuntimeError, choose_backend};

/// What there is. A part that could not be read is `None`, or says why in itself.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) network: Network,
    pub(crate) ephemeral: Option<Ephemeral>,
    /// The kernel's cap on connections that wait to be accepted.
    pub(crate) backlog_max: Option<u32>,
    pub(crate) rights: Rights,
    pub(crate) descriptors: Option<Descriptors>,
    /// The cores that this process may use, which is how many workers there are by default.
    pub(crate) cores: usize,
    pub(crate) io_uring: Result<(), IoUringRefusal>,
    /// By what sign this is a container.
    pub(crate) container: Option<String>,
    pub(crate) helper: Helper,
    pub(crate) filter: Filter,
}

impl Machine {
    /// Reads everything. The programs that list the packet filter are run, if there are any, and given a few seconds.
    pub(crate) fn look() -> Self {
        let filter = Filter::look();
        Self {
            network: Network::look(),
            ephemeral: Ephemeral::look(),
            backlog_max: run::kernel_setting("net/core/somaxconn"),
            rights: Rights::look(),
            descriptors: Descriptors::look(),
            cores: runtime::allowed_cores().map_or(1, |cores| cores.len()),
            io_uring: match choose_backend(BackendChoice::IoUring) {
                Ok(_) => Ok(()),
                Err(RuntimeError::IoUringRefused(refusal)) => Err(refusal),
            },
            container: surroundings::container(),
            helper: Helper::look(&filter),
            filter,
        }
    }

    /// A machine of documentation addresses where nothing stands in the way.
    #[cfg(test)]
    pub(crate) fn unhindered() -> Self {
        Self {
            network: Network { addresses: vec!["203.0.113.5".parse().unwrap()], has_ipv6: true },
            ephemeral: None,
            backlog_max: Some(4096),
            rights: Rights { is_root: false, binds_privileged: false, privileged_below: 1024 },
            descriptors: Some(Descriptors { soft: 1024, hard: 524_288 }),
            cores: 4,
            io_uring: Ok(()),
            container: None,
            helper: Helper {
                tracking: None,
                automatic_ports: Vec::new(),
                assigned_ports: Vec::new(),
                kind: helper::Kind::Missing,
            },
            filter: Filter::open(),
        }
    }
}
