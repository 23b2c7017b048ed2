//! `docs/benchmarks.html`: the same as bars, in one page that needs nothing else.

use std::fmt::Write as _;

use super::Findings;
use super::markdown::{losses, milliseconds, rate};
use super::results::{Compared, Row};
use super::scenarios::Figure;
use super::servers::Part;

const STYLE: &str = include_str!("style.css");

/// The page.
pub(crate) fn page(findings: &Findings) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, findings);
    out
}

fn write(out: &mut String, findings: &Findings) -> std::fmt::Result {
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>ringftpd: benchmarks</title>\n\
         <style>\n{STYLE}</style>\n<h1>ringftpd beside other servers</h1>\n\
         <p class=\"faint\">Written by <code>cargo xtask compare</code>. Bars are relative to ringftpd, as medians over runs that were \
         neighbours in time; shorter is better. The line marks ringftpd. With a † rates and latencies are the load's as much as the server's: \
         its core was full, or late.</p>\n<p class=\"faint\">{}</p>\n<p class=\"faint\">{}</p>\n",
        text(&findings.machine),
        text(
            &findings
                .versions
                .iter()
                .map(|(name, version)| format!("{name} {version}"))
                .collect::<Vec<_>>()
                .join(", ")
        )
    )?;
    for (name, why) in &findings.absent {
        writeln!(out, "<p class=\"bad\"><b>{name} could not be started</b>: {}</p>", text(why))?;
    }
    write_targets(out, findings)?;
    writeln!(out, "<section><h2>What ringftpd loses, or may</h2>\n<ul>")?;
    let lost: Vec<String> = findings.compared.iter().flat_map(losses).collect();
    if lost.is_empty() {
        writeln!(out, "<li>Nothing of what is measured here.</li>")?;
    }
    for loss in lost {
        writeln!(out, "<li>{}</li>", text(&loss))?;
    }
    writeln!(out, "</ul></section>")?;
    for compared in &findings.compared {
        write_section(out, compared)?;
    }
    writeln!(out, "</html>")
}

fn write_targets(out: &mut String, findings: &Findings) -> std::fmt::Result {
    writeln!(out, "<section><h2>Targets</h2>\n<table><tr><th>what<th>target<th>measured<th></tr>")?;
    for target in &findings.targets {
        let (class, verdict) = match target.holds {
            Some(true) => ("good", "holds"),
            Some(false) => ("bad", "missed"),
            None => ("faint", "not measured"),
        };
        let measured = target.measured.trim_start_matches("not measured: ");
        writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td class=\"{class}\">{verdict}</tr>",
            text(target.what),
            text(target.wanted),
            text(measured)
        )?;
    }
    writeln!(out, "</table></section>")
}

fn write_section(out: &mut String, compared: &Compared) -> std::fmt::Result {
    let scenario = compared.scenario;
    let rows = compared.rows();
    // A bar that is ten times as long as ours says enough: longer ones are cut, and say so.
    let longest = rows.iter().map(|row| row.to_own).fold(1.0, f64::max).min(10.0);
    writeln!(
        out,
        "<section><h2>{}</h2>\n<p class=\"faint\">{}: {}</p>",
        scenario.name,
        text(scenario.title),
        scenario.figure.what()
    )?;
    writeln!(
        out,
        "<table class=\"bars\"><tr><th>server<th>{}<th class=\"bar\"><th>÷ ringftpd<th>÷ roofline<th>÷ best peer\
         <th>{}s a second<th>p50<th>p99<th>errors</tr>",
        scenario.figure.what(),
        scenario.unit
    )?;
    for row in &rows {
        write_row(out, compared, row, longest)?;
    }
    writeln!(out, "</table>")?;
    for (name, why) in compared.failures() {
        writeln!(out, "<p class=\"bad\">{name} did not do this: {}</p>", text(why))?;
    }
    writeln!(out, "</section>")
}

fn write_row(out: &mut String, compared: &Compared, row: &Row, longest: f64) -> std::fmt::Result {
    let class = match row.part {
        Part::Own => "own",
        Part::Roofline | Part::Web => "reference",
        Part::Peer => "peer",
    };
    let cut = if row.to_own > longest { " cut" } else { "" };
    let ratio = |value: Option<f64>| value.map_or_else(|| String::from("–"), |value| format!("{value:.2}"));
    writeln!(
        out,
        "<tr class=\"{class}\"><td>{}<td>{}<td class=\"bar\"><span class=\"mark\" style=\"left:{:.2}%\"></span>\
         <span class=\"fill{cut}\" style=\"width:{:.2}%\"></span><td>{:.2}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{:.0}</tr>",
        row.name,
        compared.scenario.figure.show(row.figure),
        100.0 / longest,
        row.to_own.min(longest) / longest * 100.0,
        row.to_own,
        ratio(row.to_roofline),
        ratio(row.to_best_peer),
        row.doubted(rate(row.rate.filter(|_| compared.scenario.figure != Figure::Memory))),
        row.doubted(milliseconds(row.p50_us)),
        row.doubted(milliseconds(row.p99_us)),
        row.errors
    )
}

/// Text as HTML has it; code in back quotes becomes code.
fn text(plain: &str) -> String {
    let escaped = plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut out = String::new();
    for (number, part) in escaped.split('`').enumerate() {
        if number > 0 {
            out.push_str(if number % 2 == 1 { "<code>" } else { "</code>" });
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(text("`MLSD` of <a> & b"), "<code>MLSD</code> of &lt;a&gt; &amp; b");
    }
}
