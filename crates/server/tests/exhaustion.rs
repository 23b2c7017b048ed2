//! At the end of descriptors and of ports: newcomers are told so, those who are there are served, and it passes.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use raw::process::Opened;
use raw::waiting::until;
use raw::{Client, read_all, read_until_closed};
use support::address::lone_address;
use support::server::Server;
use support::site::Site;
use support::tree;
use tempfile::TempDir;

/// Runs a program that may open 64 files.
const WITH_FEW_DESCRIPTORS: [&str; 4] = ["sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"];

/// Runs a program whose files may have a mebibyte, in units of 512 bytes.
const WITH_SHORT_FILES: [&str; 4] = ["sh", "-c", "ulimit -f 2048; exec \"$@\"", "sh"];

fn served() -> TempDir {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    tree::write(scratch.path(), "file".as_ref(), b"contents");
    File::create(scratch.path().join("large"))
        .and_then(|file| file.set_len(64 << 20))
        .expect("a sparse file");
    scratch
}

fn with_few_descriptors(directory: &Path) -> Server {
    Server::start_by(&WITH_FEW_DESCRIPTORS, directory, &["--anonymous", "write", "--workers", "1"])
}

/// Logs in again and again, each time from another address, until the server takes no more.
fn fills(server: SocketAddr) -> Vec<Client> {
    let mut clients = Vec::new();
    for host in 1..=64 {
        let mut client = Client::connect_only(server, Some(Ipv4Addr::new(127, 0, 0, host).into()));
        let greeting = client.hears_any();
        if greeting.code == 421 {
            client.hears_the_end();
            return clients;
        }
        assert_eq!(greeting.code, 220, "S: {greeting}");
        client.says("USER anonymous", 331);
        client.says("PASS x", 230);
        client.says("TYPE I", 200);
        clients.push(client);
    }
    panic!("more sessions than descriptors");
}

#[test]
fn an_upload_beyond_the_limit_of_a_file_fails_alone() {
    for cache in ["keep", "drop-behind", "direct"] {
        let served = served();
        let config = served.path().with_extension("toml");
        fs::write(&config, format!("transfer.upload_cache = \"{cache}\"\n")).expect("written");
        let config = config.to_str().expect("a path");
        let options = ["--anonymous", "write", "--workers", "1", "--config", config];
        let server = Server::start_by(&WITH_SHORT_FILES, served.path(), &options);
        let mut other = Client::log_in(server.address());
        let mut client = Client::log_in(server.address());
        let mut data = client.opens_data();
        client.says("STOR long", 150);
        // The server gives up in the middle.
        let _ = data.write_all(&vec![7; 4 << 20]);
        drop(data);
        client.hears(552);
        assert!(!served.path().join("long").exists());
        client.stores("STOR short", b"short");
        other.says("NOOP", 200);
        server.stop();
        fs::remove_file(config).expect("removed");
    }
}

fn is_admitted(server: SocketAddr) -> bool {
    Client::connect_only(server, None).hears_any().code == 220
}

#[test]
fn newcomers_are_told_and_those_there_are_served() {
    let scratch = served();
    let server = with_few_descriptors(scratch.path());
    let mut clients = fills(server.address());
    assert!(clients.len() > 4, "only {} sessions of 64 descriptors", clients.len());
    for _ in 0..25 {
        let mut newcomer = Client::connect_only(server.address(), None);
        newcomer.hears(421);
        newcomer.hears_the_end();
    }
    for client in &mut clients {
        assert_eq!(client.fetches("RETR file"), b"contents");
        client.stores("STOR new", b"new contents");
    }
    let left = clients.split_off(clients.len() / 2);
    let places = left.len();
    left.into_iter().for_each(Client::quits);
    until("a newcomer is admitted", || is_admitted(server.address()));
    until("as many are admitted as have left", || {
        let newcomers = fills(server.address());
        newcomers.len() >= places
    });
    for client in &mut clients {
        assert_eq!(client.fetches("RETR file"), b"contents");
    }
}

#[test]
fn out_of_descriptors_in_the_middle_of_transfers() {
    let scratch = served();
    let server = with_few_descriptors(scratch.path());
    let mut clients = fills(server.address());
    // Each wants two descriptors more, for which there is no room: some transfers run, the others are refused, and
    // nobody is lost.
    let mut running = Vec::new();
    for (number, client) in clients.iter_mut().enumerate() {
        let passive = client.leases();
        client.sends("RETR large\r\n");
        let first = client.hears_any();
        match first.code {
            150 => running.push((number, client.connects_to(passive))),
            425 | 450 => {}
            _ => panic!("S: {first}"),
        }
    }
    // A connection that the server has no descriptor for waits in the queue until others end.
    for (number, mut data) in running {
        let client = &mut clients[number];
        data.read_exact(&mut [0; 1]).expect("the first byte, when the transfers before have ended");
        assert_eq!(read_all(&mut data).len(), (64 << 20) - 1);
        client.hears(226);
    }
    for client in &mut clients {
        assert_eq!(client.fetches("RETR file"), b"contents");
        client.says("NOOP", 200);
    }
    drop(clients);
    until("newcomers are admitted", || is_admitted(server.address()));
}

