//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::builder::TypedValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Parser, Subcommand};
use runtime::BackendChoice;

use crate::limits::SOURCE_ADDRESSES_MAX;
use crate::plan::DataMode;
use crate::scenario::{Mix, Scenario};
use crate::server::SUBCOMMAND;
use crate::target::Target;

/// A load tester for FTP servers.
///
/// Without --target it starts a ringftpd on loopback, over a temporary directory, and ends it.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, max_term_width = 100, arg_required_else_help = true, after_long_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  loadtest small-files
      A ringftpd of its own: 64 clients log in, fetch 1 KiB and quit, for ten seconds.

  loadtest stream --target ftp://127.0.0.1:2121/pub/small.bin --rate 2000 --json stream.json
      2000 transfers a second, whatever the server does; latencies count from when each should have begun.

  loadtest report one.json other.json --html both.html
      Two runs laid over one another.

  loadtest compare small-files --a ringftpd --b 'roofline 127.0.0.1:{port}'
      Processor time per session of two servers, in turn on the same core.

Ctrl-C ends a run early: what was measured until then is printed.

Exit codes: 0 without errors, 1 with errors or where the run ended early, 2 where it could not begin.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connect, log in, quit.
    Login(RunOptions),
    /// Connect, log in, fetch a small file, quit.
    SmallFiles(RunOptions),
    /// Fetch a small file again and again in one session.
    Stream(RunOptions),
    /// NOOP and its reply, one at a time or many (--pipeline).
    Noop(RunOptions),
    /// The storm: every session holds a passive port, then all fetch at once. Every file is compared.
    Pasv(RunOptions),
    /// The storm in active mode: the server connects to every session at once. Where it comes from is checked.
    ConnectBack(RunOptions),
    /// Fetch a big file. Every byte is compared.
    Download(RunOptions),
    /// Store generated files, and compare what the server has, by its hash or by fetching it.
    Upload(RunOptions),
    /// List a big directory.
    List(RunOptions),
    /// Log in and do nothing: the server's memory for each session.
    Idle(RunOptions),
    /// Sessions of several kinds (--mix).
    Mixed(RunOptions),
    /// Clients that vanish in the middle: afterwards nothing may be left of them.
    Abort(RunOptions),
    /// Files from server to server, in both directions. Every file is compared.
    Fxp(RunOptions),
    /// Lay reports over one another.
    Report(ReportOptions),
    /// Measure two servers in turn on the same core, and print the ratio of their processor times.
    Compare(CompareOptions),
    /// Become a server that ends with the tester.
    #[command(name = SUBCOMMAND, hide = true)]
    ServeChild(ServeChildOptions),
}

impl Command {
    /// The scenario, if it is one.
    pub(crate) fn scenario(&self) -> Option<(Scenario, &RunOptions)> {
        Some(match self {
            Self::Login(options) => (Scenario::Login, options),
            Self::SmallFiles(options) => (Scenario::SmallFiles, options),
            Self::Stream(options) => (Scenario::Stream, options),
            Self::Noop(options) => (Scenario::Noop, options),
            Self::Pasv(options) => (Scenario::Pasv, options),
            Self::ConnectBack(options) => (Scenario::ConnectBack, options),
            Self::Download(options) => (Scenario::Download, options),
            Self::Upload(options) => (Scenario::Upload, options),
            Self::List(options) => (Scenario::List, options),
            Self::Idle(options) => (Scenario::Idle, options),
            Self::Mixed(options) => (Scenario::Mixed, options),
            Self::Abort(options) => (Scenario::Abort, options),
            Self::Fxp(options) => (Scenario::Fxp, options),
            Self::Report(_) | Self::Compare(_) | Self::ServeChild(_) => return None,
        })
    }

    /// What is run, be it once or for comparison.
    pub(crate) fn runs(&self) -> Option<(Scenario, &RunOptions)> {
        match self {
            Self::Compare(options) => Some((options.scenario, &options.run)),
            _ => self.scenario(),
        }
    }
}

