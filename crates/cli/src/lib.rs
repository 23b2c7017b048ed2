//! The command line. Every flag of `serve` has a key in the configuration, which has more.
//!
//! It is a crate of its own since more than the program reads it: the manual pages and the completions of shells are made
//! of it when the program is packaged.
#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use config::{AnonymousAccess, Host, LogFormat, LogLevel, Overrides, RuntimeChoice, Seconds, Sources};
use doctor::{Target, TargetError};
use passive_ports::PortRange;
use tunnel::{PassiveTarget, ServerAddress, TunnelOptions};

/// An FTP server that moves files as fast as the kernel can.
#[derive(Debug, Parser)]
#[command(name = "ringftpd", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a directory.
    ///
    /// Without options everybody may log in as `anonymous` and read, on port 2121 of every address, with one worker for
    /// each core that this process may use. The log goes to standard error.
    ///
    /// What the flags say holds over environment variables, these over the file of `--config`, and that over the
    /// defaults. docs/configuration.md lists every key.
    #[command(after_long_help = SERVE_EXAMPLES)]
    Serve(Box<Serve>),

    /// Say whether a configuration is right, and what it comes to.
    ///
    /// Reads file and environment as `serve` does, binds nothing, and prints every error with its place, or the whole
    /// configuration as it would hold.
    #[command(after_long_help = CHECK_CONFIG_EXAMPLES)]
    CheckConfig(Box<CheckConfig>),

    /// Say which data connections will work, and why the others will not.
    ///
    /// Looks at this machine as `serve` with the same flags and the same configuration will find it; or, given
    /// ftp://host/ or ftp://user:password@host:port/ in place of a directory, is a client of that server and tries every
    /// way that a data connection can come about. Each finding says what to do about it. Nothing is changed.
    #[command(after_long_help = DOCTOR_EXAMPLES)]
    Doctor(Box<Serve>),

    /// Carry FTP through SSH, for clients that know nothing of it.
    ///
    /// Listens for FTP clients and carries their control and data connections through the system's `ssh`, rewriting what
    /// PASV, EPSV, PORT and EPRT say. docs/ssh.md says what it needs of the SSH server.
    #[command(after_long_help = TUNNEL_EXAMPLES)]
    Tunnel(Tunnel),

    /// Say whether the server of a configuration takes clients, for health checks.
    ///
    /// Reads flags, environment and file as `serve` does, and asks the server on this machine: where `metrics.address` is
    /// set by HTTP for /health/ready, and else by FTP, where the answer has to be 220, on the first listener without PROXY
    /// protocol if there is one. One line says what came of it; the exit code is 0 if the server is ready and 1 if not.
    #[command(after_long_help = HEALTH_EXAMPLES)]
    Health(Box<Serve>),

    /// Hash a password for an account in the configuration.
    ///
    /// Asks for the password on the terminal, or reads one line from standard input, and prints the argon2id hash to put
    /// behind `password_hash = `.
    HashPassword,
}

const SERVE_EXAMPLES: &str = "\
Examples:
  ringftpd serve /srv/mirror
      Everybody reads, on port 2121. Try: curl ftp://127.0.0.1:2121/

  ringftpd serve /srv/drop --anonymous upload --passive-ports 50000-50015
      Everybody adds files, nobody changes any. A firewall has to let in 2121 and 50000 to 50015: sixteen
      passive ports serve thousands of clients at once, for a port is shared by clients of different addresses.

  ringftpd serve /srv/mirror --listen 0.0.0.0:21 --listen [::1]:2121 --user ftp
      Two listeners; started as root, it goes on as the user ftp.

  ringftpd serve --config /etc/ringftpd/ringftpd.toml";

const CHECK_CONFIG_EXAMPLES: &str = "\
Examples:
  ringftpd check-config /etc/ringftpd/ringftpd.toml
  ringftpd check-config /etc/ringftpd/ringftpd.toml --passive-ports 50000-50015";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  ringftpd doctor --config /etc/ringftpd/ringftpd.toml
  ringftpd doctor /srv/mirror --passive-ports 50000-50015
  ringftpd doctor ftp://ftp.example.org/

The exit code is 0 where nothing is worse than a note, 3 after warnings, 4 after problems.";

