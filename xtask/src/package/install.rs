//! The package on this machine: installed, used, removed, and no trace of it left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::interrupt::Interrupt;
use crate::outcome::Outcome;
use crate::package::{Profile, build};
use crate::requirements::{self, PACKAGE, PACKAGE_TEST};
use crate::shell;
use crate::waiting::until;

const NAME: &str = "ringftpd";

const UNIT: &str = "/usr/lib/systemd/system/ringftpd.service";
const CONFIGURATION: &str = "/etc/ringftpd/ringftpd.toml";
const SERVED: &str = "/srv/ftp";

const NOT_ROOT: &str = "only root may install packages; type: sudo --preserve-env=PATH,HOME \"$(command -v cargo)\" xtask test --only package";

/// One thing that has to hold of the installed package.
type Check = (&'static str, fn() -> anyhow::Result<()>);

const CHECKS: [Check; 4] = [
    ("the configuration is right", configuration),
    ("there are manual pages", manuals),
    ("bash completes it", completion),
    ("the service serves a file, as the unit says", service),
];

/// The step of `cargo xtask test`.
pub(crate) fn step() -> anyhow::Result<Outcome> {
    if !geteuid().is_root() {
        return Ok(Outcome::not_done(NOT_ROOT));
    }
    requirements::provide(&PACKAGE)?;
    requirements::provide(&PACKAGE_TEST)?;
    let package = build(Profile::Dev, Path::new("target/package-test"))?;
    let mut sum = Outcome::of_named_check("lintian finds no error", &lintian(&package));
    let before = traces()?;
    let interrupt = Interrupt::listen()?;
    let installed = Installed::install(&package)?;
    for (title, check) in CHECKS {
        interrupt.check()?;
        sum += Outcome::of_named_check(title, &check());
    }
    let again = installed.update(&package);
    sum += Outcome::of_named_check("updated, it keeps what was configured", &again);
    sum += Outcome::of_named_check("removed, it leaves its configuration", &installed.remove());
    sum += Outcome::of_named_check("purged, it leaves nothing", &installed.purge(&before));
    Ok(sum)
}

/// The installed package. Dropped, it is purged.
struct Installed(());

impl Installed {
    fn install(package: &Path) -> anyhow::Result<Self> {
        let mut query = Command::new("dpkg-query");
        ensure!(
            !shell::succeeds_quietly(query.args(["--show", NAME])),
            "{NAME} is installed on this machine already, and would be taken away: dpkg --purge {NAME}"
        );
        let installed = Self(());
        dpkg(&["--install".as_ref(), package])?;
        Ok(installed)
    }

    /// As an update does: over what is there, with a configuration that somebody has changed.
    fn update(&self, package: &Path) -> anyhow::Result<()> {
        let text =
            fs::read_to_string(CONFIGURATION).with_context(|| format!("cannot read {CONFIGURATION}"))?;
        let changed = format!("{text}\n[deadlines]\nidle_s = 77\n");
        fs::write(CONFIGURATION, &changed).with_context(|| format!("cannot write {CONFIGURATION}"))?;
        dpkg(&["--install".as_ref(), package])?;
        ensure!(fs::read_to_string(CONFIGURATION)? == changed, "{CONFIGURATION} is another one now");
        configuration()
    }

    fn remove(&self) -> anyhow::Result<()> {
        dpkg(&["--remove".as_ref(), NAME.as_ref()])?;
        ensure!(!Path::new("/usr/bin/ringftpd").exists(), "the binary is still there");
        ensure!(Path::new(CONFIGURATION).exists(), "{CONFIGURATION} is gone");
        Ok(())
    }

    fn purge(&self, before: &BTreeSet<String>) -> anyhow::Result<()> {
        dpkg(&["--purge".as_ref(), NAME.as_ref()])?;
        let after = traces()?;
        let left: Vec<_> = after.difference(before).collect();
        ensure!(left.is_empty(), "{left:?} is left");
        Ok(())
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // Of what is not installed dpkg says so, and has nothing to do.
        if let Err(error) = dpkg(&["--purge".as_ref(), NAME.as_ref()]) {
            eprintln!("package: {error:#}");
        }
    }
}

fn dpkg(arguments: &[&Path]) -> anyhow::Result<()> {
    let mut dpkg = Command::new("dpkg");
    shell::output(dpkg.env("DEBIAN_FRONTEND", "noninteractive").args(arguments).stdin(Stdio::null()))
        .map(drop)
}

/// Everything on this machine that has the name of the package.
fn traces() -> anyhow::Result<BTreeSet<String>> {
    let mut find = Command::new("find");
    find.args(["/etc", "/usr", "/var/lib", "/srv", "-xdev", "-name", "*ringftpd*", "-prune", "-print"]);
    let mut traces: BTreeSet<String> = shell::output(&mut find)?.lines().map(str::to_owned).collect();
    for file in ["/etc/passwd", "/etc/group", "/etc/shadow"] {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        traces.extend(text.lines().filter(|line| line.contains(NAME)).map(|line| format!("{file}: {line}")));
    }
    traces.extend(Path::new(SERVED).exists().then(|| SERVED.to_owned()));
    Ok(traces)
}

fn lintian(package: &Path) -> anyhow::Result<()> {
    let mut lintian = Command::new("lintian");
    // As root it warns of being root, which is the tests' way.
    lintian.args(["--fail-on", "error", "--allow-root", "--no-tag-display-limit"]).arg(package);
    let said = shell::output(&mut lintian)?;
    println!("{said}");
    Ok(())
}

fn configuration() -> anyhow::Result<()> {
    let mut check = Command::new("ringftpd");
    let said = shell::output(check.args(["check-config", "--config", CONFIGURATION]))?;
    ensure!(said.contains("directory = \"/srv/ftp\""), "{said}");
    Ok(())
}

fn manuals() -> anyhow::Result<()> {
    let mut find = Command::new("find");
    let found = shell::output(find.args(["/usr/share/man/man1", "-name", "ringftpd*.1.gz"]))?;
    for page in ["ringftpd.1.gz", "ringftpd-serve.1.gz", "ringftpd-hash-password.1.gz"] {
        ensure!(found.contains(page), "there is no {page}: {found}");
    }
    let page = shell::output(Command::new("zcat").arg("/usr/share/man/man1/ringftpd-serve.1.gz"))?;
    ensure!(page.contains("passive\\-ports"), "{page}");
    Ok(())
}

fn completion() -> anyhow::Result<()> {
    let mut bash = Command::new("bash");
    // What Tab would offer behind `ringftpd che`.
    bash.args(["--noprofile", "--norc", "-c"]).arg(
        "source /usr/share/bash-completion/completions/ringftpd; COMP_WORDS=(ringftpd che); COMP_CWORD=1; \
         _ringftpd ringftpd che ringftpd; echo \"${COMPREPLY[@]}\"",
    );
    let offered = shell::output(&mut bash)?;
    ensure!(offered == "check-config", "it offers {offered}");
    Ok(())
}

/// What of the unit decides how the service runs.
#[derive(Debug, PartialEq, Eq)]
struct Unit {
    command: Vec<String>,
    user: String,
    /// As setpriv takes them.
    capabilities: String,
}

impl Unit {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let value = |key: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            found.with_context(|| format!("the unit has no {key}"))
        };
        let capabilities = value("AmbientCapabilities")?.split_whitespace();
        let capabilities = capabilities.filter_map(|name| name.strip_prefix("CAP_"));
        Ok(Self {
            command: value("ExecStart")?.split_whitespace().map(str::to_owned).collect(),
            user: value("User")?.to_owned(),
            capabilities: capabilities.map(|name| format!(",+{}", name.to_lowercase())).collect(),
        })
    }
}

