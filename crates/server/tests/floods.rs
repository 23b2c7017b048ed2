//! Clients that ask without end: all that they ask is answered, and those who do not read the answers cost little.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use raw::process::resident_bytes;
use raw::{Client, PATIENCE};
use support::server::Server;

/// Six bytes with an answer of some hundred, which need no login.
const ASKED: &[u8] = b"HELP\r\n";

/// How long the server takes nothing before it is taken to be waiting for its client.
const AT_REST: Duration = Duration::from_secs(2);

/// A server that waits for a login as long as a busy machine may take.
fn start(directory: &Path) -> Server {
    Server::start(directory, &["--log-level", "info", "--login-timeout", "3600"])
}

fn connect(server: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(server).expect("the server listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    client
}

#[test]
fn whoever_asks_ten_thousand_times_at_once_is_answered_as_often() {
    const TIMES: usize = 10_000;
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let server = start(scratch.path());
    let mut client = connect(server.address());
    let mut asking = client.try_clone().expect("a descriptor");
    let asks = thread::spawn(move || {
        asking.write_all(&ASKED.repeat(TIMES)).expect("the server takes it");
        asking.shutdown(Shutdown::Write).expect("the connection is open");
    });
    let mut answers = Vec::new();
    client.read_to_end(&mut answers).expect("answers to the end");
    asks.join().expect("no panic");
    let answers = String::from_utf8(answers).expect("text");
    assert_eq!(answers.lines().filter(|line| line.starts_with("214 ")).count(), TIMES);
}

#[test]
fn whoever_reads_no_answers_costs_little() {
    const CLIENTS: usize = 16;
    /// For each of them: what it sent ahead, and the answers to a small part of that.
    const BYTES_EACH_MAX: u64 = 600 * 1024;
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let server = start(scratch.path());
    let before = resident_bytes(server.pid());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = connect(server.address());
            client.set_write_timeout(Some(AT_REST)).expect("a socket option");
            thread::spawn(move || {
                let asked = ASKED.repeat(10_000);
                loop {
                    match client.write(&asked) {
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return client,
                        Err(error) => panic!("the server has closed the connection: {error}"),
                    }
                }
            })
        })
        .collect();
    let clients: Vec<TcpStream> =
        clients.into_iter().map(|client| client.join().expect("no panic")).collect();
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    assert!(grown < CLIENTS as u64 * BYTES_EACH_MAX, "{grown} bytes for {CLIENTS} clients");
    drop(clients);
}

/// Held back while a file is read, all are to be answered at once when that is done; each answer is long.
#[test]
fn whoever_reads_no_long_answers_costs_little() {
    const CLIENTS: usize = 16;
    /// A quarter of the answers, and what is sent at once.
    const BYTES_EACH_MAX: u64 = 1536 * 1024;
    let scratch = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(scratch.path().join("file"), "contents").expect("a file");
    // A quote is doubled in the answer.
    let deep = vec!["\"".repeat(250); 15].join("/");
    std::fs::create_dir_all(scratch.path().join(&deep)).expect("a deep directory");
    let server = start(scratch.path());
    let before = resident_bytes(server.pid());
    let asked = String::from("HASH /file\r\n") + &"PWD\r\n".repeat(540);
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = Client::log_in(server.address());
            client.says(format!("CWD {deep}"), 250);
            client.sends(&asked);
            client
        })
        .collect();
    for mut client in clients {
        client.hears(213);
        let grown = resident_bytes(server.pid()).saturating_sub(before);
        assert!(grown < CLIENTS as u64 * BYTES_EACH_MAX, "{grown} bytes for {CLIENTS} clients");
        for _ in 0..540 {
            client.hears(257);
        }
        client.quits();
    }
}

/// Both have asked before the server looks, one without a pause. In which order they had their turns, the log tells.
#[test]
fn whoever_asks_without_a_pause_does_not_keep_the_others_waiting() {
    const TIMES: usize = 3000;
    /// Commands of a hundred bytes that one turn may work off, with room for those that were read together with the last.
    const TURN_MAX: usize = 1000;
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let server = Server::start(scratch.path(), &["--log-level", "debug", "--workers", "1"]);
    let mut client = connect(server.address());
    client.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    let mut greeting = [0; 4];
    client.read_exact(&mut greeting).expect("a greeting");
    let mut other = Client::connect(server.address());

    server.signal(Signal::SIGSTOP);
    let asked = format!("USER {:u<93}\r\n", "");
    client.write_all(asked.repeat(TIMES).as_bytes()).expect("the kernel takes what the server has not read");
    other.sends("SYST\r\n");
    server.signal(Signal::SIGCONT);
    other.hears_any();
    server.logs("\"line\":\"USER", TIMES);
    let lines = server.log();
    let commands: Vec<&String> = lines.iter().filter(|line| line.contains("\"line\":")).collect();
    let before = commands.iter().position(|line| line.contains("\"line\":\"SYST")).expect("it was asked");
    assert!(before <= TURN_MAX, "the other's turn came after {before} commands");
}
