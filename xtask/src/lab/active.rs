//! Active data connections: from the port that RFC 959 gives them, in thousands, and again and again to one place.

use std::collections::HashSet;
use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};

use anyhow::{Context as _, ensure};
use nix::net::if_::if_nametoindex;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::lab::control::Control;
use crate::lab::plan::{CONTROL_PORTS, DIRECT, OPEN, OPEN_ON_LINK, OPEN_V6};
use crate::lab::server::{Server, Settings};
use crate::lab::{Check, Lab, PATIENCE};

/// The checks, in their order.
pub(super) const CHECKS: &[Check] = &[
    Check { title: "active data connections come from the control port minus one", run: from_port_below },
    Check {
        title: "so they do after root was given up for --user nobody",
        run: from_port_below_without_root,
    },
    Check { title: "active data connections reach an address that is of one link", run: to_a_link },
    Check { title: "2,000 connect-backs at once to one client", run: many_to_one_client },
    Check {
        title: "2,000 connect-backs at once to 2,000 clients, the same port of each",
        run: many_to_many_clients,
    },
    Check {
        title: "200 connect-backs one after the other to one port of one client",
        run: again_to_one_port,
    },
];

/// How many sessions there are in the checks of many.
const MANY: u16 = 2_000;

/// What a client downloads: small, so that the server can send it before anybody accepts.
const SMALL: &[u8] = b"small enough to lie in a socket's buffer\n";

/// The addresses of many clients: all are the machine `direct`, which a route says.
const CROWD: &str = "198.18.64.0/18";

/// The user that a server without root becomes in these checks.
const NOBODY: Settings = Settings { flags: &["--user", "nobody"], config: "" };

fn start(lab: &Lab, settings: Settings) -> anyhow::Result<Server> {
    let server = Server::start(&lab.binary, &lab.world.open, lab.scratch.path(), settings)?;
    fs::write(server.directory.join("small"), SMALL)?;
    Ok(server)
}

fn from_port_below(lab: &Lab) -> anyhow::Result<()> {
    check_source_ports(lab, &start(lab, Settings::default())?)
}

fn from_port_below_without_root(lab: &Lab) -> anyhow::Result<()> {
    let server = start(lab, NOBODY)?;
    check_source_ports(lab, &server)?;
    let status = server.status()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|values| values.split_whitespace().collect::<Vec<_>>()).unwrap_or_default()
    };
    ensure!(!field("Uid:").contains(&"0"), "a user of the server is root\n{status}");
    // CAP_NET_BIND_SERVICE alone.
    ensure!(field("CapPrm:") == ["0000000000000400"], "the server kept other rights\n{status}");
    Ok(())
}

/// On each control port, by `PORT` and by `EPRT`, over IPv4 and IPv6.
fn check_source_ports(lab: &Lab, server: &Server) -> anyhow::Result<()> {
    for control_port in CONTROL_PORTS {
        for host in [IpAddr::V4(OPEN), IpAddr::V6(OPEN_V6)] {
            let mut session = Control::open(&lab.world.direct, (host, control_port).into())?;
            let listener = listen(lab, session.local_ip()?)?;
            session.ask(&session.eprt(listener.local_addr()?.port())?, 200)?;
            let from = take_small(&mut session, &listener)?;
            ensure!(
                from.port() == control_port - 1,
                "a data connection of control port {control_port} came from {from}\n{}\n{}",
                session.dialogue(),
                server.log()
            );
        }
    }
    Ok(())
}

/// By addresses that mean nothing without the interface, which `EPRT` does not name.
fn to_a_link(lab: &Lab) -> anyhow::Result<()> {
    let server = start(lab, Settings::default())?;
    let interface = lab.world.direct.within(|| if_nametoindex("internet"))?.context("no interface")?;
    for control_port in CONTROL_PORTS {
        let to = SocketAddrV6::new(OPEN_ON_LINK, control_port, 0, interface);
        let mut session = Control::open(&lab.world.direct, to.into())?;
        let listener = listen(lab, Ipv6Addr::UNSPECIFIED.into())?;
        session.ask(&session.eprt(listener.local_addr()?.port())?, 200)?;
        let from = take_small(&mut session, &listener).with_context(|| server.log_end())?;
        ensure!(
            (from.ip(), from.port()) == (OPEN_ON_LINK.into(), control_port - 1),
            "the data connection came from {from}\n{}",
            session.dialogue()
        );
    }
    Ok(())
}

