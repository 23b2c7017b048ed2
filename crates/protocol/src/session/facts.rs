//! The facts of RFC 3659 section 7.5 that a client may choose with `OPTS MLST`.

use std::fmt;

bitflags::bitflags! {
    /// The facts that `MLST` and `MLSD` tell.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct FactSelection: u8 {
        /// `type`.
        const TYPE = 1 << 0;
        /// `perm`.
        const PERM = 1 << 1;
        /// `size`.
        const SIZE = 1 << 2;
        /// `modify`.
        const MODIFY = 1 << 3;
        /// `unique`.
        const UNIQUE = 1 << 4;
        /// `UNIX.mode`.
        const UNIX_MODE = 1 << 5;
        /// `UNIX.owner`.
        const UNIX_OWNER = 1 << 6;
        /// `UNIX.group`.
        const UNIX_GROUP = 1 << 7;
    }
}

/// Names as `FEAT` and `OPTS` write them, in the order in which `FEAT` lists them.
const NAMES: [(FactSelection, &str); 8] = [
    (FactSelection::TYPE, "type"),
    (FactSelection::PERM, "perm"),
    (FactSelection::SIZE, "size"),
    (FactSelection::MODIFY, "modify"),
    (FactSelection::UNIQUE, "unique"),
    (FactSelection::UNIX_MODE, "UNIX.mode"),
    (FactSelection::UNIX_OWNER, "UNIX.owner"),
    (FactSelection::UNIX_GROUP, "UNIX.group"),
];

impl Default for FactSelection {
    /// What is told before the client chooses: everything but the numbers of owner and group.
    fn default() -> Self {
        Self::all() - Self::UNIX_OWNER - Self::UNIX_GROUP
    }
}

impl FactSelection {
    /// Reads the list of `OPTS MLST`: names that each end with a semicolon (RFC 3659 section 7.9). Unknown names are
    /// passed over, as the RFC asks; a list of another form is `None`.
    pub fn read(list: &[u8]) -> Option<Self> {
        let Some(names) = list.strip_suffix(b";") else {
            return list.is_empty().then(Self::empty);
        };
        let mut selection = Self::empty();
        for name in names.split(|&byte| byte == b';') {
            if name.is_empty() || name.contains(&b' ') {
                return None;
            }
            let known = NAMES.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name));
            selection |= known.map_or(Self::empty(), |(fact, _)| *fact);
        }
        Some(selection)
    }

    /// The line of `FEAT`: every fact, with an asterisk behind those that are chosen.
    pub fn feature_line(self) -> String {
        let mut line = String::from("MLST ");
        for (fact, name) in NAMES {
            line.push_str(name);
            line.push_str(if self.contains(fact) { "*;" } else { ";" });
        }
        line
    }
}

impl fmt::Display for FactSelection {
    /// The chosen facts, each with its semicolon, as the reply to `OPTS MLST` lists them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (fact, name) in NAMES {
            if self.contains(fact) {
                write!(formatter, "{name};")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_reads_and_writes() {
        let selection = FactSelection::read(b"Size;MODIFY;fish;").unwrap();
        assert_eq!(selection.to_string(), "size;modify;");
        assert_eq!(FactSelection::read(b""), Some(FactSelection::empty()));
        assert_eq!(FactSelection::read(b"type"), None);
        assert_eq!(FactSelection::read(b"type ;"), None);
        assert_eq!(FactSelection::read(b";"), None);
        assert_eq!(
            FactSelection::TYPE.feature_line(),
            "MLST type*;perm;size;modify;unique;UNIX.mode;UNIX.owner;UNIX.group;"
        );
    }
}
