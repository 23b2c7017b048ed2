//! Workers: where they run, how they end, and what they hand to each other.

mod support;

use std::future::pending;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use runtime::blocking::PLACES;
use runtime::{
    Accepted, BlockingError, BoundListener, HandoverError, IdleTimer, ListenOptions, Listener, Places,
    ShutdownSource, TaskError, WorkerConfig, WorkerObserver, allowed_cores, blocking, current_backend,
    mailbox, sleep_until, spawn, spawn_worker, timeout_at,
};
use support::{backends, connected_pair, loopback, on_each_backend, start};

#[test]
fn a_worker_runs_on_its_core_alone() {
    let allowed = allowed_cores().expect("a mask");
    for backend in backends() {
        for &core in &allowed {
            let config = WorkerConfig { name: "pinned".to_owned(), core, backend };
            let worker = spawn_worker(config, move || async move {
                assert_eq!(current_backend(), Some(backend));
                let off_core = blocking(allowed_cores).await.expect("a job").expect("a mask");
                (allowed_cores().expect("a mask"), off_core)
            });
            let (own, blocking) = worker.expect("a worker").join().expect("its result");
            assert_eq!(own, [core]);
            assert_eq!(blocking, allowed, "what may block runs on every core");
        }
    }
}

#[test]
fn a_core_that_is_not_there_is_an_error_at_the_start() {
    for backend in backends() {
        let config = WorkerConfig { name: "nowhere".to_owned(), core: 1023, backend };
        let refused = spawn_worker(config, || async {}).expect_err("there are not so many cores");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_panic_reaches_whoever_joins() {
    for backend in backends() {
        let panicked = start(backend, || async { panic!("of the main task") }).join();
        let payload = panicked.expect_err("it panicked");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"of the main task"));
    }
    on_each_backend(|| async {
        let task = spawn(async { panic!("of a task") });
        assert_eq!(task.await, Err::<(), _>(TaskError::Panicked("of a task".to_owned())));
        let task = spawn(pending::<()>());
        task.abort();
        assert_eq!(task.await, Err(TaskError::Aborted));
    });
}

#[test]
fn connections_are_handed_to_another_core() {
    for backend in backends() {
        let bound = BoundListener::bind(loopback(), ListenOptions::default()).expect("a listener");
        let address = bound.local();
        let (sender, mut receiver) = mailbox::<Accepted>(4);
        let accepting = start(backend, move || async move {
            let listener = Listener::from_bound(bound).expect("a listener");
            for _ in 0..100 {
                let (accepted, _) = listener.accept().await.expect("accepted");
                sender.send(accepted).await.expect("the other core lives");
            }
        });
        let greeting = start(backend, move || async move {
            let mut greeted = 0;
            while let Some(accepted) = receiver.recv().await {
                accepted.into_stream().expect("a stream").send_all(b"220\r\n").await.expect("sent");
                greeted += 1;
            }
            greeted
        });
        for _ in 0..100 {
            let mut greeting = String::new();
            let mut peer = TcpStream::connect(address).expect("a connection");
            std::io::Read::read_to_string(&mut peer, &mut greeting).expect("a greeting");
            assert_eq!(greeting, "220\r\n");
        }
        accepting.join().expect("the acceptor");
        assert_eq!(greeting.join().expect("the greeter"), 100);
    }
}

#[test]
fn a_full_or_closed_mailbox_gives_the_letter_back() {
    let (sender, mut receiver) = mailbox(2);
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Ok(()));
    assert_eq!(sender.try_send(3), Err(HandoverError::Full(3)));
    assert_eq!(receiver.try_recv(), Some(1));
    assert_eq!(sender.try_send(3), Ok(()));
    drop(receiver);
    assert_eq!(sender.try_send(4), Err(HandoverError::Closed(4)));
}

#[test]
fn shutdown_reaches_every_worker() {
    for backend in backends() {
        let source = ShutdownSource::new();
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let mut shutdown = source.subscribe();
                start(backend, move || async move {
                    shutdown.wait().await;
                    let mut late = shutdown.clone();
                    late.wait().await;
                })
            })
            .collect();
        // Each has subscribed already, so none can miss it.
        source.trigger();
        for worker in workers {
            drop(worker.join());
        }
    }
}

/// Counts the jobs that run, and holds them until the gate opens.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let open = self.open.lock().expect("not poisoned");
        drop(self.opened.wait_while(open, |open| !*open).expect("not poisoned"));
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn open(&self) {
        *self.open.lock().expect("not poisoned") = true;
        self.opened.notify_all();
    }
}

