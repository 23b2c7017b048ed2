//! Sessions that do nothing cost little.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::net::Ipv4Addr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use raw::Client;
use raw::process::resident_bytes;
use support::site::Site;

/// What an idle session may take of the server's memory, in bytes, the kernel's own not counted.
const SESSION_BYTES_MAX: u64 = 2048;
/// Enough of them for what the server takes once not to count.
const SESSIONS: u32 = 5000;
/// Those that bring the server to what it takes once.
const FIRST: u32 = 200;

#[test]
fn an_idle_session_takes_two_kibibytes_at_most() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit of descriptors");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the soft limit may be raised");
    let site = Site::new(&["--idle-timeout", "600"], |_, _| {});
    let log_in = |number: u32| {
        // From many addresses, as many clients would.
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number / 100);
        Client::log_in_from(source, site.server.address())
    };
    let mut sessions: Vec<Client> = (0..FIRST).map(log_in).collect();
    let before = resident_bytes(site.server.pid());
    sessions.extend((FIRST..SESSIONS).map(log_in));
    let taken = resident_bytes(site.server.pid()).saturating_sub(before);
    let each = taken / u64::from(SESSIONS - FIRST);
    assert!(each <= SESSION_BYTES_MAX, "each of {SESSIONS} idle sessions takes {each} bytes");
    // They are alive.
    for session in sessions.iter_mut().step_by(100) {
        session.says("NOOP", 200);
    }
}
