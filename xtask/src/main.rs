//! The project's own commands, run as `cargo xtask COMMAND`.
#![forbid(unsafe_code)]

mod compare;
mod container;
mod debian;
mod fuzz;
mod instructions;
mod interrupt;
mod lab;
mod outcome;
mod package;
mod requirements;
mod shell;
mod steps;
mod test;
mod tidy;
mod waiting;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every kind of test, installing what they need.
    ///
    /// As root on Debian the programs that tests use are installed by apt-get; otherwise what is missing is named, with
    /// the command to type, and the run fails. The last line is the count: `N passed, N failed`.
    Test(test::Options),
    /// Try every way of data connections through NAT, firewalls and proxies, in networks made for it.
    ///
    /// Needs root and a kernel with network namespaces. Ends with 2 where it cannot be done, and says why.
    Lab(lab::Options),
    /// Build the container image around a binary that is compiled here; nothing is fetched for it.
    Image(container::image::Options),
    /// Make the Debian package, with the unit, the manual pages and the completions of shells.
    Package(package::Options),
    /// Count the instructions of the pure crates, and compare with benches/instructions.toml.
    Instructions(instructions::Options),
    /// Compare the server with others on this machine, and write docs/benchmarks.md and docs/benchmarks.html.
    ///
    /// Fetches vsftpd, ProFTPD, Pure-FTPd, pyftpdlib and nginx from Debian and unFTP from crates.io, starts each on the
    /// same core, and loads them in turn from another. Needs root and two cores, and takes a quarter of an hour.
    Compare(compare::Options),
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Test(options) => {
            test::run(&options).map(|good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Lab(options) => lab::command(&options),
        Command::Image(options) => container::image::command(&options).map(|()| ExitCode::SUCCESS),
        Command::Package(options) => package::command(&options).map(|()| ExitCode::SUCCESS),
        Command::Instructions(options) => instructions::command(&options)
            .map(|good| if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Command::Compare(options) => compare::run(&options).map(|()| ExitCode::SUCCESS),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
