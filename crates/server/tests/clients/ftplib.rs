//! Python's ftplib, by a script that checks for itself.

use crate::support::site::Site;
use crate::support::tree::{self, Names};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/ftplib_client.py");

fn ftplib(listen: &str, mode: &str) {
    let site =
        Site::new(&["--listen", listen, "--anonymous", "write"], |_, local| tree::build(local, Names::Utf8));
    // More than the buffers of both ends hold, and nothing on the disk: a download to break off.
    let endless = std::fs::File::create(site.served.join("endless")).expect("a file");
    endless.set_len(1 << 32).expect("its length");
    let address = site.server.address();
    let arguments =
        ["-I", "-W", "error", SCRIPT, &address.ip().to_string(), &address.port().to_string(), mode];
    site.program("python3", "python3").args(arguments).succeeds();
    // What the script stored and left there is what it stored from.
    tree::assert_same(&site.local, &site.served.join("stored"));
}

#[test]
fn passive() {
    ftplib("127.0.0.1:0", "passive");
}

#[test]
fn active() {
    ftplib("127.0.0.1:0", "active");
}

#[test]
fn passive_over_ipv6() {
    ftplib("[::1]:0", "passive");
}

#[test]
fn active_over_ipv6() {
    ftplib("[::1]:0", "active");
}
