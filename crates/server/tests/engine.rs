//! The data engine within the server: a file system that takes its time delays nobody but who waits for it.
#![forbid(unsafe_code)]

mod engine_support;
mod raw;
mod support;

use std::fs;
use std::io::Write as _;

use engine_support::slow_file_system::{CACHED, SlowFileSystem, UNCACHED, WRITTEN, contents};
use raw::waiting::until;
use raw::{Client, read_all};
use support::server::Server;

/// The jobs of a worker that may wait at once, whatever for, and again for each mount and each sort of job.
const PLACES: usize = 16;

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
fn an_open_delays_no_other_session(system: &SlowFileSystem, server: &Server, path: &str) {
    let mut client = Client::log_in(server.address());
    // The kernel knows the way from now on.
    client.says(format!("SIZE {path}"), 213);
    let mut data = client.opens_data();
    system.shut();
    client.sends(format!("RETR {path}\r\n"));
    system.wait_until_asked();
    another_session_is_answered(server);
    system.open();
    client.hears(150);
    assert!(read_all(&mut data) == contents());
    client.hears(226);
    client.quits();
}

#[test]
fn an_open_that_takes_its_time_delays_no_other_session() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let server = serving(&system);
    an_open_delays_no_other_session(&system, &server, CACHED);
    server.stop();
}

/// The served directory is on a disk, and the file system that takes its time is mounted beneath it.
#[test]
fn an_open_on_another_mount_delays_no_other_session() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let mount_point = system.root().file_name().and_then(|name| name.to_str()).expect("a name");
    let above = system.root().parent().expect("the directory of the mount point");
    let server = Server::start(above, &["--anonymous", "read", "--workers", "1"]);
    an_open_delays_no_other_session(&system, &server, &format!("{mount_point}/{CACHED}"));
    server.stop();
}

/// More sessions wait for a mount than there are threads to wait on, and another mount is asked all that takes one.
#[test]
fn a_mount_that_hangs_holds_up_no_other_mount() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let mount_point = system.root().file_name().and_then(|name| name.to_str()).expect("a name");
    let above = system.root().parent().expect("the directory of the mount point");
    let beside = tempfile::tempdir_in(above).expect("a directory beside it");
    let beside_name = beside.path().file_name().and_then(|name| name.to_str()).expect("a name");
    let server = Server::start(above, &["--anonymous", "write", "--workers", "1"]);
    let mut waiting: Vec<_> = (0..3 * PLACES).map(|_| Client::log_in(server.address())).collect();
    waiting[0].says(format!("SIZE {mount_point}/{CACHED}"), 213);
    system.shut();
    for (number, client) in waiting.iter_mut().enumerate() {
        let command = if number % 2 == 0 { "MDTM" } else { "XCRC" };
        client.sends(format!("{command} {mount_point}/{CACHED}\r\n"));
    }
    // Digests have places of their own, which half of the sessions fill.
    system.wait_until_asked_for(2 * PLACES);

    let mut client = Client::log_in(server.address());
    client.says(format!("CWD {beside_name}"), 250);
    for number in 0..PLACES {
        client.stores(format!("STOR {number}"), b"contents");
        assert_eq!(client.fetches(format!("RETR {number}")), b"contents");
        client.says(format!("RNFR {number}"), 350);
        client.says(format!("RNTO {number}-renamed"), 250);
        assert!(!client.fetches("LIST").is_empty());
        client.says(format!("XCRC {number}-renamed"), 250);
    }
    system.open();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.hears(if number % 2 == 0 { 213 } else { 250 });
    }
    server.stop();
}

/// The way to the mount that hangs begins on the other one: by a link, and by listings of the mount itself and of the link.
#[test]
fn the_ways_to_a_mount_that_hangs_hold_up_no_other_mount() {
    const SESSIONS: usize = 3 * PLACES;
    let Some(system) = SlowFileSystem::mount() else { return };
    let mount_point = system.root().file_name().and_then(|name| name.to_str()).expect("a name");
    let above = system.root().parent().expect("the directory of the mount point");
    let beside = tempfile::tempdir_in(above).expect("a directory beside it");
    let beside_name = beside.path().file_name().and_then(|name| name.to_str()).expect("a name");
    std::os::unix::fs::symlink(format!("../{mount_point}/{CACHED}"), beside.path().join("link"))
        .expect("a link");
    fs::write(beside.path().join("file"), b"contents").expect("written");
    let server = Server::start(above, &["--anonymous", "write", "--workers", "1"]);
    let mut client = Client::log_in(server.address());
    client.says(format!("CWD {beside_name}"), 250);
    client.says("SIZE link", 213);
    let logged_in = || {
        let mut waits = Client::log_in(server.address());
        waits.says(format!("CWD {beside_name}"), 250);
        waits
    };
    let mut asking: Vec<_> = (0..SESSIONS).map(|_| logged_in()).collect();
    let mut listing: Vec<_> = (0..SESSIONS).map(|_| logged_in()).collect();
    let data: Vec<_> = listing.iter_mut().map(Client::opens_data).collect();
    system.shut();
    asking.iter_mut().for_each(|waits| waits.sends("SIZE link\r\n"));
    // Those that all share, and those for names on the mount itself.
    system.wait_until_asked_for(2 * PLACES);
    listing.iter_mut().for_each(|waits| waits.sends("MLSD\r\n"));
    assert!(client.fetches("LIST ..").len() > 100, "the mount itself is told of without asking it");
    for number in 0..SESSIONS {
        client.stores(format!("STOR {number}"), b"contents");
        assert_eq!(client.fetches(format!("RETR {number}")), b"contents");
        client.says(format!("DELE {number}"), 250);
    }
    system.open();
    asking.iter_mut().for_each(|waits| drop(waits.hears(213)));
    for (waits, mut data) in listing.iter_mut().zip(data) {
        waits.hears(150);
        assert!(read_all(&mut data).len() > 100);
        waits.hears(226);
    }
    server.stop();
}

