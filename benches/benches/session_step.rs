//! What a session's own work costs: a dialogue through the state machine, with an outside that answers at once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::session::SessionSettings;
use ringftpd_benches::dialogue::{logged_in, say};

fn steps(criterion: &mut Criterion) {
    let settings = Arc::new(SessionSettings::default());
    let mut group = criterion.benchmark_group("session");
    let mut out = Vec::with_capacity(4096);

    let mut session = logged_in(&settings);
    for (name, lines) in [
        ("NOOP", &[b"NOOP".as_slice()][..]),
        ("CWD", &[b"CWD /pub/linux"]),
        ("EPSV, RETR to 226", &[b"EPSV", b"RETR pub/linux/README"]),
        ("PASV, RETR to 226", &[b"PASV", b"RETR pub/linux/README"]),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                say(&mut session, &mut out, lines);
                assert!(!black_box(&out).is_empty());
            });
        });
    }
    group.bench_function("a whole one: from the greeting to 221", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut session = logged_in(&settings);
            say(&mut session, &mut out, &[b"EPSV", b"RETR pub/linux/README", b"QUIT"]);
            assert!(black_box(&session).is_closed());
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = steps
}
criterion_main!(benches);
