//! Nothing is lost: an upload is published whole or not at all, and what it was to replace stays until then.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use raw::file_system::TemporaryFileSystem;
use raw::process::Opened;
use raw::waiting::until;
use raw::{Client, read_all, read_until_closed, reset};
use support::server::Server;
use support::site::Site;
use support::tree::{self, random_bytes};

/// More than the sockets of a connection hold: once it is written, the server has received some of it.
const MUCH: usize = 16 << 20;

fn old_contents() -> Vec<u8> {
    random_bytes(1, 300_000)
}

/// A site with a file `old`.
fn site() -> Site {
    Site::new(&["--anonymous", "write"], |served, _| {
        tree::write(served, "old".as_ref(), &old_contents());
        tree::write(served, "folder/beside".as_ref(), b"beside");
    })
}

fn client_of(site: &Site) -> Client {
    Client::log_in(site.server.address())
}

/// An upload to `name` of which the server has received a part.
fn begins_upload(client: &mut Client, command: &str) -> TcpStream {
    let mut data = client.opens_data();
    client.says(command, 150);
    data.write_all(&vec![b'n'; MUCH]).expect("the server takes data");
    data
}

/// Waits until the server has let go of every client and its file.
#[track_caller]
fn all_is_closed(site: &Site, idle: Opened) {
    until("the session is gone", || Opened::by(site.server.pid(), &site.served) == idle);
}

#[test]
fn a_reset_data_connection_publishes_nothing() {
    let site = site();
    let before = tree::read(&site.served);
    let mut client = client_of(&site);
    for command in ["STOR old", "STOR new", "STOU", "STOU new"] {
        let data = begins_upload(&mut client, command);
        reset(data);
        client.hears(426);
        assert_eq!(tree::read(&site.served), before, "after {command}");
    }
    client.quits();
}

#[test]
fn a_client_that_is_gone_publishes_nothing() {
    let site = site();
    let before = tree::read(&site.served);
    let idle = Opened::by(site.server.pid(), &site.served);
    for (command, with_reset) in
        [("STOR old", false), ("STOR old", true), ("STOR new", false), ("STOU", true)].repeat(5)
    {
        let mut client = client_of(&site);
        let data = begins_upload(&mut client, command);
        // Both ends look as if they were meant. Of a process that is killed they may come in either order, as the test
        // with curl has it; here the control connection goes first.
        if with_reset {
            client.resets();
        } else {
            drop(client);
        }
        drop(data);
        all_is_closed(&site, idle);
        assert_eq!(tree::read(&site.served), before, "after {command}");
    }
}

