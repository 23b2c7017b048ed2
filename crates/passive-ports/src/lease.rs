//! What goes in and out of the allocator: leases, arrivals, refusals.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use crate::client::ClientAddress;

/// Names one lease for ever: no other lease of the same allocator has an equal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId {
    /// The shard that the port belongs to.
    pub(crate) shard: u16,
    /// Counts the leases of that shard.
    pub(crate) serial: u64,
}

/// Where the record of a lease stands, as long as it has not ended and cooled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairReference {
    pub(crate) id: LeaseId,
    pub(crate) slot: u32,
}

/// The right to the next connection from one client address to one port.
///
/// It can be had from a shard only, cannot be copied, and should go back by [`ShardHandle::give_back`] or
/// [`ShardHandle::replace`]. One that is dropped blocks its pair until it expires.
///
/// [`ShardHandle::give_back`]: crate::ShardHandle::give_back
/// [`ShardHandle::replace`]: crate::ShardHandle::replace
#[must_use = "a lease that is dropped blocks its port for this client until it expires"]
#[derive(Debug)]
pub struct Lease {
    pub(crate) pair: PairReference,
    /// The lease that the same session held before this one. Its pair may still be cooling, or long be
    /// somebody else's: its serial number tells.
    pub(crate) previous: Option<PairReference>,
    pub(crate) client: ClientAddress,
    pub(crate) port: u16,
    pub(crate) expires_at: Instant,
}

impl Lease {
    /// The port that the reply to PASV or EPSV names.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address that the connection must come from.
    #[must_use]
    pub fn client(&self) -> ClientAddress {
        self.client
    }

    /// The name of this lease, which the [`Delivery`] of its connection bears.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.pair.id
    }

    /// The worker whose listener the port is.
    #[must_use]
    pub fn listening_worker(&self) -> usize {
        usize::from(self.pair.id.shard)
    }

    /// From this moment on a connection comes too late.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        self.expires_at
    }
}

/// Whose connection has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival<H> {
    /// It is the one that a lease waits for. The lease is used up.
    ForHolder(Delivery<H>),
    /// No lease on that port waits for that address: close it.
    Stranger,
}

/// Where an accepted connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery<H> {
    /// The worker that the session lives on; the accepting one, unless the port was borrowed.
    pub worker: usize,
    /// The session, as it named itself to [`ShardHandle::lease`](crate::ShardHandle::lease).
    pub holder: H,
    /// The lease that the connection used up. A session that has a newer one by the time the connection
    /// reaches it closes the connection.
    pub lease: LeaseId,
    /// The time from the lease to the arrival.
    pub waited: Duration,
}

/// What a returned lease had come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// It was still waiting: its pair cools down now.
    Unused,
    /// Its connection had arrived, or its time was up.
    AlreadyOver,
}

/// Why there is no lease. The reply is 425 (or 421), at once, and the session lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The client's address holds, or has just given up, every port there is. The client is at fault, or the
    /// range is too small for it.
    NoPortForClient,
    /// The bound on all leases is reached, [`Limits::leases_max`](crate::Limits::leases_max).
    LeasesExhausted,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::NoPortForClient => "every passive port is taken for this client's address",
            Refused::LeasesExhausted => "too many data connections are awaited",
        })
    }
}

impl Error for Refused {}
