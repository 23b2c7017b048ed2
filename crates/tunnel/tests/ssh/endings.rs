//! The end of a client, of the SSH connection, and of the tunnel: nothing is left behind.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tunnel::{TunnelError, TunnelOptions};

use crate::support::control::Control;
use crate::support::lab::{Lab, Place};
use crate::support::wait_until;

fn ssh_processes(lab: &Lab) -> usize {
    lab.client.processes().iter().filter(|name| name.trim() == "ssh").count()
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let lab = Lab::new(Place::SshHost);
    std::fs::File::create(lab.served().join("endless")).and_then(|file| file.set_len(1 << 40)).expect("made");
    let tunnel = lab.tunnel();
    let (local, remote) = (lab.client.listening(), lab.ssh_host.listening());
    let mut staying = Control::log_in(&lab, &tunnel);
    for setup in ["PASV", "EPSV", "PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51201|"] {
        let mut control = Control::log_in(&lab, &tunnel);
        control.expect(setup, "2");
        drop(control);
        wait_until("nothing is left", || {
            lab.client.listening() == local && lab.ssh_host.listening() == remote
        });
    }
    // In the middle of a transfer.
    let mut control = Control::log_in(&lab, &tunnel);
    let mut data = control.passive(&lab);
    control.expect("RETR endless", "150");
    data.read_exact(&mut [0; 100_000]).expect("some of it");
    drop((control, data));
    wait_until("the server has lost all five", || lab.ftp.said("ended session=") == 5);
    // The others do not notice.
    staying.expect("NOOP", "200");
    drop(staying.passive(&lab));
    staying.expect("QUIT", "221");
}

#[test]
fn stopping_ends_everything() {
    let lab = Lab::new(Place::SshHost);
    std::fs::File::create(lab.served().join("endless")).and_then(|file| file.set_len(1 << 40)).expect("made");
    let before = lab.ssh_host.listening();
    let tunnel = lab.tunnel();
    let mut idle = Control::log_in(&lab, &tunnel);
    idle.expect("PORT 127,0,0,1,200,1", "200");
    let mut busy = Control::log_in(&lab, &tunnel);
    let mut data = busy.passive(&lab);
    busy.expect("RETR endless", "150");
    data.read_exact(&mut [0; 100_000]).expect("some of it");
    assert_eq!(ssh_processes(&lab), 1);
    tunnel.stop_handle().stop();
    tunnel.wait().expect("a good end");
    assert_eq!(ssh_processes(&lab), 0);
    assert_eq!(lab.client.listening(), [""; 0]);
    assert_eq!(idle.rest(), "");
    wait_until("sshd has noticed", || lab.ssh_host.listening() == before);
}

#[test]
fn a_lost_connection_is_told_to_all() {
    let lab = Lab::new(Place::SshHost);
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(&lab, &tunnel);
    lab.sshd.cut_connections();
    let error = tunnel.wait().expect_err("lost");
    assert!(matches!(error, TunnelError::Lost { .. }), "{error}");
    let farewell = control.rest();
    assert!(farewell.starts_with("421") && farewell.contains("lost"), "{farewell:?}");
    assert_eq!(ssh_processes(&lab), 0);
    assert_eq!(lab.client.listening(), [""; 0]);
}

/// A process with a tunnel of its own: this test's program, told to run only the part below.
fn process(lab: &Lab) -> Child {
    let options = lab.options();
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", "endings::holds_a_tunnel", "--ignored", "--nocapture"]);
    command.env("TUNNEL_HOST", &options.ssh_host).env("TUNNEL_OPTIONS", options.ssh_options.join("\n"));
    command.env("TUNNEL_SERVER", format!("ftp://{}", options.server)).env("TMPDIR", lab.local());
    command.stdout(Stdio::null());
    let child = lab.client.enter(|| command.spawn()).expect("it starts");
    wait_until("it listens", || lab.client.listening().len() == 1);
    child
}

#[test]
#[ignore = "a part of other tests, which start it as a process"]
fn holds_a_tunnel() {
    let variable = |name| std::env::var(name).expect("set by another test");
    let server = variable("TUNNEL_SERVER").parse().expect("a server");
    let mut options =
        TunnelOptions::new(variable("TUNNEL_HOST"), "127.0.0.1:0".parse().expect("an address"), server);
    options.ssh_options = variable("TUNNEL_OPTIONS").lines().map(str::to_owned).collect();
    tunnel::run(&options).expect("a good end");
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a number")), signal).expect("it runs");
}

#[test]
fn signals_end_it_cleanly() {
    let lab = Lab::new(Place::SshHost);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut child = process(&lab);
        wait_until("its ssh runs", || ssh_processes(&lab) == 1);
        send(&child, signal);
        assert!(child.wait().expect("ours").success());
        assert_eq!(lab.client.processes(), [""; 0], "left running");
        assert_eq!(std::fs::read_dir(lab.local()).expect("a directory").count(), 0, "left on the disk");
    }
}

#[test]
fn a_killed_tunnel_leaves_nothing() {
    let lab = Lab::new(Place::SshHost);
    let mut child = process(&lab);
    wait_until("its ssh runs", || ssh_processes(&lab) == 1);
    send(&child, Signal::SIGKILL);
    child.wait().expect("ours");
    wait_until("the rest has ended", || lab.client.processes().is_empty());
    assert_eq!(std::fs::read_dir(lab.local()).expect("a directory").count(), 0, "left on the disk");
}
