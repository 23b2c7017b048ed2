//! The servers that are compared, and how each is started: in the foreground, for anonymous clients, over the same
//! directory.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::unistd::Pid;

use super::cgroup::Cgroup;
use super::site::Site;
use crate::debian::{library_path, unpack};
use crate::shell;

/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(20);

/// What a server is to the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Ours.
    Own,
    /// The kernel's own cost of the same packets.
    Roofline,
    /// Somebody else's FTP server.
    Peer,
    /// A web server, for bulk.
    Web,
}

/// A server that can be compared.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    /// Makes what it needs, and says how it is started and of which version it is.
    prepare: fn(&Place<'_>) -> anyhow::Result<Start>,
}

/// Where a server is started.
struct Place<'a> {
    site: &'a Site,
    own: PathBuf,
    port: u16,
    cache: PathBuf,
    binaries: PathBuf,
}

/// How a server is started.
struct Start {
    command: Command,
    version: String,
}

/// Ours first, then the roofline, then the others.
pub(crate) const SERVERS: [Server; 8] = [
    Server { name: "ringftpd", part: Part::Own, prepare: ringftpd },
    Server { name: "roofline", part: Part::Roofline, prepare: roofline },
    Server { name: "vsftpd", part: Part::Peer, prepare: vsftpd },
    Server { name: "ProFTPD", part: Part::Peer, prepare: proftpd },
    Server { name: "Pure-FTPd", part: Part::Peer, prepare: pure_ftpd },
    Server { name: "pyftpdlib", part: Part::Peer, prepare: pyftpdlib },
    Server { name: "unFTP", part: Part::Peer, prepare: unftp },
    Server { name: "nginx", part: Part::Web, prepare: nginx },
];

/// A server that runs, on its core and in its control group. Dropped, it is ended with all that it forked.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    /// Its place among the servers.
    pub(crate) number: usize,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    pub(crate) cgroup: Cgroup,
    child: Child,
}

impl Running {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What it forked ends with its control group.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Fetches it, if it is not there yet.
    ///
    /// # Errors
    ///
    /// If it cannot be had.
    pub(crate) fn fetch(&self, site: &Site) -> anyhow::Result<()> {
        let place = self.place(site, "fetched")?;
        (self.prepare)(&place).map(drop)
    }

    fn place<'a>(&self, site: &'a Site, group: &str) -> anyhow::Result<Place<'a>> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let target = program.ancestors().nth(2).unwrap_or(Path::new("target"));
        let own = site.own(&format!("{}-{group}", self.name))?;
        let cache = target.join("other-servers");
        fs::create_dir_all(&cache)?;
        Ok(Place { site, own, port: free_port()?, cache, binaries: target.join("release") })
    }

    /// Starts it on `core`, in a control group named after `group` and it.
    ///
    /// # Errors
    ///
    /// If it cannot be had, or does not listen; with what it said.
    pub(crate) fn start(&self, site: &Site, core: usize, group: &str) -> anyhow::Result<Running> {
        let place = self.place(site, group)?;
        let (own, port) = (place.own.clone(), place.port);
        let start = (self.prepare)(&place)?;
        let cgroup = Cgroup::create(&format!("{group}-{}", self.name.to_lowercase()))?;
        let log = own.join("log");
        let mut command = within(&start.command, &cgroup, core);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().context("cannot run sh")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let number = SERVERS.iter().position(|server| server.name == self.name).unwrap_or_default();
        let (name, part, version) = (self.name, self.part, start.version);
        let mut running = Running { name, part, number, version, address, cgroup, child };
        running.wait_until_it_listens().with_context(|| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            format!("it said: {}", said.trim().lines().next_back().unwrap_or("nothing"))
        })?;
        Ok(running)
    }
}

impl Running {
    fn wait_until_it_listens(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at its start: {status}");
            }
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("it does not listen after {} s", START_MAX.as_secs())
    }
}

