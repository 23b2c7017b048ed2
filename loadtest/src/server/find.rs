//! Which process listens on a port of this machine.

use std::fs;
use std::net::SocketAddr;

use nix::unistd::Pid;

/// The state of a listening socket in /proc/net/tcp.
const LISTENING: &str = "0A";

/// The process that listens on `address`; `None` if it is on another machine or may not be seen.
pub(crate) fn listening_process(address: SocketAddr) -> Option<Pid> {
    let port = format!(":{:04X}", address.port());
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, &port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let is_local = address.ip().is_loopback() || std::net::UdpSocket::bind((address.ip(), 0)).is_ok();
    if !is_local || inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?;
    processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid::from_raw)).find(
        |pid| {
            let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
            descriptors
                .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
                .any(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
        },
    )
}

/// The inodes of the sockets that listen on `port`, which is written as the table has it.
fn listening_inodes(table: &str, port: &str) -> Vec<String> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(port) && *fields.get(3)? == LISTENING;
        listens.then(|| fields.get(9).map(ToString::to_string)).flatten()
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listening_process(listener.local_addr().unwrap()), Some(Pid::this()));
    }

    #[test]
    fn nobody_is_found_where_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(listening_process(address), None);
    }
}
