//! `cargo xtask compare`: our server, the roofline and other people's servers, each alone on the same core, under the same
//! load, in turn.

mod cgroup;
mod html;
mod load;
mod markdown;
mod results;
mod scenarios;
mod servers;
mod site;
mod targets;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use nix::sched::{CloneFlags, sched_getaffinity, unshare};
use nix::unistd::{Pid, geteuid};

use self::load::{Figures, Load};
use self::results::{Compared, Entry};
use self::scenarios::{Figure, SCENARIOS, Scenario};
use self::servers::{Part, Running, SERVERS};
use self::site::Site;
use self::targets::Target;
use crate::shell::{cargo, root, succeeds};

/// How it is compared.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these scenarios; may be given more than once. Nothing is written then.
    #[arg(long, value_name = "SCENARIO")]
    only: Vec<String>,

    /// How often each server is measured in each scenario.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,

    /// How long each run is measured, in milliseconds.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1200)]
    duration_ms: u64,
}

/// Everything that was found.
struct Findings {
    machine: String,
    rounds: usize,
    duration_ms: u64,
    versions: Vec<(&'static str, String)>,
    /// Servers that could not be started, and why.
    absent: Vec<(&'static str, String)>,
    compared: Vec<Compared>,
    targets: Vec<Target>,
}

/// Compares, prints what it finds, and writes `docs/benchmarks.md` and `docs/benchmarks.html`.
///
/// # Errors
///
/// If it cannot be done here. Servers that do not start are in the report.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(geteuid().is_root(), "other people's servers become other users: only root may start them");
    if let Some(unknown) = options.only.iter().find(|name| SCENARIOS.iter().all(|known| known.name != **name))
    {
        let known: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        bail!("there is no scenario {unknown}; there are {}", known.join(", "));
    }
    let (load_core, server_core) = cores()?;
    let packages = ["ringftpd", "loadtest", "ringftpd-bench-programs"].map(|package| ["--package", package]);
    let mut build = cargo(["build", "--release", "--locked", "--bins"]);
    ensure!(succeeds(build.args(packages.as_flattened()))?, "it does not build");
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let release = program.ancestors().nth(2).unwrap_or(Path::new("target")).join("release");

    let site = Site::make()?;
    // While there is a network to fetch from. What cannot be had is said where it is started.
    for server in &SERVERS {
        let _ = server.fetch(&site);
    }
    enter_own_network()?;
    let (mut running, mut absent) = (Vec::new(), Vec::new());
    for server in &SERVERS {
        match server.start(&site, server_core, "all") {
            Ok(started) => {
                println!("{} {} on {}", started.name, started.version, started.address);
                running.push(started);
            }
            Err(error) => {
                println!("{} does not start: {error:#}", server.name);
                absent.push((server.name, format!("{error:#}")));
            }
        }
    }
    ensure!(running.first().is_some_and(|first| first.part == Part::Own), "ringftpd itself does not start");
    let loadtest = release.join("loadtest");
    let load = Load {
        loadtest: &loadtest,
        core: load_core,
        duration_ms: options.duration_ms,
        scratch: site.folder(),
    };
    let ground = Ground { load: &load, site: &site, server_core };
    let mut compared = Vec::new();
    for scenario in &SCENARIOS {
        if options.only.is_empty() || options.only.iter().any(|name| name == scenario.name) {
            compared.push(compare(scenario, &running, &ground, options.rounds));
        }
    }
    let mut findings = Findings {
        machine: machine(load_core, server_core),
        rounds: options.rounds,
        duration_ms: options.duration_ms,
        versions: running.iter().map(|server| (server.name, server.version.clone())).collect(),
        absent,
        compared,
        targets: Vec::new(),
    };
    if options.only.is_empty() {
        println!("\nthe targets");
        findings.targets =
            targets::measure(&findings.compared, &load, &running[0], &site.root().join("list"), server_core);
        for target in &findings.targets {
            println!("  {}: {}: {}", target.what, target.wanted, target.measured);
        }
        let docs = root().join("docs");
        fs::write(docs.join("benchmarks.md"), markdown::page(&findings))?;
        fs::write(docs.join("benchmarks.html"), html::page(&findings))?;
        println!("\nwritten: docs/benchmarks.md, docs/benchmarks.html");
    }
    Ok(())
}

/// Runs a scenario against all that are up, ours always next to another: other, ours, another.
fn compare(scenario: &'static Scenario, running: &[Running], ground: &Ground<'_>, rounds: usize) -> Compared {
    println!("\n{}: {}", scenario.name, scenario.title);
    let others: Vec<&Running> =
        running.iter().filter(|server| server.part != Part::Own && scenario.is_for(server.part)).collect();
    let mut compared = Compared {
        scenario,
        own: Vec::new(),
        own_failures: Vec::new(),
        entries: others
            .iter()
            .map(|server| Entry { name: server.name, part: server.part, pairs: Vec::new(), failure: None })
            .collect(),
    };
    for round in 1..=rounds {
        let mut order: Vec<usize> = (0..others.len()).collect();
        // What runs first has no claim to be so in each round.
        if round % 2 == 0 {
            order.reverse();
        }
        for neighbours in order.chunks(2) {
            let measure = |index: usize| run_one(scenario, others[index], ground);
            let first = measure(neighbours[0]);
            let own = run_one(scenario, &running[0], ground);
            let second = neighbours.get(1).map(|&index| measure(index));
            let own = match own {
                Ok(own) => own,
                Err(error) => {
                    println!("  round {round}: ringftpd: {error:#}");
                    compared.own_failures.push(format!("in round {round}, {error:#}"));
                    continue;
                }
            };
            show(round, "ringftpd", scenario, &own);
            for (&index, theirs) in neighbours.iter().zip(std::iter::once(first).chain(second)) {
                let entry = &mut compared.entries[index];
                match theirs {
                    Ok(theirs) => {
                        show(round, entry.name, scenario, &theirs);
                        entry.pairs.push((own.clone(), theirs));
                    }
                    Err(error) => {
                        println!("  round {round}: {}: {error:#}", entry.name);
                        entry.failure = Some(format!("{error:#}"));
                    }
                }
            }
            compared.own.push(own);
        }
    }
    compared
}

/// What every run needs.
struct Ground<'a> {
    load: &'a Load<'a>,
    site: &'a Site,
    server_core: usize,
}

