//! The examples load, without a warning.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use config::{AnonymousAccess, Config, DataPeer, Sources, Warning};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples").join(name)
}

#[track_caller]
fn load(file: PathBuf) -> Config {
    let sources = Sources { file: Some(file), ..Sources::default() };
    let (config, warnings) = Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings, Vec::<Warning>::new());
    config
}

#[test]
fn a_public_mirror() {
    let config = load(example("public-mirror.toml"));
    assert_eq!(config.anonymous.access, AnonymousAccess::Read);
    assert_eq!(config.passive.ports.unwrap().count(), 64);
    assert_eq!(config.passive.peer, DataPeer::Exact);
}

#[test]
fn a_camera_drop_box() {
    let config = load(example("camera-drop-box.toml"));
    assert_eq!(config.anonymous.access, AnonymousAccess::Off);
    let names: Vec<&str> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["gate", "yard", "viewer"]);
    let told =
        |client: &str| config.passive.advertise.address_for(client.parse().unwrap()).unwrap().to_string();
    assert_eq!(told("192.168.1.77"), "192.168.1.10");
    assert_eq!(told("198.51.100.1"), "cameras.example.org");
}

/// Its accounts are a Secret, which only a cluster has: a file of that form stands in for it.
#[test]
fn kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(example("kubernetes.toml")).unwrap();
    let users = folder.path().join("users.toml");
    let accounts = "[[accounts]]\nname = \"a\"\npassword_hash = \"$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo\"\n";
    fs::write(&users, accounts).unwrap();
    let file = folder.path().join("ringftpd.toml");
    let beside = text.replace("/etc/ringftpd-accounts/users.toml", "users.toml");
    assert_ne!(beside, text);
    fs::write(&file, beside).unwrap();
    let config = load(file);
    assert_eq!(config.users_file, Some(users));
    assert_eq!(config.accounts.len(), 1);
    assert!(!config.active.enabled);
}

/// A file that nobody has a test for may be one that nobody can load.
#[test]
fn there_is_no_other_example() {
    let mut names: Vec<String> = fs::read_dir(example(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    assert_eq!(names, ["camera-drop-box.toml", "kubernetes.toml", "public-mirror.toml"]);
}
