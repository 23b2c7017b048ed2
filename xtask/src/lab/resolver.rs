//! The name server of the server's site: dnsmasq, whose one answer can be changed.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lab::plan::{SITE_NAME, SITE_ROUTER};
use crate::lab::world::World;

/// A running name server. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Resolver {
    child: Child,
    hosts: PathBuf,
}

impl Resolver {
    /// Starts it on the router of the site, and has the site's server ask it.
    pub(crate) fn start(world: &World, scratch: &Path, address: Ipv4Addr) -> anyhow::Result<Self> {
        let hosts = scratch.join("hosts");
        fs::write(&hosts, format!("{address} {SITE_NAME}\n"))?;
        let mut command = world.site_router.command("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-hosts",
                "--no-resolv",
                "--user=root",
            ])
            .args(["--pid-file=", "--bind-interfaces", "--log-facility=-"])
            .arg(format!("--listen-address={SITE_ROUTER}"))
            .arg(format!("--addn-hosts={}", hosts.display()));
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot run ip")?;
        let resolver = Self { child, hosts };
        // Before the server starts: it reads the file once.
        world.server.overlay("resolv.conf", &format!("nameserver {SITE_ROUTER}\n"))?;
        world.server.within(wait_for_answer)??;
        Ok(resolver)
    }

    /// Changes the answer.
    pub(crate) fn change(&self, address: Ipv4Addr) -> anyhow::Result<()> {
        fs::write(&self.hosts, format!("{address} {SITE_NAME}\n"))?;
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGHUP).context("dnsmasq has ended")
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until something answers. A question for the root zone is the shortest there is.
fn wait_for_answer() -> anyhow::Result<()> {
    const QUESTION: &[u8] = &[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((SITE_ROUTER, 53))?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        // Nobody listens yet: that is an error of either call.
        if socket.send(QUESTION).is_ok() && socket.recv(&mut [0; 512]).is_ok() {
            return Ok(());
        }
        thread::yield_now();
    }
    bail!("dnsmasq does not answer")
}