#[test]
fn a_client_that_is_killed_publishes_nothing() {
    let site = site();
    let before = tree::read(&site.served);
    let idle = Opened::by(site.server.pid(), &site.served);
    for round in 1..=20 {
        let mut curl = Command::new("curl")
            .args(["--silent", "--upload-file", "-", &site.server.url("old")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("curl is installed (apt-get install curl)");
        let mut input = curl.stdin.take().expect("a pipe");
        input.write_all(&vec![b'n'; MUCH]).expect("curl takes data");
        assert_eq!(site.server.commands_seen("STOR old"), round);
        curl.kill().expect("curl runs");
        curl.wait().expect("curl is ours");
        all_is_closed(&site, idle);
        assert_eq!(tree::read(&site.served), before);
    }
}

#[test]
fn a_server_that_is_killed_leaves_nothing() {
    let Site { server, served, .. } = &mut site();
    let before = tree::read(served);
    let mut uploads = Vec::new();
    for command in ["STOR old", "STOR new", "STOU", "STOR folder/new"] {
        let mut client = Client::log_in(server.address());
        let data = begins_upload(&mut client, command);
        uploads.push((client, data));
    }
    let restarted = Server::start(served, &["--anonymous", "write"]);
    std::mem::replace(server, restarted).kill();
    // On file systems that know files without a name there is nothing to clear away. Another start would do it.
    let restarted = Server::start(served, &["--anonymous", "write"]);
    std::mem::replace(server, restarted).stop();
    assert_eq!(tree::read(served), before);
    assert_eq!(Client::log_in(server.address()).fetches("RETR old"), old_contents());
}

#[test]
fn a_start_clears_away_what_an_earlier_one_left() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let served = scratch.path();
    tree::write(served, "folder/file".as_ref(), b"kept");
    tree::write(served, ".ringftpd-upload-mine".as_ref(), b"kept: not a name that the server gives");
    let before = tree::read(served);
    for leftover in [".ringftpd-upload-0123456789abcdef", "folder/.ringftpd-upload-fedcba9876543210"] {
        tree::write(served, leftover.as_ref(), b"half an upl");
    }
    drop(Server::start(served, &["--anonymous", "upload"]));
    assert_eq!(tree::read(served), before);
}

#[test]
fn the_old_file_is_there_until_the_new_one_is_whole() {
    let site = site();
    let (mut writer, mut reader) = (client_of(&site), client_of(&site));
    let mut data = begins_upload(&mut writer, "STOR old");
    assert_eq!(reader.fetches("RETR old"), old_contents());
    assert_eq!(reader.says("SIZE old", 213).text(), b"300000");
    assert_eq!(reader.fetches("NLST"), b"folder\r\nold\r\n");
    assert_eq!(reader.fetches("NLST -a"), b"folder\r\nold\r\n");
    data.write_all(b"end").expect("data");
    drop(data);
    writer.hears(226);
    let new = fs::read(site.served.join("old")).expect("a file");
    assert_eq!((new.len(), &new[MUCH..]), (MUCH + 3, &b"end"[..]));
    assert!(reader.fetches("RETR old") == new);
}

#[test]
fn a_download_is_of_one_file_while_that_is_replaced() {
    let old = random_bytes(7, MUCH);
    let site = Site::new(&["--anonymous", "write"], |served, _| tree::write(served, "file".as_ref(), &old));
    let (mut writer, mut reader) = (client_of(&site), client_of(&site));
    let mut data = reader.opens_data();
    reader.says("RETR file", 150);
    let mut received = vec![0; 1];
    data.read_exact(&mut received).expect("the first byte");
    writer.stores("STOR file", b"another");
    writer.says("DELE file", 250);
    received.extend(read_all(&mut data));
    reader.hears(226);
    assert!(received == old, "what was sent is the old file, whole");
}

#[test]
fn a_file_that_changes_its_size_while_it_is_sent_is_no_trap() {
    let site = Site::new(&[], |served, _| {
        for name in ["shrinks", "grows"] {
            File::create(served.join(name)).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
        }
    });
    let mut client = client_of(&site);
    let changed = |name: &str, bytes: u64| {
        let file = File::options().write(true).open(site.served.join(name)).expect("a file");
        file.set_len(bytes).expect("another size");
    };
    let mut data = client.opens_data();
    client.says("RETR shrinks", 150);
    data.read_exact(&mut [0; 1]).expect("the first byte");
    changed("shrinks", 1000);
    assert!(read_until_closed(&mut data) < 64 << 20);
    client.hears(451);

    let mut data = client.opens_data();
    client.says("RETR grows", 150);
    data.read_exact(&mut [0; 1]).expect("the first byte");
    changed("grows", 65 << 20);
    assert_eq!(read_all(&mut data).len(), (64 << 20) - 1, "as many bytes as were promised");
    client.hears(226);
}

#[test]
fn what_is_there_stays_under_appe_and_restart() {
    let site = site();
    let old = old_contents();
    let path = site.served.join("old");
    let mut client = client_of(&site);
    client.stores("APPE old", b" and more");
    assert!(fs::read(&path).expect("a file") == [&old[..], b" and more"].concat());
    client.says("REST 300000", 350);
    client.stores("STOR old", b"+");
    assert!(
        fs::read(&path).expect("a file") == [&old[..], b"+and more"].concat(),
        "what stands beyond stays too"
    );
    client.stores("APPE new", b"made");
    assert_eq!(fs::read(site.served.join("new")).expect("a file"), b"made");

    // Broken off, they keep what was there, and what came: that is what a client resumes from.
    for (command, kept) in [("APPE old", 300_009), ("STOR old", 200_000)] {
        let mut client = client_of(&site);
        let before = fs::read(&path).expect("a file");
        if command == "STOR old" {
            client.says(format!("REST {kept}"), 350);
        }
        let data = begins_upload(&mut client, command);
        reset(data);
        client.hears(426);
        let after = fs::read(&path).expect("a file");
        assert!(after.len() > kept && after[..kept] == before[..kept], "{command} keeps what was there");
        let size = client.says("SIZE old", 213);
        assert_eq!(size.text(), after.len().to_string().as_bytes());
    }
}

#[test]
fn of_many_uploads_of_one_name_one_wins_whole() {
    const WRITERS: u64 = 8;
    let site = site();
    let contents = |writer: u64| random_bytes(100 + writer, 1_000_000);
    let mut uploads: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let mut client = client_of(&site);
            let mut data = client.opens_data();
            client.says("STOR old", 150);
            data.write_all(&contents(writer)[..500_000]).expect("data");
            (writer, client, data)
        })
        .collect();
    for (writer, _, data) in &mut uploads {
        data.write_all(&contents(*writer)[500_000..]).expect("data");
    }
    let clients: Vec<_> = uploads.into_iter().map(|(_, client, _)| client).collect();
    for mut client in clients {
        client.hears(226);
    }
    let won = fs::read(site.served.join("old")).expect("a file");
    assert!((0..WRITERS).any(|writer| contents(writer) == won), "the file is none of those that were stored");
    assert_eq!(tree::read(&site.served).len(), 3);
}

