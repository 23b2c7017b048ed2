//! How long a transfer waits for a peer that neither takes nor gives anything.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use runtime::{IdleTimer, turn_began};

/// So often in the time allowed it is asked whether the peer has taken anything; a stall is noticed that much later at most.
const LOOKS: u32 = 8;

/// A transfer's patience with its peer.
///
/// The kernel says that a socket can be written to again when a third of its buffer is free, which may be megabytes later. A peer
/// that reads slowly and steadily is alive all the time, so what it has acknowledged counts as well.
pub(crate) struct Patience {
    allowed: Duration,
    next_look: IdleTimer,
    last_sign: Instant,
    acknowledged: u64,
}

impl Patience {
    pub(crate) fn new(allowed: Duration) -> Patience {
        let next_look = IdleTimer::new(allowed / LOOKS);
        Patience { allowed, next_look, last_sign: turn_began(), acknowledged: 0 }
    }

    /// The peer is alive, or is not to blame.
    pub(crate) fn on_sign_of_life(&mut self, now: Instant) {
        self.last_sign = now;
        self.next_look.touch(now);
    }

    /// Ready once the peer has given no sign of life for the time allowed. `acknowledged` tells how many bytes of the transfer it
    /// has acknowledged, where it is the one who takes them.
    pub(crate) fn poll_lost(
        &mut self,
        cx: &mut Context<'_>,
        acknowledged: impl Fn() -> Option<u64>,
    ) -> Poll<()> {
        loop {
            ready!(self.next_look.poll_expired(cx));
            let now = Instant::now();
            if self.is_lost(acknowledged(), now) {
                return Poll::Ready(());
            }
            self.next_look.touch(now);
        }
    }

    fn is_lost(&mut self, acknowledged: Option<u64>, now: Instant) -> bool {
        if let Some(acknowledged) = acknowledged
            && acknowledged > self.acknowledged
        {
            self.acknowledged = acknowledged;
            self.last_sign = now;
        }
        now.saturating_duration_since(self.last_sign) >= self.allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Duration = Duration::from_secs(8);

    #[test]
    fn whoever_acknowledges_something_now_and_then_is_not_lost() {
        let mut patience = Patience::new(ALLOWED);
        let began = patience.last_sign;
        let after = |seconds| began + Duration::from_secs(seconds);
        for look in 1..100 {
            assert!(!patience.is_lost(Some(look / 4), after(look)), "at look {look}");
        }
    }

    #[test]
    fn whoever_acknowledges_nothing_more_is_lost_after_the_time_allowed() {
        let mut patience = Patience::new(ALLOWED);
        let began = patience.last_sign;
        assert!(!patience.is_lost(Some(7), began + ALLOWED * 3));
        let before = Duration::from_millis(1);
        assert!(!patience.is_lost(Some(7), began + ALLOWED * 4 - before));
        assert!(patience.is_lost(Some(7), began + ALLOWED * 4));
        patience.on_sign_of_life(began + ALLOWED * 4);
        assert!(!patience.is_lost(None, began + ALLOWED * 5 - before));
        assert!(patience.is_lost(None, began + ALLOWED * 5), "who gives nothing acknowledges nothing either");
    }
}
