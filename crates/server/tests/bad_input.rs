//! What no client should send, and some do: each is given a clear answer, and the session goes on.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

use raw::{Client, read_all, read_until_closed};
use support::server::Server;
use support::site::Site;
use support::tree::{self, random_bytes};

/// A server that everybody may write to, with `prepare`d files.
fn writable(prepare: impl FnOnce(&Path)) -> Site {
    Site::new(&["--anonymous", "write"], |served, _| prepare(served))
}

fn client_of(site: &Site) -> Client {
    Client::log_in(site.server.address())
}

#[test]
fn garbage_is_answered_line_by_line() {
    let site = writable(|_| {});
    let mut client = Client::connect(site.server.address());
    for seed in 0..200 {
        let mut line = random_bytes(seed, 1 + usize::try_from(seed).expect("small") * 5);
        line.retain(|&byte| byte != b'\n');
        line.push(b'\n');
        client.sends(&line);
        let reply = client.hears_any();
        assert!((500..600).contains(&reply.code), "C: {}\nS: {reply}", line.escape_ascii());
    }
    client.says("USER anonymous", 331);
    client.says("PASS guest@", 230);
    for line in
        ["", " ", "\u{0}", "PWD\u{0}", "\u{1b}[2J", "RETR", "STOR ", "GET / HTTP/1.1", "ЖЖЖ Ж", "EHLO there"]
    {
        client.sends([line.as_bytes(), b"\r\n"].concat());
        let reply = client.hears_any();
        assert!((500..600).contains(&reply.code), "C: {}\nS: {reply}", line.escape_debug());
    }
    client.quits();
}

#[test]
fn a_line_of_ten_megabytes_is_answered_once() {
    let site = writable(|_| {});
    let mut client = client_of(&site);
    client.sends(vec![b'a'; 10 * 1024 * 1024]);
    client.sends("\r\n");
    client.hears(500);
    client.says("NOOP", 200);
    client.quits();
}

#[test]
fn a_path_with_a_zero_byte_means_nothing() {
    let site = writable(|served| {
        tree::write(served, "name".as_ref(), b"kept");
        fs::create_dir(served.join("folder")).expect("a folder");
    });
    let before = tree::read(&site.served);
    let mut client = client_of(&site);
    for verb in [
        "CWD",
        "RETR",
        "STOR",
        "APPE",
        "STOU",
        "DELE",
        "RMD",
        "MKD",
        "RNFR",
        "LIST",
        "NLST",
        "MLSD",
        "MLST",
        "SIZE",
        "MDTM",
        "STAT",
        "HASH",
        "SITE CHMOD 777",
        "MFMT 20200101000000",
    ] {
        for path in ["name\0", "name\0.txt", "\0name", "folder\0/x"] {
            client.says(format!("{verb} {path}"), 553);
        }
    }
    client.says("RNFR name", 350);
    client.says("RNTO other\0", 553);
    assert_eq!(tree::read(&site.served), before);
}

#[test]
fn nobody_climbs_above_the_root() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let served = scratch.path().join("served");
    tree::write(&served, "folder/inside".as_ref(), b"inside");
    tree::write(scratch.path(), "secret".as_ref(), b"secret");
    let server = Server::start(&served, &["--anonymous", "write"]);
    let mut client = Client::log_in(server.address());
    for up in ["..", "../..", "/../../..", "folder/../../..", "./.././//..", "folder/../folder/../.."] {
        client.says(format!("CWD {up}"), 250);
        assert_eq!(client.says("PWD", 257).text(), b"\"/\" is the current directory.");
        client.is_refused(format!("RETR {up}/secret"), 550);
        client.says(format!("SIZE {up}/secret"), 550);
        client.says(format!("MLST {up}/secret"), 550);
        client.says(format!("DELE {up}/secret"), 550);
        client.says(format!("RNFR {up}/secret"), 550);
        client.says(format!("CWD {up}/served"), 550);
        assert_eq!(client.fetches(format!("NLST {up}")), [up.as_bytes(), b"/folder\r\n"].concat());
    }
    client.says("CDUP", 250);
    assert_eq!(client.says("PWD", 257).text(), b"\"/\" is the current directory.");
    client.stores("STOR ../../escaped", b"stays in");
    client.says("MKD /../made", 257);
    client.says("RNFR escaped", 350);
    client.says("RNTO ../../../renamed", 250);
    assert_eq!(fs::read(served.join("renamed")).expect("a file"), b"stays in");
    assert!(served.join("made").is_dir());
    let mut around: Vec<_> = fs::read_dir(scratch.path())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    around.sort();
    assert_eq!(around, ["secret", "served"]);
}

