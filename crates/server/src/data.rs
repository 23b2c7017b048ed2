//! How a data connection comes about: accepted on a passive port, or made to the client.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::errno::Errno;
use protocol::reply::Reply;
use runtime::{ConnectOptions, Stream, connect, timeout_at};

use crate::metrics::{Connecting, Mode, WorkerCounters};
use crate::passive::PassiveLease;
use crate::replies;

/// A data connection that is to come, and how long it may take.
pub(crate) struct DataConnector {
    way: Way,
    deadline: Instant,
}

enum Way {
    /// The client connects to this port; `None` where the lease is gone.
    Passive(Option<Box<PassiveLease>>),
    /// The server connects, from the address that the client's control connection goes to.
    Active { peer: SocketAddr, control: Option<SocketAddr>, source: SourcePort },
}

/// Which port an active data connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourcePort {
    /// The port below the control port, where that can be had.
    pub(crate) is_port_below: bool,
    /// Whether it was said in the log that it cannot be had.
    pub(crate) refusal_told: &'static AtomicBool,
}

impl DataConnector {
    pub(crate) fn passive(lease: Option<Box<PassiveLease>>, deadline: Instant) -> Self {
        Self { way: Way::Passive(lease), deadline }
    }

    pub(crate) fn active(
        peer: SocketAddr,
        control: Option<SocketAddr>,
        source: SourcePort,
        deadline: Instant,
    ) -> Self {
        Self { way: Way::Active { peer, control, source }, deadline }
    }

    /// Waits for the connection; `Err` is the reply that says why there is none.
    pub(crate) async fn connect(self, counters: &WorkerCounters) -> Result<Stream, Reply> {
        let (mode, connected, too_late) = match self.way {
            Way::Passive(None) => {
                (Mode::Passive, Ok(Err(replies::DATA_SETUP_LOST)), replies::NO_DATA_CONNECTION)
            }
            Way::Passive(Some(mut lease)) => {
                let arrived = timeout_at(self.deadline, lease.arrived()).await;
                let connected = arrived
                    .map(|connection| connection.into_stream().map_err(|error| replies::connect(&error)));
                (Mode::Passive, connected, replies::NO_DATA_CONNECTION)
            }
            Way::Active { peer, control, source } => {
                // Boxed, lest every transfer has room for what few of them do.
                let connecting = Box::pin(connect_back(peer, control, source));
                let connected = timeout_at(self.deadline, connecting).await;
                let connected =
                    connected.map(|connected| connected.map_err(|error| replies::connect(&error)));
                (Mode::Active, connected, replies::DATA_CONNECT_DEADLINE)
            }
        };
        counters.on_data_connection(
            mode,
            match &connected {
                Ok(Ok(_)) => Connecting::Established,
                Ok(Err(_)) => Connecting::Failed,
                Err(runtime::Elapsed) => Connecting::TooLate,
            },
        );
        connected.unwrap_or(Err(too_late))
    }
}

/// Connects to a client from the port below the control port, as RFC 959 section 3.2 has it, where this process may use
/// it and no older connection to the same place stands in the way; from a port of the kernel's choice otherwise.
async fn connect_back(
    peer: SocketAddr,
    control: Option<SocketAddr>,
    source: SourcePort,
) -> io::Result<Stream> {
    // The same family as the peer's: a listener of both has clients of IPv4 mapped into IPv6.
    let local = control.map(to_canonical).filter(|local| local.is_ipv4() == peer.is_ipv4());
    let port_below = control.map_or(0, |control| control.port().saturating_sub(1));
    if let Some(mut from) = local
        && source.is_port_below
        && port_below != 0
    {
        from.set_port(port_below);
        match connect(peer, ConnectOptions { local: Some(from), share_port: true }).await {
            Err(error) if wants_another_port(&error) => tell_once(source.refusal_told, from, &error),
            outcome => return outcome,
        }
    }
    let from_any_port = local.map(|mut from| {
        from.set_port(0);
        from
    });
    connect(peer, ConnectOptions { local: from_any_port, share_port: false }).await
}

/// The same place by IPv4, where that is mapped into IPv6; what is not keeps the link that it is on.
fn to_canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// `address` on the link by which `client` came, where it has a meaning on one link only: `EPRT` cannot name that.
pub(crate) fn on_link_of(mut address: SocketAddr, client: SocketAddr) -> SocketAddr {
    if let (SocketAddr::V6(address), SocketAddr::V6(client)) = (&mut address, client)
        && address.ip().is_unicast_link_local()
    {
        address.set_scope_id(client.scope_id());
    }
    address
}

/// The port may not be bound (`EACCES`), somebody listens on it (`EADDRINUSE`), or the pair of addresses is that of a
/// connection that ended a moment ago and waits in TIME_WAIT (`EADDRNOTAVAIL`).
fn wants_another_port(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EACCES | Errno::EADDRINUSE | Errno::EADDRNOTAVAIL)
    )
}

fn tell_once(told: &AtomicBool, from: SocketAddr, error: &io::Error) {
    let is_lasting = error.raw_os_error() != Some(Errno::EADDRNOTAVAIL as i32);
    if is_lasting && !told.swap(true, Ordering::Relaxed) {
        tracing::warn!(%from, %error, "active data connections come from ports of the kernel's choice");
    }
}
