//! `ringftpd`: an FTP server for Linux that moves files as fast as the kernel can.
//!
//! The way of a command: [`control`] receives bytes, the `protocol` crate makes lines and commands of them and decides what
//! they mean, [`control`] does what the session asks, and its replies go back. The way of data: [`passive`] or [`data`] gives a
//! connection, [`transfers`] takes it through its steps, the `transfer` crate moves the bytes.
#![forbid(unsafe_code)]

mod admission;
mod advertise;
mod answers;
mod bind;
mod control;
mod data;
mod descriptors;
mod digest;
mod farewell;
mod files;
mod health;
mod ledger;
mod logging;
mod logins;
mod memory;
mod metrics;
mod newcomers;
mod own_ports;
mod passive;
mod peers;
mod privileges;
mod proxy_protocol;
mod rates;
mod readiness;
mod record;
mod reload;
mod replies;
mod roots;
mod serve;
mod service_manager;
mod settings;
mod sweep;
mod transfers;
mod waiting;
mod worker;

use std::fmt;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser;
use cli::{Cli, Command};
use config::{Config, Sources, Warning};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The longest password in bytes: longer ones do not fit in a command line of FTP.
const PASSWORD_BYTES_MAX: u64 = 4096;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(options) => serve(options.into_sources()),
        Command::CheckConfig(options) => with_config(&options.into_sources(), check),
        Command::Doctor(options) => match options.target() {
            Some(Ok(target)) => tell(&doctor::examine_server(&target)),
            Some(Err(error)) => fail(&error),
            None => with_config(&options.into_sources(), |config, _| tell(&doctor::examine_config(config))),
        },
        Command::Tunnel(options) => match tunnel::run(&options.into_options()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Command::Health(options) => with_config(&options.into_sources(), health),
        Command::HashPassword => hash_password(),
    }
}

fn with_config(sources: &Sources, command: fn(&Config, &[Warning]) -> ExitCode) -> ExitCode {
    match Config::load(sources) {
        Ok((config, warnings)) => command(&config, &warnings),
        Err(errors) => fail(&errors),
    }
}

fn serve(sources: Sources) -> ExitCode {
    memory::use_small_pages();
    let (config, warnings) = match Config::load(&sources) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(&errors),
    };
    let (log, set_level) = match logging::start(&config.log) {
        Ok(log) => log,
        Err(error) => return fail(&format_args!("cannot start the log: {error}")),
    };
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let outcome = serve::serve(sources, &config, set_level);
    // What is logged by now is written before the last word.
    drop(log);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("{error:#}")),
    }
}

fn check(config: &Config, warnings: &[Warning]) -> ExitCode {
    for warning in warnings {
        eprintln!("ringftpd: warning: {warning}");
    }
    print!("{}", config.to_toml());
    ExitCode::SUCCESS
}

fn health(config: &Config, _: &[Warning]) -> ExitCode {
    match health::ask(config) {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format_args!("{error:#}")),
    }
}

fn tell(report: &doctor::Report) -> ExitCode {
    println!("{report}");
    ExitCode::from(report.exit_code())
}

fn hash_password() -> ExitCode {
    match read_password().and_then(|password| Ok(accounts::hash_password(&password)?)) {
        Ok(hash) => {
            println!("{hash}");
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// A password typed on the terminal, or the first line of standard input; none that no client could ever send.
fn read_password() -> anyhow::Result<Vec<u8>> {
    let mut password = Vec::new();
    if io::stdin().is_terminal() {
        password = rpassword::prompt_password("Password: ")?.into_bytes();
    } else {
        // With the end of the line, and a byte that shows that there is more.
        io::stdin().lock().take(PASSWORD_BYTES_MAX + 3).read_until(b'\n', &mut password)?;
    }
    while password.pop_if(|last| matches!(last, b'\r' | b'\n')).is_some() {}
    ensure!(!password.is_empty(), "there is no password; an account needs one");
    ensure!(
        password.len() as u64 <= PASSWORD_BYTES_MAX,
        "a password of more than {PASSWORD_BYTES_MAX} bytes fits in no command of FTP"
    );
    Ok(password)
}

fn fail(reason: &impl fmt::Display) -> ExitCode {
    eprintln!("ringftpd: {reason}");
    ExitCode::FAILURE
}