/// The same command, in a control group from its first moment, and on one core.
fn within(command: &Command, cgroup: &Cgroup, core: usize) -> Command {
    let mut wrapped = Command::new("sh");
    wrapped.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec taskset -c \"$@\""]);
    wrapped.arg(cgroup.folder()).arg(core.to_string());
    wrapped.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    wrapped
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn ringftpd(place: &Place<'_>) -> anyhow::Result<Start> {
    let mut command = Command::new(place.binaries.join("ringftpd"));
    command.arg("serve").arg(place.site.root()).args(["--anonymous", "write", "--log-level", "warn"]);
    command.args(["--workers", "1", "--listen", &format!("127.0.0.1:{}", place.port)]);
    Ok(Start { command, version: env!("CARGO_PKG_VERSION").to_owned() })
}

fn roofline(place: &Place<'_>) -> anyhow::Result<Start> {
    let mut command = Command::new(place.binaries.join("roofline"));
    command.arg(format!("127.0.0.1:{}", place.port));
    Ok(Start { command, version: String::from("canned replies") })
}

fn vsftpd(place: &Place<'_>) -> anyhow::Result<Start> {
    let unpacked = unpack("vsftpd", &["vsftpd", "libwrap0"], "usr/sbin/vsftpd", &place.cache)?;
    let empty = place.own.join("empty");
    fs::create_dir_all(&empty)?;
    let configuration = place.own.join("vsftpd.conf");
    // It wants a user whose home is there.
    let text = format!(
        "listen=YES\nlisten_address=127.0.0.1\nlisten_port={}\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\n\
         write_enable=YES\nanon_upload_enable=YES\nanon_other_write_enable=YES\nanon_world_readable_only=NO\nanon_umask=022\n\
         anon_root={}\nftp_username=bin\nnopriv_user=nobody\nsecure_chroot_dir={}\nseccomp_sandbox=NO\nisolate_network=NO\n\
         connect_from_port_20=NO\nmax_clients=0\nmax_per_ip=0\nxferlog_enable=NO\n",
        place.port,
        place.site.root().display(),
        empty.display()
    );
    fs::write(&configuration, text)?;
    let mut command = Command::new(unpacked.join("usr/sbin/vsftpd"));
    command.arg(configuration).env("LD_LIBRARY_PATH", library_path(&unpacked)?);
    Ok(Start { command, version: version_of(&unpacked, "vsftpd") })
}

fn proftpd(place: &Place<'_>) -> anyhow::Result<Start> {
    let packages = [
        "proftpd-core",
        "libhiredis0.14",
        "libmemcached11",
        "libmemcachedutil2",
        "libhashkit2",
        "libpcre2-posix3",
    ];
    let unpacked = unpack("proftpd", &packages, "usr/sbin/proftpd", &place.cache)?;
    let configuration = place.own.join("proftpd.conf");
    let text = format!(
        "ServerName compared\nServerType standalone\nDefaultServer on\nDefaultAddress 127.0.0.1\nSocketBindTight on\n\
         Port {}\nUseIPv6 off\nUser nobody\nGroup nogroup\nMaxInstances none\nPidFile {}/proftpd.pid\nScoreboardFile none\n\
         SystemLog none\nTransferLog none\nWtmpLog off\nUseReverseDNS off\nDelayEngine off\nAuthOrder mod_auth_unix.c\n\
         <Anonymous {}>\nUser nobody\nGroup nogroup\nUserAlias anonymous nobody\nRequireValidShell off\nUseFtpUsers off\nAllowOverwrite on\n\
         </Anonymous>\n",
        place.port,
        place.own.display(),
        place.site.root().display()
    );
    fs::write(&configuration, text)?;
    let mut command = Command::new(unpacked.join("usr/sbin/proftpd"));
    command.args(["--nodaemon", "--config"]).arg(configuration);
    command.env("LD_LIBRARY_PATH", library_path(&unpacked)?);
    Ok(Start { command, version: version_of(&unpacked, "proftpd-core") })
}

/// It serves the home of the user `ftp`: it is shown a list of users in which there is one, by a mount of its own.
fn pure_ftpd(place: &Place<'_>) -> anyhow::Result<Start> {
    let unpacked = unpack("pure-ftpd", &["pure-ftpd"], "usr/sbin/pure-ftpd", &place.cache)?;
    let users = fs::read_to_string("/etc/passwd")?;
    let users: String =
        users.lines().filter(|line| !line.starts_with("ftp:")).map(|line| format!("{line}\n")).collect();
    let passwd = place.own.join("passwd");
    fs::write(&passwd, format!("{users}ftp:x:65534:65534::{}:/bin/false\n", place.site.root().display()))?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/passwd && exec \"$@\""]).arg(passwd);
    command
        .arg(unpacked.join("usr/sbin/pure-ftpd"))
        .args(["-4", "-e", "-H", "-A", "-c", "4000", "-C", "4000"]);
    command.args(["-S", &format!("127.0.0.1,{}", place.port)]);
    command.env("LD_LIBRARY_PATH", library_path(&unpacked)?);
    Ok(Start { command, version: version_of(&unpacked, "pure-ftpd") })
}

