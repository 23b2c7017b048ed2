//! Tasks that take long take turns with each other, and keep those waiting that do not for one of these turns at most.

mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use runtime::{begin_long_turn, end_long_turn, spawn};
use support::{on_each_backend, one_turn};

/// Longer than after what another long turn has to wait for the next turn of the worker.
const LONG: Duration = Duration::from_millis(1);
const LONG_TASKS: usize = 10;
const SHORT_STEPS: usize = 50;

fn takes_long() {
    let began = Instant::now();
    while began.elapsed() < LONG {}
}

#[test]
fn a_short_step_waits_for_one_long_turn_and_long_ones_wait_for_each_other() {
    for begins_anew in [false, true] {
        on_each_backend(move || async move {
            let turns: Rc<[Cell<usize>]> = (0..LONG_TASKS).map(|_| Cell::new(0)).collect();
            let long_tasks: Vec<_> = (0..LONG_TASKS)
                .map(|task| {
                    let turns = Rc::clone(&turns);
                    spawn(async move {
                        loop {
                            if begins_anew {
                                one_turn().await;
                                begin_long_turn().await;
                            } else {
                                end_long_turn().await;
                            }
                            turns[task].set(turns[task].get() + 1);
                            takes_long();
                        }
                    })
                })
                .collect();
            let all = || turns.iter().map(Cell::get).sum::<usize>();
            for _ in 0..SHORT_STEPS {
                let before = all();
                one_turn().await;
                assert!(all() - before <= 1, "{} long turns for one short step", all() - before);
            }
            // Nobody is left behind either.
            assert!(all() >= SHORT_STEPS - 2, "{} long turns", all());
            let (least, most) = (turns.iter().map(Cell::get).min(), turns.iter().map(Cell::get).max());
            assert!(most <= least.map(|least| least + 1), "{turns:?}");
            long_tasks.iter().for_each(runtime::Task::abort);
        });
    }
}

#[test]
fn who_is_alone_takes_long_turns_one_after_the_other() {
    on_each_backend(|| async {
        for _ in 0..1000 {
            begin_long_turn().await;
            end_long_turn().await;
        }
    });
}

/// Whoever gives up his place in the line takes nobody else's.
#[test]
fn a_wait_that_is_given_up_holds_up_nobody() {
    on_each_backend(|| async {
        let mut given_up = Box::pin(end_long_turn());
        let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        drop(given_up);
        let other = spawn(end_long_turn());
        end_long_turn().await;
        other.await.expect("had its turn");
    });
}
