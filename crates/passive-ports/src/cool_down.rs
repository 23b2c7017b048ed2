//! How a lease ends without a connection, and the rest that its pair has from then on.
//!
//! A client that gives up on a data connection may have sent it already. If the same pair of port and address
//! were leased to another session of that address at once, that session would be handed it. So the pair rests
//! until such a connection has come and been closed as a stranger's. A lease that was used needs no rest: its
//! one connection is there.

use std::time::Instant;

use crate::client::ClientAddress;
use crate::shard::{OfClient, OfShard, Shard, State};

/// What a sweep did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Swept {
    /// Leases that had run out.
    pub(crate) expired: usize,
    /// Whether nothing is left that is due.
    pub(crate) done: bool,
}

impl<H: Copy> Shard<H> {
    /// Ends a pending lease that no connection came for: now, or when it expired, for late sweeping is no
    /// reason to rest longer.
    pub(crate) fn end_unused(&mut self, slot: u32, now: Instant) {
        self.leave_pending(slot);
        if self.limits.cool_down.is_zero() {
            self.forget(slot);
            return;
        }
        let since = self.pairs[slot].ends_at().min(now);
        let latest = self.cooling.last().map(|last| self.pairs[last].ends_at());
        let until = (since + self.limits.cool_down).max(latest.unwrap_or(since));
        let pair = &mut self.pairs[slot];
        pair.state = State::Cooling { since, until };
        let occupant = pair.key.occupant;
        self.cooling.push::<OfShard, _, _>(&mut self.pairs, slot);
        self.occupancy.occupant(occupant).cooling.push::<OfClient, _, _>(&mut self.pairs, slot);
    }

    /// Takes a cooling pair out of its lists.
    pub(crate) fn leave_cooling(&mut self, slot: u32) {
        self.cooling.unlink::<OfShard, _, _>(&mut self.pairs, slot);
        let occupant = self.pairs[slot].key.occupant;
        self.occupancy.occupant(occupant).cooling.unlink::<OfClient, _, _>(&mut self.pairs, slot);
    }

    /// Ends what is due: leases that have run out, and cool-downs that are over; `steps_max` of them at most.
    pub(crate) fn sweep(&mut self, now: Instant, steps_max: usize) -> Swept {
        let mut expired = 0;
        for _ in 0..steps_max {
            if let Some(slot) = self.pending.first().filter(|slot| self.pairs[*slot].ends_at() <= now) {
                self.end_unused(slot, now);
                expired += 1;
            } else if let Some(slot) = self.cooling.first().filter(|slot| self.pairs[*slot].ends_at() <= now)
            {
                self.leave_cooling(slot);
                self.forget(slot);
            } else {
                return Swept { expired, done: true };
            }
        }
        Swept { expired, done: false }
    }

    /// Cuts the longest cool-down short, of whichever address, where that leaves it long enough: a pending
    /// lease is worth more. Says whether there is room now.
    pub(crate) fn make_room(&mut self, now: Instant) -> bool {
        let Some(slot) = self.cooling.first().filter(|slot| self.has_cooled_enough(*slot, now)) else {
            return false;
        };
        self.leave_cooling(slot);
        self.forget(slot);
        true
    }

    /// The pair of this address that has cooled the longest, if that is long enough.
    pub(crate) fn longest_cooled_of(&mut self, client: ClientAddress, now: Instant) -> Option<u32> {
        let occupant = self.occupancy.find(client)?;
        let slot = self.occupancy.occupant(occupant).cooling.first()?;
        self.has_cooled_enough(slot, now).then_some(slot)
    }

    fn has_cooled_enough(&self, slot: u32, now: Instant) -> bool {
        match self.pairs[slot].state {
            State::Cooling { since, .. } => now.saturating_duration_since(since) >= self.limits.cool_down_min,
            State::Pending { .. } => false,
        }
    }
}
