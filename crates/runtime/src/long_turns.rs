//! Turns of tasks that take long.
//!
//! To move a mebibyte takes a task a hundred times as long as to answer a command. If each went on whenever it can, a command
//! would wait for every transfer that can, and again at its next step. So in each turn of the worker's loop long turns begin for
//! [`SPAN`] only. Whoever comes later stands in line, of which each turn admits one, after what the kernel has to tell by then and
//! everything that is short.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::context;

/// How far into a turn of the worker's loop another long turn may begin.
const SPAN: Duration = Duration::from_micros(250);

/// A worker's line of those who wait for a long turn.
#[derive(Default)]
pub(crate) struct LongTurns {
    waiting: RefCell<VecDeque<Waker>>,
    /// Numbers below this have had their turn; the first who waits has this one.
    admitted: Cell<u64>,
}

impl LongTurns {
    pub(crate) fn is_anyone_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Wakes the first in the line.
    pub(crate) fn admit_next(&self) {
        let first = self.waiting.borrow_mut().pop_front();
        if let Some(first) = first {
            self.admitted.set(self.admitted.get() + 1);
            first.wake();
        }
    }

    fn join(&self, waker: Waker) -> u64 {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(waker);
        self.admitted.get() + waiting.len() as u64 - 1
    }

    fn is_admitted(&self, number: u64, waker: &Waker) -> bool {
        let Some(place) = number.checked_sub(self.admitted.get()) else { return true };
        let mut waiting = self.waiting.borrow_mut();
        if let Some(known) = usize::try_from(place).ok().and_then(|place| waiting.get_mut(place)) {
            known.clone_from(waker);
        }
        false
    }
}

/// A wait for a long turn, as [`begin_long_turn`] and [`end_long_turn`] make it. Dropping it holds up
/// nobody: its place passes with one turn of the worker.
#[derive(Debug)]
#[must_use = "futures do nothing unless they are awaited"]
pub struct LongTurn {
    /// Whoever has just had one waits in any case.
    may_go_on: bool,
    number: Option<u64>,
}

/// Waits until this task may take long: not at all as long as this turn of the worker has not lasted long.
pub fn begin_long_turn() -> LongTurn {
    LongTurn { may_go_on: true, number: None }
}

/// Lets all others go first that can go on, and the kernel tell of more; then the next long turn of this task begins.
pub fn end_long_turn() -> LongTurn {
    LongTurn { may_go_on: false, number: None }
}

impl Future for LongTurn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polled = context::with(|worker| {
            let turns = &worker.long_turns;
            match self.number {
                None if self.may_go_on
                    && !turns.is_anyone_waiting()
                    && worker.turn_began.get().elapsed() < SPAN =>
                {
                    Poll::Ready(())
                }
                None => {
                    self.number = Some(turns.join(cx.waker().clone()));
                    worker.driver.look();
                    Poll::Pending
                }
                Some(number) if turns.is_admitted(number, cx.waker()) => Poll::Ready(()),
                Some(_) => Poll::Pending,
            }
        });
        polled.expect("turns are taken on workers")
    }
}
