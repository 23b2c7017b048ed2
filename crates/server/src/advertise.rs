//! The address that the reply to `PASV` names: what the client can reach, which behind a translator is not what this server
//! sees of itself.
//!
//! A rule says: to clients of these networks, this address. It is fixed, or a name that a thread of its own looks up
//! again and again; sessions read what it found last, and never wait for a resolver.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use config::{Advertise, AdvertiseRule, Network};

use crate::peers::contains;

/// The rules of one listener, the first that fits holds.
#[derive(Debug, Default)]
pub(crate) struct Advertiser {
    rules: Vec<(Vec<Network>, Arc<Host>)>,
    port_offset: i32,
}

/// One host and its address, if it is known.
#[derive(Debug)]
struct Host {
    host: config::Host,
    /// The address in the low half and [`KNOWN`]; zero while a name has never been found.
    found: AtomicU64,
}

/// The bit that tells an address that was found from none.
const KNOWN: u64 = 1 << 32;

impl Host {
    fn new(host: config::Host) -> Self {
        let found = match host {
            config::Host::Address(address) => KNOWN | u64::from(u32::from(address)),
            config::Host::Name(_) => 0,
        };
        Self { host, found: AtomicU64::new(found) }
    }

    fn address(&self) -> Option<Ipv4Addr> {
        let found = self.found.load(Ordering::Relaxed);
        let [.., a, b, c, d] = found.to_be_bytes();
        (found & KNOWN != 0).then_some(Ipv4Addr::new(a, b, c, d))
    }

    /// Looks the name up. A resolver that fails leaves what it found before.
    fn refresh(&self, resolve: &impl Fn(&str) -> Option<Ipv4Addr>) {
        let config::Host::Name(name) = &self.host else { return };
        let name = name.as_str();
        let Some(address) = resolve(name) else {
            tracing::warn!(name, kept = ?self.address(), "the advertised name was not found");
            return;
        };
        if self.address() != Some(address) {
            tracing::info!(name, %address, "the advertised name has a new address");
            self.found.store(KNOWN | u64::from(u32::from(address)), Ordering::Relaxed);
        }
    }
}

impl Advertiser {
    /// The address and port to tell `client`, who is on a control connection to `local`, of a passive port. Without a
    /// rule that fits, or while its name was never found, that is `local`'s own address.
    pub(crate) fn advertised(&self, client: IpAddr, local: IpAddr, port: u16) -> SocketAddr {
        let fits = |networks: &[Network]| networks.is_empty() || contains(networks, client);
        let rule = self.rules.iter().find(|(networks, _)| fits(networks));
        let ip = rule.and_then(|(_, host)| host.address()).map_or(local.to_canonical(), IpAddr::V4);
        SocketAddr::new(ip, self.advertised_port(port))
    }

    /// The port that clients outside see. The offset was checked against the whole range at the start.
    pub(crate) fn advertised_port(&self, port: u16) -> u16 {
        u16::try_from(i32::from(port) + self.port_offset).unwrap_or(port)
    }
}

/// The hosts of every listener. The next configuration begins with a book of its own, which takes over what this one
/// knows.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    hosts: Vec<Arc<Host>>,
    /// Those of the book before.
    known: Vec<Arc<Host>>,
}

/// Keeps the addresses of a book's names fresh, by a thread of its own that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Resolver {
    _ends_when_dropped: mpsc::Sender<Infallible>,
}

impl AddressBook {
    /// A book for the next configuration.
    pub(crate) fn after(before: &Self) -> Self {
        Self { hosts: Vec::new(), known: before.hosts.clone() }
    }

    /// What a listener advertises by its own rules and then by everybody's; a host that stands in several is looked up
    /// once.
    pub(crate) fn advertiser(
        &mut self,
        own: &Advertise,
        everybodys: &Advertise,
        port_offset: i32,
    ) -> Advertiser {
        let rules = own.rules().iter().chain(everybodys.rules());
        let rules =
            rules.map(|AdvertiseRule { networks, address }| (networks.clone(), self.host(address))).collect();
        Advertiser { rules, port_offset }
    }

