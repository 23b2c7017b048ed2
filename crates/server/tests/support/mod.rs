//! What the integration tests stand on: the real server, sample trees, and other people's clients.
#![allow(dead_code)] // Each test binary uses its part.

pub(crate) mod address;
pub(crate) mod bare;
pub(crate) mod http;
pub(crate) mod page;
pub(crate) mod program;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod tree;
