//! What `nft -j list ruleset` lists: libnftables-json(5).

use std::collections::HashMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{Action, Condition, Rule, Ruleset, Truth};

/// The sets of a ruleset by family, table and name.
type Sets<'v> = HashMap<(&'v str, &'v str, &'v str), &'v Value>;

/// Adds the chains that incoming packets pass, but for those of the table `skipped` (family and name).
pub(super) fn read(
    listed: &str,
    skipped: Option<(&str, &str)>,
    rules: &mut Ruleset,
) -> Result<(), serde_json::Error> {
    let listed: Value = serde_json::from_str(listed)?;
    let objects = listed["nftables"].as_array().map_or(&[][..], Vec::as_slice);
    let sets = objects.iter().flat_map(|object| [&object["set"], &object["map"]]);
    let sets: Sets<'_> = sets.filter_map(Value::as_object).filter_map(named_set).collect();
    for object in objects {
        if let Some(chain) = object["chain"].as_object() {
            let place = place(chain);
            if is_relevant(place, skipped) {
                let is_passed = matches!(text(chain, "hook"), "input" | "prerouting");
                let base = is_passed && text(chain, "type") == "filter";
                let drops = text(chain, "policy") == "drop";
                let name = chain_name(place, text(chain, "name"));
                rules.chains.entry(name).or_default().base = base.then_some(drops);
            }
        } else if let Some(rule) = object["rule"].as_object() {
            let reader = Reader { place: place(rule), sets: &sets };
            if is_relevant(reader.place, skipped) {
                rules.helper_ports.extend(reader.helper_ports(rule));
                let chain = rules.chains.entry(chain_name(reader.place, text(rule, "chain"))).or_default();
                chain.rules.extend(reader.rules(rule));
            }
        }
    }
    Ok(())
}

fn text<'v>(object: &'v Map<String, Value>, key: &str) -> &'v str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Family and table.
fn place(object: &Map<String, Value>) -> (&str, &str) {
    (text(object, "family"), text(object, "table"))
}

fn is_relevant(place: (&str, &str), skipped: Option<(&str, &str)>) -> bool {
    matches!(place.0, "ip" | "inet") && Some(place) != skipped
}

fn chain_name((family, table): (&str, &str), name: &str) -> String {
    format!("the nftables chain {family} {table} {name}")
}

fn named_set(set: &Map<String, Value>) -> Option<((&str, &str, &str), &Value)> {
    let (family, table) = place(set);
    Some(((family, table, text(set, "name")), set.get("elem")?))
}

/// Reads rules of one table.
struct Reader<'v> {
    place: (&'v str, &'v str),
    sets: &'v Sets<'v>,
}

