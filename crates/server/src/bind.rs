//! The sockets of the server: bound at the start, before any worker runs, so that what is wrong stops it with a reason.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use passive_ports::PortRange;
use runtime::{BoundListener, ListenOptions};
use socket2::SockRef;

/// How many passive ports there are when no range is given.
const PASSIVE_PORTS_DEFAULT: usize = 16;

/// How often a free port is looked for that every address has free.
const PASSIVE_PORT_TRIES_MAX: usize = 64;

/// How many connections wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// How long the start waits for a control port that is in use, and for the passive ports, all of them together. A server on
/// io_uring that was killed keeps its ports for some milliseconds more (longer where the machine is busy), until the kernel has
/// taken its rings apart, and whoever restarts it is quicker.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often a port that is in use is tried again.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// Binds; a port that is in use is tried again until `deadline`.
fn patiently<T>(deadline: Instant, mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(TRY_EVERY);
            }
            outcome => return outcome,
        }
    }
}

/// Binds an address for the control connections of every worker: a socket each, among which the kernel spreads clients.
pub(crate) fn bind_control(
    address: SocketAddr,
    all: &[SocketAddr],
    workers: usize,
) -> anyhow::Result<Vec<BoundListener>> {
    let options = ListenOptions { backlog: BACKLOG, only_v6: only_v6(address, all) };
    let bind = || BoundListener::bind_shared(address, options, workers);
    let listeners =
        patiently(Instant::now() + PATIENCE, bind).with_context(|| format!("cannot listen on {address}"))?;
    for listener in &listeners {
        set_inherited_options(listener)
            .with_context(|| format!("cannot set up the listener on {address}"))?;
    }
    Ok(listeners)
}

/// How many bytes of replies may wait in the kernel for a client to read them.
const REPLIES_UNREAD_BYTES_MAX: usize = 128 * 1024;

/// What connections inherit from their listener, which saves a system call for each.
fn set_inherited_options(listener: &BoundListener) -> io::Result<()> {
    let socket = SockRef::from(listener);
    // Two replies in a row must not wait for each other's acknowledgement.
    socket.set_tcp_nodelay(true)?;
    // The data mark of a client's ABOR comes as urgent data; it is read in its place in the line.
    socket.set_out_of_band_inline(true)?;
    // A client that vanished without a word is found out while its session waits for nothing else.
    socket.set_keepalive(true)?;
    // Replies that a client does not read: the kernel would let them grow to four mebibytes.
    socket.set_send_buffer_size(REPLIES_UNREAD_BYTES_MAX)
}

/// The passive ports: for each port one socket on each address that control connections come to.
#[derive(Debug)]
pub(crate) struct PassiveSockets {
    /// The ports that could be bound, upwards.
    pub(crate) ports: Vec<u16>,
    pub(crate) listeners: Vec<BoundListener>,
}

/// Binds the passive ports: those of the range that are free, or ports of the kernel's choice.
pub(crate) fn bind_passive(
    range: Option<PortRange>,
    control: &[SocketAddr],
) -> anyhow::Result<PassiveSockets> {
    let hosts = passive_hosts(control);
    let deadline = Instant::now() + PATIENCE;
    let mut sockets = PassiveSockets { ports: Vec::new(), listeners: Vec::new() };
    match range {
        Some(range) => {
            let mut left_out: Option<LeftOut> = None;
            for port in range {
                match bind_on_all(&hosts, port, deadline) {
                    Ok(listeners) => sockets.add(listeners),
                    Err(error) => match &mut left_out {
                        Some(run) if run.goes_on_with(port, &error) => run.high = port,
                        run => {
                            if let Some(run) = run.replace(LeftOut { low: port, high: port, error }) {
                                run.tell();
                            }
                        }
                    },
                }
            }
            if let Some(run) = left_out {
                run.tell();
            }
            if sockets.ports.is_empty() {
                bail!(
                    "not one passive port of {}-{} could be bound; choose another range",
                    range.low(),
                    range.high()
                );
            }
        }
        None => {
            let mut tries = 0;
            while sockets.ports.len() < PASSIVE_PORTS_DEFAULT {
                match bind_on_all(&hosts, 0, Instant::now()) {
                    Ok(listeners) => sockets.add(listeners),
                    Err(error) if tries == PASSIVE_PORT_TRIES_MAX => {
                        return Err(error).context("no passive ports could be bound");
                    }
                    Err(_) => tries += 1,
                }
            }
        }
    }
    Ok(sockets)
}

/// Ports side by side that could not be bound, all for the same reason. They are told in one line: a range that somebody else
/// has may be one of ten thousand ports.
struct LeftOut {
    low: u16,
    high: u16,
    error: io::Error,
}

