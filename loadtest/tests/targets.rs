//! The program against servers of all kinds: good ones, bad ones, and what is no server at all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::fake::{self, Faults, Then};
use support::server;

fn loadtest(arguments: &[&str], target: SocketAddr) -> Output {
    let target = format!("ftp://{target}");
    let rest = ["--target", &target, "--sessions", "4", "--warmup", "0s", "--seed", "7"];
    support::loadtest(&[arguments, &rest].concat())
}

fn refusal(target: SocketAddr) -> String {
    let output = loadtest(&["login", "--duration", "200ms", "--timeout", "500ms"], target);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_good_server_is_measured() {
    let report = tempfile::NamedTempFile::new().unwrap();
    let path = report.path().to_str().unwrap();
    let target = fake::start(Faults::default());
    let output = loadtest(&["noop", "--duration", "300ms", "--json", path], target);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("closed loop") && text.contains("seed 7"), "{text}");
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(report["units"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["errors"], Value::Array(Vec::new()));
    let steps: Vec<&str> = report["latencies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|latency| latency["step"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["connect", "greeting", "login", "command", "unit"]);
}

#[test]
fn a_rate_is_kept_and_named() {
    let report = tempfile::NamedTempFile::new().unwrap();
    let path = report.path().to_str().unwrap();
    let target = fake::start(Faults::default());
    let output = loadtest(&["noop", "--duration", "500ms", "--rate", "100", "--json", path], target);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("open loop, 100 a second"));
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // No more than were to begin; a slow machine may have had fewer.
    assert!((1..=51).contains(&report["units"].as_u64().unwrap()), "{report}");
}

#[test]
fn errors_are_counted_by_their_code_and_end_the_run() {
    let target = fake::start(Faults { noop: Some("451 Not today."), ..Faults::default() });
    let output = loadtest(&["noop", "--duration", "30s", "--give-up-after", "200ms"], target);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("reply 451") && text.contains("Not today."), "{text}");
    assert!(text.contains("ENDED EARLY: nothing but errors"), "{text}");
}

#[test]
fn what_is_not_ftp_is_told() {
    let target = server(|mut connection| drop(connection.write_all(b"SSH-2.0-OpenSSH_9.9\r\n")));
    let said = refusal(target);
    assert!(said.contains("not an FTP server"), "{said}");
}

