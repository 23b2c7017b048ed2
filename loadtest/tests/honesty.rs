//! Latencies that say what a client would have seen, and errors that are all counted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::fake::{self, Faults};
use support::{errors, latency_us, report, stdout};

/// A second in which the server does nothing.
const STALL: Duration = Duration::from_secs(1);

fn stalling() -> String {
    format!("ftp://{}", fake::start(Faults { stall_at_noop: Some((100, STALL)), ..Faults::default() }))
}

#[test]
fn in_an_open_loop_a_stall_is_in_the_latency_of_all_that_should_have_begun() {
    let target = stalling();
    let (output, report) = report(&[
        "noop",
        "--target",
        &target,
        "--sessions",
        "4",
        "--rate",
        "200",
        "--warmup",
        "0s",
        "--duration",
        "3s",
    ]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    assert!(
        text.contains("open loop, 200 a second: latency of a round trip is from its intended start"),
        "{text}"
    );
    // A third of all units should have begun in that second: their median waits half of it.
    assert!(latency_us(&report, "unit", "p90_us") > 500_000.0, "{text}");
    assert!(latency_us(&report, "unit", "p99_us") > 900_000.0, "{text}");
    assert!(latency_us(&report, "unit", "max_us") > 990_000.0, "{text}");
    // Nobody was left out for it: 600 were to begin, and those that the end cut off are told.
    let units = report["units"].as_u64().unwrap();
    assert!(units > 200, "{text}");
}

/// The stall begins a half second before the end, and what should have begun in it is not lost with it.
#[test]
fn in_an_open_loop_a_stall_at_the_end_is_seen_to_its_end() {
    let target = stalling();
    let arguments = ["noop", "--target", &target, "--sessions", "100", "--rate", "100", "--warmup", "0s"];
    let (output, report) = report(&[&arguments[..], &["--duration", "1500ms"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    assert!(latency_us(&report, "unit", "max_us") > 900_000.0, "{text}");
    assert!(latency_us(&report, "unit", "p90_us") > 500_000.0, "{text}");
}

/// Fewer sessions than workers, and one worker more than the other.
#[test]
fn a_rate_is_that_of_all_workers_however_many_have_sessions() {
    let target = format!("ftp://{}", fake::start(Faults::default()));
    for sessions in ["1", "3"] {
        let arguments = ["noop", "--target", &target, "--rate", "100", "--warmup", "0s", "--duration", "1s"];
        let (output, report) = report(&[&arguments[..], &["--sessions", sessions]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        // All that were to begin, but for those that a busy machine has kept from it.
        assert!((80..=100).contains(&report["units"].as_u64().unwrap()), "{}", stdout(&output));
    }
}

#[test]
fn a_closed_loop_says_that_it_is_one() {
    let target = stalling();
    let (output, report) =
        report(&["noop", "--target", &target, "--sessions", "4", "--warmup", "0s", "--duration", "3s"]);
    let text = stdout(&output);
    assert!(
        text.contains("closed loop: what a slow server keeps from beginning is not in the latencies"),
        "{text}"
    );
    // The four that were under way saw the stall, and its length is not lost.
    assert!(latency_us(&report, "unit", "max_us") > 990_000.0, "{text}");
}

#[test]
fn a_seed_is_taken_and_told() {
    let target = stalling();
    let (output, report) =
        report(&["noop", "--target", &target, "--duration", "100ms", "--seed", "18446744073709551615"]);
    assert!(stdout(&output).contains("seed 18446744073709551615"));
    assert_eq!(report["seed"].as_u64(), Some(u64::MAX));
}

#[test]
fn wrong_contents_are_an_error() {
    let faults = Faults { other_bytes_after: Some(10), ..Faults::default() };
    let target = format!("ftp://{}/file", fake::start(faults));
    let (output, report) =
        report(&["small-files", "--target", &target, "--sessions", "2", "--duration", "500ms"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&report, "wrong contents") > 0, "{report}");
}

/// A file of 2 MiB whose last byte changes. To hash it would be more work for the tester than to fetch it is for the server.
#[test]
fn a_file_of_somebody_elses_is_compared_byte_by_byte() {
    let faults = Faults { other_bytes_after: Some(2), longer: 123_362, ..Faults::default() };
    let target = format!("ftp://{}/file", fake::start(faults));
    let (output, report) =
        report(&["download", "--target", &target, "--sessions", "1", "--duration", "300ms"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = report["errors"][0]["example"].as_str().unwrap();
    assert!(told.contains("other bytes within the piece that begins at"), "{report}");
}

#[test]
fn a_reply_that_nothing_was_asked_for_is_an_error() {
    let target = format!("ftp://{}", fake::start(Faults { surplus_replies: 20, ..Faults::default() }));
    let (output, report) = report(&["noop", "--target", &target, "--sessions", "2", "--duration", "300ms"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&report, "reply without a command") > 0, "{report}");
}

#[test]
fn a_connect_back_from_a_wrong_address_is_an_error() {
    let faults = Faults { connects_from: Some([127, 0, 0, 9].into()), ..Faults::default() };
    let target = format!("ftp://{}/file", fake::start(faults));
    let (output, report) =
        report(&["connect-back", "--target", &target, "--sessions", "4", "--duration", "200ms"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&report, "wrong peer") >= 4, "{report}");
    let right = format!("ftp://{}/file", fake::start(Faults::default()));
    let (output, _) =
        support::report(&["connect-back", "--target", &right, "--sessions", "4", "--duration", "200ms"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).contains("connect-backs from another port"), "{output:?}");
}

#[test]
fn what_vanished_clients_left_published_is_told_and_deleted() {
    let target = format!("ftp://{}/file", fake::start(Faults::default()));
    let (output, report) =
        report(&["abort", "--target", &target, "--sessions", "4", "--duration", "500ms", "--seed", "1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stdout(&output);
    assert!(text.contains(" files loadtest-abandoned-1-* were published, and deleted now"), "{text}");
    assert!(report["leftovers"].to_string().contains("were published"), "{report}");
}

/// An empty directory looks so on many servers, and one that may not be read looks the same: nobody can tell what was published.
#[test]
fn a_directory_that_is_not_listed_is_told() {
    for (faults, said) in [
        (Faults { lists_nothing: true, ..Faults::default() }, "completion: 550 No files."),
        (Faults { hides_files: true, ..Faults::default() }, "a listing without the file that was stored"),
    ] {
        let target = format!("ftp://{}/file", fake::start(faults));
        let (output, report) =
            report(&["abort", "--target", &target, "--sessions", "4", "--duration", "300ms", "--seed", "1"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = report["leftovers"].to_string();
        assert!(
            told.contains("it cannot be told which files loadtest-abandoned-1-* were published"),
            "{told}"
        );
        assert!(told.contains(said), "{told}");
    }
}

/// The tester does nothing for a second, once, and its server goes on.
#[test]
fn a_pause_of_the_tester_is_not_passed_off_as_the_servers() {
    let target = format!("ftp://{}", fake::start(Faults::default()));
    for pace in [&["--rate", "200"][..], &[]] {
        let arguments =
            ["noop", "--target", &target, "--sessions", "40", "--warmup", "0s", "--duration", "4s"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(arguments).args(pace).stdout(Stdio::piped());
        let tester = command.spawn().unwrap();
        let pid = Pid::from_raw(tester.id().try_into().unwrap());
        // The load is there.
        while support::descriptors(pid) < 40 {
            thread::yield_now();
        }
        kill(pid, Signal::SIGSTOP).unwrap();
        let goes_on = Instant::now() + STALL;
        while Instant::now() < goes_on {
            thread::sleep(Duration::from_millis(10));
        }
        kill(pid, Signal::SIGCONT).unwrap();
        let output = tester.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let text = stdout(&output);
        assert!(text.contains("WARNING: the tester itself stood still"), "{text}");
    }
}

/// A server that needs 10 ms for each is asked for 400 a second, and by no more sessions than it can be late for.
#[test]
fn an_overloaded_server_is_told_with_what_it_did_and_with_what_waited() {
    let faults = Faults { noop_takes: Duration::from_millis(10), ..Faults::default() };
    let target = format!("ftp://{}", fake::start(faults));
    let arguments = ["noop", "--target", &target, "--sessions", "4", "--rate", "400", "--warmup", "500ms"];
    let (output, report) = report(&[&arguments[..], &["--duration", "2s"]].concat());
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text.contains(" that were due did not end"), "{text}");
    assert!(text.contains("WARNING: asked for 400 a second, the server did "), "{text}");
    assert!(text.contains("units that were due found all 4 sessions busy"), "{text}");
    assert!(report["tester"]["warnings"].to_string().contains("asked for 400 a second"), "{report}");
    // It cannot have done more than 100 a second, however many had begun.
    let units = report["units"].as_u64().unwrap();
    assert!(units <= 202, "{text}");
    let over_time = report["series"]["units"].as_array().unwrap();
    assert_eq!(over_time.iter().map(|count| count.as_u64().unwrap()).sum::<u64>(), units, "{report}");
    // All 800 that should have begun in the window are in the latencies, and those that never began have waited.
    let of_unit = report["latencies"].as_array().unwrap().iter().find(|latency| latency["step"] == "unit");
    assert!((799..=801).contains(&of_unit.unwrap()["count"].as_u64().unwrap()), "{text}");
    assert!(report["units_unfinished"].as_u64().unwrap() > 500, "{text}");
    assert!(latency_us(&report, "unit", "max_us") > 1_000_000.0, "{text}");
}

/// Nine of ten are refused at once. The tester does not wait for that, and what it asks for comes to an end, one way or the other.
#[test]
fn a_server_that_refuses_quickly_is_not_taken_for_a_slow_one() {
    let target = format!("ftp://{}", fake::start(Faults { refuses_most: true, ..Faults::default() }));
    let arguments = ["login", "--target", &target, "--sessions", "16", "--rate", "200", "--warmup", "0s"];
    let (output, report) = report(&[&arguments[..], &["--duration", "2s"]].concat());
    let text = stdout(&output);
    assert!(errors(&report, "reply 421") > 300, "{text}");
    assert!(latency_us(&report, "unit", "p50_us") < 100_000.0, "{text}");
    assert!(!text.contains("asked for") && !text.contains("did not end"), "{text}");
}

/// Each takes long, and no longer from one to the next: sessions fill up with what is under way, and nothing falls behind.
#[test]
fn a_server_that_takes_long_for_each_is_not_taken_for_one_that_falls_behind() {
    let faults = Faults { noop_takes_each: Duration::from_millis(700), ..Faults::default() };
    let target = format!("ftp://{}", fake::start(faults));
    let arguments = ["noop", "--target", &target, "--sessions", "100", "--rate", "50", "--warmup", "0s"];
    let (output, report) = report(&[&arguments[..], &["--duration", "2s"]].concat());
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(report["units"].as_u64().unwrap() < 90, "{text}");
    assert!(!text.contains("asked for") && !text.contains("sessions busy"), "{text}");
}

/// The next unit is due in half a second, and comes to a good end.
#[test]
fn one_error_at_a_low_rate_ends_no_run() {
    let faults = Faults { noop: Some("451 Not now."), only_first_noop: true, ..Faults::default() };
    let target = format!("ftp://{}", fake::start(faults));
    let arguments = ["noop", "--target", &target, "--sessions", "1", "--rate", "2", "--warmup", "0s"];
    let (output, report) =
        report(&[&arguments[..], &["--duration", "1600ms", "--give-up-after", "100ms"]].concat());
    assert_eq!(errors(&report, "reply 451"), 1, "{report}");
    assert!(report["ended_early"].is_null(), "{output:?}");
    assert!(report["units"].as_u64().unwrap() >= 2, "{report}");
}

/// The warm-up is long, and the session that fails in it fails once.
#[test]
fn errors_of_the_warm_up_are_told_apart_from_those_that_were_measured() {
    let target =
        format!("ftp://{}", fake::start(Faults { surplus_reply_to_first: true, ..Faults::default() }));
    let arguments = ["noop", "--target", &target, "--sessions", "1", "--warmup", "2s", "--duration", "200ms"];
    let (output, report) = report(&arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stdout(&output).contains(" 0 errors (and 1 before or after)"), "{output:?}");
    assert_eq!(report["errors"][0]["count"], 1, "{report}");
    assert_eq!(report["errors"][0]["measured"], 0, "{report}");
}

const UPLOADS: [&str; 9] =
    ["upload", "--sessions", "2", "--warmup", "0s", "--duration", "300ms", "--upload-size", "1K"];

/// What is stored differs everywhere from what it takes the place of; and a session that cannot store any more still looks what there is.
#[test]
fn an_upload_whose_end_is_of_the_one_before_is_an_error() {
    for refuses_to_store_from in [None, Some(10)] {
        let faults = Faults { keeps_tails: true, refuses_to_store_from, ..Faults::default() };
        let target = format!("ftp://{}", fake::start(faults));
        let (output, report) = report(&[&UPLOADS[..], &["--target", &target]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(errors(&report, "wrong contents") > 0, "{report}");
        // It is deleted all the same.
        assert_eq!(report["leftovers"].as_array().unwrap().len(), 0, "{report}");
    }
}

/// A refusal is told, and not that the server then hung up on whoever looked what it had.
#[test]
fn a_refusal_is_not_lost_to_what_fails_behind_it() {
    let faults =
        Faults { refuses_to_store_from: Some(10), hangs_up_once_it_refuses: true, ..Faults::default() };
    let target = format!("ftp://{}", fake::start(faults));
    let (output, report) = report(&[&UPLOADS[..], &["--target", &target]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&report, "reply 550") > 0, "{report}");
    assert_eq!(errors(&report, "closed by server"), 0, "{report}");
}

/// A disk that is full: the server resets the data connection, and then says why.
#[test]
fn what_a_server_says_of_a_data_connection_that_it_broke_is_the_error() {
    for (scenario, reply, kind) in
        [("upload", "452 The disk is full.", "reply 452"), ("stream", "451 It cannot be read.", "reply 451")]
    {
        let faults = Faults { breaks: Some((3, reply)), longer: 1000, ..Faults::default() };
        let target = format!("ftp://{}/file", fake::start(faults));
        let arguments = [scenario, "--target", &target, "--sessions", "2", "--warmup", "0s"];
        let size = if scenario == "upload" { &["--upload-size", "8M"][..] } else { &[] };
        let (output, report) = report(&[&arguments[..], size, &["--duration", "2s"]].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(errors(&report, kind) > 0, "{report}");
        assert_eq!(errors(&report, "ECONNRESET") + errors(&report, "EPIPE"), 0, "{report}");
    }
}

#[test]
fn uploads_that_cannot_be_deleted_are_told() {
    let target = format!("ftp://{}", fake::start(Faults { deletes_nothing: true, ..Faults::default() }));
    let (output, report) = report(&[&UPLOADS[..], &["--target", &target, "--seed", "255"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(report["errors"].as_array().unwrap().len(), 0, "{report}");
    // That of the first session, and one of each other.
    assert!(stdout(&output).contains("LEFT BEHIND: up to 3 files loadtest-ff-*"), "{output:?}");
}

/// What a server lets its clients do with what they stored is found out, and uploads go on within that.
#[test]
fn a_server_that_is_a_drop_box_can_be_stored_to() {
    for (deletes_nothing, sends_nothing_stored) in [(false, false), (true, false), (true, true)] {
        let faults =
            Faults { overwrites_nothing: true, deletes_nothing, sends_nothing_stored, ..Faults::default() };
        let target = format!("ftp://{}", fake::start(faults));
        let (output, report) = report(&[&UPLOADS[..], &["--target", &target, "--seed", "255"]].concat());
        let text = stdout(&output);
        assert_eq!(report["errors"].as_array().unwrap().len(), 0, "{text}");
        // Each session more than one.
        let units = report["units"].as_u64().unwrap();
        assert!(units > 2, "{text}");
        assert!(text.contains(" 2 of "), "{text}");
        assert_eq!(text.contains("sends nobody what was stored"), sends_nothing_stored, "{text}");
        let stored = text.lines().find_map(|line| line.trim().strip_suffix(" uploads stored")).unwrap();
        // All of them are there, and that of the first session.
        let left = stored.parse::<u64>().unwrap() + 1;
        let told = text.contains(&format!("LEFT BEHIND: up to {left} files loadtest-ff-* that were stored"));
        assert_eq!(told, deletes_nothing, "{text}");
        assert_eq!(output.status.code(), Some(i32::from(deletes_nothing)), "{text}");
    }
}

#[test]
fn what_the_tester_does_to_compare_an_upload_is_in_no_latency() {
    let faults = Faults { fetching_stored_takes: Duration::from_millis(300), ..Faults::default() };
    let target = format!("ftp://{}/file", fake::start(faults));
    let arguments = ["mixed", "--mix", "upload=1", "--target", &target, "--sessions", "2", "--warmup", "0s"];
    let (output, report) = report(&[&arguments[..], &["--duration", "700ms"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for step in ["unit", "completion"] {
        assert!(latency_us(&report, step, "max_us") < 250_000.0, "{report}");
    }
    assert!(stdout(&output).contains("uploads compared by fetching them, in the server's processor time"));
}
