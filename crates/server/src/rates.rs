//! The rates of transfers: of a session, of an account, of all together.

use std::num::NonZeroU64;
use std::sync::Arc;

use config::{ByteSize, Rate};
use transfer::{Direction, Limits, RateLimit, RateLimiter};

/// How much may go at full speed before a rate is kept. The least is that of the key.
pub(crate) type Burst = ByteSize<16_384>;

/// More than any machine moves.
const NO_LIMIT: RateLimit = RateLimit { bytes_per_second: NonZeroU64::MAX, burst_bytes: NonZeroU64::MAX };

/// The limiters of whoever shares them: one for each direction, where there is a limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rates {
    download: Option<Arc<RateLimiter>>,
    upload: Option<Arc<RateLimiter>>,
}

impl Rates {
    pub(crate) fn new(download: Rate, upload: Rate, burst: Burst) -> Self {
        Self::default().changed(download, upload, burst)
    }

    /// The same limiters with other rates, so that what they have given away still counts. Transfers under way keep to the
    /// new rates at once; but those that began without a limit get none.
    pub(crate) fn changed(&self, download: Rate, upload: Rate, burst: Burst) -> Self {
        Self {
            download: changed(self.download.as_ref(), download, burst),
            upload: changed(self.upload.as_ref(), upload, burst),
        }
    }

    fn of(&self, direction: Direction) -> Option<Arc<RateLimiter>> {
        match direction {
            Direction::Download => self.download.clone(),
            Direction::Upload => self.upload.clone(),
        }
    }
}

fn changed(limiter: Option<&Arc<RateLimiter>>, rate: Rate, burst: Burst) -> Option<Arc<RateLimiter>> {
    let limit = rate.bytes_per_s().and_then(|bytes_per_second| {
        Some(RateLimit { bytes_per_second, burst_bytes: NonZeroU64::new(burst.bytes())? })
    });
    match (limiter, limit) {
        (Some(limiter), limit) => {
            limiter.set_limit(limit.unwrap_or(NO_LIMIT));
            limit.map(|_| Arc::clone(limiter))
        }
        (None, limit) => limit.map(|limit| Arc::new(RateLimiter::new(limit))),
    }
}

/// What bounds one transfer.
pub(crate) fn limits(session: &Rates, account: &Rates, total: &Rates, direction: Direction) -> Limits {
    Limits::new(session.of(direction), account.of(direction), total.of(direction))
}
