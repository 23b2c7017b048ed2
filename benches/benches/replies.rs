//! What a reply costs from a value to bytes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::reply::{Code, Reply, ReplyDecoder};

fn replies() -> Vec<(&'static str, Reply)> {
    let features =
        ["EPRT", "EPSV", "MDTM", "MLST type*;size*;modify*;", "REST STREAM", "SIZE", "TVFS", "UTF8"];
    let features = features.iter().map(|feature| feature.as_bytes().to_vec()).collect();
    vec![
        ("fixed", Reply::fixed(Code::new(226), "Transfer complete.")),
        ("made", Reply::new(Code::new(229), "Entering Extended Passive Mode (|||50000|)")),
        ("path", Reply::pathname(b"/pub/linux/a \"quoted\" name", "is the current directory.")),
        ("path with byte 255", Reply::pathname(b"/pub/\xff/name", "is the current directory.")),
        ("of several lines", Reply::lines(Code::new(211), "Features:", features, "End")),
    ]
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(1024);
    for (name, reply) in replies() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&reply).encode(&mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn making_and_encoding(criterion: &mut Criterion) {
    let mut out = Vec::with_capacity(1024);
    criterion.bench_function("make and encode 229", |bencher| {
        bencher.iter(|| {
            out.clear();
            let text = format!("Entering Extended Passive Mode (|||{}|)", black_box(50_000));
            Reply::new(Code::new(229), text).encode(&mut out);
            black_box(&out);
        });
    });
}

fn decoding(criterion: &mut Criterion) {
    let mut bytes = Vec::new();
    for (_, reply) in replies() {
        reply.encode(&mut bytes);
    }
    let mut decoder = ReplyDecoder::new(8192, 65_536);
    criterion.bench_function("decode all of these", |bencher| {
        bencher.iter(|| {
            let mut input = black_box(bytes.as_slice());
            while let Ok(Some(reply)) = decoder.next(&mut input) {
                black_box(reply.code);
            }
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = encoding, making_and_encoding, decoding
}
criterion_main!(benches);
