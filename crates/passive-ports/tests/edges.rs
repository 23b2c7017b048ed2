//! The ends of what can be configured, and what clients do at their worst.

#![cfg(not(loom))]

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use passive_ports::{
    AllocatorError, Arrival, ClientAddress, GivenBack, Lease, Limits, PortRange, Refused, SHARDS_MAX,
    ShardHandle, shards,
};

fn client(number: u32) -> ClientAddress {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)).into()
}

fn split(ports: &[u16], workers: usize) -> Vec<ShardHandle<u32>> {
    shards(ports, workers, Limits::default()).expect("the ports are good")
}

fn one(ports: &[u16]) -> ShardHandle<u32> {
    split(ports, 1).remove(0)
}

/// The session that a connection from `client` to `port` is handed to.
fn holder(acceptor: &ShardHandle<u32>, port: u16, client: ClientAddress, now: Instant) -> Option<u32> {
    match acceptor.arrive(port, client, now) {
        Arrival::ForHolder(delivery) => Some(delivery.holder),
        Arrival::Stranger => None,
    }
}

fn ports_of(leases: &[Lease]) -> HashSet<u16> {
    leases.iter().map(Lease::port).collect()
}

#[test]
fn what_cannot_be_split_is_refused() {
    let build = |ports: &[u16], count| shards::<u32>(ports, count, Limits::default()).map(drop);
    assert_eq!(build(&[], 1), Err(AllocatorError::NoPorts));
    assert_eq!(build(&[7], 0), Err(AllocatorError::ShardCount(0)));
    assert_eq!(build(&[7], SHARDS_MAX + 1), Err(AllocatorError::ShardCount(SHARDS_MAX + 1)));
    assert_eq!(build(&[7, 0], 1), Err(AllocatorError::BadPort(0)));
    assert_eq!(build(&[7, 8, 7], 1), Err(AllocatorError::BadPort(7)));
    let limits = Limits { leases_max: 0, ..Limits::default() };
    assert_eq!(shards::<u32>(&[7], 1, limits).map(drop), Err(AllocatorError::NoLeases));
}

#[test]
fn every_port_has_one_worker_and_slices_are_even() {
    for (ports, workers) in [(1, 1), (1, 4), (3, 4), (4, 4), (7, 3), (1000, 48), (65_535, 7)] {
        let range = PortRange::new(65_535 - (ports - 1), 65_535).expect("a range");
        let ports: Vec<u16> = range.iter().collect();
        let handles = split(&ports, workers);
        let owned: Vec<u16> = handles.iter().flat_map(ShardHandle::ports).copied().collect();
        assert_eq!(owned, ports);
        let sizes = handles.iter().map(|handle| handle.ports().len());
        assert!(sizes.clone().max() <= sizes.min().map(|least| least + 1), "{} ports", ports.len());
    }
}

#[test]
fn a_list_with_holes_is_leased_without_the_holes() {
    let handle = one(&[50_009, 50_001, 50_005]);
    let now = Instant::now();
    let leases: Vec<Lease> =
        (0..3).map(|session| handle.lease(client(1), session, now).expect("a port")).collect();
    assert_eq!(leases.iter().map(Lease::port).collect::<Vec<_>>(), [50_001, 50_005, 50_009]);
    for port in [0, 1, 50_000, 50_002, 50_010, 65_535] {
        assert_eq!(handle.arrive(port, client(1), now), Arrival::Stranger);
    }
}

#[test]
fn one_address_has_as_many_leases_as_there_are_ports() {
    for (workers, size) in [(1, 10_000_u16), (3, 10_000), (1, 65_535), (2, 65_535)] {
        let ports: Vec<u16> = (65_535 - (size - 1)..=65_535).collect();
        let handles = split(&ports, workers);
        let now = Instant::now();
        // All from one worker, which has to borrow what is not its own.
        let leases: Vec<Lease> = (0..u32::from(size))
            .map(|session| handles[0].lease(client(1), session, now).expect("a port"))
            .collect();
        assert_eq!(ports_of(&leases).len(), usize::from(size));
        assert_eq!(handles[0].lease(client(1), 0, now).err(), Some(Refused::NoPortForClient));
        assert!(handles[0].lease(client(2), 0, now).is_ok(), "another address has them all to itself");
        assert_eq!(handles[0].observer().total().borrowed, u64::from(size) - handles[0].ports().len() as u64);
        for (session, lease) in (0..).zip(&leases) {
            let acceptor = &handles[lease.listening_worker()];
            assert_eq!(holder(acceptor, lease.port(), client(1), now), Some(session));
        }
    }
}