#[test]
fn blocking_jobs_are_bounded_and_the_core_goes_on() {
    on_each_backend(|| async {
        let gate = Arc::new(Gate::default());
        let jobs: Vec<_> = (0..PLACES * 3)
            .map(|number| {
                let gate = Arc::clone(&gate);
                spawn(blocking(move || {
                    gate.pass();
                    number
                }))
            })
            .collect();
        let observer = WorkerObserver::of_this_worker().expect("a worker");
        let places = PLACES as u64;
        // The core's thread does other things while all threads are held.
        let (stream, mut peer) = connected_pair().await;
        let sender = std::thread::spawn(move || std::io::Write::write_all(&mut peer, b"x"));
        let mut buffer = [0; 4];
        assert_eq!(stream.receive(&mut buffer).await.expect("received"), 1);
        sender.join().expect("the sender").expect("sent");
        let figures = std::thread::spawn({
            let observer = observer.clone();
            move || observer.figures()
        });
        let figures = figures.join().expect("any thread may ask");
        assert_eq!((figures.jobs, figures.jobs_running, figures.jobs_waiting), (places, places, 2 * places));
        assert!(figures.polls > 0 && figures.sleeps > 0, "{figures:?}");
        gate.open();
        for (number, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.await.expect("a task").expect("a result"), number);
        }
        assert!(gate.most.load(Ordering::SeqCst) <= PLACES);
        let figures = observer.figures();
        assert_eq!((figures.jobs, figures.jobs_running, figures.jobs_waiting), (3 * places, 0, 0));
    });
}

/// As it is for those who wait for one disk, and those who wait for another.
#[test]
fn jobs_with_places_of_their_own_hold_up_no_others() {
    on_each_backend(|| async {
        let gate = Arc::new(Gate::default());
        let slow = Places::default();
        let held: Vec<_> = (0..PLACES * 2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                spawn(slow.clone().blocking(move || gate.pass()))
            })
            .collect();
        while gate.most.load(Ordering::SeqCst) < PLACES {
            sleep_until(Instant::now() + Duration::from_millis(1)).await;
        }
        assert_eq!(blocking(|| 7).await.expect("a result"), 7);
        assert_eq!(Places::default().blocking(|| 8).await.expect("a result"), 8);
        let figures = WorkerObserver::of_this_worker().expect("a worker").figures();
        assert_eq!((figures.jobs_running, figures.jobs_waiting), (PLACES as u64, PLACES as u64));
        gate.open();
        for job in held {
            job.await.expect("a task").expect("passed");
        }
        assert_eq!(gate.most.load(Ordering::SeqCst), PLACES);
    });
}

#[test]
fn a_panicking_job_is_an_error_and_the_next_one_runs() {
    on_each_backend(|| async {
        for _ in 0..PLACES * 2 {
            let panicked = blocking(|| panic!("in a job")).await;
            assert!(matches!(panicked, Err::<(), _>(BlockingError::Panicked(said)) if said == "in a job"));
        }
        assert_eq!(blocking(|| 7).await.expect("a result"), 7);
    });
}

#[test]
fn a_touched_timer_expires_later() {
    on_each_backend(|| async {
        let idle = Duration::from_millis(20);
        let started = Instant::now();
        let mut timer = IdleTimer::new(idle);
        let touched = started + Duration::from_millis(30);
        timer.touch(touched);
        timer.expired().await;
        assert!(Instant::now() >= touched + idle, "a touch moves the deadline");
        timer.expired().await;
        timer.set_duration(Duration::from_secs(3600));
        let waiting = timeout_at(Instant::now() + Duration::from_millis(5), timer.expired());
        assert!(waiting.await.is_err(), "a longer duration revives it");
        timer.touch(started);
        timer.set_duration(Duration::ZERO);
        timer.expired().await;
    });
}

#[test]
fn a_ready_future_beats_a_deadline_in_the_past() {
    on_each_backend(|| async {
        assert_eq!(timeout_at(Instant::now(), async { 1 }).await, Ok(1));
        assert!(timeout_at(Instant::now(), pending::<()>()).await.is_err());
    });
}

#[test]
fn room_for_descriptors_is_made_at_once() {
    let table_size = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
        let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("a size");
        line.trim().parse::<u32>().expect("a number")
    };
    assert!(table_size() < 1000);
    runtime::reserve_descriptors(1000).expect("every process may open so many");
    assert!(table_size() >= 1000);
    runtime::reserve_descriptors(u32::MAX).expect_err("no process may open so many");
}
