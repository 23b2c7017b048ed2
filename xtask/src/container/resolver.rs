//! A name server inside the network of a container.

use std::process::{Child, Stdio};

use anyhow::Context as _;

use crate::container::podman::Container;

/// The name that is asked for.
pub(super) const NAME: &str = "ftp.container.test";

/// Its address: not the one that a server would tell by itself, and yet one that clients of the loopback reach.
pub(super) const ADDRESS: &str = "127.0.0.9";

/// A running name server. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Resolver(Child);

impl Resolver {
    /// Starts it where the container looks for it.
    pub(super) fn start(container: &Container<'_>) -> anyhow::Result<Self> {
        let mut dnsmasq = container.client("dnsmasq");
        dnsmasq.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts", "--no-resolv"]);
        dnsmasq.args(["--user=root", "--pid-file=", "--log-facility=-", "--bind-interfaces"]);
        dnsmasq.arg("--listen-address=127.0.0.1").arg(format!("--address=/{NAME}/{ADDRESS}"));
        dnsmasq.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Self).context("cannot run nsenter")
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // It ends with the container's network, but for its being killed here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
