//! The program against servers of all kinds: good ones, bad ones, and what is no server at all.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

/// A server that does with each connection what `serve` says, until the test is over.
fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(connection));
        }
    });
    address
}

/// Lets everybody log in, and answers `NOOP` with `noop`.
fn friendly(connection: TcpStream, noop: &'static str) {
    let mut replies = connection.try_clone().unwrap();
    let mut say = |reply: &str| replies.write_all(format!("{reply}\r\n").as_bytes()).is_ok();
    if !say("220-Hello.\r\n220 Ready.") {
        return;
    }
    for line in BufReader::new(connection).lines().map_while(Result::ok) {
        let said = match line.split(' ').next() {
            Some("USER") => say("331 Password?"),
            Some("PASS") => say("230 Welcome."),
            Some("NOOP") => say(noop),
            _ => say("221 Bye."),
        };
        if !said || line == "QUIT" {
            return;
        }
    }
}

fn loadtest(arguments: &[&str], target: SocketAddr) -> Output {
    let target = format!("ftp://{target}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).args(["--target", &target, "--sessions", "4", "--warmup", "0s", "--seed", "7"]);
    command.output().unwrap()
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
    let target = server(|connection| friendly(connection, "200 Done."));
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
    let target = server(|connection| friendly(connection, "200 Done."));
    let output = loadtest(&["noop", "--duration", "500ms", "--rate", "100", "--json", path], target);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("open loop, 100 a second"));
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // No more than were to begin; a slow machine may have had fewer.
    assert!((1..=51).contains(&report["units"].as_u64().unwrap()), "{report}");
}

#[test]
fn errors_are_counted_by_their_code_and_end_the_run() {
    let target = server(|connection| friendly(connection, "451 Not today."));
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
