//! Limits of rate, each shared by the transfers of a session, of a user or of the whole server.
//!
//! A limiter is a token bucket without a bucket: one atomic number says up to which moment the rate is given away.
//! Whoever wants to move bytes reserves the time that they take at the end of it, which is one compare-and-swap, and is
//! told when they are due. So nobody polls, but that those who wait long look whether the line is shorter by now. The
//! transfers that share a limiter are served in the order in which they asked, a turn each, workers share it without a
//! lock, and the rate can change under way.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::buffer::BUFFER_BYTES;

/// How long a transfer waits before it looks whether others have left the line.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// At most so many bytes a second, and a burst after a time of less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Bytes a second over any time that is long against the burst's.
    pub bytes_per_second: NonZeroU64,
    /// Bytes that may go at once after a pause. Timers are exact to some milliseconds: a burst below what the rate gives in
    /// ten of them costs rate.
    pub burst_bytes: NonZeroU64,
}

/// A limit, and how much of it is given away. In any span of time no more bytes go than the rate gives in it, and the
/// burst, and for each transfer one slice that was due before and is used within.
#[derive(Debug)]
pub struct RateLimiter {
    bytes_per_second: AtomicU64,
    burst_bytes: AtomicU64,
    began: Instant,
    /// The moment, in nanoseconds from the beginning, up to which everything is reserved. It is ahead of the present by at
    /// most the burst and what is waited for, and behind it while the limit is not used up.
    reserved_until_ns: AtomicU64,
}

impl RateLimiter {
    /// A limiter whose burst is there to be used.
    #[must_use]
    pub fn new(limit: RateLimit) -> RateLimiter {
        RateLimiter {
            bytes_per_second: AtomicU64::new(limit.bytes_per_second.get()),
            burst_bytes: AtomicU64::new(limit.burst_bytes.get()),
            began: Instant::now(),
            reserved_until_ns: AtomicU64::new(0),
        }
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> RateLimit {
        let read = |number: &AtomicU64| NonZeroU64::new(number.load(Ordering::Relaxed));
        RateLimit {
            bytes_per_second: read(&self.bytes_per_second).unwrap_or(NonZeroU64::MAX),
            burst_bytes: read(&self.burst_bytes).unwrap_or(NonZeroU64::MAX),
        }
    }

    /// Changes the limit, for the transfers that are under way too: the bytes that are reserved by now take as long as they
    /// take at the new rate.
    pub fn set_limit(&self, limit: RateLimit) {
        self.set_limit_at(limit, self.began.elapsed());
    }

    fn set_limit_at(&self, limit: RateLimit, now: Duration) {
        let (old_rate, new_rate) = (self.limit().bytes_per_second, limit.bytes_per_second);
        let store = || {
            self.bytes_per_second.store(new_rate.get(), Ordering::Relaxed);
            self.burst_bytes.store(limit.burst_bytes.get(), Ordering::Relaxed);
        };
        // Whoever reserves meanwhile does so at the quicker rate, and what he reserves is not stretched.
        if new_rate >= old_rate {
            store();
        }
        let present = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let at_new_rate = |until: u64| {
            let Some(ahead) = until.checked_sub(present) else { return until };
            let ahead = u128::from(ahead) * u128::from(old_rate.get()) / u128::from(new_rate.get());
            present.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX))
        };
        self.reserved_until_ns.update(Ordering::Relaxed, Ordering::Relaxed, at_new_rate);
        if new_rate < old_rate {
            store();
        }
    }

    /// Bytes that one transfer reserves at a time, at most: what the rate gives in an eighth of a second, so that a slow limit gives
    /// something to all its transfers all the time, or an eighth of what is left of the burst, lest a large one goes byte by byte; no
    /// more than the burst, and no more than every route can move at a time, for a turn in the line is to be worth the same on all.
    fn slice_bytes(&self, now: Duration) -> u64 {
        let limit = self.limit();
        let pace = limit.bytes_per_second.get().max(self.burst_left(now));
        (pace / 8).clamp(1, limit.burst_bytes.get().min(BUFFER_BYTES as u64))
    }

    /// Bytes of the burst that nobody has reserved.
    fn burst_left(&self, now: Duration) -> u64 {
        let limit = self.limit();
        let present = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let ahead = self.reserved_until_ns.load(Ordering::Relaxed).saturating_sub(present);
        let reserved = u128::from(ahead) * u128::from(limit.bytes_per_second.get()) / 1_000_000_000;
        limit.burst_bytes.get().saturating_sub(u64::try_from(reserved).unwrap_or(u64::MAX))
    }

    /// Reserves `bytes`, at most a burst of them; gives the moment, counted from the beginning, from which on they may go.
    fn reserve(&self, bytes: u64, now: Duration) -> Duration {
        let limit = self.limit();
        let present = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let takes = limit.nanoseconds_of(bytes).1;
        let reserve = |until: u64| until.max(present).saturating_add(takes);
        let before = self.reserved_until_ns.update(Ordering::Relaxed, Ordering::Relaxed, reserve);
        let burst = limit.nanoseconds_of(limit.burst_bytes.get()).0;
        Duration::from_nanos(reserve(before).saturating_sub(burst))
    }

    /// When `bytes` may go that were reserved for `due`, now that others may have given back what they had reserved before: as
    /// soon as everything may go that is reserved at all. So the rate holds wherever in the line something was given back.
    fn moved_up(&self, bytes: u64, due: Duration, now: Duration) -> Duration {
        let limit = self.limit();
        let present = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let (takes, burst) = (limit.nanoseconds_of(bytes).1, limit.nanoseconds_of(limit.burst_bytes.get()).0);
        let again = |until: u64| until.saturating_sub(takes).max(present).saturating_add(takes);
        let due_again = |until: u64| Duration::from_nanos(again(until).saturating_sub(burst));
        let moved = self.reserved_until_ns.try_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
            (due_again(until) < due).then(|| again(until))
        });
        moved.map_or(due, due_again)
    }

    /// Gives back the last `bytes` of a reservation that did not go.
    fn give_back(&self, bytes: u64) {
        let took = self.limit().nanoseconds_of(bytes).0;
        let give_back = |until: u64| until.saturating_sub(took);
        self.reserved_until_ns.update(Ordering::Relaxed, Ordering::Relaxed, give_back);
    }
}

