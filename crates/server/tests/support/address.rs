//! Addresses that can be named before anybody listens there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address of the loopback where nobody else listens or connects from, now and later, with a port that is free.
///
/// A port that the kernel picked and that was given back does not do: before it is bound again, the kernel may have picked it
/// for a connection of a test beside this one. Here the host belongs to this process alone (127.0.0.0/8 has room for
/// every process number), and the port is none that the kernel picks, so that no listener on every address has it either.
pub(crate) fn lone_address() -> SocketAddr {
    lone_addresses(1)
}

/// The first of `ports` such addresses, that differ in their ports alone.
pub(crate) fn lone_addresses(ports: u16) -> SocketAddr {
    /// Below the kernel's own choices (`net.ipv4.ip_local_port_range`), and above what needs a privilege.
    const FIRST_PORT: u16 = 10_000;
    static NEXT_PORT: AtomicU16 = AtomicU16::new(FIRST_PORT);
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, high, middle, low);
    loop {
        let first = NEXT_PORT.fetch_add(ports, Ordering::Relaxed);
        // Somebody may listen on every address of this machine.
        if (first..first + ports).all(|port| TcpListener::bind((host, port)).is_ok()) {
            return (host, first).into();
        }
    }
}
