//! Tasks of this worker.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::task::JoinHandle;

use crate::backend::{Backend, uring};
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
    Task { handle: tokio::task::spawn_local(future) }
}

/// Lets the other tasks that can go on do so first.
pub(crate) async fn end_turn() {
    match context::current_backend() {
        // A task that merely yields keeps the ring's submissions from being flushed; one that waits for the ring does not.
        Some(Backend::IoUring) => uring::nothing().await,
        _ => tokio::task::yield_now().await,
    }
}

/// A task that was started; awaiting it gives its result. Dropping it lets the task go on by itself.
pub struct Task<T> {
    handle: JoinHandle<T>,
}

impl<T> Task<T> {
    /// Drops the task's future at its next turn; awaiting the task then gives [`TaskError::Aborted`].
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Whether the task has come to its end.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.handle).poll(cx)) {
            Ok(result) => Ok(result),
            Err(ended) => Err(match ended.try_into_panic() {
                Ok(payload) => TaskError::Panicked(panic_message(payload.as_ref())),
                Err(_) => TaskError::Aborted,
            }),
        })
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("finished", &self.is_finished()).finish()
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
