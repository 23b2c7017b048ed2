//! What benches and instruction counts have in common.
#![forbid(unsafe_code)]

pub mod dialogue;
