//! Ports: whether they can be bound, and who has them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// What came of binding a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bind {
    /// It is free.
    Free,
    /// Somebody has it.
    Taken,
    /// It takes a right that this process has not.
    Forbidden,
    /// No interface has that address, or this machine has no such family.
    NoSuchAddress,
    /// Something else: the errno.
    Failed(i32),
}

/// Binds `address` as the server would, and gives it back. Nothing listens meanwhile, so that no client can notice.
pub(crate) fn try_bind(address: SocketAddr, only_v6: bool) -> Bind {
    let bind = || -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // As the server does: connections in TIME_WAIT do not count.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        socket.bind(&address.into())
    };
    match bind() {
        Ok(()) => Bind::Free,
        Err(error) => match error.kind() {
            io::ErrorKind::AddrInUse => Bind::Taken,
            io::ErrorKind::PermissionDenied => Bind::Forbidden,
            io::ErrorKind::AddrNotAvailable => Bind::NoSuchAddress,
            _ if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => Bind::NoSuchAddress,
            _ => Bind::Failed(error.raw_os_error().unwrap_or_default()),
        },
    }
}

/// A process that has a socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The name of its program, as the kernel keeps it: 15 bytes at most.
    pub(crate) program: String,
    pub(crate) process: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (process {})", self.program, self.process)
    }
}

/// Who has which TCP port. A socket of another user's process has no name to this process unless it is root.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    sockets_by_port: HashMap<u16, Vec<u64>>,
    owners_by_socket: BTreeMap<u64, Owner>,
}

impl Owners {
    pub(crate) fn look() -> Self {
        let mut owners = Self::default();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            owners.add_sockets(&fs::read_to_string(table).unwrap_or_default());
        }
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            if let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                owners.add_process(process);
            }
        }
        owners
    }

    /// The lines of a table as proc_net_tcp has it: the second column is `ADDRESS:PORT` in hexadecimal, the tenth the inode.
    fn add_sockets(&mut self, table: &str) {
        for line in table.lines().skip(1) {
            let mut columns = line.split_whitespace();
            let local = columns.nth(1).and_then(|local| local.rsplit_once(':'));
            let port = local.and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            let inode = columns.nth(7).and_then(|inode| inode.parse().ok());
            if let (Some(port), Some(inode)) = (port, inode) {
                self.sockets_by_port.entry(port).or_default().push(inode);
            }
        }
    }

    fn add_process(&mut self, process: u32) {
        let program = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        for descriptor in fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|target| target.strip_prefix("socket:["));
            if let Some(inode) = inode.and_then(|inode| inode.strip_suffix(']')?.parse().ok()) {
                let owner = Owner { program: program.trim().to_owned(), process };
                self.owners_by_socket.insert(inode, owner);
            }
        }
    }

    /// The processes with a socket on `port`; none where that cannot be told.
    pub(crate) fn of(&self, port: u16) -> Vec<Owner> {
        let sockets = self.sockets_by_port.get(&port).into_iter().flatten();
        let mut owners: Vec<Owner> =
            sockets.filter_map(|socket| self.owners_by_socket.get(socket).cloned()).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_taken_port_has_an_owner() {
        // At an address where no test beside this one listens, nor connects from.
        let taken = TcpListener::bind("127.0.0.77:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(try_bind(address, true), Bind::Taken);
        let owners = Owners::look().of(address.port());
        assert_eq!(owners.iter().map(|owner| owner.process).collect::<Vec<_>>(), [std::process::id()]);
        drop(taken);
        assert_eq!(try_bind(address, true), Bind::Free);
    }

    #[test]
    fn an_address_that_is_not_here_cannot_be_bound() {
        assert_eq!(try_bind("192.0.2.199:0".parse().unwrap(), true), Bind::NoSuchAddress);
    }

    #[test]
    fn the_kernels_table_is_read() {
        let mut owners = Owners::default();
        owners.add_sockets(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:0849 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100\n",
        );
        owners.owners_by_socket.insert(4711, Owner { program: String::from("vsftpd"), process: 7 });
        assert_eq!(owners.of(0x849)[0].to_string(), "vsftpd (process 7)");
        assert!(owners.of(1).is_empty());
    }
}
