//! The rulesets of the two routers: translation, a stateful firewall, and the kernel's FTP helper.

use std::fmt::Write as _;

use crate::lab::balancer::Header;
use crate::lab::plan::{CONTROL_PORTS, PASSIVE_HIGH, PASSIVE_LOW, PORT_OFFSET, SERVER};

/// What a router knows of FTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Helper {
    /// Nothing.
    None,
    /// It reads control connections to port 21, as home routers do that have the helper at all.
    Port21,
    /// It reads control connections to every port of the laboratory's servers.
    BothPorts,
}

/// What the router of the server's site lets in from the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// The control ports and the passive ports.
    Everything,
    /// The control ports, and the passive ports under other numbers.
    Moved,
    /// Nothing is translated: a load balancer on the router takes the connections, and makes others.
    ByBalancer(Header),
    /// The control ports alone: the helper opens what a data connection needs.
    ControlWithHelper,
}

/// The router of the client's home: everything goes out, and only answers come in.
pub(crate) fn home_router(helper: Helper) -> String {
    let assignment = match helper {
        Helper::None => String::new(),
        Helper::Port21 => assignment(&[21]),
        Helper::BothPorts => assignment(&CONTROL_PORTS),
    };
    format!(
        r#"table inet lab {{
{assignment}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "home" accept
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat;
        oifname "internet" meta nfproto ipv4 masquerade
    }}
}}
"#
    )
}

/// The router of the server's site: what is published comes in, from the site's own network too.
pub(crate) fn site_router(published: Published) -> String {
    let (assignment, data) = match published {
        Published::Everything => (
            String::new(),
            format!("fib daddr type local tcp dport {PASSIVE_LOW}-{PASSIVE_HIGH} dnat ip to {SERVER}"),
        ),
        Published::Moved => (String::new(), moved_ports()),
        Published::ByBalancer(_) => (String::new(), String::new()),
        Published::ControlWithHelper => (assignment(&CONTROL_PORTS), String::new()),
    };
    let control = match published {
        Published::ByBalancer(_) => String::new(),
        _ => format!("fib daddr type local tcp dport {{ {} }} dnat ip to {SERVER}", list(&CONTROL_PORTS)),
    };
    format!(
        r#"table inet lab {{
{assignment}
    chain arriving {{
        type nat hook prerouting priority dstnat;
        {control}
        {data}
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        ct status dnat accept
        iifname "site" oifname "internet" accept
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat;
        oifname "internet" meta nfproto ipv4 masquerade
        iifname "site" oifname "site" ct status dnat masquerade
    }}
}}
"#
    )
}

/// Kernels since 4.7 read a control connection as one only where a rule says so.
fn assignment(ports: &[u16]) -> String {
    let ports = list(ports);
    format!(
        r#"    ct helper ftp {{
        type "ftp" protocol tcp;
    }}
    chain assign {{
        type filter hook prerouting priority filter;
        tcp dport {{ {ports} }} ct helper set "ftp"
    }}"#
    )
}

fn moved_ports() -> String {
    let mut rules = String::new();
    for port in PASSIVE_LOW..=PASSIVE_HIGH {
        let outside = i32::from(port) + PORT_OFFSET;
        // Writing to a string cannot fail.
        let _ =
            writeln!(rules, "        fib daddr type local tcp dport {outside} dnat ip to {SERVER}:{port}");
    }
    rules.trim().to_owned()
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
