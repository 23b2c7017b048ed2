//! A real Prometheus scrapes a real server under some load: every query of the dashboard and of the alerts finds a series.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use raw::waiting::until;
use raw::{Client, read_all};
use serde_json::Value;
use support::address::lone_address;
use support::http;
use support::program::Program;
use support::server::Server;
use support::tree;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

/// The configuration of `deploy/prometheus`, with another target and less patience.
fn write_configuration(folder: &Path, target: SocketAddr) {
    let shipped = fs::read_to_string(deploy("prometheus/prometheus.yml")).expect("prometheus.yml");
    assert!(shipped.contains("127.0.0.1:9121") && shipped.contains("interval: 15s"), "{shipped}");
    let own = shipped.replace("127.0.0.1:9121", &target.to_string()).replace("interval: 15s", "interval: 1s");
    fs::write(folder.join("prometheus.yml"), own).expect("written");
    fs::copy(deploy("prometheus/alerts.yml"), folder.join("alerts.yml")).expect("copied");
}

/// A running Prometheus. It is killed when dropped: what it has gathered is of no use afterwards.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    fn start(folder: &Path) -> Self {
        let address = lone_address();
        let log = fs::File::create(folder.join("log")).expect("a log");
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect(
                "prometheus is installed: apt-get install prometheus (or cargo xtask test, which does it)",
            );
        let mut prometheus = Self { child, address };
        until("prometheus is ready", || {
            let ended = prometheus.child.try_wait().expect("a child");
            assert_eq!(ended, None, "{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
            std::net::TcpStream::connect(address).is_ok() && prometheus.ask("/-/ready").0 == 200
        });
        prometheus
    }

    fn ask(&self, path: &str) -> (u16, String) {
        let answer =
            http::ask(self.address, &format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address));
        (answer.status, answer.body)
    }

    fn api(&self, path: &str) -> Value {
        let (status, body) = self.ask(&format!("/api/v1/{path}"));
        assert_eq!(status, 200, "{path}: {body}");
        let mut answer: Value = serde_json::from_str(&body).expect("an answer is JSON");
        assert_eq!(answer["status"], "success", "{path}: {body}");
        answer["data"].take()
    }

    /// The series that a query finds.
    fn query(&self, query: &str) -> Vec<Value> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.api(&format!("query?query={escaped}"));
        data["result"].as_array().expect("a list of series").clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().expect("prometheus runs");
        self.child.wait().expect("a child");
    }
}

/// What a server sees in a day: logins good and bad, transfers that end well, badly and in the middle, refusals.
fn load(server: &Server) {
    let mut client = Client::log_in(server.address());
    assert_eq!(client.fetches("RETR small").len(), 1000);
    assert_eq!(client.fetches("RETR large").len(), 8 << 20);
    client.fetches("LIST");
    client.stores("STOR new", &[3; 100_000]);
    client.is_refused("RETR nothing", 550);
    client.says("SPLORT", 500);
    // An active data connection, and one to where nobody listens.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its number").port();
    client.says(format!("PORT 127,0,0,1,{},{}", port >> 8, port & 255), 200);
    client.says("RETR small", 150);
    read_all(&mut listener.accept().expect("a connection").0);
    client.hears(226);
    drop(listener);
    client.says("PASV", 227);
    client.says("RETR small", 150);
    // Nobody comes within the second that is allowed.
    client.hears(425);
    let _data = client.opens_data();
    client.says("RETR large", 150);
    client.says("ABOR", 426);
    client.hears(226);
    let mut stranger = Client::connect_only(server.address(), Some(Ipv4Addr::new(127, 0, 0, 9).into()));
    stranger.hears(220);
    stranger.says("USER nobody", 331);
    stranger.says("PASS wrong", 530);
    stranger.quits();
    client.quits();
}

/// The queries of the dashboard, each with the panel that it is of.
fn dashboard() -> Vec<(String, String)> {
    let text = fs::read_to_string(deploy("grafana/ringftpd.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("the dashboard is JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("an expression");
            let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
            assert!(!query.contains('$'), "an unknown variable in {query}");
            queries.push((format!("panel {}", panel["title"]), query));
        }
    }
    queries
}