/// Refuses what was asked for where the scenario has no use for it: it would be passed over without a word.
///
/// # Errors
///
/// The option, and why there is no use for it.
pub(crate) fn check_use(
    scenario: Scenario,
    options: &RunOptions,
    arguments: &ArgMatches,
) -> anyhow::Result<()> {
    let starts_a_server = options.target.is_none();
    let (is_storm, stores) = (scenario.has_rounds(), scenario.stores());
    let has_warmup = !is_storm && scenario != Scenario::Idle;
    let transfers = scenario.fetches() || stores || scenario.lists();
    let uses = [
        ("rate", scenario.has_open_loop(), "it has a rhythm of its own"),
        ("pipeline", scenario == Scenario::Noop, "it waits for each reply"),
        ("target2", scenario.has_two_servers(), "it has one server"),
        ("warmup", has_warmup, "it is measured from its beginning"),
        ("ready_at_once", !has_warmup, "it has no storm"),
        ("mix", scenario == Scenario::Mixed, "its sessions are of one kind"),
        ("data", transfers, "it has no data connections"),
        ("upload_to", stores, "it stores nothing"),
        ("upload_to", !starts_a_server, "its server has a directory for that"),
        ("upload_size", stores && scenario != Scenario::Abort, "it stores nothing of that size"),
        ("upload_size", starts_a_server || scenario != Scenario::Fxp, "the file at the target has its size"),
        ("small_size", scenario.fetches_small_files(), "it fetches no small file"),
        ("big_size", scenario == Scenario::Download, "it fetches no such file"),
        ("entries", scenario.lists(), "it lists nothing"),
        ("small_size", starts_a_server, "the file at the target has its size"),
        ("big_size", starts_a_server, "the file at the target has its size"),
        ("entries", starts_a_server, "the directory at the target has its entries"),
        ("server_workers", starts_a_server, "the target has its own"),
    ];
    let asked = |id: &str| arguments.value_source(id) == Some(ValueSource::CommandLine);
    match uses.into_iter().find(|&(id, is_of_use, _)| !is_of_use && asked(id)) {
        Some((id, _, why)) => bail!("{} takes no --{}: {why}", scenario.name(), id.replace('_', "-")),
        None => Ok(()),
    }
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RunOptions {
    /// The server. The path is the file that is fetched; for `list` the directory that is listed; for `upload` the one that is
    /// stored into. `mixed`, `abort` and `fxp` store into the directory of the login, unless --upload-to says another. Without
    /// this, a server is started.
    #[arg(long, value_name = "ftp://[USER:PASS@]HOST[:PORT][/PATH]", value_parser = TargetParser)]
    pub(crate) target: Option<Target>,

    /// The other server of `fxp`, named as the first.
    #[arg(long, value_name = "ftp://[USER:PASS@]HOST[:PORT][/PATH]", value_parser = TargetParser, requires = "target")]
    pub(crate) target2: Option<Target>,

    /// FTP over TLS. It is refused: neither ringftpd nor this tester speaks TLS yet.
    #[arg(long)]
    pub(crate) tls: bool,

    /// How many sessions there are at once [default: what the scenario is usually run with].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) sessions: Option<usize>,

    /// How long it is measured, as 10s, 500ms or 2m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    pub(crate) duration: Duration,

    /// What goes before, and is not measured. Storms (`pasv`, `connect-back`) and `idle` have none.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(crate) warmup: Duration,

    /// Open loop: begin that many units a second, whatever the server does, and count latency from when each should have
    /// begun; a server that does less than that is told. Without this, closed loop: a session begins its next unit when it
    /// is done with the last.
    #[arg(long, value_name = "PER-SECOND", value_parser = positive)]
    pub(crate) rate: Option<f64>,

    /// Threads of the tester, each on a core of its own [default: the cores that are left beside a server of its own].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) workers: Option<usize>,

    /// Come from that many addresses of 127.0.0.0/8 [default: one for every 8 sessions if the target is on loopback; 0
    /// leaves the address to the kernel].
    #[arg(long, value_name = "N", value_parser = source_addresses)]
    pub(crate) source_addresses: Option<usize>,

    /// How data connections are asked for.
    #[arg(long, value_enum, value_name = "epsv|pasv", default_value_t = DataMode::Epsv)]
    pub(crate) data: DataMode,

    /// How many sessions of `pasv`, `connect-back` and `idle` get ready at once before the storm.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = at_least_one)]
    pub(crate) ready_at_once: usize,

    /// NOOPs that are sent at once, at most 10000.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = pipeline)]
    pub(crate) pipeline: usize,

    /// The size of an upload, and of what `fxp` moves between servers of the tester's own, with a suffix of K, M or G if you like.
    #[arg(long, value_name = "BYTES", default_value = "64K", value_parser = bytes)]
    pub(crate) upload_size: u64,

    /// The directory of the target that is stored into.
    #[arg(long, value_name = "PATH")]
    pub(crate) upload_to: Option<String>,

    /// The sessions of `mixed` and their weights.
    #[arg(long, value_name = "SCENARIO=WEIGHT,...", default_value = "login=1,small-files=8,upload=2,list=1")]
    pub(crate) mix: Mix,

    /// Give a session up when nothing has happened in it for so long. Nothing goes on for more than ten times that after the
    /// time is over, whatever happens in it.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = some_time)]
    pub(crate) timeout: Duration,

    /// End the run when nothing but errors has come for so long.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) give_up_after: Duration,

    /// What random choices and generated files come from [default: the clock; it is printed].
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// What the tester's own threads run on.
    #[arg(long, value_name = "auto|io_uring|epoll", default_value_t = BackendChoice::Epoll)]
    pub(crate) runtime: BackendChoice,

    /// Write the report here.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write the report as a page here.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) server: ServerOptions,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerOptions {
    /// The command of the server to start; `{dir}` and `{port}` stand for the directory and the port. What has blanks
    /// in it is quoted as for a shell. Without `{port}` in it, it is taken for a ringftpd and told the rest [default: the ringftpd beside this program].
    #[arg(long, value_name = "COMMAND", conflicts_with = "target")]
    pub(crate) server: Option<String>,

    /// How many cores a server of the tester's own gets, and how many workers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub(crate) server_workers: usize,

    /// The process whose processor time and memory are reported [default: the one that listens on the target's port, unless
    /// this program comes from it].
    #[arg(long, value_name = "PID", requires = "target")]
    pub(crate) server_pid: Option<i32>,

    /// The control group (cgroup) that the server runs in, as a folder: processor time is taken from there, so that
    /// processes count that the server forked and that are gone.
    #[arg(long, value_name = "DIR")]
    pub(crate) server_cgroup: Option<PathBuf>,

    /// The size of the small file that a server of the tester's own serves.
    #[arg(long, value_name = "BYTES", default_value = "1K", value_parser = bytes)]
    pub(crate) small_size: u64,

    /// The size of the big one.
    #[arg(long, value_name = "BYTES", default_value = "256M", value_parser = bytes)]
    pub(crate) big_size: u64,

    /// How many entries the big directory has.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least_one)]
    pub(crate) entries: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ReportOptions {
    /// Reports that were written with --json.
    #[arg(required = true)]
    pub(crate) reports: Vec<PathBuf>,

    /// The page to write.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompareOptions {
    /// What is run.
    #[arg(value_enum)]
    pub(crate) scenario: Scenario,

    /// The command of one server, as for --server.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) a: String,

    /// The command of the other.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) b: String,

    /// How often each is measured: A B B A A B ...
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub(crate) pairs: usize,

    #[command(flatten)]
    pub(crate) run: RunOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ServeChildOptions {
    /// The tester's process.
    pub(crate) tester: i32,

    /// The server's program and its arguments.
    #[arg(last = true, required = true)]
    pub(crate) words: Vec<OsString>,
}

/// Reads a target. What is wrong with one is told without it, for it may have a password.
#[derive(Debug, Clone)]
struct TargetParser;

impl TypedValueParser for TargetParser {
    type Value = Target;

    fn parse_ref(
        &self,
        _: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Target, clap::Error> {
        let name = arg.and_then(clap::Arg::get_long).unwrap_or("target");
        let target = value.to_string_lossy().parse::<Target>();
        target.map_err(|error| {
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("--{name}: {error}\n"))
        })
    }
}

fn source_addresses(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|&count| count <= SOURCE_ADDRESSES_MAX);
    count.ok_or_else(|| format!("expected a whole number, at most {SOURCE_ADDRESSES_MAX}"))
}

/// No more than the buffers of a connection take, both ways, before anybody reads.
fn pipeline(text: &str) -> Result<usize, String> {
    let count = at_least_one(text).ok().filter(|&count| count <= 10_000);
    count.ok_or_else(|| String::from("expected a whole number of 1 to 10000"))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| String::from("expected a whole number, at least 1"))
}

fn positive(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|&rate: &f64| rate.is_finite() && rate > 0.0);
    rate.ok_or_else(|| String::from("expected a number above 0"))
}

