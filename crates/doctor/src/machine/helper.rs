//! The kernel's FTP helper: the part of connection tracking that reads PORT and PASV, to let the data connection in and, behind a
//! translator, to rewrite the address.
//!
//! Since Linux 6.0 it looks at no connection that a rule of the packet filter does not assign to it; before, it may do so by
//! itself for the ports of its module, which is 21 unless somebody said more.

use std::path::Path;

use super::filter::Filter;
use super::run::kernel_setting;

/// Connections tracked, and how many can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tracking {
    pub(crate) connections: u64,
    pub(crate) connections_max: u64,
}

/// Whether the kernel has the helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Missing,
    Loaded,
}

/// Connection tracking and its FTP helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Helper {
    /// `None` where nothing tracks connections.
    pub(crate) tracking: Option<Tracking>,
    pub(crate) kind: Kind,
    /// Control ports that the helper looks at by itself.
    pub(crate) automatic_ports: Vec<u16>,
    /// Control ports that a rule assigns to the helper.
    pub(crate) assigned_ports: Vec<u16>,
}

impl Helper {
    pub(super) fn look(filter: &Filter) -> Self {
        let loaded = Path::new("/sys/module/nf_conntrack_ftp").exists();
        let ports =
            std::fs::read_to_string("/sys/module/nf_conntrack_ftp/parameters/ports").unwrap_or_default();
        // Without the switch there is no looking by itself.
        let automatic = kernel_setting::<u8>("net/netfilter/nf_conntrack_helper") == Some(1);
        let tracking = kernel_setting("net/netfilter/nf_conntrack_max").map(|connections_max| Tracking {
            connections: kernel_setting("net/netfilter/nf_conntrack_count").unwrap_or_default(),
            connections_max,
        });
        Self {
            tracking,
            kind: if loaded { Kind::Loaded } else { Kind::Missing },
            automatic_ports: if automatic { module_ports(&ports) } else { Vec::new() },
            assigned_ports: filter.helper_ports(),
        }
    }

    /// Whether the helper looks at control connections to `port`.
    pub(crate) fn looks_at(&self, port: u16) -> bool {
        self.automatic_ports.contains(&port) || self.assigned_ports.contains(&port)
    }
}

/// The module's parameter: `21,0,0,0`, where 0 is no port.
fn module_ports(parameter: &str) -> Vec<u16> {
    parameter.trim().split(',').filter_map(|port| port.parse().ok()).filter(|&port| port != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_ports_are_read() {
        assert_eq!(module_ports("21,2121,0,0,0,0,0,0\n"), [21, 2121]);
        assert_eq!(module_ports(""), [0_u16; 0]);
    }
}
