//! Runs that somebody ends, and results that have nowhere to go.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use support::descriptors;
use support::fake::{self, Faults};

/// More than a server without sessions has open.
const SESSIONS: usize = 100;

/// A long run against a server of its own, once all its sessions are there.
struct LongRun {
    process: Child,
    server: Pid,
    scratch: tempfile::TempDir,
}

impl LongRun {
    fn start(scenario: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let sessions = SESSIONS.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args([scenario, "--sessions", &sessions, "--duration", "600s"]);
        command.arg("--json").arg(scratch.path().join("report.json")).env("TMPDIR", scratch.path());
        // As a shell starts it, so that the signal may go to the whole group.
        let mut process =
            command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let server = loop {
            if let Some(server) = child_of(process.id()).filter(|&server| descriptors(server) >= SESSIONS) {
                break server;
            }
            assert!(process.try_wait().unwrap().is_none(), "{scenario} ended by itself");
            std::thread::yield_now();
        };
        Self { process, server, scratch }
    }

    fn ends_by(self, signal: Signal) -> (Output, Value) {
        let group = Pid::from_raw(-i32::try_from(self.process.id()).unwrap());
        kill(group, signal).unwrap();
        let output = self.process.wait_with_output().unwrap();
        assert_eq!(kill(self.server, None), Err(Errno::ESRCH), "its server is still there");
        let report = fs::read(self.scratch.path().join("report.json")).unwrap();
        let left: Vec<_> =
            fs::read_dir(self.scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [self.scratch.path().join("report.json")], "its directory is still there");
        (output, serde_json::from_slice(&report).unwrap())
    }
}

fn child_of(pid: u32) -> Option<Pid> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let children = threads.filter_map(|thread| of_thread(thread.ok()?)).collect::<String>();
    children.split_whitespace().next().map(|child| Pid::from_raw(child.parse().unwrap()))
}

#[test]
fn a_run_that_is_interrupted_tells_what_was_measured_and_leaves_nothing() {
    for (scenario, signal) in [
        ("noop", Signal::SIGINT),
        ("noop", Signal::SIGTERM),
        ("pasv", Signal::SIGINT),
        ("idle", Signal::SIGHUP),
    ] {
        let (output, report) = LongRun::start(scenario).ends_by(signal);
        assert_eq!(output.status.code(), Some(1), "{scenario}: {output:?}");
        let text = support::stdout(&output);
        assert!(text.contains("ENDED EARLY: interrupted"), "{scenario}: {text}");
        assert!(output.stderr.is_empty(), "{scenario}: {output:?}");
        assert_eq!(report["ended_early"], "interrupted", "{scenario}");
        assert!(report["measured_s"].as_f64().unwrap() < 500.0, "{report}");
    }
}

/// Nobody can listen for this signal, and so nobody takes the server down.
#[test]
fn a_run_that_is_killed_leaves_no_server() {
    let mut run = LongRun::start("noop");
    run.process.kill().unwrap();
    run.process.wait().unwrap();
    let lives = |pid: Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Nobody may ever ask how it ended.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while lives(run.server) && Instant::now() < deadline {
        sleep(Duration::from_millis(5));
    }
    let is_left = lives(run.server);
    // Whatever this test says of it.
    let _ = kill(run.server, Signal::SIGKILL);
    assert!(!is_left, "its server is still there");
}

/// A run that is told to end when its 64 sessions are there.
fn interrupted(arguments: &[&str]) -> Output {
    let process =
        Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(process.id().try_into().unwrap());
    while descriptors(pid) < 64 {
        std::thread::yield_now();
    }
    kill(pid, Signal::SIGINT).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    output
}

/// The server answers nobody, so that nothing that is under way would come to an end by itself.
#[test]
fn an_interrupted_run_does_not_wait_for_a_silent_server() {
    let silent = Faults { silent_from_noop: Some(50), ..Faults::default() };
    let target = format!("ftp://{}", fake::start(silent));
    let arguments =
        ["noop", "--target", &target, "--warmup", "0s", "--duration", "600s", "--timeout", "600s"];
    let output = interrupted(&arguments);
    assert!(support::stdout(&output).contains("ENDED EARLY: interrupted"), "{output:?}");
}

