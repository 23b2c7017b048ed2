//! What cannot work, and what is said then.

use std::net::SocketAddr;

use tunnel::{TunnelError, TunnelOptions};

use crate::support::control::Control;
use crate::support::lab::{Lab, Place};

/// Starts a tunnel that must not start, and gives the error with its causes.
#[track_caller]
fn refusal(lab: &Lab, options: &TunnelOptions) -> (TunnelError, String) {
    let error = lab.start(options).expect_err("no tunnel");
    let text = error.to_string();
    (error, text)
}

#[test]
fn without_ssh() {
    let lab = Lab::new(Place::SshHost);
    let mut options = lab.options();
    options.ssh_program = "no-such-ssh".into();
    let (error, text) = refusal(&lab, &options);
    assert!(matches!(error, TunnelError::SshMissing(_)) && text.contains("openssh-client"), "{text}");
}

#[test]
fn what_ssh_says_is_passed_on() {
    let lab = Lab::new(Place::SshHost);
    let usual = lab.options();

    let mut options = usual.clone();
    options.ssh_options = lab.sshd.options_with("stranger_key", "known_hosts");
    let (error, text) = refusal(&lab, &options);
    assert!(
        matches!(error, TunnelError::NotConnected { .. }) && text.contains("Permission denied"),
        "{text}"
    );

    options.ssh_options = lab.sshd.options_with("user_key", "nobody_known");
    let (_, text) = refusal(&lab, &options);
    assert!(text.contains("Host key verification failed"), "{text}");

    options.ssh_options = [vec![String::from("Port=9")], lab.sshd.options()].concat();
    let (_, text) = refusal(&lab, &options);
    assert!(text.contains("Connection refused"), "{text}");

    options = usual.clone();
    options.ssh_host = String::from("203.0.113.1");
    let (_, text) = refusal(&lab, &options);
    assert!(text.contains("unreachable"), "{text}");

    options = usual.clone();
    options.ssh_options.push(String::from("NoSuchOption=yes"));
    let (_, text) = refusal(&lab, &options);
    assert!(text.to_lowercase().contains("nosuchoption"), "{text}");

    options = usual;
    options.ssh_host = String::from("-oProxyCommand=true");
    let (error, text) = refusal(&lab, &options);
    assert!(matches!(error, TunnelError::InvalidHost(_)), "{text}");
}

#[test]
fn an_address_that_cannot_be_listened_on() {
    let lab = Lab::new(Place::SshHost);
    let mut options = lab.options();
    options.listen = SocketAddr::from(([192, 0, 2, 1], 2121));
    let (error, text) = refusal(&lab, &options);
    assert!(matches!(error, TunnelError::Listen { .. }) && text.contains("192.0.2.1:2121"), "{text}");
}

#[test]
fn an_ftp_server_that_is_not_there() {
    let lab = Lab::new(Place::SshHost);
    let mut options = lab.options();
    options.server = "ftp://127.0.0.1:9".parse().expect("a server");
    let tunnel = lab.start(&options).expect("a tunnel");
    let (mut control, greeting) = Control::open(&lab, &tunnel);
    assert!(greeting.starts_with("421") && greeting.contains("Connection refused"), "{greeting}");
    assert_eq!(control.rest(), "");
}

#[test]
fn forwarding_is_switched_off() {
    let lab = Lab::with(Place::SshHost, &["AllowTcpForwarding no"], &[]);
    let tunnel = lab.tunnel();
    let (_, greeting) = Control::open(&lab, &tunnel);
    assert!(greeting.starts_with("421") && greeting.contains("administratively prohibited"), "{greeting}");
}

#[test]
fn only_local_forwarding_is_allowed() {
    let lab = Lab::with(Place::SshHost, &["AllowTcpForwarding local"], &[]);
    refuses_active(&lab);
}

#[test]
fn no_port_may_be_listened_on() {
    let lab = Lab::with(Place::SshHost, &["PermitListen none"], &[]);
    refuses_active(&lab);
}

#[track_caller]
fn refuses_active(lab: &Lab) {
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(lab, &tunnel);
    for command in ["PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51201|"] {
        let reply = control.expect(command, "425");
        assert!(reply.contains("forwarding"), "{reply}");
    }
    let data = control.passive(lab);
    control.expect("LIST", "150");
    drop(data);
    control.reply();
    control.expect("NOOP", "200");
}

#[test]
fn data_may_not_be_opened() {
    let lab = Lab::with(Place::SshHost, &["PermitOpen none"], &[]);
    let tunnel = lab.tunnel();
    let (_, greeting) = Control::open(&lab, &tunnel);
    assert!(greeting.starts_with("421") && greeting.contains("prohibited"), "{greeting}");
}

/// The port of control connections is open, those of data connections are not: the server waits in vain, and its 425 says
/// then what ssh said.
#[test]
fn only_control_connections_may_be_opened() {
    // The port is known only when the server runs, and sshd reads its configuration before; a rule of the key says it.
    let lab = Lab::with(Place::SshHost, &[], &["--data-timeout", "1"]);
    lab.sshd.restrict_key(&format!("permitopen=\"127.0.0.1:{}\"", lab.ftp.port));
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(&lab, &tunnel);
    let data = control.passive(&lab);
    control.send(b"LIST\r\n");
    let mut reply = control.reply();
    if reply.starts_with("150") {
        reply = control.reply();
    }
    assert!(reply.starts_with("425") && reply.contains("administratively prohibited"), "{reply}");
    drop(data);
}

#[test]
fn the_ssh_hosts_address_is_not_known() {
    let lab = Lab::new(Place::Behind);
    let mut options = lab.options();
    options.ssh_address = None;
    let tunnel = lab.start(&options).expect("a tunnel");
    let mut control = Control::log_in(&lab, &tunnel);
    let reply = control.expect("PORT 127,0,0,1,200,1", "425");
    assert!(reply.contains("ssh-address"), "{reply}");
    drop(control.passive(&lab));
}

/// Without `GatewayPorts` sshd listens on its loopback, and does not say so: the server is refused.
#[test]
fn gateway_ports_are_off() {
    let lab = Lab::with(Place::Behind, &["GatewayPorts no"], &[]);
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(&lab, &tunnel);
    control.expect("PORT 127,0,0,1,200,1", "200");
    control.send(b"LIST\r\n");
    let mut reply = control.reply();
    if reply.starts_with("150") {
        reply = control.reply();
    }
    assert!(reply.starts_with("425"), "{reply}");
}

#[test]
fn another_host_than_the_client() {
    let lab = Lab::new(Place::SshHost);
    let tunnel = lab.tunnel();
    let mut control = Control::log_in(&lab, &tunnel);
    for command in ["PORT 192,0,2,1,200,1", "EPRT |1|10.98.1.1|51201|", "EPRT |2|::1|51201|"] {
        control.expect(command, "504");
    }
    control.expect("EPRT |3|x|51201|", "522");
}
