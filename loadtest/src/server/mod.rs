//! The server under load, where it is on this machine.

mod affinity;
mod child;
mod find;
mod own;
mod tree;

pub(crate) use affinity::cores;
pub(crate) use child::{SUBCOMMAND, become_server};
pub(crate) use find::{Listening, listening_process};
pub(crate) use own::{OwnServer, ServerCommand};
pub(crate) use tree::{DIFFERENT_FILES, Tree, TreeFiles};
