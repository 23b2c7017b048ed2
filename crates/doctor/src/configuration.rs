//! A configuration, against the machine that it is to hold on.

mod active;
mod advertised;
mod control;
mod files;
mod firewall;
mod passive;
mod plan;
mod resources;

use config::Config;

use crate::machine::{Machine, Owners};
use crate::report::Report;
use plan::Plan;

/// The program of a server: whose ports these are already is taken for the server that is asked about.
const SERVER_PROGRAM: &str = "ringftpd";

/// Looks at this machine as a server with this configuration finds it.
///
/// To be run where the server runs and as the user that starts it, before it is started or meanwhile. It takes a few seconds at
/// the most: a name that does not resolve, and a program that lists no rules, are waited for that long.
#[must_use]
pub fn examine_config(config: &Config) -> Report {
    let machine = Machine::look();
    let plan = Plan::of(config, &machine.network);
    // Who has which port takes reading every process: only where a port is taken.
    let owners = std::cell::LazyCell::new(Owners::look);
    let owners = |port: u16| owners.of(port);
    let mut report = Report::default();
    report.extend(control::examine(&plan, &machine, &owners));
    report.extend(passive::examine(config, &plan, &machine, &owners));
    report.extend(advertised::examine(config, &machine));
    report.extend(firewall::examine(config, &plan, &machine));
    report.extend(active::examine(config, &plan, &machine, &owners));
    report.extend(resources::examine(config, &plan, &machine));
    report.extend(files::examine(config, &machine));
    report
}
