//! The allocator against a naive model, a list of leases searched from end to end, under random operations in
//! virtual time.

#![cfg(not(loom))]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use passive_ports::{
    Arrival, ClientAddress, GivenBack, Lease, LeaseId, Limits, Refused, ShardHandle, Snapshot, shards,
};
use proptest::prelude::*;
use proptest::sample::Index;

const FIRST_PORT: u16 = 50_000;

const LIMITS: Limits = Limits {
    leases_max: 10_000,
    lease_lifetime: Duration::from_millis(100),
    cool_down: Duration::from_millis(40),
    cool_down_min: Duration::from_millis(10),
};

#[derive(Clone, Debug)]
enum Step {
    Lease { worker: Index, client: u8 },
    Replace { lease: Index },
    GiveBack { lease: Index },
    Lose { lease: Index },
    Arrive { port: Index, client: u8, as_network: bool },
    ArriveFor { lease: Index },
    Pass { milliseconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0_u8..3;
    let step = prop_oneof![
        8 => (any::<Index>(), client.clone()).prop_map(|(worker, client)| Step::Lease { worker, client }),
        3 => any::<Index>().prop_map(|lease| Step::Replace { lease }),
        2 => any::<Index>().prop_map(|lease| Step::GiveBack { lease }),
        1 => any::<Index>().prop_map(|lease| Step::Lose { lease }),
        2 => (any::<Index>(), client, any::<bool>())
            .prop_map(|(port, client, as_network)| Step::Arrive { port, client, as_network }),
        3 => any::<Index>().prop_map(|lease| Step::ArriveFor { lease }),
        2 => (0_u64..60).prop_map(|milliseconds| Step::Pass { milliseconds }),
    ];
    prop::collection::vec(step, 1..200)
}

/// What the naive model knows of a pair that is not free.
#[derive(Clone, Copy, Debug)]
struct Entry {
    port: u16,
    client: u8,
    session: u32,
    worker: usize,
    lease: LeaseId,
    /// Of the lease, or of its end.
    since: Instant,
    pending: bool,
}

impl Entry {
    fn ends_at(&self) -> Instant {
        self.since + if self.pending { LIMITS.lease_lifetime } else { LIMITS.cool_down }
    }
}

struct World {
    handles: Vec<ShardHandle<u32>>,
    ports: Vec<u16>,
    now: Instant,
    /// The leases that sessions hold, used up ones too, with the session and its worker.
    held: Vec<(Lease, u32, usize)>,
    model: Vec<Entry>,
    sessions: u32,
    expected: Snapshot,
}

fn address(client: u8) -> ClientAddress {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, client)).into()
}

impl World {
    fn new(ports: u16, workers: usize) -> World {
        let ports: Vec<u16> = (FIRST_PORT..FIRST_PORT + ports).collect();
        World {
            handles: shards(&ports, workers, LIMITS).expect("the ports are good"),
            ports,
            now: Instant::now(),
            held: Vec::new(),
            model: Vec::new(),
            sessions: 0,
            expected: Snapshot::default(),
        }
    }

    fn take(&mut self, index: Index) -> Option<(Lease, u32, usize)> {
        (!self.held.is_empty()).then(|| self.held.swap_remove(index.index(self.held.len())))
    }

    fn entry(&self, port: u16, client: u8) -> Option<&Entry> {
        self.model.iter().find(|entry| entry.port == port && entry.client == client)
    }

    fn has_cooled_enough(&self, entry: &Entry) -> bool {
        !entry.pending && self.now - entry.since >= LIMITS.cool_down_min
    }

    /// Whether the best ports for this client are the worker's own, and which those are. Empty: refused.
    fn candidates(&self, worker: usize, client: u8) -> Vec<u16> {
        let own = |port: &u16| self.handles[worker].ports().contains(port);
        let free = |port: &u16| self.entry(*port, client).is_none();
        let cooled =
            |port: &u16| self.entry(*port, client).is_some_and(|entry| self.has_cooled_enough(entry));
        let all =
            |accept: &dyn Fn(&u16) -> bool| self.ports.iter().copied().filter(|port| accept(port)).collect();
        let choices: [Vec<u16>; 4] = [
            all(&|port| own(port) && free(port)),
            all(&free),
            all(&|port| own(port) && cooled(port)),
            all(&cooled),
        ];
        choices.into_iter().find(|ports| !ports.is_empty()).unwrap_or_default()
    }

