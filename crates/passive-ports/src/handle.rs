//! A worker's access to the allocator: its own shard first, a neighbour's where that has nothing to give.
//!
//! Each shard sits behind a lock that its own worker takes without contention, and a neighbour only to borrow,
//! or to end what it borrowed. No lock is held across an allocation, a system call or another lock, and what
//! happens under one takes constant time, so that a wait is a matter of nanoseconds and a deadlock cannot be.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use crate::allocator::{Place, Pool};
use crate::client::ClientAddress;
use crate::counters::{Observer, WorkerCounters};
use crate::lease::{Arrival, GivenBack, Lease, PairReference, Refused};
use crate::shard::{Choice, Request, Shard};
use crate::sync::Guard;

/// How much of what is due is cleared away in passing by every operation: more than one adds.
const PASSING_STEPS: usize = 4;

/// How much is cleared away before the lock is released for a moment.
const SWEEP_STEPS: usize = 64;

/// One worker's part of the allocator. It moves into the worker's thread and stays there: `Send`, not `Sync`,
/// for its counters have one writer.
pub struct ShardHandle<H> {
    pool: Arc<Pool<H>>,
    worker: u16,
    one_thread: PhantomData<Cell<()>>,
}

impl<H: Copy> ShardHandle<H> {
    pub(crate) fn new(pool: Arc<Pool<H>>, worker: u16) -> ShardHandle<H> {
        ShardHandle { pool, worker, one_thread: PhantomData }
    }

    /// The worker that this is the shard of, from 0.
    #[must_use]
    pub fn worker(&self) -> usize {
        usize::from(self.worker)
    }