impl RateLimit {
    /// The time that `bytes` take, rounded down and up.
    fn nanoseconds_of(self, bytes: u64) -> (u64, u64) {
        let (bytes, rate) = (u128::from(bytes) * 1_000_000_000, u128::from(self.bytes_per_second.get()));
        let bounded = |nanoseconds: u128| u64::try_from(nanoseconds).unwrap_or(u64::MAX);
        (bounded(bytes / rate), bounded(bytes.div_ceil(rate)))
    }
}

/// What bounds one transfer: nothing, or up to three limiters, all of which hold.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Asked in this order: a reservation with a later one is made when those before are due, so that what many share is
    /// never reserved by somebody who still waits for his own.
    limiters: [Option<Arc<RateLimiter>>; 3],
}

impl Limits {
    /// No limit.
    #[must_use]
    pub fn none() -> Limits {
        Limits::default()
    }

    /// The limits of the transfer's session, of its user, and of all, for its direction.
    #[must_use]
    pub fn new(
        session: Option<Arc<RateLimiter>>,
        user: Option<Arc<RateLimiter>>,
        total: Option<Arc<RateLimiter>>,
    ) -> Limits {
        Limits { limiters: [session, user, total] }
    }

    /// Whether there is any.
    pub(crate) fn are_some(&self) -> bool {
        self.limiters.iter().any(Option::is_some)
    }

    fn each(&self) -> impl Iterator<Item = &RateLimiter> {
        self.limiters.iter().flatten().map(AsRef::as_ref)
    }

    /// Waits until some of the `wanted` bytes may go; gives how many, at least 1, or none at all if there is no limit.
    pub(crate) async fn reserve(&self, wanted: usize) -> Option<Reservation<'_>> {
        let slice = self.each().map(|limiter| limiter.slice_bytes(limiter.began.elapsed())).min()?;
        let bytes = slice.min((wanted as u64).max(1));
        let mut reservation = Reservation { limits: self, bytes, made_with: 0, waited: false };
        for limiter in self.each() {
            let mut due = limiter.reserve(bytes, limiter.began.elapsed());
            reservation.made_with += 1;
            loop {
                let now = limiter.began.elapsed();
                if due <= now {
                    break;
                }
                reservation.waited = true;
                runtime::sleep_until(limiter.began + due.min(now + LOOK_AGAIN)).await;
                due = limiter.moved_up(bytes, due, limiter.began.elapsed());
            }
        }
        Some(reservation)
    }
}

/// Bytes that may go. What is left when it is dropped goes back to the limiters.
pub(crate) struct Reservation<'a> {
    limits: &'a Limits,
    bytes: u64,
    /// Limiters, in their order, that it was made with.
    made_with: usize,
    waited: bool,
}