#[test]
fn a_path_of_five_thousand_bytes_is_too_long() {
    let site = writable(|_| {});
    let mut client = client_of(&site);
    let long_path = "folder/".repeat(5000 / 7);
    let long_name = "n".repeat(5000);
    let name_of_256 = "n".repeat(256);
    for path in [&long_path, &long_name, &name_of_256] {
        for verb in [
            "CWD", "RETR", "STOR", "APPE", "DELE", "RMD", "MKD", "RNFR", "LIST", "NLST", "MLSD", "MLST",
            "SIZE", "MDTM", "STAT",
        ] {
            client.says(format!("{verb} {path}"), 553);
        }
    }
    client.says(format!("MKD {}", "n".repeat(255)), 257);
    client.quits();
}

/// Names that would split a line, or pass for a reply, if they were sent as they are.
const SPLITTING: [&[u8]; 6] = [b"a\nb", b"c\rd", b"e\r\nf", b"g\r\n226 Transfer complete.\r\n", b"\n", b"\r"];

#[test]
fn no_name_splits_a_listing() {
    let site = writable(|served| {
        for name in SPLITTING {
            tree::write(served, std::ffi::OsStr::from_bytes(name), b"");
            fs::create_dir(served.join(std::ffi::OsStr::from_bytes(&[name, b"-folder"].concat())))
                .expect("a folder");
        }
    });
    let mut client = client_of(&site);
    for command in ["LIST", "LIST -a /", "NLST", "MLSD", "LIST *", "NLST *"] {
        let listing = client.fetches(command);
        let lines: Vec<&[u8]> = listing.split_inclusive(|&byte| byte == b'\n').collect();
        assert_eq!(lines.len(), 2 * SPLITTING.len(), "{command}: {}", listing.escape_ascii());
        for line in lines {
            let text = line.strip_suffix(b"\r\n").expect("a whole line");
            assert!(!text.iter().any(u8::is_ascii_control), "{command}: {}", text.escape_ascii());
        }
    }
    // The client fails on a reply with a stray CR or LF in it.
    assert_eq!(client.says("STAT /", 213).body().len(), 2 * SPLITTING.len());
    client.says("NOOP", 200);
}

#[test]
fn no_name_splits_a_reply() {
    let site = writable(|_| {});
    let mut client = client_of(&site);
    // A CR can be sent within a line; a LF cannot, it ends the line.
    client.says("MKD c\rd", 257);
    client.says("CWD c\rd", 250);
    client.says("PWD", 257);
    client.stores("STOR x\ry", b"contents");
    client.stores("STOU hint\rhint", b"contents");
    assert_eq!(client.fetches("RETR x\ry"), b"contents");
    client.says("MLST x\ry", 250);
    client.says("STAT x\ry", 213);
    client.says("SIZE x\ry", 213);
    client.says("HASH x\ry", 213);
    client.says("MFMT 20200101000000 x\ry", 213);
    client.says("RNFR x\ry", 350);
    client.says("RNTO x\r\ry", 250);
    client.says("DELE x\r\ry", 250);
    client.is_refused("RETR no\rsuch", 550);
    client.says("USER ano\rnymous", 331);
    client.says("PASS x", 530);
    client.says("USER anonymous", 331);
    client.says("PASS x", 230);
    client.says("HELP no\rsuch", 501);
    client.says("NO\rSUCH", 500);
    client.quits();
}

#[test]
fn what_is_no_file_is_neither_fetched_nor_overwritten() {
    let mut socket = None;
    let site = writable(|served| {
        tree::write(served, "folder/inside".as_ref(), b"inside");
        mkfifo(&served.join("fifo"), Mode::S_IRWXU).expect("a FIFO");
        mknod(&served.join("null"), SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 3))
            .expect("a device (this test runs as root)");
        mknod(&served.join("disk"), SFlag::S_IFBLK, Mode::S_IRWXU, makedev(259, 4095)).expect("a device");
        socket = Some(UnixListener::bind(served.join("socket")).expect("a socket"));
    });
    let mut client = client_of(&site);
    for name in ["folder", "folder/", "/", ".", "fifo", "null", "disk", "socket"] {
        for verb in ["RETR", "STOR", "APPE"] {
            client.is_refused(format!("{verb} {name}"), 550);
        }
        for command in ["SIZE", "MDTM", "HASH", "XMD5"] {
            client.says(format!("{command} {name}"), 550);
        }
    }
    client.says("DELE folder", 550);
    for name in ["fifo", "null", "disk", "socket"] {
        client.says(format!("CWD {name}"), 550);
        client.says(format!("MLST {name}"), 250);
        client.fetches(format!("LIST {name}"));
    }
    // The data connection that a refused transfer did not use is there for the next.
    let mut data = client.opens_data();
    client.says("RETR fifo", 550);
    client.says("RETR folder/inside", 150);
    assert_eq!(read_all(&mut data), b"inside");
    client.hears(226);
}

