//! Work that may block, off the core's thread.
//!
//! The threads are the worker's own and not tokio's, for two reasons. They run on every core that the process may
//! use, where tokio's would inherit the pinning of the worker and steal its core. And a job that hangs, on a dead
//! network file system for one, does not keep the worker from stopping.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::affinity::Mask;
use crate::context;
use crate::deadline::sleep_until;
use crate::figures::Counters;
use crate::task::panic_message;

/// Jobs that run at once in the same [`Places`].
pub const PLACES: usize = 16;

/// How long a job waits for a thread that cannot be started, and how often it looks: one of those there are may come free. It is not
/// left to them, who may all wait for a mount that hangs.
const THREAD_WAIT_MAX: Duration = Duration::from_secs(2);
const THREAD_LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long a thread without a job stays.
const IDLE_THREAD_KEPT: Duration = Duration::from_secs(10);

/// Why a job has no result.
#[derive(Debug, Error)]
pub enum BlockingError {
    /// The program's fault: the job panicked, with this message.
    #[error("a blocking job panicked: {0}")]
    Panicked(String),
    /// A limit's fault: no thread could be started for it.
    #[error("no thread could be started for a blocking job: {0}")]
    NoThread(#[source] io::Error),
    /// The program's fault: called off a worker's thread, or while the worker stops.
    #[error("only a running worker can start a blocking job")]
    NoWorker,
}

impl From<BlockingError> for io::Error {
    fn from(error: BlockingError) -> io::Error {
        match error {
            BlockingError::NoThread(error) => error,
            other => io::Error::other(other),
        }
    }
}

/// Runs `job` on a thread where it may block, and gives its result.
///
/// At most [`PLACES`] such jobs of a worker run at once; the others wait in order. Dropping the future while its job waits
/// drops the job. A job that runs cannot be stopped: it runs to its end. Its result is dropped on its own thread, or on the worker's
/// where it had come when the future was dropped: what is slow to drop has to see to that itself.
///
/// # Errors
///
/// [`BlockingError`] if the job panicked or could not be started.
pub async fn blocking<T, F>(job: F) -> Result<T, BlockingError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Places::common().ok_or(BlockingError::NoWorker)?.blocking(job).await
}

/// Places for jobs that wait for the same thing, so that these hold up nobody but each other: [`PLACES`] of them, of one worker.
#[derive(Debug, Clone)]
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Places {
        Places(Arc::new(Semaphore::new(PLACES)))
    }
}

impl Places {
    /// Those of this worker for jobs that have none of their own; `None` off a worker.
    #[must_use]
    pub fn common() -> Option<Places> {
        context::with(|worker| worker.blocking.places.clone())
    }

    /// Whether a job that comes now need not wait for another to end.
    #[must_use]
    pub fn have_room(&self) -> bool {
        self.0.available_permits() > 0
    }

    /// Whether no job has one, and nobody can come for one but by the registry that keeps them.
    fn are_unused(&self) -> bool {
        self.0.available_permits() == PLACES && Arc::strong_count(&self.0) == 1
    }

    /// As the function [`blocking`](fn@blocking), in these places.
    ///
    /// # Errors
    ///
    /// As [`blocking`](fn@blocking).
    pub async fn blocking<T, F>(self, job: F) -> Result<T, BlockingError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let worker = context::worker().ok_or(BlockingError::NoWorker)?;
        let place = worker.blocking.place_among(&self).await?;
        let (answer, result) = oneshot::channel();
        let mut job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(job));
            // Given back before the answer: whoever has it may start the next job at once.
            drop::<Place>(place);
            drop(answer.send(outcome));
        });
        let give_up_at = Instant::now() + THREAD_WAIT_MAX;
        while let Err((not_begun, error)) = worker.blocking.run(job) {
            if Instant::now() >= give_up_at {
                return Err(BlockingError::NoThread(error));
            }
            job = not_begun;
            sleep_until(Instant::now() + THREAD_LOOK_EVERY).await;
        }
        drop(worker);
        match result.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(payload)) => Err(BlockingError::Panicked(panic_message(payload.as_ref()))),
            Err(_) => Err(BlockingError::NoWorker),
        }
    }
}

