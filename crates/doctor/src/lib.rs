//! Which data connections will work, and why the others will not.
//!
//! FTP fails by its data connections: the control connection comes about as with any other protocol, and then a second one has
//! to go to a port that a firewall does not let in, to an address that a translator hides, or backwards. This crate looks from
//! both ends:
//!
//! - [`examine_config`] looks at this machine as a server with a given configuration will find it, or finds it now;
//! - [`examine_server`] is a client of a server that runs, and tries every way that a data connection can come about.
//!
//! Both give a [`Report`] of [`Finding`]s, each with what can be done about it. Nothing is changed: ports are bound for the
//! length of a look and never listened on, files are not written.
//!
//! # The map
//!
//! `machine` reads what there is (addresses, sockets, rights, kernel settings, packet filter) into a value; each file of
//! `configuration` judges one subject from the configuration and that value, so that a test can judge a machine that is not
//! there. `server` holds the client: `target` what to examine, `control` its control connection, `passive` and `active` the ways
//! of a data connection, `verdict` what their outcomes mean.
#![forbid(unsafe_code)]

mod address;
mod configuration;
mod machine;
mod report;
mod server;

pub use configuration::examine_config;
pub use report::{Finding, Level, Report};
pub use server::{Target, TargetError, examine_server};
