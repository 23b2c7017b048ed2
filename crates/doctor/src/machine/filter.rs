//! The packet filter: what becomes of the first packet of a connection from another machine.
//!
//! The rules of nftables and iptables are read into one form, each condition already held against such a packet: TCP over IPv4, of
//! a new connection, from an address that is not known. What hangs on the address, the interface or a rate is *unknown*, and so is
//! every condition that is not understood; a verdict that such a condition decides is [`Fate::Unclear`], never a guess.

mod iptables;
mod nftables;

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::run::output_of;

/// How deep chains may call each other: beyond is a loop, which the kernel would not have taken.
const DEPTH_MAX: usize = 16;

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// It is let in.
    Accepted,
    /// It is not: by which rule, or by which chain's policy.
    Dropped(String),
    /// That hangs on what cannot be known here: of which rule.
    Unclear(String),
}

/// A condition of a rule, against the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Never,
    Unknown,
    /// The destination port is, or is not, among these.
    Port {
        among: Vec<RangeInclusive<u16>>,
        negated: bool,
    },
}

/// Whether conditions hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    No,
    Unknown,
    Yes,
}

impl Condition {
    fn holds(&self, port: u16) -> Truth {
        match self {
            Self::Unknown => Truth::Unknown,
            Self::Port { among, negated } if among.iter().any(|range| range.contains(&port)) != *negated => {
                Truth::Yes
            }
            Self::Never | Self::Port { .. } => Truth::No,
        }
    }
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Accept,
    Drop,
    Return,
    Jump(ChainName),
    Goto(ChainName),
    /// It decides, and nobody here can tell what: another program is asked.
    Unknown,
}

/// A rule with its conditions; one without a condition always applies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// How to tell it to the user.
    name: String,
    conditions: Vec<Condition>,
    action: Action,
}

impl Rule {
    fn applies(&self, port: u16) -> Truth {
        let truths = self.conditions.iter().map(|condition| condition.holds(port));
        truths.fold(Truth::Yes, |all, one| match (all, one) {
            (Truth::No, _) | (_, Truth::No) => Truth::No,
            (Truth::Unknown, _) | (_, Truth::Unknown) => Truth::Unknown,
            (Truth::Yes, Truth::Yes) => Truth::Yes,
        })
    }
}

/// A chain's name, with its table and family where names are told apart by these.
type ChainName = String;

#[derive(Debug, Default)]
struct Chain {
    rules: Vec<Rule>,
    /// For a chain that packets come to by themselves: whether what it does not decide is dropped.
    base: Option<bool>,
}

/// All rules that incoming packets pass.
#[derive(Debug, Default)]
struct Ruleset {
    chains: HashMap<ChainName, Chain>,
    /// Control ports assigned to the FTP helper.
    helper_ports: Vec<u16>,
}

impl Ruleset {
    /// Every base chain has to accept the packet.
    fn fate(&self, port: u16) -> Fate {
        let mut fate = Fate::Accepted;
        for (name, chain) in &self.chains {
            let Some(drops) = chain.base else { continue };
            let mut walk = Walk { rules: self, port, maybe_accepted: None, maybe_dropped: None };
            match walk.fate(name, chain, drops) {
                Fate::Accepted => {}
                dropped @ Fate::Dropped(_) => return dropped,
                unclear @ Fate::Unclear(_) => fate = unclear,
            }
        }
        fate
    }
}

/// What a chain came to.
enum End {
    Accept,
    Drop(String),
    /// None of its rules decided.
    Undecided,
}

/// The way of one packet through one base chain.
struct Walk<'r> {
    rules: &'r Ruleset,
    port: u16,
    /// A rule that may have accepted before the end.
    maybe_accepted: Option<&'r str>,
    maybe_dropped: Option<&'r str>,
}

impl<'r> Walk<'r> {
    fn fate(&mut self, name: &str, chain: &'r Chain, drops: bool) -> Fate {
        let dropped_by = match self.run(chain, None, 0) {
            End::Drop(rule) => Some(rule),
            End::Undecided if drops => Some(format!("the policy of {name}")),
            End::Accept | End::Undecided => None,
        };
        match (dropped_by, self.maybe_accepted, self.maybe_dropped) {
            (Some(_), Some(rule), _) | (None, _, Some(rule)) => Fate::Unclear(rule.to_owned()),
            (Some(rule), None, _) => Fate::Dropped(rule),
            (None, _, None) => Fate::Accepted,
        }
    }

