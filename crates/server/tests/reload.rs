//! SIGHUP: what can change does, what cannot is said, a fault changes nothing, and nobody who is there is disturbed.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use raw::process::Opened;
use raw::waiting::until;
use raw::{Client, read_all};
use support::server::Server;
use support::tree;
use tempfile::TempDir;

/// The hash of "secret", by parameters that cost next to nothing.
const HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$+c6q23sQwLpOH1shdbgrn6Ho39DyRbsdY34ab5ZO+fs";

/// More than the buffers of both sides of a connection hold.
const LARGE_BYTES: u64 = 64 << 20;

/// A server with a configuration that a test changes.
struct Site {
    server: Server,
    config: PathBuf,
    served: PathBuf,
    reloads: usize,
    _scratch: TempDir,
}

impl Site {
    fn new(config: &str) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let served = scratch.path().join("served");
        tree::write(&served, "file".as_ref(), b"contents");
        File::create(served.join("large")).and_then(|file| file.set_len(LARGE_BYTES)).expect("a sparse file");
        let file = scratch.path().join("ringftpd.toml");
        fs::write(&file, config).expect("a configuration");
        let path = file.to_str().expect("a temporary path is text");
        let server = Server::start(&served, &["--config", path]);
        Self { server, config: file, served, reloads: 0, _scratch: scratch }
    }

    fn write(&self, config: &str) {
        fs::write(&self.config, config).expect("a configuration");
    }

    /// Changes the configuration, and waits until it holds.
    fn reload(&mut self, config: &str) {
        self.write(config);
        self.reload_again();
    }

    fn reload_again(&mut self) {
        self.reloads += 1;
        self.server.signal(Signal::SIGHUP);
        self.server.logs("configuration reloaded", self.reloads);
    }
}

fn account(name: &str, more: &str) -> String {
    format!("[[accounts]]\nname = \"{name}\"\npassword_hash = \"{HASH}\"\n{more}\n")
}

fn logs_in(server: &Server, user: &str, code: u16) -> Client {
    let mut client = Client::connect(server.address());
    client.says(format!("USER {user}"), 331);
    client.says("PASS secret", code);
    client
}

#[test]
fn newcomers_find_the_new_configuration() {
    let mut site = Site::new(&format!(
        "banner = \"old\"\n{}{}",
        account("camera", "rights = \"reader\""),
        account("leaver", "")
    ));
    let mut camera = logs_in(&site.server, "camera", 230);
    let mut leaver = logs_in(&site.server, "leaver", 230);
    camera.says("MKD before", 550);

    site.reload(&format!(
        "banner = \"new\"\n{}{}",
        account("camera", "rights = \"writer\""),
        account("newcomer", "")
    ));
    let mut client = Client::connect_only(site.server.address(), None);
    assert_eq!(client.hears(220).text(), b"new");
    // A right that was given holds from the next login on, in the same session too.
    camera.says("MKD before", 550);
    logs_in(&site.server, "camera", 230).says("MKD after", 257);
    camera.says("USER camera", 331);
    camera.says("PASS secret", 230);
    camera.says("MKD again", 257);
    logs_in(&site.server, "newcomer", 230).quits();
    // Who is removed goes on, and does not come back.
    leaver.says("TYPE I", 200);
    assert_eq!(leaver.fetches("RETR file"), b"contents");
    logs_in(&site.server, "leaver", 530);
    leaver.says("USER leaver", 331);
    leaver.says("PASS secret", 530);
}