    fn on_leased(
        &mut self,
        lease: Lease,
        client: u8,
        session: u32,
        worker: usize,
    ) -> Result<(), TestCaseError> {
        let owner = self.handles.iter().position(|handle| handle.ports().contains(&lease.port()));
        prop_assert_eq!(owner, Some(lease.listening_worker()));
        prop_assert_eq!(lease.client(), address(client));
        prop_assert_eq!(lease.expires_at(), self.now + LIMITS.lease_lifetime);
        self.expected.leased += 1;
        self.expected.borrowed += u64::from(owner != Some(worker));
        self.model.retain(|entry| (entry.port, entry.client) != (lease.port(), client));
        self.model.push(Entry {
            port: lease.port(),
            client,
            session,
            worker,
            lease: lease.id(),
            since: self.now,
            pending: true,
        });
        self.held.push((lease, session, worker));
        Ok(())
    }

    fn lease(&mut self, worker: usize, client: u8) -> Result<(), TestCaseError> {
        self.sessions += 1;
        let candidates = self.candidates(worker, client);
        match self.handles[worker].lease(address(client), self.sessions, self.now) {
            Ok(lease) => {
                prop_assert!(candidates.contains(&lease.port()), "{} of {candidates:?}", lease.port());
                self.on_leased(lease, client, self.sessions, worker)
            }
            Err(refused) => {
                self.expected.refused += 1;
                prop_assert_eq!(refused, Refused::NoPortForClient);
                prop_assert_eq!(candidates, Vec::<u16>::new());
                Ok(())
            }
        }
    }

    /// Ends the lease in the model, and says what giving it back must say.
    fn end(&mut self, id: LeaseId) -> GivenBack {
        let now = self.now;
        match self.model.iter_mut().find(|entry| entry.pending && entry.lease == id) {
            Some(entry) => {
                entry.pending = false;
                entry.since = now;
                GivenBack::Unused
            }
            None => GivenBack::AlreadyOver,
        }
    }

    fn replace(&mut self, lease: Lease, session: u32, worker: usize) -> Result<(), TestCaseError> {
        let client = (0..3).find(|client| address(*client) == lease.client()).expect("one of three");
        let (old_port, old) = (lease.port(), self.end(lease.id()));
        let mut allowed = self.candidates(worker, client);
        let others_free = self.ports.iter().any(|port| self.entry(*port, client).is_none());
        let own = |entry: &&Entry| entry.client == client && entry.session == session && !entry.pending;
        allowed.extend(self.model.iter().filter(own).map(|entry| entry.port));
        match self.handles[worker].replace(lease, session, self.now) {
            Ok(lease) => {
                prop_assert!(allowed.contains(&lease.port()), "{} of {allowed:?}", lease.port());
                prop_assert!(lease.port() != old_port || old == GivenBack::AlreadyOver || !others_free);
                self.on_leased(lease, client, session, worker)
            }
            Err(refused) => {
                self.expected.refused += 1;
                prop_assert_eq!(refused, Refused::NoPortForClient);
                prop_assert_eq!(
                    old,
                    GivenBack::AlreadyOver,
                    "a session cannot lose its pair by replacing it"
                );
                prop_assert_eq!(self.candidates(worker, client), Vec::<u16>::new());
                Ok(())
            }
        }
    }