    /// `doubt` is the rule that leaves open whether the packet comes to this chain at all.
    fn run(&mut self, chain: &'r Chain, doubt: Option<&'r str>, depth: usize) -> End {
        for rule in &chain.rules {
            let doubt = match rule.applies(self.port) {
                Truth::No => continue,
                Truth::Yes => doubt,
                Truth::Unknown => doubt.or(Some(&rule.name)),
            };
            match (&rule.action, doubt) {
                (Action::Accept, None) => return End::Accept,
                (Action::Drop, None) => return End::Drop(rule.name.clone()),
                (Action::Return, None) => return End::Undecided,
                (Action::Accept, Some(doubt)) => self.maybe(Some(doubt), None),
                (Action::Drop, Some(doubt)) => self.maybe(None, Some(doubt)),
                // Perhaps what follows is passed over, and the caller decides otherwise.
                (Action::Return, Some(doubt)) => self.maybe(Some(doubt), Some(doubt)),
                (Action::Unknown, doubt) => {
                    let doubt = doubt.or(Some(&rule.name));
                    self.maybe(doubt, doubt);
                }
                (Action::Jump(target) | Action::Goto(target), doubt) => {
                    match self.rules.chains.get(target).filter(|_| depth < DEPTH_MAX) {
                        Some(called) => match self.run(called, doubt, depth + 1) {
                            End::Undecided => {}
                            decided => return decided,
                        },
                        // An extension of the packet filter that is not known here.
                        None => self.maybe(Some(&rule.name), Some(&rule.name)),
                    }
                    if doubt.is_none() && matches!(rule.action, Action::Goto(_)) {
                        return End::Undecided;
                    }
                }
            }
        }
        End::Undecided
    }

    /// Remembers the first rule of each kind, to be told.
    fn maybe(&mut self, accepted: Option<&'r str>, dropped: Option<&'r str>) {
        self.maybe_accepted = self.maybe_accepted.or(accepted);
        self.maybe_dropped = self.maybe_dropped.or(dropped);
    }
}

/// The packet filter of this machine, or why it could not be looked at.
#[derive(Debug)]
pub(crate) struct Filter(Result<Ruleset, String>);

impl Filter {
    pub(super) fn look() -> Self {
        let iptables = output_of("iptables-save", &[]);
        let nftables = output_of("nft", &["-j", "list", "ruleset"]);
        if let (Err(nft), Err(iptables)) = (&nftables, &iptables) {
            let told = |program: &str, error: &std::io::Error| match error.kind() {
                std::io::ErrorKind::NotFound => format!("there is no program {program}"),
                _ => error.to_string(),
            };
            return Self(Err(format!("{}, and {}", told("nft", nft), told("iptables-save", iptables))));
        }
        let mut rules = Ruleset::default();
        // iptables on top of nftables lists its rules in a form that it alone understands wholly.
        let is_translated = iptables.as_ref().is_ok_and(|listed| listed.contains("(nf_tables)"));
        if let Ok(listed) = &iptables {
            iptables::read(listed, &mut rules);
        }
        if let Ok(listed) = &nftables {
            let skipped = is_translated.then_some(("ip", "filter"));
            if let Err(error) = nftables::read(listed, skipped, &mut rules) {
                return Self(Err(format!("what nft lists cannot be read: {error}")));
            }
        }
        Self(Ok(rules))
    }

    /// Lets everything in.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        Self(Ok(Ruleset::default()))
    }

    /// Of rules as iptables-save lists them.
    #[cfg(test)]
    pub(crate) fn of_iptables(listed: &str) -> Self {
        let mut rules = Ruleset::default();
        iptables::read(listed, &mut rules);
        Self(Ok(rules))
    }

    /// Not to be looked at.
    #[cfg(test)]
    pub(crate) fn hidden(reason: &str) -> Self {
        Self(Err(reason.to_owned()))
    }

    /// What becomes of a packet to `port`.
    ///
    /// # Errors
    /// Why the rules could not be looked at.
    pub(crate) fn fate(&self, port: u16) -> Result<Fate, &str> {
        self.0.as_ref().map(|rules| rules.fate(port)).map_err(String::as_str)
    }

    pub(super) fn helper_ports(&self) -> Vec<u16> {
        self.0.as_ref().map(|rules| rules.helper_ports.clone()).unwrap_or_default()
    }
}