#[test]
fn bytes_are_the_same_in_both_directions() {
    let site = site();
    let mut client = client_of(&site);
    for (seed, length) in
        (10..).zip([0, 1, 4095, 4096, 65_535, 65_536, 65_537, (1 << 20) - 1, 1 << 20, (5 << 20) + 17])
    {
        let contents = random_bytes(seed, length);
        client.stores("STOR file", &contents);
        // 226 was heard: everything is there now, not soon.
        assert!(fs::read(site.served.join("file")).expect("a file") == contents, "{length} bytes up");
        assert!(client.fetches("RETR file") == contents, "{length} bytes down");
    }
}

/// Letters, CR and LF in every order, with runs of each, and pairs across every boundary of a power of two.
fn text_of_all_line_ends(seed: u64) -> Vec<u8> {
    let mut text: Vec<u8> = random_bytes(seed, (1 << 20) + 3)
        .into_iter()
        .map(|byte| match byte % 8 {
            0..=2 => b'\r',
            3..=4 => b'\n',
            _ => b'a' + byte % 26,
        })
        .collect();
    for boundary in (9..20).map(|bits| 1 << bits) {
        for multiple in (boundary..text.len() - 1).step_by(boundary) {
            text[multiple - 1] = b'\r';
            text[multiple] = if (multiple / boundary) % 3 == 0 { b'x' } else { b'\n' };
        }
    }
    text
}

/// From the network to the file: CRLF becomes LF, and whatever else there is stays.
fn stored(text: &[u8]) -> Vec<u8> {
    let is_end = |at: usize| text[at] == b'\r' && text.get(at + 1) == Some(&b'\n');
    (0..text.len()).filter(|&at| !is_end(at)).map(|at| text[at]).collect()
}

/// From the file to the network: an LF that no CR precedes becomes CRLF.
fn sent(text: &[u8]) -> Vec<u8> {
    let mut network = Vec::new();
    for (at, &byte) in text.iter().enumerate() {
        if byte == b'\n' && (at == 0 || text[at - 1] != b'\r') {
            network.push(b'\r');
        }
        network.push(byte);
    }
    network
}

#[test]
fn line_ends_are_converted_exactly() {
    let site = site();
    let mut client = client_of(&site);
    client.says("TYPE A", 200);
    let texts = [
        Vec::new(),
        b"\n".to_vec(),
        b"\r".to_vec(),
        b"\r\n".to_vec(),
        b"\r\r\n\n\r".to_vec(),
        text_of_all_line_ends(1),
        text_of_all_line_ends(2),
    ];
    for text in texts {
        fs::write(site.served.join("file"), &text).expect("a file");
        assert!(client.fetches("RETR file") == sent(&text), "of {} bytes", text.len());
        client.stores("STOR file", &text);
        assert!(
            fs::read(site.served.join("file")).expect("a file") == stored(&text),
            "of {} bytes",
            text.len()
        );
    }
    // Cut at every place by the network.
    let text = b"a\r\nb\rc\nd\r\r\n\r";
    let mut data = client.opens_data();
    client.says("STOR file", 150);
    for byte in text {
        data.write_all(&[*byte]).expect("data");
    }
    drop(data);
    client.hears(226);
    assert_eq!(fs::read(site.served.join("file")).expect("a file"), stored(text));
}

