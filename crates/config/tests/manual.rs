//! The manual says what the code does.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use config::{Config, Sources};

/// Set to anything, the page is written anew.
const UPDATE: &str = "UPDATE_DOCS";

#[test]
fn the_manual_has_not_drifted() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let manual = config::manual();
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&page, &manual).unwrap();
    }
    let stands = fs::read_to_string(&page).unwrap_or_default();
    assert!(
        stands == manual,
        "{} is out of date: run {UPDATE}=1 cargo test -p ringftpd-config",
        page.display()
    );
}

#[test]
fn its_example_loads() {
    let manual = config::manual();
    let (_, rest) = manual.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.toml");
    fs::write(&file, example).unwrap();
    let (_, warnings) = Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
    assert!(warnings.is_empty());
}