/// The service, run without systemd: its command, as its user, with its capabilities, in a network of its own.
struct Service(Child);

impl Service {
    fn start(unit: &Unit) -> anyhow::Result<Self> {
        let Unit { command, user, capabilities } = unit;
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", "setpriv"]);
        unshare.args([format!("--reuid={user}"), format!("--regid={user}")]);
        unshare.args(["--init-groups", "--no-new-privs"]);
        for kind in ["inh-caps", "ambient-caps", "bounding-set"] {
            unshare.arg(format!("--{kind}=-all{capabilities}"));
        }
        unshare.args(command).stdin(Stdio::null()).stderr(Stdio::piped());
        unshare.spawn().map(Self).context("cannot run unshare")
    }

    fn client(&self, program: &str) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.args(["--target", &self.0.id().to_string(), "--net", "--", program]);
        nsenter
    }

    /// Asks it to end; an error, with its log, if it does not end well.
    fn stop(mut self) -> anyhow::Result<()> {
        kill(Pid::from_raw(i32::try_from(self.0.id())?), Signal::SIGTERM).context("it has ended")?;
        let mut log = String::new();
        if let Some(mut stderr) = self.0.stderr.take() {
            std::io::Read::read_to_string(&mut stderr, &mut log).context("its log is no text")?;
        }
        let status = self.0.wait()?;
        ensure!(status.success(), "it ended with {status}\n{log}");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended by itself in every good run.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn service() -> anyhow::Result<()> {
    const FILE: &str = "ringftpd-package-test";
    const CONTENTS: &str = "A file of the test of the package.\n";
    let unit = Unit::parse(&fs::read_to_string(UNIT).with_context(|| format!("cannot read {UNIT}"))?)?;
    let served = Path::new(SERVED).join(FILE);
    fs::write(&served, CONTENTS).with_context(|| format!("cannot write {}", served.display()))?;
    let fetched = fetch(&unit, FILE);
    fs::remove_file(&served).with_context(|| format!("cannot remove {}", served.display()))?;
    ensure!(fetched? == CONTENTS.trim_end(), "what was fetched is not what is served");
    Ok(())
}

fn fetch(unit: &Unit, file: &str) -> anyhow::Result<String> {
    let mut service = Service::start(unit)?;
    until("the server is well", || {
        if let Some(status) = service.0.try_wait()? {
            bail!("the service ended with {status}; its command is {:?}", unit.command);
        }
        let mut health = service.client("ringftpd");
        Ok(shell::succeeds_quietly(health.args(["health", "--config", CONFIGURATION])))
    })?;
    let url = format!("ftp://127.0.0.1/{file}");
    let fetched =
        shell::output(service.client("curl").args(["--disable", "--silent", "--show-error", &url]))?;
    service.stop()?;
    Ok(fetched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_says_how_the_service_runs() {
        let unit = "[Service]\nExecStart=/usr/bin/ringftpd serve --config X\nUser=ringftpd\n\
                    AmbientCapabilities=CAP_NET_BIND_SERVICE\n";
        let expected = Unit {
            command: ["/usr/bin/ringftpd", "serve", "--config", "X"].map(String::from).to_vec(),
            user: String::from("ringftpd"),
            capabilities: String::from(",+net_bind_service"),
        };
        assert_eq!(Unit::parse(unit).expect("a unit"), expected);
        assert!(Unit::parse("[Service]\nUser=x\n").is_err());
    }
}