#[test]
fn ten_thousand_addresses_share_sixteen_ports() {
    let ports: Vec<u16> = (50_000..50_016).collect();
    let handles = split(&ports, 2);
    let now = Instant::now();
    let leases: Vec<Lease> = (0..10_000_u32)
        .map(|number| handles[number as usize % 2].lease(client(number), number, now).expect("a port"))
        .collect();
    let total = handles[0].observer().total();
    assert_eq!((total.pending, total.borrowed, total.refused, total.free), (10_000, 0, 0, 0));
    for port in ports {
        assert_eq!(leases.iter().filter(|lease| lease.port() == port).count(), 625, "the load is spread");
    }
    for (number, lease) in (0..).zip(&leases) {
        let acceptor = &handles[lease.listening_worker()];
        assert_eq!(holder(acceptor, lease.port(), client(number + 1_000_000), now), None);
        assert_eq!(holder(acceptor, lease.port(), client(number), now), Some(number));
    }
}

#[test]
fn a_worker_without_ports_borrows_and_learns_whose_the_connection_is() {
    let handles = split(&[50_000], 3);
    let now = Instant::now();
    assert_eq!(handles.iter().map(|handle| handle.ports().len()).collect::<Vec<_>>(), [1, 0, 0]);
    let lease = handles[2].lease(client(1), 77, now).expect("the one port");
    assert_eq!((lease.port(), lease.listening_worker()), (50_000, 0));
    let Arrival::ForHolder(delivery) = handles[0].arrive(50_000, client(1), now + Duration::from_millis(3))
    else {
        panic!("the connection is no stranger's");
    };
    assert_eq!((delivery.worker, delivery.holder, delivery.lease), (2, 77, lease.id()));
    assert_eq!(delivery.waited, Duration::from_millis(3));
    assert_eq!(handles[2].give_back(lease, now), GivenBack::AlreadyOver);
    let workers = handles[0].observer().workers();
    assert_eq!((workers[2].borrowed, workers[0].waits.total(), workers[0].waits.sum_us), (1, 1, 3000));
}

#[test]
fn a_storm_in_one_session_costs_nobody_a_port() {
    for ports in [1_u16, 2, 5] {
        let ports: Vec<u16> = (50_000..50_000 + ports).collect();
        let handles = split(&ports, 2);
        let now = Instant::now();
        let mut storm = handles[1].lease(client(1), 0, now).expect("a port");
        for _ in 0..100_000 {
            let before = storm.port();
            storm = handles[1].replace(storm, 0, now).expect("never refused");
            assert!(storm.port() != before || ports.len() == 1, "a late connection is told from the new one");
        }
        let total = handles[0].observer().total();
        assert_eq!(total.pending, 1);
        assert!(total.cooling <= 1, "the session alternates between two pairs");
        // Other sessions of the same address have the rest, those of another address everything.
        let same = ports.len() - usize::try_from(total.pending + total.cooling).expect("a few");
        let leases: Vec<Lease> = (0..).map_while(|_| handles[0].lease(client(1), 1, now).ok()).collect();
        assert_eq!(leases.len(), same);
        let leases: Vec<Lease> = (0..).map_while(|_| handles[0].lease(client(2), 2, now).ok()).collect();
        assert_eq!(leases.len(), ports.len());
        assert_eq!(holder(&handles[storm.listening_worker()], storm.port(), client(1), now), Some(0));
    }
}

#[test]
fn a_storm_of_sessions_that_lose_their_leases_costs_other_addresses_nothing() {
    let handle = one(&[50_000, 50_001]);
    let start = Instant::now();
    let mut refused = 0;
    for second in 0..600 {
        let now = start + Duration::from_secs(second);
        for _ in 0..100 {
            refused += u32::from(handle.lease(client(1), 1, now).is_err());
        }
        let lease = handle.lease(client(2), 2, now).expect("another address has its ports");
        assert_eq!(holder(&handle, lease.port(), client(2), now), Some(2));
    }
    assert!(refused > 0);
    assert!(handle.observer().total().expired > 0, "what is lost comes back");
    let later = start + Duration::from_secs(1000);
    assert!(handle.expire(later) <= 2);
    assert!(handle.lease(client(1), 1, later).is_ok(), "the client is not locked out");
}

#[test]
fn a_pair_cools_down_before_another_session_has_it() {
    let limits = Limits { cool_down_min: Duration::from_secs(1), ..Limits::default() };
    let handle = shards::<u32>(&[50_000, 50_001], 1, limits).expect("two ports").remove(0);
    let start = Instant::now();
    let abandoned = handle.lease(client(1), 1, start).expect("a port");
    let port = abandoned.port();
    assert_eq!(handle.give_back(abandoned, start), GivenBack::Unused);
    let second = handle.lease(client(1), 2, start).expect("the other port");
    assert_ne!(second.port(), port);
    // The connection that was meant for the abandoned lease is nobody's.
    assert_eq!(holder(&handle, port, client(1), start), None);
    assert_eq!(handle.lease(client(1), 3, start).err(), Some(Refused::NoPortForClient));
    // Nothing else is left: the least cool-down is enough.
    let third = handle.lease(client(1), 3, start + Duration::from_secs(1)).expect("the cooled port");
    assert_eq!(third.port(), port);
}