impl LeftOut {
    fn goes_on_with(&self, port: u16, error: &io::Error) -> bool {
        self.high.checked_add(1) == Some(port) && self.error.raw_os_error() == error.raw_os_error()
    }

    fn tell(self) {
        let Self { low, high, error } = self;
        if low == high {
            tracing::warn!(port = low, %error, "a passive port is left out");
        } else {
            tracing::warn!(ports = format!("{low}-{high}"), %error, "passive ports are left out");
        }
    }
}

impl PassiveSockets {
    fn add(&mut self, listeners: Vec<BoundListener>) {
        self.ports.extend(listeners.first().map(|listener| listener.local().port()));
        self.listeners.extend(listeners);
    }
}

/// The same port on every address; port 0 is the one that the kernel picks for the first.
fn bind_on_all(hosts: &[SocketAddr], port: u16, deadline: Instant) -> io::Result<Vec<BoundListener>> {
    let mut listeners: Vec<BoundListener> = Vec::with_capacity(hosts.len());
    for host in hosts {
        let port = listeners.first().map_or(port, |first| first.local().port());
        let address = SocketAddr::new(host.ip(), port);
        let options = ListenOptions { backlog: BACKLOG, only_v6: only_v6(*host, hosts) };
        listeners.push(patiently(deadline, || BoundListener::bind(address, options))?);
    }
    Ok(listeners)
}

/// The addresses of the control listeners, each once, and none that an unspecified one of its family covers.
fn passive_hosts(control: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut hosts: Vec<SocketAddr> = Vec::new();
    for address in control {
        let covered = control.iter().any(|other| covers(other.ip(), address.ip()));
        if !covered && !hosts.iter().any(|host| host.ip() == address.ip()) {
            hosts.push(*address);
        }
    }
    hosts
}

fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    // The unspecified IPv6 address takes IPv4 too, unless somebody listens on the unspecified IPv4 address.
    wide.is_unspecified() && !narrow.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
}

/// `[::]` takes IPv4 as well, except where `0.0.0.0` is listened on beside it.
fn only_v6(address: SocketAddr, all: &[SocketAddr]) -> bool {
    let has_wide_v4 = all.iter().any(|other| other.is_ipv4() && other.ip().is_unspecified());
    !address.ip().is_unspecified() || has_wide_v4
}

/// Whether this machine has IPv6 at all: containers are often without.
pub(crate) fn has_ipv6() -> bool {
    let unspecified = SocketAddr::new(IpAddr::from([0u16; 8]), 0);
    BoundListener::bind(unspecified, ListenOptions { backlog: 1, only_v6: true }).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn hosts(texts: &[&str]) -> Vec<String> {
        passive_hosts(&addresses(texts)).iter().map(|host| host.ip().to_string()).collect()
    }

    #[test]
    fn passive_ports_are_bound_where_clients_come_in() {
        assert_eq!(hosts(&["[::]:2121"]), ["::"]);
        assert_eq!(hosts(&["127.0.0.1:21", "127.0.0.1:2121", "10.0.0.1:21"]), ["127.0.0.1", "10.0.0.1"]);
        assert_eq!(hosts(&["0.0.0.0:21", "127.0.0.1:2121", "[::1]:21"]), ["0.0.0.0", "::1"]);
        assert_eq!(hosts(&["0.0.0.0:21", "[::]:21"]), ["0.0.0.0", "::"]);
    }

    #[test]
    fn a_port_that_somebody_has_is_left_out() {
        // At an address where no test beside this one listens, nor connects from.
        let host = addresses(&["127.0.0.77:0"]);
        let taken = BoundListener::bind(host[0], ListenOptions::default()).unwrap();
        let port = taken.local().port();
        let range = PortRange::new(port, port).unwrap();
        assert!(bind_passive(Some(range), &host).is_err());
        drop(taken);
        assert_eq!(bind_passive(Some(range), &host).unwrap().ports, [port]);
    }

    #[test]
    fn without_a_range_the_kernel_picks() {
        let sockets = bind_passive(None, &addresses(&["127.0.0.1:0", "127.0.0.2:0"])).unwrap();
        assert_eq!(sockets.ports.len(), PASSIVE_PORTS_DEFAULT);
        assert_eq!(sockets.listeners.len(), 2 * PASSIVE_PORTS_DEFAULT);
        assert!(!sockets.ports.contains(&0));
    }

    #[test]
    fn a_control_port_is_not_shared_with_another_server() {
        let first = bind_control("127.0.0.1:0".parse().unwrap(), &[], 2).unwrap();
        let address = first[0].local();
        assert_eq!(first[1].local(), address);
        let refused = bind_control(address, &[], 1).unwrap_err();
        assert!(format!("{refused:#}").contains(&address.to_string()));
    }
}
