//! Failed logins by address, so that whoever guesses passwords has to wait.

use std::collections::HashMap;
use std::net::IpAddr;
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
pub struct LoginFailures {
    limits: FailureLimits,
    addresses: Mutex<HashMap<IpAddr, Failures>>,
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
        Self { limits, addresses: Mutex::default() }
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Failures>> {
        // Each change is a single insertion or removal, whole at every moment.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `address` has to wait at `now`.
    pub fn must_wait(&self, address: IpAddr, now: Instant) -> bool {
        let mut addresses = self.addresses();
        let Some(failures) = addresses.get(&address) else { return false };
        if now.duration_since(failures.last) >= self.limits.wait {
            addresses.remove(&address);
            return false;
        }
        failures.count >= self.limits.failures_max
    }

    /// A login from `address` failed at `now`.
    pub fn on_failure(&self, address: IpAddr, now: Instant) {
        let mut addresses = self.addresses();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            self.make_room(&mut addresses, now);
        }
        let failures = addresses.entry(address).or_insert(Failures { count: 0, last: now });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// A login from `address` succeeded.
    pub fn on_success(&self, address: IpAddr) {
        self.addresses().remove(&address);
    }

    /// Forgets whoever has waited long enough; if that is nobody, the half of them whose last failure is the oldest, so that
    /// the looking through is rare.
    fn make_room(&self, addresses: &mut HashMap<IpAddr, Failures>, now: Instant) {
        addresses.retain(|_, failures| now.duration_since(failures.last) < self.limits.wait);
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
    fn memory_is_bounded_and_the_newest_are_kept() {
        let failures = LoginFailures::new(LIMITS);
        let now = Instant::now();
        let addresses = u32::try_from(ADDRESSES_MAX).unwrap() + 10;
        for number in 0..addresses {
            for _ in 0..3 {
                failures.on_failure(address(number), now + Duration::from_micros(number.into()));
            }
        }
        assert!(failures.addresses().len() <= ADDRESSES_MAX);
        assert!(failures.must_wait(address(addresses - 1), now + Duration::from_secs(1)));
    }
}
