//! However a session ends, nothing of it stays: no descriptor, no memory, no port.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use raw::process::{Opened, resident_bytes};
use raw::waiting::until;
use raw::{Client, connect_from, read_all, reset};
use support::server::Server;
use support::site::Site;
use support::tree;

/// How many passive ports there are when no range is given.
const PASSIVE_PORTS: usize = 16;

/// A way in which a session ends.
type Ending = fn(SocketAddr);

const ENDINGS: [(&str, Ending); 16] = [
    ("connects and leaves", |server| drop(Client::connect_only(server, None))),
    ("connects and resets", |server| Client::connect_only(server, None).resets()),
    ("quits without a login", |server| Client::connect(server).quits()),
    ("quits", |server| Client::log_in(server).quits()),
    ("resets", |server| Client::log_in(server).resets()),
    ("leaves in the middle of a line", |server| Client::log_in(server).sends("RETR la")),
    ("leaves before its file request is answered", |server| {
        Client::log_in(server).sends("MLST file\r\nSTAT /\r\n");
    }),
    ("fetches and quits", |server| {
        let mut client = Client::log_in(server);
        client.fetches("RETR file");
        client.quits();
    }),
    ("asks for a port and leaves", |server| {
        let mut client = Client::log_in(server);
        client.leases();
    }),
    ("asks for a port, connects, and leaves", |server| drop(Client::log_in(server).opens_data())),
    ("asks for a port and a file, and leaves", |server| {
        let mut client = Client::log_in(server);
        client.leases();
        client.says("RETR file", 150);
    }),
    ("vanishes in a download", |server| {
        let mut client = Client::log_in(server);
        let mut data = client.opens_data();
        client.says("RETR large", 150);
        data.read_exact(&mut [0; 1]).expect("the first byte");
        reset(data);
        client.resets();
    }),
    ("vanishes in an upload", |server| {
        let mut client = Client::log_in(server);
        let mut data = client.opens_data();
        client.says("STOR new", 150);
        data.write_all(&[b'n'; 100_000]).expect("data");
        client.resets();
        reset(data);
    }),
    ("vanishes in a listing", |server| {
        let mut client = Client::log_in(server);
        let data = client.opens_data();
        client.sends("LIST\r\n");
        drop(client);
        drop(data);
    }),
    ("breaks off and quits", |server| {
        let mut client = Client::log_in(server);
        let mut data = client.opens_data();
        client.says("RETR large", 150);
        data.read_exact(&mut [0; 1]).expect("the first byte");
        client.says("ABOR", 426);
        client.hears(226);
        client.quits();
    }),
    ("is connected to, and leaves", |server| {
        let mut client = Client::log_in(server);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let [high, low] = listener.local_addr().expect("an address").port().to_be_bytes();
        client.says(format!("PORT 127,0,0,1,{high},{low}"), 200);
        client.says("RETR large", 150);
        drop(listener.accept().expect("the server connects"));
    }),
];

fn site() -> Site {
    Site::new(&["--anonymous", "write", "--log-level", "info"], |served, _| {
        tree::write(served, "file".as_ref(), b"contents");
        File::create(served.join("large")).and_then(|file| file.set_len(16 << 20)).expect("a sparse file");
    })
}

/// Every ending, many times, from several clients at once.
fn ends_in_every_way(server: &Server, rounds: usize) {
    let address = server.address();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    for (_, ending) in ENDINGS {
                        ending(address);
                    }
                }
            });
        }
    });
}

/// What an idle server has open.
fn opened(site: &Site) -> Opened {
    Opened::by(site.server.pid(), &site.served)
}

/// Waits until nothing is open but what was before any client came.
#[track_caller]
fn all_is_closed(site: &Site, idle: Opened, after: &str) {
    let mut now = idle;
    until(&format!("all is closed again after {after}"), || {
        now = opened(site);
        now == idle
    });
}

#[test]
fn no_ending_leaves_anything_behind() {
    let site = site();
    let idle = opened(&site);
    for (what, ending) in ENDINGS {
        for _ in 0..20 {
            ending(site.server.address());
        }
        all_is_closed(&site, idle, &format!("a client that {what}"));
    }
    // What is made at first use and kept is there after this.
    ends_in_every_way(&site.server, 10);
    all_is_closed(&site, idle, "640 sessions");
    let memory = resident_bytes(site.server.pid());
    ends_in_every_way(&site.server, 20);
    all_is_closed(&site, idle, "1,280 sessions");
    let grown = resident_bytes(site.server.pid()).saturating_sub(memory);
    assert!(grown < 8 << 20, "1,280 sessions left {grown} bytes of memory");
    // Four clients at a time need no more than four pipes at a time, of two ends, on each of two workers.
    let pipes = Opened::pipes(site.server.pid());
    assert!(pipes <= 4 * 2 * 2, "{pipes} ends of pipes are kept");
    every_port_is_usable(&site.server);
    let mut names: Vec<_> = fs::read_dir(&site.served)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["file", "large"], "no upload was ended well");
}

