//! One run of the load against one server.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use super::servers::Running;

/// What a run found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) units: f64,
    /// None where the load is another one, whose rate says nothing beside the load tester's.
    pub(crate) rate: Option<f64>,
    /// Of a storm: how many transfers a second there were once all sessions were ready.
    pub(crate) storm_rate: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// The 99th percentile of the reply to PASV or EPSV.
    pub(crate) passive_p99_us: Option<f64>,
    pub(crate) processor_us: Option<f64>,
    pub(crate) processor_s_per_gib: Option<f64>,
    pub(crate) memory_bytes: Option<f64>,
    pub(crate) errors: f64,
    /// What the first error said.
    pub(crate) complaint: Option<String>,
    /// Why it ended before its time, if it did.
    pub(crate) ended_early: Option<String>,
    /// Why rates and latencies are the load's as much as the server's, if they are, as the load tester itself says.
    pub(crate) doubts: Vec<String>,
}

/// Where the load comes from, and how long it is measured.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) loadtest: &'a Path,
    pub(crate) core: usize,
    pub(crate) duration_ms: u64,
    pub(crate) scratch: &'a Path,
}

/// These are measured from their beginning.
const WITHOUT_WARMUP: [&str; 3] = ["pasv", "connect-back", "idle"];

impl Load<'_> {
    /// Runs a scenario of the load tester against `server`.
    ///
    /// # Errors
    ///
    /// If it cannot begin; what it said is the error.
    pub(crate) fn run(
        &self,
        server: &Running,
        scenario: &str,
        path: &str,
        more: &[&str],
    ) -> anyhow::Result<Figures> {
        let json = self.scratch.join("report.json");
        let _ = fs::remove_file(&json);
        let mut command = Command::new("taskset");
        command.arg("-c").arg(self.core.to_string()).arg(self.loadtest).arg(scenario);
        command.arg("--target").arg(format!("ftp://{}/{path}", server.address));
        command.args(["--duration", &format!("{}ms", self.duration_ms), "--seed", "1"]);
        if !WITHOUT_WARMUP.contains(&scenario) {
            command.args(["--warmup", "500ms"]);
        }
        command.args(["--timeout", "10s", "--server-pid", &server.pid().to_string()]);
        command.arg("--server-cgroup").arg(server.cgroup.folder()).arg("--json").arg(&json).args(more);
        let output = command.output().context("cannot run taskset")?;
        let Ok(text) = fs::read_to_string(&json) else {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("loadtest: "));
        };
        Ok(figures(&serde_json::from_str(&text).context("the load tester's report cannot be read")?))
    }

    /// Fetches the big file by HTTP, over and over on as many connections, and measures the server.
    ///
    /// # Errors
    ///
    /// If it cannot be fetched.
    pub(crate) fn run_http(&self, server: &Running, connections: usize) -> anyhow::Result<Figures> {
        let before = server.cgroup.processor_time()?;
        let end = Instant::now() + Duration::from_millis(self.duration_ms);
        let fetched: Vec<anyhow::Result<u64>> = thread::scope(|scope| {
            let fetch = || {
                pin_to(self.core)?;
                fetch_until(server.address, end)
            };
            let clients: Vec<_> = (0..connections).map(|_| scope.spawn(fetch)).collect();
            clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|_| bail!("a client panicked")))
                .collect()
        });
        let spent = server.cgroup.processor_time()?.saturating_sub(before);
        let files = fetched.into_iter().sum::<anyhow::Result<u64>>()?;
        ensure!(files > 0, "not one file was fetched in the time");
        #[expect(clippy::cast_precision_loss, reason = "a count of files")]
        let units = files as f64;
        #[expect(clippy::cast_precision_loss, reason = "a file of some MiB")]
        let gib = units * super::site::BIG_BYTES as f64 / GIB;
        Ok(Figures {
            units,
            processor_us: Some(spent.as_secs_f64() * 1e6 / units),
            processor_s_per_gib: Some(spent.as_secs_f64() / gib),
            ..Figures::default()
        })
    }
}

/// Of fewer latencies, the highest or the second highest would be the 99th percentile.
const LATENCIES_FOR_P99: f64 = 500.0;

const GIB: f64 = 1_073_741_824.0;

fn figures(report: &Value) -> Figures {
    let latency = |step: &str, which: &str| {
        let latencies = report["latencies"].as_array()?;
        latencies.iter().find(|latency| latency["step"] == step)?[which].as_f64()
    };
    let errors = report["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let complaint = errors.first().map(|error| {
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {}", text("step"), text("example"))
    });
    let doubts = report["tester"]["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    Figures {
        units: report["units"].as_f64().unwrap_or_default(),
        rate: report["units_per_s"].as_f64(),
        storm_rate: report["storms"]["units_per_s"].as_f64(),
        p50_us: latency("unit", "p50_us"),
        p99_us: latency("unit", "p99_us").filter(|_| {
            let count = latency("unit", "count").unwrap_or_default();
            count >= LATENCIES_FOR_P99
        }),
        passive_p99_us: latency("passive", "p99_us"),
        processor_us: report["server"]["processor_us_per_unit"].as_f64(),
        processor_s_per_gib: report["server"]["processor_s_per_gib"].as_f64(),
        memory_bytes: report["server"]["memory_bytes_per_session"].as_f64(),
        errors: errors.iter().filter_map(|error| error["count"].as_f64()).fold(0.0, |sum, count| sum + count),
        complaint,
        ended_early: report["ended_early"].as_str().map(ToOwned::to_owned),
        doubts: doubts.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
    }
}

/// Keeps the calling thread on a core.
fn pin_to(core: usize) -> anyhow::Result<()> {
    let mut mask = CpuSet::new();
    mask.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &mask)?)
}

/// Fetches the big file until it is time; how often it was whole.
fn fetch_until(address: SocketAddr, end: Instant) -> anyhow::Result<u64> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut count = 0;
    while Instant::now() < end {
        writer.write_all(b"GET /big.bin HTTP/1.1\r\nHost: compared\r\n\r\n")?;
        let mut left = content_length(&mut reader)?;
        let mut buffer = vec![0; 256 << 10];
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let length = reader.read(&mut buffer[..size])?;
            ensure!(length > 0, "the answer ended too early");
            left -= length as u64;
        }
        count += 1;
    }
    Ok(count)
}

fn content_length(reader: &mut impl std::io::BufRead) -> anyhow::Result<u64> {
    let mut length = None;
    for (number, line) in reader.lines().enumerate() {
        let line = line?;
        ensure!(number > 0 || line.contains(" 200 "), "the web server says: {line}");
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    length.context("the answer has no length")
}
