//! Where all slots of all workers wait for one another.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A barrier that is used again and again by the same number of parties.
pub(crate) struct Rendezvous {
    parties: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    arrived: usize,
    generation: u64,
    wakers: Vec<Waker>,
    verdict: bool,
}

impl Rendezvous {
    pub(crate) fn new(parties: usize) -> Self {
        Self { parties, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all have arrived. `decide` is asked of the last to come, and all get its answer.
    pub(crate) async fn meet(&self, decide: impl FnOnce() -> bool) -> bool {
        let generation = {
            let mut state = self.lock();
            state.arrived += 1;
            if state.arrived == self.parties {
                state.arrived = 0;
                state.generation += 1;
                state.verdict = decide();
                for waker in state.wakers.drain(..) {
                    waker.wake();
                }
                return state.verdict;
            }
            state.generation
        };
        let mut listed = false;
        poll_fn(|context| {
            let mut state = self.lock();
            if state.generation != generation {
                // The next generation cannot end before this party has arrived at it.
                return Poll::Ready(state.verdict);
            }
            if !listed {
                listed = true;
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn the_last_to_come_lets_all_go() {
        let rendezvous = Rendezvous::new(3);
        let mut context = Context::from_waker(Waker::noop());
        for verdict in [true, false] {
            let mut first = pin!(rendezvous.meet(|| unreachable!()));
            let mut second = pin!(rendezvous.meet(|| unreachable!()));
            let mut last = pin!(rendezvous.meet(|| verdict));
            assert!(first.as_mut().poll(&mut context).is_pending());
            assert!(second.as_mut().poll(&mut context).is_pending());
            assert_eq!(last.as_mut().poll(&mut context), Poll::Ready(verdict));
            assert_eq!(first.as_mut().poll(&mut context), Poll::Ready(verdict));
            assert_eq!(second.as_mut().poll(&mut context), Poll::Ready(verdict));
        }
    }
}
