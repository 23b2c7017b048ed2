//! Splits the bound ports between the workers.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::counters::Counters;
use crate::handle::ShardHandle;
use crate::limits::Limits;
use crate::shard::Shard;
use crate::sync::Seat;

/// The most shards there can be.
pub const SHARDS_MAX: usize = 4096;

/// Times above this one count as this one, so that no sum of times overflows.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What all workers share.
pub(crate) struct Pool<H> {
    pub(crate) seats: Box<[Seat<Shard<H>>]>,
    pub(crate) ports: Box<[u16]>,
    /// Each shard's part of `ports`.
    slices: Box<[Range<usize>]>,
    /// For each port from the lowest to the highest, where it belongs.
    places: Box<[Option<Place>]>,
    lowest: u16,
    pub(crate) counters: Arc<[Counters]>,
}

/// A port's shard, and its number in the slice of that shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) shard: u16,
    pub(crate) port: u16,
}

/// Why there are no shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocatorError {
    /// Not one port could be bound: a start-up error.
    NoPorts,
    /// Zero shards, or more than [`SHARDS_MAX`]. The caller is at fault.
    ShardCount(usize),
    /// A port stands twice in the list, or is 0. The caller is at fault.
    BadPort(u16),
    /// [`Limits::leases_max`] is zero.
    NoLeases,
}

/// Splits `ports`, all of which are bound and listening, between `shards` workers: consecutive ports stay
/// together, and no slice is larger than another by more than one port. With fewer ports than shards, some
/// shards own none and borrow for every lease. `H` is how a session is named to whoever hands it a connection.
///
/// # Errors
/// See [`AllocatorError`].
pub fn shards<H: Copy>(
    ports: &[u16],
    shards: usize,
    limits: Limits,
) -> Result<Vec<ShardHandle<H>>, AllocatorError> {
    let pool = Arc::new(Pool::new(ports, shards, limits)?);
    // The number of shards was checked against their bound.
    let workers = u16::try_from(shards).unwrap_or(u16::MAX);
    Ok((0..workers).map(|worker| ShardHandle::new(Arc::clone(&pool), worker)).collect())
}

impl<H: Copy> Pool<H> {
    fn new(ports: &[u16], shards: usize, limits: Limits) -> Result<Pool<H>, AllocatorError> {
        let ports = checked(ports)?;
        if shards == 0 || shards > SHARDS_MAX {
            return Err(AllocatorError::ShardCount(shards));
        }
        if limits.leases_max == 0 {
            return Err(AllocatorError::NoLeases);
        }
        let limits = Limits {
            lease_lifetime: limits.lease_lifetime.min(DURATION_MAX),
            cool_down: limits.cool_down.min(DURATION_MAX),
            ..limits
        };
        let start = |shard: usize| (shard * ports.len()).div_ceil(shards);
        let slices: Box<[Range<usize>]> = (0..shards).map(|shard| start(shard)..start(shard + 1)).collect();
        let seats = slices.iter().zip(0..).map(|(slice, number)| {
            let pairs_max = share(limits.leases_max, slice.len(), ports.len());
            Seat::new(Shard::new(number, ports[slice.clone()].into(), pairs_max, limits))
        });
        let pool = Pool {
            seats: seats.collect(),
            places: places(&ports, &slices),
            slices,
            lowest: ports[0],
            counters: (0..shards).map(|_| Counters::default()).collect(),
            ports,
        };
        for (seat, counters) in pool.seats.iter().zip(&*pool.counters) {
            counters.shard.set(0, 0, seat.enter().free_ports());
        }
        Ok(pool)
    }

    /// Where `port` belongs, if it is one of ours.
    pub(crate) fn place(&self, port: u16) -> Option<Place> {
        let offset = port.checked_sub(self.lowest)?;
        self.places.get(usize::from(offset)).copied().flatten()
    }

    /// The ports that this shard's worker accepts on.
    pub(crate) fn slice(&self, shard: u16) -> &[u16] {
        &self.ports[self.slices[usize::from(shard)].clone()]
    }
}

/// The ports in their order, each once.
fn checked(ports: &[u16]) -> Result<Box<[u16]>, AllocatorError> {
    let mut ports: Box<[u16]> = ports.into();
    ports.sort_unstable();
    match (ports.first(), ports.windows(2).find(|pair| pair[0] == pair[1])) {
        (None, _) => Err(AllocatorError::NoPorts),
        (Some(0), _) => Err(AllocatorError::BadPort(0)),
        (_, Some(twice)) => Err(AllocatorError::BadPort(twice[0])),
        _ => Ok(ports),
    }
}

/// The part of `whole` that is due to `part_ports` of `all_ports`, rounded up.
fn share(whole: u32, part_ports: usize, all_ports: usize) -> u32 {
    let share = (u64::from(whole) * part_ports as u64).div_ceil(all_ports as u64);
    u32::try_from(share).unwrap_or(whole)
}

fn places(ports: &[u16], slices: &[Range<usize>]) -> Box<[Option<Place>]> {
    let lowest = ports[0];
    let span = usize::from(ports[ports.len() - 1] - lowest) + 1;
    let mut places = vec![None; span].into_boxed_slice();
    // The numbers come second, for the one after the last need not exist.
    for (slice, shard) in slices.iter().zip(0..) {
        for (port, number) in ports[slice.clone()].iter().zip(0..) {
            places[usize::from(port - lowest)] = Some(Place { shard, port: number });
        }
    }
    places
}

impl fmt::Display for AllocatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AllocatorError::NoPorts => write!(f, "no passive port could be bound"),
            AllocatorError::ShardCount(count) => {
                write!(f, "{count} shards of passive ports; there can be 1 to {SHARDS_MAX}")
            }
            AllocatorError::BadPort(0) => write!(f, "port 0 is in the list of passive ports"),
            AllocatorError::BadPort(port) => write!(f, "port {port} is twice in the list of passive ports"),
            AllocatorError::NoLeases => write!(f, "the bound on leases is zero"),
        }
    }
}

impl Error for AllocatorError {}
