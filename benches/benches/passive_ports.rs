//! What PASV costs in the allocator of passive ports: the lease, the arrival of its connection, its return.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use passive_ports::{ClientAddress, Lease, Limits, ShardHandle, shards};

fn client(number: u32) -> ClientAddress {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)).into()
}

fn split(count: u16, workers: usize) -> Vec<ShardHandle<u32>> {
    let ports: Vec<u16> = (10_000..10_000 + count).collect();
    shards(&ports, workers, Limits::default()).expect("the ports are good")
}

fn lease(handle: &ShardHandle<u32>, client: ClientAddress, now: Instant) -> Lease {
    handle.lease(client, 0, now).expect("a port is free")
}

/// A whole life of a lease that is used.
fn lease_and_arrive(handle: &ShardHandle<u32>, client: ClientAddress, now: Instant) {
    let lease = lease(handle, client, now);
    black_box(handle.arrive(lease.port(), client, now));
}

fn own_shard(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("own shard");
    let now = Instant::now();

    let handle = split(1000, 1).remove(0);
    group.bench_function("lease, arrive", |bencher| {
        bencher.iter(|| lease_and_arrive(&handle, black_box(client(1)), now));
    });

    let handle = split(16, 1).remove(0);
    let _pending: Vec<Lease> = (1..=10_000).map(|number| lease(&handle, client(number), now)).collect();
    let mut number = 0;
    group.bench_function("lease, arrive; 10,000 addresses pending on 16 ports", |bencher| {
        bencher.iter(|| {
            number = (number + 1) % 10_000;
            lease_and_arrive(&handle, client(20_000 + number), now);
        });
    });

    let handle = split(10_000, 1).remove(0);
    let _pending: Vec<Lease> = (1..10_000).map(|_| lease(&handle, client(1), now)).collect();
    group.bench_function("lease, arrive; the address has 9,999 of 10,000 ports", |bencher| {
        bencher.iter(|| lease_and_arrive(&handle, black_box(client(1)), now));
    });

    let handle = split(1000, 1).remove(0);
    group.bench_function("stranger", |bencher| {
        bencher.iter(|| black_box(handle.arrive(10_000, black_box(client(1)), now)));
    });

    let handle = split(1000, 1).remove(0);
    let mut pending = Some(lease(&handle, client(1), now));
    let mut later = now;
    group.bench_function("replace", |bencher| {
        bencher.iter(|| {
            later += Duration::from_micros(1);
            if let Some(old) = pending.take() {
                pending = handle.replace(old, 0, later).ok();
            }
        });
    });

    let handle = split(1000, 1).remove(0);
    let mut later = now;
    group.bench_function("lease, give back, cooled later", |bencher| {
        bencher.iter(|| {
            later += Duration::from_millis(1);
            let lease = lease(&handle, client(1), later);
            black_box(handle.give_back(lease, later))
        });
    });
    group.finish();
}

fn borrowed(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("borrowed");
    let now = Instant::now();

    // The one port is the first worker's; the second leases it, and the first accepts.
    let handles = split(1, 2);
    group.bench_function("lease, arrive; neighbour idle", |bencher| {
        bencher.iter(|| {
            let lease = lease(&handles[1], black_box(client(1)), now);
            black_box(handles[0].arrive(lease.port(), client(1), now));
        });
    });

    // The owner's own leases, while another thread borrows all the time.
    let mut handles = split(1, 2);
    let borrower = handles.pop().expect("the second worker");
    let owner = handles.pop().expect("the first worker");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let borrower = borrower;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                lease_and_arrive(&borrower, client(2), now);
            }
        });
        group.bench_function("lease, arrive; own, while a neighbour borrows without pause", |bencher| {
            bencher.iter(|| lease_and_arrive(&owner, black_box(client(1)), now));
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    group.finish();
}

/// What the lock adds to the above: taken and released by the one thread that uses it.
fn lock(criterion: &mut Criterion) {
    let lock = std::sync::Mutex::new(0_u64);
    criterion.bench_function("an uncontended lock", |bencher| {
        bencher.iter(|| {
            if let Ok(mut guard) = black_box(&lock).lock() {
                *guard += 1;
            }
        });
    });
}

criterion_group! {
    name = passive_ports;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = own_shard, borrowed, lock
}
criterion_main!(passive_ports);
