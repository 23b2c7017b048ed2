//! Accounts of a configuration file: who gets in, to which root, with what rights, and how often somebody may fail.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use raw::Client;
use support::program::Program;
use support::server::Server;
use support::site::Site;
use support::tree;
use tempfile::TempDir;

/// A directory with a root for everybody, a root for a camera, and a configuration.
struct Accounts {
    server: Server,
    scratch: TempDir,
}

fn hash(password: &str) -> String {
    let output = hash_of_input(format!("{password}\n").as_bytes());
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("a hash is text").trim().to_owned()
}

/// What `ringftpd hash-password` makes of its standard input.
fn hash_of_input(standard_input: &[u8]) -> Output {
    let mut hasher = Command::new(env!("CARGO_BIN_EXE_ringftpd"))
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ringftpd starts");
    let mut input = hasher.stdin.take().expect("a pipe");
    // One that has read enough does not take the rest.
    let _ = input.write_all(standard_input);
    drop(input);
    hasher.wait_with_output().expect("ringftpd ends")
}

fn start(more: &str) -> Accounts {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let everybodys = scratch.path().join("everybodys");
    tree::write(&everybodys, "notice".as_ref(), b"for all");
    tree::write(&scratch.path().join("camera"), "settings".as_ref(), b"for the camera");
    let config = scratch.path().join("ringftpd.toml");
    let text = format!(
        "{more}\n[[accounts]]\nname = \"camera\"\npassword_hash = \"{}\"\nroot = \"camera\"\nrights = \"uploader\"\n\
         networks = [\"127.0.0.0/16\"]\nsessions_max = 2\n",
        hash("secret")
    );
    fs::write(&config, text).expect("the configuration is written");
    let server = Server::start(&everybodys, &["--config", path_text(&config)]);
    Accounts { server, scratch }
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a temporary path is text")
}

fn named(accounts: &Accounts) -> Client {
    let mut client = Client::connect(accounts.server.address());
    client.says("USER camera", 331);
    client.says("PASS secret", 230);
    client
}

/// Else it would be bounded how often an account logs in, and not how much it does at once.
#[test]
fn a_transfer_keeps_its_place_among_the_sessions_of_its_account() {
    let accounts = start("");
    let large = accounts.scratch.path().join("camera").join("large");
    fs::File::create(large).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
    let log_in_again = || {
        let mut client = Client::connect(accounts.server.address());
        client.says("USER camera", 331);
        client.sends("PASS secret\r\n");
        client.hears_any().code
    };
    let (mut first, _second) = (named(&accounts), named(&accounts));
    let mut data = first.opens_data();
    first.says("RETR large", 150);
    data.read_exact(&mut [0]).expect("the transfer has begun");
    first.says("REIN", 220);
    assert_ne!(log_in_again(), 230, "the transfer is the account's");
    drop(data);
    first.hears(426);
    assert_eq!(log_in_again(), 230);
}

#[test]
fn an_account_has_its_own_root_and_rights() {
    let accounts = start("");
    let mut camera = named(&accounts);
    camera.says("TYPE I", 200);
    camera.says("SIZE settings", 213);
    camera.says("SIZE notice", 550);
    camera.says("MKD pictures", 257);
    camera.says("DELE settings", 550);
    assert!(accounts.scratch.path().join("camera/pictures").is_dir());
    // Whoever logs in anew has the rights and the root of the new account.
    camera.says("USER anonymous", 331);
    camera.says("PASS x", 230);
    camera.says("SIZE notice", 213);
    camera.says("MKD pictures", 550);
}

#[test]
fn a_wrong_password_and_an_unknown_name_are_answered_alike() {
    let accounts = start("[limits]\nlogin_failure_delay_s = 1\n");
    for (user, password) in [("camera", "wrong"), ("nobody", "secret"), ("root", "")] {
        let mut client = Client::connect(accounts.server.address());
        client.says(format!("USER {user}"), 331);
        let asked = Instant::now();
        let refusal = client.says(format!("PASS {password}"), 530);
        assert_eq!(refusal.text(), b"Authentication failed.", "{user}");
        assert!(asked.elapsed() >= Duration::from_secs(1), "a failed login is answered late");
        client.says("PWD", 530);
    }
}

#[test]
fn sessions_and_networks_are_limited() {
    let accounts = start("");
    let first = named(&accounts);
    let _second = named(&accounts);
    let mut third = Client::connect(accounts.server.address());
    third.says("USER camera", 331);
    third.says("PASS secret", 530);
    drop(first);
    raw::waiting::until("a place is free", || {
        third.says("USER camera", 331);
        third.sends("PASS secret\r\n");
        third.hears_any().code == 230
    });
    let mut stranger =
        Client::connect_only(accounts.server.address(), Some(Ipv4Addr::new(127, 1, 0, 1).into()));
    stranger.hears(220);
    stranger.says("USER camera", 331);
    stranger.says("PASS secret", 530);
}

