//! What is wrong around the server: at the start it is said and nothing is begun; later it stops no transfer.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File, Permissions};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Uid;
use raw::{Client, read_all};
use support::address::lone_addresses;
use support::server::{Server, refusal};
use support::tree;

/// More than the buffers of both sides of a connection hold.
const LARGE_BYTES: u64 = 64 << 20;

/// What the program says when it refuses to start.
fn refuses(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringftpd"));
    // The program reads every variable of its prefix, and knows none of the tests'.
    command.env_remove("RINGFTPD_TEST_RUNTIME");
    let output = command.args(arguments).envs(environment.iter().copied()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("what it says is text")
}

#[test]
fn a_root_that_may_not_be_read_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).expect("rights");
    let closed = scratch.path().join("closed");
    fs::create_dir(&closed).expect("a directory");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).expect("rights");
    // Root may read everything; but it is the user who serves that has to.
    let user: &[&str] = if Uid::effective().is_root() { &["--user", "nobody"] } else { &[] };
    let said = refusal(&closed, user);
    assert!(said.contains(&format!("directory: cannot serve {}", closed.display())), "{said}");
    assert!(said.contains("permission denied"), "{said}");
}

#[test]
fn an_account_whose_root_is_not_there_is_named() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let config = scratch.path().join("ringftpd.toml");
    fs::write(&config, "[anonymous]\nroot = \"nowhere\"\n").expect("a configuration");
    let said = refusal(scratch.path(), &["--config", config.to_str().expect("text")]);
    let nowhere = scratch.path().join("nowhere");
    assert!(said.contains(&format!("anonymous.root: cannot serve {}", nowhere.display())), "{said}");
}

#[test]
fn a_configuration_that_is_none_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let directory = scratch.path().to_str().expect("text");
    let said = refuses(&["serve", directory, "--config", directory], &[]);
    assert_eq!(said, format!("ringftpd: {directory}: is a directory; name the file in it\n"));
    let huge = scratch.path().join("huge.toml");
    File::create(&huge).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    let huge = huge.to_str().expect("text");
    let said = refuses(&["serve", directory, "--config", huge], &[]);
    assert_eq!(said, format!("ringftpd: {huge}: is larger than 1048576 bytes; a configuration is not\n"));
}

#[test]
fn an_environment_variable_that_does_not_parse_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let directory = scratch.path().to_str().expect("text");
    for command in ["serve", "check-config"] {
        let directory = ("RINGFTPD_DIRECTORY", directory);
        let said = refuses(&[command], &[directory, ("RINGFTPD_WORKERS", "many")]);
        assert!(said.starts_with("ringftpd: RINGFTPD_WORKERS: "), "{said}");
        let said = refuses(&[command], &[directory, ("RINGFTPD_WORKER", "2")]);
        assert!(
            said.contains("RINGFTPD_WORKER: unknown environment variable; did you mean RINGFTPD_WORKERS?"),
            "{said}"
        );
    }
}

#[test]
fn a_range_that_is_partly_taken_is_served_without_those_ports() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    tree::write(scratch.path(), "file".as_ref(), b"contents");
    let first = lone_addresses(4);
    let (low, high) = (first.port(), first.port() + 3);
    // The host is this process's own.
    let taken = TcpListener::bind((first.ip(), low + 1)).expect("a port");
    let range = format!("{low}-{high}");
    let listen = format!("{}:0", first.ip());
    let server = Server::start(scratch.path(), &["--listen", &listen, "--passive-ports", &range]);
    let said = server.logs("a passive port is left out", 1);
    assert!(said.contains(&format!("\"port\":{}", low + 1)), "{said}");
    let mut client = Client::log_in(server.address());
    for _ in 0..8 {
        let leased = client.leases();
        assert!((low..=high).contains(&leased.port()) && leased.port() != low + 1, "{leased}");
    }
    assert_eq!(client.fetches("RETR file"), b"contents");
    drop(taken);
}

#[test]
fn a_root_that_goes_away_ends_no_transfer() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let served = scratch.path().join("served");
    tree::write(&served, "file".as_ref(), b"contents");
    File::create(served.join("large")).and_then(|file| file.set_len(LARGE_BYTES)).expect("a sparse file");
    let server = Server::start(&served, &[]);
    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    data.read_exact(&mut [0; 1000]).expect("the first bytes");
    fs::remove_dir_all(&served).expect("removed");
    // A reload finds out, and changes nothing.
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.logs("directory: cannot serve", 1);
    assert_eq!(read_all(&mut data).len() as u64, LARGE_BYTES - 1000);
    client.hears(226);
    client.is_refused("RETR file", 550);
    client.says("NOOP", 200);
}

/// The library of Debian's `libfaketime`, which tells a program another time.
fn faketime() -> PathBuf {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).exists(), "{library} is missing: apt-get install faketime");
    PathBuf::from(library)
}

#[test]
fn a_clock_that_jumps_ends_nothing() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let served = scratch.path().join("served");
    fs::create_dir(&served).expect("a directory");
    File::create(served.join("large")).and_then(|file| file.set_len(LARGE_BYTES)).expect("a sparse file");
    let clock = scratch.path().join("clock");
    let set = |offset: &str| fs::write(&clock, offset).expect("the clock is set");
    set("+0\n");
    let preload = format!("LD_PRELOAD={}", faketime().display());
    let file = format!("FAKETIME_TIMESTAMP_FILE={}", clock.display());
    // The clock on the wall alone: the kernel's monotonic one does not jump.
    let environment = ["env", &preload, &file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"];
    let server = Server::start_by(&environment, &served, &["--anonymous", "write", "--idle-timeout", "60"]);
    let mut idle = Client::log_in(server.address());
    let mut down = Client::log_in(server.address());
    let mut sent = down.opens_data();
    down.says("RETR large", 150);
    let mut up = Client::log_in(server.address());
    let mut received = up.opens_data();
    up.says("STOR new", 150);
    for (offset, year) in [("+3650d\n", "\"timestamp\":\"203"), ("-7300d\n", "\"timestamp\":\"200")] {
        set(offset);
        received.write_all(b"more").expect("the server takes it");
        sent.read_exact(&mut [0; 1000]).expect("data");
        idle.says("NOOP", 200);
        Client::log_in(server.address()).quits();
        // It did jump.
        server.logs(year, 1);
    }
    assert_eq!(read_all(&mut sent).len() as u64, LARGE_BYTES - 2000);
    down.hears(226);
    drop(received);
    up.hears(226);
    assert_eq!(fs::read(served.join("new")).expect("it is there"), b"moremore");
    idle.says("NOOP", 200);
}
