//! The page of metrics: what is counted, that it is counted once, and that nobody can hold the page up.
#![forbid(unsafe_code)]

mod raw;
mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;

use raw::waiting::until;
use raw::{Client, read_all};
use support::http;
use support::page::{Family, Page};
use support::server::Server;
use support::tree;
use tempfile::TempDir;

fn served() -> TempDir {
    let scratch = tempfile::tempdir().expect("a directory");
    tree::write(scratch.path(), "file".as_ref(), &[7; 1000]);
    scratch
}

fn start(directory: &Path, more: &[&str]) -> Server {
    let metrics = ["--metrics", "127.0.0.1:0", "--anonymous", "write"];
    Server::start(directory, &[&metrics, more].concat())
}

#[test]
fn a_session_is_counted_command_by_command() {
    let served = served();
    let server = start(served.path(), &["--workers", "1"]);
    let mut client = Client::log_in(server.address());
    assert_eq!(client.fetches("RETR file").len(), 1000);
    client.stores("STOR new", &[1; 2500]);
    client.fetches("NLST");
    client.is_refused("RETR nothing", 550);
    client.says("NOOP", 200);
    client.says("SPLORT", 500);
    client.says("SIZE", 501);
    client.says("RNFR new", 350);
    client.quits();
    // The client hears the end before the server has counted it.
    until("the last reply is counted", || {
        Page::of(server.metrics()).value("ringftpd_reply_latency_seconds_count") > 15.5
    });

    let page = Page::of(server.metrics());
    let command =
        |verb, class| page.value(&format!("ringftpd_commands_total{{verb=\"{verb}\",class=\"{class}\"}}"));
    for (verb, class, count) in [
        ("USER", "3xx", 1.0),
        ("PASS", "2xx", 1.0),
        ("PASV", "2xx", 4.0),
        ("RETR", "2xx", 1.0),
        ("RETR", "5xx", 1.0),
        ("STOR", "2xx", 1.0),
        ("NLST", "2xx", 1.0),
        ("NOOP", "2xx", 1.0),
        ("other", "5xx", 1.0),
        ("SIZE", "5xx", 1.0),
        ("RNFR", "3xx", 1.0),
        ("QUIT", "2xx", 1.0),
    ] {
        assert!((command(verb, class) - count).abs() < 0.1, "{verb} {class}: {}", command(verb, class));
    }
    // TYPE is the fifteenth.
    assert!((page.sum("ringftpd_commands_total") - 16.0).abs() < 0.1);
    assert!((page.value("ringftpd_reply_latency_seconds_count") - 16.0).abs() < 0.1);
    for (series, value) in [
        ("ringftpd_transferred_bytes_total{direction=\"download\"}", 1000.0),
        ("ringftpd_transferred_bytes_total{direction=\"upload\"}", 2500.0),
        ("ringftpd_data_connections_total{mode=\"passive\",outcome=\"established\"}", 3.0),
        ("ringftpd_passive_leases_total", 4.0),
        ("ringftpd_passive_wait_seconds_count", 3.0),
        ("ringftpd_logins_total{outcome=\"anonymous\"}", 1.0),
        ("ringftpd_sessions_started_total", 1.0),
        ("ringftpd_sessions_ended_total{end=\"closed\"}", 1.0),
        ("ringftpd_sessions_open", 0.0),
        ("ringftpd_passive_ports", 16.0),
        ("ringftpd_ready", 1.0),
    ] {
        assert!((page.value(series) - value).abs() < 0.1, "{series}: {}", page.value(series));
    }
    for (direction, outcome, count) in [
        ("download", "complete", 1.0),
        ("download", "refused", 1.0),
        ("upload", "complete", 1.0),
        ("listing", "complete", 1.0),
    ] {
        let counted = page.transfers(direction, outcome);
        assert!((counted - count).abs() < 0.1, "{direction} {outcome}: {counted}");
    }
    assert!((page.sum("ringftpd_transfers_total") - 4.0).abs() < 0.1);
    assert!(page.sum("ringftpd_worker_sleeps_total") > 0.0);
    assert!(page.sum("ringftpd_blocking_jobs_total") > 0.0, "an upload is published on another thread");
    assert!(page.value("process_open_fds") > 3.0 && page.value("process_max_fds") > 3.0);
}

