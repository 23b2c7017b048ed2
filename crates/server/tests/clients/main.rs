//! Real clients against the real server, each doing what it does best. What they fetch and store is compared by hash.
//!
//! `RINGFTPD_TEST_RUNTIME` says which runtime the servers use. `cargo xtask test` runs all of this on each.
#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod aria2;
mod busybox;
mod curl;
mod ftplib;
mod inetutils;
mod lftp;
mod ncftp;
mod rclone;
mod suppaftp;
mod tnftp;
mod wget;