/// A server with one passive port.
fn with_one_port(prepare: impl FnOnce(&Path)) -> Site {
    let address = lone_address();
    let (listen, port) = (format!("{}:0", address.ip()), address.port());
    let range = format!("{port}-{port}");
    let arguments = ["--listen", &listen, "--passive-ports", &range, "--log-level", "info"];
    Site::new(&arguments, |served, _| prepare(served))
}

#[test]
fn one_port_serves_fifty_clients_at_once() {
    const CLIENTS: u8 = 50;
    let name = |number: u8| format!("of-{number}");
    let site = with_one_port(|served| {
        for number in 1..=CLIENTS {
            tree::write(
                served,
                name(number).as_ref(),
                format!("contents of {number}").repeat(1000).as_bytes(),
            );
        }
    });
    let mut clients: Vec<_> = (1..=CLIENTS)
        .map(|number| {
            let mut client = Client::log_in_from(Ipv4Addr::new(127, 0, 0, number), site.server.address());
            let passive = client.leases();
            (number, client, passive)
        })
        .collect();
    let port = clients[0].2.port();
    assert!(clients.iter().all(|(_, _, passive)| passive.port() == port), "there is but one port");
    // They connect in another order than they asked in, some before their command and some after.
    let (early, late) = clients.split_at_mut(usize::from(CLIENTS / 2));
    let connected: Vec<_> =
        early.iter().rev().map(|(_, client, passive)| client.connects_to(*passive)).collect();
    for (number, client, _) in early.iter_mut().chain(late.iter_mut()) {
        client.says(format!("RETR {}", name(*number)), 150);
    }
    let connected_late: Vec<_> =
        late.iter().rev().map(|(_, client, passive)| client.connects_to(*passive)).collect();
    let data = connected.into_iter().rev().chain(connected_late.into_iter().rev());
    for ((number, client, _), mut data) in clients.iter_mut().zip(data) {
        assert_eq!(read_all(&mut data), format!("contents of {number}").repeat(1000).as_bytes());
        client.hears(226);
    }
}

#[test]
fn without_a_free_port_the_session_lives_on() {
    let site = with_one_port(|served| tree::write(served, "file".as_ref(), b"contents"));
    let mut holder = Client::log_in(site.server.address());
    let mut other = Client::log_in(site.server.address());
    let passive = holder.leases();
    other.says("PASV", 425);
    other.says("EPSV", 425);
    other.says("RETR file", 425);
    other.says("NOOP", 200);
    let mut data = holder.connects_to(passive);
    holder.says("RETR file", 150);
    assert_eq!(read_all(&mut data), b"contents");
    holder.hears(226);
    // A port that was used is free at once.
    assert_eq!(other.fetches("RETR file"), b"contents");
    // One that was given back without a connection rests a moment, so that a late connection meets no new lease.
    other.leases();
    other.quits();
    until("the port has rested", || {
        holder.sends("PASV\r\n");
        holder.hears_any().code == 227
    });
    assert_eq!(holder.fetches("RETR file"), b"contents");
}

#[test]
fn pasv_a_hundred_thousand_times() {
    const BATCH: usize = 1000;
    for (batches, site) in [
        (100, with_one_port(|served| tree::write(served, "file".as_ref(), b"contents"))),
        (
            10,
            Site::new(&["--log-level", "info"], |served, _| {
                tree::write(served, "file".as_ref(), b"contents");
            }),
        ),
    ] {
        let mut client = Client::log_in(site.server.address());
        let idle = Opened::by(site.server.pid(), &site.served);
        for _ in 0..batches {
            client.sends("PASV\r\n".repeat(BATCH));
            for _ in 0..BATCH {
                client.hears(227);
            }
        }
        assert_eq!(Opened::by(site.server.pid(), &site.served), idle);
        assert_eq!(client.fetches("RETR file"), b"contents");
        client.quits();
    }
}

#[test]
fn a_stranger_does_not_use_up_the_one_port() {
    let site = with_one_port(|served| tree::write(served, "file".as_ref(), b"contents"));
    let mut client = Client::log_in(site.server.address());
    let stranger = Client::log_in_from(Ipv4Addr::new(127, 0, 0, 2), site.server.address());
    let passive = client.leases();
    let idle = Opened::by(site.server.pid(), &site.served);
    for _ in 0..1000 {
        assert_eq!(read_until_closed(&mut stranger.connects_to(passive)), 0);
    }
    until("the strangers' connections are closed", || Opened::by(site.server.pid(), &site.served) == idle);
    let mut data = client.connects_to(passive);
    client.says("RETR file", 150);
    assert_eq!(read_all(&mut data), b"contents");
    client.hears(226);
}
