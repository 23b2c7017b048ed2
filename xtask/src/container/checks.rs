//! What has to hold of a running container.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, ensure};

use crate::container::podman::{Container, Podman};
use crate::container::resolver::{ADDRESS, NAME, Resolver};
use crate::interrupt::Interrupt;
use crate::outcome::Outcome;
use crate::shell::output;
use crate::waiting::{PATIENCE, until};

/// The user of the image.
const USER: u32 = 65532;

/// Bytes of the file that is fetched: more than the buffers of both sides of a connection hold.
const BYTES: usize = 32 << 20;

/// A way to run the image.
pub(super) struct Case {
    pub(super) title: &'static str,
    /// The seccomp profile, if it is not the default one.
    pub(super) profile: Option<PathBuf>,
    /// What the log has to say.
    pub(super) logs: &'static [&'static str],
    pub(super) volume: Volume,
}

/// Where the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Volume {
    /// In a folder of this machine.
    Folder,
    /// In a volume that podman makes, and that takes its owner from the image.
    Named,
}

/// A container, and what its clients have.
struct Site<'p> {
    case: &'p Case,
    container: Container<'p>,
    /// Where clients run.
    local: PathBuf,
}

/// One thing that has to hold.
type Check = (&'static str, fn(&Site<'_>) -> anyhow::Result<()>);

const CHECKS: [Check; 7] = [
    ("it is confined", confined),
    ("the log says what it runs on", logged),
    ("the health check of the image passes", |site| site.container.health()),
    ("curl stores and fetches", curl),
    ("lftp stores and fetches a folder", lftp),
    ("a name is advertised, and looked up", advertised),
    ("a stop lets a transfer end", drained),
];

/// Runs the image once, and every check on it.
pub(super) fn check(
    podman: &Podman,
    image: &str,
    case: &Case,
    interrupt: &Interrupt,
) -> anyhow::Result<Outcome> {
    let site = Site::start(podman, image, case)?;
    let mut sum = Outcome::default();
    for (title, check) in CHECKS {
        interrupt.check()?;
        sum += Outcome::of_named_check(&format!("{}: {title}", case.title), &check(&site));
    }
    if sum.is_failure() {
        println!("the log of the container:\n{}", site.container.log()?);
    }
    Ok(sum)
}

impl<'p> Site<'p> {
    fn start(podman: &'p Podman, image: &str, case: &'p Case) -> anyhow::Result<Self> {
        let scratch = podman.scratch();
        let [served, local] = ["served", "local"].map(|name| scratch.join(name));
        for folder in [&served, &local] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            fs::create_dir(folder)?;
        }
        chown(&served, Some(USER), Some(USER))?;
        fs::create_dir_all(local.join("folder/deeper"))?;
        write(&local.join("large"), 1, BYTES)?;
        write(&local.join("folder/one"), 2, 4096)?;
        write(&local.join("folder/deeper/two"), 3, 100_001)?;
        let resolv = scratch.join("resolv.conf");
        fs::write(&resolv, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;

        let volume = match case.volume {
            Volume::Folder => served.display().to_string(),
            Volume::Named => String::from("ringftpd-data"),
        };
        let mut options = vec![
            format!("--volume={volume}:/srv/ftp"),
            format!("--volume={}:/etc/resolv.conf:ro", resolv.display()),
            format!("--env=RINGFTPD_PASSIVE_ADVERTISE={NAME}"),
        ];
        options.extend(
            ["RINGFTPD_ANONYMOUS_ACCESS=write", "RINGFTPD_PASSIVE_RESOLVE_EVERY_S=1"]
                .map(|variable| format!("--env={variable}")),
        );
        options.extend(
            case.profile.as_ref().map(|profile| format!("--security-opt=seccomp={}", profile.display())),
        );
        let container = Container::start(podman, image, &options)?;
        let site = Self { case, container, local };
        until("the server is ready", || Ok(site.container.log()?.contains("ready runtime=")))
            .with_context(|| site.container.log().unwrap_or_default())?;
        Ok(site)
    }

    /// curl in the folder of the clients.
    fn curl(&self, arguments: &[&str]) -> Command {
        let mut curl = self.container.client("curl");
        curl.current_dir(&self.local).args(["--disable", "--silent", "--show-error", "--fail"]);
        // In passive mode as the server wants it, with the address that it tells.
        curl.args(["--max-time", "120", "--no-ftp-skip-pasv-ip"]).args(arguments);
        curl
    }
}

