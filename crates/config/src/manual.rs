//! The manual of all keys, `docs/configuration.md`, from their description.

use std::fmt::Write as _;

use crate::environment::variable;
use crate::keys::{Account, AdvertiseRule, Config, Listener};
use crate::overrides::FLAGS;
use crate::section::{Key, Section, Visitor, path};
use crate::value::{Entry, Value};

const HEAD: &str = "\
# Configuration

*Generated from `crates/config/src/keys.rs`: change it there, and write this page anew by
`UPDATE_DOCS=1 cargo test -p ringftpd-config`.*

The server runs without any configuration but a directory to serve. A file in [TOML](https://toml.io) says more:

```toml
directory = \"/srv/mirror\"
listeners = [\"[::]:21\"]
user = \"ftp\"

[passive]
ports = \"50000-50015\"
advertise = \"ftp.example.org\"
```

`ringftpd serve --config FILE` takes it, and `ringftpd check-config FILE` only says whether it would. `deploy/examples/`
has files to begin with.

## Layers

A key is taken from the first of these that names it: a **flag**, an **environment variable**, the **file**, the
**default**. A list is taken as a whole: it replaces the one below, and is not added to it.

- The variable of a key is `RINGFTPD_` and its path, in capitals: `RINGFTPD_PASSIVE_PORTS` is `ports` of `[passive]`.
  Entries of a list are separated by commas. Lists of tables stand in the file alone, but for `RINGFTPD_LISTENERS`,
  which takes addresses.
- `RINGFTPD_CONFIG` names the file, as `--config` does.
- A relative path in a file starts at the folder of that file, elsewhere at the working directory.

## Strictness

An unknown key or variable, a value of the wrong type or out of range, and keys that contradict each other stop the start,
before anything is bound. All of them are told at once, each with its place and its mend:

```
/etc/ringftpd/ringftpd.toml:7:1: passive.port: unknown key; did you mean ports?
/etc/ringftpd/ringftpd.toml:9:10: deadlines.idle_s: a string where whole seconds, 1 to 31536000 belongs
RINGFTPD_PASSIVE_PORTS: the range 50015-50000 is backwards; write \"50000-50015\"
```

The configuration is read at the start, and again at each SIGHUP. What then has a fault changes nothing, and a key of which
it says below that a change takes a restart keeps the value that it had; both are said in the log. `docs/operations.md` says
from when on what holds. `ringftpd check-config` says before whether a configuration is right.

Variables that Kubernetes makes for a Service whose name begins with `ringftpd`, such as `RINGFTPD_SERVICE_HOST` and
`RINGFTPD_PORT_21_TCP`, are passed over. `enableServiceLinks: false` keeps them away.

## Values

- **Durations** are whole seconds; the name of the key ends in `_s`.
- **Sizes** are bytes, or a string with a unit: `\"64 KiB\"` (1024), `\"64 kB\"` (1000), up to `TiB` and `TB`.
- **Rates** are bytes a second, or a string with a unit: `\"10 MiB/s\"`; `\"unlimited\"` is no limit.
- **Networks** are `\"10.0.0.0/8\"` or `\"2001:db8::/32\"`; an address is the network of it alone.
- **Addresses** to listen on have a port: `\"0.0.0.0:21\"`, `\"[::]:21\"`.

## Keys
";

/// The manual, in Markdown.
#[must_use]
pub fn manual() -> String {
    let mut page = Page { text: String::from(HEAD), prefix: String::new(), in_entry: false, required: &[] };
    page.line(format!("\n### Above all tables\n\n{}", prose(Config::DOC)));
    Config::default().visit(&mut page);
    page.entries::<Listener>("`[[listeners]]`");
    page.entries::<AdvertiseRule>("Entries of `passive.advertise` and of a listener's `advertise`");
    page.entries::<Account>("`[[accounts]]`");
    page.text
}

struct Page {
    text: String,
    prefix: String,
    /// Whether the keys are those of a table in a list.
    in_entry: bool,
    required: &'static [&'static str],
}

/// Lines of documentation, joined as Markdown.
fn prose(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim_start()).collect();
    lines.join("\n")
}

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    /// What stands below the name of a key: one line of facts.
    fn facts<T: Value>(&self, key: Key, path: &str, value: &T) -> String {
        let mut facts = match T::words().is_empty() {
            true => format!("Takes {}.", T::expected()),
            false => String::from("Takes one of these."),
        };
        let required = self.required.contains(&key.name) || path == "directory";
        match value.to_toml() {
            _ if required => facts.push_str(" Required."),
            Some(default) => _ = write!(facts, " Default: `{default}`."),
            None => {}
        }
        if !self.in_entry {
            if let Some((flag, _)) = FLAGS.iter().find(|(_, known)| *known == path) {
                _ = write!(facts, " Flag: `{flag}`.");
            }
            if T::IN_ENVIRONMENT {
                _ = write!(facts, " Variable: `{}`.", variable(path));
            }
        }
        if key.takes_restart {
            facts.push_str(" A change takes a restart.");
        }
        facts
    }

    /// The keys of the tables of a list.
    fn entries<E: Entry>(&mut self, title: &str) {
        self.line(format!("\n### {title}\n\n{}", prose(E::DOC)));
        self.in_entry = true;
        self.required = E::REQUIRED;
        E::default().visit(self);
    }
}

impl Visitor for Page {
    fn key<T: Value>(&mut self, key: Key, value: &mut T) {
        let path = path(&self.prefix, key.name);
        let facts = self.facts(key, &path, value);
        self.line(format!("\n**`{}`**: {}\n", key.name, prose(key.doc)));
        for (word, meaning) in T::words() {
            self.line(format!("- `\"{word}\"`: {}", meaning.trim()));
        }
        if !T::words().is_empty() {
            self.line("");
        }
        self.line(facts);
    }

    fn section<S: Section>(&mut self, name: &'static str, section: &mut S) {
        self.line(format!("\n### `[{name}]`\n\n{}", prose(S::DOC)));
        name.clone_into(&mut self.prefix);
        section.visit(self);
        self.prefix.clear();
    }
}