#[test]
fn a_full_account_refuses_late() {
    let accounts = start("[limits]\nlogin_failure_delay_s = 1\n[anonymous]\nsessions_max = 1\n");
    let first = Client::log_in(accounts.server.address());
    let mut second = Client::connect(accounts.server.address());
    second.says("USER anonymous", 331);
    let asked = Instant::now();
    second.says("PASS x", 530);
    assert!(asked.elapsed() >= Duration::from_secs(1));
    first.quits();
}

#[test]
fn whoever_fails_too_often_waits() {
    let accounts = start("[limits]\nlogin_failures_max = 2\nlogin_failure_delay_s = 0\n");
    for _ in 0..2 {
        let mut guesser = Client::connect(accounts.server.address());
        guesser.says("USER camera", 331);
        guesser.says("PASS guess", 530);
    }
    let mut waiting = Client::connect(accounts.server.address());
    waiting.says("USER camera", 331);
    waiting.says("PASS secret", 530);
    // Another address does not.
    let mut other = Client::connect_only(accounts.server.address(), Some(Ipv4Addr::new(127, 0, 0, 9).into()));
    other.hears(220);
    other.says("USER camera", 331);
    other.says("PASS secret", 230);
}

#[test]
fn an_address_has_as_many_sessions_as_it_may() {
    let accounts = start("[limits]\nsessions_per_address_max = 1\n");
    let first = Client::connect(accounts.server.address());
    let mut second = Client::connect_only(accounts.server.address(), None);
    second.hears(421);
    let mut other = Client::connect_only(accounts.server.address(), Some(Ipv4Addr::new(127, 0, 0, 9).into()));
    other.hears(220);
    drop(first);
    raw::waiting::until("the place is free", || {
        Client::connect_only(accounts.server.address(), None).hears_any().code == 220
    });
}

#[test]
fn each_right_permits_its_own_operation_and_no_other() {
    const RIGHTS: [&str; 10] = [
        "list",
        "download",
        "upload",
        "overwrite",
        "append",
        "delete",
        "rename",
        "make_directory",
        "set_times",
        "set_modes",
    ];
    let hash = hash("secret");
    // To replace a file or to add to it is to upload, too.
    let rights = |right: &str| match right {
        "overwrite" | "append" => format!("[\"upload\", \"{right}\"]"),
        right => format!("[\"{right}\"]"),
    };
    let accounts: String = RIGHTS
        .iter()
        .map(|right| {
            format!(
                "[[accounts]]\nname = \"{right}\"\npassword_hash = \"{hash}\"\nroot = \"{right}\"\nrights = {}\n",
                rights(right)
            )
        })
        .collect();
    let scratch = tempfile::tempdir().expect("a temporary directory");
    for right in RIGHTS {
        for file in ["file", "old", "log", "rubbish", "name"] {
            tree::write(&scratch.path().join(right), file.as_ref(), b"contents");
        }
    }
    let config = scratch.path().join("ringftpd.toml");
    fs::write(&config, accounts).expect("the configuration is written");
    let server = Server::start(scratch.path(), &["--config", path_text(&config)]);
    for right in RIGHTS {
        let mut client = Client::connect(server.address());
        client.says(format!("USER {right}"), 331);
        client.says("PASS secret", 230);
        client.says("TYPE I", 200);
        let mut uploads = |command: &str| {
            let passive = client.leases();
            client.sends(format!("{command}\r\n"));
            match client.hears_any().code {
                150 => {
                    drop(client.connects_to(passive));
                    client.hears(226);
                    true
                }
                550 | 553 => false,
                code => panic!("{right}: {command}: {code}"),
            }
        };
        let mut may = vec![
            ("upload", uploads("STOR new")),
            ("overwrite", uploads("STOR old")),
            ("append", uploads("APPE log")),
        ];
        let mut says = |commands: &[&str]| {
            let mut last = 0;
            for command in commands {
                client.sends(format!("{command}\r\n"));
                last = client.hears_any().code;
            }
            assert!((200..300).contains(&last) || last == 550, "{right}: {commands:?}: {last}");
            last != 550
        };
        may.extend([
            ("list", says(&["MLST file"])),
            ("download", says(&["HASH file"])),
            ("delete", says(&["DELE rubbish"])),
            ("make_directory", says(&["MKD folder"])),
            ("set_times", says(&["MFMT 20200101000000 file"])),
            ("set_modes", says(&["SITE CHMOD 600 file"])),
        ]);
        client.sends("RNFR name\r\n");
        let renames = client.hears_any().code == 350;
        may.push(("rename", renames));
        if renames {
            client.says("RNTO renamed", 250);
        }
        let permitted: Vec<&str> = may.iter().filter(|(_, may)| *may).map(|(name, _)| *name).collect();
        let expected = match right {
            "overwrite" | "append" => vec!["upload", right],
            right => vec![right],
        };
        assert_eq!(permitted, expected, "of an account with {right}");
    }
}

