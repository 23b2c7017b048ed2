//! The time from a lease to its connection, in buckets of powers of two.

use std::time::Duration;

/// How many buckets a [`WaitHistogram`] has.
pub const BUCKETS: usize = 32;

/// Counts of waits by length. Bucket 0 holds those under 1 µs, bucket `i` those from 2^(i-1) µs to under
/// 2^i µs, and the last one everything from 2^30 µs (18 minutes) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct WaitHistogram {
    /// The counts, shortest waits first.
    pub counts: [u64; BUCKETS],
    /// All waits together, in microseconds.
    pub sum_us: u64,
}

impl WaitHistogram {
    /// The bucket for a wait of `waited_us` microseconds.
    pub(crate) fn bucket(waited_us: u64) -> usize {
        let bits = u64::BITS - waited_us.leading_zeros();
        (bits as usize).min(BUCKETS - 1)
    }

    /// The first wait that is too long for bucket `bucket`; none for the last bucket, and those beyond it.
    #[must_use]
    pub fn upper_bound(bucket: usize) -> Option<Duration> {
        (bucket < BUCKETS - 1).then(|| Duration::from_micros(1 << bucket))
    }

    /// How many waits were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another histogram's counts.
    pub(crate) fn add(&mut self, other: &WaitHistogram) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_below_its_bucket_s_bound_and_not_below_the_one_before() {
        for waited_us in [0, 1, 2, 3, 4, 999, 1000, 1024, 60_000_000, (1 << 30) - 1] {
            let bucket = WaitHistogram::bucket(waited_us);
            let waited = Duration::from_micros(waited_us);
            assert!(waited < WaitHistogram::upper_bound(bucket).unwrap(), "{waited_us}");
            if bucket > 0 {
                assert!(waited >= WaitHistogram::upper_bound(bucket - 1).unwrap(), "{waited_us}");
            }
        }
    }

    #[test]
    fn the_last_bucket_holds_the_rest() {
        assert_eq!(WaitHistogram::bucket(1 << 30), BUCKETS - 1);
        assert_eq!(WaitHistogram::bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(WaitHistogram::upper_bound(BUCKETS - 1), None);
    }
}
