//! The server as a process: how it starts, what it refuses, how it ends.
#![forbid(unsafe_code)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use nix::sys::signal::Signal;
use support::address::lone_address;
use support::program::Program;
use support::server::{Server, refusal};
use support::site::Site;
use support::tree::{self, LARGE, Names};

/// Fetches `name` by curl, and compares.
fn fetches(site: &Site, server: &Server, name: &str) {
    let curl = site.program("curl", "curl").args(["--silent", "--show-error", "--fail", "-o", "fetched"]);
    curl.arg(server.url(name)).succeeds();
    tree::assert_same_file(&site.served.join(name), &site.local.join("fetched"));
}

#[test]
fn ends_at_either_signal() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut site = Site::to_read(Names::Ascii);
        site.server.signal(signal);
        let status = site.server.wait();
        assert!(status.success(), "{signal}: {status}");
        assert!(TcpStream::connect(site.server.address()).is_err(), "nobody listens any more");
    }
}

#[test]
fn idle_clients_do_not_keep_it_from_ending() {
    let mut site = Site::to_read(Names::Ascii);
    let greeted = |_| {
        let mut client = BufReader::new(TcpStream::connect(site.server.address()).expect("a connection"));
        let mut greeting = String::new();
        client.read_line(&mut greeting).expect("a greeting");
        assert!(greeting.starts_with("220"), "{greeting}");
        client
    };
    let clients: Vec<_> = (0..20).map(greeted).collect();
    site.server.signal(Signal::SIGTERM);
    assert!(site.server.wait().success());
    for mut client in clients {
        let mut farewell = String::new();
        client.read_line(&mut farewell).expect("a reply");
        assert!(farewell.starts_with("421"), "{farewell}");
        assert_eq!(client.read_line(&mut farewell).expect("the end"), 0);
    }
}

#[test]
fn serves_again_after_a_restart_and_after_being_killed() {
    let listen = lone_address().to_string();
    let mut site = Site::new(&["--listen", &listen], |served, _| tree::build(served, Names::Ascii));
    fetches(&site, &site.server, LARGE);
    site.server = site.server.restart();
    fetches(&site, &site.server, LARGE);
    // The address of a server that was killed is free at once, although its connections linger.
    let lingering = TcpStream::connect(site.server.address()).expect("a connection");
    site.server.kill();
    site.server = Server::start(&site.served, &["--listen", &listen]);
    fetches(&site, &site.server, LARGE);
    drop(lingering);
}

#[test]
fn serves_on_every_number_of_workers() {
    for workers in ["1", "2", "5"] {
        let site = Site::new(&["--workers", workers], |served, _| tree::build(served, Names::Ascii));
        for _ in 0..10 {
            fetches(&site, &site.server, "odd.bin");
        }
    }
}

#[test]
fn passive_ports_come_from_the_range_alone() {
    let address = lone_address();
    let (listen, port) = (format!("{}:0", address.ip()), address.port());
    let range = format!("{port}-{port}");
    let arguments = ["--listen", &listen, "--passive-ports", &range];
    let site = Site::new(&arguments, |served, _| tree::build(served, Names::Ascii));
    let mut client = BufReader::new(TcpStream::connect(site.server.address()).expect("a connection"));
    let mut replies = String::new();
    for command in ["USER anonymous", "PASS guest", "EPSV"] {
        write!(client.get_mut(), "{command}\r\n").expect("sent");
    }
    while !replies.contains("229 ") {
        assert_ne!(client.read_line(&mut replies).expect("a reply"), 0, "{replies}");
    }
    assert!(replies.contains(&format!("(|||{port}|)")), "{replies}");
}

#[test]
fn what_cannot_be_served_is_refused_with_the_reason() {
    let scratch = tempfile::tempdir().expect("a directory");
    let nowhere = scratch.path().join("nowhere");
    assert!(refusal(&nowhere, &[]).contains("nowhere"));

    let file = scratch.path().join("file");
    fs::write(&file, "").expect("a file");
    assert!(refusal(&file, &[]).contains("file"));

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    assert!(refusal(scratch.path(), &["--listen", &address]).contains(&address));
}

#[test]
fn a_configuration_is_checked_without_being_served() {
    let scratch = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let check = |arguments: &[&Path]| {
        Program::new(env!("CARGO_BIN_EXE_ringftpd"), "ringftpd", scratch.path(), scratch.path())
            .arg("check-config")
            .args(arguments)
    };
    let good = file("good.toml", "directory = '.'\n[passive]\nports = '50000-50015'\n");
    let bad = file("bad.toml", "directory = '.'\n[passive]\nports = '50015-50000'\n");
    let config = Path::new("--config");
    for arguments in [vec![&*good], vec![config, &good]] {
        assert!(check(&arguments).succeeds().stdout.contains("50000-50015"));
    }
    for arguments in [vec![&*bad], vec![config, &bad]] {
        let said = check(&arguments).fails().stderr;
        assert!(said.contains("bad.toml:3:9: passive.ports") && said.contains("backwards"), "{said}");
    }
    check(&[&good, config, &good]).fails();
}

#[test]
fn help_teaches() {
    let scratch = tempfile::tempdir().expect("a directory");
    let help = |arguments: &[&str]| {
        let program =
            Program::new(env!("CARGO_BIN_EXE_ringftpd"), "ringftpd", scratch.path(), scratch.path());
        program.args(arguments).succeeds().stdout
    };
    assert!(help(&["--help"]).contains("serve"));
    let serve = help(&["serve", "--help"]);
    for word in ["--listen", "--passive-ports", "--anonymous", "Examples:", "curl ftp://"] {
        assert!(serve.contains(word), "{word} in\n{serve}");
    }
}
