//! Symbolic links: those that stay inside the served directory work, those that leave it lead nowhere.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use raw::{Client, read_all};
use support::server::Server;
use support::tree;
use tempfile::TempDir;

/// A served directory, something beside it that is nobody's business, and links.
struct Scene {
    scratch: TempDir,
    served: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let served = scratch.path().join("served");
        tree::write(&served, "folder/file".as_ref(), b"contents");
        tree::write(&served, "own".as_ref(), b"own");
        tree::write(&scratch.path().join("outside"), "secret".as_ref(), b"secret");
        tree::write(&scratch.path().join("outside"), "full/secret".as_ref(), b"secret");
        fs::create_dir(scratch.path().join("outside/empty")).expect("a folder");
        Self { scratch, served }
    }

    fn link(&self, name: &str, target: impl AsRef<Path>) {
        symlink(target, self.served.join(name)).expect("a link");
    }

    fn outside(&self) -> PathBuf {
        self.scratch.path().join("outside")
    }

    fn serve(&self) -> (Server, Client) {
        let server = Server::start(&self.served, &["--anonymous", "write"]);
        let client = Client::log_in(server.address());
        (server, client)
    }
}

/// Commands that open a data connection when they are not refused, with `%` for a file.
const TRANSFERS_OF_FILE: [&str; 3] = ["RETR %", "STOR %", "APPE %"];
const LISTINGS: [&str; 3] = ["LIST %", "NLST %", "MLSD %"];
/// Commands that look at a file, or change it, and not its name.
const REQUESTS_OF_FILE: [&str; 9] = [
    "SIZE %",
    "MDTM %",
    "MLST %",
    "STAT %",
    "HASH %",
    "XCRC %",
    "SITE CHMOD 777 %",
    "MFMT 20200101000000 %",
    "SITE UTIME 20200101000000 %",
];
/// Commands that take a name away.
const REQUESTS_OF_NAME: [&str; 3] = ["DELE %", "RNFR %", "RMD %"];

#[test]
fn links_out_of_the_tree_lead_nowhere() {
    let scene = Scene::new();
    scene.link("absolute", scene.outside());
    scene.link("relative", "../outside");
    scene.link("folder/climbing", "../../outside");
    scene.link("chained", "folder/climbing");
    scene.link("root", "/");
    scene.link("up", "..");
    scene.link("magic", "/proc/self/root");
    let outside = scene.outside();
    let from_root = outside.display();
    let before = tree::read(&outside);
    let (_server, mut client) = scene.serve();
    for link in ["absolute", "relative", "folder/climbing", "chained"] {
        refuses_everything_behind(&mut client, link);
    }
    refuses_everything_behind(&mut client, "up/outside");
    refuses_everything_behind(&mut client, &format!("root{from_root}"));
    refuses_everything_behind(&mut client, &format!("magic{from_root}"));
    assert_eq!(tree::read(&outside), before);
    assert_eq!(fs::read(scene.served.join("own")).expect("a file"), b"own");
}

/// `link` leads to the directory outside.
fn refuses_everything_behind(client: &mut Client, link: &str) {
    let requests = REQUESTS_OF_FILE.iter().chain(&REQUESTS_OF_NAME);
    let transfers = TRANSFERS_OF_FILE.iter().chain(&LISTINGS);
    for command in requests {
        client.says(command.replace('%', &format!("{link}/secret")), 550);
    }
    for command in transfers {
        client.is_refused(command.replace('%', &format!("{link}/secret")), 550);
    }
    for command in LISTINGS {
        client.is_refused(command.replace('%', link), 550);
        client.is_refused(command.replace('%', &format!("{link}/full")), 550);
    }
    client.is_refused(format!("LIST {link}/*"), 550);
    client.is_refused(format!("STOR {link}/new"), 550);
    client.is_refused(format!("STOU {link}/new"), 550);
    client.is_refused(format!("STOU {link}"), 550);
    client.says(format!("CWD {link}"), 550);
    client.says(format!("CWD {link}/full"), 550);
    client.says(format!("MLST {link}"), 550);
    client.says(format!("STAT {link}"), 550);
    client.says(format!("MKD {link}/new"), 550);
    client.says(format!("MKD {link}"), 550);
    client.says(format!("RMD {link}/empty"), 550);
    client.says(format!("SITE CHMOD 777 {link}"), 550);
    client.says("RNFR own", 350);
    client.says(format!("RNTO {link}/own"), 550);
    client.says("RNFR own", 350);
    client.says(format!("RNTO {link}/secret"), 550);
}

#[test]
fn a_link_to_a_file_outside_is_no_file() {
    let scene = Scene::new();
    scene.link("absolute", scene.outside().join("secret"));
    scene.link("relative", "../outside/secret");
    scene.link("dangling", "../outside/new");
    let before = tree::read(&scene.outside());
    let (_server, mut client) = scene.serve();
    for link in ["absolute", "relative", "dangling"] {
        for command in REQUESTS_OF_FILE {
            client.says(command.replace('%', link), 550);
        }
        for command in TRANSFERS_OF_FILE.iter().chain(&LISTINGS) {
            client.is_refused(command.replace('%', link), 550);
        }
        client.says(format!("CWD {link}"), 550);
        client.says(format!("RMD {link}"), 550);
        client.says(format!("MKD {link}"), 550);
    }
    // The name itself is inside: it can be renamed, replaced and removed, and what it points to stays.
    client.says("RNFR absolute", 350);
    client.says("RNTO renamed", 250);
    client.says("DELE renamed", 250);
    client.says("RNFR own", 350);
    client.says("RNTO relative", 250);
    assert_eq!(client.fetches("RETR relative"), b"own");
    assert_eq!(tree::read(&scene.outside()), before);
}

