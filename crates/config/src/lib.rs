//! The configuration: every key, its type, its default and its meaning, read from a file, the environment and flags.
//!
//! # One description
//!
//! `keys.rs` names every key once, as a field with its default and its documentation. Whatever works on keys visits that
//! one description: reading the file (`reader.rs`), reading the environment (`environment.rs`), writing a
//! configuration (`writer.rs`), the manual (`manual.rs`), and the search for the nearest known key (`nearest.rs`).
//!
//! # The way of a configuration
//!
//! [`Config::load`] lays four layers over each other, the later one winning: defaults, file, environment, flags. Then
//! `check.rs` looks for contradictions between keys. Every fault of every layer is reported, with the place of each;
//! nothing is bound, opened or changed before there is none.
#![forbid(unsafe_code)]

mod check;
mod choice;
mod choices;
mod environment;
mod error;
mod file;
mod keys;
mod load;
mod manual;
mod nearest;
mod overrides;
mod place;
mod reader;
mod reload;
mod section;
mod value;
mod values;
mod writer;

pub use choice::UnknownWord;
pub use choices::{
    AnonymousAccess, DataPeer, ListenerKind, LogFormat, LogLevel, ProxyProtocol, RuntimeChoice, SourcePort,
    SyncPolicy, TransferRoute, UploadCache,
};
pub use environment::FILE_VARIABLE;
pub use error::{ConfigError, ConfigErrors, Fault, Warning};
pub use file::FILE_BYTES_MAX;
pub use keys::{
    Account, Active, AdvertiseRule, Anonymous, Config, Deadlines, Fxp, Limits, Listener, Log, Metrics,
    Passive, Transfer,
};
pub use load::Sources;
pub use manual::manual;
pub use overrides::{FLAGS, Overrides};
pub use place::Place;
pub use values::{
    AccountName, Advertise, ByteSize, Host, HostName, Network, PasswordHash, Rate, Seconds, Whole,
};
