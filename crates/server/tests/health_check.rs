//! `ringftpd health`, as containers ask it.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

use nix::sys::signal::Signal;
use raw::waiting::until;
use raw::{Client, read_all};
use support::http;
use support::program::Program;
use support::server::Server;

/// `ringftpd health` with these arguments.
fn health(directory: &Path, arguments: &[&str]) -> Program {
    Program::new(env!("CARGO_BIN_EXE_ringftpd"), "ringftpd", directory, directory)
        .arg("health")
        .args(arguments)
}

/// What `health` says of the one listener of `address`, if it is well.
fn finds_well(directory: &Path, address: &str) -> String {
    health(directory, &[".", "--listen", address]).succeeds().stdout
}

#[test]
fn a_server_is_well_that_greets() {
    let scratch = tempfile::tempdir().expect("a directory");
    let server = Server::start(scratch.path(), &["--listen", "[::]:0"]);
    let port = server.port();
    for address in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!("[::]:{port}")] {
        let said = finds_well(scratch.path(), &address);
        assert!(said.contains("answers: 220 "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn it_reads_file_and_environment_as_the_server_does() {
    let scratch = tempfile::tempdir().expect("a directory");
    let server = Server::start(scratch.path(), &[]);
    let file = scratch.path().join("ringftpd.toml");
    fs::write(&file, format!("directory = \".\"\nlisteners = [\"{}\"]\n", server.address())).expect("a file");
    health(scratch.path(), &["--config", "ringftpd.toml"]).succeeds();

    let by_environment = |address: SocketAddr| {
        Program::new("env", "coreutils", scratch.path(), scratch.path())
            .arg("RINGFTPD_CONFIG=ringftpd.toml")
            .arg(format!("RINGFTPD_LISTENERS={address}"))
            .args([env!("CARGO_BIN_EXE_ringftpd"), "health"])
    };
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("a port");
    by_environment(server.address()).succeeds();
    let said = by_environment(nobody).fails().stderr;
    assert!(said.contains(&format!("no connection to {nobody} (listeners): Connection refused")), "{said}");

    fs::write(&file, "directory = \".\"\nlistener = []\n").expect("a file");
    let said = health(scratch.path(), &["--config", "ringftpd.toml"]).fails().stderr;
    assert!(said.contains("listeners"), "{said}");
}

#[test]
fn a_listener_for_proxies_is_asked_as_a_proxy_asks() {
    let scratch = tempfile::tempdir().expect("a directory");
    let write = |name: &str, address: &str, networks: &str| {
        let listener = format!(
            "directory = \".\"\n[[listeners]]\naddress = \"{address}\"\nproxy_protocol = \"required\"\n\
             proxy_networks = [\"{networks}\"]\n"
        );
        fs::write(scratch.path().join(name), listener).expect("a file");
    };
    for (networks, is_well) in [("127.0.0.0/8", true), ("192.0.2.0/24", false)] {
        write("server.toml", "127.0.0.1:0", networks);
        // The listener of a file holds where no flag names one, as the tests' flags do.
        let by_file = format!(
            "cd '{}' && exec \"$1\" serve --config server.toml --log-format json",
            scratch.path().display()
        );
        let server = Server::start_by(&["sh", "-c", &by_file, "sh"], scratch.path(), &[]);
        write("health.toml", &server.address().to_string(), networks);
        let asked = health(scratch.path(), &["--config", "health.toml"]);
        if is_well {
            assert!(asked.succeeds().stdout.contains("answers: 220"));
        } else {
            let said = asked.fails().stderr;
            assert!(said.contains("proxy_networks"), "{said}");
        }
    }
}

#[test]
fn where_there_is_a_readiness_it_is_asked_for() {
    /// More than the buffers of both sides of a connection hold.
    const BYTES: u64 = 64 << 20;
    let scratch = tempfile::tempdir().expect("a directory");
    fs::File::create(scratch.path().join("large")).and_then(|file| file.set_len(BYTES)).expect("a file");
    let mut server = Server::start(scratch.path(), &["--metrics", "127.0.0.1:0"]);
    let metrics = server.metrics();
    let address = metrics.to_string();
    let ask = || health(scratch.path(), &[".", "--metrics", &address]);
    assert!(ask().succeeds().stdout.contains("answers: HTTP/1.1 200"));

    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    server.signal(Signal::SIGTERM);
    until("the server is no longer ready", || http::get(metrics, "/health/ready").status == 503);
    let said = ask().fails().stderr;
    assert!(said.contains(&format!("{address} (metrics.address) answers: HTTP/1.1 503")), "{said}");
    assert_eq!(read_all(&mut data).len() as u64, BYTES);
    client.hears(226);
    assert!(server.wait().success());
}

#[test]
fn what_does_not_greet_is_not_well() {
    let scratch = tempfile::tempdir().expect("a directory");
    let says = |text: &'static str| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let fake = thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            client.write_all(text.as_bytes()).expect("sent");
        });
        let said = health(scratch.path(), &[".", "--listen", &address]).fails().stderr;
        fake.join().expect("the fake server was asked");
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    };
    assert!(says("421 Too many.\r\n").contains("answers: 421 Too many."));
    assert!(says("\x1b[2J\r\n").contains("answers: \\x1b[2J"));
    assert!(says("").contains("closed the connection without an answer"));

    // Nobody accepts here, and yet the connection comes about.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("its address").to_string();
    let said = health(scratch.path(), &[".", "--listen", &address]).fails().stderr;
    assert!(said.contains("does not answer: not within 5 s"), "{said}");

    let said = health(scratch.path(), &[".", "--listen", "127.0.0.1:0"]).fails().stderr;
    assert!(said.contains("leaves the port to the kernel"), "{said}");
}
