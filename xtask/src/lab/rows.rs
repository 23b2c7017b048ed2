//! The rows of the table, one after the other: for each its routers, its server, and its cells.

use std::fs;

use anyhow::Context as _;

use crate::lab::balancer::Balancer;
use crate::lab::cell::{Bench, SAMPLE, sample};
use crate::lab::client::Way;
use crate::lab::control::Control;
use crate::lab::firewall::Published;
use crate::lab::plan::{CONTROL_PORTS, SERVER, SITE, SITE_LATER};
use crate::lab::resolver::Resolver;
use crate::lab::server::Server;
use crate::lab::table::{self, Outcome, SITUATIONS, Seat, ServerAt, Situation};
use crate::lab::{Lab, Tally};

/// Which cells of a situation were as they have to be, by control port and way.
type Cells = [[bool; Way::ALL.len()]; CONTROL_PORTS.len()];

/// Checks every situation with `only` in its title, and prints the table if that is all of them.
pub(super) fn check_all(lab: &Lab, only: &str, tally: &mut Tally) -> anyhow::Result<()> {
    let mut rows = Vec::with_capacity(SITUATIONS.len());
    for situation in SITUATIONS.iter().filter(|situation| situation.title.contains(only)) {
        let mut cells = [[true; Way::ALL.len()]; CONTROL_PORTS.len()];
        check_situation(lab, situation, &mut cells, tally).with_context(|| situation.title)?;
        rows.push(cells);
    }
    if rows.len() == SITUATIONS.len() {
        let cell = |row: usize, port: usize, way: usize| -> Option<Outcome> {
            rows[row][port][way].then_some(SITUATIONS[row].outcomes[port][way])
        };
        println!("\n{}", table::markdown(cell));
    }
    Ok(())
}

fn check_situation(
    lab: &Lab,
    situation: &Situation,
    cells: &mut Cells,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    lab.world.set_home_router(situation.helper)?;
    lab.world.set_site_router(situation.published)?;
    let address_changes = !situation.seats_later.is_empty();
    let resolver =
        address_changes.then(|| Resolver::start(&lab.world, lab.scratch.path(), SITE)).transpose()?;
    let machine = match situation.server_at {
        ServerAt::Internet => &lab.world.open,
        ServerAt::Site => &lab.world.server,
    };
    let server = Server::start(&lab.binary, machine, lab.scratch.path(), situation.settings)?;
    fs::write(server.directory.join(SAMPLE), sample())?;
    let _balancer = match situation.published {
        Published::ByBalancer(header) => Some(Balancer::start(&lab.world, lab.scratch.path(), header)?),
        _ => None,
    };
    let bench = Bench { world: &lab.world, server: &server, scratch: lab.scratch.path().to_owned() };
    check_cells(lab, &bench, situation, situation.seats, cells, tally)?;
    if let Some(resolver) = resolver {
        let followed = follow_the_change(lab, &server, resolver, || {
            check_cells(lab, &bench, situation, situation.seats_later, cells, tally)
        });
        lab.world.move_site_back()?;
        let followed = followed.map_err(|error| format!("{error:#}\nthe server's log:\n{}", server.log()));
        lab.interrupt.check()?;
        tally.take(&format!("{}: a session that stays is told the new one", situation.title), followed);
    }
    Ok(())
}

fn check_cells(
    lab: &Lab,
    bench: &Bench<'_>,
    situation: &Situation,
    seats: &[Seat],
    cells: &mut Cells,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    for (port, (number, row)) in CONTROL_PORTS.iter().zip(cells).enumerate() {
        for ((way, outcome), holds) in Way::ALL.iter().zip(situation.outcomes[port]).zip(row) {
            lab.interrupt.check()?;
            let complaints = bench.check(seats, port, *way, outcome)?;
            lab.interrupt.check()?;
            *holds &= complaints.is_empty();
            let outcome = if complaints.is_empty() {
                Ok(())
            } else {
                Err(format!("{}\nthe server's log:\n{}", complaints.join("\n"), bench.server.log()))
            };
            tally.take(&format!("{}: {way} on port {number}", situation.title), outcome);
        }
    }
    Ok(())
}

/// Changes the site's address in the middle of a session that is beside the server and so outlives it.
fn follow_the_change(
    lab: &Lab,
    server: &Server,
    resolver: Resolver,
    check_later: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut session = Control::open(&lab.world.inner, (SERVER, CONTROL_PORTS[0]).into())?;
    told(&mut session, SITE)?;
    resolver.change(SITE_LATER)?;
    lab.world.move_site()?;
    server.wait_for_log(&SITE_LATER.to_string())?;
    told(&mut session, SITE_LATER)?;
    check_later()?;
    // A name server that is gone takes nothing away that was known.
    drop(resolver);
    server.wait_for_log("was not found")?;
    told(&mut session, SITE_LATER)
}

fn told(session: &mut Control, expected: std::net::Ipv4Addr) -> anyhow::Result<()> {
    let told = session.pasv()?.ip();
    anyhow::ensure!(
        told == expected,
        "PASV names {told}, and should name {expected}\n{}",
        session.dialogue()
    );
    Ok(())
}
