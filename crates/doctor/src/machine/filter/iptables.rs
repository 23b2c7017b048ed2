//! What `iptables-save` lists: the `INPUT` chain of the `filter` table and those that it calls.

use std::ops::RangeInclusive;

use super::{Action, Condition, Rule, Ruleset};

/// Adds the rules of a listing. Tables but `filter` do not decide what is let in; `raw` assigns the helper.
pub(super) fn read(listed: &str, rules: &mut Ruleset) {
    let mut table = "";
    for line in listed.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if table == "filter" {
            read_filter_line(line, rules);
        } else if table == "raw" && line.contains("--helper ftp") {
            rules.helper_ports.extend(helper_ports(line));
        }
    }
}

fn read_filter_line(line: &str, rules: &mut Ruleset) {
    if let Some(declared) = line.strip_prefix(':') {
        let mut words = declared.split_whitespace();
        if let (Some(name), Some(policy)) = (words.next(), words.next()) {
            let base = (name == "INPUT").then_some(policy == "DROP");
            rules.chains.entry(chain_name(name)).or_default().base = base;
        }
    } else if let Some(rule) = line.strip_prefix("-A ")
        && let Some((chain, options)) = rule.split_once(' ')
        && let Some(rule) = read_rule(line, options)
    {
        rules.chains.entry(chain_name(chain)).or_default().rules.push(rule);
    }
}

fn chain_name(name: &str) -> String {
    format!("the iptables chain {name}")
}

/// `None` for a rule that decides nothing, such as one that counts or logs.
fn read_rule(line: &str, options: &str) -> Option<Rule> {
    let mut conditions = Vec::new();
    let mut action = None;
    let mut negated = false;
    let words = words(options);
    let mut words = words.iter().map(String::as_str);
    while let Some(option) = words.next() {
        match option {
            "!" => {
                negated = true;
                continue;
            }
            "-j" => action = target(words.next()?),
            "-g" => action = Some(Action::Goto(chain_name(words.next()?))),
            "-m" | "--comment" | "--reject-with" => _ = words.next(),
            _ if option.starts_with('-') => conditions.extend(condition(option, &mut words, negated)),
            // The value of an option that is not known.
            _ => {}
        }
        negated = false;
    }
    action.map(|action| Rule { name: format!("the iptables rule `{line}`"), conditions, action })
}

/// Words, where double quotes hold blanks together.
fn words(options: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in options.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().into_iter().for_each(|word| word.push(other)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn target(name: &str) -> Option<Action> {
    Some(match name {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        "QUEUE" | "NFQUEUE" | "SYNPROXY" | "TARPIT" => Action::Unknown,
        // These go on with the next rule.
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "SET" | "AUDIT" | "TRACE" => return None,
        chain => Action::Jump(chain_name(chain)),
    })
}

/// `None` where it always holds.
fn condition<'w>(
    option: &str,
    words: &mut impl Iterator<Item = &'w str>,
    negated: bool,
) -> Option<Condition> {
    let unless = |holds: bool| (holds == negated).then_some(Condition::Never);
    match option {
        "-p" => unless(matches!(words.next(), Some("tcp" | "6" | "all"))),
        "--dport" | "--dports" | "--destination-port" | "--destination-ports" => {
            let among = words.next()?.split(',').filter_map(port_range).collect();
            Some(Condition::Port { among, negated })
        }
        "--ctstate" | "--state" => unless(words.next()?.split(',').any(|state| state == "NEW")),
        // Nothing that comes from another machine comes by the loopback interface.
        "-i" if words.next() == Some("lo") => unless(false),
        "--tcp-flags" => {
            let examined = words.next()?.split(',').any(|flag| flag == "SYN" || flag == "ALL");
            let set = words.next()?.split(',').any(|flag| flag == "SYN");
            // A condition on other flags alone may hold or not.
            if examined { unless(set) } else { Some(Condition::Unknown) }
        }
        "--syn" => unless(true),
        _ => Some(Condition::Unknown),
    }
}

fn port_range(text: &str) -> Option<RangeInclusive<u16>> {
    let (low, high) = text.split_once(':').unwrap_or((text, text));
    Some(low.parse().ok()?..=high.parse().ok()?)
}

fn helper_ports(line: &str) -> Vec<u16> {
    let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("--dport"));
    let ports = words.nth(1).unwrap_or_default().split(',');
    ports.filter_map(port_range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::super::Fate;
    use super::*;

    fn rules(lines: &str) -> Ruleset {
        let mut rules = Ruleset::default();
        read(&format!("*filter\n{lines}\nCOMMIT\n"), &mut rules);
        rules
    }

    const USUAL: &str = "\
        :INPUT DROP [0:0]\n\
        :FORWARD ACCEPT [0:0]\n\
        :ftp - [0:0]\n\
        -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        -A INPUT -i lo -j ACCEPT\n\
        -A INPUT -p udp -m udp --dport 53 -j ACCEPT\n\
        -A INPUT -p tcp -m tcp --dport 21 -m comment --comment \"the control -j DROP port\" -j ACCEPT\n\
        -A INPUT -p tcp -j ftp\n\
        -A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 60000 -j ACCEPT\n\
        -A INPUT -p tcp -m tcp --dport 60001 -m limit --limit 5/sec -j LOG --log-prefix x\n\
        -A ftp -p tcp -m multiport --dports 2121,50000:50015 -j ACCEPT\n\
        -A ftp -p tcp -m tcp ! --dport 60000:60999 -j REJECT --reject-with icmp-port-unreachable\n";

    #[test]
    fn a_usual_set_of_rules_is_understood() {
        let rules = rules(USUAL);
        for port in [21, 2121, 50000, 50015] {
            assert_eq!(rules.fate(port), Fate::Accepted, "{port}");
        }
        assert!(
            matches!(rules.fate(53), Fate::Dropped(rule) if rule.contains("-A ftp -p tcp -m tcp ! --dport"))
        );
        assert_eq!(rules.fate(60001), Fate::Dropped(String::from("the policy of the iptables chain INPUT")));
        assert!(matches!(rules.fate(60000), Fate::Unclear(rule) if rule.contains("10.0.0.0/8")));
    }

    #[test]
    fn what_hangs_on_an_unknown_condition_is_unclear() {
        let rules = rules(
            ":INPUT ACCEPT [0:0]\n:maybe - [0:0]\n-A INPUT -m set --match-set good src -j maybe\n\
             -A maybe -p tcp -j DROP\n",
        );
        assert!(matches!(rules.fate(21), Fate::Unclear(rule) if rule.contains("match-set")));
    }

    #[test]
    fn other_tables_do_not_count_but_for_the_helper() {
        let mut rules = Ruleset::default();
        read(
            "*nat\n:INPUT DROP [0:0]\nCOMMIT\n\
             *raw\n-A PREROUTING -p tcp -m tcp --dport 2121 -j CT --helper ftp\nCOMMIT\n",
            &mut rules,
        );
        assert_eq!(rules.fate(21), Fate::Accepted);
        assert_eq!(rules.helper_ports, [2121]);
    }
}