#[test]
fn transfers_in_flight_go_on() {
    let mut site = Site::new("[anonymous]\naccess = \"write\"\n");
    let mut down = Client::log_in(site.server.address());
    let mut sent = down.opens_data();
    down.says("RETR large", 150);
    let mut up = Client::log_in(site.server.address());
    let mut received = up.opens_data();
    up.says("STOR new", 150);
    received.write_all(b"before ").expect("the server takes it");
    // A lease that waits for its connection.
    let mut leases = Client::log_in(site.server.address());
    let leased = leases.leases();

    site.reload("[anonymous]\naccess = \"off\"\n[passive]\nadvertise = \"203.0.113.9\"\n");
    assert_eq!(read_all(&mut sent).len() as u64, LARGE_BYTES);
    down.hears(226);
    received.write_all(b"and after").expect("the server takes it");
    drop(received);
    up.hears(226);
    assert_eq!(fs::read(site.served.join("new")).expect("the upload"), b"before and after");

    let mut data = leases.connects_to(leased);
    leases.says("RETR file", 150);
    assert_eq!(read_all(&mut data), b"contents");
    leases.hears(226);
    // The next PASV of the same session goes by the new configuration.
    assert_eq!(leases.leases().ip(), Ipv4Addr::new(203, 0, 113, 9));
    logs_in(&site.server, "anonymous", 530);
}

#[test]
fn a_faulty_file_changes_nothing_and_says_why() {
    let good = "banner = \"good\"\n";
    let mut site = Site::new(good);
    let mut client = Client::log_in(site.server.address());
    let file = site.config.display().to_string();
    let faulty = [
        ("banner = \"bad\"\nbaner = 1\n", format!("{file}:2:1: baner: unknown key; did you mean banner?")),
        ("banner = \"bad\"\nworkers = \"two\"\n", format!("{file}:2:11: workers: a string where")),
        ("banner = \"bad\"\ndirectory = [", format!("{file}:2:")),
        (
            "banner = \"bad\"\n[anonymous]\nroot = \"/nowhere/at/all\"\n",
            String::from("anonymous.root: cannot serve /nowhere/at/all"),
        ),
    ];
    for (number, (text, said)) in faulty.iter().enumerate() {
        site.write(text);
        site.server.signal(Signal::SIGHUP);
        let line = site.server.logs("configuration not reloaded, nothing changes", number + 1);
        assert!(line.contains(said), "{said} in {line}");
    }
    fs::remove_file(&site.config).expect("removed");
    site.server.signal(Signal::SIGHUP);
    assert!(site.server.logs("nothing changes", faulty.len() + 1).contains("cannot be read"));
    fs::create_dir(&site.config).expect("a directory");
    site.server.signal(Signal::SIGHUP);
    assert!(site.server.logs("nothing changes", faulty.len() + 2).contains("is a directory"));
    fs::remove_dir(&site.config).expect("removed");
    File::create(&site.config).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    site.server.signal(Signal::SIGHUP);
    assert!(site.server.logs("nothing changes", faulty.len() + 3).contains("is larger than"));

    assert_eq!(client.fetches("RETR file"), b"contents");
    let mut newcomer = Client::connect_only(site.server.address(), None);
    assert_eq!(newcomer.hears(220).text(), b"good");
    site.reload("banner = \"better\"\n");
    let mut newcomer = Client::connect_only(site.server.address(), None);
    assert_eq!(newcomer.hears(220).text(), b"better");
}

#[test]
fn what_takes_a_restart_is_said_in_one_line() {
    let mut site = Site::new("");
    site.reload(
        "user = \"nobody\"\nbanner = \"new\"\n[passive]\nports = \"50000-50015\"\npeer = \"network\"\n[deadlines]\ndata_s = 600\n",
    );
    let line = site.server.logs("takes a restart", 1);
    assert!(line.contains("takes a restart: user, passive.ports, passive.peer, deadlines.data_s"), "{line}");
    // The rest has changed, and the ports are those that they were.
    let mut client = Client::connect_only(site.server.address(), None);
    assert_eq!(client.hears(220).text(), b"new");
    client.says("USER anonymous", 331);
    client.says("PASS x", 230);
    assert!(!(50000..=50015).contains(&client.leases().port()));
}