#[test]
fn links_inside_the_tree_work() {
    let scene = Scene::new();
    scene.link("to-file", "folder/file");
    scene.link("to-folder", "folder");
    scene.link("folder/back", "../own");
    scene.link("chained", "to-folder/back");
    let (_server, mut client) = scene.serve();
    assert_eq!(client.fetches("RETR to-file"), b"contents");
    assert_eq!(client.fetches("RETR to-folder/file"), b"contents");
    assert_eq!(client.fetches("RETR chained"), b"own");
    assert_eq!(client.says("SIZE to-file", 213).text(), b"8");
    client.says("MDTM chained", 213);
    assert!(client.says("MLST to-folder", 250).mentions("type=dir;"));
    assert_eq!(client.fetches("NLST to-folder"), b"to-folder/back\r\nto-folder/file\r\n");
    client.says("SITE CHMOD 600 to-file", 200);
    client.says("CWD to-folder", 250);
    assert_eq!(client.says("PWD", 257).text(), b"\"/to-folder\" is the current directory.");
    client.says("CDUP", 250);

    // What is stored by a link is stored where it points.
    client.stores("STOR to-file", b"newer");
    client.stores("APPE chained", b", and more");
    assert!(scene.served.join("to-file").is_symlink());
    assert!(scene.served.join("folder/back").is_symlink());
    assert_eq!(fs::read(scene.served.join("folder/file")).expect("a file"), b"newer");
    assert_eq!(fs::read(scene.served.join("own")).expect("a file"), b"own, and more");

    // What is taken away is the link.
    client.says("RMD to-folder", 550);
    client.says("DELE to-folder", 250);
    client.says("RNFR to-file", 350);
    client.says("RNTO moved", 250);
    client.says("DELE moved", 250);
    assert_eq!(fs::read(scene.served.join("folder/file")).expect("a file"), b"newer");
}

#[test]
fn links_in_circles_are_refused() {
    let scene = Scene::new();
    scene.link("itself", "itself");
    scene.link("there", "folder/back");
    scene.link("folder/back", "../there");
    let (_server, mut client) = scene.serve();
    for name in ["itself", "there", "folder/back", "itself/file"] {
        client.is_refused(format!("RETR {name}"), 550);
        client.is_refused(format!("STOR {name}"), 550);
        client.is_refused(format!("LIST {name}"), 550);
        client.says(format!("CWD {name}"), 550);
        client.says(format!("SIZE {name}"), 550);
        client.says(format!("MLST {name}"), 550);
    }
    // They are listed all the same.
    assert_eq!(client.fetches("NLST"), b"folder\r\nitself\r\nown\r\nthere\r\n");
    assert_eq!(client.fetches("LIST").split_inclusive(|&byte| byte == b'\n').count(), 4);
    assert_eq!(client.fetches("MLSD").split_inclusive(|&byte| byte == b'\n').count(), 4);
}

#[test]
fn a_link_that_turns_while_it_is_followed_does_not_lead_out() {
    const ROUNDS: usize = 150;
    let scene = Scene::new();
    tree::write(&scene.outside(), "file".as_ref(), b"secret");
    let before = tree::read(&scene.outside());
    let (_server, mut client) = scene.serve();
    let turns = AtomicBool::new(true);
    thread::scope(|scope| {
        let turning = scope.spawn(|| {
            while turns.load(Ordering::Relaxed) {
                for target in [Path::new("folder"), &scene.outside()] {
                    scene.link("next", target);
                    fs::rename(scene.served.join("next"), scene.served.join("turning")).expect("renamed");
                }
            }
        });
        let mut arrived = 0;
        for round in 0..ROUNDS {
            for command in [String::from("RETR turning/file"), format!("STOR turning/new-{round}")] {
                let mut data = client.opens_data();
                client.sends(format!("{command}\r\n"));
                match client.hears_any().code {
                    550 => continue,
                    code => assert_eq!(code, 150, "{command}"),
                }
                if command.starts_with("RETR") {
                    assert_eq!(read_all(&mut data), b"contents");
                } else {
                    data.write_all(b"new").expect("the server takes the data");
                }
                drop(data);
                // The folder of an upload may be another by the time of its end.
                let code = client.hears_any().code;
                assert!([226, 550].contains(&code), "{code} after {command}");
                arrived += 1;
            }
            client.sends(format!("MKD turning/made-{round}\r\n"));
            assert!([257, 550].contains(&client.hears_any().code));
        }
        turns.store(false, Ordering::Relaxed);
        turning.join().expect("the link was turned to the end");
        assert!(arrived > 0, "the link never led to the folder");
    });
    assert_eq!(tree::read(&scene.outside()), before);
}