fn many_to_one_client(lab: &Lab) -> anyhow::Result<()> {
    allow_descriptors(3 * u64::from(MANY) + 100)?;
    let server = start(lab, NOBODY)?;
    let mut sessions = Vec::new();
    for _ in 0..MANY {
        let mut session = Control::open(&lab.world.direct, (OPEN, CONTROL_PORTS[0]).into())?;
        let listener = listen(lab, DIRECT.into())?;
        session.ask(&format!("PORT {}", Control::port_argument(listener.local_addr()?)?), 200)?;
        sessions.push((session, listener));
    }
    for (session, _) in &mut sessions {
        session.send("RETR small")?;
    }
    for (session, listener) in &mut sessions {
        let from = receive_small(session, listener).with_context(|| server.log_end())?;
        ensure!(from.port() == CONTROL_PORTS[0] - 1, "a data connection came from {from}");
    }
    Ok(())
}

fn many_to_many_clients(lab: &Lab) -> anyhow::Result<()> {
    allow_descriptors(3 * u64::from(MANY) + 100)?;
    let to_loopback = format!("route replace local {CROWD} dev lo");
    lab.world.direct.ip(&[&to_loopback])?;
    let to_direct = format!("route replace {CROWD} via {DIRECT}");
    lab.world.open.ip(&[&to_direct])?;
    let server = start(lab, NOBODY)?;
    // One socket hears all of them.
    let listener = listen(lab, Ipv4Addr::UNSPECIFIED.into())?;
    let port = listener.local_addr()?.port();
    let mut sessions = Vec::new();
    for number in 0..MANY {
        let [high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(198, 18, 64 + high, low);
        let stream = lab.world.direct.within(|| connect_from(address, (OPEN, CONTROL_PORTS[0]).into()))?;
        let mut session = Control::log_in(stream.with_context(|| format!("from {address}"))?)?;
        session.ask(&format!("PORT {}", Control::port_argument((address, port).into())?), 200)?;
        sessions.push(session);
    }
    for session in &mut sessions {
        session.send("RETR small")?;
    }
    let mut reached = HashSet::new();
    for _ in &sessions {
        let (data, from) = accept(&listener).with_context(|| server.log_end())?;
        ensure!(from.port() == CONTROL_PORTS[0] - 1, "a data connection came from {from}");
        reached.insert(data.local_addr()?.ip());
        check_small(data)?;
    }
    ensure!(reached.len() == sessions.len(), "only {} clients were reached", reached.len());
    for session in &mut sessions {
        session.expect(150)?;
        session.expect(226)?;
    }
    Ok(())
}

/// The server closes first, so that the pair of addresses stays in TIME_WAIT on its side, and is asked for again.
fn again_to_one_port(lab: &Lab) -> anyhow::Result<()> {
    let server = start(lab, NOBODY)?;
    let mut session = Control::open(&lab.world.direct, (OPEN, CONTROL_PORTS[0]).into())?;
    let listener = listen(lab, DIRECT.into())?;
    let port = Control::port_argument(listener.local_addr()?)?;
    for time in 0..200 {
        session.ask(&format!("PORT {port}"), 200)?;
        take_small(&mut session, &listener)
            .with_context(|| format!("at the {time}th time\n{}", server.log_end()))?;
    }
    Ok(())
}

fn listen(lab: &Lab, ip: IpAddr) -> anyhow::Result<TcpListener> {
    let listener = lab.world.direct.within(|| -> std::io::Result<TcpListener> {
        let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(ip, 0).into())?;
        socket.listen(MANY.into())?;
        // Bounds `accept`.
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    })?;
    Ok(listener?)
}

fn connect_from(address: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(address.into(), 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    Ok(socket.into())
}

/// Downloads the small file, and says where its data connection came from.
fn take_small(session: &mut Control, listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    session.send("RETR small")?;
    receive_small(session, listener)
}

fn receive_small(session: &mut Control, listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    session.expect(150)?;
    let (data, from) = accept(listener)?;
    check_small(data)?;
    session.expect(226)?;
    Ok(from)
}

fn accept(listener: &TcpListener) -> anyhow::Result<(TcpStream, SocketAddr)> {
    listener.accept().context("no data connection came")
}

fn check_small(mut data: TcpStream) -> anyhow::Result<()> {
    data.set_read_timeout(Some(PATIENCE))?;
    let mut received = Vec::new();
    data.read_to_end(&mut received).context("the data connection broke")?;
    ensure!(received == SMALL, "other bytes came: {received:?}");
    Ok(())
}

/// Lets this process have so many files and sockets open, if it may.
fn allow_descriptors(needed: u64) -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
            .with_context(|| format!("{needed} descriptors are needed, and {hard} allowed (ulimit -n)"))?;
    }
    Ok(())
}
