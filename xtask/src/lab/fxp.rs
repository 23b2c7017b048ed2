//! Transfers between two servers by a third machine (FXP): refused where nobody switched them on, and done where somebody did.

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use crate::lab::cell::sample;
use crate::lab::control::Control;
use crate::lab::namespace::Namespace;
use crate::lab::other_servers::{OtherServer, PROFTPD, Program, VSFTPD};
use crate::lab::plan::{CONTROL_PORTS, OPEN, PEER};
use crate::lab::server::{Server, Settings};
use crate::lab::table::FOREIGN_ADDRESS;
use crate::lab::{Check, Lab, PATIENCE};

/// The checks, in their order.
pub(super) const CHECKS: &[Check] = &[
    Check { title: "FXP and bounce attacks are refused by default, and logged", run: refused_by_default },
    Check {
        title: "a stranger on a passive port is closed, and the client's own connection arrives",
        run: stranger,
    },
    Check { title: "FXP between two ringftpds", run: between_two },
    Check { title: "FXP between two ringftpds by lftp", run: by_lftp },
    Check { title: "FXP between ringftpd and vsftpd", run: with_vsftpd },
    Check { title: "FXP between ringftpd and ProFTPD", run: with_proftpd },
];

/// Every server has this directory, which all may write to, with a sample in it.
const EXCHANGE: &str = "exchange";

const SWITCHED_ON: Settings = Settings { flags: &[], config: "[fxp]\nnetworks = [\"198.18.0.0/24\"]\n" };

fn start(lab: &Lab, machine: &Namespace, settings: Settings) -> anyhow::Result<Server> {
    let server = Server::start(&lab.binary, machine, lab.scratch.path(), settings)?;
    furnish(&server.directory)?;
    Ok(server)
}

/// Makes the directory for exchange.
fn furnish(root: &Path) -> anyhow::Result<()> {
    let exchange = root.join(EXCHANGE);
    fs::create_dir_all(&exchange)?;
    fs::set_permissions(&exchange, Permissions::from_mode(0o777))?;
    fs::write(exchange.join("sample"), sample())?;
    Ok(())
}

fn session(lab: &Lab, server: Ipv4Addr) -> anyhow::Result<Control> {
    Control::open(&lab.world.direct, (server, CONTROL_PORTS[0]).into())
}

fn refused_by_default(lab: &Lab) -> anyhow::Result<()> {
    const PRIVILEGED: &str = "501 Rejected data connection to a privileged port (below 1024).";
    let server = start(lab, &lab.world.open, Settings::default())?;
    let mut session = session(lab, OPEN)?;
    let attempts = [
        // Another machine, this server itself, everybody, and a service of the client's own machine.
        ("PORT 198,18,0,41,200,0", FOREIGN_ADDRESS),
        ("EPRT |1|198.18.0.41|51200|", FOREIGN_ADDRESS),
        ("PORT 198,18,0,40,200,0", FOREIGN_ADDRESS),
        ("PORT 127,0,0,1,200,0", FOREIGN_ADDRESS),
        ("PORT 255,255,255,255,200,0", FOREIGN_ADDRESS),
        ("PORT 224,0,0,1,200,0", FOREIGN_ADDRESS),
        ("PORT 198,18,0,20,0,25", PRIVILEGED),
        ("EPRT |1|198.18.0.20|25|", PRIVILEGED),
        ("EPRT |2|2001:2::41|51200|", "522 Network protocol not supported, use (1)"),
    ];
    for (command, promised) in attempts {
        session.send(command)?;
        let reply = session.reply()?;
        ensure!(reply == promised, "{command}: {reply}, and should be {promised}");
    }
    session.ask("RETR exchange/sample", 425)?;
    server.wait_for_log("198.18.0.41")
}

fn stranger(lab: &Lab) -> anyhow::Result<()> {
    let _server = start(lab, &lab.world.open, Settings::default())?;
    let mut session = session(lab, OPEN)?;
    let address = session.pasv()?;
    let mut theirs = lab.world.peer.within(|| TcpStream::connect_timeout(&address, PATIENCE))??;
    theirs.set_read_timeout(Some(PATIENCE))?;
    session.send("RETR exchange/sample")?;
    // Closed, or reset: no byte of the file in any case.
    let mut taken = Vec::new();
    let ended = theirs.read_to_end(&mut taken);
    ensure!(taken.is_empty(), "a stranger got {} bytes ({ended:?})", taken.len());
    let mut own = lab.world.direct.within(|| TcpStream::connect_timeout(&address, PATIENCE))??;
    own.set_read_timeout(Some(PATIENCE))?;
    own.read_to_end(&mut taken)?;
    session.expect(150)?;
    session.expect(226)?;
    ensure!(taken == sample(), "the client got other bytes");
    Ok(())
}

