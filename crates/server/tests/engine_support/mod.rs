//! What the tests of the data engine need beyond the others.

#[path = "../../../transfer/tests/support/slow_file_system.rs"]
pub(crate) mod slow_file_system;
