//! What a session's own work costs: a dialogue through the state machine, with an outside that answers at once.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use protocol::rights::Rights;
use protocol::session::{Action, FileAnswer, LoginVerdict, Opened, Session, SessionSettings, TransferEnd};

const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 7], 40_000);
const PASSIVE: ([u8; 4], u16) = ([192, 0, 2, 1], 50_000);
const FILE_BYTES: u64 = 1024;

/// Does what the session asks, as a server does to whom everything is at hand.
fn answer(session: &mut Session, out: &mut Vec<u8>) {
    while let Some(action) = session.poll_action() {
        match action {
            Action::Reply { reply, .. } => reply.encode(out),
            Action::Authenticate { .. } => session.handle_login(LoginVerdict::Accepted(Rights::READER)),
            Action::LeasePassive(kind) => session.handle_passive(kind, Ok(SocketAddr::from(PASSIVE))),
            Action::Transfer(_) => {
                session.handle_transfer_opened(&Opened::Download { bytes: FILE_BYTES });
                session.handle_transfer_progress(FILE_BYTES);
                session.handle_transfer_ended(TransferEnd::Complete);
            }
            Action::File(request) => session.handle_file_answer(*request, Ok(FileAnswer::Done)),
            other => drop(black_box(other)),
        }
    }
}

fn say(session: &mut Session, out: &mut Vec<u8>, lines: &[&[u8]]) {
    for line in lines {
        session.handle_line(black_box(line));
        answer(session, out);
    }
}

fn logged_in(settings: &Arc<SessionSettings>) -> Session {
    let mut session = Session::new(Arc::clone(settings), SocketAddr::from(CLIENT));
    say(&mut session, &mut Vec::new(), &[b"USER anonymous", b"PASS guest@", b"TYPE I"]);
    session
}

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
