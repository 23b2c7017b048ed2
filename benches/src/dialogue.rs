//! Dialogues through the session's state machine, with an outside that answers at once.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use protocol::rights::Rights;
use protocol::session::{Action, FileAnswer, LoginVerdict, Opened, Session, SessionSettings, TransferEnd};

const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 7], 40_000);
const PASSIVE: ([u8; 4], u16) = ([192, 0, 2, 1], 50_000);
const FILE_BYTES: u64 = 1024;

/// Does what the session asks, as a server does to whom everything is at hand. Replies go to `out`.
fn answer(session: &mut Session, out: &mut Vec<u8>) {
    while let Some(action) = session.poll_action() {
        match action {
            Action::Reply { reply, .. } => reply.encode(out),
            Action::Authenticate(_) => session.handle_login(LoginVerdict::Accepted(Rights::READER)),
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

/// Says these lines to the session; its replies go to `out`.
pub fn say(session: &mut Session, out: &mut Vec<u8>, lines: &[&[u8]]) {
    for line in lines {
        session.handle_line(black_box(line));
        answer(session, out);
    }
}

/// A session of a client that is logged in and has asked for binary transfers.
pub fn logged_in(settings: &Arc<SessionSettings>) -> Session {
    let mut session = Session::new(Arc::clone(settings), SocketAddr::from(CLIENT));
    say(&mut session, &mut Vec::new(), &[b"USER anonymous", b"PASS guest@", b"TYPE I"]);
    session
}