    fn host(&mut self, wanted: &config::Host) -> Arc<Host> {
        let known = self.hosts.iter().chain(&self.known).find(|known| known.host == *wanted);
        let host = known.map_or_else(|| Arc::new(Host::new(wanted.clone())), Arc::clone);
        if !self.hosts.iter().any(|known| Arc::ptr_eq(known, &host)) {
            self.hosts.push(Arc::clone(&host));
        }
        host
    }

    /// Looks every name up that has no address yet, and all of them again and again. A name that is not found now is an
    /// error in the log and not the end: it may come to be found. Blocks.
    pub(crate) fn keep_fresh(&self, every: Duration) -> std::io::Result<Option<Resolver>> {
        let is_name = |host: &&Arc<Host>| matches!(host.host, config::Host::Name(_));
        let names: Vec<_> = self.hosts.iter().filter(is_name).cloned().collect();
        if names.is_empty() {
            return Ok(None);
        }
        names.iter().filter(|host| host.address().is_none()).for_each(|host| host.refresh(&look_up));
        let (ends_when_dropped, end) = mpsc::channel();
        thread::Builder::new().name(String::from("resolver")).spawn(move || {
            while end.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
                names.iter().for_each(|host| host.refresh(&look_up));
            }
        })?;
        Ok(Some(Resolver { _ends_when_dropped: ends_when_dropped }))
    }
}

/// Asks the system's resolver, which may block for long.
fn look_up(name: &str) -> Option<Ipv4Addr> {
    let found = (name, 0).to_socket_addrs().ok()?;
    let addresses = found.filter_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    // Of several addresses the same one each time, in whatever order they come.
    addresses.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&[&str], &str)]) -> Advertise {
        let rule = |(networks, host): &(&[&str], &str)| AdvertiseRule {
            networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
            address: host.parse().unwrap(),
        };
        Advertise::new(rules.iter().map(rule).collect())
    }

    fn advertiser(book: &mut AddressBook, of: &[(&[&str], &str)], port_offset: i32) -> Advertiser {
        book.advertiser(&rules(of), &Advertise::default(), port_offset)
    }

    fn told(advertiser: &Advertiser, client: &str) -> String {
        advertiser.advertised(client.parse().unwrap(), "10.0.0.1".parse().unwrap(), 50000).to_string()
    }

    #[test]
    fn each_client_is_told_what_it_can_reach() {
        let own = rules(&[(&["10.0.0.0/8", "192.168.0.0/16"], "10.0.0.1")]);
        let advertiser = AddressBook::default().advertiser(&own, &rules(&[(&[], "203.0.113.9")]), 0);
        assert_eq!(told(&advertiser, "10.1.2.3"), "10.0.0.1:50000");
        assert_eq!(told(&advertiser, "::ffff:192.168.7.7"), "10.0.0.1:50000");
        assert_eq!(told(&advertiser, "198.51.100.7"), "203.0.113.9:50000");
    }

    #[test]
    fn without_a_rule_it_is_the_address_that_the_client_reached() {
        let advertiser = advertiser(&mut AddressBook::default(), &[(&["10.0.0.0/8"], "10.9.9.9")], 10);
        assert_eq!(told(&advertiser, "198.51.100.7"), "10.0.0.1:50010");
        let mapped = advertiser.advertised("::1".parse().unwrap(), "::ffff:10.0.0.2".parse().unwrap(), 1);
        assert_eq!(mapped.to_string(), "10.0.0.2:11");
    }

    #[test]
    fn a_name_is_followed_and_never_forgotten() {
        let mut book = AddressBook::default();
        let advertiser = advertiser(&mut book, &[(&[], "ftp.example.org")], 0);
        // Never found: the control connection's own address.
        book.hosts[0].refresh(&|_| None);
        assert_eq!(told(&advertiser, "198.51.100.7"), "10.0.0.1:50000");
        book.hosts[0].refresh(&|_| Some(Ipv4Addr::new(203, 0, 113, 1)));
        assert_eq!(told(&advertiser, "198.51.100.7"), "203.0.113.1:50000");
        book.hosts[0].refresh(&|_| None);
        assert_eq!(told(&advertiser, "198.51.100.7"), "203.0.113.1:50000");
        book.hosts[0].refresh(&|_| Some(Ipv4Addr::UNSPECIFIED));
        assert_eq!(told(&advertiser, "198.51.100.7"), "0.0.0.0:50000");
    }
}
