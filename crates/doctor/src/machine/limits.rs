//! What this process may do, and how much of it.

use nix::sys::resource::{Resource, getrlimit};

use super::run::kernel_setting;

/// `CAP_NET_BIND_SERVICE`, as a bit of `CapEff` in `/proc/self/status`: capabilities(7).
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// The rights of this process, which are taken for those that the server will be started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) is_root: bool,
    /// `CAP_NET_BIND_SERVICE` is in effect.
    pub(crate) binds_privileged: bool,
    /// Ports below this one take that capability: `net.ipv4.ip_unprivileged_port_start`.
    pub(crate) privileged_below: u16,
}

impl Rights {
    pub(super) fn look() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            is_root: nix::unistd::geteuid().is_root(),
            binds_privileged: effective_capabilities(&status) & CAP_NET_BIND_SERVICE != 0,
            privileged_below: kernel_setting("net/ipv4/ip_unprivileged_port_start").unwrap_or(1024),
        }
    }

    /// Whether this process may bind `port`, if nobody else has it.
    pub(crate) fn may_bind(self, port: u16) -> bool {
        port >= self.privileged_below || self.binds_privileged
    }
}

fn effective_capabilities(status: &str) -> u64 {
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

/// The limit on open files. The server raises the soft one to the hard one as it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl Descriptors {
    pub(super) fn look() -> Option<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        Some(Self { soft, hard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status() {
        let status = "Name:\tcat\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000400\nSeccomp:\t0\n";
        assert_eq!(effective_capabilities(status) & CAP_NET_BIND_SERVICE, CAP_NET_BIND_SERVICE);
        assert_eq!(effective_capabilities("Name:\tcat\n"), 0);
    }

    #[test]
    fn low_ports_take_the_capability() {
        let rights = Rights { is_root: false, binds_privileged: false, privileged_below: 80 };
        assert!(!rights.may_bind(79) && rights.may_bind(80));
        assert!(Rights { binds_privileged: true, ..rights }.may_bind(1));
    }
}
