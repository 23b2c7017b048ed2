//! Many who guess passwords at once: whoever is there goes on, who knows his password gets in, and memory stays bounded.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::thread;

use raw::process::{peak_resident_bytes, resident_bytes};
use raw::{Client, read_all};
use support::server::Server;
use support::tree;
use tempfile::TempDir;

/// Addresses that guess, and sessions of each. A check takes some ten milliseconds of a core.
const ADDRESSES: u8 = 60;
const SESSIONS: usize = 4;

/// What one check takes by the parameters of `hash-password`, and what is left for all else that a storm may cost.
const CHECK_BYTES: u64 = 19 << 20;
const STORM_BYTES: u64 = 16 << 20;

/// The hash that `ringftpd hash-password` makes.
fn hash_of(password: &str) -> String {
    let mut hasher = Command::new(env!("CARGO_BIN_EXE_ringftpd"));
    let hasher = hasher.arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut hasher = hasher.spawn().expect("ringftpd starts");
    hasher.stdin.take().expect("a pipe").write_all(password.as_bytes()).expect("ringftpd reads");
    let output = hasher.wait_with_output().expect("ringftpd ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("a hash is text").trim().to_owned()
}

fn start(limits: &str) -> (Server, TempDir) {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let served = scratch.path().join("served");
    tree::write(&served, "file".as_ref(), b"contents");
    File::create(served.join("large")).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
    let config = scratch.path().join("ringftpd.toml");
    let account = format!("[[accounts]]\nname = \"camera\"\npassword_hash = \"{}\"\n", hash_of("secret"));
    fs::write(&config, format!("{limits}\n{account}")).expect("a configuration");
    let config = config.to_str().expect("a temporary path is text");
    // Not every command of a thousand sessions has to be logged.
    (Server::start(&served, &["--config", config, "--log-level", "info"]), scratch)
}

/// A session that has asked for a login with a wrong password, and does not wait for the answer.
fn guesses(server: &Server, host: u8) -> Client {
    let source = Ipv4Addr::new(127, 0, 1, host);
    let mut client = Client::connect_only(server.address(), Some(source.into()));
    client.hears(220);
    client.says("USER camera", 331);
    client.sends("PASS guess\r\n");
    client
}

#[test]
fn nobody_else_waits_long() {
    let (server, _scratch) = start("[limits]\nlogin_failure_delay_s = 0\n");
    let mut there = Client::log_in(server.address());
    let before = resident_bytes(server.pid());
    let mut storm: Vec<_> =
        (0..SESSIONS).flat_map(|_| 1..=ADDRESSES).map(|host| guesses(&server, host)).collect();

    // Everybody of the storm came before, and most of it is still waiting when this one is in: addresses take turns.
    let mut honest = Client::connect(server.address());
    honest.says("USER camera", 331);
    honest.says("PASS secret", 230);
    // Who is there does not notice: whole transfers and many commands, before the storm is over.
    assert_eq!(honest.fetches("RETR file"), b"contents");
    let mut data = there.opens_data();
    there.says("RETR large", 150);
    let reader = thread::spawn(move || read_all(&mut data).len());
    for _ in 0..200 {
        honest.says("NOOP", 200);
    }
    assert_eq!(reader.join().expect("no panic"), 64 << 20);
    there.hears(226);
    let waiting = storm.iter_mut().filter_map(|client| (!client.has_answer()).then_some(())).count();
    assert!(waiting > 0, "the storm was over before those who were there were served");

    for client in &mut storm {
        client.hears(530);
    }
    let peak = peak_resident_bytes(server.pid());
    let allowed = before + 2 * CHECK_BYTES + STORM_BYTES;
    assert!(peak < allowed, "{peak} bytes at the peak of the storm, {allowed} are plenty");
}

#[test]
fn one_address_costs_no_more_checks_than_it_may_fail() {
    let (server, _scratch) =
        start("[limits]\nlogin_failure_delay_s = 0\nlogin_failures_max = 3\npassword_checks_max = 1\n");
    let before = processor_ticks(server.pid());
    let mut few: Vec<_> = (0..3).map(|_| guesses(&server, 1)).collect();
    few.iter_mut().for_each(|client| drop(client.hears(530)));
    let of_three = processor_ticks(server.pid()) - before;
    // All of them ask before the first has failed.
    let mut many: Vec<_> = (0..300).map(|_| guesses(&server, 2)).collect();
    many.iter_mut().for_each(|client| drop(client.hears(530)));
    let of_many = processor_ticks(server.pid()) - before - of_three;
    // A hundred times as many guesses; the sessions themselves cost something as well.
    assert!(of_many < 20 * of_three.max(5), "{of_many} ticks for 300 guesses, {of_three} for 3");
    // The address waits, whoever asks from it, and others do not.
    let mut client = Client::connect_only(server.address(), Some(Ipv4Addr::new(127, 0, 1, 2).into()));
    client.hears(220);
    client.says("USER camera", 331);
    client.says("PASS secret", 530);
    let mut honest = Client::connect(server.address());
    honest.says("USER camera", 331);
    honest.says("PASS secret", 230);
}

#[test]
fn who_leaves_while_he_waits_keeps_nobody_out() {
    let (server, _scratch) = start("[limits]\npassword_checks_max = 1\n");
    for _ in 0..3 {
        let storm: Vec<_> = (1..=ADDRESSES).map(|host| guesses(&server, host)).collect();
        storm.into_iter().for_each(Client::resets);
    }
    let mut honest = Client::connect(server.address());
    honest.says("USER camera", 331);
    honest.says("PASS secret", 230);
}

/// The processor time of a process and its threads, in ticks of the kernel.
fn processor_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    // utime and stime are fields 14 and 15 (proc(5)); the first here is the third.
    let times = fields.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}