/// Keys that have places at once, at most. Where all of them are in use, further ones share the first one's.
const KEYS_MAX: usize = 64;

/// Places of one worker for each of several things that jobs wait for.
#[derive(Debug)]
pub struct PlacesOf<K>(RefCell<Vec<(K, Places)>>);

impl<K> Default for PlacesOf<K> {
    fn default() -> PlacesOf<K> {
        PlacesOf(RefCell::default())
    }
}

impl<K: PartialEq> PlacesOf<K> {
    /// Those for jobs that wait for `key`.
    #[must_use]
    pub fn of(&self, key: K) -> Places {
        let mut known = self.0.borrow_mut();
        if let Some((_, places)) = known.iter().find(|(known, _)| *known == key) {
            return places.clone();
        }
        if known.len() == KEYS_MAX {
            let Some(unused) = known.iter().position(|(_, places)| places.are_unused()) else {
                return known[0].1.clone();
            };
            known.remove(unused);
        }
        let places = Places::default();
        known.push((key, places.clone()));
        places
    }
}

/// The right to occupy one thread, of the worker's pool or of the kernel.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    taken: Arc<AtomicU64>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A worker's threads for jobs that may block. They start when needed and end when idle, or with the pool.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// Those of jobs that have none of their own.
    places: Places,
    /// How many of all places are taken.
    taken: Arc<AtomicU64>,
    counters: Arc<Counters>,
}

/// A job that waits for a place, counted.
struct Waiting<'a>(&'a Counters);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.jobs_waiting.subtract(1);
    }
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    mask: Mask,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    idle_threads: usize,
    ended: bool,
}

impl Pool {
    /// A pool without threads yet; they will run on the cores of `mask`.
    pub(crate) fn new(mask: Mask, counters: Arc<Counters>) -> Pool {
        let shared = Shared { queue: Mutex::default(), changed: Condvar::new(), mask };
        Pool { shared: Arc::new(shared), places: Places::default(), taken: Arc::default(), counters }
    }

    /// Waits for a place that no other job has.
    pub(crate) async fn place_among(&self, Places(places): &Places) -> Result<Place, BlockingError> {
        let permit = if let Ok(permit) = Arc::clone(places).try_acquire_owned() {
            permit
        } else {
            self.counters.jobs_waiting.add(1);
            let _waiting = Waiting(&self.counters);
            Arc::clone(places).acquire_owned().await.map_err(|_| BlockingError::NoWorker)?
        };
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(Place { _permit: permit, taken: Arc::clone(&self.taken) })
    }

    /// The number of places that are taken, which goes on to be so.
    pub(crate) fn taken(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    /// Begins a job; gives it back where no thread is idle and none can be started.
    fn run(&self, job: Job) -> Result<(), (Job, io::Error)> {
        let mut queue = self.shared.lock();
        // Queued jobs are promised to idle threads: one more needs one more.
        if queue.idle_threads <= queue.jobs.len() {
            let shared = Arc::clone(&self.shared);
            let started = thread::Builder::new().name("blocking".to_owned()).spawn(move || shared.serve());
            if let Err(error) = started {
                return Err((job, error));
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.counters.jobs.add(1);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Jobs run without the lock and their panics are caught: the queue is whole whatever happened.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of one thread.
    fn serve(&self) {
        // If it cannot be widened the thread shares the worker's core: slower, and right.
        drop(self.mask.apply());
        while let Some(job) = self.next_job() {
            job();
        }
    }

    /// The next job, or none once the pool has ended or the thread has been idle for long.
    fn next_job(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.ended {
                return None;
            }
            queue.idle_threads += 1;
            let (woken, timeout) =
                self.changed.wait_timeout(queue, IDLE_THREAD_KEPT).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle_threads -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() {
                return None;
            }
        }
    }
}
