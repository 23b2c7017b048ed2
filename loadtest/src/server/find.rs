//! Which process listens on an address of this machine.

use std::net::{IpAddr, SocketAddr};

use nix::unistd::Pid;
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};

/// The process that listens on `address`; `None` if it is on another machine or may not be seen.
pub(crate) fn listening_process(address: SocketAddr) -> Option<Pid> {
    let is_local = address.ip().is_loopback() || std::net::UdpSocket::bind((address.ip(), 0)).is_ok();
    if !is_local {
        return None;
    }
    let entries = tcp().into_iter().flatten().chain(tcp6().into_iter().flatten());
    let mut listeners: Vec<TcpNetEntry> = entries
        .filter(|entry| entry.state == TcpState::Listen && takes(entry.local_address, address))
        .collect();
    // The kernel gives a connection to whoever listens on that very address, if anybody does.
    if listeners.iter().any(|entry| !entry.local_address.ip().is_unspecified()) {
        listeners.retain(|entry| !entry.local_address.ip().is_unspecified());
    }
    let is_listener = |process: &Process| {
        process.fd().into_iter().flatten().flatten().any(|descriptor| match descriptor.target {
            FDTarget::Socket(inode) => listeners.iter().any(|entry| entry.inode == inode),
            _ => false,
        })
    };
    let process = all_processes().ok()?.flatten().find(is_listener)?;
    Some(Pid::from_raw(process.pid()))
}

/// Whether connections to `address` come to a socket that listens on `listener`.
fn takes(listener: SocketAddr, address: SocketAddr) -> bool {
    let is_any = match listener.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && address.is_ipv4(),
        // It may be for both families.
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    listener.port() == address.port()
        && (is_any || listener.ip().to_canonical() == address.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        for place in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(place).unwrap();
            let mut address = listener.local_addr().unwrap();
            if address.ip().is_unspecified() {
                address.set_ip([127, 0, 0, 1].into());
            }
            assert_eq!(listening_process(address), Some(Pid::this()), "{place}");
        }
    }

    #[test]
    fn nobody_is_found_where_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut address = listener.local_addr().unwrap();
        address.set_ip([127, 0, 0, 2].into());
        assert_eq!(listening_process(address), None, "another address");
        drop(listener);
        address.set_ip([127, 0, 0, 1].into());
        assert_eq!(listening_process(address), None);
    }
}
