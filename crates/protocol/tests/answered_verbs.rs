//! Every reply tells which command it answers, however the lines came.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use protocol::command::VerbNumber;
use protocol::reply::{Code, Reply};
use protocol::rights::Rights;
use protocol::session::{
    Action, Deadline, LoginVerdict, Opened, PassiveKind, Session, SessionSettings, TransferEnd,
};

/// The replies so far, each as `VERB code`.
fn said(session: &mut Session) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(action) = session.poll_action() {
        if let Action::Reply { reply, to } = action {
            said.push(format!("{} {}", to.map_or("-", VerbNumber::name), reply.code()));
        }
    }
    said
}

fn session() -> Session {
    Session::new(Arc::new(SessionSettings::default()), "192.0.2.1:1".parse().unwrap())
}

#[test]
fn what_is_pipelined_behind_a_transfer_is_told_apart() {
    let mut session = session();
    assert_eq!(said(&mut session), ["- 220"]);
    for line in ["USER anonymous", "PASS x", "PASV", "RETR a", "PWD"] {
        session.handle_line(line.as_bytes());
    }
    session.handle_login(LoginVerdict::Accepted(Rights::READER));
    session.handle_passive(PassiveKind::Pasv, Ok("192.0.2.2:2".parse().unwrap()));
    session.handle_transfer_opened(&Opened::Download { bytes: 1 });
    assert_eq!(said(&mut session), ["USER 331", "PASS 230", "PASV 227", "RETR 150"]);
    session.handle_transfer_ended(TransferEnd::Complete);
    assert_eq!(said(&mut session), ["RETR 226", "PWD 257"]);
}

#[test]
fn what_is_said_during_a_transfer_does_not_take_its_end() {
    let mut session = session();
    session.handle_line(b"USER anonymous");
    session.handle_line(b"PASS x");
    session.handle_login(LoginVerdict::Accepted(Rights::READER));
    session.handle_line(b"EPSV");
    session.handle_passive(PassiveKind::Epsv, Ok("192.0.2.2:2".parse().unwrap()));
    session.handle_line(b"LIST");
    session.handle_transfer_opened(&Opened::Listing);
    said(&mut session);
    session.handle_line(b"NOOP");
    session.handle_line(b"USER other");
    session.handle_line(b"PASS x");
    session.handle_line(b"ABOR");
    session.handle_transfer_ended(TransferEnd::Aborted);
    session.handle_login(LoginVerdict::Refused);
    assert_eq!(said(&mut session), ["NOOP 200", "USER 331", "LIST 426", "PASS 530", "ABOR 530"]);
}

#[test]
fn what_is_no_command_is_counted_together() {
    let mut session = session();
    said(&mut session);
    session.handle_line(b"SPLORT");
    session.handle_line(b"AUTH TLS");
    session.handle_line_too_long();
    session.handle_line(b"QUIT now");
    session.handle_passive(PassiveKind::Pasv, Err(Reply::fixed(Code::new(425), "No port.")));
    session.handle_deadline(Deadline::Login);
    let said = said(&mut session);
    assert_eq!(said[..4], ["other 500", "other 502", "other 500", "QUIT 501"]);
    assert_eq!(said.last().unwrap(), "- 421");
}

#[test]
fn numbers_and_names_agree() {
    let names: Vec<&str> = VerbNumber::all().map(VerbNumber::name).collect();
    assert_eq!(names.len(), VerbNumber::COUNT);
    assert_eq!(names.last(), Some(&"other"));
    assert!(names.iter().copied().take(names.len() - 1).eq(protocol::command::offered_verbs()));
    for (index, number) in VerbNumber::all().enumerate() {
        assert_eq!(number.index(), index);
    }
}
