//! FTP as values.
//!
//! Three layers, each usable without the one above: [`mod@line`] cuts the bytes of a control connection into
//! lines, [`command`] reads a line as a [`command::Command`], and [`session`] decides what a command means. What
//! the session answers is a [`reply::Reply`], a value that cannot be encoded to anything but a well-formed reply.
//!
//! There is no input or output here, no clock and no unsafe code: a whole dialogue runs in a test without a
//! socket, and the crate builds for `wasm32-unknown-unknown`.
#![forbid(unsafe_code)]

pub mod command;
pub mod line;
pub mod path;
pub mod reply;
pub mod rights;
pub mod session;
