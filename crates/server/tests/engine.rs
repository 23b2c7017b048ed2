//! The data engine within the server: a file system that takes its time delays nobody but who waits for it.
#![forbid(unsafe_code)]

mod engine_support;
mod raw;
mod support;

use engine_support::slow_file_system::{CACHED, SlowFileSystem, UNCACHED, contents};
use raw::{Client, read_all};
use support::server::Server;

/// Commands of another session that are answered while a read is.
const COMMANDS: usize = 500;

/// One worker, which would have to be in two places.
fn serving(system: &SlowFileSystem) -> Server {
    Server::start(system.root(), &["--anonymous", "read", "--workers", "1"])
}

/// Says so many things on another session, each after the answer to the one before.
fn another_session_is_answered(server: &Server) {
    let mut other = Client::log_in(server.address());
    for _ in 0..COMMANDS {
        other.says("NOOP", 200);
    }
    other.quits();
}

#[test]
fn reads_that_take_their_time_delay_no_other_session() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let server = serving(&system);
    for name in [CACHED, UNCACHED] {
        let mut client = Client::log_in(server.address());
        let mut data = client.opens_data();
        system.shut_contents();
        client.says(format!("RETR {name}"), 150);
        system.wait_until_asked();
        another_session_is_answered(&server);
        system.open();
        assert!(read_all(&mut data) == contents(), "{name}");
        client.hears(226);
        client.quits();
    }
    server.stop();
}

/// Held back is everything that the file system is asked about the file itself.
#[test]
fn an_open_that_takes_its_time_delays_no_other_session() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let server = serving(&system);
    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    system.shut();
    client.sends(format!("RETR {CACHED}\r\n"));
    system.wait_until_asked();
    another_session_is_answered(&server);
    system.open();
    client.hears(150);
    assert!(read_all(&mut data) == contents());
    client.hears(226);
    client.quits();
    server.stop();
}

/// While its file is read, a client may still be heard: it gives up.
#[test]
fn a_read_that_takes_its_time_can_be_aborted() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let server = serving(&system);
    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    system.shut_contents();
    client.says(format!("RETR {UNCACHED}"), 150);
    system.wait_until_asked();
    client.says("ABOR", 426);
    client.hears(226);
    assert!(read_all(&mut data).is_empty());
    client.says("NOOP", 200);
    system.open();
    client.quits();
    server.stop();
}
