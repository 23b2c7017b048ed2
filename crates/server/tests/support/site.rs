//! A served directory, a client's directory, and the server between them.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::program::Program;
use super::server::Server;
use super::tree::{self, Names};

/// Everything that a client's test needs.
pub(crate) struct Site {
    pub(crate) server: Server,
    /// What is served.
    pub(crate) served: PathBuf,
    /// Where the client runs.
    pub(crate) local: PathBuf,
    /// Where the client has its settings: none.
    home: PathBuf,
    /// Goes last: the server still serves it while it ends.
    _scratch: TempDir,
}

impl Site {
    /// A sample tree to read.
    pub(crate) fn to_read(names: Names) -> Self {
        Self::new(&["--anonymous", "read"], |served, _| tree::build(served, names))
    }

    /// An empty directory that everybody may write to, and a sample tree at the client's.
    pub(crate) fn to_fill(names: Names) -> Self {
        Self::new(&["--anonymous", "write"], |_, local| tree::build(local, names))
    }

    /// A sample tree that everybody may write to.
    pub(crate) fn to_change(names: Names) -> Self {
        Self::new(&["--anonymous", "write"], |served, _| tree::build(served, names))
    }

    /// A server with `arguments`, started after `prepare` has filled the served and the local directory.
    pub(crate) fn new(arguments: &[&str], prepare: impl FnOnce(&Path, &Path)) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let [served, local, home] = ["served", "local", "home"].map(|name| scratch.path().join(name));
        for directory in [&served, &local, &home] {
            fs::create_dir(directory).expect("a directory");
        }
        prepare(&served, &local);
        let server = Server::start(&served, arguments);
        Self { server, served, local, home, _scratch: scratch }
    }

    /// A program that runs in the local directory.
    pub(crate) fn program(&self, name: &'static str, package: &str) -> Program {
        Program::new(name, package, &self.local, &self.home)
    }

    /// A new directory beside the local one.
    pub(crate) fn elsewhere(&self, name: &str) -> PathBuf {
        let directory = self.local.with_file_name(name);
        fs::create_dir(&directory).expect("a directory");
        directory
    }
}