#[test]
fn renames_do_what_they_may() {
    let site = writable(|served| {
        for name in ["one/file", "two/other", "full/file", "three"] {
            tree::write(served, name.as_ref(), name.as_bytes());
        }
        fs::create_dir(served.join("empty")).expect("a folder");
    });
    let mut client = client_of(&site);
    let mut renames = |from: &str, to: &str, code: u16| {
        client.says(format!("RNFR {from}"), 350);
        client.says(format!("RNTO {to}"), code);
    };
    renames("one/file", "two/moved", 250);
    renames("two/moved", "two/other", 250);
    renames("three", "full", 550);
    renames("full", "three", 550);
    renames("two", "two/inside/itself", 550);
    renames("two", "two/inside", 550);
    renames("two", "full", 550);
    renames("two", "empty", 250);
    renames("three", "no/such/folder", 550);
    renames("three", "/", 550);
    renames("three", "three", 250);
    assert_eq!(fs::read(site.served.join("empty/other")).expect("a file"), b"one/file");
    assert_eq!(fs::read(site.served.join("three")).expect("a file"), b"three");

    client.says("RNFR missing", 550);
    client.says("RNFR /", 550);
    client.says("RNTO four", 503);
    client.says("RNFR three", 350);
    client.says("NOOP", 200);
    client.says("RNTO four", 503);
    client.says("RNFR three", 350);
    client.says("RNTO", 501);
    assert!(site.served.join("three").exists());
}

#[test]
fn only_an_empty_directory_is_removed() {
    let site = writable(|served| {
        tree::write(served, "full/file".as_ref(), b"");
        fs::create_dir(served.join("empty")).expect("a folder");
    });
    let mut client = client_of(&site);
    client.says("RMD full", 550);
    client.says("RMD full/file", 550);
    for root in ["/", ".", "..", "full/.."] {
        client.says(format!("RMD {root}"), 550);
    }
    client.says("CWD empty", 250);
    client.says("RMD /empty", 250);
    client.says("RMD /empty", 550);
    // Whoever stands in a directory that is gone is told so, and can leave.
    client.is_refused("LIST", 550);
    client.is_refused("STOR new", 550);
    client.says("CDUP", 250);
    client.says("DELE full/file", 250);
    client.says("RMD full", 250);
    assert_eq!(tree::read(&site.served).len(), 0);
}

#[test]
fn a_restart_beyond_the_end_is_refused() {
    let site = writable(|served| tree::write(served, "ten".as_ref(), b"0123456789"));
    let mut client = client_of(&site);
    for verb in ["RETR", "STOR"] {
        client.says("REST 11", 350);
        client.is_refused(format!("{verb} ten"), 554);
        client.says("REST 18446744073709551615", 350);
        client.is_refused(format!("{verb} ten"), 554);
    }
    client.says("REST 1", 350);
    client.is_refused("STOR missing", 550);
    assert_eq!(client.fetches("RETR ten"), b"0123456789", "a refused restart is forgotten");
    client.leases();
    client.says("REST 10", 350);
    let mut data = client.opens_data();
    client.says("RETR ten", 150);
    assert_eq!(read_all(&mut data), b"");
    client.hears(226);
    for marker in ["", "-1", "1.5", "ten", "0x10", "18446744073709551616", "99999999999999999999999999"] {
        client.says(format!("REST {marker}"), 501);
    }
    assert_eq!(fs::read(site.served.join("ten")).expect("a file"), b"0123456789");
}

#[test]
fn a_restart_beyond_four_gigabytes_works_both_ways() {
    const FIVE_GIB: u64 = 5 << 30;
    let site = writable(|served| {
        let file = File::create(served.join("sparse")).expect("a file");
        file.set_len(FIVE_GIB).expect("a sparse file");
        file.write_all_at(b"the very end", FIVE_GIB - 12).expect("its end");
    });
    let mut client = client_of(&site);
    assert_eq!(client.says("SIZE sparse", 213).text(), FIVE_GIB.to_string().as_bytes());
    let mut data = client.opens_data();
    client.says(format!("REST {}", FIVE_GIB - 12), 350);
    assert!(client.says("RETR sparse", 150).mentions("(12 bytes)"));
    assert_eq!(read_all(&mut data), b"the very end");
    client.hears(226);

    client.says(format!("REST {}", FIVE_GIB - 8), 350);
    client.stores("STOR sparse", b"far");
    client.says(format!("REST {FIVE_GIB}"), 350);
    client.stores("STOR sparse", b", and on");
    let file = File::open(site.served.join("sparse")).expect("a file");
    let mut end = [0; 20];
    file.read_exact_at(&mut end, FIVE_GIB - 12).expect("its end");
    assert_eq!(&end, b"the fary end, and on");
    assert_eq!(file.metadata().expect("facts").len(), FIVE_GIB + 8);
}

