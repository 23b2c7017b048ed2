//! The page, in a real browser: what its script drew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;
use std::process::Command;

use support::fake::{self, Faults};
use support::{loadtest, stderr};

/// The page as the browser has it when its script is done.
fn drawn(page: &Path) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut browser = Command::new("chromium");
    browser.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    browser.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    browser.arg(format!("--user-data-dir={}", profile.path().display()));
    browser.args(["--dump-dom".to_owned(), format!("file://{}", page.display())]);
    let output = browser.output().expect("chromium is there");
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The part of `html` that is the chart of this name.
fn chart<'a>(html: &'a str, name: &str) -> &'a str {
    let (_, rest) =
        html.split_once(&format!("data-chart=\"{name}\"")).unwrap_or_else(|| panic!("no chart {name}"));
    rest.split_once("</svg>").unwrap().0
}

/// The lines of a chart: the run of each, and how many points it has.
fn lines(chart: &str) -> Vec<(String, usize)> {
    let attribute = |path: &str, name: &str| {
        let (_, rest) = path.split_once(&format!(" {name}=\"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let paths = chart.split("<path").skip(1).map(|rest| rest.split_once('>').unwrap().0);
    paths
        .map(|path| (attribute(path, "data-run"), attribute(path, "d").matches(['M', 'L']).count()))
        .collect()
}

#[test]
fn runs_are_laid_over_one_another() {
    let folder = tempfile::tempdir().unwrap();
    // A name that would end the script, were it written as it is.
    let (good, bad) = (folder.path().join("good<!--.json"), folder.path().join("bad.json"));
    let run = |faults, json: &Path, more: &[&str]| {
        let target = format!("ftp://{}", fake::start(faults));
        let own = ["noop", "--target", &target, "--sessions", "4", "--warmup", "0s", "--duration", "1s"];
        loadtest(&[&own[..], &["--json", json.to_str().unwrap()], more].concat())
    };
    assert!(run(Faults::default(), &good, &[]).status.success());
    run(Faults { noop: Some("451 Not today."), ..Faults::default() }, &bad, &["--rate", "50"]);
    let page = folder.path().join("page.html");
    let arguments =
        ["report", good.to_str().unwrap(), bad.to_str().unwrap(), "--html", page.to_str().unwrap()];
    let output = loadtest(&arguments);
    assert!(output.status.success(), "{output:?}");

    let written = std::fs::read_to_string(&page).unwrap();
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!written.contains(outside), "the page wants something from outside: {outside}");
    }
    let html = drawn(&page);
    let throughput = lines(chart(&html, "throughput"));
    let errors = lines(chart(&html, "errors"));
    for (found, name) in
        [(&throughput, "good&lt;!--"), (&errors, "good&lt;!--"), (&throughput, "bad"), (&errors, "bad")]
    {
        // Browsers differ in whether they write `<` in an attribute as it is.
        let line = found.iter().find(|(run, _)| run.replace('<', "&lt;") == name);
        assert_eq!(line.map(|line| line.1), Some(10), "{name} in {found:?}");
    }
    let latency = chart(&html, "latency");
    // The bad run completed nothing, and has no latency but of units that waited until the end.
    let of_good = lines(latency).into_iter().find(|(run, _)| run.replace('<', "&lt;") == "good&lt;!--");
    assert!(of_good.is_some_and(|(_, points)| points > 10), "{latency}");
    for tick in [">50<", ">90<", ">99<", " ms<"] {
        assert!(latency.contains(tick), "no {tick} on an axis: {latency}");
    }
    for said in
        ["2 runs over one another", "reply 451", "Not today.", "open loop, 50 a second", "closed loop"]
    {
        assert!(html.contains(said), "{said} is not on the page");
    }
}

/// Three runs of two scenarios, one of them twice: each line has a name of its own, and each axis its units.
#[test]
fn runs_are_told_apart_and_units_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let target = format!("ftp://{}/file", fake::start(Faults::default()));
    let json = |scenario| {
        let json = folder.path().join(format!("{scenario}.json")).to_str().unwrap().to_owned();
        let short = ["--sessions", "2", "--warmup", "0s", "--duration", "300ms", "--json", &json];
        assert!(loadtest(&[&[scenario, "--target", &target], &short[..]].concat()).status.success());
        json
    };
    let (noop, stream, page) = (json("noop"), json("stream"), folder.path().join("page.html"));
    let output = loadtest(&["report", &noop, &stream, &noop, "--html", page.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let html = drawn(&page);
    let throughput = chart(&html, "throughput");
    let mut names: Vec<String> = lines(throughput).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, [noop.clone(), format!("{noop} (2)"), "stream".to_owned()]);
    assert!(throughput.contains(">round trips, transfers a second<"), "{throughput}");
    assert!(html.contains("their lines do not compare"), "{html}");
}

#[test]
fn one_run_has_its_own_page() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let target = format!("ftp://{}/file", fake::start(Faults::default()));
    let arguments = ["small-files", "--target", &target, "--sessions", "2", "--duration", "1s"];
    let output = loadtest(&[&arguments[..], &["--html", page.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{output:?}");
    let html = drawn(&page);
    assert!(html.contains("<h1>loadtest: small-files</h1>"), "{html}");
    for step in ["connect", "login", "passive", "data connect", "first byte", "completion", "unit"] {
        assert!(html.contains(&format!("<option>{step}</option>")), "no latency of {step} to choose");
    }
}

/// It ends a few tenths of a second into its minute, in an interval that has not come to its end; and its one session is one sample.
#[test]
fn a_run_that_ended_early_is_drawn_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let target = format!("ftp://{}", fake::start(Faults { noop: Some("451 No."), ..Faults::default() }));
    let arguments = ["noop", "--target", &target, "--sessions", "1", "--duration", "60s", "--give-up-after"];
    let more = ["400ms", "--warmup", "0s", "--seed", "18446744073709551615", "--html"];
    let output = loadtest(&[&arguments[..], &more, &[page.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let html = drawn(&page);
    let points = lines(chart(&html, "errors"))[0].1;
    assert!((2..=20).contains(&points), "{points} points");
    assert!(html.contains("seed 18446744073709551615"), "{html}");
}

#[test]
fn one_sample_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    let target = format!("ftp://{}", fake::start(Faults::default()));
    let arguments = ["idle", "--target", &target, "--sessions", "1", "--duration", "200ms", "--html"];
    let output = loadtest(&[&arguments[..], &[page.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let html = drawn(&page);
    assert!(chart(&html, "latency").contains("class=\"dot\""), "{html}");
    assert!(html.contains("<b>1</b><span>sessions</span>"), "a rate of sessions that come once: {html}");
}

#[test]
fn what_is_no_report_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let no_report = folder.path().join("no-report.json");
    std::fs::write(&no_report, "{}").unwrap();
    let output = loadtest(&["report", no_report.to_str().unwrap(), "--html", "page.html"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(stderr(&output).contains("is no report of a run"), "{output:?}");
}
