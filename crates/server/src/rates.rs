//! The rates of transfers: of a session, of an account, of all together.

use std::num::NonZeroU64;
use std::sync::Arc;

use config::{ByteSize, Rate};
use transfer::{Direction, Limits, RateLimit, RateLimiter};

/// The least burst that the configuration takes, in bytes.
const BURST_BYTES_MIN: u64 = 16_384;

/// The limiters of whoever shares them: one for each direction, where there is a limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    download: Option<Arc<RateLimiter>>,
    upload: Option<Arc<RateLimiter>>,
}

impl Rates {
    pub(crate) fn new(download: Rate, upload: Rate, burst: ByteSize<BURST_BYTES_MIN>) -> Self {
        let limiter = |rate: Rate| {
            let bytes_per_second = rate.bytes_per_s()?;
            let burst_bytes = NonZeroU64::new(burst.bytes())?;
            Some(Arc::new(RateLimiter::new(RateLimit { bytes_per_second, burst_bytes })))
        };
        Self { download: limiter(download), upload: limiter(upload) }
    }

    fn of(&self, direction: Direction) -> Option<Arc<RateLimiter>> {
        match direction {
            Direction::Download => self.download.clone(),
            Direction::Upload => self.upload.clone(),
        }
    }
}

/// What bounds one transfer.
pub(crate) fn limits(session: &Rates, account: &Rates, total: &Rates, direction: Direction) -> Limits {
    Limits::new(session.of(direction), account.of(direction), total.of(direction))
}
