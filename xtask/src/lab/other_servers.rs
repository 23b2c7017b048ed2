//! Other people's servers, unpacked from Debian's packages without being installed: as packages they exclude each other.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, bail};

use crate::debian::{library_path, unpack};
use crate::lab::PATIENCE;
use crate::lab::namespace::Namespace;
use crate::lab::plan::{CONTROL_PORTS, PEER};

/// A server, and how it is made to serve a directory to anonymous clients, and to take part in transfers between servers.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Its package, and those of the libraries that few machines have.
    packages: &'static [&'static str],
    /// The program, where the packages are unpacked.
    path: &'static str,
    /// Its configuration, with `ROOT` for the directory to serve and `SCRATCH` for one of its own.
    configuration: &'static str,
    /// How it is told to take `CONFIGURATION` and to stay in the foreground.
    arguments: &'static [&'static str],
}

/// vsftpd, which calls this "promiscuous". It wants a user whose home is there, and is not writable.
pub(crate) const VSFTPD: Program = Program {
    name: "vsftpd",
    packages: &["vsftpd", "libwrap0"],
    path: "usr/sbin/vsftpd",
    configuration: "listen=YES\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nwrite_enable=YES\n\
        anon_upload_enable=YES\nanon_world_readable_only=NO\nanon_root=ROOT\nftp_username=bin\nnopriv_user=nobody\n\
        secure_chroot_dir=SCRATCH\npasv_promiscuous=YES\nport_promiscuous=YES\nseccomp_sandbox=NO\nisolate_network=NO\n",
    arguments: &["CONFIGURATION"],
};

/// ProFTPD.
pub(crate) const PROFTPD: Program = Program {
    name: "proftpd",
    packages: &[
        "proftpd-core",
        "libhiredis0.14",
        "libmemcached11",
        "libmemcachedutil2",
        "libhashkit2",
        "libpcre2-posix3",
    ],
    path: "usr/sbin/proftpd",
    configuration: "ServerName lab\nServerType standalone\nDefaultServer on\nPort 21\nUseIPv6 off\nUser nobody\nGroup nogroup\n\
        PidFile SCRATCH/proftpd.pid\nScoreboardFile none\nSystemLog none\nTransferLog none\nWtmpLog off\nUseReverseDNS off\n\
        DelayEngine off\nAllowForeignAddress on\nAuthOrder mod_auth_unix.c\n\
        <Anonymous ROOT>\nUser nobody\nGroup nogroup\nUserAlias anonymous nobody\nRequireValidShell off\nUseFtpUsers off\n</Anonymous>\n",
    arguments: &["--nodaemon", "--config", "CONFIGURATION"],
};

/// One that runs. Dropped, it is ended with its children.
#[derive(Debug)]
pub(crate) struct OtherServer {
    child: Child,
}

impl OtherServer {
    /// Starts it on port 21 of the machine `peer`.
    pub(crate) fn start(
        program: &Program,
        machine: &Namespace,
        cache: &Path,
        scratch: &Path,
        root: &Path,
    ) -> anyhow::Result<Self> {
        let unpacked = unpack(program.name, program.packages, program.path, cache)?;
        let own = scratch.join(format!("{}-own", program.name));
        fs::create_dir_all(&own)?;
        let configuration = scratch.join(format!("{}.conf", program.name));
        let (root, own) = (root.to_string_lossy(), own.to_string_lossy());
        fs::write(&configuration, program.configuration.replace("ROOT", &root).replace("SCRATCH", &own))?;
        let configuration = configuration.to_string_lossy();
        let mut command = machine.command(unpacked.join(program.path));
        command
            .args(program.arguments.iter().map(|argument| argument.replace("CONFIGURATION", &configuration)));
        command.env("LD_LIBRARY_PATH", library_path(&unpacked)?).stdin(Stdio::null());
        let log = scratch.join(format!("{}.log", program.name));
        command.stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().context("cannot run ip")?;
        let mut server = Self { child };
        server.wait_until_it_listens(machine).with_context(|| {
            format!("{}, which said:\n{}", program.name, fs::read_to_string(log).unwrap_or_default())
        })?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self, machine: &Namespace) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once: {status}");
            }
            if machine.within(|| TcpStream::connect((PEER, CONTROL_PORTS[0])))?.is_ok() {
                return Ok(());
            }
            thread::yield_now();
        }
        bail!("it does not listen")
    }
}

impl Drop for OtherServer {
    fn drop(&mut self) {
        // It may have ended by itself. Its children end with the connections that they serve.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