/// One run; one that completes nothing is an error.
fn run_one(scenario: &Scenario, server: &Running, ground: &Ground<'_>) -> anyhow::Result<Figures> {
    let load = ground.load;
    let fresh;
    let server = if scenario.figure == Figure::Memory {
        // One that has served thousands has memory to spare for those who come.
        fresh = SERVERS[server.number].start(ground.site, ground.server_core, "fresh")?;
        &fresh
    } else {
        server
    };
    if server.part == Part::Web {
        return load.run_http(server, 4);
    }
    let figures = load.run(server, scenario.scenario, scenario.path, scenario.options)?;
    let complaint = figures.complaint.as_deref().unwrap_or("and no error");
    ensure!(figures.units > 0.0, "nothing was completed: {complaint}");
    ensure!(
        figures.ended_early.is_none(),
        "it ended early: {}",
        figures.ended_early.as_deref().unwrap_or_default()
    );
    Ok(figures)
}

fn show(round: usize, name: &str, scenario: &Scenario, figures: &Figures) {
    let figure =
        scenario.figure.of(figures).map_or_else(|| String::from("?"), |figure| scenario.figure.show(figure));
    println!(
        "  round {round}: {name:<10} {:>10.1} {}s a second, {figure:>12}, {:.0} errors",
        figures.rate.unwrap_or_default(),
        scenario.unit,
        figures.errors
    );
}

/// From here on there is nothing but a loopback interface: neither a firewall that tracks connections, whose table would
/// run full, nor anybody else's load.
fn enter_own_network() -> anyhow::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network of its own")?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().context("cannot run ip")?;
    ensure!(up.success(), "the loopback interface does not come up");
    Ok(())
}

/// The first and the last of the cores that this process may use: for the load and for the servers.
fn cores() -> anyhow::Result<(usize, usize)> {
    let mask = sched_getaffinity(Pid::from_raw(0))?;
    let allowed: Vec<usize> =
        (0..nix::sched::CpuSet::count()).filter(|&core| mask.is_set(core).unwrap_or(false)).collect();
    match allowed[..] {
        [first, .., last] => Ok((first, last)),
        _ => bail!("it takes two cores: one for the servers and one for the load"),
    }
}

/// The machine in words.
fn machine(load_core: usize, server_core: usize) -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model.trim());
    let told = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    format!(
        "Linux {}, {model}, {} cores; {}; servers on core {server_core}, the load on core {load_core}",
        told("uname", "-r"),
        std::thread::available_parallelism().map_or(1, usize::from),
        told("rustc", "--version")
    )
}
