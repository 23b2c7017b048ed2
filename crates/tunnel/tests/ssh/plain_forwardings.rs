//! FTP through `ssh -L` and `ssh -R` alone, as the documentation describes it.

use std::process::{Child, Command};

use crate::support::lab::{Lab, Place, assert_holds, write};
use crate::support::program::{fail, find, succeed};
use crate::support::wait_until;

/// `ssh` with forwardings, until it is dropped.
struct Forwardings(Child);

impl Forwardings {
    #[track_caller]
    fn start(lab: &Lab, arguments: &[&str]) -> Self {
        let mut command = Command::new(find("ssh", "openssh-client"));
        command.args(["-N", "-F", "none", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"]);
        for option in lab.sshd.options() {
            command.args(["-o", &option]);
        }
        command.args(arguments).arg(lab.sshd.destination());
        let child = lab.client.enter(|| command.spawn()).expect("ssh starts");
        wait_until("the control port is forwarded", || {
            lab.client.listening().iter().any(|port| port == "127.0.0.1:2121")
        });
        Self(child)
    }
}

impl Drop for Forwardings {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same passive ports on both sides: the server's 127.0.0.1 is the client's.
#[test]
fn passive_where_the_passive_ports_are_forwarded_too() {
    let lab = Lab::with(Place::SshHost, &[], &["--passive-ports", "50000-50001"]);
    let content = write(&lab.served().join("file"), 1_000_000);
    let control = format!("2121:127.0.0.1:{}", lab.ftp.port);
    let arguments = ["-L", &control, "-L", "50000:127.0.0.1:50000", "-L", "50001:127.0.0.1:50001"];
    let _ssh = Forwardings::start(&lab, &arguments);
    for options in [&["--disable-epsv", "--no-ftp-skip-pasv-ip"][..], &[]] {
        let mut curl = lab.program("curl", "curl");
        curl.args(["-sS", "--max-time", "60", "-o", "a", "-o", "b", "-o", "c"]).args(options);
        curl.args(["ftp://127.0.0.1:2121/file"; 3]);
        lab.run(curl, succeed);
        for name in ["a", "b", "c"] {
            assert_holds(&lab.local().join(name), &content);
            std::fs::remove_file(lab.local().join(name)).expect("removed");
        }
    }
}

/// A server behind the SSH host names an address that the client cannot reach: the client has to keep to the one that it knows.
#[test]
fn passive_behind_the_ssh_host_for_clients_that_ignore_the_named_address() {
    let lab = Lab::with(Place::Behind, &[], &["--passive-ports", "50000-50001"]);
    let content = write(&lab.served().join("file"), 1_000_000);
    let control = format!("2121:10.98.2.2:{}", lab.ftp.port);
    let arguments = ["-L", &control, "-L", "50000:10.98.2.2:50000", "-L", "50001:10.98.2.2:50001"];
    let _ssh = Forwardings::start(&lab, &arguments);
    let curl = |options: &[&str]| {
        let mut curl = lab.program("curl", "curl");
        curl.args(["-sS", "--max-time", "60", "--connect-timeout", "5", "-o", "got"]).args(options);
        curl.arg("ftp://127.0.0.1:2121/file");
        curl
    };
    for options in [&["--disable-epsv"][..], &[]] {
        lab.run(curl(options), succeed);
        assert_holds(&lab.local().join("got"), &content);
        std::fs::remove_file(lab.local().join("got")).expect("removed");
    }
    lab.run(curl(&["--disable-epsv", "--no-ftp-skip-pasv-ip"]), fail);
}

/// Active, where the client's data port is always the same and forwarded back.
#[test]
fn active_where_one_port_is_forwarded_back() {
    let lab = Lab::new(Place::SshHost);
    let content = write(&lab.served().join("file"), 1_000_000);
    let control = format!("2121:127.0.0.1:{}", lab.ftp.port);
    let _ssh = Forwardings::start(&lab, &["-L", &control, "-R", "127.0.0.1:40000:127.0.0.1:40000"]);
    for options in [&["--disable-eprt"][..], &[]] {
        let mut curl = lab.program("curl", "curl");
        curl.args(["-sS", "--max-time", "60", "-o", "got", "--ftp-port", "127.0.0.1:40000"]).args(options);
        curl.arg("ftp://127.0.0.1:2121/file");
        lab.run(curl, succeed);
        assert_holds(&lab.local().join("got"), &content);
        std::fs::remove_file(lab.local().join("got")).expect("removed");
    }
}
