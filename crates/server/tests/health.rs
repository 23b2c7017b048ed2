//! The health checks: whether the server lives, and whether it takes clients.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use raw::waiting::until;
use raw::{Client, read_all};
use support::bare::Bare;
use support::http;
use support::server::{Server, refusal};
use support::tree;

const METRICS: [&str; 2] = ["--metrics", "127.0.0.1:0"];

#[test]
fn readiness_ends_with_the_signal_to_stop_and_life_with_the_last_transfer() {
    /// More than the buffers of both sides of a connection hold.
    const BYTES: u64 = 64 << 20;
    let scratch = tempfile::tempdir().expect("a directory");
    File::create(scratch.path().join("large")).and_then(|file| file.set_len(BYTES)).expect("a sparse file");
    let mut server = Server::start(scratch.path(), &METRICS);
    let metrics = server.metrics();
    assert_eq!(http::get(metrics, "/health/live").status, 200);
    assert_eq!(http::get(metrics, "/health/ready").status, 200);

    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    server.signal(Signal::SIGTERM);
    until("the server is no longer ready", || http::get(metrics, "/health/ready").status == 503);
    assert_eq!(http::get(metrics, "/health/ready").body, "draining\n");
    assert_eq!(http::get(metrics, "/health/live").status, 200);

    assert_eq!(read_all(&mut data).len() as u64, BYTES);
    client.hears(226);
    assert!(server.wait().success());
}

/// The log of transfers is a pipe that nobody reads yet, so that the start waits in the middle.
#[test]
fn readiness_begins_once_the_server_has_started() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (served, pipe, config) =
        (scratch.path().join("served"), scratch.path().join("pipe"), scratch.path().join("a.toml"));
    fs::create_dir(&served).expect("a folder");
    nix::unistd::mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");
    fs::write(&config, format!("log.xferlog = \"{}\"\n", pipe.display())).expect("a file");
    let log = File::create(scratch.path().join("log")).expect("a log");
    let server = Bare::start(&served, log, &["--config", &config.display().to_string()]);
    until("the server lives", || TcpStream::connect(server.metrics).is_ok());
    assert_eq!(http::get(server.metrics, "/health/live").status, 200);
    let ready = http::get(server.metrics, "/health/ready");
    assert_eq!((ready.status, ready.body.as_str()), (503, "starting\n"));
    let reader = File::open(&pipe).expect("both ends are there");
    until("the server is ready", || http::get(server.metrics, "/health/ready").status == 200);
    server.stop();
    drop(reader);
}

#[test]
fn what_is_no_question_has_an_answer() {
    let scratch = tempfile::tempdir().expect("a directory");
    let server = Server::start(scratch.path(), &METRICS);
    let ask = |request: &str| http::ask(server.metrics(), request);
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n").status, 404);
    assert_eq!(ask("HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n").body, "");
    let refused = ask("POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(refused.status, 405);
    assert!(refused.head.contains("allow: GET, HEAD"), "{refused:?}");
    assert_eq!(ask("USER anonymous\r\n\r\n").status, 400);
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(7 << 10));
    assert_eq!(ask(&large).status, 404, "{}", large.len());
}

#[test]
fn a_port_that_somebody_has_is_an_error_at_the_start() {
    let scratch = tempfile::tempdir().expect("a directory");
    tree::write(scratch.path(), "file".as_ref(), b"contents");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let said = refusal(scratch.path(), &["--metrics", &address]);
    assert!(
        said.contains(&format!(
            "cannot listen for metrics on {address} (metrics.address): Address already in use"
        )),
        "{said}"
    );
}
