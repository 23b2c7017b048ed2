//! The borrow path under the model checker: every interleaving of two workers.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ringftpd-passive-ports --release --test loom_borrow`

#![cfg(loom)]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use loom::thread;
use passive_ports::{Arrival, ClientAddress, GivenBack, Lease, Limits, Refused, ShardHandle, shards};

const LIMITS: Limits = Limits {
    leases_max: 4,
    lease_lifetime: Duration::from_secs(60),
    cool_down: Duration::from_secs(2),
    cool_down_min: Duration::from_secs(2),
};

fn client() -> ClientAddress {
    IpAddr::V4(Ipv4Addr::LOCALHOST).into()
}

fn two_workers(ports: &[u16]) -> (ShardHandle<u32>, ShardHandle<u32>) {
    let mut handles = shards(ports, 2, LIMITS).expect("the ports are good");
    let second = handles.pop().expect("the second worker");
    (handles.pop().expect("the first worker"), second)
}

/// A port is leased to one session of an address, whoever is quicker.
#[test]
fn two_workers_never_lease_the_same_pair() {
    loom::model(|| {
        let now = Instant::now();
        let (owner, borrower) = two_workers(&[50_000]);
        let other = thread::spawn(move || borrower.lease(client(), 2, now).map(|lease| lease.id()));
        let own = owner.lease(client(), 1, now).map(|lease| lease.id());
        let borrowed = other.join().expect("the borrower ends well");
        let refused = Err(Refused::NoPortForClient);
        assert!((own == refused) != (borrowed == refused), "{own:?} {borrowed:?}");
        let Arrival::ForHolder(delivery) = owner.arrive(50_000, client(), now) else {
            panic!("one of them waits for it");
        };
        assert_eq!(Ok(delivery.lease), if delivery.worker == 0 { own } else { borrowed });
    });
}

/// A busy neighbour is no reason to refuse: the owner is at its books for somebody else, and has room.
#[test]
fn a_busy_neighbour_is_waited_for() {
    loom::model(|| {
        let now = Instant::now();
        let (owner, borrower) = two_workers(&[50_000]);
        let stranger = IpAddr::V4(Ipv4Addr::BROADCAST).into();
        let other = thread::spawn(move || borrower.lease(client(), 2, now).map(|lease| lease.port()));
        assert_eq!(owner.arrive(50_000, stranger, now), Arrival::Stranger);
        assert_eq!(other.join().expect("the borrower ends well"), Ok(50_000));
    });
}

/// A connection arrives while the borrower gives its lease back: exactly one of the two ends it.
#[test]
fn an_arrival_and_a_return_share_no_lease() {
    loom::model(|| {
        let now = Instant::now();
        let (owner, borrower) = two_workers(&[50_000]);
        let lease = borrower.lease(client(), 2, now).expect("the one port");
        let id = lease.id();
        let other = thread::spawn(move || borrower.give_back(lease, now));
        let arrival = owner.arrive(50_000, client(), now);
        match (arrival, other.join().expect("the borrower ends well")) {
            (Arrival::ForHolder(delivery), GivenBack::AlreadyOver) => {
                assert_eq!((delivery.worker, delivery.holder, delivery.lease), (1, 2, id));
            }
            (Arrival::Stranger, GivenBack::Unused) => {}
            both => panic!("ended twice or never: {both:?}"),
        }
    });
}

/// A borrower replaces its lease while the owner expires leases and looks for a port for the same address.
#[test]
fn a_session_keeps_its_pair_through_a_replacement() {
    loom::model(|| {
        let now = Instant::now();
        let (owner, borrower) = two_workers(&[50_000]);
        let lease = borrower.lease(client(), 2, now).expect("the one port");
        let other = thread::spawn(move || borrower.replace(lease, 2, now).map(|lease: Lease| lease.id()));
        assert_eq!(owner.expire(now), 0);
        assert_eq!(owner.lease(client(), 1, now).err(), Some(Refused::NoPortForClient));
        let kept = other.join().expect("the borrower ends well").expect("the pair is its own");
        assert_eq!(owner.observer().total().pending, 1);
        assert!(
            matches!(owner.arrive(50_000, client(), now), Arrival::ForHolder(found) if found.lease == kept)
        );
    });
}

/// The owner sweeps an expired lease while its borrower gives it back.
#[test]
fn an_expiry_and_a_return_share_no_lease() {
    loom::model(|| {
        let now = Instant::now();
        let (owner, borrower) = two_workers(&[50_000]);
        let lease = borrower.lease(client(), 2, now).expect("the one port");
        let late = lease.expires_at();
        let other = thread::spawn(move || borrower.give_back(lease, now));
        let swept = owner.expire(late);
        let given_back = other.join().expect("the borrower ends well");
        assert_eq!(swept, usize::from(given_back == GivenBack::AlreadyOver));
        assert_eq!(owner.observer().total().pending, 0);
    });
}
