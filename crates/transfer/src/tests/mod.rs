//! Tests that need more than the crate shows: faults on demand, and a look into the page cache.

mod cache_policy;
mod fault_table;
#[path = "../../tests/support/mod.rs"]
mod support;
