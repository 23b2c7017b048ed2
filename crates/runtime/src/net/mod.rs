//! TCP on this worker: listening, connecting, talking.

mod connect;
mod listener;
mod stream;

pub use connect::{ConnectOptions, connect};
pub use listener::{Accepted, BoundListener, ListenOptions, Listener};
pub use stream::{Stream, peer_closed};
