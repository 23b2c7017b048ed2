//! What a command costs from bytes to a value: the line is cut, the verb found, the argument read.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use protocol::command::parse;
use protocol::line::{Frame, LINE_BYTES_MAX, LineSplitter};

/// What a client says that fetches one file.
const DIALOGUE: &[u8] =
    b"USER anonymous\r\nPASS guest@\r\nTYPE I\r\nEPSV\r\nRETR pub/linux/README\r\nNOOP\r\nQUIT\r\n";

fn splitting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("line splitter");
    group.throughput(Throughput::Bytes(DIALOGUE.len() as u64));
    let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
    group.bench_function("a dialogue at once", |bencher| {
        bencher.iter(|| {
            let mut input = black_box(DIALOGUE);
            while let Some(frame) = splitter.next(&mut input) {
                black_box(frame);
            }
        });
    });
    group.bench_function("a dialogue in pieces of 5 bytes", |bencher| {
        bencher.iter(|| {
            for mut piece in black_box(DIALOGUE).chunks(5) {
                while let Some(frame) = splitter.next(&mut piece) {
                    black_box(frame);
                }
            }
        });
    });
    group.finish();
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for line in [
        "NOOP",
        "RETR pub/linux/README",
        "PORT 192,0,2,7,156,64",
        "EPRT |2|2001:db8::7|40000|",
        "MDTM x",
        "WHAT",
    ] {
        group.bench_function(line, |bencher| bencher.iter(|| black_box(parse(black_box(line.as_bytes())))));
    }
    group.finish();
}

fn splitting_and_parsing(criterion: &mut Criterion) {
    let mut splitter = LineSplitter::new(LINE_BYTES_MAX);
    criterion.bench_function("line splitter and parse, a dialogue", |bencher| {
        bencher.iter(|| {
            let mut input = black_box(DIALOGUE);
            while let Some(Frame::Line(line)) = splitter.next(&mut input) {
                // What a command borrows ends with its turn.
                let _ = black_box(parse(line));
            }
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
    targets = splitting, parsing, splitting_and_parsing
}
criterion_main!(benches);
