//! The load balancer in front of the server's site: haproxy, which makes connections of its own and says by the PROXY
//! protocol whose they are.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, ensure};

use crate::lab::PATIENCE;
use crate::lab::plan::{CONTROL_PORTS, PASSIVE_HIGH, PASSIVE_LOW, SERVER, SITE};
use crate::lab::world::World;

/// Which form of the PROXY protocol's header goes in front of a control connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// A line of text.
    Version1,
    /// Binary.
    Version2,
}

/// A running load balancer. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Balancer {
    child: Child,
}

impl Balancer {
    /// Starts it on the router of the site.
    pub(crate) fn start(world: &World, scratch: &Path, header: Header) -> anyhow::Result<Self> {
        let file = scratch.join("haproxy.cfg");
        fs::write(&file, configuration(header))?;
        let mut command = world.site_router.command("haproxy");
        // In one process, in the foreground, quietly.
        command.args(["-db", "-q", "-f"]).arg(file).stdin(Stdio::null());
        let balancer = Self { child: command.spawn().context("cannot run ip")? };
        let listens = || TcpStream::connect((SITE, PASSIVE_HIGH)).is_ok();
        let deadline = Instant::now() + PATIENCE;
        while !world.site_router.within(listens)? {
            ensure!(Instant::now() < deadline, "haproxy does not listen");
            thread::yield_now();
        }
        Ok(balancer)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Control connections go on with a header; data connections, which come to the same port as they go to, without.
fn configuration(header: Header) -> String {
    let header = match header {
        Header::Version1 => "send-proxy",
        Header::Version2 => "send-proxy-v2",
    };
    let mut text = String::from(
        "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n",
    );
    for port in CONTROL_PORTS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "listen control-{port}\n    bind {SITE}:{port}\n    server ftp {SERVER}:{port} {header}"
        );
    }
    let _ =
        writeln!(text, "listen data\n    bind {SITE}:{PASSIVE_LOW}-{PASSIVE_HIGH}\n    server ftp {SERVER}");
    text
}
