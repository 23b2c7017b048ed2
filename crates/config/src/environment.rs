//! Keys from environment variables.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::error::{ConfigError, Fault};
use crate::nearest;
use crate::place::{Origins, Place};
use crate::section::{Key, Section, Visitor, path};
use crate::value::{Value, wrong_value};

/// What the names of all variables begin with.
pub(crate) const VARIABLE_PREFIX: &str = "RINGFTPD_";

/// The variable that names the file, as `--config` does. It is no key.
pub const FILE_VARIABLE: &str = "RINGFTPD_CONFIG";

/// The variable of the key at `path`: `RINGFTPD_PASSIVE_PORTS` of `passive.ports`.
pub(crate) fn variable(path: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", path.replace('.', "_").to_ascii_uppercase())
}

/// The variables that concern this server.
#[derive(Debug)]
pub(crate) struct Environment(BTreeMap<String, String>);

impl Environment {
    pub(crate) fn new(variables: &[(OsString, OsString)], errors: &mut Vec<ConfigError>) -> Self {
        let mut own = BTreeMap::new();
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(VARIABLE_PREFIX)) else { continue };
            match value.to_str() {
                Some(value) => {
                    own.insert(name.to_owned(), value.to_owned());
                }
                None => errors.push(fault(name, wrong_value("this is not UTF-8", "keys are text"))),
            }
        }
        Self(own)
    }

    /// The file that the environment names.
    pub(crate) fn file(&self) -> Option<&str> {
        self.0.get(FILE_VARIABLE).map(String::as_str)
    }

    /// Lays what the variables say over `section`.
    pub(crate) fn read<S: Section>(
        &self,
        section: &mut S,
        origins: &mut Origins,
        errors: &mut Vec<ConfigError>,
    ) {
        let mut known: Vec<String> = nearest::paths::<S>().iter().map(|path| variable(path)).collect();
        known.push(String::from(FILE_VARIABLE));
        for (name, value) in &self.0 {
            if !known.contains(name) && !is_service_link(name, value) {
                let hint = match nearest::similar_variable(name, &known) {
                    Some(near) => format!("did you mean {near}?"),
                    None => String::from("`docs/configuration.md` lists those there are"),
                };
                errors.push(fault(name, Fault::Unknown { what: "environment variable", hint }));
            }
        }
        section.visit(&mut EnvironmentVisitor { variables: &self.0, prefix: "", origins, errors });
    }
}

fn fault(name: &str, fault: Fault) -> ConfigError {
    ConfigError::new(Place::Environment(name.to_owned()), None, fault)
}

/// Whether Kubernetes made this variable for a Service whose name begins with `ringftpd`: it puts the addresses of all
/// Services of a namespace into the environment of each of its containers, in the form that Docker's links had.
fn is_service_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") {
        return ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    }
    let stem = ["_PROTO", "_PORT", "_ADDR"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let stem = ["_TCP", "_UDP", "_SCTP"].iter().find_map(|end| stem.strip_suffix(end));
    stem.and_then(|stem| stem.rsplit_once("_PORT_")).is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

struct EnvironmentVisitor<'v> {
    variables: &'v BTreeMap<String, String>,
    prefix: &'static str,
    origins: &'v mut Origins,
    errors: &'v mut Vec<ConfigError>,
}

impl Visitor for EnvironmentVisitor<'_> {
    fn key<T: Value>(&mut self, key: Key, slot: &mut T) {
        let path = path(self.prefix, key.name);
        let name = variable(&path);
        let Some(text) = self.variables.get(&name) else { return };
        let read = if T::IN_ENVIRONMENT {
            T::from_text(text)
        } else {
            Err(wrong_value("tables cannot be written in a variable", format!("write {path} in the file")))
        };
        match read {
            Ok(value) => {
                *slot = value;
                self.origins.replace(&path, Place::Environment(name));
            }
            Err(wrong) => {
                self.errors.push(fault(&name, wrong));
                self.origins.set_faulty(&path);
            }
        }
    }

    fn section<S: Section>(&mut self, name: &'static str, section: &mut S) {
        let outer = std::mem::replace(&mut self.prefix, name);
        section.visit(self);
        self.prefix = outer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Config;

    #[test]
    fn no_two_keys_share_a_variable() {
        let mut names: Vec<String> = nearest::paths::<Config>().iter().map(|path| variable(path)).collect();
        names.push(String::from(FILE_VARIABLE));
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn links_to_services_are_told_from_keys() {
        let link = |name| is_service_link(name, "tcp://10.0.0.1:21");
        for name in [
            "RINGFTPD_SERVICE_HOST",
            "RINGFTPD_SERVICE_PORT",
            "RINGFTPD_SERVICE_PORT_CONTROL",
            "RINGFTPD_PORT",
            "RINGFTPD_PORT_21_TCP",
            "RINGFTPD_PORT_21_TCP_PROTO",
            "RINGFTPD_PORT_21_TCP_PORT",
            "RINGFTPD_METRICS_PORT_9090_TCP_ADDR",
        ] {
            assert!(link(name), "{name}");
        }
        assert!(!is_service_link("RINGFTPD_PORT", "21"));
        assert!(!link("RINGFTPD_PORT_X_TCP"));
        assert!(!link("RINGFTPD_PASSIVE_PORTS"));
        assert!(nearest::paths::<Config>().iter().all(|path| !is_service_link(&variable(path), "any")));
    }
}
