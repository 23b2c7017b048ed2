//! Work that costs much processor time, for whoever asks, in turns.
//!
//! A few threads, shared by all workers, do one job after the other. Who asks says on whose behalf, and those take
//! turns: whoever asks a thousand times waits behind his own thousand, and everybody else for one of them. The threads
//! have less of a claim to the processor than the workers, which go on while a core is full of such work.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::affinity::Mask;
use crate::blocking::BlockingError;
use crate::task::panic_message;

/// How long a thread without a job stays.
const IDLE_THREAD_KEPT: Duration = Duration::from_secs(10);

/// How much less of a processor the threads get than a worker that wants it too, as `nice(1)` counts. More would be worse: beside several
/// threads of 19 the scheduler of Linux 6.18 lets a worker that wakes wait for tens of milliseconds.
const NICENESS: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// Runs `job` on a thread of its own that has as little of a claim to the processor as those of a [`FairPool`], and waits for its end. For long computing on a thread that may
/// block, for a thread cannot take back the claim that it gave up.
///
/// # Errors
///
/// Where no thread could be started.
///
/// # Panics
///
/// If the job does.
pub fn in_the_background<T: Send>(job: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let named = thread::Builder::new().name("background".to_owned());
        let thread = named.spawn_scoped(scope, || {
            step_back();
            job()
        })?;
        Ok(thread.join().unwrap_or_else(|payload| resume_unwind(payload)))
    })
}

/// Lowers the calling thread's claim, from wherever the process was started with. Where that cannot be, it shares on equal terms.
fn step_back() {
    let own = rustix::process::getpriority_process(None).unwrap_or_default();
    let _ = rustix::process::setpriority_process(None, own.saturating_add(NICENESS));
}

/// Threads that do jobs on behalf of `K`s, which take turns.
#[derive(Clone)]
pub struct FairPool<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    queue: Mutex<Queue<K>>,
    changed: Condvar,
    mask: Mask,
}

struct Queue<K> {
    /// The jobs of everybody who has any, in their order, with the number of his turn.
    waiting: HashMap<K, Waiting>,
    turns: BTreeMap<u64, K>,
    numbers: u64,
    /// The jobs of all together.
    jobs_waiting: usize,
    threads: usize,
    threads_max: usize,
    idle_threads: usize,
}

struct Waiting {
    turn: u64,
    jobs: BTreeMap<u64, Job>,
}

impl<K: Clone + Eq + Hash + Send + 'static> FairPool<K> {
    /// So many threads at most, at least one; none is started before there is a job. They run on the cores that the calling
    /// thread may use.
    ///
    /// # Errors
    ///
    /// What `sched_getaffinity(2)` says.
    pub fn new(threads_max: usize) -> io::Result<FairPool<K>> {
        let queue = Queue {
            waiting: HashMap::new(),
            turns: BTreeMap::new(),
            numbers: 0,
            jobs_waiting: 0,
            threads: 0,
            threads_max: threads_max.max(1),
            idle_threads: 0,
        };
        let mask = Mask::of_this_thread()?;
        Ok(FairPool { shared: Arc::new(Shared { queue: Mutex::new(queue), changed: Condvar::new(), mask }) })
    }

    /// Changes how many threads there may be. Those that are too many end with their job.
    pub fn set_threads_max(&self, threads_max: usize) {
        self.shared.lock().threads_max = threads_max.max(1);
        self.shared.changed.notify_all();
    }

    /// How many jobs wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().jobs_waiting
    }

    /// Does `job` on behalf of `who`, when it is his turn, and gives its result. Dropping the future takes back a job that
    /// has not begun, so that there are never more of them than futures.
    ///
    /// # Errors
    ///
    /// [`BlockingError`] if the job panicked, or there is no thread to do it.
    pub async fn run<T, F>(&self, who: K, job: F) -> Result<T, BlockingError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job = move || drop(answer.send(catch_unwind(AssertUnwindSafe(job))));
        let number = self.add(&who, Box::new(job))?;
        let _taken_back = TakeBack { shared: &self.shared, who, number };
        match result.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(payload)) => Err(BlockingError::Panicked(panic_message(payload.as_ref()))),
            Err(_) => Err(BlockingError::NoWorker),
        }
    }

    fn add(&self, who: &K, job: Job) -> Result<u64, BlockingError> {
        let mut queue = self.shared.lock();
        // Those that wait are promised to idle threads: one more needs one more.
        if queue.idle_threads <= queue.jobs_waiting && queue.threads < queue.threads_max {
            let shared = Arc::clone(&self.shared);
            let started = thread::Builder::new().name("fair".to_owned()).spawn(move || shared.serve());
            match started {
                Ok(_) => queue.threads += 1,
                // Those there are do it.
                Err(_) if queue.threads > 0 => {}
                Err(error) => return Err(BlockingError::NoThread(error)),
            }
        }
        let number = queue.add(who, job);
        drop(queue);
        self.shared.changed.notify_one();
        Ok(number)
    }
}

