//! Servers that lie, and one that does not.
#![allow(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod fake;
mod ringftpd;

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use doctor::{Finding, Level, Report, Target, examine_server};
use fake::{Active, FakeServer, Passive, full_listener};
use ringftpd::Ringftpd;

/// For replies that must come; nothing waits for its end.
const LONG: Duration = Duration::from_secs(20);

/// For connections that must not come about: each is waited for that long.
const SHORT: Duration = Duration::from_millis(400);

fn of<'r>(report: &'r Report, what: &str) -> &'r Finding {
    let found = report.findings.iter().find(|finding| finding.what.starts_with(what));
    found.unwrap_or_else(|| panic!("no finding of {what}:\n{report}"))
}

fn examined(server: &FakeServer, timeout: Duration) -> Report {
    examine_server(&Target::new("127.0.0.1", server.port()).with_timeout(timeout))
}

/// A port of the loopback that nobody listens on while the second value lives: it is bound, and does not listen.
fn closed_port() -> (u16, socket2::Socket) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (port, socket)
}

#[test]
fn a_server_as_it_should_be_is_fine() {
    let server = FakeServer::start(Passive::Honest, Active::Connects);
    let report = examined(&server, LONG);
    for way in ["EPSV to", "PASV to"] {
        assert_eq!(of(&report, way).level, Level::Fine, "{report}");
    }
    // They come from a port of the kernel's choice.
    for way in ["EPRT from", "PORT from"] {
        assert_eq!(of(&report, way).level, Level::Note, "{report}");
        assert!(of(&report, way).why.starts_with("works"), "{report}");
    }
    assert_eq!(report.exit_code(), 0, "{report}");
}

#[test]
fn an_address_that_nobody_has_is_named_and_told_from_the_port() {
    let server = FakeServer::start(Passive::Tells(Ipv4Addr::new(127, 0, 0, 9)), Active::Connects);
    let report = examined(&server, LONG);
    let pasv = of(&report, "PASV to");
    assert_eq!(pasv.level, Level::Problem, "{report}");
    assert!(pasv.why.contains("tells clients 127.0.0.9"), "{pasv}");
    assert!(pasv.why.contains("the same ports work"), "{pasv}");
    assert!(pasv.mend.as_ref().unwrap().contains("passive.advertise"), "{pasv}");
    assert_eq!(of(&report, "EPSV to").level, Level::Fine, "{report}");
    assert_eq!(report.exit_code(), 4);
}

#[test]
fn a_port_that_nobody_listens_on_is_refused() {
    let (port, _closed) = closed_port();
    let server = FakeServer::start(Passive::Port(port), Active::Connects);
    let report = examined(&server, LONG);
    for way in ["EPSV to", "PASV to"] {
        assert!(of(&report, way).why.contains("refused: nobody listens there"), "{report}");
        assert_eq!(of(&report, way).level, Level::Problem, "{report}");
    }
}

#[test]
fn a_port_whose_packets_are_dropped_is_filtered() {
    // The kernel drops what comes to a listener whose queue is full, just as a firewall does.
    let full = full_listener();
    let server = FakeServer::start(Passive::Port(full.port()), Active::Connects);
    let report = examined(&server, SHORT);
    for way in ["EPSV to", "PASV to"] {
        assert!(of(&report, way).why.contains("packets are dropped"), "{report}");
        assert!(of(&report, way).mend.as_ref().unwrap().contains("-p 50000-50015:50000-50015"), "{report}");
    }
}

#[test]
fn a_connection_that_the_server_does_not_get_is_told() {
    // Something else than the server takes the connection.
    let taker = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = FakeServer::start(Passive::Port(taker.local_addr().unwrap().port()), Active::Connects);
    let report = examined(&server, LONG);
    assert!(of(&report, "PASV to").why.contains("the server did not get it"), "{report}");
}

#[test]
fn what_is_not_offered_is_a_note_while_another_way_works() {
    let server = FakeServer::start(Passive::Honest, Active::Refuses("502 No active mode here."));
    let report = examined(&server, LONG);
    assert_eq!(of(&report, "PORT from").level, Level::Note, "{report}");
    assert!(of(&report, "PORT from").why.contains("\"502 No active mode here.\""), "{report}");
    assert_eq!(report.exit_code(), 0, "{report}");
}

