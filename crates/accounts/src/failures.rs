//! Failed logins by address, so that whoever guesses passwords has to wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many addresses are remembered at most; beyond, the oldest failure is forgotten.
const ADDRESSES_MAX: usize = 65_536;

/// When an address has to wait, and how long.
#[derive(Debug, Clone, Copy)]
pub struct FailureLimits {
    /// After so many failed logins in a row.
    pub failures_max: u32,
    /// So long.
    pub wait: Duration,
}

/// The failed logins of every address, shared by all workers. A login is rare beside what a session does, so one lock
/// serves all.
#[derive(Debug)]
pub struct LoginFailures(Mutex<Table>);

#[derive(Debug)]
struct Table {
    limits: FailureLimits,
    addresses: HashMap<IpAddr, Failures>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl LoginFailures {
    /// Nobody has failed yet.
    #[must_use]
    pub fn new(limits: FailureLimits) -> Self {
        Self(Mutex::new(Table { limits, addresses: HashMap::new() }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change is a single insertion or removal, whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the limits, for those who wait too.
    pub fn set_limits(&self, limits: FailureLimits) {
        self.table().limits = limits;
    }

    /// Whether `address` has to wait at `now`.
    pub fn must_wait(&self, address: IpAddr, now: Instant) -> bool {
        self.table().must_wait(guesser(address), now)
    }

    /// A login from `address` failed at `now`. Whoever has to wait is not made to wait longer by it: another client behind
    /// the same address, which tries again and again, must not lock it out for good.
    pub fn on_failure(&self, address: IpAddr, now: Instant) {
        let address = guesser(address);
        let mut table = self.table();
        if table.must_wait(address, now) {
            return;
        }
        if table.addresses.len() >= ADDRESSES_MAX && !table.addresses.contains_key(&address) {
            table.make_room(now);
        }
        let failures = table.addresses.entry(address).or_insert(Failures { count: 0, last: now });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// A login from `address` succeeded.
    pub fn on_success(&self, address: IpAddr) {
        self.table().addresses.remove(&guesser(address));
    }
}

/// Who is taken for one guesser: an address of IPv4, and a network of 64 bits of IPv6, all of whose addresses one machine
/// may take in turns.
#[must_use]
pub fn guesser(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

impl Table {
    fn must_wait(&mut self, address: IpAddr, now: Instant) -> bool {
        let Some(failures) = self.addresses.get(&address) else { return false };
        if now.saturating_duration_since(failures.last) >= self.limits.wait {
            self.addresses.remove(&address);
            return false;
        }
        failures.count >= self.limits.failures_max
    }

    /// Forgets whoever has waited long enough; if that is nobody, the half of them whose last failure is the oldest, so that
    /// the looking through is rare.
    fn make_room(&mut self, now: Instant) {
        let Self { limits, addresses } = self;
        addresses.retain(|_, failures| now.saturating_duration_since(failures.last) < limits.wait);
        if addresses.len() >= ADDRESSES_MAX {
            let mut times: Vec<Instant> = addresses.values().map(|failures| failures.last).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            addresses.retain(|_, failures| failures.last > median);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LIMITS: FailureLimits = FailureLimits { failures_max: 3, wait: Duration::from_secs(60) };

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number))
    }

    #[test]
    fn an_address_waits_after_its_failures_and_no_other() {
        let failures = LoginFailures::new(LIMITS);
        let now = Instant::now();
        for _ in 0..3 {
            assert!(!failures.must_wait(address(1), now));
            failures.on_failure(address(1), now);
        }
        assert!(failures.must_wait(address(1), now));
        assert!(!failures.must_wait(address(2), now));
        // What fails meanwhile does not make the wait longer.
        failures.on_failure(address(1), now + LIMITS.wait / 2);
        assert!(!failures.must_wait(address(1), now + LIMITS.wait));
        assert!(!failures.must_wait(address(1), now), "the wait is over for good");
    }

    #[test]
    fn a_success_forgives() {
        let failures = LoginFailures::new(LIMITS);
        let now = Instant::now();
        failures.on_failure(address(1), now);
        failures.on_failure(address(1), now);
        failures.on_success(address(1));
        failures.on_failure(address(1), now);
        assert!(!failures.must_wait(address(1), now));
    }

    #[test]
    fn a_network_of_ipv6_is_one_guesser() {
        let failures = LoginFailures::new(LIMITS);
        let now = Instant::now();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for host in ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::"] {
            failures.on_failure(ip(host), now);
        }
        assert!(failures.must_wait(ip("2001:db8:0:1::3"), now));
        assert!(!failures.must_wait(ip("2001:db8:0:2::1"), now));
        assert_eq!(guesser(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn limits_change_for_those_who_wait() {
        let failures = LoginFailures::new(LIMITS);
        let now = Instant::now();
        (0..3).for_each(|_| failures.on_failure(address(1), now));
        failures.set_limits(FailureLimits { failures_max: 4, ..LIMITS });
        assert!(!failures.must_wait(address(1), now));
        failures.set_limits(FailureLimits { failures_max: 2, wait: LIMITS.wait * 2 });
        assert!(failures.must_wait(address(1), now + LIMITS.wait));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_are_kept() {
        let failures = LoginFailures::new(LIMITS);
        let now = Instant::now();
        let addresses = u32::try_from(ADDRESSES_MAX).unwrap() + 10;
        for number in 0..addresses {
            for _ in 0..3 {
                failures.on_failure(address(number), now + Duration::from_micros(number.into()));
            }
        }
        assert!(failures.table().addresses.len() <= ADDRESSES_MAX);
        assert!(failures.must_wait(address(addresses - 1), now + Duration::from_secs(1)));
    }
}
