//! How many sessions there may be: in total, of one address, of one network, and before the login.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use config::Limits;
use foldhash::quality::RandomState;
use passive_ports::ClientAddress;

/// How many tables the clients are spread over, so that workers seldom want the same one.
const TABLES: usize = 64;

/// How many descriptors are kept for data connections and files at most: two for each of some hundred transfers at a time.
const KEPT_DESCRIPTORS_MAX: usize = 1024;

/// The sessions that there are, counted by all workers together: a few shared counts for each session, at its start and
/// its end. They are counted whether there is a limit or not, for a reload may set one.
#[derive(Debug)]
pub(crate) struct Admission {
    total: AtomicUsize,
    pending: AtomicUsize,
    /// As many as descriptors allow.
    possible: usize,
    clients: [Mutex<Clients>; TABLES],
    table_of: RandomState,
    ipv4_prefix_bits: u8,
    ipv6_prefix_bits: u8,
}

/// How many sessions there may be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AdmissionLimits {
    total: Option<usize>,
    pending: Option<usize>,
    address: Option<usize>,
    network: Option<usize>,
}

impl From<&Limits> for AdmissionLimits {
    fn from(limits: &Limits) -> Self {
        let number = |limit: NonZeroU32| usize::try_from(limit.get()).unwrap_or(usize::MAX);
        Self {
            total: limits.sessions_max.map(number),
            pending: limits.sessions_pending_max.map(number),
            address: limits.sessions_per_address_max.map(number),
            network: limits.sessions_per_network_max.map(number),
        }
    }
}

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Pending,
    Address,
    Network,
}

impl Admission {
    /// Three quarters of the descriptors that are left may be control connections, and all of them but
    /// [`KEPT_DESCRIPTORS_MAX`] where those are fewer; the rest is kept for data connections and files, so that newcomers
    /// cannot starve those who are there.
    pub(crate) fn new(limits: &Limits, descriptors_max: u64, descriptors_open: u64) -> Self {
        let available =
            usize::try_from(descriptors_max.saturating_sub(descriptors_open)).unwrap_or(usize::MAX);
        let byte = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
        Self {
            total: AtomicUsize::new(0),
            pending: AtomicUsize::new(0),
            possible: (available - (available / 4).min(KEPT_DESCRIPTORS_MAX)).max(1),
            clients: std::array::from_fn(|_| Mutex::default()),
            table_of: RandomState::default(),
            ipv4_prefix_bits: byte(limits.network_ipv4_prefix_bits.get()),
            ipv6_prefix_bits: byte(limits.network_ipv6_prefix_bits.get()),
        }
    }

    /// How many sessions descriptors allow.
    pub(crate) fn sessions_possible(&self) -> usize {
        self.possible
    }

    /// How many sessions there may be, all in all.
    pub(crate) fn sessions_max(&self, limits: &AdmissionLimits) -> usize {
        limits.total.map_or(self.possible, |total| total.min(self.possible))
    }

    /// A place for a connection, whoever's it is.
    pub(crate) fn admit(&'static self, limits: &AdmissionLimits) -> Result<SessionPlace, Full> {
        let total = Place::take(&self.total, self.sessions_max(limits)).ok_or(Full::Total)?;
        let pending = self.admit_pending(limits).ok_or(Full::Pending)?;
        Ok(SessionPlace { pending: Some(pending), _total: total })
    }

    fn admit_pending(&'static self, limits: &AdmissionLimits) -> Option<Place> {
        Place::take(&self.pending, limits.pending.unwrap_or(usize::MAX))
    }

    /// A place for a session of `client`.
    pub(crate) fn admit_client(
        &'static self,
        client: IpAddr,
        limits: &AdmissionLimits,
    ) -> Result<ClientPlace, Full> {
        let address = ClientAddress::from(client);
        let network = address.network(self.ipv4_prefix_bits, self.ipv6_prefix_bits);
        let mut clients = self.clients_of(network);
        let has_room = |counts: &Counts, key: ClientAddress, max: Option<usize>| {
            max.is_none_or(|max| counts.get(&key).copied().unwrap_or(0) < max)
        };
        if !has_room(&clients.addresses, address, limits.address) {
            return Err(Full::Address);
        }
        if !has_room(&clients.networks, network, limits.network) {
            return Err(Full::Network);
        }
        *clients.addresses.entry(address).or_insert(0) += 1;
        *clients.networks.entry(network).or_insert(0) += 1;
        Ok(ClientPlace { admission: self, address, network })
    }

    /// The table of a network and of the addresses in it.
    fn clients_of(&self, network: ClientAddress) -> MutexGuard<'_, Clients> {
        let number = usize::try_from(self.table_of.hash_one(network) % TABLES as u64).unwrap_or(0);
        // A count is changed in one step.
        self.clients[number].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One session's places in total and before its login; given back when dropped.
#[derive(Debug)]
pub(crate) struct SessionPlace {
    pending: Option<Place>,
    _total: Place,
}

impl SessionPlace {
    /// Somebody has logged in.
    pub(crate) fn on_login(&mut self) {
        self.pending = None;
    }