#[test]
fn the_users_file_is_read_again() {
    let mut site = Site::new("");
    let users = site.config.with_file_name("users.toml");
    fs::write(&users, account("alice", "")).expect("a users file");
    let config = "users_file = \"users.toml\"\n";
    site.reload(config);
    logs_in(&site.server, "alice", 230).quits();
    logs_in(&site.server, "bob", 530);
    fs::write(&users, account("bob", "")).expect("a users file");
    site.reload_again();
    logs_in(&site.server, "bob", 230).quits();
    logs_in(&site.server, "alice", 530);
    fs::write(&users, "[[accounts]]\nnam = \"bob\"\n").expect("a users file");
    site.server.signal(Signal::SIGHUP);
    let said = site.server.logs("users.toml:2:1: accounts[0].nam: unknown key; did you mean name?", 1);
    assert!(said.contains("nothing changes"), "{said}");
    logs_in(&site.server, "bob", 230).quits();
}

#[test]
fn counts_go_on() {
    let limited = account("camera", "sessions_max = 1");
    let mut site = Site::new(&limited);
    let camera = logs_in(&site.server, "camera", 230);
    // Also over a configuration without the account.
    site.reload("");
    site.reload(&limited);
    logs_in(&site.server, "camera", 530);
    camera.quits();
    until("the place is free", || {
        let mut client = Client::connect(site.server.address());
        client.says("USER camera", 331);
        client.sends("PASS secret\r\n");
        client.hears_any().code == 230
    });

    // A limit that is set while sessions are there counts them.
    let there = Client::connect(site.server.address());
    site.reload("[limits]\nsessions_per_address_max = 1\n");
    let full = |site: &Site| Client::connect_only(site.server.address(), None).hears_any().code == 421;
    assert!(full(&site));
    Client::log_in_from(Ipv4Addr::new(127, 0, 0, 9), site.server.address()).quits();
    there.quits();
    until("the place is free", || !full(&site));
    site.reload("[limits]\nlogin_failures_max = 2\nlogin_failure_delay_s = 0\n");
}

#[test]
fn failures_are_not_forgiven_by_a_reload() {
    let limits = "[limits]\nlogin_failures_max = 2\nlogin_failure_delay_s = 0\n";
    let mut site = Site::new(&format!("{limits}{}", account("camera", "")));
    for _ in 0..2 {
        let mut client = Client::connect(site.server.address());
        client.says("USER camera", 331);
        client.says("PASS guess", 530);
    }
    site.reload(&format!("{limits}{}", account("camera", "rights = \"writer\"")));
    logs_in(&site.server, "camera", 530);
    site.reload(&format!("[limits]\nlogin_failures_max = 3\n{}", account("camera", "")));
    logs_in(&site.server, "camera", 230);
}

#[test]
fn a_rate_changes_under_a_transfer() {
    // At this rate the transfer would take half an hour.
    let slow = "[limits]\ndownload_rate_total = \"32 KiB/s\"\nburst = \"16 KiB\"\n";
    let mut site = Site::new(slow);
    let mut client = Client::log_in(site.server.address());
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    data.read_exact(&mut [0; 1000]).expect("the first bytes");
    site.reload("");
    assert_eq!(read_all(&mut data).len() as u64, LARGE_BYTES - 1000);
    client.hears(226);
}

#[test]
fn an_idle_deadline_is_followed_with_the_next_command() {
    let mut site = Site::new("");
    let mut client = Client::log_in(site.server.address());
    site.reload("[deadlines]\nidle_s = 1\n");
    client.says("NOOP", 200);
    client.hears(421);
    client.hears_the_end();
}

#[test]
fn reloads_leave_nothing_behind() {
    let texts =
        ["banner = \"one\"\n", "[anonymous]\nroot = \"served\"\n[passive]\nadvertise = \"localhost\"\n"];
    let mut site = Site::new(texts[0]);
    // Sessions of every generation stay.
    let mut clients = Vec::new();
    let reload = |site: &mut Site, text: &str, clients: &mut Vec<Client>| {
        site.reload(text);
        let mut client = Client::log_in(site.server.address());
        assert_eq!(client.fetches("RETR file"), b"contents");
        clients.push(client);
    };
    let pid = site.server.pid();
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).expect("the server runs").count();
    let sockets = || Opened::by(pid, Path::new("/")).sockets;
    let at_first = sockets();
    reload(&mut site, texts[1], &mut clients);
    reload(&mut site, texts[0], &mut clients);
    clients.clear();
    until("the first sessions are over", || sockets() == at_first);
    let (descriptors, thread_count) = (site.server.descriptors(), threads());
    for _ in 0..10 {
        reload(&mut site, texts[1], &mut clients);
        reload(&mut site, texts[0], &mut clients);
    }
    for client in &mut clients {
        assert_eq!(client.fetches("RETR file"), b"contents");
    }
    clients.into_iter().for_each(Client::quits);
    until("all that the reloads opened is closed", || site.server.descriptors() <= descriptors);
    // Threads that wait for work stay a while, and are bounded.
    assert!(threads() <= thread_count + 4, "{} threads, and {thread_count} before", threads());
}