impl Reader<'_> {
    /// A verdict map makes several rules of one.
    fn rules(&self, rule: &Map<String, Value>) -> Vec<Rule> {
        let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or_default();
        let name = format!("rule {handle} of {}", chain_name(self.place, text(rule, "chain")));
        let mut conditions = Vec::new();
        let mut read = Vec::new();
        for (kind, value) in statements(rule) {
            match kind.as_str() {
                "match" => {
                    let operator = value["op"].as_str().unwrap_or_default();
                    conditions.extend(self.condition(&value["left"], operator, &value["right"]));
                }
                "vmap" => {
                    let with = |(more, action): (Option<Condition>, Action)| Rule {
                        name: name.clone(),
                        conditions: conditions.iter().cloned().chain(more).collect(),
                        action,
                    };
                    read.extend(self.verdicts(value).into_iter().map(with));
                }
                // A rate, or a number of connections, that is exceeded or not; what only iptables can read.
                "limit" | "quota" | "ct count" | "xt" => conditions.push(Condition::Unknown),
                _ => {
                    let action = self.action(kind, value);
                    let rule = |action| Rule { name: name.clone(), conditions: conditions.clone(), action };
                    read.extend(action.map(rule));
                }
            }
        }
        read
    }

    /// `None` for a statement that goes on with the next one, such as a counter.
    fn action(&self, kind: &str, value: &Value) -> Option<Action> {
        let target = || chain_name(self.place, value["target"].as_str().unwrap_or_default());
        Some(match kind {
            "accept" => Action::Accept,
            "drop" | "reject" => Action::Drop,
            "return" => Action::Return,
            "jump" => Action::Jump(target()),
            "goto" => Action::Goto(target()),
            "queue" | "synproxy" => Action::Unknown,
            _ => return None,
        })
    }

    /// The entries of a verdict map, each as the condition that picks it.
    fn verdicts(&self, map: &Value) -> Vec<(Option<Condition>, Action)> {
        let data = &map["data"];
        let entries = data.as_str().and_then(|name| self.named(name)).unwrap_or(&data["set"]);
        let Some(entries) = entries.as_array() else {
            return vec![(Some(Condition::Unknown), Action::Unknown)];
        };
        let verdict = |entry: &Value| {
            let action = entry[1].as_object()?.iter().find_map(|(kind, value)| self.action(kind, value))?;
            Some((self.condition(&map["key"], "==", &entry[0]), action))
        };
        entries.iter().filter_map(verdict).collect()
    }

    /// `None` where it always holds.
    fn condition(&self, left: &Value, operator: &str, right: &Value) -> Option<Condition> {
        let right = self.resolved(right);
        if is_destination_port(left) {
            return Some(port_condition(operator, right));
        }
        match (fits(left, right), operator) {
            (Truth::Unknown, _) | (_, "<" | ">" | "<=" | ">=") => Some(Condition::Unknown),
            (Truth::No, "!=") => None,
            (Truth::Yes, "!=") | (Truth::No, _) => Some(Condition::Never),
            (Truth::Yes, _) => None,
        }
    }

    /// A named set's elements in place of `@name`.
    fn resolved<'s>(&'s self, right: &'s Value) -> &'s Value {
        right.as_str().and_then(|name| self.named(name)).unwrap_or(right)
    }

    fn named(&self, name: &str) -> Option<&Value> {
        let (family, table) = self.place;
        self.sets.get(&(family, table, name.strip_prefix('@')?)).copied()
    }

    /// The control ports of a rule that assigns a helper, which is one for FTP if its name says so.
    fn helper_ports(&self, rule: &Map<String, Value>) -> Vec<u16> {
        let is_ftp = |value: &Value| value.as_str().is_some_and(|name| name.contains("ftp"));
        if !statements(rule).any(|(kind, value)| kind == "ct helper" && is_ftp(value)) {
            return Vec::new();
        }
        let matches = statements(rule).filter(|(kind, _)| *kind == "match").map(|(_, value)| value);
        let on_port = matches.filter(|value| is_destination_port(&value["left"]));
        on_port.filter_map(|value| ports(self.resolved(&value["right"]))).flatten().flatten().collect()
    }
}

fn statements(rule: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let statements = rule.get("expr").and_then(Value::as_array).into_iter().flatten();
    statements.filter_map(Value::as_object).flatten()
}

fn is_destination_port(left: &Value) -> bool {
    let payload = &left["payload"];
    matches!(payload["protocol"].as_str(), Some("tcp" | "th")) && payload["field"] == "dport"
}

fn port_condition(operator: &str, right: &Value) -> Condition {
    let Some(among) = ports(right) else { return Condition::Unknown };
    let bound = match among.as_slice() {
        [one] => *one.start(),
        _ => 0,
    };
    let port = |among, negated| Condition::Port { among, negated };
    match operator {
        "==" | "in" => port(among, false),
        "!=" => port(among, true),
        "<=" => port(vec![0..=bound], false),
        ">" => port(vec![0..=bound], true),
        ">=" => port(vec![bound..=u16::MAX], false),
        "<" => port(vec![bound..=u16::MAX], true),
        _ => Condition::Unknown,
    }
}