impl<K> fmt::Debug for FairPool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairPool").field("waiting", &self.shared.lock().jobs_waiting).finish()
    }
}

/// Takes a job back that has not begun.
struct TakeBack<'p, K: Eq + Hash> {
    shared: &'p Shared<K>,
    who: K,
    number: u64,
}

impl<K: Eq + Hash> Drop for TakeBack<'_, K> {
    fn drop(&mut self) {
        let taken_back = self.shared.lock().take_back(&self.who, self.number);
        // What it holds goes when the queue is free again.
        drop(taken_back);
    }
}

impl<K> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, Queue<K>> {
        // Jobs run without the lock and their panics are caught: the queue is whole whatever happened.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Shared<K> {
    /// The life of one thread.
    fn serve(&self) {
        // A thread that cannot be widened shares a worker's core: slower, and right.
        drop(self.mask.apply());
        step_back();
        while let Some(job) = self.next_job() {
            job();
        }
    }

    /// The next job, or none once this thread is one too many or has been idle for long.
    fn next_job(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.threads > queue.threads_max {
                queue.threads -= 1;
                return None;
            }
            if let Some(job) = queue.next() {
                return Some(job);
            }
            queue.idle_threads += 1;
            let (woken, timeout) =
                self.changed.wait_timeout(queue, IDLE_THREAD_KEPT).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle_threads -= 1;
            if timeout.timed_out() && queue.turns.is_empty() {
                queue.threads -= 1;
                return None;
            }
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    fn add(&mut self, who: &K, job: Job) -> u64 {
        let number = self.numbers;
        self.numbers += 1;
        let turns = &mut self.turns;
        let waiting = self.waiting.entry(who.clone()).or_insert_with(|| {
            turns.insert(number, who.clone());
            Waiting { turn: number, jobs: BTreeMap::new() }
        });
        waiting.jobs.insert(number, job);
        self.jobs_waiting += 1;
        number
    }

    /// The oldest job of whose turn it is, who then is the last.
    fn next(&mut self) -> Option<Job> {
        let (_, who) = self.turns.pop_first()?;
        let waiting = self.waiting.get_mut(&who)?;
        let (_, job) = waiting.jobs.pop_first()?;
        self.jobs_waiting -= 1;
        if waiting.jobs.is_empty() {
            self.waiting.remove(&who);
        } else {
            waiting.turn = self.numbers;
            self.numbers += 1;
            self.turns.insert(waiting.turn, who);
        }
        Some(job)
    }
}

impl<K: Eq + Hash> Queue<K> {
    fn take_back(&mut self, who: &K, number: u64) -> Option<Job> {
        let waiting = self.waiting.get_mut(who)?;
        let job = waiting.jobs.remove(&number)?;
        self.jobs_waiting -= 1;
        if waiting.jobs.is_empty() {
            self.turns.remove(&waiting.turn);
            self.waiting.remove(who);
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue<u32> {
        Queue {
            waiting: HashMap::new(),
            turns: BTreeMap::new(),
            numbers: 0,
            jobs_waiting: 0,
            threads: 0,
            threads_max: 1,
            idle_threads: 0,
        }
    }

    #[test]
    fn whoever_asks_often_waits_behind_himself() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut queue = queue();
        let mut add = |who: u32, name: &'static str| {
            let done = Arc::clone(&done);
            queue.add(&who, Box::new(move || done.lock().expect("no panic").push(name)))
        };
        let numbers = ["a1", "a2", "a3", "a4"].map(|name| add(1, name));
        add(2, "b1");
        add(3, "c1");
        add(2, "b2");
        assert!(queue.take_back(&1, numbers[2]).is_some());
        assert!(queue.take_back(&1, numbers[2]).is_none());
        assert_eq!(queue.jobs_waiting, 6);
        while let Some(job) = queue.next() {
            job();
        }
        assert_eq!(*done.lock().expect("no panic"), ["a1", "b1", "c1", "a2", "b2", "a4"]);
        assert!(queue.waiting.is_empty() && queue.turns.is_empty());
    }

    #[test]
    fn who_takes_everything_back_has_no_turn_left() {
        let mut queue = queue();
        for _ in 0..10 {
            let number = queue.add(&1, Box::new(|| ()));
            assert!(queue.take_back(&1, number).is_some());
        }
        assert!(queue.waiting.is_empty() && queue.turns.is_empty());
        assert!(queue.next().is_none());
    }
}