/// A server of a few lines, as its documentation shows them; its own start from the command line serves 512 clients.
const PYFTPDLIB: &str = "\
import logging, sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

logging.basicConfig(level=logging.ERROR)
FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_anonymous(sys.argv[1], perm='elradfmwMT')
server = FTPServer(('127.0.0.1', int(sys.argv[2])), FTPHandler, backlog=4096)
server.max_cons = 0
server.serve_forever()
";

fn pyftpdlib(place: &Place<'_>) -> anyhow::Result<Start> {
    const MODULES: &str = "usr/lib/python3/dist-packages";
    let unpacked = unpack("pyftpdlib", &["python3-pyftpdlib"], MODULES, &place.cache)?;
    let script = place.own.join("serve.py");
    fs::write(&script, PYFTPDLIB)?;
    // Debian's own, which the package is made for.
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-W").arg("ignore").arg(script).arg(place.site.root()).arg(place.port.to_string());
    command.env("PYTHONPATH", unpacked.join(MODULES));
    Ok(Start { command, version: version_of(&unpacked, "python3-pyftpdlib") })
}

/// Compiled into the project's own folder; that takes a quarter of an hour the first time.
fn unftp(place: &Place<'_>) -> anyhow::Result<Start> {
    const VERSION: &str = "0.16.0";
    let folder = place.cache.join("unftp");
    let program = folder.join("bin/unftp");
    if !program.exists() {
        eprintln!("unFTP is missing: compiling it, which takes a quarter of an hour");
        let mut install =
            shell::cargo(["install", "unftp", "--version", VERSION, "--locked", "--no-default-features"]);
        ensure!(shell::succeeds(install.arg("--root").arg(&folder))?, "it does not compile");
    }
    let mut command = Command::new(program);
    command.arg("--root-dir").arg(place.site.root()).args(["--auth-type", "anonymous"]);
    command.args(["--bind-address", &format!("127.0.0.1:{}", place.port), "--passive-ports", "50000-59999"]);
    Ok(Start { command, version: VERSION.to_owned() })
}

fn nginx(place: &Place<'_>) -> anyhow::Result<Start> {
    let unpacked = unpack("nginx", &["nginx"], "usr/sbin/nginx", &place.cache)?;
    let configuration = place.own.join("nginx.conf");
    let own = place.own.display();
    let text = format!(
        "daemon off;\nworker_processes 1;\nuser nobody nogroup;\npid {own}/nginx.pid;\nerror_log {own}/error.log;\n\
         events {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\nsendfile on;\nclient_body_temp_path {own}/body;\n\
         proxy_temp_path {own}/proxy;\nfastcgi_temp_path {own}/fastcgi;\nuwsgi_temp_path {own}/uwsgi;\n\
         scgi_temp_path {own}/scgi;\nserver {{ listen 127.0.0.1:{}; root {}; }}\n}}\n",
        place.port,
        place.site.root().display()
    );
    fs::write(&configuration, text)?;
    let mut command = Command::new(unpacked.join("usr/sbin/nginx"));
    command.arg("-p").arg(&place.own).arg("-c").arg(configuration);
    command.env("LD_LIBRARY_PATH", library_path(&unpacked)?);
    Ok(Start { command, version: version_of(&unpacked, "nginx") })
}

/// The version that the fetched package has in its name.
fn version_of(unpacked: &Path, package: &str) -> String {
    let names = fs::read_dir(unpacked).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let version = names.filter_map(|name| {
        let name = name.to_string_lossy().into_owned();
        let rest = name.strip_prefix(&format!("{package}_"))?;
        Some(rest.split('_').next()?.replace("%3a", ":"))
    });
    version.last().unwrap_or_else(|| String::from("?"))
}