impl Reservation<'_> {
    /// Bytes that are left.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// Whether it had to be waited for.
    pub(crate) fn was_waited_for(&self) -> bool {
        self.waited
    }

    /// So many of them went.
    pub(crate) fn used(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.limits.each().take(self.made_with).for_each(|limiter| limiter.give_back(self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn limiter(bytes_per_second: u64, burst_bytes: u64) -> RateLimiter {
        let number = |number| NonZeroU64::new(number).expect("not zero");
        RateLimiter::new(RateLimit {
            bytes_per_second: number(bytes_per_second),
            burst_bytes: number(burst_bytes),
        })
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn largest_slice(limiter: &RateLimiter) -> u64 {
        limiter.slice_bytes(Duration::MAX)
    }

    /// What the rate gives in a time, in bytes.
    fn line_at(limiter: &RateLimiter, moment: Duration) -> u64 {
        let bytes = moment.as_nanos() * u128::from(limiter.limit().bytes_per_second.get()) / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    #[test]
    fn a_burst_goes_at_once_and_then_the_rate_holds() {
        let limiter = limiter(1000, 500);
        assert_eq!(limiter.reserve(500, SECOND), SECOND);
        assert_eq!(limiter.reserve(100, SECOND), SECOND + SECOND / 10);
        assert_eq!(limiter.reserve(100, SECOND), SECOND + SECOND / 5);
        limiter.give_back(100);
        assert_eq!(limiter.reserve(100, SECOND), SECOND + SECOND / 5);
        // After a long pause there is one burst, not more.
        assert!(limiter.reserve(500, 100 * SECOND) <= 100 * SECOND);
        assert!(limiter.reserve(1, 100 * SECOND) > 100 * SECOND);
    }

    /// Each costs a system call, and all of them go at once.
    #[test]
    fn a_burst_goes_in_few_slices_however_slow_the_rate() {
        let limiter = limiter(1, 1 << 20);
        let mut slices = 0;
        while limiter.burst_left(SECOND) > 0 {
            let slice = limiter.slice_bytes(SECOND);
            assert!(limiter.reserve(slice, SECOND) <= SECOND, "it is of the burst");
            slices += 1;
        }
        assert!(slices < 200, "{slices} slices");
        assert_eq!(limiter.slice_bytes(SECOND), 1, "then the rate holds");
    }

    #[test]
    fn who_waits_moves_up_when_others_leave_the_line() {
        let limiter = limiter(1000, 500);
        assert_eq!(limiter.reserve(500, SECOND), SECOND);
        for place in 1..=10 {
            assert_eq!(limiter.reserve(100, SECOND), SECOND + place * SECOND / 10);
        }
        let due = limiter.reserve(100, SECOND);
        assert_eq!(due, SECOND + 11 * SECOND / 10);
        assert_eq!(limiter.moved_up(100, due, SECOND), due, "nobody has left");
        limiter.give_back(900);
        let due = limiter.moved_up(100, due, SECOND);
        assert_eq!(due, SECOND + SECOND / 5, "one is before it, and the burst is used up");
        assert_eq!(limiter.moved_up(100, due, SECOND), due);
        // Whoever comes now comes behind.
        assert_eq!(limiter.reserve(100, SECOND), SECOND + 3 * SECOND / 10);
    }

    #[test]
    fn extreme_rates_neither_overflow_nor_stand_still() {
        let slow = limiter(1, 1);
        slow.reserve(1, Duration::ZERO);
        assert_eq!(slow.reserve(1, Duration::ZERO), SECOND);
        let fast = limiter(u64::MAX, u64::MAX);
        assert!(fast.reserve(u64::MAX, SECOND * 3600) <= SECOND * 3600);
        assert_eq!(slow.slice_bytes(Duration::ZERO), 1);
    }

    #[test]
    fn a_limit_changes_under_way() {
        let limiter = limiter(1000, 500);
        assert_eq!(limiter.reserve(500, SECOND), SECOND);
        let number = |number| NonZeroU64::new(number).expect("not zero");
        limiter.set_limit_at(RateLimit { bytes_per_second: number(2000), burst_bytes: number(1000) }, SECOND);
        // Half of the new burst went by then, and what follows comes at twice the rate.
        assert_eq!(limiter.reserve(1000, SECOND), SECOND + SECOND / 4);
        assert_eq!(limiter.reserve(1000, SECOND), SECOND + 3 * SECOND / 4);
        let none = RateLimit { bytes_per_second: NonZeroU64::MAX, burst_bytes: NonZeroU64::MAX };
        limiter.set_limit_at(none, SECOND);
        assert!(limiter.reserve(1 << 40, SECOND) <= SECOND, "no limit any more");
    }

    /// The burst that a slow rate has given counts by its bytes, not by the time that they would have taken.
    #[test]
    fn whoever_waited_for_a_slow_rate_goes_on_at_the_quick_one() {
        let number = |number| NonZeroU64::new(number).expect("not zero");
        let limiter = limiter(1000, 1 << 20);
        limiter.reserve(1 << 20, SECOND);
        let due = limiter.reserve(1 << 20, SECOND);
        assert!(due > 1000 * SECOND);
        let quick = RateLimit { bytes_per_second: number(50 << 20), burst_bytes: number(1 << 20) };
        limiter.set_limit_at(quick, 2 * SECOND);
        assert!(limiter.moved_up(1 << 20, due, 2 * SECOND) <= 2 * SECOND + SECOND / 20);
        assert!(limiter.reserve(1 << 20, 2 * SECOND) <= 2 * SECOND + SECOND / 10);
        let slow = RateLimit { bytes_per_second: number(1000), burst_bytes: number(1 << 20) };
        limiter.set_limit_at(slow, 2 * SECOND);
        assert!(limiter.reserve(100, 2 * SECOND) >= 1000 * SECOND, "what went at the quick one counts");
    }

    /// One transfer's life in virtual time: it wants so many bytes, of which so many go, after such a pause.
    #[derive(Debug, Clone)]
    struct Wish {
        pause: Duration,
        bytes: u64,
        went: u64,
    }

    fn wishes() -> impl Strategy<Value = Vec<Wish>> {
        let wish =
            (0..400_u64, 1..3000_u64, any::<prop::sample::Index>()).prop_map(|(pause, bytes, went)| {
                let went = went.index(usize::try_from(bytes).expect("small") + 1) as u64;
                Wish { pause: Duration::from_millis(pause), bytes, went }
            });
        prop::collection::vec(wish, 1..40)
    }

    /// What a transfer does next.
    enum Next {
        Asks,
        Sends { reserved: u64 },
    }

    /// Runs transfers that share a limiter; gives what went when and for whom, in the order of time.
    fn run(limiter: &RateLimiter, transfers: &[Vec<Wish>]) -> Vec<(Duration, u64, usize)> {
        let mut wishes: Vec<_> = transfers.iter().map(|wishes| wishes.iter()).collect();
        let mut wish: Vec<_> = wishes.iter_mut().map(|wishes| wishes.next().expect("a wish")).collect();
        let mut events = BTreeMap::new();
        for (transfer, wish) in wish.iter().enumerate() {
            events.insert((wish.pause, transfer), Next::Asks);
        }
        let mut went = Vec::new();
        while let Some(((now, transfer), next)) = events.pop_first() {
            match next {
                Next::Asks => {
                    let reserved = wish[transfer].bytes.min(limiter.slice_bytes(now));
                    let due = limiter.reserve(reserved, now).max(now);
                    events.insert((due, transfer), Next::Sends { reserved });
                }
                Next::Sends { reserved } => {
                    let gone = wish[transfer].went.min(reserved);
                    limiter.give_back(reserved - gone);
                    went.push((now, gone, transfer));
                    if let Some(following) = wishes[transfer].next() {
                        wish[transfer] = following;
                        events.insert((now + following.pause, transfer), Next::Asks);
                    }
                }
            }
        }
        went
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_it_may(
            rate in 1..5000_u64,
            burst in 1..4000_u64,
            transfers in prop::collection::vec(wishes(), 1..5),
        ) {
            let limiter = limiter(rate, burst);
            let went = run(&limiter, &transfers);
            for (first, &(from, ..)) in went.iter().enumerate() {
                let mut bytes = 0;
                for &(until, gone, _) in &went[first..] {
                    bytes += gone;
                    let unused_before = transfers.len() as u64 * largest_slice(&limiter);
                    let allowed = burst + line_at(&limiter, until - from) + 1 + unused_before;
                    prop_assert!(bytes <= allowed, "{bytes} of {allowed} bytes from {from:?} until {until:?}");
                }
            }
        }

        /// Transfers that always want more get the same, up to a slice and to who came first for the burst.
        #[test]
        fn greedy_transfers_share_alike(rate in 8..5000_u64, burst in 1..4000_u64, count in 2..6_usize) {
            let limiter = limiter(rate, burst);
            let greedy = vec![Wish { pause: Duration::ZERO, bytes: 3000, went: 3000 }; 50];
            let went = run(&limiter, &vec![greedy; count]);
            let mut shares = vec![0_u64; count];
            for (_, gone, transfer) in went.iter().take(25 * count) {
                shares[*transfer] += gone;
            }
            let (least, most) = (shares.iter().min().expect("some"), shares.iter().max().expect("some"));
            prop_assert!(most - least <= burst + largest_slice(&limiter), "{shares:?}");
        }

        /// Over a long time the rate is used up, whatever goes back.
        #[test]
        fn the_rate_is_reached(rate in 8..5000_u64, burst in 1..4000_u64) {
            let limiter = limiter(rate, burst);
            let wish = |went| Wish { pause: Duration::ZERO, bytes: 3000, went };
            let went = run(&limiter, &[vec![wish(3000); 100], vec![wish(7); 100]]);
            let (last, ..) = *went.last().expect("some went");
            let bytes: u64 = went.iter().map(|(_, gone, _)| gone).sum();
            let slices = 2 * largest_slice(&limiter);
            prop_assert!(bytes + burst + slices >= line_at(&limiter, last), "{bytes} bytes until {last:?}");
        }
    }
}
