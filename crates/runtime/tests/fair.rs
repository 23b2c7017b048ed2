//! Jobs in turns, done for workers of each backend.
#![forbid(unsafe_code)]

mod support;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use runtime::{BlockingError, FairPool, in_the_background, sleep_until, spawn, timeout_at};
use support::on_each_backend;

#[test]
fn a_job_gives_its_result_or_its_panic() {
    on_each_backend(async || {
        let pool = FairPool::new(2).expect("an affinity mask");
        assert_eq!(pool.run("somebody", || 7).await.expect("a result"), 7);
        let panicked = pool.run("somebody", || panic!("on purpose")).await;
        assert!(matches!(panicked, Err(BlockingError::Panicked(message)) if message == "on purpose"));
        assert_eq!(pool.run("somebody", || 8).await.expect("the thread lives on"), 8);
    });
}

#[test]
fn the_background_has_less_of_a_claim_and_the_thread_before_it_keeps_its_own() {
    let niceness = || rustix::process::getpriority_process(None).expect("a priority");
    let before = niceness();
    assert_eq!(in_the_background(niceness).expect("a thread"), (before + 5).min(19));
    assert_eq!(niceness(), before);
    let panicked = std::panic::catch_unwind(|| in_the_background(|| panic!("on purpose")));
    assert!(panicked.is_err());
}

#[test]
fn who_leaves_takes_his_job_along() {
    on_each_backend(async || {
        let pool = FairPool::new(1).expect("an affinity mask");
        let (let_go, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let busy = {
            let pool = pool.clone();
            let job = move || {
                begun.send(()).expect("the test waits");
                wait.recv().expect("the test lets go");
            };
            spawn(async move { pool.run(0, job).await.expect("done") })
        };
        // The task begins when this one waits.
        while has_begun.try_recv().is_err() {
            sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(timeout_at(soon, pool.run(1, || ())).await.is_err(), "the only thread is busy");
        assert_eq!(pool.waiting(), 0, "nobody waits any more");
        let_go.send(()).expect("the job waits");
        busy.await.expect("the job ended well");
    });
}

#[test]
fn more_threads_work_side_by_side() {
    on_each_backend(async || {
        let pool = FairPool::new(1).expect("an affinity mask");
        pool.set_threads_max(2);
        let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
        let meet = || {
            let (pool, barrier) = (pool.clone(), barrier.clone());
            spawn(async move { pool.run(thread::current().id(), move || barrier.wait()).await })
        };
        let (one, other) = (meet(), meet());
        one.await.expect("no panic").expect("met");
        other.await.expect("no panic").expect("met");
    });
}
