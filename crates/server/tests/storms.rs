//! Many sessions with a passive port each: nobody is refused, and nobody gets another's data.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use raw::{Client, read_all};
use support::address::lone_addresses;
use support::site::Site;
use support::tree;

/// How many transfers run at a time: each takes two descriptors more of the server's.
const WAVE: usize = 250;

fn name(number: usize) -> String {
    format!("of-{number}")
}

fn contents(number: usize) -> Vec<u8> {
    format!("contents of {number}").repeat(100).into_bytes()
}

/// A server with `ports` passive ports and a file for each of `clients`.
fn site(ports: u16, clients: usize) -> Site {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit of descriptors");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be raised");
    let address = lone_addresses(ports);
    let (listen, low) = (format!("{}:0", address.ip()), address.port());
    let range = format!("{low}-{}", low + (ports - 1));
    let arguments =
        ["--listen", &listen, "--passive-ports", &range, "--anonymous", "write", "--log-level", "info"];
    Site::new(&arguments, |served, _| {
        for number in 0..clients {
            tree::write(served, name(number).as_ref(), &contents(number));
        }
    })
}

/// Everybody leases a port, all at once; then everybody fetches a file and stores one, in an order of its own, some
/// connecting before their command and some after.
fn storm(site: &Site, sources: impl Iterator<Item = Ipv4Addr>) {
    let server = site.server.address();
    let mut clients: Vec<_> =
        sources.enumerate().map(|(number, source)| (number, Client::log_in_from(source, server))).collect();
    let count = clients.len();
    // A stride that shares no factor with the number of clients visits each of them once.
    let shuffled = |at: usize| at * 7919 % count;
    for store in [false, true] {
        for (_, client) in &mut clients {
            client.sends("PASV\r\n");
        }
        let passive: Vec<SocketAddr> =
            clients.iter_mut().map(|(_, client)| client.hears(227).passive_address()).collect();
        for wave in (0..count).collect::<Vec<_>>().chunks(WAVE) {
            let (early, late) = wave.split_at(WAVE / 2);
            let connect = |clients: &[(usize, Client)], at: usize| {
                let client = shuffled(at);
                (client, clients[client].1.connects_to(passive[client]))
            };
            let mut data: Vec<_> = early.iter().map(|at| connect(&clients, *at)).collect();
            for at in wave {
                let (number, client) = &mut clients[shuffled(*at)];
                let verb = if store { "STOR new-" } else { "RETR " };
                client.says(format!("{verb}{}", name(*number)), 150);
            }
            data.extend(late.iter().rev().map(|at| connect(&clients, *at)));
            for (client, mut data) in data {
                let (number, client) = &mut clients[client];
                if store {
                    data.write_all(&contents(*number)).expect("the server takes the data");
                } else {
                    assert_eq!(read_all(&mut data), contents(*number), "what came to client {number}");
                }
                drop(data);
                client.hears(226);
            }
        }
    }
    for number in 0..count {
        let stored =
            std::fs::read(site.served.join(format!("new-{}", name(number)))).expect("what was stored");
        assert_eq!(stored, contents(number), "what came from client {number}");
    }
}

#[test]
fn a_thousand_addresses_share_eight_ports() {
    let site = site(8, 1000);
    storm(&site, (0..1000_u32).map(|number| Ipv4Addr::from(0x7f40_0001 + number)));
}

#[test]
fn one_address_has_five_hundred_ports() {
    let site = site(500, 500);
    let IpAddr::V4(host) = site.server.address().ip() else { panic!("the server is at an IPv4 address") };
    storm(&site, (0..500).map(|_| host));
}
