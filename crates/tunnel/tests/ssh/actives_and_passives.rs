//! Every command that sets up a data connection, with the FTP server on the SSH host and behind it.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tunnel::PassiveTarget;

use crate::support::lab::{Lab, Place, assert_holds, write};
use crate::support::program::{fail, succeed};

/// The ways, as options of curl, and the commands that the server then sees.
const WAYS: [(&str, &[&str], &str); 4] = [
    ("PASV", &["--disable-epsv"], "PASV"),
    ("EPSV", &[], "EPSV"),
    ("PORT", &["--ftp-port", "-", "--disable-eprt"], "PORT"),
    ("EPRT", &["--ftp-port", "-"], "EPRT"),
];

const LARGE_BYTES: usize = 3 * 1024 * 1024 + 17;

/// The client cannot reach the server itself, so whatever arrives went through the tunnel.
fn assert_no_other_way(lab: &Lab) {
    for address in ["10.98.2.2", "10.98.2.1"] {
        let address = SocketAddr::new(address.parse().expect("an address"), lab.ftp.port);
        let connected = lab.client.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)));
        assert!(connected.is_err(), "the client reaches {address} without a tunnel");
    }
    let direct = SocketAddr::from(([10, 98, 1, 1], lab.ftp.port));
    assert!(lab.client.enter(|| TcpStream::connect(direct)).is_err(), "the server listens to everybody");
}

#[track_caller]
fn all_that_curl_does(place: Place, ways: &[usize]) {
    let lab = Lab::new(place);
    assert_no_other_way(&lab);
    let tunnel = lab.tunnel();
    let url = |path: &str| format!("ftp://{}/{path}", tunnel.address());
    let downloads = [("empty", 0), ("one", 1), ("large", LARGE_BYTES)];
    let contents = downloads.map(|(name, bytes)| (name, write(&lab.served().join(name), bytes)));
    let upload = write(&lab.local().join("up"), LARGE_BYTES);
    for &way in ways {
        let (name, options, verb) = WAYS[way];
        let before = lab.ftp.said(verb);
        // Several files in one session.
        let mut curl = lab.program("curl", "curl");
        curl.args([
            "-sS",
            "--fail-early",
            "--max-time",
            "60",
            "--output",
            "got-#1",
            &url("{empty,one,large}"),
        ])
        .args(options);
        lab.run(curl, succeed);
        for (file, content) in &contents {
            assert_holds(&lab.local().join(format!("got-{file}")), content);
            std::fs::remove_file(lab.local().join(format!("got-{file}"))).expect("removed");
        }
        let mut curl = lab.program("curl", "curl");
        curl.args(["-sS", "--max-time", "60", "--upload-file", "up", &url(name)]).args(options);
        lab.run(curl, succeed);
        assert_holds(&lab.served().join(name), &upload);
        let mut curl = lab.program("curl", "curl");
        curl.args(["-sS", "--max-time", "60", "--list-only", &url("")]).args(options);
        let listed = lab.run(curl, succeed);
        assert!(listed.lines().any(|line| line.trim_end() == "large"), "{listed}");
        assert!(lab.ftp.said(verb) > before, "curl used {name}");
    }
    tunnel.stop_handle().stop();
    tunnel.wait().expect("a good end");
}

#[test]
fn to_the_ssh_host_itself() {
    all_that_curl_does(Place::SshHost, &[0, 1, 2, 3]);
}

#[test]
fn to_a_machine_behind_the_ssh_host() {
    all_that_curl_does(Place::Behind, &[0, 1, 2, 3]);
}

#[test]
fn over_ipv6() {
    all_that_curl_does(Place::SshHostIpv6, &[1, 3]);
}

/// What the server sees is of its own family: a client of IPv4 has its PORT told as EPRT.
#[test]
fn from_ipv4_to_ipv6() {
    let lab = Lab::new(Place::SshHostIpv6);
    let content = write(&lab.served().join("large"), LARGE_BYTES);
    let mut options = lab.options();
    options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let tunnel = lab.start(&options).expect("a tunnel");
    for way in [1, 2, 3] {
        let mut curl = lab.program("curl", "curl");
        curl.args([
            "-sS",
            "--max-time",
            "60",
            "--output",
            "got",
            &format!("ftp://{}/large", tunnel.address()),
        ]);
        curl.args(WAYS[way].1);
        lab.run(curl, succeed);
        assert_holds(&lab.local().join("got"), &content);
        std::fs::remove_file(lab.local().join("got")).expect("removed");
    }
    assert_eq!(lab.ftp.said("PORT 127"), 0);
}

/// A server behind a translator names an address that leads nowhere from the SSH host.
#[test]
fn an_advertised_address_is_followed_only_where_that_was_asked_for() {
    let lab = Lab::with(Place::SshHost, &[], &["--advertise", "203.0.113.9", "--data-timeout", "1"]);
    let content = write(&lab.served().join("file"), 100_000);
    for (target, reaches) in [(PassiveTarget::Server, true), (PassiveTarget::Named, false)] {
        let mut options = lab.options();
        options.passive_target = target;
        let tunnel = lab.start(&options).expect("a tunnel");
        let mut curl = lab.program("curl", "curl");
        curl.args(["-sS", "--max-time", "60", "--disable-epsv", "--no-ftp-skip-pasv-ip", "--output", "got"]);
        curl.arg(format!("ftp://{}/file", tunnel.address()));
        if reaches {
            lab.run(curl, succeed);
            assert_holds(&lab.local().join("got"), &content);
        } else {
            lab.run(curl, fail);
        }
    }
}