#[test]
fn port_takes_six_numbers_of_the_clients_own_address() {
    let site = writable(|_| {});
    let mut client = client_of(&site);
    for argument in [
        "",
        "127,0,0,1,4",
        "127,0,0,1,4,1,0",
        "127,0,0,1,256,1",
        "127,0,0,1,4,-1",
        "127,0,0,256,4,1",
        "127.0.0.1,4,1",
        "a,b,c,d,e,f",
        "127,0,0,1,4,",
        "127,0,0,1,0,0",
        "|1|127.0.0.1|5000|",
        "127,0,0,1,4 ,1",
        "1,1,1,1,1,99999999999999999999",
    ] {
        client.says(format!("PORT {argument}"), 501);
    }
    for foreign in
        ["127,0,0,2,200,1", "10,0,0,1,200,1", "0,0,0,0,200,1", "255,255,255,255,200,1", "224,0,0,1,200,1"]
    {
        assert!(client.says(format!("PORT {foreign}"), 501).mentions("foreign"));
    }
    for privileged in ["127,0,0,1,0,22", "127,0,0,1,3,255"] {
        assert!(client.says(format!("PORT {privileged}"), 501).mentions("privileged"));
    }
    client.says("LIST", 425);
    client.quits();
}

#[test]
fn the_server_does_not_connect_to_itself() {
    let site = writable(|served| tree::write(served, "file".as_ref(), b"contents"));
    let mut client = client_of(&site);
    let passive = client.leases();
    for port in [site.server.address().port(), passive.port()] {
        let [high, low] = port.to_be_bytes();
        for command in [format!("PORT 127,0,0,1,{high},{low}"), format!("EPRT |1|127.0.0.1|{port}|")] {
            assert!(client.says(command, 501).mentions("the server itself"));
        }
    }
    // What was set up before stays so.
    let mut data = client.connects_to(passive);
    client.says("RETR file", 150);
    assert_eq!(read_all(&mut data), b"contents");
    client.hears(226);
}

#[test]
fn eprt_takes_any_delimiter_and_its_own_family_only() {
    let site = writable(|served| tree::write(served, "file".as_ref(), b"contents"));
    let mut client = client_of(&site);
    for argument in [
        "",
        "||||",
        "|1|127.0.0.1|",
        "|1|127.0.0.1|5000",
        "1|127.0.0.1|5000|",
        "|1|127.0.0.1|0|",
        "|1|127.0.0.1|65536|",
        "|1|999.0.0.1|5000|",
        "|1|::1|5000|",
        "|1|localhost|5000|",
        "|one|127.0.0.1|5000|",
        "|1|127.0.0.1|5000|1|",
        "127,0,0,1,19,136",
    ] {
        client.says(format!("EPRT {argument}"), 501);
    }
    for other_family in ["|2|::1|5000|", "|3|127.0.0.1|5000|", "|2|::ffff:127.0.0.1|5000|"] {
        assert!(client.says(format!("EPRT {other_family}"), 522).mentions("(1)"));
    }
    client.says("EPRT |1|127.0.0.2|5000|", 501);
    client.says("EPRT |1|127.0.0.1|22|", 501);
    client.says("LIST", 425);
    for delimiter in ["|", "!", "~", "#"] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        client.says(format!("EPRT {delimiter}1{delimiter}127.0.0.1{delimiter}{port}{delimiter}"), 200);
        client.says("RETR file", 150);
        let (mut data, _) = listener.accept().expect("the server connects");
        assert_eq!(read_all(&mut data), b"contents");
        client.hears(226);
    }
}

#[test]
fn whoever_says_nothing_is_sent_away() {
    let site = Site::new(&["--login-timeout", "1", "--idle-timeout", "1"], |_, _| {});
    let mut silent = Client::connect(site.server.address());
    let mut named = Client::connect(site.server.address());
    named.says("USER anonymous", 331);
    let mut idle = client_of(&site);
    let mut with_port = client_of(&site);
    with_port.leases();
    for client in [&mut silent, &mut named, &mut idle, &mut with_port] {
        client.hears(421);
        client.hears_the_end();
    }
}

