//! Tests that need more than the crate shows: faults on demand, and a look into the page cache.

mod cache_policy;
mod fault_table;
mod reserve_ahead;
#[path = "../../tests/support/mod.rs"]
mod support;