/// The elements of a set, or the one value.
fn elements(right: &Value) -> &[Value] {
    match right {
        Value::Array(elements) => elements,
        Value::Object(object) if object.contains_key("set") => elements(&right["set"]),
        _ => std::slice::from_ref(right),
    }
}

/// `None` where one of them is no port or range of ports.
fn ports(right: &Value) -> Option<Vec<RangeInclusive<u16>>> {
    let port = |value: &Value| u16::try_from(value.as_u64()?).ok();
    let range = |value: &Value| {
        // An element with a time limit or a counter is wrapped.
        let value = if value["elem"].is_object() { &value["elem"]["val"] } else { value };
        match value["range"].as_array().map(Vec::as_slice) {
            Some([low, high]) => Some(port(low)?..=port(high)?),
            _ => port(value).map(|port| port..=port),
        }
    };
    elements(right).iter().map(range).collect()
}

/// Whether what `left` reads from the packet is among `right`.
fn fits(left: &Value, right: &Value) -> Truth {
    let has = |word: &str| match elements(right).iter().any(|value| value == word) {
        true => Truth::Yes,
        false => Truth::No,
    };
    let word = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let (meta, tracked) = (word(&left["meta"]["key"]), word(&left["ct"]["key"]));
    let payload = &left["payload"];
    match (meta.as_str(), word(&payload["protocol"]).as_str(), tracked.as_str()) {
        ("l4proto", ..) => has("tcp"),
        ("nfproto", ..) => has("ipv4"),
        ("protocol", ..) => has("ip"),
        // From another machine, so by no loopback interface. Of the other interfaces nobody knows which it is.
        ("iif" | "iifname", ..) if right == "lo" => Truth::No,
        (_, "ip", _) if payload["field"] == "protocol" => has("tcp"),
        (_, "udp" | "icmp" | "icmpv6" | "ip6" | "sctp" | "dccp" | "udplite", _) => Truth::No,
        (_, _, "state") => has("new"),
        _ => Truth::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fate;
    use super::*;

    /// As nft 1.0.6 lists it.
    const LISTED: &str = include_str!("nftables/listed.json");

    fn rules(skipped: Option<(&str, &str)>) -> Ruleset {
        let mut rules = Ruleset::default();
        read(LISTED, skipped, &mut rules).unwrap();
        rules
    }

    #[test]
    fn a_real_ruleset_is_understood() {
        let rules = rules(None);
        for port in [21, 22, 6005, 7000, 50000, 50015, 5555] {
            assert_eq!(rules.fate(port), Fate::Accepted, "{port}");
        }
        assert!(matches!(rules.fate(7), Fate::Dropped(rule) if rule.contains("inet filter sub")));
        assert!(matches!(rules.fate(50016), Fate::Dropped(rule) if rule.starts_with("rule 19 of ")));
        // Let in from 10.0.0.0/8 alone.
        assert!(matches!(rules.fate(2121), Fate::Unclear(rule) if rule.starts_with("rule 12 of ")));
        // A mark on the packet decides.
        assert!(matches!(rules.fate(99), Fate::Unclear(_)));
    }

    #[test]
    fn ports_are_compared() {
        let holds = |operator, port| port_condition(operator, &Value::from(77)).holds(port) == Truth::Yes;
        assert!(holds("<", 76) && !holds("<", 77) && holds("<=", 77) && !holds("<=", 78));
        assert!(holds(">", 78) && !holds(">", 77) && holds(">=", 77) && !holds(">=", 76));
    }

    #[test]
    fn the_helpers_ports_are_found() {
        assert_eq!(rules(None).helper_ports, [2121]);
    }

    #[test]
    fn a_table_can_be_left_to_iptables() {
        assert_eq!(rules(Some(("inet", "filter"))).fate(7), Fate::Accepted);
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        assert!(read("no list", None, &mut Ruleset::default()).is_err());
        assert!(read("{}", None, &mut Ruleset::default()).is_ok());
    }
}
