//! An HTTP client for one question at a time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take before the test fails. No good run comes near it, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks for a path.
///
/// # Panics
///
/// If no whole answer comes.
#[track_caller]
pub(crate) fn get(server: SocketAddr, path: &str) -> Answer {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n\r\n"))
}

/// Sends a request as it is written.
///
/// # Panics
///
/// If no whole answer comes.
#[track_caller]
pub(crate) fn ask(server: SocketAddr, request: &str) -> Answer {
    let mut connection = TcpStream::connect(server).expect("the server takes a connection");
    connection.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    connection.write_all(request.as_bytes()).expect("the server takes a request");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer, and the end of the connection");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
