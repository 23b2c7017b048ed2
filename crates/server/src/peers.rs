//! Whose data connections are taken, and whom the server connects to: the data peer policy and transfers between two servers.
//!
//! A lease is kept under one key. For a client that is its address, or its network, or (behind listed proxies) the one key that
//! stands for all of them; for a session that may transfer between servers it is a key that any permitted address fits, and its own
//! client's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use accounts::is_anonymous;
use config::Network;
use passive_ports::ClientAddress;
use protocol::session::AddressVerdict;

use crate::own_ports::OwnPorts;

/// Which address a data connection must come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DataPeers {
    pub(crate) policy: PeerPolicy,
    /// Data connections from these addresses are those of the sessions whose control connections come from them.
    pub(crate) proxies: Vec<Network>,
    pub(crate) fxp: FxpPolicy,
}

/// How near a data connection's address must be to the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PeerPolicy {
    /// The same address.
    #[default]
    Exact,
    /// The same network, of this many leading bits.
    Network { ipv4_prefix_bits: u8, ipv6_prefix_bits: u8 },
}

/// Who may have data connections to or from another address than its own (FXP; RFC 2577 tells why that is nobody by default).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FxpPolicy {
    /// The other servers.
    pub(crate) networks: Vec<Network>,
    /// The accounts; all, where only networks are listed.
    pub(crate) users: Vec<String>,
}

/// Stands for every listed proxy. No client has this address.
const ANY_PROXY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Stands for every address that a transfer between servers may come from. No client has this address either.
const ANY_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The key that a port is leased under, and the one that the session's own client fits: another where a server may come as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseKeys {
    pub(crate) key: ClientAddress,
    pub(crate) own: ClientAddress,
}

/// A data connection that has come.
pub(crate) struct Arriving {
    /// What it fits, the nearest first: its own key, and that of the sessions that may transfer between servers.
    keys: [ClientAddress; 2],
    may_be_a_server: bool,
}

impl Arriving {
    pub(crate) fn keys(&self) -> &[ClientAddress] {
        &self.keys
    }

    /// Whether it is for a session that leased under `key`, and whose own client fits `own`.
    pub(crate) fn fits(&self, key: ClientAddress, own: ClientAddress) -> bool {
        let [nearest, _] = self.keys;
        key == nearest || own == nearest || self.may_be_a_server
    }
}

impl DataPeers {
    /// The keys under which a session of `client` leases a port, whose control connection comes from `control_peer`: the
    /// same, or a proxy.
    pub(crate) fn lease_keys(&self, client: IpAddr, control_peer: IpAddr, may_fxp: bool) -> LeaseKeys {
        let own = if contains(&self.proxies, control_peer) {
            ClientAddress::from(ANY_PROXY)
        } else {
            self.key(client)
        };
        LeaseKeys { key: if may_fxp { ClientAddress::from(ANY_SERVER) } else { own }, own }
    }

    /// Whose a data connection from `peer` may be.
    pub(crate) fn arriving(&self, peer: IpAddr) -> Arriving {
        let own = if contains(&self.proxies, peer) { ClientAddress::from(ANY_PROXY) } else { self.key(peer) };
        Arriving {
            keys: [own, ClientAddress::from(ANY_SERVER)],
            may_be_a_server: self.fxp.permits_address(peer),
        }
    }

    /// Whether a session of `client` may have a data connection made to `address`.
    pub(crate) fn verdict_on(
        &self,
        address: SocketAddr,
        client: IpAddr,
        may_fxp: bool,
        own_ports: &OwnPorts,
    ) -> AddressVerdict {
        let is_server = may_fxp && self.fxp.permits_address(address.ip());
        if !is_server && address.ip().to_canonical() != client {
            AddressVerdict::Foreign
        // Two sessions of this server may be the two servers; then one connects to a passive port of the other.
        } else if own_ports.takes_commands_at(address) || (!is_server && own_ports.contains(address)) {
            AddressVerdict::TheServer
        } else {
            AddressVerdict::Permitted
        }
    }

