//! The way to the end: no longer ready, no newcomers, a farewell for the idle, and every transfer to its last byte.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use nix::sys::signal::Signal;
use raw::waiting::until;
use raw::{Client, read_all, read_until_closed};
use support::address::lone_address;
use support::http;
use support::server::Server;
use support::tree;
use tempfile::TempDir;

/// More than the buffers of both sides of a connection hold, so that a transfer is under way until it is read.
const LARGE_BYTES: u64 = 16 << 20;

/// Transfers in flight, two thirds of them downloads.
const TRANSFERS: usize = 300;

fn served() -> TempDir {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    File::create(scratch.path().join("large"))
        .and_then(|file| file.set_len(LARGE_BYTES))
        .expect("a sparse file");
    tree::write(scratch.path(), "file".as_ref(), b"contents");
    scratch
}

fn configured(scratch: &Path, text: &str, more: &[&str]) -> Server {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), text).expect("a configuration");
    let path = file.path().to_str().expect("a temporary path is text");
    Server::start(scratch, &[&["--config", path, "--log-level", "info"], more].concat())
}

#[test]
fn hundreds_of_transfers_in_flight_are_not_cut() {
    let scratch = served();
    let config = "[anonymous]\naccess = \"write\"\n[deadlines]\ndrain_s = 3600\n";
    let mut server = configured(scratch.path(), config, &[]);
    let mut downloads = Vec::new();
    let mut uploads = Vec::new();
    for number in 0..TRANSFERS {
        let mut client = Client::log_in(server.address());
        let mut data = client.opens_data();
        if number % 3 == 0 {
            client.says(format!("STOR up{number}"), 150);
            data.write_all(b"before the signal, ").expect("the server takes it");
            uploads.push((number, client, data));
        } else {
            client.says("RETR large", 150);
            downloads.push((client, data));
        }
    }
    server.signal(Signal::SIGTERM);
    server.logs("draining", 1);
    until("nobody is taken any more", || TcpStream::connect(server.address()).is_err());
    for (number, mut client, mut data) in uploads {
        data.write_all(b"after it").expect("the server takes it");
        drop(data);
        client.hears(226);
        client.hears(421);
        client.hears_the_end();
        let stored = fs::read(scratch.path().join(format!("up{number}"))).expect("it has its name");
        assert_eq!(stored, b"before the signal, after it");
    }
    for (mut client, mut data) in downloads {
        assert_eq!(read_all(&mut data).len() as u64, LARGE_BYTES);
        client.hears(226);
        client.hears(421);
        client.hears_the_end();
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_transfer_whose_data_connection_is_still_to_come_is_in_flight() {
    let scratch = served();
    // One port for both workers: a session of the one that it does not belong to waits for a connection that the other
    // accepts, which has no session itself. On which worker a session comes to be is chance.
    for _ in 0..8 {
        let listen = lone_address();
        let port = lone_address().port();
        let range = format!("{port}-{port}");
        let arguments = ["--listen", &listen.to_string(), "--passive-ports", &range];
        let mut server = configured(scratch.path(), "", &arguments);
        let mut client = Client::log_in(server.address());
        let passive = client.leases();
        client.says("RETR file", 150);
        server.signal(Signal::SIGTERM);
        until("nobody is taken any more", || TcpStream::connect(server.address()).is_err());
        let mut data = client.connects_to(passive);
        assert_eq!(read_all(&mut data), b"contents");
        client.hears(226);
        client.hears(421);
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn the_delay_is_for_those_who_have_not_heard_yet() {
    let scratch = served();
    let config = "[deadlines]\ndrain_delay_s = 4\n[metrics]\naddress = \"127.0.0.1:0\"\n";
    let mut server = configured(scratch.path(), config, &[]);
    let mut idle = Client::log_in(server.address());
    let metrics = server.metrics();
    assert_eq!(http::get(metrics, "/health/ready").status, 200);
    server.signal(Signal::SIGTERM);
    until("the server is no longer ready", || http::get(metrics, "/health/ready").status == 503);
    // Whoever comes meanwhile is served as ever, and so is who was there.
    let mut newcomer = Client::log_in(server.address());
    assert_eq!(newcomer.fetches("RETR file"), b"contents");
    idle.says("NOOP", 200);
    for mut client in [idle, newcomer] {
        client.hears(421);
        client.hears_the_end();
    }
    assert_eq!(server.wait().code(), Some(0));
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn the_deadline_cuts_what_still_moves() {
    let scratch = served();
    let mut server =
        configured(scratch.path(), "[anonymous]\naccess = \"write\"\n[deadlines]\ndrain_s = 1\n", &[]);
    let mut down = Client::log_in(server.address());
    let mut sent = down.opens_data();
    down.says("RETR large", 150);
    sent.read_exact(&mut [0; 1000]).expect("the first bytes");
    let mut up = Client::log_in(server.address());
    let mut received = up.opens_data();
    up.says("STOR cut", 150);
    received.write_all(b"half of it").expect("the server takes it");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0), "that is no failure");
    server.logs("the time to drain is over", 1);
    assert!(read_until_closed(&mut sent) < LARGE_BYTES - 1000);
    assert!(!scratch.path().join("cut").exists(), "what was cut off has no name");
}

#[test]
fn a_second_signal_ends_at_once() {
    let scratch = served();
    // By the deadline alone it would go on for an hour.
    let mut server = configured(scratch.path(), "[deadlines]\ndrain_s = 3600\n", &[]);
    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    data.read_exact(&mut [0; 1000]).expect("the first bytes");
    server.signal(Signal::SIGTERM);
    server.logs("draining", 1);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    server.logs("ending at once", 1);
}
