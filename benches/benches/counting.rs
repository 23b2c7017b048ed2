//! What it costs to count: in a worker's own memory, and in memory that all cores share; and to look at the clock.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use runtime::Counter;

fn counters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("count");
    let own = Counter::new();
    group.bench_function("of this worker", |bencher| bencher.iter(|| black_box(&own).add(1)));
    let shared = Arc::new(AtomicU64::new(0));
    group.bench_function("shared, nobody else adds", |bencher| {
        bencher.iter(|| black_box(&shared).fetch_add(1, Ordering::Relaxed));
    });
    let ended = Arc::new(AtomicBool::new(false));
    let other = {
        let (shared, ended) = (Arc::clone(&shared), Arc::clone(&ended));
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                shared.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    group.bench_function("shared, another core adds too", |bencher| {
        bencher.iter(|| black_box(&shared).fetch_add(1, Ordering::Relaxed));
    });
    ended.store(true, Ordering::Relaxed);
    assert!(other.join().is_ok());
    group.bench_function("a look at the clock", |bencher| bencher.iter(Instant::now));
    group.finish();
}

criterion_group!(benches, counters);
criterion_main!(benches);
