//! From a file's text to the keys that are described.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Fault};
use crate::nearest;
use crate::place::{Lines, Origins, Place};
use crate::section::{Key, Section, Visitor, path};
use crate::value::{Entry, Value, wrong_type};

/// How many lines that are no TOML are reported: after a bracket that does not close, every further line seems to be one.
const SYNTAX_FAULTS_MAX: usize = 5;

/// A value of the file, and the path of its key.
pub(crate) struct Node<'v> {
    pub(crate) path: String,
    pub(crate) value: &'v Spanned<DeValue<'v>>,
}

/// Reads one file into a table of keys.
pub(crate) struct Reader<'r> {
    lines: &'r Lines<'r>,
    /// The paths of all keys, to offer one for an unknown one.
    known: &'r [String],
    origins: &'r mut Origins,
    errors: &'r mut Vec<ConfigError>,
}

/// Lays what the text of `file` says over `section`; keys that it does not name stay as they are. Returns whether it could
/// be read at all.
pub(crate) fn read<S: Section>(
    file: &Path,
    text: &str,
    section: &mut S,
    origins: &mut Origins,
    errors: &mut Vec<ConfigError>,
) -> bool {
    let lines = Lines::new(file, text);
    let (document, faults) = DeTable::parse_recoverable(text);
    let readable = report_syntax(&lines, &faults, errors);
    // What a parser makes of the rest of a file after a quote or bracket that does not close is not what was meant.
    if readable {
        let known = nearest::paths::<S>();
        Reader { lines: &lines, known: &known, origins, errors }.table(document.get_ref(), "", section);
    }
    readable
}

/// Reports what the parser found, one fault a line, and tells whether the document can be used.
fn report_syntax(lines: &Lines<'_>, faults: &[toml::de::Error], errors: &mut Vec<ConfigError>) -> bool {
    let mut readable = true;
    let mut reported = 0;
    let mut line_before = None;
    for fault in faults {
        let span = fault.span().unwrap_or_default();
        let place = lines.place(span.start);
        if fault.message() == "duplicate key" {
            let key = lines.text().get(span).map(str::to_owned);
            errors.push(ConfigError::new(place, key, Fault::Duplicate));
            continue;
        }
        readable = false;
        let Place::Line { line, .. } = place else { continue };
        if line_before.replace(line) != Some(line) && reported < SYNTAX_FAULTS_MAX {
            reported += 1;
            errors.push(ConfigError::new(place, None, Fault::Syntax(fault.message().to_owned())));
        }
    }
    readable
}

impl Reader<'_> {
    pub(crate) fn lines(&self) -> &Lines<'_> {
        self.lines
    }

    fn place(&self, value: &Spanned<impl Sized>) -> Place {
        self.lines.place(value.span().start)
    }

    /// Reports that nothing can be made of the value.
    pub(crate) fn fault(&mut self, node: &Node<'_>, fault: Fault) {
        let place = self.place(node.value);
        self.errors.push(ConfigError::new(place, node.path.clone(), fault));
        self.origins.set_faulty(&node.path);
    }

    /// Remembers where the value stands.
    pub(crate) fn found(&mut self, node: &Node<'_>) {
        let place = self.place(node.value);
        self.origins.set(&node.path, place);
    }

    fn table<S: Section>(&mut self, table: &DeTable<'_>, prefix: &str, section: &mut S) {
        let here = nearest::names::<S>();
        for (name, _) in table.iter().filter(|(name, _)| !here.contains(&name.get_ref().as_ref())) {
            let hint = nearest::hint(name.get_ref(), &here, self.known);
            let place = self.place(name);
            let fault = Fault::Unknown { what: "key", hint };
            self.errors.push(ConfigError::new(place, path(prefix, name.get_ref()), fault));
        }
        section.visit(&mut TableVisitor { reader: self, table, prefix });
    }

    /// An entry of a list: a table, or one word.
    pub(crate) fn entry<E: Entry>(&mut self, node: &Node<'_>) -> Option<E> {
        match node.value.get_ref() {
            DeValue::Table(table) => self.entry_table(node, table),
            DeValue::String(word) if E::HAS_WORD => {
                E::from_word(word)?.map_err(|fault| self.fault(node, fault)).ok()
            }
            other => {
                self.fault(node, wrong_type(other, String::from(E::EXPECTED)));
                None
            }
        }
    }

    fn entry_table<E: Entry>(&mut self, node: &Node<'_>, table: &DeTable<'_>) -> Option<E> {
        let faults_before = self.errors.len();
        let mut entry = E::default();
        self.table(table, &node.path, &mut entry);
        for name in E::REQUIRED {
            if !table.contains_key(*name) {
                let fault = Fault::Missing { mend: format!("add {name} to this table") };
                let place = self.place(node.value);
                self.errors.push(ConfigError::new(place, path(&node.path, name), fault));
            }
        }
        let faultless = self.errors.len() == faults_before;
        if !faultless {
            self.origins.set_faulty(&node.path);
        }
        faultless.then_some(entry)
    }
}

struct TableVisitor<'v, 'r> {
    reader: &'v mut Reader<'r>,
    table: &'v DeTable<'v>,
    prefix: &'v str,
}

impl Visitor for TableVisitor<'_, '_> {
    fn key<T: Value>(&mut self, key: Key, slot: &mut T) {
        let Some(value) = self.table.get(key.name) else { return };
        let node = Node { path: path(self.prefix, key.name), value };
        match T::from_node(&node, self.reader) {
            Some(value) => {
                *slot = value;
                self.reader.found(&node);
            }
            None => self.reader.origins.set_faulty(&node.path),
        }
    }

    fn section<S: Section>(&mut self, name: &'static str, section: &mut S) {
        let Some(value) = self.table.get(name) else { return };
        let node = Node { path: path(self.prefix, name), value };
        match value.get_ref() {
            DeValue::Table(table) => self.reader.table(table, &node.path, section),
            other => self.reader.fault(&node, wrong_type(other, format!("a table [{name}]"))),
        }
    }
}
