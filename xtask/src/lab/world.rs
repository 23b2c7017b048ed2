//! The machines of the laboratory and the cables between them.
//!
//! ```text
//!  home (10.1.0.0/24)                internet (198.18.0.0/24)              site (10.2.0.0/24)
//!
//!  client .2 ---- home-router .1/.10 ----+---- site-router .30/.1 ---+---- server .2
//!                                        |                           |
//!                     direct .20 --------+                           +---- inner .3
//!                     open   .40 --------+
//!                     peer   .41 --------+
//! ```
//!
//! The internet's addresses are those set aside for tests (RFC 2544, RFC 5180); none of this is connected to anything else.
//! IPv6 (`2001:2::/48`) runs at home and on the internet, without translation, behind the same stateful firewall.

use std::path::Path;

use crate::lab::firewall::{self, Helper, Published};
use crate::lab::namespace::{Namespace, connect};
use crate::lab::plan::{SITE, SITE_LATER};

/// All machines. Dropped, they are taken down.
#[derive(Debug)]
pub(crate) struct World {
    /// A client behind a translator.
    pub(crate) client: Namespace,
    /// The translator of the client.
    home_router: Namespace,
    /// The switch of the internet.
    internet: Namespace,
    /// A client on the internet.
    pub(crate) direct: Namespace,
    /// A server on the internet.
    pub(crate) open: Namespace,
    /// Another server on the internet.
    pub(crate) peer: Namespace,
    /// The translator of the server, the switch of its site, and its name server.
    pub(crate) site_router: Namespace,
    /// A server behind a translator.
    pub(crate) server: Namespace,
    /// A client beside that server.
    pub(crate) inner: Namespace,
}

impl World {
    /// Makes all machines and connects them. The routers forward nothing yet.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let world = Self {
            client: Namespace::create("client")?,
            home_router: Namespace::create("home-router")?,
            internet: Namespace::create("internet")?,
            direct: Namespace::create("direct")?,
            open: Namespace::create("open")?,
            peer: Namespace::create("peer")?,
            site_router: Namespace::create("site-router")?,
            server: Namespace::create("server")?,
            inner: Namespace::create("inner")?,
        };
        world.lay_cables()?;
        world.give_addresses()?;
        for router in [&world.home_router, &world.site_router] {
            router.set("ipv4/ip_forward", "1")?;
        }
        world.home_router.set("ipv6/conf/all/forwarding", "1")?;
        // The router keeps its second address when its first is taken from it.
        world.site_router.set("ipv4/conf/all/promote_secondaries", "1")?;
        world.keep_firewalls_off_switches()?;
        Ok(world)
    }

    /// Some kernels show what a switch passes on to the firewall, as if it were routed.
    fn keep_firewalls_off_switches(&self) -> anyhow::Result<()> {
        const PARAMETER: &str = "bridge/bridge-nf-call-iptables";
        if Path::new("/proc/sys/net").join(PARAMETER).exists() {
            self.site_router.set(PARAMETER, "0")?;
        }
        Ok(())
    }

    fn lay_cables(&self) -> anyhow::Result<()> {
        connect((&self.client, "home"), (&self.home_router, "home"))?;
        let on_the_internet = [
            (&self.direct, "direct"),
            (&self.open, "open"),
            (&self.peer, "peer"),
            (&self.home_router, "home-router"),
            (&self.site_router, "site-router"),
        ];
        plug_in(&self.internet, "switch", "internet", &on_the_internet)?;
        plug_in(&self.site_router, "site", "site", &[(&self.server, "server"), (&self.inner, "inner")])
    }

    fn give_addresses(&self) -> anyhow::Result<()> {
        let on_the_internet = |host: u8| {
            [
                format!("addr add 198.18.0.{host}/24 dev internet"),
                format!("addr add 2001:2::{host}/64 dev internet nodad"),
                format!("addr add fe80::{host}/64 dev internet nodad"),
                String::from("link set internet up"),
                String::from("route add 2001:2:0:1::/64 via 2001:2::10"),
            ]
        };
        for (machine, host) in
            [(&self.direct, 20), (&self.open, 40), (&self.peer, 41), (&self.site_router, 30)]
        {
            machine.ip(&on_the_internet(host).each_ref().map(String::as_str))?;
        }
        self.home_router.ip(&[
            "addr add 198.18.0.10/24 dev internet",
            "addr add 2001:2::10/64 dev internet nodad",
            "link set internet up",
            "addr add 10.1.0.1/24 dev home",
            "addr add 2001:2:0:1::1/64 dev home nodad",
            "link set home up",
        ])?;
        self.client.ip(&[
            "addr add 10.1.0.2/24 dev home",
            "addr add 2001:2:0:1::2/64 dev home nodad",
            "link set home up",
            "route add default via 10.1.0.1",
            "route add default via 2001:2:0:1::1",
        ])?;
        self.site_router.ip(&["addr add 10.2.0.1/24 dev site"])?;
        for (machine, host) in [(&self.server, 2), (&self.inner, 3)] {
            let address = format!("addr add 10.2.0.{host}/24 dev site");
            machine.ip(&[&address, "link set site up", "route add default via 10.2.0.1"])?;
        }
        Ok(())
    }

    /// Sets up the router of the client's home.
    pub(crate) fn set_home_router(&self, helper: Helper) -> anyhow::Result<()> {
        self.home_router.nft(&firewall::home_router(helper))
    }

    /// Sets up the router of the server's site.
    pub(crate) fn set_site_router(&self, published: Published) -> anyhow::Result<()> {
        self.site_router.nft(&firewall::site_router(published))
    }

    /// Gives the router of the server's site its other address, and takes the first away.
    pub(crate) fn move_site(&self) -> anyhow::Result<()> {
        self.readdress_site(&SITE_LATER.to_string(), &SITE.to_string())
    }

    /// Takes [`Self::move_site`] back.
    pub(crate) fn move_site_back(&self) -> anyhow::Result<()> {
        self.readdress_site(&SITE.to_string(), &SITE_LATER.to_string())
    }

    fn readdress_site(&self, new: &str, old: &str) -> anyhow::Result<()> {
        let (add, remove) =
            (format!("addr add {new}/24 dev internet"), format!("addr del {old}/24 dev internet"));
        self.site_router.ip(&[&add, &remove])
    }
}

/// Makes a switch on one machine, and connects others to it: each has an interface of the name of the network.
fn plug_in(
    switch: &Namespace,
    bridge: &str,
    network: &str,
    machines: &[(&Namespace, &str)],
) -> anyhow::Result<()> {
    let make = format!("link add {bridge} type bridge");
    let start = format!("link set {bridge} up");
    switch.ip(&[&make, &start])?;
    for (machine, label) in machines {
        let socket = format!("to-{label}");
        connect((machine, network), (switch, &socket))?;
        switch.ip(&[&format!("link set {socket} master {bridge} up")])?;
    }
    Ok(())
}
