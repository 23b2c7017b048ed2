//! Accounts of a configuration file: who gets in, to which root, with what rights, and how often somebody may fail.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use raw::Client;
use support::server::Server;
use support::tree;
use tempfile::TempDir;

/// A directory with a root for everybody, a root for a camera, and a configuration.
struct Accounts {
    server: Server,
    scratch: TempDir,
}

fn hash(password: &str) -> String {
    let mut hasher = Command::new(env!("CARGO_BIN_EXE_ringftpd"))
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ringftpd starts");
    let mut input = hasher.stdin.take().expect("a pipe");
    writeln!(input, "{password}").expect("ringftpd reads");
    drop(input);
    let output = hasher.wait_with_output().expect("ringftpd ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("a hash is text").trim().to_owned()
}

fn start(more: &str) -> Accounts {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let everybodys = scratch.path().join("everybodys");
    tree::write(&everybodys, "notice".as_ref(), b"for all");
    tree::write(&scratch.path().join("camera"), "settings".as_ref(), b"for the camera");
    let config = scratch.path().join("ringftpd.toml");
    let text = format!(
        "{more}\n[[accounts]]\nname = \"camera\"\npassword_hash = \"{}\"\nroot = \"camera\"\nrights = \"uploader\"\n\
         networks = [\"127.0.0.0/16\"]\nsessions_max = 2\n",
        hash("secret")
    );
    std::fs::write(&config, text).expect("the configuration is written");
    let server = Server::start(&everybodys, &["--config", path_text(&config)]);
    Accounts { server, scratch }
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

fn named(accounts: &Accounts) -> Client {
    let mut client = Client::connect(accounts.server.address());
    client.says("USER camera", 331);
    client.says("PASS secret", 230);
    client
}

#[test]
fn an_account_has_its_own_root_and_rights() {
    let accounts = start("");
    let mut camera = named(&accounts);
    camera.says("TYPE I", 200);
    camera.says("SIZE settings", 213);
    camera.says("SIZE notice", 550);
    camera.says("MKD pictures", 257);
    camera.says("DELE settings", 550);
    assert!(accounts.scratch.path().join("camera/pictures").is_dir());
    // Whoever logs in anew has the rights and the root of the new account.
    camera.says("USER anonymous", 331);
    camera.says("PASS x", 230);
    camera.says("SIZE notice", 213);
    camera.says("MKD pictures", 550);
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_answered_alike() {
    let accounts = start("[limits]\nlogin_failure_delay_s = 1\n");
    for (user, password) in [("camera", "wrong"), ("nobody", "secret"), ("root", "")] {
        let mut client = Client::connect(accounts.server.address());
        client.says(format!("USER {user}"), 331);
        let asked = Instant::now();
        let refusal = client.says(format!("PASS {password}"), 530);
        assert_eq!(refusal.text(), b"Authentication failed.", "{user}");
        assert!(asked.elapsed() >= Duration::from_secs(1), "a failed login is answered late");
        client.says("PWD", 530);
    }
}

#[test]
fn sessions_and_networks_are_limited() {
    let accounts = start("");
    let first = named(&accounts);
    let _second = named(&accounts);
    let mut third = Client::connect(accounts.server.address());
    third.says("USER camera", 331);
    third.says("PASS secret", 530);
    drop(first);
    raw::waiting::until("a place is free", || {
        third.says("USER camera", 331);
        third.sends("PASS secret\r\n");
        third.hears_any().code == 230
    });
    let mut stranger =
        Client::connect_only(accounts.server.address(), Some(Ipv4Addr::new(127, 1, 0, 1).into()));
    stranger.hears(220);
    stranger.says("USER camera", 331);
    stranger.says("PASS secret", 530);
}

#[test]
fn whoever_fails_too_often_waits() {
    let accounts = start("[limits]\nlogin_failures_max = 2\nlogin_failure_delay_s = 0\n");
    for _ in 0..2 {
        let mut guesser = Client::connect(accounts.server.address());
        guesser.says("USER camera", 331);
        guesser.says("PASS guess", 530);
    }
    let mut waiting = Client::connect(accounts.server.address());
    waiting.says("USER camera", 331);
    waiting.says("PASS secret", 530);
    // Another address does not.
    let mut other = Client::connect_only(accounts.server.address(), Some(Ipv4Addr::new(127, 0, 0, 9).into()));
    other.hears(220);
    other.says("USER camera", 331);
    other.says("PASS secret", 230);
}

#[test]
fn an_address_has_as_many_sessions_as_it_may() {
    let accounts = start("[limits]\nsessions_per_address_max = 1\n");
    let first = Client::connect(accounts.server.address());
    let mut second = Client::connect_only(accounts.server.address(), None);
    second.hears(421);
    let mut other = Client::connect_only(accounts.server.address(), Some(Ipv4Addr::new(127, 0, 0, 9).into()));
    other.hears(220);
    drop(first);
    raw::waiting::until("the place is free", || {
        Client::connect_only(accounts.server.address(), None).hears_any().code == 220
    });
}

#[test]
fn no_password_is_ever_logged() {
    let accounts = start("");
    let mut client = named(&accounts);
    client.says("USER camera", 331);
    client.sends("pass hunter2\r\n");
    client.hears(530);
    client.quits();
    let log = accounts.server.log().join("\n");
    assert!(!log.contains("hunter2") && !log.contains("secret"), "{log}");
    assert!(log.contains("PASS ..."), "commands are logged at this level");
}
