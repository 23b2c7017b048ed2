//! The house rules that no compiler keeps.

mod rules;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::outcome::Outcome;
use crate::shell;

/// Folders that are made by building and fuzzing, or hold bytes that are not ours to tidy.
const LEFT_OUT: [&str; 6] = [".git", "target", "corpus", "artifacts", "seeds", "node_modules"];

/// Kinds of files that people write.
const TEXT_EXTENSIONS: [&str; 8] = ["dict", "md", "py", "rs", "sh", "toml", "yaml", "yml"];

/// A file that is looked at.
pub(crate) struct SourceFile {
    /// From the top of the repository.
    path: PathBuf,
    text: String,
}

/// Looks at every file, and shows what is against the rules.
pub(crate) fn run() -> anyhow::Result<Outcome> {
    let root = shell::root();
    let mut complaints = Vec::new();
    let mut files = Vec::new();
    collect(&root, Path::new(""), &mut files)?;
    for file in &files {
        complaints.extend(rules::complaints(file));
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    println!("{} files looked at, {} complaints", files.len(), complaints.len());
    Ok(Outcome::of_check(complaints.is_empty()))
}

fn collect(root: &Path, below: &Path, files: &mut Vec<SourceFile>) -> anyhow::Result<()> {
    let folder = root.join(below);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let path = below.join(&name);
        if entry.file_type()?.is_dir() {
            if !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                collect(root, &path, files)?;
            }
        } else if is_text(&path) {
            let text = fs::read_to_string(entry.path());
            let text = text.with_context(|| format!("cannot read {} as text", path.display()))?;
            files.push(SourceFile { path, text });
        }
    }
    Ok(())
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    TEXT_EXTENSIONS.iter().any(|text| extension == *text) || path.starts_with(".ci")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_and_products_are_left_out() {
        let root = tempfile::tempdir().expect("a directory");
        for path in ["a/src/lib.rs", "target/debug/lib.rs", "seeds/x.md", ".ci/run", "a/picture.png"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        let mut files = Vec::new();
        collect(root.path(), Path::new(""), &mut files).expect("files");
        let paths: Vec<_> = files.iter().map(|file| file.path.as_path()).collect();
        assert_eq!(paths, [Path::new(".ci/run"), Path::new("a/src/lib.rs")]);
    }
}
