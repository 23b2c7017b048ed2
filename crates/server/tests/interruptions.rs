//! Commands in a transfer, commands ahead of their time, and the many ways to break off.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use raw::{Client, read_all, read_until_closed, reset};
use support::site::Site;
use support::tree;

/// Larger than what the sockets of a connection hold, so that it cannot be sent before the client reads.
const LARGE_BYTES: u64 = 16 << 20;

/// `ABOR` as RFC 959 section 4.1.3 has it: interrupt process, and the data mark, which is sent as urgent data.
const INTERRUPT: &[u8] = b"\xff\xf4\xff\xf2";

fn site() -> Site {
    Site::new(&["--anonymous", "write"], |served, _| {
        tree::write(served, "file".as_ref(), b"contents");
        File::create(served.join("large")).and_then(|file| file.set_len(LARGE_BYTES)).expect("a sparse file");
    })
}

fn client_of(site: &Site) -> Client {
    Client::log_in(site.server.address())
}

/// A download that runs, and cannot end before its data is read.
fn begins_download(client: &mut Client) -> TcpStream {
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    data.read_exact(&mut [0; 1]).expect("the first byte");
    data
}

/// An upload that runs. That its beginning has come is known, for it is more than the sockets hold.
fn begins_upload(client: &mut Client) -> TcpStream {
    let mut data = client.opens_data();
    client.says("STOR file", 150);
    data.write_all(&vec![b'n'; 16 << 20]).expect("the server takes data");
    data
}

/// What is served is as it was at the start, and nothing is beside it.
#[track_caller]
fn is_untouched(site: &Site) {
    let mut names: Vec<_> = fs::read_dir(&site.served)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["file", "large"]);
    assert_eq!(fs::read(site.served.join("file")).expect("a file"), b"contents");
}

#[test]
fn ten_thousand_commands_in_one_write() {
    let site = site();
    let mut client = client_of(&site);
    client.sends("NOOP\r\n".repeat(10_000));
    for _ in 0..10_000 {
        client.hears(200);
    }
    client.sends("CWD /\r\nSIZE file\r\nMDTM file\r\n".repeat(1_000));
    for _ in 0..1_000 {
        client.hears(250);
        client.hears(213);
        client.hears(213);
    }
    client.quits();
}

#[test]
fn whole_sessions_in_one_write() {
    let site = site();
    let mut client = Client::connect_only(site.server.address(), None);
    client.sends(
        "USER anonymous\r\nPASS x\r\nSYST\r\nTYPE I\r\nMKD a\r\nMKD a\r\nCWD a\r\nPWD\r\nSIZE ../file\r\nPASV\r\nEPSV\r\nRNFR /file\r\n\
         RNTO moved\r\nDELE moved\r\nCDUP\r\nRMD a\r\nFEAT\r\nNONSENSE\r\nQUIT\r\n",
    );
    for code in
        [220, 331, 230, 215, 200, 257, 550, 250, 257, 213, 227, 229, 350, 250, 250, 250, 250, 211, 500, 221]
    {
        client.hears(code);
    }
    client.hears_the_end();
}

#[test]
fn a_whole_session_with_transfers_in_one_write() {
    let site = site();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let [high, low] = listener.local_addr().expect("an address").port().to_be_bytes();
    let port = format!("PORT 127,0,0,1,{high},{low}\r\n");
    let mut client = Client::connect_only(site.server.address(), None);
    client.sends(format!(
        "USER anonymous\r\nPASS x\r\nTYPE I\r\n{port}RETR file\r\n{port}STOR new\r\nSIZE new\r\n{port}NLST\r\nPWD\r\nQUIT\r\n"
    ));
    for code in [220, 331, 230, 200, 200, 150] {
        client.hears(code);
    }
    let accept = || listener.accept().expect("the server connects").0;
    assert_eq!(read_all(&mut accept()), b"contents");
    for code in [226, 200, 150] {
        client.hears(code);
    }
    accept().write_all(b"new contents").expect("the server takes data");
    client.hears(226);
    assert_eq!(client.hears(213).text(), b"12");
    for code in [200, 150] {
        client.hears(code);
    }
    assert_eq!(read_all(&mut accept()), b"file\r\nlarge\r\nnew\r\n");
    for code in [226, 257, 221] {
        client.hears(code);
    }
    client.hears_the_end();
}