/// Nobody waits for what is under way, and so nobody deletes it.
#[test]
fn an_interrupted_run_names_the_uploads_that_may_stay() {
    let target = format!("ftp://{}", fake::start(Faults::default()));
    let arguments =
        ["upload", "--target", &target, "--sessions", "64", "--duration", "600s", "--seed", "255"];
    let output = interrupted(&arguments);
    assert!(
        support::stdout(&output).contains("files loadtest-ff-* of uploads that did not come to a good end"),
        "{output:?}"
    );
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_run() {
    for option in ["--json", "--html"] {
        let output = support::loadtest(&["noop", "--duration", "600s", option, "/no/such/directory/file"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = support::stderr(&output);
        assert!(said.contains("cannot write /no/such/directory/file"), "{said}");
    }
}

#[test]
fn a_run_that_cannot_begin_leaves_the_report_before_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "the one before").unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    // Port 1 is none that the kernel gives to a listener of another test.
    let output = support::loadtest(&["noop", "--target", "ftp://127.0.0.1:1", "--json", &path]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "the one before");
    file.close().unwrap();
    assert_eq!(
        support::loadtest(&["noop", "--target", "ftp://127.0.0.1:1", "--json", &path]).status.code(),
        Some(2)
    );
    assert!(!Path::new(&path).exists(), "an empty report");
}

#[test]
fn where_nobody_reads_the_table_the_report_is_written_all_the_same() {
    let target = format!("ftp://{}", fake::start(Faults::default()));
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("report.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["noop", "--target", &target, "--warmup", "0s", "--duration", "200ms", "--json"]).arg(&json);
    let full = fs::OpenOptions::new().write(true).open(Path::new("/dev/full")).unwrap();
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(support::stderr(&output).contains("cannot write to standard output"), "{output:?}");
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert!(report["units"].as_u64().unwrap() > 0, "{report}");
}

/// As long as a file may be, and as full a disk, are the same to who writes.
#[test]
fn a_report_that_has_no_room_leaves_the_one_before() {
    let target = format!("ftp://{}", fake::start(Faults::default()));
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("report.json");
    fs::write(&json, "the one before").unwrap();
    let line = format!(
        "ulimit -f 1 && exec {} noop --target {target} --warmup 0s --duration 100ms --json {}",
        env!("CARGO_BIN_EXE_loadtest"),
        json.display()
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(support::stderr(&output).contains("File too large"), "{output:?}");
    assert_eq!(fs::read_to_string(&json).unwrap(), "the one before");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "something else is left");
}

/// A link, another name of standard output, a device, and a file that others may not read.
#[test]
fn a_report_goes_where_its_name_leads() {
    let target = format!("ftp://{}", fake::start(Faults::default()));
    let scratch = tempfile::tempdir().unwrap();
    let run = |json: &str| {
        let arguments =
            ["noop", "--target", &target, "--warmup", "0s", "--duration", "100ms", "--json", json];
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        let out = scratch.path().join("out");
        let status = command.args(arguments).stdout(fs::File::create(&out).unwrap()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{json}");
        fs::read_to_string(out).unwrap()
    };
    let (file, link) = (scratch.path().join("file"), scratch.path().join("link"));
    fs::write(&file, "the one before").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    run(link.to_str().unwrap());
    assert!(link.is_symlink());
    let _: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    let text = run("/dev/stdout");
    assert!(text.starts_with('{') && text.contains("tester: "), "{text}");
    run("/dev/null");
    assert!(!Path::new("/dev/null").is_file());
}

#[test]
fn a_page_does_not_take_the_place_of_a_report() {
    let scratch = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(arguments).current_dir(scratch.path()).output().unwrap()
    };
    fs::write(scratch.path().join("one.json"), "the report").unwrap();
    fs::hard_link(scratch.path().join("one.json"), scratch.path().join("again.json")).unwrap();
    for page in ["./one.json", "again.json"] {
        let output = run(&["report", "one.json", "--html", page]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(support::stderr(&output).contains("is one of the reports"), "{output:?}");
    }
    let output = run(&["noop", "--json", "new", "--html", "./new", "--target", "ftp://127.0.0.1:1"]);
    assert!(support::stderr(&output).contains("name the same file"), "{output:?}");
}

#[test]
fn pairs_that_nobody_reads_are_kept() {
    let ringftpd = support::ringftpd();
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("pairs.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["compare", "noop", "--duration", "100ms", "--warmup", "0s", "--sessions", "4", "--json"]);
    command.arg(&json).arg("--a").arg(&ringftpd).arg("--b").arg(&ringftpd);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // As `head -1` does.
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(1));
    let pairs: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    assert_eq!(pairs["pairs"].as_array().unwrap().len(), 1, "{pairs}");
}
