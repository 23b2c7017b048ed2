//! A configuration as the text of a file.

use crate::keys::Config;
use crate::section::{Key, Section, Visitor};
use crate::value::Value;

impl Config {
    /// The text of a file that says all of this, defaults too: what is in force. It has the hashes of the passwords.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut writer = Writer(String::new());
        self.clone().visit(&mut writer);
        writer.0
    }
}

struct Writer(String);

impl Visitor for Writer {
    fn key<T: Value>(&mut self, key: Key, value: &mut T) {
        if let Some(text) = value.to_toml() {
            self.0.push_str(&format!("{} = {text}\n", key.name));
        }
    }

    fn section<S: Section>(&mut self, name: &'static str, section: &mut S) {
        self.0.push_str(&format!("\n[{name}]\n"));
        section.visit(self);
    }
}

/// A table on one line: `{ name = "a", rights = "reader" }`.
pub(crate) fn inline_table<S: Section>(mut section: S) -> String {
    let mut entries = Entries(Vec::new());
    section.visit(&mut entries);
    format!("{{ {} }}", entries.0.join(", "))
}

struct Entries(Vec<String>);

impl Visitor for Entries {
    fn key<T: Value>(&mut self, key: Key, value: &mut T) {
        if let Some(text) = value.to_toml() {
            self.0.push(format!("{} = {text}", key.name));
        }
    }

    fn section<S: Section>(&mut self, name: &'static str, section: &mut S) {
        let mut inner = Self(Vec::new());
        section.visit(&mut inner);
        self.0.push(format!("{name} = {{ {} }}", inner.0.join(", ")));
    }
}
