//! The books of one slice of the ports: what is leased, to whom, and what cools down.

use std::time::Instant;

use crate::chain::{Chain, Linked, Links};
use crate::client::ClientAddress;
use crate::lease::{Delivery, GivenBack, Lease, LeaseId, PairReference, Refused};
use crate::limits::Limits;
use crate::occupancy::Occupancy;
use crate::table::Table;

/// One slice of the ports. Whoever calls holds the lock of its seat, so that nothing here may take longer
/// than a few memory accesses: no allocation, no system call, no loop without a small bound.
pub(crate) struct Shard<H> {
    /// The worker that accepts on these ports, and the number of this shard.
    pub(crate) number: u16,
    pub(crate) ports: Box<[u16]>,
    pub(crate) limits: Limits,
    pub(crate) occupancy: Occupancy,
    pub(crate) pairs: Table<PairKey, Pair<H>>,
    /// Pairs whose lease is pending, the first to expire first.
    pub(crate) pending: Chain,
    /// Pairs that cool down, the longest cooled first.
    pub(crate) cooling: Chain,
    /// How many leases are pending on each port.
    leases_on: Box<[u32]>,
    free_ports: usize,
    serial: u64,
}

/// Who asks for a lease.
#[derive(Clone, Copy)]
pub(crate) struct Request<H> {
    pub(crate) client: ClientAddress,
    pub(crate) holder: H,
    pub(crate) worker: u16,
}

/// What a request may be given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A port that is free for the client's address.
    Free,
    /// Nothing is: the one that has cooled the longest, and long enough.
    LongestCooled,
}

/// A port of the shard and the address that occupies it, by its slot in the [`Occupancy`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PairKey {
    pub(crate) occupant: u32,
    pub(crate) port: usize,
}

/// One port in its relation to one address, while it is not free for it.
pub(crate) struct Pair<H> {
    pub(crate) key: PairKey,
    pub(crate) serial: u64,
    holder: H,
    worker: u16,
    pub(crate) state: State,
    /// Its place in [`Shard::pending`] or [`Shard::cooling`].
    queue: Links,
    /// Its place among the pairs of its address that cool down.
    cooling: Links,
}

#[derive(Clone, Copy)]
pub(crate) enum State {
    Pending { since: Instant, expires_at: Instant },
    Cooling { since: Instant, until: Instant },
}

/// The lists of the shard.
pub(crate) struct OfShard;

/// The lists of one address.
pub(crate) struct OfClient;

impl<H> Linked<OfShard> for Pair<H> {
    fn links(&mut self) -> &mut Links {
        &mut self.queue
    }
}

impl<H> Linked<OfClient> for Pair<H> {
    fn links(&mut self) -> &mut Links {
        &mut self.cooling
    }
}

impl<H: Copy> Shard<H> {
    /// A shard that accepts on `ports`, with room for `pairs_max` pairs, leased or cooling.
    pub(crate) fn new(number: u16, ports: Box<[u16]>, pairs_max: u32, limits: Limits) -> Shard<H> {
        Shard {
            number,
            limits,
            occupancy: Occupancy::new(ports.len(), pairs_max),
            pairs: Table::with_capacity(pairs_max),
            pending: Chain::EMPTY,
            cooling: Chain::EMPTY,
            leases_on: vec![0; ports.len()].into_boxed_slice(),
            free_ports: ports.len(),
            serial: 0,
            ports,
        }
    }

    /// Ports that no lease is pending on.
    pub(crate) fn free_ports(&self) -> usize {
        self.free_ports
    }

    pub(crate) fn lease(
        &mut self,
        request: &Request<H>,
        choice: Choice,
        now: Instant,
    ) -> Result<Lease, Refused> {
        match choice {
            Choice::Free => self.lease_free(request, now),
            Choice::LongestCooled => {
                let slot = self.longest_cooled_of(request.client, now).ok_or(Refused::NoPortForClient)?;
                Ok(self.lease_cooling(slot, request, now))
            }
        }
    }

    fn lease_free(&mut self, request: &Request<H>, now: Instant) -> Result<Lease, Refused> {
        if self.pairs.is_full() && !self.make_room(now) {
            return Err(Refused::LeasesExhausted);
        }
        let (occupant, port) = self.occupancy.occupy_next(request.client).ok_or(Refused::NoPortForClient)?;
        let key = PairKey { occupant, port };
        let pair = Pair {
            key,
            serial: 0,
            holder: request.holder,
            worker: request.worker,
            state: State::Pending { since: now, expires_at: now },
            queue: Links::NONE,
            cooling: Links::NONE,
        };
        let slot = self.pairs.insert(key, pair);
        Ok(self.begin(slot, request, now))
    }

