//! The known key that somebody may have meant.

use crate::environment::VARIABLE_PREFIX;
use crate::section::{Key, Section, Visitor, path};
use crate::value::Value;

/// How alike two words must be, from 0 for nothing in common to 1, so that one is offered for the other.
const SIMILARITY_MIN: f64 = 0.75;

/// The word that is most like `wanted`, if any is.
pub(crate) fn similar<'w>(wanted: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let wanted = wanted.to_ascii_lowercase().replace('-', "_");
    known
        .map(|word| (strsim::jaro_winkler(&wanted, &word.replace('-', "_")), word))
        .filter(|(likeness, _)| *likeness >= SIMILARITY_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}

/// What to say of the unknown `name` in a table that knows `here`, where the whole file knows the paths `everywhere`.
pub(crate) fn hint<'e>(name: &str, here: &[&str], everywhere: &'e [String]) -> String {
    if let Some(key) = similar(name, here.iter().copied()) {
        return format!("did you mean {key}?");
    }
    // A key of another table, or at the wrong level.
    let leaf = |path: &'e String| path.rsplit('.').next().unwrap_or_default();
    if let Some(like) = similar(name, everywhere.iter().map(leaf))
        && let Some(path) = everywhere.iter().find(|path| leaf(path) == like)
    {
        return format!("did you mean {path}?");
    }
    format!("known here: {}", here.join(", "))
}

/// The variable that is most like `wanted`, if any is. What all of them begin with makes none more alike.
pub(crate) fn similar_variable<'k>(wanted: &str, known: &'k [String]) -> Option<&'k str> {
    let own = |name: &str| name.trim_start_matches(VARIABLE_PREFIX).to_ascii_lowercase();
    let wanted = own(wanted);
    let table_left_out = format!("_{wanted}");
    if let Some(whole) = known.iter().find(|name| own(name).ends_with(&table_left_out)) {
        return Some(whole);
    }
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &own(name)), name))
        .filter(|(likeness, _)| *likeness >= SIMILARITY_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name.as_str())
}

/// The names that a table knows.
pub(crate) fn names<S: Section>() -> Vec<&'static str> {
    let mut names = Names(Vec::new());
    S::default().visit(&mut names);
    names.0
}

struct Names(Vec<&'static str>);

impl Visitor for Names {
    fn key<T: Value>(&mut self, key: Key, _: &mut T) {
        self.0.push(key.name);
    }

    fn section<S: Section>(&mut self, name: &'static str, _: &mut S) {
        self.0.push(name);
    }
}

/// The paths of all keys, those in lists of tables aside.
pub(crate) fn paths<S: Section>() -> Vec<String> {
    let mut paths = Paths { prefix: "", paths: Vec::new() };
    S::default().visit(&mut paths);
    paths.paths
}

struct Paths {
    prefix: &'static str,
    paths: Vec<String>,
}

impl Visitor for Paths {
    fn key<T: Value>(&mut self, key: Key, _: &mut T) {
        self.paths.push(path(self.prefix, key.name));
    }

    fn section<S: Section>(&mut self, name: &'static str, section: &mut S) {
        let outer = std::mem::replace(&mut self.prefix, name);
        section.visit(self);
        self.prefix = outer;
    }
}