#[test]
fn what_runs_is_told_while_it_runs() {
    /// More than the buffers of both sides of a connection hold.
    const BYTES: u64 = 64 << 20;
    let served = served();
    fs::File::create(served.path().join("large"))
        .and_then(|file| file.set_len(BYTES))
        .expect("a sparse file");
    let server = start(served.path(), &[]);
    let running = "ringftpd_transfers_running{direction=\"download\"}";
    let bytes = "ringftpd_transferred_bytes_total{direction=\"download\"}";
    let mut client = Client::log_in(server.address());
    let mut data = client.opens_data();
    client.says("RETR large", 150);
    until("bytes of a transfer are counted while it runs", || {
        let page = Page::of(server.metrics());
        page.value(bytes) > 0.0 && page.value(running) > 0.9
    });
    assert!(Page::of(server.metrics()).value("ringftpd_sessions_open") > 0.9);
    assert_eq!(read_all(&mut data).len() as u64, BYTES);
    client.hears(226);

    let aborted = client.opens_data();
    client.says("RETR large", 150);
    client.says("ABOR", 426);
    client.hears(226);
    drop(aborted);
    let lost = client.opens_data();
    client.says("RETR large", 150);
    client.resets();
    until("both are counted as aborted", || {
        let page = Page::of(server.metrics());
        page.transfers("download", "aborted") > 1.9
            && page.value("ringftpd_sessions_ended_total{end=\"lost\"}") > 0.9
            && page.value(running) < 0.1
    });
    drop(lost);
}

#[test]
fn whoever_is_turned_away_is_counted_by_the_reason() {
    let served = served();
    let config = served.path().join("a.toml");
    fs::write(&config, "limits.sessions_per_address_max = 1\nlimits.login_failure_delay_s = 0\n")
        .expect("a file");
    let config = config.display().to_string();
    let server = start(served.path(), &["--config", &config]);
    let first = Client::connect(server.address());
    Client::connect_only(server.address(), None).hears(421);
    let mut guest = Client::connect_only(server.address(), Some(Ipv4Addr::new(127, 0, 0, 2).into()));
    guest.hears(220);
    guest.says("USER nobody", 331);
    guest.says("PASS wrong", 530);
    let page = Page::of(server.metrics());
    assert!((page.value("ringftpd_sessions_refused_total{reason=\"address\"}") - 1.0).abs() < 0.1);
    assert!((page.value("ringftpd_logins_total{outcome=\"refused\"}") - 1.0).abs() < 0.1);
    first.quits();
}

#[test]
fn a_scraper_gets_the_form_that_it_asks_for() {
    let served = served();
    let server = start(served.path(), &[]);
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let answer =
        http::ask(server.metrics(), &format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}\r\n\r\n"));
    assert!(
        answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"),
        "{}",
        answer.head
    );
    assert!(answer.body.ends_with("# EOF\n"));
    assert!(answer.body.contains("# TYPE ringftpd_sessions_started counter\n"), "{}", answer.body);
}

/// As many connections as are served at once ask nothing: whoever asks is answered, and not after them.
#[test]
fn connections_that_ask_nothing_hold_nothing_up() {
    let served = served();
    let server = start(served.path(), &[]);
    let descriptors = server.descriptors();
    let mut silent: Vec<TcpStream> =
        (0..32).map(|_| TcpStream::connect(server.metrics()).expect("a connection")).collect();
    // One that never comes to the end of its question.
    silent[0].write_all(b"GET /metrics HTTP/1.1\r\n").expect("taken");
    until("all places are taken", || server.descriptors() >= descriptors + 32);
    assert_eq!(http::get(server.metrics(), "/health/live").status, 200);
    let last = silent.last().expect("there are some");
    last.set_nonblocking(true).expect("a socket option");
    let heard = last.peek(&mut [0]).expect_err("neither an answer nor the end");
    assert_eq!(heard.kind(), std::io::ErrorKind::WouldBlock);
    until("they are closed", || server.descriptors() < descriptors + 32);
    Client::log_in(server.address()).quits();
}

/// Set to anything, the page is written anew.
const UPDATE: &str = "UPDATE_DOCS";
const BEGIN: &str = "<!-- begin: made by UPDATE_DOCS=1 cargo test -p ringftpd --test metrics -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_documentation_lists_every_metric() {
    let served = served();
    let server = start(served.path(), &["--workers", "2"]);
    let mut table = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for family in Page::of(server.metrics()).families {
        let Family { name, kind, help, .. } = &family;
        writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels(&family)).expect("a string grows");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let stands = fs::read_to_string(&path).expect("docs/metrics.md");
    let (before, rest) = stands.split_once(BEGIN).expect("the beginning of the table");
    let (_, after) = rest.split_once(END).expect("the end of the table");
    let wanted = format!("{before}{BEGIN}\n{table}\n{END}{after}");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, &wanted).expect("written");
        return;
    }
    assert!(
        stands == wanted,
        "docs/metrics.md is out of date: run {UPDATE}=1 cargo test -p ringftpd --test metrics"
    );
}

/// The labels of a family, with their values where these say something.
fn labels(family: &Family) -> String {
    let shown =
        family.labels.iter().filter(|(label, _)| label != "le").map(|(label, values)| match label.as_str() {
            "worker" | "version" | "verb" => format!("`{label}`"),
            "runtime" => String::from("`runtime`: `io_uring` or `epoll`"),
            _ => format!("`{label}`: `{}`", values.join("`, `")),
        });
    shown.collect::<Vec<_>>().join("; ")
}