    /// Nobody is logged in any more; false where too many are waiting for a login already.
    pub(crate) fn on_logout(&mut self, admission: &'static Admission, limits: &AdmissionLimits) -> bool {
        if self.pending.is_none() {
            self.pending = admission.admit_pending(limits);
        }
        self.pending.is_some()
    }
}

#[derive(Debug)]
struct Place(&'static AtomicUsize);

impl Place {
    fn take(count: &'static AtomicUsize, max: usize) -> Option<Self> {
        let place = Self(count);
        // The place that is over the limit is given back by its drop.
        (count.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Counts = HashMap<ClientAddress, usize, RandomState>;

/// Counts for each address and network that has any session; so there are no more of them than sessions.
#[derive(Debug, Default)]
struct Clients {
    addresses: Counts,
    networks: Counts,
}

/// One session's places among those of its address and network; given back when dropped.
#[derive(Debug)]
pub(crate) struct ClientPlace {
    admission: &'static Admission,
    address: ClientAddress,
    network: ClientAddress,
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut clients = self.admission.clients_of(self.network);
        give_back(&mut clients.addresses, self.address);
        give_back(&mut clients.networks, self.network);
    }
}

fn give_back(counts: &mut Counts, key: ClientAddress) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(descriptors_max: u64) -> &'static Admission {
        Box::leak(Box::new(Admission::new(&Limits::default(), descriptors_max, 20)))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const NO_LIMITS: AdmissionLimits =
        AdmissionLimits { total: None, pending: None, address: None, network: None };

    #[test]
    fn places_are_counted_and_given_back() {
        let admission = admission(28);
        assert_eq!(admission.sessions_max(&NO_LIMITS), 6);
        let places: Vec<_> = (0..6).map(|_| admission.admit(&NO_LIMITS).unwrap()).collect();
        assert_eq!(admission.admit(&NO_LIMITS).unwrap_err(), Full::Total);
        drop(places);
        assert!(admission.admit(&NO_LIMITS).is_ok());
    }

    #[test]
    fn one_session_is_always_possible() {
        assert_eq!(admission(10).sessions_max(&NO_LIMITS), 1);
    }

    #[test]
    fn many_descriptors_are_not_kept_in_vain() {
        assert_eq!(admission(20_020).sessions_max(&NO_LIMITS), 20_000 - KEPT_DESCRIPTORS_MAX);
    }

    #[test]
    fn whoever_has_logged_in_is_pending_no_longer() {
        let limits = AdmissionLimits { pending: Some(1), ..NO_LIMITS };
        let admission = admission(1000);
        let mut first = admission.admit(&limits).unwrap();
        assert_eq!(admission.admit(&limits).unwrap_err(), Full::Pending);
        first.on_login();
        let second = admission.admit(&limits).unwrap();
        assert!(!first.on_logout(admission, &limits));
        drop(second);
        assert!(first.on_logout(admission, &limits) && first.on_logout(admission, &limits));
        assert_eq!(admission.admit(&limits).unwrap_err(), Full::Pending);
    }

    #[test]
    fn an_address_and_a_network_have_limits_of_their_own() {
        let limits = AdmissionLimits { address: Some(1), network: Some(2), ..NO_LIMITS };
        let admission = admission(1000);
        let first = admission.admit_client(ip("192.0.2.1"), &limits).unwrap();
        assert_eq!(admission.admit_client(ip("::ffff:192.0.2.1"), &limits).unwrap_err(), Full::Address);
        let _second = admission.admit_client(ip("192.0.2.2"), &limits).unwrap();
        assert_eq!(admission.admit_client(ip("192.0.2.3"), &limits).unwrap_err(), Full::Network);
        assert!(admission.admit_client(ip("192.0.3.1"), &limits).is_ok());
        drop(first);
        assert!(admission.admit_client(ip("192.0.2.1"), &limits).is_ok());
        let addresses = admission.clients.iter().map(|table| table.lock().unwrap().addresses.len());
        assert_eq!(addresses.sum::<usize>(), 1, "who is gone is forgotten");
    }

    #[test]
    fn a_new_limit_counts_those_who_are_there() {
        let admission = admission(1000);
        let here: Vec<_> = (0..3)
            .map(|_| {
                let place = admission.admit(&NO_LIMITS).unwrap();
                (place, admission.admit_client(ip("192.0.2.1"), &NO_LIMITS).unwrap())
            })
            .collect();
        let limits = AdmissionLimits { total: Some(2), pending: Some(3), address: Some(3), network: None };
        assert_eq!(admission.admit(&limits).unwrap_err(), Full::Total);
        assert_eq!(admission.admit(&AdmissionLimits { total: None, ..limits }).unwrap_err(), Full::Pending);
        assert_eq!(admission.admit_client(ip("192.0.2.1"), &limits).unwrap_err(), Full::Address);
        drop(here);
        assert!(admission.admit(&limits).is_ok());
        assert!(admission.admit_client(ip("192.0.2.1"), &limits).is_ok());
    }
}
