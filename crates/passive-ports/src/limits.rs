//! What the allocator may hold, and for how long.

use std::time::Duration;

/// Bounds in number and time, the same for all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many leases may be pending at a time, over all ports and clients. A session holds one at most, so
    /// the bound on sessions is a good value. Shards get their part of it by their number of ports, rounded
    /// up, and one that is full borrows from its neighbours. Pairs that cool down count, but give way to
    /// leases. Memory for all of them is reserved at start, about 300 bytes each, and touched when first used.
    pub leases_max: u32,
    /// How long a lease waits for its connection.
    pub lease_lifetime: Duration,
    /// How long a pair (port, client address) rests after its lease ended unused (given back, replaced, or
    /// expired), so that a connection that was meant for the old lease finds no new one in its place.
    pub cool_down: Duration,
    /// How long a pair rests at least when the client's address has nothing else left on any shard: then the
    /// pair that has cooled the longest is leased again, rather than refusing. Equal to `cool_down`, it
    /// always refuses. It covers the connections that are already in a listener's queue and not yet accepted.
    ///
    /// A session that replaces its own lease never waits: what arrives on its old pair is its own connection.
    pub cool_down_min: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            leases_max: 65_536,
            lease_lifetime: Duration::from_secs(60),
            cool_down: Duration::from_secs(2),
            cool_down_min: Duration::from_millis(1),
        }
    }
}
