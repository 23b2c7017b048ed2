//! What values there are, each in its own file but for the plain ones.

mod account;
mod advertise;
mod host;
mod network;
mod password_hash;
mod plain;
mod rights;
mod seconds;
mod size;
mod whole;

pub use account::AccountName;
pub use advertise::Advertise;
pub use host::{Host, HostName};
pub use network::Network;
pub use password_hash::PasswordHash;
pub use seconds::Seconds;
pub use size::{ByteSize, Rate};
pub use whole::Whole;