/// One address can hold every port at once, and each brings its file.
fn every_port_is_usable(server: &Server) {
    let mut ports = BTreeSet::new();
    let mut waiting = Vec::new();
    for _ in 0..PASSIVE_PORTS {
        let mut client = Client::log_in(server.address());
        let mut leased = None;
        until("a port that was given back has rested", || {
            client.sends("PASV\r\n");
            let reply = client.hears_any();
            leased = (reply.code == 227).then(|| reply.passive_address());
            leased.is_some()
        });
        let passive = leased.expect("an address");
        ports.insert(passive.port());
        waiting.push((client, passive));
    }
    assert_eq!(ports.len(), PASSIVE_PORTS);
    for (client, passive) in &mut waiting {
        let mut data = client.connects_to(*passive);
        client.says("RETR file", 150);
        assert_eq!(read_all(&mut data), b"contents");
        client.hears(226);
    }
}

#[test]
fn a_checksum_ends_with_its_client() {
    let site = site();
    // It would take hours.
    File::create(site.served.join("huge")).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    let idle = opened(&site);
    let begins = || {
        let mut client = Client::log_in(site.server.address());
        client.sends("HASH huge\r\n");
        until("the file is open", || opened(&site).files > 0);
        client
    };
    let mut client = begins();
    client.says("ABOR", 426);
    client.hears(226);
    client.says("NOOP", 200);
    client.quits();
    all_is_closed(&site, idle, "ABOR");
    begins().resets();
    all_is_closed(&site, idle, "a reset");
    drop(begins());
    all_is_closed(&site, idle, "the client has closed");
    // Behind more than the session holds back; the end is not read.
    let mut client = Client::log_in(site.server.address());
    client.sends("HASH huge\r\n".repeat(10) + &"NOOP\r\n".repeat(5000));
    until("the file is open", || opened(&site).files > 0);
    drop(client);
    all_is_closed(&site, idle, "the client has closed behind much that it said");
    let mut client = Client::log_in(site.server.address());
    client.sends("HASH huge\r\nHASH huge\r\n");
    client.closes_its_side();
    client.hears(426);
    client.hears(426);
    client.hears_the_end();
    all_is_closed(&site, idle, "the client has closed its side");
}

#[test]
fn one_session_of_many_transfers_leaves_nothing() {
    let site = site();
    let mut client = Client::log_in(site.server.address());
    let mut a_turn = || {
        client.fetches("RETR file");
        client.stores("STOR new", b"new contents");
        client.stores("APPE new", b", more");
        client.fetches("LIST");
        client.fetches("MLSD");
        client.says("DELE new", 250);
        client.is_refused("RETR missing", 550);
        client.says("ABOR", 225);
        let mut data = client.opens_data();
        client.says("RETR large", 150);
        data.read_exact(&mut [0; 1]).expect("the first byte");
        client.says("ABOR", 426);
        client.hears(226);
    };
    let idle = opened(&site);
    (0..20).for_each(|_| a_turn());
    let memory = resident_bytes(site.server.pid());
    (0..200).for_each(|_| a_turn());
    all_is_closed(&site, idle, "2,000 transfers");
    let grown = resident_bytes(site.server.pid()).saturating_sub(memory);
    assert!(grown < 8 << 20, "2,000 transfers left {grown} bytes of memory");
}

#[test]
fn idle_sessions_hold_little() {
    const SESSIONS: usize = 1000;
    let site = site();
    let warm: Vec<_> = (0..50).map(|_| Client::log_in(site.server.address())).collect();
    drop(warm);
    let memory = resident_bytes(site.server.pid());
    let clients: Vec<_> = (0..SESSIONS)
        .map(|number| {
            let mut client = Client::log_in(site.server.address());
            // What came once and is over is not kept either.
            if number % 2 == 0 {
                client.sends("CWD /\r\n".repeat(200));
                (0..200).for_each(|_| drop(client.hears(250)));
            }
            client
        })
        .collect();
    let each = resident_bytes(site.server.pid()).saturating_sub(memory) / SESSIONS as u64;
    assert!(each < 16 * 1024, "an idle session holds {each} bytes");
    drop(clients);
}

#[test]
fn strangers_at_the_passive_ports_leave_nothing() {
    let site = site();
    let mut client = Client::log_in(site.server.address());
    client.fetches("RETR file");
    let idle = opened(&site);
    let passive = client.leases();
    for number in 0..500 {
        let stranger = connect_from(Some(Ipv4Addr::new(127, 0, 0, 7).into()), passive);
        if number % 2 == 0 { reset(stranger) } else { drop(stranger) }
    }
    all_is_closed(&site, idle, "500 strangers");
    let mut data = client.connects_to(passive);
    client.says("RETR file", 150);
    assert_eq!(read_all(&mut data), b"contents");
    client.hears(226);
}
