//! Tasks of this worker.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use thiserror::Error;

use crate::context;

/// Starts a task on this worker. It runs whether or not the [`Task`] is kept.
///
/// # Panics
///
/// Off a worker's thread.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
{
    let told = Rc::<Told<F::Output>>::default();
    let running = Box::pin(Running { future: Some(future), told: Teller(Rc::clone(&told)) });
    context::with(|worker| worker.executor.spawn(running)).expect("tasks are started on workers");
    Task { told }
}

/// A task that was started; awaiting it gives its result. Dropping it lets the task go on by itself.
pub struct Task<T> {
    told: Rc<Told<T>>,
}

impl<T> Task<T> {
    /// Drops the task's future at its next turn; awaiting the task then gives [`TaskError::Aborted`].
    pub fn abort(&self) {
        self.told.aborted.set(true);
        if let Some(task) = &*self.told.task.borrow() {
            task.wake_by_ref();
        }
    }

    /// Whether the task has come to its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.told.finished.get()
    }

    /// What came of the task, once it is finished.
    pub(crate) fn into_outcome(self) -> Option<Result<T, Ended>> {
        self.told.outcome.take()
    }
}

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TaskError {
    /// The program's fault: the task panicked, with this message.
    #[error("a task panicked: {0}")]
    Panicked(String),
    /// The task was aborted, or its worker stopped.
    #[error("the task was aborted")]
    Aborted,
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.told.outcome.take() {
            Some(Ok(result)) => Poll::Ready(Ok(result)),
            Some(Err(Ended::Panicked(payload))) => {
                Poll::Ready(Err(TaskError::Panicked(panic_message(payload.as_ref()))))
            }
            Some(Err(Ended::Aborted)) => Poll::Ready(Err(TaskError::Aborted)),
            None => {
                self.told.waiting.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("finished", &self.is_finished()).finish()
    }
}

/// How a task ended that has no result.
pub(crate) enum Ended {
    Panicked(Box<dyn Any + Send>),
    Aborted,
}

/// What a task and whoever started it tell each other.
struct Told<T> {
    outcome: Cell<Option<Result<T, Ended>>>,
    finished: Cell<bool>,
    aborted: Cell<bool>,
    /// Wakes the task itself; known from its first turn on, before which it is among the ready ones anyway.
    task: RefCell<Option<Waker>>,
    /// Wakes whoever waits for the outcome.
    waiting: RefCell<Option<Waker>>,
}

impl<T> Default for Told<T> {
    fn default() -> Told<T> {
        let (task, waiting) = (RefCell::default(), RefCell::default());
        Told {
            outcome: Cell::new(None),
            finished: Cell::new(false),
            aborted: Cell::new(false),
            task,
            waiting,
        }
    }
}

/// The task's end of it. Dropped without an outcome, it tells that the task was aborted.
struct Teller<T>(Rc<Told<T>>);

impl<T> Teller<T> {
    fn tell(&self, outcome: Result<T, Ended>) {
        self.0.outcome.set(Some(outcome));
        self.0.finished.set(true);
        self.0.task.take();
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        if !self.0.finished.get() {
            self.tell(Err(Ended::Aborted));
        }
    }
}

pin_project! {
    /// A task as the executor polls it. What the future holds is dropped before its outcome is told.
    struct Running<F>
    where
        F: Future,
    {
        #[pin]
        future: Option<F>,
        told: Teller<F::Output>,
    }
}

impl<F: Future> Future for Running<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        let told = &this.told.0;
        if told.task.borrow().is_none() {
            told.task.replace(Some(cx.waker().clone()));
        }
        let outcome = if told.aborted.get() {
            Err(Ended::Aborted)
        } else {
            match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(result)) => Ok(result),
                Err(payload) => Err(Ended::Panicked(payload)),
            }
        };
        this.future.set(None);
        this.told.tell(outcome);
        Poll::Ready(())
    }
}

/// What a panic said, where it said it in words.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(message), _) => (*message).to_owned(),
        (_, Some(message)) => message.clone(),
        _ => "without a message".to_owned(),
    }
}