const HEALTH_EXAMPLES: &str = "\
Examples:
  ringftpd health --config /etc/ringftpd/ringftpd.toml
  ringftpd health --listen 127.0.0.1:21 /srv/mirror
  HEALTHCHECK CMD [\"/usr/bin/ringftpd\", \"health\"]
      In a Dockerfile, where the image or who runs it says by RINGFTPD_... variables what is served.";

const TUNNEL_EXAMPLES: &str = "\
Examples:
  ringftpd tunnel --ssh me@gateway --listen 127.0.0.1:2121 ftp://files.internal:21
      curl ftp://127.0.0.1:2121/ now lists files.internal, as the gateway reaches it.";

/// A tunnel.
#[derive(Debug, Args)]
pub struct Tunnel {
    /// The FTP server, as the SSH host reaches it.
    #[arg(value_name = "ftp://HOST[:PORT]")]
    server: ServerAddress,

    /// The SSH host, as `ssh` takes it: a name of its configuration, user@host, or a host.
    #[arg(long, value_name = "HOST")]
    ssh: String,

    /// Options for `ssh`, each as behind its -o; may be given more than once.
    #[arg(long, value_name = "OPTION")]
    ssh_option: Vec<String>,

    /// Where FTP clients connect to.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:2121")]
    listen: SocketAddr,

    /// The address of the SSH host from which the FTP server sees connections, for active mode [default: loopback, if the
    /// FTP server is on the SSH host].
    #[arg(long, value_name = "ADDRESS")]
    ssh_address: Option<IpAddr>,

    /// Where passive data connections go: to the server, or to the address that its reply to PASV names.
    #[arg(long, value_enum, value_name = "server|named", default_value_t = PassiveTo::Server)]
    passive_target: PassiveTo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PassiveTo {
    /// To the server.
    Server,
    /// To the address that the reply names.
    Named,
}

impl Tunnel {
    /// What the tunnel is made of.
    #[must_use]
    pub fn into_options(self) -> TunnelOptions {
        TunnelOptions {
            ssh_options: self.ssh_option,
            ssh_address: self.ssh_address,
            passive_target: match self.passive_target {
                PassiveTo::Server => PassiveTarget::Server,
                PassiveTo::Named => PassiveTarget::Named,
            },
            ..TunnelOptions::new(self.ssh, self.listen, self.server)
        }
    }
}

/// Flags of `serve`; those that are not given leave the word to environment, file and defaults.
#[derive(Debug, Args)]
pub struct Serve {
    /// The directory to serve. Clients see it as `/` and cannot leave it.
    directory: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,
}

/// What a configuration is checked with.
#[derive(Debug, Args)]
pub struct CheckConfig {
    /// The TOML file with the configuration, as behind `--config`.
    #[arg(conflicts_with = "config")]
    file: Option<PathBuf>,

    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Args)]
struct Flags {
    /// A TOML file with the configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Listen for clients here; may be given more than once. Port 0 takes a free port, and the log says which
    /// [default: port 2121 of every address].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Vec<SocketAddr>,

    /// How many workers there are, each on a core of its own [default: the cores that this process may use].
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,

    /// The ports of passive data connections, both ends included. They are bound once, at the start; one that somebody
    /// else has is left out with a warning [default: 16 ports that the kernel picks].
    #[arg(long, value_name = "LOW-HIGH")]
    passive_ports: Option<PortRange>,

    /// The address to tell clients in the reply to PASV, where this machine stands behind a translator: an IPv4 address,
    /// or a name, which is looked up again and again [default: the address that the client reached].
    #[arg(long, value_name = "NAME-OR-ADDRESS")]
    advertise: Option<Host>,

    /// Become this user once everything is bound, keeping of root's rights only that to bind privileged ports.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// What `anonymous` may do. off: not log in; read: list and download; drop: store new files, and see nothing; upload:
    /// list, download, store new files and make directories; write: everything [default: read].
    #[arg(long, value_name = "off|read|drop|upload|write")]
    anonymous: Option<AnonymousAccess>,

    /// What the workers run on. `auto` takes io_uring where the kernel allows it, and epoll elsewhere, with a line in
    /// the log that says why [default: auto].
    #[arg(long, value_name = "auto|io_uring|epoll")]
    runtime: Option<RuntimeChoice>,

    /// Give metrics for Prometheus and health checks by HTTP here: /metrics, /health/live and /health/ready
    /// [default: nowhere].
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,

    #[command(flatten)]
    deadlines: Deadlines,

    #[command(flatten)]
    log: Log,
}

/// How long the server waits, in whole seconds.
#[derive(Debug, Args)]
#[command(next_help_heading = "Deadlines")]
struct Deadlines {
    /// Close a connection on which nobody has logged in after this many seconds [default: 60].
    #[arg(long, value_name = "SECONDS")]
    login_timeout: Option<Seconds>,

    /// Close a connection without a command or a transfer for this many seconds [default: 300].
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<Seconds>,

    /// Give a data connection this many seconds to come about; then the answer is 425 [default: 30].
    #[arg(long, value_name = "SECONDS")]
    data_timeout: Option<Seconds>,

    /// End a transfer, or a client that takes no replies, when not a byte has moved for this many seconds [default: 300].
    #[arg(long, value_name = "SECONDS")]
    stall_timeout: Option<Seconds>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
struct Log {
    /// The form of a log line [default: human].
    #[arg(long, value_name = "human|json")]
    log_format: Option<LogFormat>,

    /// The least that is logged: error, warn, info (logins, transfers), debug (every command) or trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
}

impl Serve {
    /// The server that was named in place of a directory.
    #[must_use]
    pub fn target(&self) -> Option<Result<Target, TargetError>> {
        let subject = self.directory.as_deref().and_then(Path::to_str)?;
        subject.starts_with("ftp://").then(|| subject.parse())
    }

    /// Where the configuration comes from, with this process's environment.
    #[must_use]
    pub fn into_sources(self) -> Sources {
        self.flags.into_sources(self.directory)
    }
}

impl CheckConfig {
    /// Where the configuration comes from, with this process's environment.
    #[must_use]
    pub fn into_sources(mut self) -> Sources {
        self.flags.config = self.file.or(self.flags.config);
        self.flags.into_sources(None)
    }
}

impl Flags {
    fn into_sources(self, directory: Option<PathBuf>) -> Sources {
        let overrides = Overrides {
            directory,
            listen: (!self.listen.is_empty()).then_some(self.listen),
            user: self.user,
            workers: self.workers,
            runtime: self.runtime,
            passive_ports: self.passive_ports,
            advertise: self.advertise,
            anonymous: self.anonymous,
            login_timeout: self.deadlines.login_timeout,
            idle_timeout: self.deadlines.idle_timeout,
            data_timeout: self.deadlines.data_timeout,
            stall_timeout: self.deadlines.stall_timeout,
            log_format: self.log.log_format,
            log_level: self.log.log_level,
            metrics: self.metrics,
        };
        Sources::of_process(self.config, overrides)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, CommandFactory};
    use config::{Config, FLAGS};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// What a flag is called in [`FLAGS`]; `None` for those of this crate alone.
    fn name_of(argument: &Arg) -> Option<String> {
        match (argument.get_id().as_str(), argument.get_long()) {
            ("config" | "help", _) => None,
            (_, Some(long)) => Some(format!("--{long}")),
            (_, None) => Some(String::from("DIR")),
        }
    }

    /// The value of a key as its line of a file has it, without quotes; `None` where it is left out.
    fn default_of(path: &str) -> Option<String> {
        let text = Config::default().to_toml();
        let (table, key) = path.split_once('.').unwrap_or(("", path));
        let start = if table.is_empty() { 0 } else { text.find(&format!("\n[{table}]\n"))? + 1 };
        let lines = text[start..].lines().skip(usize::from(start > 0));
        let mut keys =
            lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
        keys.find(|(name, _)| *name == key).map(|(_, value)| value.trim_matches('"').to_owned())
    }

    #[test]
    fn the_flags_are_those_of_the_configuration() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let mut flags: Vec<String> = serve.get_arguments().filter_map(name_of).collect();
        let mut known: Vec<&str> = FLAGS.iter().map(|(flag, _)| *flag).collect();
        flags.sort();
        known.sort_unstable();
        assert_eq!(flags, known);
    }

    #[test]
    fn the_defaults_are_those_of_the_configuration() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        let mut compared = 0;
        for argument in serve.get_arguments() {
            let Some(name) = name_of(argument) else { continue };
            let (_, path) = FLAGS.iter().find(|(flag, _)| *flag == name).unwrap();
            let help = argument.get_help().unwrap().to_string();
            let told = help.split_once("[default: ").map(|(_, rest)| rest.trim_end_matches(']'));
            match (*path, default_of(path)) {
                // It has to be given.
                ("directory", _) => assert_eq!(told, None),
                ("listeners", default) => {
                    assert_eq!(default.as_deref(), Some("[\"[::]:2121\"]"));
                    assert_eq!(told, Some("port 2121 of every address"));
                }
                (_, Some(default)) => {
                    assert_eq!(told, Some(default.as_str()), "{name}");
                    compared += 1;
                }
                // Words say what happens then.
                (_, None) => assert!(told.is_none_or(|told| told.parse::<f64>().is_err()), "{name}"),
            }
        }
        assert!(compared > 0);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |arguments: &[&str]| Cli::try_parse_from(arguments).is_err();
        assert!(refused(&["ringftpd", "serve", "/srv", "--workers", "0"]));
        assert!(refused(&["ringftpd", "serve", "/srv", "--listen", "2121"]));
        assert!(refused(&["ringftpd", "serve", "/srv", "--anonymous", "rw"]));
        assert!(refused(&["ringftpd", "serve", "/srv", "--passive-ports", "50010-50000"]));
        assert!(refused(&["ringftpd", "serve", "/srv", "--idle-timeout", "0"]));
        assert!(refused(&["ringftpd", "serve", "/srv", "--advertise", "2001:db8::1"]));
        assert!(!refused(&["ringftpd", "serve", "/srv", "--listen", "127.0.0.1:0", "--listen", "[::1]:0"]));
    }
}