/// The expressions of the alerts as Prometheus has read them, without their thresholds.
fn alerts(prometheus: &Prometheus) -> Vec<(String, String)> {
    let groups = prometheus.api("rules");
    let rules =
        groups["groups"].as_array().expect("groups").iter().flat_map(|group| group["rules"].as_array());
    rules
        .flatten()
        .map(|rule| {
            assert_ne!(rule["health"], "err", "{rule}");
            let query = rule["query"].as_str().expect("an expression");
            let (left, threshold) = query.rsplit_once([' ']).expect("a threshold");
            let (left, comparison) = left.rsplit_once(' ').expect("a comparison");
            assert!([">", "<", "=="].contains(&comparison) && threshold.parse::<f64>().is_ok(), "{query}");
            (format!("alert {}", rule["name"]), left.to_owned())
        })
        .collect()
}

#[test]
fn every_query_of_dashboard_and_alerts_finds_a_series() {
    let scratch = tempfile::tempdir().expect("a directory");
    let [served, own] = ["served", "prometheus"].map(|name| scratch.path().join(name));
    for folder in [&served, &own] {
        fs::create_dir(folder).expect("a folder");
    }
    tree::write(&served, "small".as_ref(), &[1; 1000]);
    fs::File::create(served.join("large")).and_then(|file| file.set_len(8 << 20)).expect("a sparse file");
    let config = scratch.path().join("a.toml");
    fs::write(&config, "limits.login_failure_delay_s = 0\nlimits.download_rate_total = \"64 MB/s\"\n")
        .expect("written");
    let config = config.display().to_string();
    let arguments =
        ["--metrics", "127.0.0.1:0", "--anonymous", "write", "--data-timeout", "1", "--config", &config];
    let server = Server::start(&served, &arguments);

    write_configuration(&own, server.metrics());
    for arguments in [["check", "rules", "alerts.yml"], ["check", "config", "prometheus.yml"]] {
        Program::new("promtool", "prometheus", &own, &own).args(arguments).succeeds();
    }
    let prometheus = Prometheus::start(&own);
    load(&server);

    let mut wanted = dashboard();
    until("the alerts are read", || {
        prometheus.api("rules")["groups"].as_array().is_some_and(|all| !all.is_empty())
    });
    wanted.extend(alerts(&prometheus));
    assert!(wanted.len() > 60, "{} queries", wanted.len());
    // A rate needs two scrapes.
    let mut missing: BTreeSet<usize> = (0..wanted.len()).collect();
    until("every query finds a series", || {
        missing.retain(|&number| prometheus.query(&wanted[number].1).is_empty());
        if !missing.is_empty() {
            let first: Vec<_> = missing.iter().take(3).map(|&number| &wanted[number]).collect();
            eprintln!("no series yet: {first:?}");
        }
        missing.is_empty()
    });
    // What was scraped is what happened.
    let sum = |query: &str| {
        let series = prometheus.query(query);
        series[0]["value"][1].as_str().and_then(|value| value.parse::<f64>().ok()).expect("a number")
    };
    let complete = "sum(ringftpd_transfers_total{outcome=\"complete\",direction!=\"listing\"})";
    until("the last scrape has it all", || (sum(complete) - 4.0).abs() < 0.1);
    for (query, value) in [
        ("sum(ringftpd_transfers_total{outcome=\"aborted\"})", 1.0),
        ("sum(ringftpd_transfers_total{outcome=\"failed\"})", 1.0),
        ("sum(ringftpd_transfers_total{outcome=\"refused\"})", 1.0),
        ("sum(ringftpd_data_connections_total{mode=\"active\",outcome=\"established\"})", 1.0),
        ("sum(ringftpd_data_connections_total{outcome=\"too_late\"})", 1.0),
        ("sum(ringftpd_logins_total{outcome=\"refused\"})", 1.0),
        ("up{job=\"ringftpd\"}", 1.0),
    ] {
        assert!((sum(query) - value).abs() < 0.1, "{query}: {}", sum(query));
    }
}