fn between_two(lab: &Lab) -> anyhow::Result<()> {
    let one = start(lab, &lab.world.open, SWITCHED_ON)?;
    let other = start(lab, &lab.world.peer, SWITCHED_ON)?;
    check_all_ways(lab, &one, &other.directory)
        .with_context(|| format!("the log of one:\n{}\nand of the other:\n{}", one.log(), other.log()))
}

fn by_lftp(lab: &Lab) -> anyhow::Result<()> {
    let _one = start(lab, &lab.world.open, SWITCHED_ON)?;
    let other = start(lab, &lab.world.peer, SWITCHED_ON)?;
    // Forced: otherwise lftp would copy by way of itself where the servers do not agree.
    let script = format!(
        "set ftp:use-fxp yes; set ftp:fxp-force yes; set net:max-retries 1; set cmd:fail-exit yes; debug 5; \
         get ftp://{OPEN}/{EXCHANGE}/sample -o ftp://{PEER}/{EXCHANGE}/by-lftp"
    );
    let mut lftp = lab.world.direct.command("timeout");
    lftp.args(["30", "lftp", "--norc", "-c", &script]).env("HOME", lab.scratch.path());
    let output = lftp.output().context("cannot run lftp")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "lftp failed\n{said}");
    ensure!(fs::read(other.directory.join(EXCHANGE).join("by-lftp"))? == sample(), "other bytes\n{said}");
    Ok(())
}

fn with_vsftpd(lab: &Lab) -> anyhow::Result<()> {
    with_other(lab, &VSFTPD)
}

fn with_proftpd(lab: &Lab) -> anyhow::Result<()> {
    with_other(lab, &PROFTPD)
}

fn with_other(lab: &Lab, program: &Program) -> anyhow::Result<()> {
    let one = start(lab, &lab.world.open, SWITCHED_ON)?;
    let root = lab.scratch.path().join(program.name);
    furnish(&root)?;
    let other = OtherServer::start(program, &lab.world.peer, &lab.cache, lab.scratch.path(), &root)?;
    check_all_ways(lab, &one, &root).with_context(|| format!("the server's log:\n{}", one.log()))?;
    drop(other);
    Ok(fs::remove_dir_all(root)?)
}

/// Each may be the one that listens, and each the one that sends.
fn check_all_ways(lab: &Lab, one: &Server, other_root: &Path) -> anyhow::Result<()> {
    for one_listens in [true, false] {
        for one_sends in [true, false] {
            let (mut at_one, mut at_other) = (session(lab, OPEN)?, session(lab, PEER)?);
            let stored = format!("stored-{one_listens}-{one_sends}");
            let send = format!("RETR {EXCHANGE}/sample");
            let receive = format!("STOR {EXCHANGE}/{stored}");
            let (for_one, for_other) = if one_sends { (&send, &receive) } else { (&receive, &send) };
            let outcome = if one_listens {
                transfer(&mut at_one, for_one, &mut at_other, for_other)
            } else {
                transfer(&mut at_other, for_other, &mut at_one, for_one)
            };
            let root = if one_sends { other_root } else { one.directory.as_path() };
            let is_whole = fs::read(root.join(EXCHANGE).join(&stored)).is_ok_and(|bytes| bytes == sample());
            if outcome.is_err() || !is_whole {
                bail!(
                    "one listens: {one_listens}, one sends: {one_sends}, what arrived is whole: {is_whole}: {outcome:?}\n\
                     to one:\n{}\nto the other:\n{}",
                    at_one.dialogue(),
                    at_other.dialogue()
                );
            }
        }
    }
    Ok(())
}

fn transfer(
    listens: &mut Control,
    for_listener: &str,
    connects: &mut Control,
    for_connecter: &str,
) -> anyhow::Result<()> {
    let address = listens.pasv()?;
    connects.ask(&format!("PORT {}", Control::port_argument(address)?), 200)?;
    listens.send(for_listener)?;
    connects.send(for_connecter)?;
    connects.expect(150)?;
    listens.expect(150)?;
    connects.expect(226)?;
    listens.expect(226)?;
    Ok(())
}