#[test]
fn a_used_pair_is_free_at_once() {
    let handle = one(&[50_000]);
    let now = Instant::now();
    for session in 0..100 {
        let lease = handle.lease(client(1), session, now).expect("the one port");
        assert_eq!(holder(&handle, lease.port(), client(1), now), Some(session));
        assert_eq!(holder(&handle, lease.port(), client(1), now), None, "one connection a lease");
        assert_eq!(handle.give_back(lease, now), GivenBack::AlreadyOver);
    }
}

#[test]
fn a_lease_ends_at_its_expiry_whether_swept_or_not() {
    let handle = one(&[50_000]);
    let now = Instant::now();
    let lease = handle.lease(client(1), 1, now).expect("the one port");
    assert_eq!(handle.next_expiry(), Some(lease.expires_at()));
    assert_eq!(holder(&handle, 50_000, client(1), lease.expires_at()), None);
    let lease = handle.lease(client(2), 1, now).expect("the one port");
    let just_before = lease.expires_at() - Duration::from_nanos(1);
    assert_eq!(holder(&handle, 50_000, client(2), just_before), Some(1));
    // More have run out than one operation clears away in passing.
    let leases: Vec<Lease> =
        (100..200).map(|number| handle.lease(client(number), number, now).expect("the one port")).collect();
    assert_eq!(holder(&handle, 50_000, client(199), leases[99].expires_at()), None);
}

#[test]
fn old_leases_do_not_end_new_ones_on_the_same_pair() {
    let handle = one(&[50_000]);
    let now = Instant::now();
    let old = handle.lease(client(1), 1, now).expect("the one port");
    let later = old.expires_at() + Limits::default().cool_down;
    handle.expire(old.expires_at());
    let new = handle.lease(client(1), 2, later).expect("the one port");
    assert_ne!(old.id(), new.id());
    assert_eq!(handle.give_back(old, later), GivenBack::AlreadyOver);
    assert_eq!(holder(&handle, 50_000, client(1), later), Some(2));
}

#[test]
fn the_bound_on_leases_holds_and_pending_ones_come_before_cooling_ones() {
    let limits = Limits { leases_max: 8, ..Limits::default() };
    let handles = shards::<u32>(&[50_000, 50_001], 2, limits).expect("two ports");
    let now = Instant::now();
    let mut leases: Vec<Lease> =
        (0..8).map(|number| handles[0].lease(client(number), number, now).expect("room")).collect();
    assert_eq!(handles[0].lease(client(8), 8, now).err(), Some(Refused::LeasesExhausted));
    assert_eq!(handles[1].lease(client(8), 8, now).err(), Some(Refused::LeasesExhausted));
    if let Some(lease) = leases.pop() {
        handles[0].give_back(lease, now);
    }
    let soon = now + Limits::default().cool_down_min;
    assert!(handles[1].lease(client(8), 8, soon).is_ok(), "a pair that cools down gives way");
    assert_eq!(handles[0].observer().total().pending, 8);
}

#[test]
fn a_mapped_address_is_the_same_client_on_both_connections() {
    let handle = one(&[50_000]);
    let now = Instant::now();
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let lease = handle.lease(IpAddr::V4(address).into(), 1, now).expect("the one port");
    let mapped: ClientAddress = IpAddr::V6(address.to_ipv6_mapped()).into();
    assert_eq!(holder(&handle, lease.port(), mapped, now), Some(1));
    let native: ClientAddress = IpAddr::V6(Ipv6Addr::LOCALHOST).into();
    assert!(handle.lease(native, 2, now).is_ok());
    assert!(handle.lease(IpAddr::V4(Ipv4Addr::LOCALHOST).into(), 3, now).is_ok());
}

#[test]
fn times_without_end_are_no_overflow() {
    let limits = Limits { lease_lifetime: Duration::MAX, cool_down: Duration::MAX, ..Limits::default() };
    let handle = shards::<u32>(&[50_000], 1, limits).expect("one port").remove(0);
    let now = Instant::now();
    let lease = handle.lease(client(1), 1, now).expect("the one port");
    assert_eq!(handle.give_back(lease, now), GivenBack::Unused);
}

#[test]
fn a_handle_moves_to_its_worker_and_counters_are_read_from_anywhere() {
    let mut handles = split(&[50_000, 50_001], 2);
    let observer = handles[0].observer();
    let now = Instant::now();
    let workers: Vec<_> = handles
        .drain(..)
        .map(|handle| {
            std::thread::spawn(move || {
                for number in 0..1000 {
                    let lease = handle.lease(client(number), number, now).expect("a port");
                    assert_eq!(handle.give_back(lease, now), GivenBack::Unused);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().expect("the worker ends well");
    }
    assert_eq!((observer.total().leased, observer.total().pending), (2000, 0));
    assert_eq!(observer.workers().len(), 2);
}
