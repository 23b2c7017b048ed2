//! The directories that a configuration names, open.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use config::Config;
use protocol::rights::Rights;
use storage::{Root, RootIdentity};

/// The roots of a configuration, open. Accounts that have none of their own share the server's.
#[derive(Clone)]
pub(crate) struct OpenRoots {
    pub(crate) anonymous: Arc<Root>,
    /// In the order of the accounts.
    pub(crate) named: Vec<Arc<Root>>,
}

impl OpenRoots {
    /// Opens every root, each once; a directory that `before` holds open already is shared with it, so that a reload costs no
    /// descriptors. Blocks. The server's own directory is opened in any case: what is wrong with it is said at once.
    pub(crate) fn open(config: &Config, before: Option<&Self>) -> anyhow::Result<Self> {
        let mut opener = Opener::default();
        for root in before.iter().flat_map(|before| before.each()) {
            opener.known.insert(root.identity()?, Arc::clone(root));
        }
        let anonymous = match &config.anonymous.root {
            Some(root) => opener.open(root, "anonymous.root")?,
            None => opener.open(&config.directory, "directory")?,
        };
        let mut named = Vec::with_capacity(config.accounts.len());
        for account in &config.accounts {
            named.push(match &account.root {
                Some(root) => opener.open(root, &format!("root of the account {}", account.name))?,
                None => opener.open(&config.directory, "directory")?,
            });
        }
        Ok(Self { anonymous, named })
    }

    fn each(&self) -> impl Iterator<Item = &Arc<Root>> {
        std::iter::once(&self.anonymous).chain(&self.named)
    }

    /// The directories into which somebody may upload, each once.
    pub(crate) fn for_uploads(&self, config: &Config) -> Vec<Arc<Root>> {
        let anonymous = config.anonymous.access.rights().unwrap_or(Rights::empty());
        let rights = std::iter::once(anonymous).chain(config.accounts.iter().map(|account| account.rights));
        let mut roots: Vec<Arc<Root>> = Vec::new();
        for (root, rights) in self.each().zip(rights) {
            let is_new = !roots.iter().any(|known| Arc::ptr_eq(known, root));
            if rights.contains(Rights::UPLOAD) && is_new {
                roots.push(Arc::clone(root));
            }
        }
        roots
    }

    /// Those of [`OpenRoots::for_uploads`] that another configuration has not open.
    pub(crate) fn new_for_uploads(&self, config: &Config, before: &Self) -> Vec<Arc<Root>> {
        let mut roots = self.for_uploads(config);
        roots.retain(|root| !before.each().any(|known| Arc::ptr_eq(known, root)));
        roots
    }
}

/// Opens directories, each once.
#[derive(Default)]
struct Opener {
    by_path: HashMap<PathBuf, Arc<Root>>,
    /// By what tells a directory from every other.
    known: HashMap<RootIdentity, Arc<Root>>,
}

impl Opener {
    /// `key` is who wants it.
    fn open(&mut self, path: &Path, key: &str) -> anyhow::Result<Arc<Root>> {
        if let Some(root) = self.by_path.get(path) {
            return Ok(Arc::clone(root));
        }
        let cannot = || format!("{key}: cannot serve {}", path.display());
        let root = Root::open(path).with_context(cannot)?;
        let identity = root.identity().with_context(cannot)?;
        let root = self.known.entry(identity).or_insert_with(|| Arc::new(root));
        self.by_path.insert(path.to_owned(), Arc::clone(root));
        Ok(Arc::clone(root))
    }
}
