//! Those who connect and leave, as load balancers do to see who lives; and those who are silent because they are busy.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use raw::{Client, read_all, reset};
use support::server::Server;
use support::tree;

#[test]
fn probes_cost_no_log_line_and_nobodys_place() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    tree::write(scratch.path(), "file".as_ref(), b"contents");
    let config = scratch.path().join("ringftpd.toml");
    let limits = "[limits]\nsessions_max = 3\nsessions_pending_max = 2\nsessions_per_address_max = 2\n\
                  sessions_per_network_max = 2\nlogin_failures_max = 1\n";
    fs::write(&config, limits).expect("a configuration");
    let config = config.to_str().expect("a temporary path is text");
    let server = Server::start(scratch.path(), &["--config", config, "--log-level", "info"]);
    let probe = || TcpStream::connect(server.address()).expect("the server listens");
    for round in 0..30 {
        for number in 0..10 {
            match number % 2 {
                0 => drop(probe()),
                _ => reset(probe()),
            }
        }
        // From the address of the probes, in the middle of them, and one of two that it may have.
        let mut client = Client::log_in(server.address());
        if round % 10 == 0 {
            assert_eq!(client.fetches("RETR file"), b"contents");
        }
        client.quits();
    }
    // It waits until all that came before is written.
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.logs("configuration reloaded", 1);
    let log = server.lines();
    let noise: Vec<_> = log
        .iter()
        .filter(|line| {
            !["listening on", "\"ready\"", "reloaded", "\"sent\""].iter().any(|known| line.contains(known))
        })
        .collect();
    assert!(noise.is_empty(), "{noise:#?}");
}

#[test]
fn those_who_are_refused_are_told_and_the_log_is_not_flooded() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let config = scratch.path().join("ringftpd.toml");
    fs::write(&config, "[limits]\nsessions_per_address_max = 1\n").expect("a configuration");
    let config = config.to_str().expect("a temporary path is text");
    let server = Server::start(scratch.path(), &["--config", config, "--workers", "1"]);
    let there = Client::connect(server.address());
    for _ in 0..20 {
        let mut refused = Client::connect_only(server.address(), None);
        refused.hears(421);
        refused.hears_the_end();
    }
    // Whoever has said something already, and nobody has read it, is told as well.
    let mut hasty = TcpStream::connect(server.address()).expect("the server listens");
    hasty.write_all(b"USER anonymous\r\n").expect("the kernel takes it");
    let mut heard = String::new();
    hasty.read_to_string(&mut heard).expect("a reply and the end, and no reset");
    assert!(heard.starts_with("421 "), "{heard}");
    there.quits();
    let log = server.lines();
    let said = log.iter().filter(|line| line.contains("refused: too many sessions")).count();
    assert!(said < 20, "{said} lines for 20 clients");
}

#[test]
fn whoever_logs_out_again_waits_for_a_login_as_others_do() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let config = scratch.path().join("ringftpd.toml");
    fs::write(&config, "[limits]\nsessions_pending_max = 2\n").expect("a configuration");
    let config = config.to_str().expect("a temporary path is text");
    let server = Server::start(scratch.path(), &["--config", config]);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::log_in(server.address())).collect();
    for client in &mut clients {
        client.says("REIN", 220);
    }
    let mut third = clients.pop().expect("a third");
    third.hears(421);
    third.hears_the_end();
    for mut client in clients {
        client.says("USER anonymous", 331);
        client.says("PASS x", 230);
        client.quits();
    }
}

/// How long a slow client takes for a transfer: three times the idle deadline.
const SLOWLY: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

#[test]
fn no_idle_deadline_fires_while_a_transfer_moves() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    File::create(scratch.path().join("large"))
        .and_then(|file| file.set_len(64 << 20))
        .expect("a sparse file");
    let server = Server::start(scratch.path(), &["--anonymous", "write", "--idle-timeout", "1"]);
    let address = server.address();
    let slowly = |mut step: Box<dyn FnMut() -> usize>| {
        let began = Instant::now();
        let mut bytes = 0;
        while began.elapsed() < SLOWLY {
            bytes += step();
            thread::sleep(PAUSE);
        }
        bytes
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::log_in(address);
            let mut data = client.opens_data();
            client.says("RETR large", 150);
            let mut reader = data.try_clone().expect("a descriptor");
            let read = slowly(Box::new(move || reader.read(&mut [0; 1000]).expect("data")));
            assert_eq!(read + read_all(&mut data).len(), 64 << 20);
            client.hears(226);
            // The time of the transfer is none of silence: the next command comes in time.
            client.says("NOOP", 200);
            client.hears(421);
        });
        scope.spawn(|| {
            let mut client = Client::log_in(address);
            let data = client.opens_data();
            client.says("STOR slow", 150);
            let mut writer = data.try_clone().expect("a descriptor");
            let written = slowly(Box::new(move || writer.write(&[7; 1000]).expect("the server takes it")));
            drop(data);
            client.hears(226);
            client.says("NOOP", 200);
            assert_eq!(fs::read(scratch.path().join("slow")).expect("it is there").len(), written);
        });
    });
}