#[test]
fn without_any_way_each_is_a_problem() {
    let server =
        FakeServer::start(Passive::Refuses("500 What?"), Active::Refuses("501 Not to that address."));
    let report = examined(&server, LONG);
    for way in ["PASV to", "EPRT from", "PORT from"] {
        assert_eq!(of(&report, way).level, Level::Problem, "{report}");
    }
    assert!(of(&report, "PORT from").why.contains("this client said 127.0.0.1"), "{report}");
}

#[test]
fn a_server_that_does_not_come_is_waited_for_no_longer_than_said() {
    let server = FakeServer::start(Passive::Honest, Active::StaysAway);
    let report = examined(&server, SHORT);
    assert!(of(&report, "PORT from").why.contains("did not come"), "{report}");
    let server = FakeServer::start(Passive::Honest, Active::Fails);
    let report = examined(&server, LONG);
    assert!(of(&report, "EPRT from").why.contains("could not connect to this client: \"425"), "{report}");
}

#[test]
fn who_is_not_let_in_is_told_the_servers_words() {
    let server = FakeServer::start(Passive::Honest, Active::Connects);
    let target: Target = format!("ftp://mallory:x@127.0.0.1:{}/", server.port()).parse().unwrap();
    let report = examine_server(&target.with_timeout(LONG));
    assert!(of(&report, "login").why.contains("mallory may not log in: \"530 Not you.\""), "{report}");
    assert_eq!(report.worst(), Level::Problem);
}

#[test]
fn no_server_is_told_from_a_silent_one() {
    let (port, _closed) = closed_port();
    let report = examine_server(&Target::new("127.0.0.1", port).with_timeout(LONG));
    assert!(report.findings[0].why.contains("nobody listens there"), "{report}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let report = examine_server(&Target::new("127.0.0.1", port).with_timeout(SHORT));
    assert!(report.findings[0].why.contains("did not answer in time"), "{report}");
    let report = examine_server(&Target::new("name.invalid", 21).with_timeout(LONG));
    assert!(report.findings[0].why.contains("cannot be resolved"), "{report}");
}

#[test]
fn what_is_no_ftp_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let speaker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        stream
    });
    let report = examine_server(&Target::new("127.0.0.1", port).with_timeout(LONG));
    assert!(report.findings[0].why.contains("is no FTP"), "{report}");
    drop(speaker.join().unwrap());
}

#[test]
fn ringftpd_is_fine_over_both_families() {
    let server = Ringftpd::start(&["--listen", "127.0.0.1:0", "--listen", "[::1]:0"]);
    for (host, ways) in [
        ("127.0.0.1", &["EPSV to", "PASV to", "EPRT from", "PORT from"][..]),
        ("::1", &["EPSV to", "EPRT from"][..]),
    ] {
        let Some(port) = server.port_of(host) else { continue };
        let report = examine_server(&Target::new(host, port).with_timeout(LONG));
        for way in ways {
            assert!(of(&report, way).why.starts_with("works"), "{report}");
        }
        assert!(report.worst() <= Level::Note, "{report}");
    }
}

#[test]
fn ringftpd_that_advertises_nonsense_is_found_out() {
    let server = Ringftpd::start(&["--listen", "127.0.0.1:0", "--advertise", "127.0.0.9"]);
    let report =
        examine_server(&Target::new("127.0.0.1", server.port_of("127.0.0.1").unwrap()).with_timeout(LONG));
    assert!(of(&report, "PASV to").why.contains("tells clients 127.0.0.9"), "{report}");
    assert_eq!(of(&report, "EPSV to").level, Level::Fine, "{report}");
}

#[test]
fn a_running_ringftpd_is_known_by_its_configuration() {
    let server = Ringftpd::start(&["--listen", "127.0.0.1:0"]);
    let address = format!("127.0.0.1:{}", server.port_of("127.0.0.1").unwrap());
    let listeners = vec![config::Listener::at(address.parse().unwrap())];
    let directory = server.directory().to_owned();
    let report =
        doctor::examine_config(&config::Config { listeners, directory, ..config::Config::default() });
    let control = of(&report, "control port");
    assert_eq!(control.level, Level::Fine, "{report}");
    assert!(control.why.contains("ringftpd (process"), "{report}");
}