#[test]
fn an_account_has_rates_of_its_own() {
    let rates = "download_rate = \"1 MiB/s\"\nupload_rate = \"1 MiB/s\"\n";
    let limits = "[limits]\nburst = \"64 KiB\"\n";
    let account = format!(
        "{limits}[[accounts]]\nname = \"slow\"\npassword_hash = \"{}\"\nrights = \"writer\"\n{rates}",
        hash("secret")
    );
    let accounts = start(&account);
    let mut slow = Client::connect(accounts.server.address());
    slow.says("USER slow", 331);
    slow.says("PASS secret", 230);
    slow.says("TYPE I", 200);
    let began = Instant::now();
    slow.stores("STOR contents", &vec![7; 1 << 20]);
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(slow.fetches("RETR contents").len(), 1 << 20);
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
}

#[test]
fn the_right_password_from_the_wrong_place_is_answered_as_a_wrong_one() {
    let accounts = start("[limits]\nlogin_failure_delay_s = 1\nlogin_failures_max = 1\n");
    let stranger = || {
        let mut stranger =
            Client::connect_only(accounts.server.address(), Some(Ipv4Addr::new(127, 1, 0, 1).into()));
        stranger.hears(220);
        stranger.says("USER camera", 331);
        let asked = Instant::now();
        let refusal = stranger.says("PASS secret", 530);
        assert_eq!(refusal.text(), b"Authentication failed.");
        assert!(asked.elapsed() >= Duration::from_secs(1), "it is answered late");
    };
    stranger();
    // It counts as a failure; and who has to wait hears the same again.
    stranger();
}

#[test]
fn anonymous_from_elsewhere_is_refused_late() {
    let accounts = start("[limits]\nlogin_failure_delay_s = 1\n[anonymous]\nnetworks = [\"127.0.0.0/16\"]\n");
    let mut stranger =
        Client::connect_only(accounts.server.address(), Some(Ipv4Addr::new(127, 1, 0, 1).into()));
    stranger.hears(220);
    stranger.says("USER anonymous", 331);
    let asked = Instant::now();
    stranger.says("PASS x", 530);
    assert!(asked.elapsed() >= Duration::from_secs(1));
    Client::log_in(accounts.server.address()).quits();
}

#[test]
fn no_hash_is_made_of_what_is_no_password() {
    let refused = |input: &[u8]| {
        let output = hash_of_input(input);
        assert_eq!(output.status.code(), Some(1), "{}", input.escape_ascii());
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).expect("what it says is text")
    };
    assert!(refused(b"").contains("there is no password"));
    assert!(refused(b"\r\n").contains("there is no password"));
    assert!(refused(&[b'x'; 4097]).contains("more than 4096 bytes"));
    // The first line is the password, whatever bytes it has.
    assert!(hash_of_input(b"\xfc\xdf\nanother line\n").status.success());
    assert!(hash_of_input(&[b'x'; 4096]).status.success());
}

#[test]
fn a_password_is_asked_for_on_a_terminal_and_not_shown() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    // script(1) gives the program a terminal.
    let typed = format!("{} hash-password", env!("CARGO_BIN_EXE_ringftpd"));
    let shown = Program::new("script", "bsdutils", scratch.path(), scratch.path())
        .args(["-qec", &typed, "/dev/null"])
        .input("hunter2\n")
        .succeeds()
        .stdout;
    let prompt = shown.find("Password: ").expect("it asks");
    let hash = shown.find("$argon2id$v=19$m=19456,t=2,p=1$").expect("it prints the hash");
    assert!(prompt < hash, "{shown}");
    let hash = shown[hash..].split_whitespace().next().expect("a word");
    let config = scratch.path().join("ringftpd.toml");
    let account = format!("[[accounts]]\nname = \"camera\"\npassword_hash = \"{hash}\"\n");
    fs::write(&config, account).expect("the configuration is written");
    let server = Server::start(scratch.path(), &["--config", path_text(&config)]);
    let mut client = Client::connect(server.address());
    client.says("USER camera", 331);
    client.says("PASS hunter2", 230);
}

#[test]
fn no_password_is_ever_logged() {
    let accounts = start("");
    let mut client = named(&accounts);
    client.says("USER camera", 331);
    client.sends("pass hunter2\r\n");
    client.hears(530);
    client.quits();
    let log = accounts.server.log().join("\n");
    assert!(!log.contains("hunter2") && !log.contains("secret"), "{log}");
    assert!(log.contains("PASS ..."), "commands are logged at this level");
}

#[test]
fn a_drop_box_takes_new_files_and_shows_none() {
    let site = Site::new(&["--anonymous", "drop"], |served, _| {
        tree::write(served, "file".as_ref(), b"contents");
    });
    let mut client = Client::log_in(site.server.address());
    client.stores("STOR new", b"handed in");
    assert_eq!(fs::read(site.served.join("new")).expect("a file"), b"handed in");
    let commands = [
        "RETR new",
        "LIST",
        "NLST",
        "MLSD",
        "MLST new",
        "SIZE new",
        "STAT /",
        "HASH new",
        "STOR file",
        "APPE new",
    ];
    for command in commands {
        client.is_refused(command, 550);
    }
    for command in ["DELE new", "RNFR new", "MKD folder", "SITE CHMOD 777 new"] {
        client.says(command, 550);
    }
    assert_eq!(fs::read(site.served.join("file")).expect("a file"), b"contents");
}