    /// The ports that this worker accepts on, upwards. None, where there are fewer ports than workers.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        self.pool.slice(self.worker)
    }

    /// Reads the counters of all workers.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.pool.counters))
    }

    /// Leases a port for the next connection from `client`, to be handed to `holder` on this worker.
    ///
    /// In this order: a free port of the own slice, a free one of a neighbour's, and where `client` occupies
    /// every port there is, the one that has cooled the longest.
    ///
    /// # Errors
    /// [`Refused`], at once.
    pub fn lease(&self, client: ClientAddress, holder: H, now: Instant) -> Result<Lease, Refused> {
        let request = Request { client, holder, worker: self.worker };
        let result = self
            .lease_anywhere(&request, Choice::Free, now)
            .or_else(|refused| self.lease_longest_cooled(&request, refused, now));
        self.count(&result);
        result
    }

    /// Gives `lease` back and leases anew for the same client: a session's newest PASV.
    ///
    /// The new lease is on another port where there is one, so that a connection to the old port is told from
    /// one to the new. A session that goes on so alternates between two pairs, which are its own: however
    /// often it asks, it costs others nothing, and where there is no second pair it has the one again.
    ///
    /// # Errors
    /// [`Refused`], at once; the old lease is given back all the same.
    #[expect(clippy::needless_pass_by_value, reason = "a lease ends here")]
    pub fn replace(&self, lease: Lease, holder: H, now: Instant) -> Result<Lease, Refused> {
        let Lease { pair: old, previous, client, .. } = lease;
        let request = Request { client, holder, worker: self.worker };
        self.end(old, now);
        let result = previous
            .and_then(|previous| self.lease_again(previous, &request, now))
            .map_or_else(|| self.lease_anywhere(&request, Choice::Free, now), Ok)
            .or_else(|refused| self.lease_again(old, &request, now).ok_or(refused))
            .or_else(|refused| self.lease_longest_cooled(&request, refused, now))
            .map(|lease| Lease { previous: Some(old), ..lease });
        self.count(&result);
        result
    }

    /// Ends a lease. Its pair cools down if it was still waiting.
    #[expect(clippy::needless_pass_by_value, reason = "a lease ends here")]
    pub fn give_back(&self, lease: Lease, now: Instant) -> GivenBack {
        self.end(lease.pair, now)
    }

    /// A connection from `peer` was accepted on `port`: whose is it?
    pub fn arrive(&self, port: u16, peer: ClientAddress, now: Instant) -> Arrival<H> {
        self.arrive_as_any(port, &[peer], now, |_, _| true)
    }

    /// As [`ShardHandle::arrive`], for a peer that the policy for data peers lets stand for several keys, such
    /// as its own address and then its network: the first that has a lease on `port`, and whose holder `fits`, gets the
    /// connection. A lease whose holder does not fit stays as it is.
    pub fn arrive_as_any(
        &self,
        port: u16,
        peers: &[ClientAddress],
        now: Instant,
        fits: impl Fn(ClientAddress, &H) -> bool,
    ) -> Arrival<H> {
        let delivery = self.pool.place(port).and_then(|Place { shard, port }| {
            self.at(shard, now, |books| {
                peers
                    .iter()
                    .find_map(|&peer| books.arrive(usize::from(port), peer, now, |holder| fits(peer, holder)))
            })
        });
        match delivery {
            Some(delivery) => {
                self.counters().on_delivered(delivery.waited);
                Arrival::ForHolder(delivery)
            }
            None => {
                self.counters().on_stranger();
                Arrival::Stranger
            }
        }
    }

    /// Ends the leases of the own ports that have run out, and the cool-downs that are over. Gives the number
    /// of leases that expired. To be called at [`ShardHandle::next_expiry`]; lateness wrongs nobody, for an
    /// expired lease gets no connection, and leasing clears some away in passing.
    pub fn expire(&self, now: Instant) -> usize {
        let mut expired = 0;
        loop {
            let swept = self.inside(self.pool.seats[self.worker()].enter(), self.worker, |books| {
                books.sweep(now, SWEEP_STEPS)
            });
            expired += swept.expired;
            if swept.done {
                self.counters().on_expired(expired);
                return expired;
            }
        }
    }

    /// When [`ShardHandle::expire`] has something to do; `None` as long as nothing of the own ports is leased or
    /// cools. A worker that sleeps on `None` is not woken by a neighbour that borrows from it; nor need it be.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.pool.seats[self.worker()].enter().next_expiry()
    }

    /// The last resort: what the client's address itself has given up.
    fn lease_longest_cooled(
        &self,
        request: &Request<H>,
        refused: Refused,
        now: Instant,
    ) -> Result<Lease, Refused> {
        self.lease_anywhere(request, Choice::LongestCooled, now).map_err(|_| refused)
    }

    /// Asks the own shard, then the neighbours.
    fn lease_anywhere(&self, request: &Request<H>, choice: Choice, now: Instant) -> Result<Lease, Refused> {
        if self.ports().is_empty() {
            return self.borrow_lease(request, choice, Refused::NoPortForClient, now);
        }
        self.at(self.worker, now, |books| books.lease(request, choice, now))
            .or_else(|refused| self.borrow_lease(request, choice, refused, now))
    }

    /// Asks the neighbours, each in its turn from the next one on, first those that nobody is busy with.
    fn borrow_lease(
        &self,
        request: &Request<H>,
        choice: Choice,
        mut refused: Refused,
        now: Instant,
    ) -> Result<Lease, Refused> {
        let mut busy = false;
        for waits in [false, true] {
            for shard in self.neighbours() {
                let seat = &self.pool.seats[usize::from(shard)];
                let Some(guard) = (if waits { Some(seat.enter()) } else { seat.try_enter() }) else {
                    busy = true;
                    continue;
                };
                match self.visit(guard, shard, now, |books| books.lease(request, choice, now)) {
                    Ok(lease) => return Ok(lease),
                    Err(Refused::LeasesExhausted) => refused = Refused::LeasesExhausted,
                    Err(Refused::NoPortForClient) => {}
                }
            }
            if !busy {
                break;
            }
        }
        Err(refused)
    }

    /// The other shards that have ports.
    fn neighbours(&self) -> impl Iterator<Item = u16> {
        let count = self.pool.seats.len();
        (1..count)
            .map(move |distance| (self.worker() + distance) % count)
            .filter_map(|shard| u16::try_from(shard).ok())
            .filter(|shard| !self.pool.slice(*shard).is_empty())
    }

    fn lease_again(&self, pair: PairReference, request: &Request<H>, now: Instant) -> Option<Lease> {
        self.at(pair.id.shard, now, |books| books.lease_again(pair, request, now))
    }

    fn end(&self, pair: PairReference, now: Instant) -> GivenBack {
        self.at(pair.id.shard, now, |books| books.give_back(pair, now))
    }

    fn at<R>(&self, shard: u16, now: Instant, act: impl FnOnce(&mut Shard<H>) -> R) -> R {
        self.visit(self.pool.seats[usize::from(shard)].enter(), shard, now, act)
    }

    /// Clears some of what is due away, then acts.
    fn visit<R>(
        &self,
        guard: Guard<'_, Shard<H>>,
        shard: u16,
        now: Instant,
        act: impl FnOnce(&mut Shard<H>) -> R,
    ) -> R {
        let (result, expired) = self.inside(guard, shard, |books| {
            let expired = books.sweep(now, PASSING_STEPS).expired;
            (act(books), expired)
        });
        self.counters().on_expired(expired);
        result
    }

    /// Acts on a shard and leaves its gauges true.
    fn inside<R>(
        &self,
        mut guard: Guard<'_, Shard<H>>,
        shard: u16,
        act: impl FnOnce(&mut Shard<H>) -> R,
    ) -> R {
        let result = act(&mut guard);
        let gauges = &self.pool.counters[usize::from(shard)].shard;
        gauges.set(guard.pending.len(), guard.cooling.len(), guard.free_ports());
        result
    }

    fn counters(&self) -> &WorkerCounters {
        &self.pool.counters[self.worker()].worker
    }

    fn count(&self, result: &Result<Lease, Refused>) {
        match result {
            Ok(lease) => self.counters().on_leased(lease.listening_worker() != self.worker()),
            Err(_) => self.counters().on_refused(),
        }
    }
}

impl<H> fmt::Debug for ShardHandle<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardHandle").field("worker", &self.worker).finish_non_exhaustive()
    }
}
