//! How data connections come about: in every order, by every command, on both families, and not at all.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use raw::{Client, connect_from, read_all, read_until_closed, reset};
use socket2::{Domain, Socket, Type};
use support::site::Site;
use support::tree;

/// Within that time a reply comes that nothing holds back; and so long is one held back that waits for the client.
const AT_ONCE: Duration = Duration::from_millis(200);
const HELD_AT_LEAST: Duration = Duration::from_millis(900);

fn site(arguments: &[&str]) -> Site {
    Site::new(&[&["--anonymous", "write"], arguments].concat(), |served, _| {
        tree::write(served, "file".as_ref(), b"contents");
    })
}

fn client_of(site: &Site) -> Client {
    Client::log_in(site.server.address())
}

/// A place for the server to connect to, on the client's own address.
fn listen(client: &Client) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((client.address(), 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn port_argument(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else { panic!("PORT is for IPv4") };
    let [high, low] = address.port().to_be_bytes();
    format!("{},{high},{low}", ip.to_string().replace('.', ","))
}

fn eprt_argument(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{}|{}|", address.ip(), address.port())
}

#[test]
fn a_client_connects_before_or_after_its_command() {
    let site = site(&[]);
    let mut client = client_of(&site);
    for round in 0..50 {
        let passive = client.leases();
        if round % 2 == 0 {
            let mut data = client.connects_to(passive);
            client.says("RETR file", 150);
            assert_eq!(read_all(&mut data), b"contents");
        } else {
            client.says("RETR file", 150);
            let mut data = client.connects_to(passive);
            assert_eq!(read_all(&mut data), b"contents");
        }
        client.hears(226);
    }
    // An upload may even have been sent before anybody asked for it.
    let mut data = client.opens_data();
    data.write_all(b"early").expect("data");
    drop(data);
    client.says("STOR early", 150);
    client.hears(226);
    assert_eq!(fs::read(site.served.join("early")).expect("a file"), b"early");
}

/// There are clients that look for a second reply only once they have closed their data connection.
#[test]
fn who_says_where_to_begin_hears_of_the_end_once_it_has_closed() {
    let site = site(&[]);
    let mut client = client_of(&site);
    for (restart, rest_of_it) in [(0, "contents"), (3, "tents"), (8, "")] {
        loop {
            let (mut data, begun) = (client.opens_data(), Instant::now());
            client.says(format!("REST {restart}"), 350);
            client.says("RETR file", 150);
            data.write_all(b"nobody asked for this").expect("data");
            assert_eq!(read_until_closed(&mut data), rest_of_it.len() as u64);
            let told = client.hears_within(AT_ONCE);
            drop(data);
            // Whoever is too slow at it hears it for that.
            if begun.elapsed() < HELD_AT_LEAST {
                assert!(told.is_none(), "the client has not closed");
            }
            if told.is_none() {
                client.hears(226);
                break;
            }
        }
    }
    // Whoever waits for the 226 before it closes hears it a little later.
    let mut data = client.opens_data();
    client.says("REST 0", 350);
    client.says("RETR file", 150);
    assert_eq!(read_all(&mut data), b"contents");
    client.hears(226);
    drop(data);
    // The marker holds for one transfer.
    assert_eq!(client.fetches("RETR file"), b"contents");

    let (data, begun) = (client.opens_data(), Instant::now());
    client.says("REST 0", 350);
    client.says("RETR file", 150);
    reset(data);
    let told = client.hears_any().code;
    assert!(told == 426 || told == 226 && begun.elapsed() >= HELD_AT_LEAST, "{told}");

    let (_data, begun) = (client.opens_data(), Instant::now());
    client.says("REST 0", 350);
    client.says("RETR file", 150);
    client.sends("ABOR\r\n");
    let told = client.hears_any().code;
    assert!(told == 426 || told == 226 && begun.elapsed() >= HELD_AT_LEAST, "{told}");
    client.hears(226);
    client.quits();
}

/// Whoever lists other servers has clients all the same, and these are no servers.
#[test]
fn where_another_server_may_come_a_client_comes_as_well() {
    let scratch = tempfile::tempdir().expect("a directory");
    let config = scratch.path().join("config");
    fs::write(&config, "fxp.networks = [\"127.0.0.9\"]\n").expect("written");
    let site = site(&["--config", &config.display().to_string()]);
    let mut client = client_of(&site);
    let other = Some(IpAddr::from(Ipv4Addr::new(127, 0, 0, 9)));
    let stranger = Some(IpAddr::from(Ipv4Addr::new(127, 0, 0, 10)));
    for source in [None, other, None] {
        let passive = client.leases();
        // One that is nobody's ends no lease.
        assert_eq!(read_until_closed(&mut connect_from(stranger, passive)), 0);
        let mut data = connect_from(source, passive);
        client.says("RETR file", 150);
        assert_eq!(read_all(&mut data), b"contents");
        client.hears(226);
    }
    client.quits();
}

#[test]
fn every_way_on_both_families() {
    let site = site(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0"]);
    for &address in site.server.addresses() {
        let mut client = Client::log_in(address);
        let passive = SocketAddr::new(address.ip(), client.says("EPSV", 229).extended_passive_port());
        let mut data = client.connects_to(passive);
        client.says("RETR file", 150);
        assert_eq!(read_all(&mut data), b"contents");
        client.hears(226);

        let (listener, place) = listen(&client);
        client.says(format!("EPRT {}", eprt_argument(place)), 200);
        client.says("RETR file", 150);
        let (mut data, server) = listener.accept().expect("the server connects");
        assert_eq!(server.ip(), address.ip(), "the server connects from where the control connection goes");
        assert_eq!(read_all(&mut data), b"contents");
        client.hears(226);

        if address.is_ipv4() {
            client.says(format!("PORT {}", port_argument(place)), 200);
            client.says("STOR stored", 150);
            let (mut data, _) = listener.accept().expect("the server connects");
            data.write_all(b"by PORT").expect("data");
            drop(data);
            client.hears(226);
            assert_eq!(fs::read(site.served.join("stored")).expect("a file"), b"by PORT");
            client.says("EPSV 1", 229);
            client.says("EPSV 2", 522);
        } else {
            client.says("PASV", 425);
            client.says("PORT 127,0,0,1,200,1", 501);
            client.says("EPSV 2", 229);
            client.says("EPSV 1", 522);
        }
        client.says("EPSV 3", 522);
        client.says("EPSV ALL", 200);
        client.says("PASV", 501);
        client.says("PORT 127,0,0,1,200,1", 501);
        client.says(format!("EPRT {}", eprt_argument(place)), 501);
        client.says("EPSV", 229);
        client.quits();
    }
}

#[test]
fn an_ipv4_client_of_an_ipv6_listener_is_an_ipv4_client() {
    let site = site(&["--listen", "[::]:0"]);
    let server = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), site.server.address().port());
    let mut client = Client::log_in(server);
    assert_eq!(client.leases().ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
    assert_eq!(client.fetches("RETR file"), b"contents");
    let (listener, place) = listen(&client);
    client.says(format!("PORT {}", port_argument(place)), 200);
    client.says("RETR file", 150);
    let (mut data, _) = listener.accept().expect("the server connects");
    assert_eq!(read_all(&mut data), b"contents");
    client.hears(226);
    client.says("EPRT |2|::1|5000|", 522);
    client.quits();
}

#[test]
fn each_transfer_needs_a_data_connection_of_its_own() {
    let site = site(&[]);
    let mut client = client_of(&site);
    client.says("RETR file", 425);
    client.fetches("RETR file");
    client.says("RETR file", 425);
    client.says("LIST", 425);
    client.says("STOR new", 425);
    assert!(!site.served.join("new").exists());
    // The newest set-up holds, whichever it is.
    let (listener, place) = listen(&client);
    client.says(format!("PORT {}", port_argument(place)), 200);
    let first = client.leases();
    let second = client.leases();
    assert_ne!(first.port(), 0);
    let mut data = client.connects_to(second);
    client.says("RETR file", 150);
    assert_eq!(read_all(&mut data), b"contents");
    client.hears(226);
    client.leases();
    client.says(format!("EPRT {}", eprt_argument(place)), 200);
    client.says("RETR file", 150);
    let (mut data, _) = listener.accept().expect("the server connects");
    assert_eq!(read_all(&mut data), b"contents");
    client.hears(226);
    client.quits();
}

#[test]
fn nobody_connects() {
    let site = site(&["--data-timeout", "1"]);
    let before = tree::read(&site.served);
    let mut client = client_of(&site);
    for command in ["RETR file", "STOR file", "STOR new", "LIST"] {
        client.leases();
        client.says(command, 150);
        client.hears(425);
    }
    assert_eq!(tree::read(&site.served), before);
    assert_eq!(client.fetches("RETR file"), b"contents");
}

#[test]
fn nobody_listens() {
    let site = site(&["--data-timeout", "1"]);
    let mut client = client_of(&site);
    // It is bound, so that nobody else comes to have the port.
    let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    deaf.bind(&SocketAddr::new(client.address(), 0).into()).expect("a free port");
    let place = deaf.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    for command in ["RETR file", "STOR new"] {
        client.says(format!("PORT {}", port_argument(place)), 200);
        client.says(command, 150);
        client.hears(425);
    }
    assert!(!site.served.join("new").exists());
    assert_eq!(client.fetches("RETR file"), b"contents");
}

#[test]
fn a_stranger_gets_nothing_and_takes_nothing() {
    let site = site(&[]);
    let mut client = client_of(&site);
    let stranger: IpAddr = Ipv4Addr::new(127, 0, 0, 9).into();
    for command_first in [false, true] {
        let passive = client.leases();
        if command_first {
            client.says("RETR file", 150);
        }
        for _ in 0..10 {
            let mut intruder = connect_from(Some(stranger), passive);
            assert_eq!(read_until_closed(&mut intruder), 0, "a stranger is sent nothing");
        }
        let mut data = client.connects_to(passive);
        if !command_first {
            client.says("RETR file", 150);
        }
        assert_eq!(read_all(&mut data), b"contents");
        client.hears(226);
        // Once it is used, the port is a stranger's to the client too.
        assert_eq!(read_until_closed(&mut client.connects_to(passive)), 0);
    }
    client.quits();
}

#[test]
fn the_first_connection_is_the_one() {
    let site = site(&[]);
    let mut client = client_of(&site);
    let passive = client.leases();
    let mut first = client.connects_to(passive);
    let mut second = client.connects_to(passive);
    assert_eq!(read_until_closed(&mut second), 0);
    client.says("RETR file", 150);
    assert_eq!(read_all(&mut first), b"contents");
    client.hears(226);
}

#[test]
fn a_data_connection_that_is_not_used_is_closed() {
    let site = site(&[]);
    let mut client = client_of(&site);
    let mut replaced = client.opens_data();
    let mut taken_back = client.opens_data();
    assert_eq!(read_until_closed(&mut replaced), 0, "a new PASV closes the connection of the old one");
    client.says("REIN", 220);
    assert_eq!(read_until_closed(&mut taken_back), 0, "REIN closes it");
    client.says("USER anonymous", 331);
    client.says("PASS x", 230);
    let mut left = client.opens_data();
    client.quits();
    assert_eq!(read_until_closed(&mut left), 0, "QUIT closes it");
}

#[test]
fn a_data_connection_that_ends_too_early() {
    let site = site(&[]);
    File::create(site.served.join("large")).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
    let mut client = client_of(&site);
    drop(client.opens_data());
    client.says("RETR large", 150);
    client.hears(426);
    reset(client.opens_data());
    client.says("STOR new", 150);
    client.hears(426);
    assert!(!site.served.join("new").exists());
    // A clean end without a byte is an empty file, as FTP has it.
    drop(client.opens_data());
    client.says("STOR new", 150);
    client.hears(226);
    assert_eq!(fs::read(site.served.join("new")).expect("a file"), b"");
    // Half-closed, it still takes what is sent.
    let mut data = client.opens_data();
    data.shutdown(std::net::Shutdown::Write).expect("a connection");
    client.says("RETR file", 150);
    assert_eq!(read_all(&mut data), b"contents");
    client.hears(226);
    client.quits();
}

#[test]
fn every_port_is_of_the_range_and_serves() {
    let site = site(&["--workers", "4"]);
    let mut ports = BTreeSet::new();
    let mut waiting = Vec::new();
    for _ in 0..16 {
        let mut client = client_of(&site);
        let passive = client.leases();
        assert!(ports.insert(passive.port()), "one client's leases are on ports of their own");
        waiting.push((client, passive));
    }
    let ready =
        site.server.log().into_iter().find(|line| line.contains("\"ready\"")).expect("the start is logged");
    for (mut client, passive) in waiting.into_iter().rev() {
        assert!(in_summary(&ready, passive.port()), "{} is not in {ready}", passive.port());
        let mut data = client.connects_to(passive);
        client.says("RETR file", 150);
        assert_eq!(read_all(&mut data), b"contents");
        client.hears(226);
    }
}

/// Whether the start's line has the port among its `passive_ports`, `50000-50003 50007`.
fn in_summary(ready: &str, port: u16) -> bool {
    let event: serde_json::Value = serde_json::from_str(ready).expect("a line of JSON");
    let summary = event["passive_ports"].as_str().expect("the ports").to_owned();
    summary.split(' ').any(|run| {
        let (low, high) = run.split_once('-').unwrap_or((run, run));
        (low.parse().expect("a port")..=high.parse().expect("a port")).contains(&port)
    })
}

#[test]
fn a_server_asks_nobody_to_wait_for_a_reader_that_stops() {
    let site = site(&["--stall-timeout", "1"]);
    File::create(site.served.join("large")).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
    let mut client = client_of(&site);
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    data.read_exact(&mut [0; 1]).expect("the first byte");
    client.hears(426);
    let _silent = client.opens_data();
    client.says("STOR new", 150);
    client.hears(426);
    assert!(!site.served.join("new").exists());
    client.quits();
}
