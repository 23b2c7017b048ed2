//! Contradictions between keys, and what works but was perhaps not meant.
//!
//! A check that concerns a key without a value, because what was written there is faulty, is left out.

use std::net::SocketAddr;

use protocol::rights::Rights;

use crate::choices::{AnonymousAccess, DataPeer, ProxyProtocol};
use crate::error::{ConfigError, Fault, Warning};
use crate::keys::{Config, Listener};
use crate::nearest;
use crate::place::{Origins, Place};
use crate::values::{Advertise, Rate};

/// Reports contradictions to `errors`, and returns the warnings.
pub(crate) fn check(config: &Config, origins: &Origins, errors: &mut Vec<ConfigError>) -> Vec<Warning> {
    let mut check = Check { config, origins, errors, warnings: Vec::new() };
    check.texts();
    check.listeners();
    check.passive_ports();
    check.port_offset();
    check.advertise("passive.advertise", &config.passive.advertise);
    check.data_peer();
    check.accounts();
    check.anonymous();
    check.fxp();
    check.drain();
    check.limits();
    check.metrics();
    check.warnings
}

struct Check<'c> {
    config: &'c Config,
    origins: &'c Origins,
    errors: &'c mut Vec<ConfigError>,
    warnings: Vec<Warning>,
}

impl Check<'_> {
    fn place(&self, path: &str) -> Place {
        self.origins.place_near(path).cloned().unwrap_or(Place::Nowhere)
    }

    /// The place of `path`, to be named in a fault of another key.
    fn shown(&self, path: &str) -> String {
        match self.origins.place_near(path) {
            Some(place) => format!("{path} ({place})"),
            None => format!("{path} (the default)"),
        }
    }

    /// Reports that `path` goes against other keys, unless one of them has no value.
    fn contradiction(
        &mut self,
        path: &str,
        others: &[&str],
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        if others.iter().chain([&path]).any(|path| self.origins.is_faulty(path)) {
            return;
        }
        let fault = Fault::Contradiction { what: what.into(), mend: mend.into() };
        self.errors.push(ConfigError::new(self.place(path), path.to_owned(), fault));
    }

    fn warn(&mut self, path: &str, message: impl Into<String>) {
        if !self.origins.is_faulty(path) {
            let warning = Warning { place: self.place(path), key: path.to_owned(), message: message.into() };
            self.warnings.push(warning);
        }
    }

    fn texts(&mut self) {
        let is_printable =
            |banner: &String| !banner.chars().any(|character| character.is_control() && character != '\n');
        if !self.config.banner.as_ref().is_none_or(is_printable) {
            self.contradiction("banner", &[], "a control character in the greeting", "leave it out");
        }
        if self.config.user.as_deref() == Some("root") {
            self.warn("user", "becoming root gives nothing up; name a user without privileges");
        }
    }

    fn listeners(&mut self) {
        if self.config.listeners.is_empty() {
            self.contradiction(
                "listeners",
                &[],
                "no client can reach the server",
                "name an address to listen on",
            );
        }
        for (number, listener) in self.config.listeners.iter().enumerate() {
            let path = format!("listeners[{number}]");
            let mut before = self.config.listeners.iter().take(number);
            if let Some(first) = before.position(|other| other.address == listener.address)
                && listener.address.port() != 0
            {
                let what =
                    format!("{} is listened on already by {}", listener.address, self.shown_listener(first));
                self.contradiction(&path, &[], what, "name each address once");
            }
            self.proxy(&path, listener);
            self.advertise(&format!("{path}.advertise"), &listener.advertise);
        }
    }

    fn shown_listener(&self, number: usize) -> String {
        self.shown(&format!("listeners[{number}]"))
    }

    fn proxy(&mut self, path: &str, listener: &Listener) {
        let (protocol, networks) = (format!("{path}.proxy_protocol"), format!("{path}.proxy_networks"));
        match (listener.proxy_protocol, listener.proxy_networks.is_empty()) {
            (ProxyProtocol::Required, true) => self.contradiction(
                &protocol,
                &[&networks],
                "without proxy_networks anybody could claim any address",
                "name the networks of the load balancers in proxy_networks",
            ),
            (ProxyProtocol::Off, false) => self.contradiction(
                &networks,
                &[&protocol],
                "no PROXY protocol is spoken on this listener",
                "add proxy_protocol = \"required\", or leave proxy_networks out",
            ),
            (ProxyProtocol::Required, false) | (ProxyProtocol::Off, true) => {}
        }
    }

    fn passive_ports(&mut self) {
        let Some(range) = self.config.passive.ports else { return };
        let overlaps = |address: &SocketAddr| range.overlaps(address.port());
        let overlapped = self.config.listeners.iter().position(|listener| overlaps(&listener.address));
        if let Some(number) = overlapped {
            let port = self.config.listeners.get(number).map_or(0, |listener| listener.address.port());
            let what = format!(
                "the range {range} contains the control port {port} of {}",
                self.shown_listener(number)
            );
            self.contradiction("passive.ports", &["listeners"], what, "move one of them");
        }
        if range.includes_privileged() {
            self.warn(
                "passive.ports",
                format!("binding ports below 1024, as in {range}, takes root or CAP_NET_BIND_SERVICE"),
            );
        }
    }

    fn port_offset(&mut self) {
        let offset = self.config.passive.port_offset;
        let Some(range) = self.config.passive.ports else {
            if offset != 0 {
                let what = "a NAT cannot move ports that the kernel picks anew at each start";
                self.contradiction(
                    "passive.port_offset",
                    &["passive.ports"],
                    what,
                    "name passive.ports as well",
                );
            }
            return;
        };
        let advertised = |port: u16| i64::from(port) + i64::from(offset);
        let (low, high) = (advertised(range.low()), advertised(range.high()));
        if low < 1 || high > i64::from(u16::MAX) {
            let what = format!("{range} and {offset} make {low} to {high}, which are not all ports");
            self.contradiction(
                "passive.port_offset",
                &["passive.ports"],
                what,
                "keep them within 1 to 65535",
            );
        }
    }

    fn advertise(&mut self, path: &str, advertise: &Advertise) {
        let rules = advertise.rules();
        let for_all = rules.iter().position(|rule| rule.networks.is_empty());
        if let Some(last) = for_all.filter(|number| number + 1 < rules.len()) {
            let unused = last + 1;
            self.warn(
                &format!("{path}[{unused}]"),
                format!("never used, for entry {last} is for all clients already; put that one last"),
            );
        }
        if !rules.is_empty()
            && self.config.passive.ports.is_none()
            && !self.origins.is_faulty("passive.ports")
        {
            self.warn(path, "a NAT or firewall cannot forward ports that the kernel picks anew at each start; name passive.ports");
        }
    }

    fn data_peer(&mut self) {
        let passive = &self.config.passive;
        match (passive.peer, passive.peer_proxies.is_empty()) {
            (DataPeer::Proxies, true) => self.contradiction(
                "passive.peer",
                &["passive.peer_proxies"],
                "there are no proxies",
                "name their networks in passive.peer_proxies",
            ),
            (DataPeer::Exact | DataPeer::Network, false) => self.contradiction(
                "passive.peer_proxies",
                &["passive.peer"],
                format!("with peer = \"{}\" no proxy is asked for", passive.peer),
                "write peer = \"proxies\", or leave peer_proxies out",
            ),
            _ => {}
        }
        for path in ["passive.peer_ipv4_prefix_bits", "passive.peer_ipv6_prefix_bits"] {
            if passive.peer != DataPeer::Network && self.origins.place(path).is_some() {
                self.warn(path, "without effect, for it belongs to peer = \"network\"");
            }
        }
    }

    fn accounts(&mut self) {
        let accounts = &self.config.accounts;
        for (number, account) in accounts.iter().enumerate() {
            let first = accounts.iter().take(number).position(|other| other.name == account.name);
            if let Some(first) = first {
                let what = format!(
                    "\"{}\" is the name of {} too",
                    account.name,
                    self.shown(&format!("accounts[{first}]"))
                );
                self.contradiction(
                    &format!("accounts[{number}].name"),
                    &[],
                    what,
                    "give each account a name of its own",
                );
            }
        }
        for (number, account) in accounts.iter().enumerate() {
            let changes = account.rights & (Rights::OVERWRITE | Rights::APPEND);
            if !changes.is_empty() && !account.rights.contains(Rights::UPLOAD) {
                let path = format!("accounts[{number}].rights");
                self.warn(&path, "\"overwrite\" and \"append\" have no effect without \"upload\"; add it");
            }
        }
        let nobody = accounts.is_empty() && self.config.anonymous.access == AnonymousAccess::Off;
        if nobody && !self.origins.is_faulty("accounts") {
            self.warn("anonymous.access", "nobody can log in, for there are no accounts either");
        }
    }

    fn anonymous(&mut self) {
        if self.config.anonymous.access != AnonymousAccess::Off {
            if !self.config.accounts.is_empty() && self.origins.place("anonymous.access").is_none() {
                self.warn(
                    "anonymous.access",
                    "guests may list and download, which is the default; write \"read\" if that is meant, else \"off\"",
                );
            }
            return;
        }
        for key in ["root", "networks", "sessions_max", "download_rate", "upload_rate"] {
            let path = format!("anonymous.{key}");
            if self.origins.place(&path).is_some() {
                self.warn(&path, "without effect, for anonymous.access is \"off\"");
            }
        }
    }

    fn fxp(&mut self) {
        let has_anonymous = self.config.anonymous.access != AnonymousAccess::Off;
        let names = self.config.accounts.iter().map(|account| account.name.as_str());
        let names: Vec<&str> = names.chain(has_anonymous.then_some("anonymous")).collect();
        for (number, user) in self.config.fxp.users.iter().enumerate() {
            if !names.contains(&user.as_str()) {
                let mend = match nearest::similar(user, names.iter().copied()) {
                    Some(name) => format!("did you mean \"{name}\"?"),
                    None => String::from("add it to the accounts, or leave it out here"),
                };
                let path = format!("fxp.users[{number}]");
                self.contradiction(
                    &path,
                    &["accounts", "anonymous.access"],
                    format!("there is no account \"{user}\""),
                    mend,
                );
            }
        }
    }

    fn drain(&mut self) {
        let deadlines = &self.config.deadlines;
        if deadlines.drain_delay_s.get() >= deadlines.drain_s.get() {
            let (path, other) = match self.origins.place("deadlines.drain_delay_s") {
                Some(_) => ("deadlines.drain_delay_s", "deadlines.drain_s"),
                None => ("deadlines.drain_s", "deadlines.drain_delay_s"),
            };
            let what = format!(
                "a delay of {} s leaves nothing of the {} s to drain",
                deadlines.drain_delay_s, deadlines.drain_s
            );
            self.contradiction(path, &[other], what, "make drain_s the longer one");
        }
    }

    fn metrics(&mut self) {
        let Some(address) = self.config.metrics.address else { return };
        let taken = match self.config.listeners.iter().position(|listener| listener.address == address) {
            Some(number) => Some(("listeners", self.shown_listener(number))),
            None => (self.config.passive.ports.is_some_and(|range| range.overlaps(address.port())))
                .then(|| ("passive.ports", self.shown("passive.ports"))),
        };
        if let Some((other, shown)) = taken.filter(|_| address.port() != 0) {
            let what = format!("{address} belongs to {shown} already");
            self.contradiction("metrics.address", &[other], what, "choose another port");
        }
    }

    fn limits(&mut self) {
        let limits = &self.config.limits;
        let counts = [
            ("limits.sessions_per_address_max", limits.sessions_per_address_max),
            ("limits.sessions_per_network_max", limits.sessions_per_network_max),
            ("limits.sessions_pending_max", limits.sessions_pending_max),
        ];
        for (path, count) in counts {
            if let (Some(count), Some(total)) = (count, limits.sessions_max)
                && count > total
            {
                self.warn(path, format!("never reached, for limits.sessions_max is {total}"));
            }
        }
        let rates = [
            (
                "limits.download_rate_per_session",
                limits.download_rate_per_session,
                limits.download_rate_total,
            ),
            ("limits.upload_rate_per_session", limits.upload_rate_per_session, limits.upload_rate_total),
        ];
        for (path, session, total) in rates {
            if let (Some(session), Some(all)) = (Rate::bytes_per_s(session), Rate::bytes_per_s(total))
                && session > all
            {
                self.warn(path, format!("never reached, for all sessions together have {total}"));
            }
        }
    }
}
