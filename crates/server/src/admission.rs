//! How many sessions there may be: in total, of one address, of one network, and before the login.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use config::Limits;
use passive_ports::ClientAddress;

/// The limits on sessions, shared by the workers. Those by address cost a lock for each session, and only where they are set.
#[derive(Debug)]
pub(crate) struct Admission {
    total: Counter,
    pending: Option<Counter>,
    addresses: Option<Counters>,
    networks: Option<Counters>,
    ipv4_prefix_bits: u8,
    ipv6_prefix_bits: u8,
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
    /// Three quarters of the descriptors that are left may be control connections; the rest is kept for data
    /// connections and files, so that newcomers cannot starve those who are there.
    pub(crate) fn new(limits: &Limits, descriptors_max: u64, descriptors_open: u64) -> Self {
        let available =
            usize::try_from(descriptors_max.saturating_sub(descriptors_open)).unwrap_or(usize::MAX);
        let by_descriptors = (available / 4 * 3).max(1);
        let number = |limit: std::num::NonZeroU32| usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let byte = |bits: u32| u8::try_from(bits).unwrap_or(u8::MAX);
        Self {
            total: Counter::new(
                limits.sessions_max.map_or(by_descriptors, |limit| number(limit).min(by_descriptors)),
            ),
            pending: limits.sessions_pending_max.map(|limit| Counter::new(number(limit))),
            addresses: limits.sessions_per_address_max.map(|limit| Counters::new(number(limit))),
            networks: limits.sessions_per_network_max.map(|limit| Counters::new(number(limit))),
            ipv4_prefix_bits: byte(limits.network_ipv4_prefix_bits.get()),
            ipv6_prefix_bits: byte(limits.network_ipv6_prefix_bits.get()),
        }
    }

    pub(crate) fn sessions_max(&self) -> usize {
        self.total.max
    }

    /// A place for a connection, whoever's it is.
    pub(crate) fn admit(&'static self) -> Result<SessionPlace, Full> {
        let total = self.total.take().ok_or(Full::Total)?;
        let pending = match &self.pending {
            Some(counter) => Some(counter.take().ok_or(Full::Pending)?),
            None => None,
        };
        Ok(SessionPlace { pending, _total: total })
    }

    /// A place for a session of `client`.
    pub(crate) fn admit_client(&'static self, client: IpAddr) -> Result<ClientPlace, Full> {
        let address = ClientAddress::from(client);
        let network = address.network(self.ipv4_prefix_bits, self.ipv6_prefix_bits);
        let take = |counters: &'static Option<Counters>, key: ClientAddress, full: Full| match counters {
            Some(counters) => counters.take(key).ok_or(full).map(Some),
            None => Ok(None),
        };
        Ok(ClientPlace {
            _address: take(&self.addresses, address, Full::Address)?,
            _network: take(&self.networks, network, Full::Network)?,
        })
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
}

/// One session's places among those of its address and network; given back when dropped.
#[derive(Debug)]
pub(crate) struct ClientPlace {
    _address: Option<KeyedPlace>,
    _network: Option<KeyedPlace>,
}

#[derive(Debug)]
struct Counter {
    count: AtomicUsize,
    max: usize,
}

#[derive(Debug)]
struct Place(&'static Counter);

impl Counter {
    fn new(max: usize) -> Self {
        Self { count: AtomicUsize::new(0), max }
    }

    fn take(&'static self) -> Option<Place> {
        let place = Place(self);
        // The place that is over the limit is given back by its drop.
        (self.count.fetch_add(1, Ordering::Relaxed) < self.max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts for each key that has any; so there are no more of them than sessions.
#[derive(Debug)]
struct Counters {
    counts: Mutex<HashMap<ClientAddress, usize>>,
    max: usize,
}

#[derive(Debug)]
struct KeyedPlace {
    counters: &'static Counters,
    key: ClientAddress,
}

impl Counters {
    fn new(max: usize) -> Self {
        Self { counts: Mutex::default(), max }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<ClientAddress, usize>> {
        // A count is changed in one step.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&'static self, key: ClientAddress) -> Option<KeyedPlace> {
        let mut counts = self.counts();
        let count = counts.entry(key).or_insert(0);
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(KeyedPlace { counters: self, key })
    }
}

impl Drop for KeyedPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.counters.counts().entry(self.key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn admission(limits: &Limits, descriptors_max: u64) -> &'static Admission {
        Box::leak(Box::new(Admission::new(limits, descriptors_max, 20)))
    }

    #[test]
    fn places_are_counted_and_given_back() {
        let admission = admission(&Limits::default(), 28);
        assert_eq!(admission.sessions_max(), 6);
        let places: Vec<_> = (0..6).map(|_| admission.admit().unwrap()).collect();
        assert_eq!(admission.admit().unwrap_err(), Full::Total);
        drop(places);
        assert!(admission.admit().is_ok());
    }

    #[test]
    fn one_session_is_always_possible() {
        assert_eq!(admission(&Limits::default(), 10).sessions_max(), 1);
    }

    #[test]
    fn whoever_has_logged_in_is_pending_no_longer() {
        let limits = Limits { sessions_pending_max: NonZeroU32::new(1), ..Limits::default() };
        let admission = admission(&limits, 1000);
        let mut first = admission.admit().unwrap();
        assert_eq!(admission.admit().unwrap_err(), Full::Pending);
        first.on_login();
        assert!(admission.admit().is_ok());
    }

    #[test]
    fn an_address_and_a_network_have_limits_of_their_own() {
        let limits = Limits {
            sessions_per_address_max: NonZeroU32::new(1),
            sessions_per_network_max: NonZeroU32::new(2),
            ..Limits::default()
        };
        let admission = admission(&limits, 1000);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = admission.admit_client(ip("192.0.2.1")).unwrap();
        assert_eq!(admission.admit_client(ip("::ffff:192.0.2.1")).unwrap_err(), Full::Address);
        let _second = admission.admit_client(ip("192.0.2.2")).unwrap();
        assert_eq!(admission.admit_client(ip("192.0.2.3")).unwrap_err(), Full::Network);
        assert!(admission.admit_client(ip("192.0.3.1")).is_ok());
        drop(first);
        assert!(admission.admit_client(ip("192.0.2.1")).is_ok());
        assert_eq!(admission.addresses.as_ref().unwrap().counts().len(), 1, "who is gone is forgotten");
    }
}