#[test]
fn abor_ends_a_download() {
    let site = site();
    let mut client = client_of(&site);
    for _ in 0..3 {
        let mut data = begins_download(&mut client);
        client.says("ABOR", 426);
        client.hears(226);
        assert!(read_until_closed(&mut data) < LARGE_BYTES);
    }
    assert_eq!(client.fetches("RETR file"), b"contents");
}

#[test]
fn abor_ends_an_upload_and_leaves_the_old_file() {
    let site = site();
    let mut client = client_of(&site);
    for ends_data_first in [false, true] {
        let data = begins_upload(&mut client);
        client.sends("ABOR\r\n");
        if ends_data_first {
            // The end comes behind ABOR, which counts.
            drop(data);
            client.hears(426);
        } else {
            client.hears(426);
            drop(data);
        }
        client.hears(226);
        is_untouched(&site);
    }
    client.stores("STOR file", b"newer");
    assert_eq!(fs::read(site.served.join("file")).expect("a file"), b"newer");
}

#[test]
fn abor_comes_as_urgent_data_too() {
    let site = site();
    let mut client = client_of(&site);
    for begins in [begins_download, begins_upload] {
        // As RFC 959 has it.
        let data = begins(&mut client);
        client.sends_urgently(INTERRUPT);
        client.says("ABOR", 426);
        client.hears(226);
        drop(data);
        // As curl and lftp do: the data mark alone is urgent.
        let data = begins(&mut client);
        client.sends(&INTERRUPT[..3]);
        client.sends_urgently(&INTERRUPT[3..]);
        client.sends("ABOR\r\n");
        client.hears(426);
        client.hears(226);
        drop(data);
        // As Python's ftplib does: the whole line at once, its last byte urgent.
        let data = begins(&mut client);
        client.sends_urgently(b"ABOR\r\n");
        client.hears(426);
        client.hears(226);
        drop(data);
    }
    client.sends_urgently(INTERRUPT);
    client.says("ABOR", 225);
    client.quits();
}

#[test]
fn abor_without_a_transfer_is_no_error() {
    let site = site();
    let mut client = client_of(&site);
    client.says("ABOR", 225);
    let mut data = client.opens_data();
    client.says("ABOR", 225);
    assert_eq!(read_until_closed(&mut data), 0, "the data connection that was aborted is closed");
    client.says("RETR file", 425);
    // Nobody has connected yet.
    client.leases();
    client.says("RETR file", 150);
    client.says("ABOR", 426);
    client.hears(226);
    client.says("RETR file", 425);
    client.quits();
}

#[test]
fn abor_overtakes_what_waits_behind_the_transfer() {
    let site = site();
    let mut client = client_of(&site);
    let _data = begins_download(&mut client);
    client.sends("PWD\r\nCWD /\r\nABOR\r\nSYST\r\n");
    for code in [426, 257, 250, 226, 215] {
        client.hears(code);
    }
    client.quits();
}

#[test]
fn abor_takes_back_what_was_said_before_it() {
    let site = site();
    let mut client = client_of(&site);
    let _data = begins_download(&mut client);
    client.sends("EPSV\r\nRETR large\r\nABOR\r\nRETR large\r\n");
    for code in [426, 229, 426, 226, 425] {
        client.hears(code);
    }
    client.quits();
}

#[test]
fn abor_behind_more_than_is_held_back_is_seen_before_an_upload_takes_its_name() {
    const TIMES: usize = 5000;
    let site = site();
    let mut client = client_of(&site);
    let data = begins_upload(&mut client);
    client.sends("PWD\r\n".repeat(TIMES) + "ABOR\r\n");
    drop(data);
    client.hears(426);
    for _ in 0..TIMES {
        client.hears(257);
    }
    client.hears(226);
    is_untouched(&site);
}

