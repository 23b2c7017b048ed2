//! What is rewritten, what is not, and what is left of a data connection afterwards.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};

use crate::support::control::{Control, connect, passive_address};
use crate::support::lab::{Lab, Place, assert_holds, write};
use crate::support::wait_until;

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut content = Vec::new();
    stream.read_to_end(&mut content).expect("the whole");
    content
}

/// A port of the client's that is listened on, and the `PORT` that says so.
fn listen(lab: &Lab) -> (TcpListener, String) {
    let listener = lab.client.enter(|| TcpListener::bind("127.0.0.1:0")).expect("a port");
    let [high, low] = listener.local_addr().expect("an address").port().to_be_bytes();
    (listener, format!("PORT 127,0,0,1,{high},{low}"))
}

#[test]
fn everything_else_passes_as_it_is() {
    let lab = Lab::new(Place::SshHost);
    std::fs::create_dir(lab.served().join("ümläut")).expect("made");
    let tunnel = lab.tunnel();
    let mut through = Control::log_in(&lab, &tunnel);
    let mut direct =
        lab.ssh_host.enter(|| std::net::TcpStream::connect(("127.0.0.1", lab.ftp.port)).expect("the server"));
    let commands: &[&[u8]] = &[
        b"FEAT",
        b"SYST",
        b"HELP",
        b"CWD \xc3\xbcml\xc3\xa4ut",
        b"PWD",
        b"CWD /",
        b"STAT /",
        b"SIZE \xff\xff",
        b"XYZZY",
        b"noop",
    ];
    let mut expected = Vec::new();
    direct.write_all(b"USER anonymous\r\nPASS x\r\nTYPE I\r\n").expect("sent");
    for command in commands {
        direct.write_all(&[command, &b"\r\n"[..]].concat()).expect("sent");
    }
    direct.write_all(b"QUIT\r\n").expect("sent");
    direct.read_to_end(&mut expected).expect("the replies");
    let mut got = String::new();
    for command in commands {
        through.send(&[command, &b"\r\n"[..]].concat());
        got.push_str(&through.reply());
    }
    through.send(b"QUIT\r\n");
    got.push_str(&through.rest());
    let expected = String::from_utf8_lossy(&expected);
    let (_, expected) = expected.split_once("200 ").expect("the reply to TYPE");
    let (_, expected) = expected.split_once("\r\n").expect("its end");
    assert_eq!(got, expected);
}

#[test]
fn a_passive_port_serves_its_client_once() {
    let lab = Lab::new(Place::SshHost);
    let content = write(&lab.served().join("file"), 500_000);
    let tunnel = lab.tunnel();
    let idle = lab.client.listening();
    let mut control = Control::log_in(&lab, &tunnel);
    let address = passive_address(&control.expect("PASV", "227"));
    // A program at another address of the machine is not the client.
    let mut stranger = lab.client.enter(|| {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 9], 0)).into()).expect("bound");
        socket.connect(&address.into()).expect("connected");
        std::net::TcpStream::from(socket)
    });
    let mut nothing = [0];
    assert!(!matches!(stranger.read(&mut nothing), Ok(1..)), "a stranger got data");
    let data = connect(&lab, address);
    control.expect("RETR file", "150");
    assert!(read_all(data) == content);
    control.expect_reply("226");
    wait_until("the port is closed", || lab.client.listening() == idle);
}

#[test]
fn an_active_port_serves_once() {
    let lab = Lab::new(Place::SshHost);
    let content = write(&lab.served().join("file"), 500_000);
    let tunnel = lab.tunnel();
    let idle = lab.ssh_host.listening();
    let mut control = Control::log_in(&lab, &tunnel);
    for _ in 0..3 {
        let (listener, port) = listen(&lab);
        control.expect(&port, "200");
        assert_ne!(lab.ssh_host.listening(), idle, "sshd listens");
        control.expect("RETR file", "150");
        assert!(read_all(listener.accept().expect("the data").0) == content);
        control.expect_reply("226");
        wait_until("sshd listens no longer", || lab.ssh_host.listening() == idle);
    }
}

#[test]
fn pipelined_commands_have_their_data_in_order() {
    let lab = Lab::new(Place::SshHost);
    let contents: Vec<_> = (0..4).map(|n| write(&lab.served().join(format!("{n}")), 200_000 + n)).collect();
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(&lab, &tunnel);
    let mut listeners = Vec::new();
    let mut commands = String::new();
    for n in 0..contents.len() {
        let (listener, port) = listen(&lab);
        listeners.push(listener);
        commands += &format!("{port}\r\nRETR {n}\r\n");
        // The tunnel's own answer has to wait for those before it.
        commands += "PORT 192,0,2,1,200,1\r\nPWD\r\n";
    }
    control.send(commands.as_bytes());
    for (listener, content) in listeners.into_iter().zip(contents) {
        control.expect_reply("200");
        control.expect_reply("150");
        assert!(read_all(listener.accept().expect("the data").0) == content);
        control.expect_reply("226");
        control.expect_reply("504");
        control.expect_reply("257");
    }
}

#[test]
fn a_storm_of_setups_leaves_one() {
    let lab = Lab::new(Place::SshHost);
    let content = write(&lab.served().join("file"), 10_000);
    let tunnel = lab.tunnel();
    let (local, remote) = (lab.client.listening(), lab.ssh_host.listening());
    let mut control = Control::log_in(&lab, &tunnel);
    let (listener, port) = listen(&lab);
    for _ in 0..20 {
        control.expect("PASV", "227");
        control.expect(&port, "200");
        control.expect("EPSV", "229");
        control.expect("EPSV 2", "229");
    }
    drop(listener);
    wait_until("no port of sshd is left", || lab.ssh_host.listening() == remote);
    wait_until("one port of the client is left", || lab.client.listening().len() == local.len() + 1);
    let data = control.passive(&lab);
    control.expect("RETR file", "150");
    assert!(read_all(data) == content);
    control.expect_reply("226");
    drop(control);
    wait_until("nothing is left", || lab.client.listening() == local);
}

#[test]
fn an_upload_ends_where_the_client_ends_it() {
    let lab = Lab::new(Place::Behind);
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(&lab, &tunnel);
    let content = write(&lab.local().join("file"), 4_000_001);
    let mut data = control.passive(&lab);
    control.expect("STOR file", "150");
    data.write_all(&content).expect("sent");
    data.shutdown(Shutdown::Write).expect("ended");
    control.expect_reply("226");
    assert_holds(&lab.served().join("file"), &content);
}

/// What a server has sent before its goodbye arrives, though the client takes its time.
#[test]
fn data_outlives_the_goodbye() {
    let lab = Lab::new(Place::SshHost);
    let content = write(&lab.served().join("file"), 8_000_000);
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(&lab, &tunnel);
    let data = control.passive(&lab);
    control.expect("RETR file", "150");
    // RFC 959 section 4.1.1: the transfer goes on, and its result may come before the goodbye or behind it.
    control.send(b"QUIT\r\n");
    control.stream().shutdown(Shutdown::Write).expect("ended");
    let mut replies = [control.reply(), String::new()];
    assert!(read_all(data) == content, "cut short");
    replies[1] = control.reply();
    replies.sort();
    assert!(replies[0].starts_with("221") && replies[1].starts_with("226"), "{replies:?}");
    assert_eq!(control.rest(), "");
}

#[test]
fn tls_would_blind_the_tunnel() {
    let lab = Lab::new(Place::SshHost);
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(&lab, &tunnel);
    control.expect("AUTH TLS", "502");
    control.expect("NOOP", "200");
}
