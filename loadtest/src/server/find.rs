//! Which process listens on an address of this machine.

use std::net::{IpAddr, SocketAddr};

use nix::unistd::Pid;
use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};

/// Who listens on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    /// It is on another machine, or may not be seen.
    Unseen,
    /// The server.
    Server(Pid),
    /// Only a process that the tester comes from, as the first of the machine, which holds the sockets of services that it starts.
    /// What it takes of the machine is not what the server takes, and all that it started would count.
    Ancestor(Pid),
}

/// The process that listens on `address`.
pub(crate) fn listening_process(address: SocketAddr) -> Listening {
    let is_local = address.ip().is_loopback() || std::net::UdpSocket::bind((address.ip(), 0)).is_ok();
    if !is_local {
        return Listening::Unseen;
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
    let processes = all_processes().into_iter().flatten().flatten().filter(is_listener);
    among(processes.map(|process| Pid::from_raw(process.pid())), &ancestors())
}

/// Which of those that hold the socket it is: a service that was started for it holds it, too.
fn among(holders: impl Iterator<Item = Pid>, ancestors: &[Pid]) -> Listening {
    let mut found = Listening::Unseen;
    for pid in holders {
        if !ancestors.contains(&pid) {
            return Listening::Server(pid);
        }
        found = Listening::Ancestor(pid);
    }
    found
}

/// The processes that this one comes from, and the first of all.
fn ancestors() -> Vec<Pid> {
    let mut found = vec![Pid::from_raw(1)];
    let mut next = Some(Pid::parent());
    while let Some(pid) = next.filter(|pid| pid.as_raw() > 1 && !found.contains(pid)) {
        found.push(pid);
        let stat = Process::new(pid.as_raw()).and_then(|process| process.stat());
        next = stat.ok().map(|stat| Pid::from_raw(stat.ppid));
    }
    found
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
            assert_eq!(listening_process(address), Listening::Server(Pid::this()), "{place}");
        }
    }

    #[test]
    fn nobody_is_found_where_nobody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut address = listener.local_addr().unwrap();
        address.set_ip([127, 0, 0, 2].into());
        assert_eq!(listening_process(address), Listening::Unseen, "another address");
        drop(listener);
        address.set_ip([127, 0, 0, 1].into());
        assert_eq!(listening_process(address), Listening::Unseen);
    }

    #[test]
    fn who_started_the_tester_is_not_the_server() {
        let [first, shell, server] = [1, 70, 80].map(Pid::from_raw);
        let among = |holders: &[Pid]| among(holders.iter().copied(), &[first, shell]);
        assert_eq!(among(&[first, server]), Listening::Server(server));
        assert_eq!(among(&[first]), Listening::Ancestor(first));
        assert_eq!(among(&[shell]), Listening::Ancestor(shell));
        let ancestors = ancestors();
        assert!(ancestors.contains(&first) && ancestors.contains(&Pid::parent()), "{ancestors:?}");
        assert!(!ancestors.contains(&Pid::this()), "{ancestors:?}");
    }
}