#[test]
fn a_size_that_takes_its_time_delays_no_other_session() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let server = serving(&system);
    let mut client = Client::log_in(server.address());
    for ask in ["SIZE", "MDTM"] {
        // The kernel has the name, and not the attributes.
        client.says(format!("{ask} {CACHED}"), 213);
        system.shut();
        client.sends(format!("{ask} {CACHED}\r\n"));
        system.wait_until_asked();
        another_session_is_answered(&server);
        system.open();
        client.hears(213);
    }
    client.quits();
    server.stop();
}

#[test]
fn a_close_that_takes_its_time_delays_nobody() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let server = serving(&system);
    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    system.shut_closing();
    client.says(format!("RETR {CACHED}"), 150);
    assert!(read_all(&mut data) == contents());
    client.hears(226);
    system.wait_until_asked();
    another_session_is_answered(&server);
    client.says("NOOP", 200);
    system.open();
    client.quits();
    server.stop();
}

/// Nobody can tell a client that is gone from one that only has nothing more to say.
#[test]
fn who_says_no_more_does_not_wait_for_ever() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let server = Server::start(system.root(), &["--anonymous", "read", "--idle-timeout", "1"]);
    let mut client = Client::log_in(server.address());
    client.says(format!("SIZE {CACHED}"), 213);
    system.shut();
    client.sends(format!("SIZE {CACHED}\r\n"));
    system.wait_until_asked();
    client.closes_its_side();
    client.hears(421);
    client.hears_the_end();
    system.open();
    server.stop();
}

/// A client all of whose bytes have come, and which waits for them to be on the disk.
fn uploads_and_waits_for_the_disk(server: &Server, system: &SlowFileSystem) -> Client {
    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    system.shut_syncing();
    client.says(format!("APPE {WRITTEN}"), 150);
    data.write_all(b"whole").expect("sent");
    drop(data);
    system.wait_until_asked();
    client
}

/// The client of an upload goes while the disk is waited for: the upload is whole, and recorded so.
#[test]
fn an_upload_whose_client_goes_while_it_is_published_is_recorded_as_whole() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let scratch = tempfile::tempdir().expect("a directory");
    let (config, xferlog) = (scratch.path().join("config"), scratch.path().join("xferlog"));
    let keys = format!("log.xferlog = \"{}\"\ntransfer.sync = \"full\"\n", xferlog.display());
    fs::write(&config, keys).expect("written");
    let config = config.to_str().expect("a path");
    let server = Server::start(system.root(), &["--anonymous", "write", "--config", config]);
    for is_reset in [false, true] {
        let client = uploads_and_waits_for_the_disk(&server, &system);
        if is_reset {
            client.resets();
        } else {
            drop(client);
        }
        another_session_is_answered(&server);
        system.open();
        let lines = || fs::read_to_string(&xferlog).unwrap_or_default();
        let expected = if is_reset { 2 } else { 1 };
        until("it is recorded", || lines().lines().count() == expected);
        assert!(lines().lines().all(|line| line.ends_with(" c")), "{}", lines());
    }
    server.stop();
}

/// A session does not wait for ever for a disk, and what was begun there cannot be taken back.
#[test]
fn an_upload_that_outlasts_its_session_is_recorded_as_it_ends() {
    let Some(system) = SlowFileSystem::mount() else { return };
    let server = Server::start(system.root(), &["--anonymous", "write", "--idle-timeout", "1"]);
    // With no policy at all: where a daemon has the disk, it is asked.
    uploads_and_waits_for_the_disk(&server, &system).resets();
    server.logs("\"message\":\"ended\"", 1);
    system.open();
    server.logs("\"message\":\"received\"", 1);
    assert!(!server.log().iter().any(|line| line.contains("aborted")), "{:?}", server.log());
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
    // Not even the file can be closed at once.
    system.shut();
    client.says("ABOR", 426);
    client.hears(226);
    assert!(read_all(&mut data).is_empty());
    client.says("NOOP", 200);
    system.open();
    client.quits();
    server.stop();
}
