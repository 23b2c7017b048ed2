//! A running server, as a client sees it from where this runs.

mod active;
mod control;
mod outcome;
mod passive;
mod target;
mod verdict;

use std::net::{IpAddr, SocketAddr};

use protocol::command::Command;

use crate::machine::resolve;
use crate::report::{Finding, Report};
use control::{Answer, Control};
use outcome::Failure;
pub use target::{Target, TargetError};

/// How many addresses of a family are tried.
const ADDRESSES_MAX: usize = 4;

/// The port that helpers of translators look at.
const FTP_PORT: u16 = 21;

/// Connects to a server, logs in, and tries every way that a data connection can come about, each with a listing of the root.
///
/// What it finds holds for clients where this runs. Each step is bounded by the target's timeout; as a server may keep silent at
/// every step, all of it may take some twenty times as long, and with a working server takes a moment. TLS is not examined.
#[must_use]
pub fn examine_server(target: &Target) -> Report {
    let mut report = Report::default();
    let addresses = match resolve(&target.host, target.timeout) {
        Ok(addresses) => addresses,
        Err(error) => {
            let why = format!("the name cannot be resolved: {error}.");
            report.push(
                Finding::problem(target.host.as_str(), why)
                    .mend("mend the name, or examine the server by its address."),
            );
            return report;
        }
    };
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let mut any_answers = false;
    for family in [v4, v6] {
        for ip in family.into_iter().take(ADDRESSES_MAX) {
            let address = SocketAddr::new(ip, target.port);
            match Control::connect(address, target.timeout) {
                Ok(control) => {
                    any_answers = true;
                    report.extend(examine_address(target, control));
                    break;
                }
                Err(error) => report.push(verdict::unreachable_control(address, &error, any_answers)),
            }
        }
    }
    report
}

/// Everything over one family of addresses.
fn examine_address(target: &Target, mut control: Control) -> Vec<Finding> {
    let address = control.peer;
    let what = format!("control connection to {address}");
    let mut findings = Vec::new();
    let greeting = match control.greeting() {
        Ok(greeting) if greeting.is_success() => greeting,
        Ok(answer) => {
            return vec![
                Finding::problem(what, format!("the server turns this client away: {answer}"))
                    .mend(verdict::too_many(&answer)),
            ];
        }
        Err(lost) => return vec![verdict::no_greeting(what, &lost)],
    };
    findings.push(Finding::fine(
        what,
        format!("it comes about, from {}; the server greets: {greeting}", control.local),
    ));
    if address.port() != FTP_PORT {
        findings.push(verdict::other_port(address.port()));
    }
    if let Err(failure) = log_in(&mut control, target) {
        findings.push(verdict::not_logged_in(&target.user, &failure));
        return findings;
    }
    findings.push(Finding::fine("login", format!("{} may log in.", target.user)));
    findings.extend(features(&mut control));
    let passive = passive::examine(target, control);
    findings.extend(passive.findings);
    findings.extend(active::examine(target, address, passive.works));
    findings
}

/// A control connection of its own for each way: one that failed may leave its server waiting.
fn open(target: &Target, address: SocketAddr) -> Result<Control, Failure> {
    let mut control = Control::connect(address, target.timeout).map_err(control::Lost::from)?;
    let greeting = control.greeting()?;
    if !greeting.is_success() {
        return Err(Failure::Refused(greeting));
    }
    log_in(&mut control, target)?;
    Ok(control)
}

fn log_in(control: &mut Control, target: &Target) -> Result<(), Failure> {
    let answer = control.command(&Command::User(target.user.as_bytes()))?;
    let answer = match answer.code {
        331 | 332 => {
            control.command(&Command::Pass(protocol::command::Password::new(target.password.as_bytes())))?
        }
        _ => answer,
    };
    if answer.is_success() { Ok(()) } else { Err(Failure::Refused(answer)) }
}

/// Whether the server says that it knows the commands of RFC 2428. Some know them and do not say so.
fn features(control: &mut Control) -> Option<Finding> {
    let answer: Answer = control.command(&Command::Feat).ok()?;
    let lacks = |verb: &str| !answer.lines.iter().any(|line| line.trim().eq_ignore_ascii_case(verb));
    let missing: Vec<&str> = ["EPSV", "EPRT"].into_iter().filter(|verb| lacks(verb)).collect();
    (answer.is_success() && !missing.is_empty()).then(|| {
        let why = format!(
            "FEAT does not name {}; clients that go by it use PASV and PORT instead.",
            missing.join(" and ")
        );
        Finding::note("FEAT", why)
    })
}