/// The drip of a slow client, and the many drips after which a server that lets it go on has failed.
const DRIP: Duration = Duration::from_millis(200);
const DRIPPING_MAX: Duration = Duration::from_secs(10);

/// Sends `drop` again and again, until the server says something other than 200.
fn drips(client: &mut Client, drop: &[u8]) -> Option<u16> {
    let began = Instant::now();
    while began.elapsed() < DRIPPING_MAX {
        client.sends(drop);
        if let Some(reply) = client.hears_within(DRIP).filter(|reply| reply.code != 200) {
            return Some(reply.code);
        }
    }
    None
}

#[test]
fn whoever_never_logs_in_is_sent_away_however_busy() {
    let site = Site::new(&["--login-timeout", "1"], |_, _| {});
    for drop in [&b"N"[..], b"NOOP\r\n"] {
        let mut client = Client::connect(site.server.address());
        assert_eq!(drips(&mut client, drop), Some(421), "after many of {}", drop.escape_ascii());
    }
}

#[test]
fn a_command_that_never_ends_does_not_keep_a_session() {
    let site = Site::new(&["--idle-timeout", "1"], |_, _| {});
    let mut client = client_of(&site);
    assert_eq!(drips(&mut client, b"N"), Some(421));
}

#[test]
fn a_command_that_comes_byte_by_byte_is_a_command() {
    let site = writable(|_| {});
    let mut client = client_of(&site);
    for byte in b"NOOP\r\nPWD\n" {
        client.sends([*byte]);
    }
    client.hears(200);
    client.hears(257);
    client.quits();
}

#[test]
fn a_client_that_vanishes_in_a_download_is_let_go() {
    let site = writable(|served| {
        File::create(served.join("large")).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    });
    for with_reset in [false, true] {
        let mut client = client_of(&site);
        let mut data = client.opens_data();
        client.says("RETR large", 150);
        data.read_exact(&mut [0; 1000]).expect("the beginning");
        if with_reset {
            client.resets();
        } else {
            drop(client);
        }
        assert!(read_until_closed(&mut data) < 1 << 30, "the data connection outlived its client");
    }
    // The other way about: without its data connection the transfer fails, and the session goes on.
    let mut client = client_of(&site);
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    data.read_exact(&mut [0; 1000]).expect("the beginning");
    drop(data);
    client.hears(426);
    let data = client.opens_data();
    client.says("RETR large", 150);
    data.shutdown(Shutdown::Both).expect("a connection");
    drop(data);
    client.hears(426);
    client.quits();
}

#[test]
fn a_read_only_server_changes_nothing() {
    let site = Site::new(&["--anonymous", "read"], |served, _| {
        tree::write(served, "file".as_ref(), b"contents");
        fs::create_dir(served.join("folder")).expect("a folder");
    });
    let before = tree::read(&site.served);
    let mut client = client_of(&site);
    for command in [
        "STOR file",
        "STOR new",
        "APPE file",
        "STOU",
        "STOU new",
        "DELE file",
        "RMD folder",
        "MKD new",
        "RNFR file",
        "SITE CHMOD 777 file",
        "MFMT 20200101000000 file",
        "SITE UTIME 20200101000000 file",
    ] {
        client.is_refused(command, 550);
    }
    assert_eq!(tree::read(&site.served), before);
    assert_eq!(client.fetches("RETR file"), b"contents");
}

#[test]
fn whoever_may_upload_changes_nothing_that_is_there() {
    let site = Site::new(&["--anonymous", "upload"], |served, _| {
        tree::write(served, "file".as_ref(), b"contents");
        fs::create_dir(served.join("folder")).expect("a folder");
    });
    let mut client = client_of(&site);
    for command in ["STOR file", "APPE file", "DELE file", "RMD folder", "RNFR file", "SITE CHMOD 777 file"] {
        client.is_refused(command, 550);
    }
    client.says("REST 3", 350);
    client.is_refused("STOR file", 550);
    client.says("MKD new", 257);
    client.stores("STOR new/file", b"new");
    // Two that begin the same new name: the one that comes last finds it taken.
    let (mut first, mut second) = (client_of(&site), client_of(&site));
    let (mut first_data, mut second_data) = (first.opens_data(), second.opens_data());
    first.says("STOR contested", 150);
    second.says("STOR contested", 150);
    first_data.write_all(b"first").expect("data");
    second_data.write_all(b"second").expect("data");
    drop(first_data);
    first.hears(226);
    drop(second_data);
    second.hears(550);
    assert_eq!(fs::read(site.served.join("contested")).expect("a file"), b"first");
    assert_eq!(fs::read(site.served.join("file")).expect("a file"), b"contents");
}
