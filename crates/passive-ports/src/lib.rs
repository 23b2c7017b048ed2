//! A sharded allocator of passive ports (RFC 959 section 4.1.2 PASV, RFC 2428 EPSV): pure bookkeeping.
//!
//! The whole passive range is bound and listening from the start, by somebody else. What is given out here
//! is not a port but a **lease** of the pair (port, client address), so that any number of clients share one
//! port, and one client address holds as many leases at a time as there are ports. A lease costs no system
//! call, and no clock is read: the time is passed in.
//!
//! # The way of a data connection
//!
//! 1. [`shards`] splits the bound ports into one slice a worker and gives a [`ShardHandle`] for each. A worker
//!    accepts on the ports of [`ShardHandle::ports`].
//! 2. PASV: [`ShardHandle::lease`] picks a port for the client's address, of the own slice if it can, else one
//!    borrowed from a neighbour. A later PASV of the same session calls [`ShardHandle::replace`].
//! 3. A connection is accepted on a port: [`ShardHandle::arrive`] says whose it is, and on which worker that
//!    session lives, or that it is a stranger's, to be closed.
//! 4. A lease that no connection came for goes back by [`ShardHandle::give_back`], or runs out by
//!    [`ShardHandle::expire`].
//!
//! # What holds at every moment
//!
//! - A pair (port, client address) has one lease at most: a connection can belong to one session only.
//! - A pair whose lease ended unused cools down before another session gets it; see [`Limits::cool_down`].
//! - Leases together stay under [`Limits::leases_max`]; all memory is reserved at start and none is allocated
//!   later.
//! - Every operation takes constant time, choosing a port for an address that holds nearly all of them too.

#![forbid(unsafe_code)]

mod allocator;
mod chain;
mod client;
mod cool_down;
mod counters;
mod handle;
mod histogram;
mod lease;
mod limits;
mod occupancy;
mod range;
mod shard;
mod sync;
mod table;

pub use allocator::{AllocatorError, SHARDS_MAX, shards};
pub use client::ClientAddress;
pub use counters::{Observer, Snapshot};
pub use handle::ShardHandle;
pub use histogram::{BUCKETS, WaitHistogram};
pub use lease::{Arrival, Delivery, GivenBack, Lease, LeaseId, Refused};
pub use limits::Limits;
pub use range::{PortRange, PortRangeError};