/// The longest time that may be asked for.
const TIME_MAX: Duration = Duration::from_secs(1000 * 3600);

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(String::from("expected a time, as 10s, 500ms or 2m")),
    };
    let seconds = digits.parse::<f64>().ok().map(|number| number * scale);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match time {
        Some(time) if time <= TIME_MAX => Ok(time),
        Some(_) => Err(String::from("expected a time of at most 1000 hours")),
        None => Err(String::from("expected a time, as 10s, 500ms or 2m")),
    }
}

/// A time, and not none at all.
fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(String::from("expected a time above 0")),
        time => Ok(time),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let scale: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        _ => return Err(String::from("expected a size, as 1024, 64K or 1G")),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
    number.ok_or_else(|| String::from("expected a size, as 1024, 64K or 1G"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_and_sizes_are_read() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert!(duration("7x").is_err() && duration("s").is_err() && duration("-1s").is_err());
        assert_eq!(bytes("64K"), Ok(65_536));
        assert!(bytes("1T").is_err() && bytes("K").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |arguments: &[&str]| Cli::try_parse_from(arguments).is_err();
        assert!(refused(&["loadtest", "noop", "--sessions", "0"]));
        assert!(refused(&["loadtest", "noop", "--rate", "-1"]));
        assert!(refused(&["loadtest", "noop", "--duration", "0s"]));
        assert!(refused(&["loadtest", "noop", "--duration", "1e19s"]));
        assert!(refused(&["loadtest", "noop", "--pipeline", "10001"]));
        assert!(refused(&["loadtest", "noop", "--source-addresses", "60001"]));
        let secret = Cli::try_parse_from(["loadtest", "noop", "--target", "ftp://me:hunter2@x:0/"]);
        let said = secret.unwrap_err().to_string();
        assert!(said.contains("--target") && said.contains("port") && !said.contains("hunter2"), "{said}");
        assert!(refused(&["loadtest", "noop", "--timeout", "0"]));
        assert!(!refused(&["loadtest", "noop", "--warmup", "0s"]));
        assert!(refused(&["loadtest", "noop", "--server-pid", "1"]));
        assert!(refused(&["loadtest", "noop", "--target", "http://x/"]));
        assert!(refused(&["loadtest", "noop", "--target", "ftp://x/", "--server", "ringftpd"]));
        assert!(!refused(&["loadtest", "noop", "--target", "ftp://x/", "--rate", "1.5"]));
    }
}
