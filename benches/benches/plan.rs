//! What it costs to choose a transfer's route.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use transfer::{
    CachePolicy, CacheState, Direction, FileSystemKind, RoutePreference, TransferFacts, TransferType, plan,
};

fn plans(criterion: &mut Criterion) {
    let download = TransferFacts {
        direction: Direction::Download,
        transfer_type: TransferType::Image,
        size: Some(1 << 20),
        encrypted: false,
        file_system: Some(FileSystemKind::Disk),
        cache: CacheState::Used,
        cache_policy: CachePolicy::Keep,
        preference: RoutePreference::Planned,
    };
    let upload = TransferFacts { direction: Direction::Upload, size: None, ..download };
    let mut group = criterion.benchmark_group("plan");
    group.bench_function("download", |bencher| bencher.iter(|| plan(black_box(&download))));
    group.bench_function("upload", |bencher| bencher.iter(|| plan(black_box(&upload))));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = plans
}
criterion_main!(benches);