    /// Leases again what `reference` names, if it still cools down: for the session that held it before.
    pub(crate) fn lease_again(
        &mut self,
        reference: PairReference,
        request: &Request<H>,
        now: Instant,
    ) -> Option<Lease> {
        let pair = self.pairs.get(reference.slot)?;
        let cools = pair.serial == reference.id.serial && matches!(pair.state, State::Cooling { .. });
        cools.then(|| self.lease_cooling(reference.slot, request, now))
    }

    fn lease_cooling(&mut self, slot: u32, request: &Request<H>, now: Instant) -> Lease {
        self.leave_cooling(slot);
        self.begin(slot, request, now)
    }

    /// Begins a lease of the pair in `slot`, which is in no list.
    fn begin(&mut self, slot: u32, request: &Request<H>, now: Instant) -> Lease {
        // Workers read the clock each for itself: the list stays in order all the same.
        let latest = self.pending.last().map(|last| self.pairs[last].ends_at());
        let expires_at = (now + self.limits.lease_lifetime).max(latest.unwrap_or(now));
        self.serial += 1;
        let pair = &mut self.pairs[slot];
        pair.serial = self.serial;
        pair.holder = request.holder;
        pair.worker = request.worker;
        pair.state = State::Pending { since: now, expires_at };
        let port = pair.key.port;
        self.pending.push::<OfShard, _, _>(&mut self.pairs, slot);
        self.leases_on[port] += 1;
        if self.leases_on[port] == 1 {
            self.free_ports -= 1;
        }
        Lease {
            pair: PairReference { id: LeaseId { shard: self.number, serial: self.serial }, slot },
            previous: None,
            client: request.client,
            port: self.ports[port],
            expires_at,
        }
    }

    /// Takes a pending pair out of its list.
    pub(crate) fn leave_pending(&mut self, slot: u32) {
        self.pending.unlink::<OfShard, _, _>(&mut self.pairs, slot);
        let port = self.pairs[slot].key.port;
        self.leases_on[port] -= 1;
        if self.leases_on[port] == 0 {
            self.free_ports += 1;
        }
    }

    /// Forgets a pair that is in no list: the port is free for its address.
    pub(crate) fn forget(&mut self, slot: u32) {
        let Pair { key, .. } = self.pairs.remove(slot);
        self.occupancy.vacate(key.occupant, key.port);
    }

    /// A connection from `peer` was accepted on the port with this number in the slice; it is the holder's if that `fits`.
    pub(crate) fn arrive(
        &mut self,
        port: usize,
        peer: ClientAddress,
        now: Instant,
        fits: impl FnOnce(&H) -> bool,
    ) -> Option<Delivery<H>> {
        let occupant = self.occupancy.find(peer)?;
        let slot = self.pairs.find(PairKey { occupant, port })?;
        let &Pair { serial, holder, worker, state, .. } = &self.pairs[slot];
        let State::Pending { since, expires_at } = state else { return None };
        if expires_at <= now || !fits(&holder) {
            return None;
        }
        self.leave_pending(slot);
        self.forget(slot);
        Some(Delivery {
            worker: usize::from(worker),
            holder,
            lease: LeaseId { shard: self.number, serial },
            waited: now.saturating_duration_since(since),
        })
    }

    pub(crate) fn give_back(&mut self, reference: PairReference, now: Instant) -> GivenBack {
        match self.pairs.get(reference.slot) {
            Some(pair)
                if pair.serial == reference.id.serial && matches!(pair.state, State::Pending { .. }) =>
            {
                self.end_unused(reference.slot, now);
                GivenBack::Unused
            }
            _ => GivenBack::AlreadyOver,
        }
    }

    /// When the next lease expires or the next pair has cooled.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let ends_at = |chain: &Chain| chain.first().map(|slot| self.pairs[slot].ends_at());
        match (ends_at(&self.pending), ends_at(&self.cooling)) {
            (Some(expiry), Some(cooled)) => Some(expiry.min(cooled)),
            (expiry, cooled) => expiry.or(cooled),
        }
    }
}

impl<H> Pair<H> {
    /// When its present state ends by itself.
    pub(crate) fn ends_at(&self) -> Instant {
        match self.state {
            State::Pending { expires_at, .. } => expires_at,
            State::Cooling { until, .. } => until,
        }
    }
}