#[test]
fn a_server_that_hangs_up_or_hangs_is_told() {
    let said = refusal(server(drop));
    assert!(said.contains("closed the control connection"), "{said}");
    let said = refusal(server(|connection| {
        // Held, and never spoken on, until the client gives up.
        let _ = BufReader::new(connection).lines().next();
    }));
    assert!(said.contains("nothing happened until the timeout"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_told() {
    // Port 1 is none that the kernel gives to a listener of another test.
    let said = refusal(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    assert!(said.contains("Connection refused"), "{said}");
}

/// Of two servers, the one that fails is named.
#[test]
fn which_of_two_servers_fails_is_told() {
    let good = format!("ftp://{}/file", fake::start(Faults::default()));
    let arguments = ["fxp", "--target", &good, "--target2", "ftp://127.0.0.1:1/file"];
    let output = support::loadtest(&arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = support::stderr(&output);
    assert!(said.contains("the first session with ftp://127.0.0.1:1 (127.0.0.1:1) failed"), "{said}");
}

#[test]
fn a_server_that_falls_silent_in_the_run_is_told_with_what_was_measured_until_then() {
    let target = fake::start(Faults { silent_from_noop: Some(50), ..Faults::default() });
    let output = loadtest(&["noop", "--duration", "2s", "--timeout", "500ms"], target);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = support::stdout(&output);
    assert!(text.contains("timed out") && text.contains("nothing happened until the timeout"), "{text}");
    assert!(text.contains("50 round trips"), "{text}");
}

#[test]
fn a_process_or_a_control_group_that_is_not_there_is_told() {
    let target = format!("ftp://{}", fake::start(Faults::default()));
    let refused = |arguments: &[&str]| {
        let output = support::loadtest(&[&["login", "--target", &target], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        support::stderr(&output)
    };
    let said = refused(&["--server-pid", "2147483647"]);
    assert!(said.contains("--server-pid 2147483647 is no process"), "{said}");
    let own = std::process::id().to_string();
    let said = refused(&["--server-pid", &own, "--server-cgroup", "/no/such/group"]);
    assert!(said.contains("--server-cgroup /no/such/group is none"), "{said}");
    // Whoever listens here has started the tester, and tells nothing of the server.
    let said = refused(&["--server-cgroup", "/no/such/group"]);
    assert!(said.contains(&format!("is process {own}")), "{said}");
}

/// As the first process of a machine does for services: the server is not the one that listens, which started this tester, too.
#[test]
fn who_listens_for_a_server_is_not_taken_for_it() {
    let target = fake::start(Faults::default());
    let report = tempfile::NamedTempFile::new().unwrap();
    let path = report.path().to_str().unwrap();
    let output = loadtest(&["noop", "--duration", "100ms", "--json", path], target);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = support::stdout(&output);
    assert!(text.contains(&format!("what listens on {target} is process {}", std::process::id())), "{text}");
    assert!(text.contains("--server-pid"), "{text}");
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(report["server"].is_null(), "{report}");
}

/// Uploads come into the directory that is listed, and are no errors of the listing.
#[test]
fn mixed_sessions_with_a_server_of_somebody_elses_work() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "some bytes").unwrap();
    let server = support::Ringftpd::serving(folder.path());
    let target = format!("ftp://{}/file", server.address());
    let mix = ["--mix", "small-files=1,upload=4,list=4", "--upload-size", "1K"];
    for (scenario, more) in [("mixed", &mix[..]), ("abort", &[])] {
        let arguments = [scenario, "--target", &target, "--sessions", "8", "--warmup", "0s"];
        let output = support::loadtest(&[&arguments[..], more, &["--duration", "500ms"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

/// The first session gets the file; then a byte comes now and then, or more than there is, without end.
#[test]
fn a_server_that_sends_without_end_is_told_and_does_not_keep_the_run() {
    for (then, said) in [
        (Then::ATrickle, "had not ended 0.5 s after the time was over"),
        (Then::AFlood, "more than the 17 bytes"),
    ] {
        let target =
            format!("ftp://{}/file", fake::start(Faults { then, good_ones: 1, ..Faults::default() }));
        let arguments = ["download", "--target", &target, "--sessions", "2", "--warmup", "0s"];
        let output =
            support::loadtest(&[&arguments[..], &["--duration", "300ms", "--timeout", "500ms"]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(support::stdout(&output).contains(said), "{output:?}");
    }
}

/// Whatever the server does, and whatever is asked for: bytes move all the time, and nothing would ever end.
#[test]
fn a_run_that_would_go_on_for_ever_ends_with_what_was_measured() {
    let start = |good_ones, then| {
        format!("ftp://{}/file", fake::start(Faults { then, good_ones, ..Faults::default() }))
    };
    let run = |arguments: &[&str], target: &str| {
        let short = ["--sessions", "2", "--warmup", "0s", "--duration", "200ms", "--timeout", "400ms"];
        support::loadtest(&[arguments, &["--target", target], &short].concat())
    };
    let output = run(&["list"], &start(3, Then::AFlood));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(support::stdout(&output).contains("goes on beyond its 2 lines"), "{output:?}");

    let output = run(&["upload", "--upload-size", "99999999G"], &start(0, Then::TheFile));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = support::stdout(&output);
    assert!(text.contains("ENDED EARLY: 2 sessions had not ended 4 s after the time was over"), "{text}");
    assert!(text.contains("MiB a second"), "{text}");

    for scenario in ["download", "list"] {
        let output = run(&[scenario], &start(0, Then::AFlood));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = support::stderr(&output);
        assert!(said.contains("it had not ended after 4 s, ten times --timeout"), "{said}");
    }
}

/// What it does not say that it knows, it is not asked for; what was stored is fetched and compared all the same.
#[test]
fn a_server_that_hangs_up_on_options_can_be_stored_to() {
    let target = format!("ftp://{}", fake::start(Faults { hangs_up_on_opts: true, ..Faults::default() }));
    let short = ["--sessions", "2", "--warmup", "0s", "--duration", "300ms", "--upload-size", "1K"];
    let output = support::loadtest(&[&["upload", "--target", &target], &short[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = support::stdout(&output);
    let remark = text.lines().find(|line| line.ends_with("uploads compared by fetching them")).unwrap();
    let numbers: Vec<u64> = remark.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let stored = text.lines().find_map(|line| line.trim().strip_suffix(" uploads stored")).unwrap();
    // One for each session, of all that there were.
    assert_eq!(numbers, [2, stored.parse().unwrap()], "{text}");
    assert!(numbers[1] > 2, "{text}");
}

#[test]
fn a_server_that_says_first_that_it_will_be_ready_is_waited_for() {
    let target = fake::start(Faults { will_be_ready: true, ..Faults::default() });
    let output = loadtest(&["login", "--duration", "200ms"], target);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // It may say so once, and not for ever.
    let said =
        refusal(server(|mut connection| while connection.write_all(b"120 In a minute.\r\n").is_ok() {}));
    assert!(said.contains("greeting: 120 In a minute."), "{said}");
}

/// Servers say in many ways that they do not know the newer commands.
#[test]
fn a_server_that_knows_only_the_older_commands_for_data_is_asked_by_them() {
    let short = ["--sessions", "2", "--duration", "100ms"];
    for said in ["501 What?", "522 Not that protocol.", "550 No."] {
        let start =
            || format!("ftp://{}/file", fake::start(Faults { extended: Some(said), ..Faults::default() }));
        for scenario in ["small-files", "connect-back"] {
            let output = support::loadtest(&[&[scenario, "--target", &start()], &short[..]].concat());
            assert_eq!(output.status.code(), Some(0), "{scenario}, {said}: {output:?}");
        }
        let two = ["fxp", "--target", &start(), "--target2", &start()];
        let output = support::loadtest(&[&two[..], &short[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{said}: {output:?}");
    }
}

#[test]
fn a_server_that_does_not_listen_for_data_can_be_tested_in_active_mode() {
    let target = format!("ftp://{}/file", fake::start(Faults { only_active: true, ..Faults::default() }));
    let arguments = ["connect-back", "--target", &target, "--sessions", "2", "--duration", "100ms"];
    let output = support::loadtest(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_name_without_an_address_is_told() {
    let output = support::loadtest(&["login", "--target", "ftp://nowhere.invalid"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = support::stderr(&output);
    assert!(said.contains("cannot resolve nowhere.invalid"), "{said}");
}

/// What of a server's processor time may be missing is told, and told is how to have all of it.
#[test]
fn a_server_whose_processes_come_and_go_is_told() {
    let target = format!("ftp://{}", fake::start(Faults::default()));
    for (script, comes_and_goes) in [("while :; do sh -c :; done", true), ("exec sleep 60", false)] {
        let mut process = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
        let pid = process.id().to_string();
        let arguments = ["noop", "--target", &target, "--sessions", "2", "--warmup", "0s"];
        let output =
            support::loadtest(&[&arguments[..], &["--duration", "500ms", "--server-pid", &pid]].concat());
        process.kill().unwrap();
        process.wait().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = support::stdout(&output);
        assert_eq!(text.contains("--server-cgroup"), comes_and_goes, "{text}");
    }
}
