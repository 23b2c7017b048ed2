//! Every scenario against a ringftpd that the tester starts itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use support::{Ringftpd, descriptors, loadtest, report, ringftpd, stderr, stdout};

#[track_caller]
fn runs(arguments: &[&str]) -> String {
    ringftpd();
    let (output, report) = report(arguments);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    assert!(report["units"].as_u64().unwrap() > 0, "{text}");
    assert!(report["server"]["processor_s"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(report["server"]["name"], "ringftpd", "{report}");
    assert!(text.contains("seed ") && text.contains("tester: "), "{text}");
    text
}

#[test]
fn sessions_and_commands() {
    for scenario in ["login", "small-files", "stream", "noop"] {
        runs(&[scenario, "--sessions", "8", "--warmup", "100ms", "--duration", "300ms"]);
    }
    runs(&["noop", "--sessions", "2", "--pipeline", "50", "--duration", "300ms", "--runtime", "io_uring"]);
    let text =
        runs(&["small-files", "--sessions", "8", "--rate", "100", "--duration", "500ms", "--data", "pasv"]);
    assert!(text.contains("open loop"), "{text}");
}

#[test]
fn storms() {
    let (output, report) = report(&["pasv", "--sessions", "300", "--duration", "100ms"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text.contains("300 sessions") && text.contains(" storms, from ready to done "), "{text}");
    // Getting ready is no part of a storm, and what comes after the last one is no part of the time.
    let (storms, seconds) = (&report["storms"], |of: &Value, key: &str| of[key].as_f64().unwrap());
    let (took_s, units) = (seconds(storms, "took_s"), seconds(&report, "units"));
    assert_eq!(units, 300.0 * seconds(storms, "count"), "{report}");
    assert!(0.0 < took_s && took_s < seconds(&report, "measured_s"), "{report}");
    assert!((seconds(storms, "units_per_s") * took_s - units).abs() < 0.01, "{report}");
    let text = runs(&["connect-back", "--sessions", "300", "--duration", "100ms"]);
    assert!(text.contains("connect-backs from"), "{text}");
}

/// What is promised for a low limit of descriptors is held, by the server, too; and what waits for the tester's own is not measured.
#[test]
fn a_storm_is_as_large_as_descriptors_allow() {
    ringftpd();
    let limited = |arguments: &str| {
        let line = format!("ulimit -n 2000 && exec {} pasv {arguments}", env!("CARGO_BIN_EXE_loadtest"));
        Command::new("sh").args(["-c", &line]).output().unwrap()
    };
    let refused = stderr(&limited("--sessions 100000"));
    let (_, rest) = refused.split_once("--sessions ").unwrap_or_else(|| panic!("{refused}"));
    let most = rest.split(')').next().unwrap().parse::<usize>().unwrap();
    let output = limited(&format!("--sessions {most} --duration 10ms"));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    let (_, rest) = text.split_once("all sessions get ready, then ").unwrap();
    let at_once = rest.split(' ').next().unwrap().parse::<usize>().unwrap();
    assert!(at_once < most, "{text}");
    // Nobody asked for so many, and so fewer is no error: it is told before the run, and after it.
    let output = limited("--duration 10ms");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stderr(&output).contains("pasv usually has 2000 sessions"), "{output:?}");
    assert!(stdout(&output).contains("pasv usually has 2000 sessions"), "{output:?}");
}

#[test]
fn idle_sessions_are_all_there_when_memory_is_looked_at() {
    let (output, report) = report(&["idle", "--sessions", "300", "--duration", "200ms"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(report["units"].as_u64(), Some(300), "{report}");
    assert!(report["server"]["memory_bytes_per_session"].as_f64().unwrap() > 0.0, "{report}");
    assert!(stdout(&output).contains("memory for each session"));
    // They come once: that is no rate.
    assert!(report["units_per_s"].is_null(), "{report}");
}

#[test]
fn bulk_and_listings() {
    runs(&["download", "--big-size", "3M", "--duration", "500ms"]);
    runs(&["download", "--big-size", "100K", "--duration", "200ms"]);
    let text = runs(&["upload", "--upload-size", "100K", "--sessions", "4", "--duration", "500ms"]);
    assert!(text.contains("uploads compared by hash"), "{text}");
    runs(&["list", "--entries", "500", "--duration", "500ms"]);
}

/// The first listing is no measure of the others: how many entries there are is known.
#[test]
fn a_server_that_leaves_entries_out_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("server.sh");
    let serve = format!("exec {} serve $1 --listen 127.0.0.1:$2 --anonymous read", ringftpd().display());
    std::fs::write(&script, format!("rm $1/list/entry-00000[12].dat\n{serve}\n")).unwrap();
    let server = format!("sh {} {{dir}} {{port}}", script.display());
    let output = loadtest(&["list", "--entries", "100", "--duration", "200ms", "--server", &server]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("of a directory of 100 entries"), "{output:?}");
}

/// The server that stands beside this program is not a command line that somebody wrote.
#[test]
fn a_blank_in_the_programs_path_is_part_of_it() {
    let own = Path::new(env!("CARGO_BIN_EXE_loadtest"));
    let folder = tempfile::Builder::new().prefix("a b ").tempdir_in(own.parent().unwrap()).unwrap();
    std::fs::hard_link(own, folder.path().join("loadtest")).unwrap();
    std::fs::hard_link(ringftpd(), folder.path().join("ringftpd")).unwrap();
    let mut command = Command::new(folder.path().join("loadtest"));
    let output =
        command.args(["noop", "--sessions", "2", "--warmup", "0s", "--duration", "100ms"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn mixed_sessions_and_vanishing_clients() {
    let mix = "login=1,small-files=2,upload=1,list=1";
    runs(&["mixed", "--mix", mix, "--entries", "20", "--sessions", "8", "--duration", "500ms"]);
    runs(&["abort", "--sessions", "8", "--duration", "500ms"]);
}

#[test]
fn files_go_between_servers_in_both_directions() {
    let text = runs(&["fxp", "--sessions", "4", "--duration", "500ms"]);
    assert!(text.contains("transfers to the other server"), "{text}");
    assert!(text.contains("transfers from the other server"), "{text}");
    assert!(text.contains("uploads compared by hash"), "{text}");
    runs(&["fxp", "--sessions", "4", "--duration", "500ms", "--data", "pasv"]);
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    for (arguments, said) in [
        (&["noop", "--tls"][..], "speaks TLS yet"),
        (&["pasv", "--rate", "10"], "takes no --rate"),
        (&["noop", "--rate", "1e12"], "--rate 1000000"),
        (&["pasv", "--sessions", "100000000"], "it can hold"),
        (&["fxp", "--target", "ftp://127.0.0.1:1/x"], "--target2"),
        (&["small-files", "--target", "ftp://127.0.0.1:1"], "name it in the target"),
        (&["small-files", "--target", "ftp://[::1]:1"], "as ftp://[::1]:1/file"),
        (&["login", "--server", "/no/such/server"], "cannot start /no/such/server"),
        (&["login", "--server", "/bin/true {port}"], "ended at its start"),
        (&["noop", "--workers", "100000000"], "at most --workers "),
        (&["list", "--pipeline", "2"], "takes no --pipeline"),
        (&["pasv", "--warmup", "1s"], "takes no --warmup"),
        (&["idle", "--warmup", "1s"], "takes no --warmup"),
        (&["noop", "--ready-at-once", "8"], "takes no --ready-at-once"),
        (&["login", "--mix", "login=1"], "takes no --mix"),
        (&["login", "--upload-to", "in"], "takes no --upload-to"),
        (&["upload", "--upload-to", "in"], "its server has a directory"),
        (&["small-files", "--target", "ftp://127.0.0.1:1/x", "--small-size", "2"], "takes no --small-size"),
        (&["list", "--target", "ftp://127.0.0.1:1/x", "--entries", "2"], "takes no --entries"),
        (&["noop", "--big-size", "2"], "takes no --big-size"),
        (&["compare", "noop", "--a", "x", "--b", "y", "--mix", "login=1"], "takes no --mix"),
        (&["noop", "--json", "/tmp/x", "--html", "/tmp/x"], "the same file"),
        (&["login", "--target", "ftp://[::1]:1", "--source-addresses", "4"], "nobody reaches ::1"),
        (&["noop", "--rate", "1e-300"], "at least --rate 0.1"),
        (&["small-files", "--small-size", "999999G"], "at most --small-size "),
        (&["pasv", "--small-size", "999999G"], "at most --small-size "),
        (&["download", "--big-size", "999999G"], "at most --big-size "),
        (&["upload", "--upload-size", "999999G"], "at most --upload-size "),
        (&["fxp", "--upload-size", "999999G"], "at most --upload-size "),
        (&["list", "--entries", "1000000000000000000"], "at most --entries "),
    ] {
        let output = loadtest(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = stderr(&output);
        assert!(text.contains(said), "{arguments:?}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

/// In an open loop one worker has the first unit, and the other one's would come after a minute.
#[test]
fn a_server_that_is_killed_in_the_run_ends_it_with_what_was_measured() {
    for pace in [&[][..], &["--rate", "0.01"]] {
        let folder = tempfile::tempdir().unwrap();
        let server = Ringftpd::serving(folder.path());
        let target = format!("ftp://{}", server.address());
        let pid = server.pid();
        let quiet = descriptors(pid);
        let killer = thread::spawn(move || {
            // Not before the load is there.
            while descriptors(pid) < quiet + 8 {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(50));
            kill(pid, Signal::SIGKILL).unwrap();
        });
        let began = Instant::now();
        let arguments =
            ["noop", "--target", &target, "--sessions", "8", "--warmup", "0s", "--duration", "600s"];
        let (output, report) = report(&[&arguments[..], pace].concat());
        killer.join().unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "{output:?}");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stdout(&output).contains("ENDED EARLY: the server's process has ended"), "{output:?}");
        assert!(report["units"].as_u64().unwrap() > 0, "{report}");
        assert_eq!(report["units_unfinished"], 0, "{report}");
        assert!(report["measured_s"].as_f64().unwrap() < 50.0, "{report}");
    }
}

#[test]
fn pairs_are_kept_and_each_server_is_the_first_of_one() {
    let ringftpd = ringftpd();
    let ringftpd = ringftpd.to_str().unwrap();
    let arguments =
        ["compare", "noop", "--pairs", "2", "--duration", "200ms", "--warmup", "0s", "--seed", "5"];
    let (output, report) = report(&[&arguments[..], &["--a", ringftpd, "--b", ringftpd]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let pairs = report["pairs"].as_array().unwrap();
    assert_eq!((&pairs[0]["first"], &pairs[1]["first"]), (&"a".into(), &"b".into()), "{report}");
    for server in pairs.iter().flat_map(|pair| [&pair["a"], &pair["b"]]) {
        assert_eq!(server["seed"], 5, "{report}");
        assert!(server["measured_s"].as_f64().unwrap() > 0.0, "{report}");
        assert!(server["processor_us_per_unit"].as_f64().unwrap() > 0.0, "{report}");
    }
}
