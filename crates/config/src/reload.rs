//! What a running server takes from a configuration that was read again, and what it cannot.

use std::any::Any;
use std::collections::HashMap;

use crate::keys::{Config, Listener};
use crate::section::{Key, Section, Visitor, path};
use crate::value::Value;

impl Config {
    /// Makes of this, which was read again, what a server can change to that runs by `running`: keys that take a restart
    /// get the value that they have there. Gives the paths of those that said otherwise.
    pub fn keep_what_takes_a_restart(&mut self, running: &Self) -> Vec<String> {
        let mut kept = Kept::default();
        running.clone().visit(&mut kept);
        let mut keep = Keep { kept: &kept, prefix: "", told: Vec::new() };
        self.visit(&mut keep);
        let mut told = keep.told;
        if self.keep_listeners(&running.listeners) {
            told.push(String::from("listeners"));
        }
        told
    }

    /// Keeps the listeners there are, each known by its keys that take a restart: what else is said of one may change.
    /// Returns whether there should be others.
    fn keep_listeners(&mut self, running: &[Listener]) -> bool {
        let mut wanted = std::mem::take(&mut self.listeners);
        let mut is_other = false;
        for old in running {
            let same = wanted.iter().position(|new| new.address == old.address && new.kind == old.kind);
            is_other |= same.is_none();
            self.listeners.push(same.map_or_else(|| old.clone(), |number| wanted.remove(number)));
        }
        is_other || !wanted.is_empty()
    }
}

/// The values of the keys that take a restart, by their paths.
#[derive(Default)]
struct Kept {
    values: HashMap<String, Box<dyn Any>>,
    prefix: &'static str,
}

impl Visitor for Kept {
    fn key<T: Value>(&mut self, key: Key, value: &mut T) {
        if key.takes_restart {
            self.values.insert(path(self.prefix, key.name), Box::new(value.clone()));
        }
    }

    fn section<S: Section>(&mut self, name: &'static str, section: &mut S) {
        let outer = std::mem::replace(&mut self.prefix, name);
        section.visit(self);
        self.prefix = outer;
    }
}

struct Keep<'k> {
    kept: &'k Kept,
    prefix: &'static str,
    told: Vec<String>,
}

impl Visitor for Keep<'_> {
    fn key<T: Value>(&mut self, key: Key, slot: &mut T) {
        let path = path(self.prefix, key.name);
        let kept = self.kept.values.get(&path).and_then(|value| value.downcast_ref::<T>());
        if let Some(kept) = kept.filter(|kept| *kept != slot) {
            slot.clone_from(kept);
            self.told.push(path);
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
    use crate::choices::{LogFormat, LogLevel, ProxyProtocol};

    #[test]
    fn what_can_change_does_and_the_rest_is_named() {
        let running = Config::default();
        let mut again = running.clone();
        again.banner = Some(String::from("new"));
        again.log.level = LogLevel::Debug;
        assert_eq!(again.clone().keep_what_takes_a_restart(&running), [""; 0]);

        let can_change = again.clone();
        again.workers = std::num::NonZeroUsize::new(3);
        again.log.format = LogFormat::Json;
        again.passive.port_offset = 7;
        assert_eq!(
            again.keep_what_takes_a_restart(&running),
            ["workers", "passive.port_offset", "log.format"]
        );
        assert_eq!(again, can_change);
    }

    #[test]
    fn listeners_are_known_by_their_addresses() {
        let at = |port: u16| Listener::at(([127, 0, 0, 1], port).into());
        let running = Config { listeners: vec![at(21), at(0), at(0)], ..Config::default() };
        let behind_proxy = Listener { proxy_protocol: ProxyProtocol::Required, ..at(21) };
        // In another order, and one of them changed.
        let listeners = vec![at(0), behind_proxy.clone(), at(0)];
        let mut again = Config { listeners, ..Config::default() };
        assert_eq!(again.keep_what_takes_a_restart(&running), [""; 0]);
        assert_eq!(again.listeners, [behind_proxy, at(0), at(0)]);

        let mut fewer = Config { listeners: vec![at(21)], ..Config::default() };
        assert_eq!(fewer.keep_what_takes_a_restart(&running), ["listeners"]);
        assert_eq!(fewer.listeners, running.listeners);

        let mut others = Config { listeners: vec![at(21), at(0), at(0), at(22)], ..Config::default() };
        assert_eq!(others.keep_what_takes_a_restart(&running), ["listeners"]);
        assert_eq!(others.listeners, running.listeners);
    }
}
