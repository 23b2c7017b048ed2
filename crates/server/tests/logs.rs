//! The logs: what they say and never say, in both formats; the log of transfers; and what happens when nothing can be written.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use raw::waiting::until;
use raw::{Client, read_all};
use support::bare::Bare;
use support::page::Page;
use support::server::{Server, refusal};
use support::tree;
use tempfile::TempDir;

fn served() -> TempDir {
    let scratch = tempfile::tempdir().expect("a directory");
    tree::write(scratch.path(), "file".as_ref(), &[7; 1000]);
    scratch
}

/// A dialogue that tries to get its password and its control characters into the log.
fn mischief(server: SocketAddr) {
    let mut client = Client::connect(server);
    client.says(b"USER eve\x1b[31m\x07\xff\xffx", 331);
    client.says("PASS s3cret", 530);
    client.says("pass s3cret", 503);
    client.says(" PASS s3cret", 500);
    client.says("PASSs3cret", 500);
    client.says("USER anonymous", 331);
    client.says("PASS s3cret", 230);
    client.says(b"MKD a\x1b[31mb\x07\xc2\x9b", 257);
    client.says(b"SIZE a\x08\x0b", 550);
    client.stores(b"STOR new\x1b[1m\x0c", b"contents");
    assert_eq!(client.fetches(b"RETR new\x1b[1m\x0c"), b"contents");
    client.fetches("MLSD");
    client.is_refused(b"RETR no\x1bthing", 550);
    client.says("PORT 192,0,2,1,200,200", 501);
    client.quits();
    Client::connect(server).resets();
}

/// The lines of a log, once the server has ended.
fn lines_of(format: &str) -> Vec<String> {
    let served = served();
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("log");
    let log = File::create(&path).expect("a log");
    let server = Bare::start(served.path(), log, &["--log-level", "trace", "--log-format", format]);
    mischief(server.address);
    server.stop();
    let text = fs::read(&path).expect("the log");
    let is_raw = |byte: &u8| byte.is_ascii_control() && *byte != b'\n';
    assert!(!text.iter().any(is_raw), "{}", text.escape_ascii());
    let text = String::from_utf8(text).expect("a log is text");
    assert!(!text.contains('\u{9b}'), "{text}");
    assert!(!text.to_lowercase().contains("s3cret"), "{text}");
    text.lines().map(str::to_owned).collect()
}

/// What is said of the server and not of a session.
const NOT_OF_A_SESSION: [&str; 7] = [
    "metrics on http",
    "listening on ",
    "ready",
    "draining: ",
    "io_uring cannot be used",
    "this machine has no IPv6",
    "more workers than cores",
];

#[test]
fn json_lines_name_the_session_and_hide_what_they_must() {
    let lines = lines_of("json");
    assert!(lines.len() > 40, "{lines:?}");
    for line in lines {
        let event: serde_json::Value = serde_json::from_str(&line).expect("a line is JSON");
        let message = event["message"].as_str().expect("a message");
        let is_of_the_server = NOT_OF_A_SESSION.iter().any(|beginning| message.starts_with(beginning));
        assert!(is_of_the_server || event["session"].is_u64(), "{line}");
    }
}

#[test]
fn human_lines_name_the_session_and_hide_what_they_must() {
    let lines = lines_of("human");
    assert!(lines.len() > 40, "{lines:?}");
    for line in lines {
        let is_of_the_server = NOT_OF_A_SESSION.iter().any(|beginning| line.contains(beginning));
        assert!(is_of_the_server || line.contains("session="), "{line}");
    }
}