/// A server on a file system of 1 MiB. What is served goes after the server, and before the directory.
struct SmallDisk {
    server: Server,
    served: PathBuf,
    disk: TemporaryFileSystem,
    _scratch: TempDir,
}

impl SmallDisk {
    fn new(prepare: impl FnOnce(&Path, &TemporaryFileSystem)) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let served = scratch.path().join("served");
        fs::create_dir(&served).expect("a directory");
        let disk = TemporaryFileSystem::mount(&served, "1m");
        tree::write(&served, "old".as_ref(), &old_contents());
        prepare(&served, &disk);
        let server = Server::start(&served, &["--anonymous", "write"]);
        Self { server, served, disk, _scratch: scratch }
    }
}

/// Sends more than the disk takes: the server breaks off at some point, and what is written then is lost.
fn overfills(client: &mut Client, command: &str) {
    let mut data = client.opens_data();
    client.says(command, 150);
    while data.write_all(&[b'n'; 64 * 1024]).is_ok() {}
    client.hears(452);
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let site = SmallDisk::new(|_, _| {});
    let before = tree::read(&site.served);
    let mut client = Client::log_in(site.server.address());
    for transfer_type in ["TYPE I", "TYPE A"] {
        client.says(transfer_type, 200);
        for command in ["STOR old", "STOR new", "STOU"] {
            overfills(&mut client, command);
            assert_eq!(tree::read(&site.served), before, "after {command} in {transfer_type}");
        }
    }
    client.says("ALLO 1000000000", 200);
    client.is_refused("STOR new", 452);
    // The space that was taken is free again.
    client.says("TYPE I", 200);
    client.stores("STOR new", &random_bytes(2, 500_000));
    client.says("DELE new", 250);
    overfills(&mut client, "APPE old");
    assert!(fs::read(site.served.join("old")).expect("a file").starts_with(&old_contents()));
    // What was appended stays, and so there is no room even for a small successor until something goes.
    overfills(&mut client, "STOR old");
    assert!(fs::read(site.served.join("old")).expect("a file").starts_with(&old_contents()));
    client.says("DELE old", 250);
    client.stores("STOR old", b"small");
    client.quits();
}

#[test]
fn a_read_only_file_system_is_served() {
    let site = SmallDisk::new(|served, disk| {
        fs::create_dir(served.join("empty")).expect("a folder");
        disk.becomes_read_only();
    });
    let mut client = Client::log_in(site.server.address());
    for command in ["STOR old", "STOR new", "APPE old", "STOU"] {
        client.is_refused(command, 550);
    }
    for command in ["DELE old", "RMD empty", "MKD new", "SITE CHMOD 777 old", "MFMT 20200101000000 old"] {
        client.says(command, 550);
    }
    client.says("RNFR old", 350);
    client.says("RNTO new", 550);
    assert_eq!(client.fetches("RETR old"), old_contents());
    assert!(site.disk.is_mounted());
}

/// Runs a program as somebody who owns nothing.
const AS_NOBODY: [&str; 6] = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

#[test]
fn what_the_servers_user_may_not_do_is_refused() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let served = scratch.path();
    for name in ["private", "public", "closed/file", "open/mine", "open/private", "unwritable/file"] {
        tree::write(served, name.as_ref(), name.as_bytes());
    }
    fs::create_dir(served.join("unwritable/empty")).expect("a folder");
    let modes = [
        ("", 0o755),
        ("private", 0o600),
        ("public", 0o644),
        ("closed", 0o700),
        ("open", 0o777),
        ("open/mine", 0o666),
        ("open/private", 0o600),
        ("unwritable", 0o555),
        ("unwritable/file", 0o666),
    ];
    for (name, mode) in modes {
        fs::set_permissions(served.join(name), Permissions::from_mode(mode))
            .expect("permissions (this test runs as root)");
    }
    let before = tree::read(served);
    let server = Server::start_by(&AS_NOBODY, served, &["--anonymous", "write"]);
    let mut client = Client::log_in(server.address());
    for command in [
        "RETR private",
        "RETR closed/file",
        "STOR private",
        "STOR public",
        "STOR new",
        "STOR closed/new",
        "STOR closed/file",
        "STOR open/private",
        "APPE public",
        "APPE open/private",
        "STOU",
        "LIST closed",
        "NLST closed",
        "MLSD closed",
        "STOR unwritable/file",
        "STOR unwritable/new",
    ] {
        client.is_refused(command, 550);
    }
    for command in [
        "CWD closed",
        "MKD new",
        "MKD closed/new",
        "DELE public",
        "DELE closed/file",
        "RMD open",
        "RMD unwritable/empty",
        "SIZE closed/file",
        "MLST closed/file",
        "HASH private",
        "SITE CHMOD 777 public",
        "MFMT 20200101000000 public",
        "DELE unwritable/file",
        "MKD unwritable/new",
    ] {
        client.says(command, 550);
    }
    for (from, to) in [("public", "renamed"), ("open/mine", "renamed"), ("unwritable/file", "open/moved")] {
        client.says(format!("RNFR {from}"), 350);
        client.says(format!("RNTO {to}"), 550);
    }
    assert_eq!(tree::read(served), before);
    assert_eq!(client.fetches("RETR public"), b"public");
    client.stores("STOR open/new", b"new");
    client.stores("STOR open/mine", b"replaced");
    client.stores("APPE unwritable/file", b", more");
    assert_eq!(fs::read(served.join("open/mine")).expect("a file"), b"replaced");
    assert_eq!(fs::read(served.join("unwritable/file")).expect("a file"), b"unwritable/file, more");
    client.quits();
}