/// That the container is what this step claims to try.
fn confined(site: &Site<'_>) -> anyhow::Result<()> {
    let status = site.container.proc("status")?;
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        value.trim().to_owned()
    };
    let user = USER.to_string();
    ensure!(field("Uid:").split_whitespace().all(|id| id == user), "it runs as {}", field("Uid:"));
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        ensure!(
            field(name).bytes().all(|digit| digit == b'0'),
            "it has capabilities: {name} {}",
            field(name)
        );
    }
    ensure!(field("NoNewPrivs:") == "1" && field("Seccomp:") == "2", "it is not filtered:\n{status}");
    let mounts = site.container.proc("mountinfo")?;
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).context("it has no root")?;
    let is_read_only =
        root.split(' ').nth(5).is_some_and(|options| options.split(',').any(|option| option == "ro"));
    ensure!(is_read_only, "its root can be written: {root}");
    Ok(())
}

fn logged(site: &Site<'_>) -> anyhow::Result<()> {
    let log = site.container.log()?;
    for words in site.case.logs {
        ensure!(log.contains(words), "the log has no \"{words}\"");
    }
    Ok(())
}

fn curl(site: &Site<'_>) -> anyhow::Result<()> {
    for (way, stored) in [("--ftp-pasv", "by-epsv"), ("--disable-epsv", "by-pasv")] {
        let url = format!("ftp://127.0.0.1:2121/{stored}");
        output(&mut site.curl(&[way, "--upload-file", "large", &url]))?;
        output(&mut site.curl(&[way, "--output", stored, &url]))?;
        same(&site.local.join("large"), &site.local.join(stored))?;
    }
    Ok(())
}

fn lftp(site: &Site<'_>) -> anyhow::Result<()> {
    let mut lftp = site.container.client("lftp");
    lftp.current_dir(&site.local).env("HOME", &site.local);
    lftp.args(["--norc", "-c"]).arg(
        "set net:max-retries 1; set net:timeout 60; set cmd:fail-exit true; open ftp://127.0.0.1:2121; \
         mirror -R folder stored; mirror stored fetched",
    );
    output(&mut lftp)?;
    for file in ["one", "deeper/two"] {
        same(&site.local.join("folder").join(file), &site.local.join("fetched").join(file))?;
    }
    Ok(())
}

/// The binary has to look names up although nothing is in the image that a C library could load for it.
fn advertised(site: &Site<'_>) -> anyhow::Result<()> {
    let told = format!("227 Entering Passive Mode ({},", ADDRESS.replace('.', ","));
    let _resolver = Resolver::start(&site.container)?;
    until(&format!("PASV answers {told}"), || {
        let mut curl = site.curl(&["--verbose", "--disable-epsv", "--list-only", "ftp://127.0.0.1:2121/"]);
        let ended = curl.output().context("cannot run nsenter")?;
        Ok(ended.status.success() && String::from_utf8_lossy(&ended.stderr).contains(&told))
    })
}

/// The last check: the container is gone after it. The client takes the rest of its file once the server drains.
fn drained(site: &Site<'_>) -> anyhow::Result<()> {
    let mut curl = site.curl(&["ftp://127.0.0.1:2121/by-epsv"]);
    let curl = curl.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = curl.spawn().context("cannot run nsenter")?;
    let mut output = client.stdout.take().context("standard output is piped")?;
    let mut fetched = vec![0; 1 << 20];
    let (stopped, rest) = thread::scope(|scope| {
        output.read_exact(&mut fetched)?;
        let stopping = scope.spawn(|| site.container.stop(PATIENCE.as_secs()));
        let draining = until("the log says that the server drains", || {
            Ok(site.container.log()?.contains("draining: received SIGTERM"))
        });
        let rest = draining.and_then(|()| Ok(output.read_to_end(&mut fetched)?));
        // A client that was not read to its end would wait for it.
        drop(output);
        anyhow::Ok((stopping.join(), rest))
    })?;
    let ended = client.wait_with_output()?;
    rest?;
    let stopped = stopped.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    ensure!(ended.status.success(), "curl: {}", String::from_utf8_lossy(&ended.stderr));
    fs::write(site.local.join("drained"), fetched)?;
    same(&site.local.join("large"), &site.local.join("drained"))?;
    ensure!(stopped == "exited 0", "the container {stopped}");
    Ok(())
}

/// Writes bytes that look random, others for each seed.
fn write(path: &Path, seed: u64, length: usize) -> anyhow::Result<()> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.to_be_bytes()[0]
    };
    let bytes: Vec<u8> = (0..length).map(|_| next()).collect();
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Compares two files by their hashes.
fn same(left: &Path, right: &Path) -> anyhow::Result<()> {
    let hash = |path: &Path| {
        let printed = output(Command::new("sha256sum").arg("--binary").arg(path))?;
        printed.split(' ').next().map(str::to_owned).context("sha256sum prints a hash")
    };
    ensure!(hash(left)? == hash(right)?, "{} and {} differ", left.display(), right.display());
    Ok(())
}
