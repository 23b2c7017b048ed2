//! What benches and the programs beside them have in common.
#![forbid(unsafe_code)]

pub mod dialogue;
