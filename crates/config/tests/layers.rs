//! Flags over environment over file over defaults.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use config::{Config, LogLevel, Overrides, Seconds, Sources};

/// A configuration from a file, variables and flags.
fn load(text: &str, environment: &[(&str, &str)], overrides: Overrides) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, text).unwrap();
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let sources = Sources { file: Some(file), environment, overrides };
    Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}")).0
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let text = "directory = \"/file\"\n[deadlines]\nlogin_s = 11\nidle_s = 11\ndata_s = 11\n";
    let environment = [("RINGFTPD_DEADLINES_IDLE_S", "22"), ("RINGFTPD_DEADLINES_DATA_S", "22")];
    let overrides = Overrides { data_timeout: Seconds::new(33), ..Overrides::default() };
    let config = load(text, &environment, overrides);
    let deadlines = config.deadlines;
    let seconds =
        [deadlines.login_s, deadlines.idle_s, deadlines.data_s, deadlines.stall_s].map(Seconds::get);
    assert_eq!(seconds, [11, 22, 33, 300]);
    assert_eq!(config.directory, PathBuf::from("/file"));
}

#[test]
fn a_list_is_replaced_as_a_whole() {
    let text =
        "directory = \"/srv\"\n[[listeners]]\naddress = \"[::]:1\"\n[[listeners]]\naddress = \"[::]:1\"\n";
    let environment = [("RINGFTPD_LISTENERS", "0.0.0.0:2, 0.0.0.0:3"), ("RINGFTPD_FXP_NETWORKS", "")];
    let config = load(text, &environment, Overrides::default());
    let addresses: Vec<String> =
        config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["0.0.0.0:2", "0.0.0.0:3"]);
    assert!(config.fxp.networks.is_empty());
}

#[test]
fn every_flag_arrives() {
    let overrides = Overrides {
        directory: Some(PathBuf::from("relative")),
        listen: Some(vec!["127.0.0.1:0".parse().unwrap()]),
        user: Some(String::from("ftp")),
        workers: "3".parse().ok(),
        runtime: "epoll".parse().ok(),
        passive_ports: "50000-50001".parse().ok(),
        advertise: "ftp.example.org".parse().ok(),
        anonymous: "upload".parse().ok(),
        login_timeout: Seconds::new(1),
        idle_timeout: Seconds::new(2),
        data_timeout: Seconds::new(3),
        stall_timeout: Seconds::new(4),
        log_format: "json".parse().ok(),
        log_level: "debug".parse().ok(),
        metrics: "127.0.0.1:9121".parse().ok(),
    };
    let config = load("directory = \"/srv\"", &[], overrides);
    let expected = "\
        directory = \"relative\"\nuser = \"ftp\"\nworkers = 3\nruntime = \"epoll\"\n\
        listeners = [\"127.0.0.1:0\"]\n\
        [passive]\nports = \"50000-50001\"\nadvertise = \"ftp.example.org\"\n\
        [anonymous]\naccess = \"upload\"\n\
        [deadlines]\nlogin_s = 1\nidle_s = 2\ndata_s = 3\nstall_s = 4\n\
        [log]\nformat = \"json\"\nlevel = \"debug\"\n\
        [metrics]\naddress = \"127.0.0.1:9121\"\n";
    let mut written = load(expected, &[], Overrides::default());
    written.directory = PathBuf::from("relative");
    assert_eq!(config, written);
    assert_eq!(config.log.level, LogLevel::Debug);
}

#[test]
fn the_environment_can_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, "directory = \"beside\"").unwrap();
    let environment = vec![("RINGFTPD_CONFIG".into(), file.into())];
    let (config, _) = Config::load(&Sources { environment, ..Sources::default() }).unwrap();
    assert_eq!(config.directory, folder.path().join("beside"));
}

#[test]
fn without_a_file_a_directory_is_enough() {
    let overrides = Overrides { directory: Some(PathBuf::from("/srv")), ..Overrides::default() };
    let (config, warnings) = Config::load(&Sources { overrides, ..Sources::default() }).unwrap();
    assert_eq!(config, Config { directory: PathBuf::from("/srv"), ..Config::default() });
    assert!(warnings.is_empty());
}