#[test]
fn an_upload_resumed_at_its_end_is_whole() {
    let site = site();
    let contents = random_bytes(3, 2_000_000);
    let mut client = client_of(&site);
    let file = File::create(site.served.join("part")).expect("a file");
    file.write_all_at(&contents[..777_777], 0).expect("its beginning");
    let size = client.says("SIZE part", 213);
    client.says(format!("REST {}", String::from_utf8_lossy(size.text())), 350);
    client.stores("STOR part", &contents[777_777..]);
    assert!(fs::read(site.served.join("part")).expect("a file") == contents);
    let mut data = client.opens_data();
    client.says("REST 1999999", 350);
    client.says("RETR part", 150);
    assert_eq!(read_all(&mut data), contents[1_999_999..]);
    client.hears(226);
}

#[test]
fn what_is_appended_to_a_file_that_is_deleted_meanwhile_is_not_acknowledged() {
    let site = site();
    let (mut client, mut other) = (client_of(&site), client_of(&site));
    let mut data = client.opens_data();
    client.says("APPE old", 150);
    data.write_all(b"more").expect("the server takes the data");
    other.says("DELE old", 250);
    drop(data);
    client.hears(451);
}

/// Begins an upload of `path`, lets `happen` happen, ends the upload cleanly, and gives the code that it ends with.
fn upload_while(client: &mut Client, path: &str, happen: impl FnOnce()) -> u16 {
    let mut data = client.opens_data();
    client.says(format!("STOR {path}"), 150);
    data.write_all(b"new contents").expect("the server takes the data");
    happen();
    drop(data);
    client.hears_any().code
}

#[test]
fn what_becomes_of_the_name_meanwhile_is_seen_at_the_end() {
    let site = site();
    let path = |name: &str| site.served.join(name);
    let (mut client, mut other) = (client_of(&site), client_of(&site));

    let code = upload_while(&mut client, "taken", || {
        other.says("RNFR old", 350);
        other.says("RNTO taken", 250);
    });
    assert_eq!((code, fs::read(path("taken")).expect("the upload")), (226, b"new contents".to_vec()));

    let code = upload_while(&mut client, "a-folder", || {
        other.says("MKD a-folder", 257);
    });
    assert_eq!(code, 550);
    assert_eq!(fs::read_dir(path("a-folder")).expect("the folder").count(), 0);

    fs::create_dir(path("gone")).expect("a folder");
    let code = upload_while(&mut client, "gone/new", || {
        other.says("RMD gone", 250);
    });
    assert_eq!((code, path("gone").exists()), (550, false));

    fs::create_dir(path("moves")).expect("a folder");
    let code = upload_while(&mut client, "moves/new", || {
        other.says("RNFR moves", 350);
        other.says("RNTO moved", 250);
    });
    assert_eq!((code, fs::read(path("moved/new")).expect("the upload")), (226, b"new contents".to_vec()));

    let names: Vec<_> = tree::read(&site.served).into_keys().collect();
    assert_eq!(names.len(), 6, "nothing is left behind: {names:?}");
}