    fn key(&self, address: IpAddr) -> ClientAddress {
        let address = ClientAddress::from(address);
        match self.policy {
            PeerPolicy::Exact => address,
            PeerPolicy::Network { ipv4_prefix_bits, ipv6_prefix_bits } => {
                address.network(ipv4_prefix_bits, ipv6_prefix_bits)
            }
        }
    }
}

impl FxpPolicy {
    pub(crate) fn is_on(&self) -> bool {
        !self.networks.is_empty() || !self.users.is_empty()
    }

    /// Whether the account that is logged in as `user` may transfer between servers at all.
    pub(crate) fn permits_user(&self, user: &[u8]) -> bool {
        // Of the names of the anonymous account each stands for all.
        let means_it = |listed: &[u8]| listed == user || is_anonymous(listed) && is_anonymous(user);
        self.is_on() && (self.users.is_empty() || self.users.iter().any(|listed| means_it(listed.as_bytes())))
    }

    /// Whether `address` may be the other server: never one that means many machines, or this one.
    pub(crate) fn permits_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let means_one_machine =
            !address.is_multicast() && !address.is_unspecified() && !is_broadcast(address);
        // This machine's own services are reached from it only where somebody listed them.
        let listed = contains(&self.networks, address);
        let anywhere = self.is_on() && self.networks.is_empty() && !address.is_loopback();
        means_one_machine && (listed || anywhere)
    }
}

fn is_broadcast(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_broadcast())
}

/// Whether one of `networks` contains `address`.
pub(crate) fn contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

