//! A load tester for FTP servers: what it says of a server is what a client of that server would have seen.
//!
//! The way of a run: [`cli`] reads what is asked, [`setup`] starts a server if none is named and asks it what it knows
//! ([`probe`]), [`run`] lets workers ([`worker`]) run slots ([`slot`]) through a [`scenario`] at a [`pace`], [`measure`]
//! keeps what they see, [`report`] tells it.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod compare;
mod content;
mod failure;
mod gate;
mod interrupt;
mod limits;
mod measure;
mod output;
mod pace;
mod plan;
mod probe;
mod random;
mod rendezvous;
mod report;
mod room;
mod run;
mod scenario;
mod server;
mod setup;
mod slot;
mod stored;
mod target;
mod worker;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{CommandFactory as _, FromArgMatches as _};

use cli::{Cli, Command, ReportOptions, RunOptions, check_use};
use output::{OutputFile, is_same_file};
use report::Report;
use scenario::Scenario;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The run could not begin.
const EXIT_NOT_BEGUN: u8 = 2;

fn main() -> ExitCode {
    let arguments = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&arguments).unwrap_or_else(|error| error.exit());
    if let Command::ServeChild(options) = &cli.command {
        return server::become_server(options.tester, &options.words);
    }
    let checked = match (cli.command.runs(), arguments.subcommand()) {
        (Some((scenario, options)), Some((_, arguments))) => check_use(scenario, options, arguments),
        _ => Ok(()),
    };
    let outcome = checked.and_then(|()| interrupt::listen()).and_then(|()| {
        match (&cli.command, cli.command.scenario()) {
            (_, Some((scenario, options))) => load(scenario, options),
            (Command::Report(options), None) => lay_over(options).map(|()| true),
            (Command::Compare(options), None) => compare::compare(options),
            _ => Ok(true),
        }
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(EXIT_NOT_BEGUN)
        }
    }
}

/// Runs a scenario and reports it; whether all went well.
fn load(scenario: Scenario, options: &RunOptions) -> anyhow::Result<bool> {
    let json = options.json.as_deref().map(OutputFile::open).transpose()?;
    let html = options.html.as_deref().map(OutputFile::open).transpose()?;
    let report = run::run(scenario, options)?;
    let as_json = serde_json::to_string_pretty(&report)?;
    let (as_table, clean, name) = (report::table(&report), report.is_clean(), report.target.clone());
    // What was measured goes wherever it still can.
    let written = [
        json.map_or(Ok(()), |file| file.write(&as_json)),
        html.map_or(Ok(()), |file| file.write(&report::page(&[(name, report)])?)),
        output::print(&as_table),
    ];
    let mut all_written = true;
    for error in written.into_iter().filter_map(Result::err) {
        eprintln!("loadtest: {error:#}");
        all_written = false;
    }
    Ok(clean && all_written)
}

fn lay_over(options: &ReportOptions) -> anyhow::Result<()> {
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let report: Report = serde_json::from_str(&text)
            .with_context(|| format!("{} is no report of a run", path.display()))?;
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok((name, report))
    };
    if options.reports.iter().any(|report| is_same_file(report, &options.html)) {
        bail!("{} is one of the reports: name another page", options.html.display());
    }
    let mut reports = options.reports.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let names: Vec<String> = reports.iter().map(|(name, _)| name.clone()).collect();
    for ((name, _), path) in reports.iter_mut().zip(&options.reports) {
        if names.iter().filter(|other| *other == name).count() > 1 {
            *name = path.display().to_string();
        }
    }
    // The same file may be named twice.
    let names: Vec<String> = reports.iter().map(|(name, _)| name.clone()).collect();
    for (number, (name, _)) in reports.iter_mut().enumerate() {
        let before = names[..number].iter().filter(|other| *other == name).count();
        if before > 0 {
            *name = format!("{name} ({})", before + 1);
        }
    }
    OutputFile::open(&options.html)?.write(&report::page(&reports)?)
}
