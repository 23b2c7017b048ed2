//! What a server of the tester's own serves: a temporary directory.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::content::Content;
use crate::interrupt;
use crate::random::Random;
use crate::scenario::Scenario;

/// The file that everybody fetches.
const SMALL: &str = "1k.bin";
/// The file that goes from server to server.
const EXCHANGED: &str = "exchanged.bin";
/// Many small files, all different, so that a data connection that reached the wrong session is noticed.
pub(crate) const DIFFERENT_FILES: usize = 1024;
/// A file that is fetched in part is longer than what the kernel takes of it before anybody reads.
const CUT_BYTES: u64 = 16 * 1024 * 1024;
/// Big files repeat after this many bytes.
const BLOCK_BYTES: usize = 1024 * 1024 - 3;

/// How big the files are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TreeFiles {
    pub(crate) small_bytes: usize,
    pub(crate) big_bytes: u64,
    /// What goes from server to server.
    pub(crate) exchanged_bytes: usize,
    pub(crate) entries: usize,
    /// The storm's files are all different.
    pub(crate) different: bool,
}

/// A temporary directory with what a scenario needs; gone when dropped.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: TempDir,
    pub(crate) files: Vec<(Vec<u8>, Content)>,
    pub(crate) listed: Vec<u8>,
    pub(crate) upload_folder: Vec<u8>,
}

impl Tree {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub(crate) fn make(scenario: Scenario, sizes: TreeFiles, seed: u64) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("loadtest-").tempdir().context("cannot make a directory")?;
        let random = Random::new(seed);
        let mut tree =
            Self { folder, files: Vec::new(), listed: Vec::new(), upload_folder: b"upload/".to_vec() };
        fs::create_dir(tree.path().join("upload"))?;
        match scenario {
            Scenario::Download => tree.add_big(&random, sizes.big_bytes)?,
            Scenario::Abort => tree.add_big(&random, CUT_BYTES)?,
            Scenario::Fxp => tree.add_file(EXCHANGED, random.bytes(sizes.exchanged_bytes))?,
            Scenario::Pasv | Scenario::ConnectBack if sizes.different => {
                fs::create_dir(tree.path().join("small"))?;
                for number in 0..DIFFERENT_FILES {
                    tree.add_file(&format!("small/{number:04}.bin"), random.bytes(sizes.small_bytes))?;
                }
            }
            _ => tree.add_file(SMALL, random.bytes(sizes.small_bytes))?,
        }
        if scenario.lists() {
            tree.add_entries(sizes.entries)?;
        }
        Ok(tree)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn add_file(&mut self, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
        fs::write(self.path().join(name), &bytes).with_context(|| format!("cannot write {name}"))?;
        self.files.push((name.as_bytes().to_vec(), Content::bytes(bytes)));
        Ok(())
    }

    fn add_big(&mut self, random: &Random, length: u64) -> anyhow::Result<()> {
        let block = random.bytes(BLOCK_BYTES);
        let file = fs::File::create(self.path().join("big.bin"))?;
        let mut file = BufWriter::with_capacity(BLOCK_BYTES, file);
        let mut left = length;
        while left > 0 {
            interrupt::check()?;
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            file.write_all(&block[..size]).context("cannot write big.bin")?;
            left -= size as u64;
        }
        file.flush()?;
        self.files.push((b"big.bin".to_vec(), Content::Repeated { block, length }));
        Ok(())
    }

    fn add_entries(&mut self, count: usize) -> anyhow::Result<()> {
        let folder = self.path().join("list");
        fs::create_dir(&folder)?;
        for number in 0..count {
            interrupt::check()?;
            fs::write(folder.join(format!("entry-{number:06}.dat")), [])?;
        }
        self.listed = b"list".to_vec();
        Ok(())
    }
}