/// What an operator asks a log: who has done what, and what became of it.
#[test]
fn the_log_tells_how_each_transfer_ended_and_who_changed_what() {
    let served = served();
    File::create(served.path().join("large")).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("log");
    let log = File::create(&path).expect("a log");
    let server = Bare::start(served.path(), log, &["--log-format", "json"]);
    let mut client = Client::connect(server.address);
    client.says("USER eve", 331);
    client.says("PASS guess", 530);
    client.says("USER anonymous", 331);
    client.says("PASS guest", 230);

    client.fetches("RETR file");
    client.is_refused("RETR nothing", 550);
    client.stores("STOR whole", &[1; 10]);
    let mut stopped = client.opens_data();
    client.says("RETR large", 150);
    stopped.read_exact(&mut [0; 1000]).expect("the transfer has begun");
    client.says("ABOR", 426);
    client.hears(226);
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    data.read_exact(&mut [0; 1000]).expect("the transfer has begun");
    raw::reset(data);
    client.hears(426);
    client.says("MKD folder", 257);
    client.says("RNFR whole", 350);
    client.says("RNTO folder/moved", 250);
    client.says("SITE CHMOD 640 folder/moved", 200);
    client.says("MFMT 20260102030405 folder/moved", 213);
    client.says("DELE folder/moved", 250);
    client.is_refused("DELE folder/moved", 550);
    client.says("RMD folder", 250);
    // The bytes have come, and their client is gone before they have a name.
    let data = client.opens_data();
    client.says("STOR gone", 150);
    client.resets();
    drop(data);
    server.stop();

    let text = fs::read_to_string(&path).expect("the log");
    let told: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"))
        .filter(|event| event["session"].is_u64())
        .map(|event| {
            let word = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            let all = ["message", "user", "path", "to", "mode", "reason", "reply"].map(word);
            all.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    let expected = [
        "login refused eve refused",
        "sent anonymous /file",
        "received anonymous /whole",
        "transfer aborted anonymous /large",
        "transfer failed anonymous /large 426 The data connection was reset; transfer aborted.",
        "directory made anonymous /folder",
        "renamed anonymous /whole /folder/moved",
        "mode changed anonymous /folder/moved 0640",
        "time changed anonymous /folder/moved",
        "file deleted anonymous /folder/moved",
        "directory removed anonymous /folder",
        "transfer aborted anonymous /gone",
    ];
    assert_eq!(told, expected);
}

fn with_xferlog(served: &Path, xferlog: &Path) -> Server {
    let config = served.with_extension("toml");
    fs::write(&config, format!("log.xferlog = \"{}\"\n", xferlog.display())).expect("written");
    let config = config.display().to_string();
    Server::start(served, &["--anonymous", "write", "--metrics", "127.0.0.1:0", "--config", &config])
}

/// A folder to serve beside a folder for logs.
fn folders() -> (TempDir, std::path::PathBuf, std::path::PathBuf) {
    let scratch = tempfile::tempdir().expect("a directory");
    let [served, logs] = ["served", "logs"].map(|name| scratch.path().join(name));
    for folder in [&served, &logs] {
        fs::create_dir(folder).expect("a folder");
    }
    tree::write(&served, "a file".as_ref(), &[7; 1000]);
    (scratch, served, logs)
}

/// The words of a line behind its time, which is looked at, and the seconds.
fn words(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    assert_eq!(words.len(), 18, "{line}");
    assert!(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&words[0]), "{line}");
    assert!(words[5].parse::<u64>().expect("seconds") >= 1, "{line}");
    words[6..].to_vec()
}

#[test]
fn the_log_of_transfers_has_a_line_for_each_and_follows_rotation() {
    let (_scratch, served, logs) = folders();
    File::create(served.join("large")).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
    let path = logs.join("xferlog");
    let lines = |path: &Path| -> Vec<String> {
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    let server = with_xferlog(&served, &path);
    let mut client = Client::log_in(server.address());
    client.fetches("RETR a file");
    client.fetches("NLST");
    client.is_refused("RETR nothing", 550);
    client.stores("STOR new\tname", &[1; 10]);
    client.says("TYPE A", 200);
    client.fetches("RETR new\tname");
    client.says("TYPE I", 200);
    let mut aborted = client.opens_data();
    client.says("RETR large", 150);
    aborted.read_exact(&mut [0; 1000]).expect("the transfer has begun");
    client.says("ABOR", 426);
    client.hears(226);
    drop(aborted);
    until("four lines are written", || lines(&path).len() == 4);
    let written = lines(&path);
    let expected = [
        "127.0.0.1 1000 /a_file b _ o a anonymous ftp 0 * c",
        "127.0.0.1 10 /new_name b _ i a anonymous ftp 0 * c",
        "127.0.0.1 10 /new_name a _ o a anonymous ftp 0 * c",
    ];
    for (line, expected) in written.iter().zip(expected) {
        assert_eq!(words(line).join(" "), expected);
    }
    let cut = words(&written[3]);
    assert_eq!((cut[0], cut[2], cut[11]), ("127.0.0.1", "/large", "i"), "{cut:?}");

    fs::rename(&path, logs.join("xferlog.1")).expect("moved");
    client.stores("STOU", &[1; 5]);
    until("the log is begun anew", || lines(&path).len() == 1);
    let unique = lines(&path).remove(0);
    let name = words(&unique)[2].trim_start_matches('/').to_owned();
    assert_eq!(fs::read(served.join(&name)).expect("the file that was named").len(), 5, "{unique}");
    assert_eq!(lines(&logs.join("xferlog.1")), written);
    // What is left is written at the end.
    client.fetches("RETR a file");
    client.quits();
    server.stop();
    assert_eq!(lines(&path).len(), 2);
}

#[test]
fn a_log_of_transfers_that_cannot_be_opened_is_an_error_at_the_start() {
    let (_scratch, served, logs) = folders();
    let config = logs.join("a.toml");
    fs::write(&config, format!("log.xferlog = \"{}/none/xferlog\"\n", logs.display())).expect("written");
    let said = refusal(&served, &["--config", &config.display().to_string()]);
    assert!(said.contains("(log.xferlog): No such file or directory"), "{said}");
}

#[test]
fn a_full_disk_of_the_log_of_transfers_stops_no_transfer_and_is_told() {
    let (_scratch, served, _) = folders();
    let server = with_xferlog(&served, Path::new("/dev/full"));
    let mut client = Client::log_in(server.address());
    for _ in 0..3 {
        assert_eq!(client.fetches("RETR a file").len(), 1000);
    }
    let lost = "ringftpd_log_lines_lost_total{log=\"transfers\"}";
    until("the loss is counted", || Page::of(server.metrics()).value(lost) > 2.9);
    let told = |line: &&String| line.contains("the log of transfers cannot be written");
    assert_eq!(server.log().iter().filter(told).count(), 1);
    assert!(server.log().iter().find(told).expect("it was told").contains("No space left on device"));
    client.quits();
}

#[test]
fn a_full_disk_of_the_log_stops_nothing() {
    let served = served();
    let full = File::options().write(true).open("/dev/full").expect("a full device");
    let server = Bare::start(served.path(), full, &["--log-level", "debug"]);
    let mut client = Client::log_in(server.address);
    assert_eq!(client.fetches("RETR file").len(), 1000);
    let lost = "ringftpd_log_lines_lost_total{log=\"events\"}";
    until("the loss is counted", || Page::of(server.metrics).value(lost) > 0.9);
    client.stores("STOR new", &[1; 100_000]);
    client.quits();
    server.stop();
}

/// Whoever should read the log does not: the pipe is full soon.
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let served = served();
    let (unread, stderr) = std::io::pipe().expect("a pipe");
    let mut filler = stderr.try_clone().expect("a second end");
    nix::fcntl::fcntl(&filler, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).expect("set");
    while filler.write(&[b'\n'; 4096]).is_ok() {}
    nix::fcntl::fcntl(&filler, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).expect("set");
    let stderr = File::from(std::os::fd::OwnedFd::from(stderr));
    let server = Bare::start(served.path(), stderr, &["--log-level", "debug"]);
    let mut client = Client::log_in(server.address);
    let other = Client::connect_only(server.address, Some(Ipv4Addr::new(127, 0, 0, 8).into()));
    let mut data = client.opens_data();
    client.says("RETR file", 150);
    assert_eq!(read_all(&mut data).len(), 1000);
    client.hears(226);
    client.quits();
    drop(other);
    // The end waits a little for the log, and comes all the same.
    server.stop();
    drop(unread);
}