    fn arrive(&mut self, port: u16, client: u8, as_network: bool) -> Result<(), TestCaseError> {
        let acceptor =
            self.handles.iter().find(|handle| handle.ports().contains(&port)).expect("a worker's port");
        let network = address(client).network(24, 64);
        // Client 0 is what the network of all is called.
        let peers = if as_network { vec![address(client), network] } else { vec![address(client)] };
        let arrival = acceptor.arrive_as_any(port, &peers, self.now, |_, _| true);
        let waits_for = |client: u8| {
            self.model.iter().position(|entry| entry.pending && (entry.port, entry.client) == (port, client))
        };
        match waits_for(client).or_else(|| waits_for(0).filter(|_| as_network)) {
            Some(index) => {
                let entry = self.model.swap_remove(index);
                let Arrival::ForHolder(delivery) = arrival else {
                    return Err(TestCaseError::fail(format!("the connection for {entry:?} is a stranger's")));
                };
                prop_assert_eq!(delivery.holder, entry.session);
                prop_assert_eq!(delivery.worker, entry.worker);
                prop_assert_eq!(delivery.lease, entry.lease);
                prop_assert_eq!(delivery.waited, self.now - entry.since);
            }
            None => {
                self.expected.mismatched += 1;
                prop_assert_eq!(arrival, Arrival::Stranger);
            }
        }
        Ok(())
    }

    fn pass(&mut self, milliseconds: u64) -> Result<(), TestCaseError> {
        self.now += Duration::from_millis(milliseconds);
        let now = self.now;
        let mut expired = 0;
        for entry in &mut self.model {
            if entry.pending && entry.ends_at() <= now {
                entry.since = entry.ends_at();
                entry.pending = false;
                expired += 1;
            }
        }
        self.model.retain(|entry| entry.ends_at() > now);
        self.expected.expired += expired;
        let found: usize = self.handles.iter().map(|handle| handle.expire(now)).sum();
        prop_assert_eq!(found as u64, expired);
        let next = self.handles.iter().filter_map(ShardHandle::next_expiry).min();
        prop_assert_eq!(next, self.model.iter().map(Entry::ends_at).min());
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Lease { worker, client } => self.lease(worker.index(self.handles.len()), client),
            Step::Replace { lease } => match self.take(lease) {
                Some((lease, session, worker)) => self.replace(lease, session, worker),
                None => Ok(()),
            },
            Step::GiveBack { lease } => {
                if let Some((lease, _, worker)) = self.take(lease) {
                    let expected = self.end(lease.id());
                    prop_assert_eq!(self.handles[worker].give_back(lease, self.now), expected);
                }
                Ok(())
            }
            Step::Lose { lease } => {
                // A lost lease stays in the books until it expires.
                let _lost = self.take(lease);
                Ok(())
            }
            Step::Arrive { port, client, as_network } => {
                self.arrive(self.ports[port.index(self.ports.len())], client, as_network)
            }
            Step::ArriveFor { lease } => {
                if self.held.is_empty() {
                    return Ok(());
                }
                let lease = &self.held[lease.index(self.held.len())].0;
                let client = (0..3).find(|client| address(*client) == lease.client()).expect("one of three");
                self.arrive(lease.port(), client, false)
            }
            Step::Pass { milliseconds } => self.pass(milliseconds),
        }
    }

    fn check_counters(&self) -> Result<(), TestCaseError> {
        let total = self.handles[0].observer().total();
        let pending = |entry: &&Entry| entry.pending;
        let busy = |port: &&u16| self.model.iter().any(|entry| entry.pending && entry.port == **port);
        prop_assert_eq!(total.pending, self.model.iter().filter(pending).count() as u64);
        prop_assert_eq!(total.cooling, self.model.len() as u64 - total.pending);
        prop_assert_eq!(total.free, (self.ports.len() - self.ports.iter().filter(busy).count()) as u64);
        let counted = Snapshot {
            leased: total.leased,
            borrowed: total.borrowed,
            refused: total.refused,
            ..Snapshot::default()
        };
        let counted = Snapshot { expired: total.expired, mismatched: total.mismatched, ..counted };
        prop_assert_eq!(counted, self.expected);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn it_does_what_the_naive_model_allows(ports in 1_u16..9, workers in 1_usize..5, steps in steps()) {
        let mut world = World::new(ports, workers);
        for step in &steps {
            world.step(step)?;
            world.check_counters()?;
        }
        // In the end everything runs out and nothing is left.
        world.pass(200)?;
        world.pass(200)?;
        world.check_counters()?;
        prop_assert!(world.handles.iter().all(|handle| handle.next_expiry().is_none()));
    }
}
