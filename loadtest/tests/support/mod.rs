//! What the tests share: running the program, and servers with faults.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub(crate) mod fake;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

/// A server that does with each connection what `serve` says, until the test is over.
pub(crate) fn server(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
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

/// The program; its exit status and what it said.
pub(crate) fn loadtest(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadtest")).args(arguments).output().unwrap()
}

/// A run, with the report that it wrote.
pub(crate) fn report(arguments: &[&str]) -> (Output, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut all = arguments.to_vec();
    all.extend(["--json", file.path().to_str().unwrap()]);
    let output = loadtest(&all);
    let text = std::fs::read(file.path()).unwrap();
    let report = serde_json::from_slice(&text).unwrap_or_else(|_| panic!("no report: {output:?}"));
    (output, report)
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The latency of a step in a report, in microseconds.
pub(crate) fn latency_us(report: &Value, step: &str, which: &str) -> f64 {
    let latencies = report["latencies"].as_array().unwrap();
    let of_step = latencies.iter().find(|latency| latency["step"] == step);
    of_step.unwrap_or_else(|| panic!("no {step} in {report}"))[which].as_f64().unwrap()
}

/// How often a kind of error is in a report.
pub(crate) fn errors(report: &Value, kind: &str) -> u64 {
    let errors = report["errors"].as_array().unwrap();
    errors.iter().filter(|error| error["kind"] == kind).map(|error| error["count"].as_u64().unwrap()).sum()
}