#[test]
fn a_root_that_was_replaced_is_what_the_next_login_sees() {
    let of_bob = account("bob", "root = \"bob\"");
    let mut site = Site::new(&account("alice", ""));
    let bobs = site.config.with_file_name("bob");
    tree::write(&bobs, "file".as_ref(), b"bob's");
    let mut alice = logs_in(&site.server, "alice", 230);
    site.reload(&of_bob);
    let descriptors = site.server.descriptors();
    // The same directory costs no descriptor more, although somebody is in it.
    let mut bob = logs_in(&site.server, "bob", 230);
    bob.says("TYPE I", 200);
    for _ in 0..3 {
        site.reload_again();
    }
    assert!(site.server.descriptors() <= descriptors + 1, "a control connection has come, and no root");
    fs::rename(&bobs, site.config.with_file_name("old")).expect("moved");
    tree::write(&bobs, "file".as_ref(), b"bob's new one");
    site.reload_again();
    assert_eq!(bob.fetches("RETR file"), b"bob's");
    let mut again = logs_in(&site.server, "bob", 230);
    again.says("TYPE I", 200);
    assert_eq!(again.fetches("RETR file"), b"bob's new one");
    alice.says("TYPE I", 200);
    assert_eq!(alice.fetches("RETR file"), b"contents");
}

#[test]
fn a_root_that_is_new_is_rid_of_leftovers() {
    let mut site = Site::new("");
    let drop_box = site.config.with_file_name("drop");
    let leftover = ".ringftpd-upload-0123456789abcdef";
    tree::write(&drop_box, leftover.as_ref(), b"half an upl");
    site.reload(&account("camera", "root = \"drop\"\nrights = \"uploader\""));
    until("it is swept", || !drop_box.join(leftover).exists());
}

#[test]
fn the_log_level_changes() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let config = scratch.path().join("ringftpd.toml");
    let write = |level: &str| {
        let text = format!(
            "directory = \".\"\nlisteners = [\"127.0.0.1:0\"]\nworkers = 2\n[log]\nformat = \"json\"\nlevel = \"{level}\"\n"
        );
        fs::write(&config, text).expect("a configuration");
    };
    write("info");
    // Without the flags of the other tests, which would win.
    let only_config = format!("exec \"$1\" serve --config {}", config.display());
    let server = Server::start_by(&["sh", "-c", &only_config, "sh"], scratch.path(), &[]);
    Client::log_in(server.address()).quits();
    write("debug");
    server.signal(Signal::SIGHUP);
    server.logs("configuration reloaded", 1);
    Client::log_in(server.address()).quits();
    let log = server.log().join("\n");
    assert_eq!(log.matches("\"line\":\"USER anonymous\"").count(), 1, "commands are logged since the reload");
    write("warn");
    server.signal(Signal::SIGHUP);
    // The line that says so is not logged any more; what it did is waited for by another reload.
    write("info");
    server.signal(Signal::SIGHUP);
    server.logs("configuration reloaded", 2);
}

#[test]
fn who_drains_reads_nothing_again() {
    let mut site = Site::new("");
    let mut client = Client::log_in(site.server.address());
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    site.server.signal(Signal::SIGTERM);
    site.server.logs("draining", 1);
    site.server.signal(Signal::SIGHUP);
    site.server.logs("not reloaded: the server is draining", 1);
    assert_eq!(read_all(&mut data).len() as u64, LARGE_BYTES);
    client.hears(226);
    assert!(site.server.wait().success());
}
