//! Asking a tunnel to end, from another thread.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::listener::Listener;

/// Ends a tunnel, now or before it stands. Clones end the same one.
#[derive(Clone, Default)]
pub struct StopHandle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    asked: bool,
    listener: Option<Listener>,
}

impl StopHandle {
    /// A handle for a tunnel that is yet to start.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end, and returns at once. Sessions end in the middle of whatever they do.
    pub fn stop(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked = true;
        if let Some(listener) = state.listener.take() {
            listener.close();
        }
    }

    /// Whether somebody has asked for the end.
    pub fn is_asked(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).asked
    }

    /// Has the listener closed when the end is asked for, which can be now.
    pub(crate) fn watch(&self, listener: Listener) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.asked {
            listener.close();
        } else {
            state.listener = Some(listener);
        }
    }
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("StopHandle").field("asked", &self.is_asked()).finish()
    }
}
