//! Configurations on this very machine: with a port that is taken, a directory that is not there, an address of nobody.
#![allow(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::net::{SocketAddr, TcpListener};

use config::{Config, Listener};
use doctor::{Finding, Level, Report, examine_config};
use nix::sys::resource::{Resource, getrlimit};

/// A configuration that holds on any machine: the loopback, ports of the kernel's choice, a directory that is there.
fn config(directory: &tempfile::TempDir) -> Config {
    let listeners = vec![Listener::at("127.0.0.1:0".parse().unwrap())];
    Config { directory: directory.path().to_owned(), listeners, ..Config::default() }
}

fn of<'r>(report: &'r Report, what: &str) -> &'r Finding {
    let found = report.findings.iter().find(|finding| finding.what.starts_with(what));
    found.unwrap_or_else(|| panic!("no finding of {what}:\n{report}"))
}

/// A listener of this test on a port of the kernel's choice.
fn taken() -> (TcpListener, SocketAddr) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    (taken, address)
}

#[test]
fn a_configuration_for_the_loopback_is_fine() {
    let directory = tempfile::tempdir().unwrap();
    let report = examine_config(&config(&directory));
    assert!(report.worst() <= Level::Note, "{report}");
    assert_eq!(report.exit_code(), 0);
    assert_eq!(of(&report, "directory").level, Level::Fine);
    assert_eq!(of(&report, "passive ports").level, Level::Fine);
}

#[test]
fn a_control_port_that_is_taken_is_told_with_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let (_taken, address) = taken();
    let listeners = vec![Listener::at(address)];
    let report = examine_config(&Config { listeners, ..config(&directory) });
    let finding = of(&report, "control port");
    assert_eq!(finding.level, Level::Problem, "{report}");
    assert!(finding.why.contains(&format!("(process {})", std::process::id())), "{finding}");
    assert_eq!(report.exit_code(), 4);
}

#[test]
fn passive_ports_that_are_taken_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let (_taken, address) = taken();
    let mut config = config(&directory);
    config.passive.ports = Some(address.port().to_string().parse().unwrap());
    let report = examine_config(&config);
    let finding = of(&report, "passive range");
    assert_eq!(finding.level, Level::Problem, "{report}");
    assert!(finding.why.contains("Not one port is left"), "{finding}");
    assert!(
        finding.why.contains(&format!("(process {}) has {}.", std::process::id(), address.port())),
        "{finding}"
    );
}

#[test]
fn an_address_of_another_machine_cannot_be_listened_on() {
    let directory = tempfile::tempdir().unwrap();
    let listeners = vec![Listener::at("198.51.100.77:0".parse().unwrap())];
    let report = examine_config(&Config { listeners, ..config(&directory) });
    let finding = of(&report, "control port");
    assert_eq!(finding.level, Level::Problem, "{report}");
    assert!(finding.mend.as_ref().unwrap().contains("127.0.0.1"), "{finding}");
}

#[test]
fn what_every_client_of_the_outside_would_meet_with_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let listeners = vec![Listener::at("0.0.0.0:0".parse().unwrap())];
    let mut config = Config { listeners, ..config(&directory) };
    config.passive.advertise = config::Advertise::everywhere("127.0.0.1".parse().unwrap());
    let report = examine_config(&config);
    assert_eq!(of(&report, "passive ports").level, Level::Warning, "{report}");
    assert_eq!(of(&report, "advertised address 127.0.0.1").level, Level::Problem, "{report}");
}

#[test]
fn a_name_that_is_nobodys_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let listeners = vec![Listener::at("0.0.0.0:0".parse().unwrap())];
    let mut config = Config { listeners, ..config(&directory) };
    config.passive.advertise = config::Advertise::everywhere("ftp.name.invalid".parse().unwrap());
    let finding = of(&examine_config(&config), "advertised address ftp.name.invalid").clone();
    assert_eq!(finding.level, Level::Problem);
    assert!(finding.why.contains("cannot be resolved"), "{finding}");
}

#[test]
fn a_range_larger_than_the_descriptors_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(&directory);
    let (_, descriptors_max) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let hosts = u8::try_from(descriptors_max / 64_512 + 1).unwrap_or(u8::MAX);
    config.listeners =
        (1..=hosts).map(|last| Listener::at(SocketAddr::from(([127, 0, 0, last], 0)))).collect();
    config.passive.ports = Some("1024-65535".parse().unwrap());
    let report = examine_config(&config);
    assert_eq!(of(&report, "file descriptors").level, Level::Problem, "{report}");
}