impl From<&config::Config> for DataPeers {
    fn from(config: &config::Config) -> Self {
        let passive = &config.passive;
        let policy = match passive.peer {
            config::DataPeer::Exact | config::DataPeer::Proxies => PeerPolicy::Exact,
            config::DataPeer::Network => PeerPolicy::Network {
                // The bounds of the keys are those of a byte.
                ipv4_prefix_bits: u8::try_from(passive.peer_ipv4_prefix_bits.get()).unwrap_or(32),
                ipv6_prefix_bits: u8::try_from(passive.peer_ipv6_prefix_bits.get()).unwrap_or(128),
            },
        };
        let proxies = match passive.peer {
            config::DataPeer::Proxies => passive.peer_proxies.clone(),
            config::DataPeer::Exact | config::DataPeer::Network => Vec::new(),
        };
        let fxp = FxpPolicy { networks: config.fxp.networks.clone(), users: config.fxp.users.clone() };
        Self { policy, proxies, fxp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn arrives(peers: &DataPeers, client: &str, control_peer: &str, may_fxp: bool, from: &str) -> bool {
        let LeaseKeys { key, own } = peers.lease_keys(ip(client), ip(control_peer), may_fxp);
        let arriving = peers.arriving(ip(from));
        arriving.keys().contains(&key) && arriving.fits(key, own)
    }

    #[test]
    fn by_default_only_the_clients_own_address_fits() {
        let peers = DataPeers::default();
        assert!(arrives(&peers, "192.0.2.1", "192.0.2.1", false, "192.0.2.1"));
        assert!(arrives(&peers, "192.0.2.1", "192.0.2.1", false, "::ffff:192.0.2.1"));
        assert!(!arrives(&peers, "192.0.2.1", "192.0.2.1", false, "192.0.2.2"));
        assert!(!arrives(&peers, "2001:db8::1", "2001:db8::1", false, "2001:db8::2"));
    }

    #[test]
    fn a_network_may_fit_as_a_whole() {
        let policy = PeerPolicy::Network { ipv4_prefix_bits: 24, ipv6_prefix_bits: 64 };
        let peers = DataPeers { policy, ..DataPeers::default() };
        assert!(arrives(&peers, "192.0.2.1", "192.0.2.1", false, "192.0.2.200"));
        assert!(!arrives(&peers, "192.0.2.1", "192.0.2.1", false, "192.0.3.1"));
        assert!(arrives(&peers, "2001:db8::1", "2001:db8::1", false, "2001:db8::ffff:1"));
        assert!(!arrives(&peers, "2001:db8::1", "2001:db8::1", false, "2001:db8:1::1"));
    }

    #[test]
    fn any_proxy_fits_the_sessions_that_came_by_one() {
        let proxies = vec!["10.0.0.0/24".parse().unwrap()];
        let peers = DataPeers { proxies, ..DataPeers::default() };
        assert!(arrives(&peers, "192.0.2.1", "10.0.0.1", false, "10.0.0.2"));
        assert!(!arrives(&peers, "192.0.2.1", "192.0.2.1", false, "10.0.0.2"));
        assert!(!arrives(&peers, "192.0.2.1", "10.0.0.1", false, "192.0.2.9"));
    }

    #[test]
    fn another_server_fits_only_where_it_is_listed() {
        let networks = vec!["198.51.100.0/24".parse().unwrap()];
        let fxp = FxpPolicy { networks, users: vec![String::from("mirror")] };
        let peers = DataPeers { fxp, ..DataPeers::default() };
        assert!(peers.fxp.permits_user(b"mirror"));
        assert!(!peers.fxp.permits_user(b"anonymous"));
        let everybody = FxpPolicy { users: vec![String::from("anonymous")], ..FxpPolicy::default() };
        assert!(everybody.permits_user(b"anonymous") && everybody.permits_user(b"ftp"));
        assert!(!everybody.permits_user(b"mirror"));
        assert!(arrives(&peers, "192.0.2.1", "192.0.2.1", true, "198.51.100.7"));
        assert!(!arrives(&peers, "192.0.2.1", "192.0.2.1", true, "203.0.113.7"));
        assert!(!arrives(&peers, "192.0.2.1", "192.0.2.1", false, "198.51.100.7"));
        // Most of what a session that may have a server come does is its own client's.
        assert!(arrives(&peers, "192.0.2.1", "192.0.2.1", true, "192.0.2.1"));
        assert!(!arrives(&peers, "192.0.2.1", "192.0.2.1", true, "192.0.2.2"));
        let proxies = vec!["10.0.0.0/24".parse().unwrap()];
        let peers = DataPeers { proxies, ..peers };
        assert!(arrives(&peers, "192.0.2.1", "10.0.0.1", true, "10.0.0.2"));
        assert!(!arrives(&peers, "192.0.2.1", "192.0.2.1", true, "10.0.0.2"));
    }

    #[test]
    fn a_session_is_sent_to_its_client_and_to_listed_servers() {
        let networks = vec!["198.51.100.0/24".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let peers = DataPeers { fxp: FxpPolicy { networks, users: Vec::new() }, ..DataPeers::default() };
        let own = OwnPorts::new([IpAddr::from([0, 0, 0, 0])], [2121], [50_000], None);
        let verdict = |address: &str, client: &str, may_fxp| {
            peers.verdict_on(address.parse().unwrap(), ip(client), may_fxp, &own)
        };
        assert_eq!(verdict("192.0.2.1:5000", "192.0.2.1", false), AddressVerdict::Permitted);
        assert_eq!(verdict("192.0.2.2:5000", "192.0.2.1", false), AddressVerdict::Foreign);
        assert_eq!(verdict("127.0.0.1:2121", "127.0.0.1", false), AddressVerdict::TheServer);
        assert_eq!(verdict("198.51.100.7:5000", "192.0.2.1", false), AddressVerdict::Foreign);
        assert_eq!(verdict("198.51.100.7:5000", "192.0.2.1", true), AddressVerdict::Permitted);
        assert_eq!(verdict("127.0.0.1:50000", "127.0.0.1", false), AddressVerdict::TheServer);
        assert_eq!(verdict("127.0.0.1:50000", "127.0.0.1", true), AddressVerdict::Permitted);
        assert_eq!(verdict("127.0.0.1:2121", "127.0.0.1", true), AddressVerdict::TheServer);
    }

    #[test]
    fn no_session_is_sent_where_it_could_do_harm() {
        let open = FxpPolicy { networks: Vec::new(), users: vec![String::from("mirror")] };
        assert!(open.permits_address(ip("198.51.100.7")));
        for bad in
            ["224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", "::1", "ff02::1", "::ffff:127.0.0.1"]
        {
            assert!(!open.permits_address(ip(bad)), "{bad}");
        }
        let off = FxpPolicy::default();
        assert!(!off.permits_user(b"mirror") && !off.permits_address(ip("198.51.100.7")));
    }
}