#[test]
fn an_upload_that_was_cut_off_can_be_resumed_at_once() {
    let site = site();
    let mut client = client_of(&site);
    let mut data = client.opens_data();
    client.says("APPE large", 150);
    for _ in 0..50 {
        data.write_all(b"more").expect("the server takes data");
        client.sends("ABOR\r\nPASV\r\nAPPE large\r\n");
        client.hears(426);
        client.hears(226);
        let passive = client.hears(227).passive_address();
        client.hears(150);
        data = client.connects_to(passive);
    }
    drop(data);
    client.hears(226);
}

/// What it has sent is unread when all is sent. To close then would reset the connection, and throw away what the client has still
/// to read.
#[test]
fn a_client_that_sends_something_on_a_download_gets_the_whole_file() {
    let site = site();
    let mut client = client_of(&site);
    for (name, bytes) in [("file", 8), ("large", LARGE_BYTES)] {
        let mut data = client.opens_data();
        data.write_all(b"nobody has asked for this").expect("sent");
        client.says(format!("RETR {name}"), 150);
        assert_eq!(read_until_closed(&mut data), bytes);
        client.hears(226);
    }
    client.quits();
}

#[test]
fn quit_waits_for_the_transfer() {
    let site = site();
    for closes_its_side in [false, true] {
        let mut client = client_of(&site);
        let mut data = begins_download(&mut client);
        client.says("QUIT", 221);
        if closes_its_side {
            client.closes_its_side();
        }
        assert_eq!(read_until_closed(&mut data), LARGE_BYTES - 1);
        client.hears(226);
        client.hears_the_end();

        let mut client = client_of(&site);
        let mut data = client.opens_data();
        client.says("STOR new", 150);
        client.says("QUIT", 221);
        if closes_its_side {
            client.closes_its_side();
        }
        data.write_all(b"whole").expect("the server takes data");
        drop(data);
        client.hears(226);
        client.hears_the_end();
        assert_eq!(fs::read(site.served.join("new")).expect("a file"), b"whole");
        fs::remove_file(site.served.join("new")).expect("a file");
    }
}

#[test]
fn quit_does_not_publish_a_broken_upload() {
    let site = site();
    let mut client = client_of(&site);
    let data = begins_upload(&mut client);
    client.says("QUIT", 221);
    reset(data);
    client.hears(426);
    client.hears_the_end();
    is_untouched(&site);
}

#[test]
fn a_transfer_is_asked_about_while_it_runs() {
    let site = site();
    let mut client = client_of(&site);
    let mut data = begins_download(&mut client);
    client.says("NOOP", 200);
    assert!(client.says("STAT", 211).mentions("Transferring large"));
    client.says("NOOP", 200);
    // What RFC 959 does not allow meanwhile waits its turn, and so does all behind it.
    client.sends("PWD\r\nRETR file\r\nNOOP\r\nSIZE file\r\n");
    assert_eq!(read_until_closed(&mut data), LARGE_BYTES - 1);
    for code in [226, 257, 425, 200, 213] {
        client.hears(code);
    }
    client.quits();
}

#[test]
fn a_client_that_sends_no_more_still_hears_its_answers() {
    let site = site();
    let mut client = Client::connect_only(site.server.address(), None);
    // As `printf ... | nc` does: files are looked up on other threads while the end of the input is already there.
    client.sends("USER anonymous\r\nPASS x\r\nMKD a\r\nMKD a/b\r\nMLST a/b\r\nRMD a/b\r\nRMD a\r\nPWD\r\n");
    client.closes_its_side();
    for code in [220, 331, 230, 257, 257, 250, 250, 250, 257] {
        client.hears(code);
    }
    client.hears_the_end();
}

#[test]
fn a_client_that_sends_no_more_in_an_upload_is_gone() {
    let site = site();
    let mut client = client_of(&site);
    let mut data = begins_upload(&mut client);
    client.closes_its_side();
    // Nothing tells this end of a control connection from a client that was killed.
    client.hears_the_end();
    read_until_closed(&mut data);
    is_untouched(&site);
}
