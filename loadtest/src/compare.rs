//! Two servers in turn on the same core, pair by pair: a ratio from within a minute says more than two figures from
//! different days.

use anyhow::{Context as _, bail};

use crate::cli::{CompareOptions, RunOptions};
use crate::interrupt;
use crate::output::{OutputFile, print};
use crate::report::{Report, table};
use crate::run::run;

/// Runs the pairs and prints what they come to; whether all runs went well.
///
/// # Errors
///
/// If a run cannot begin, or the processor time of a server cannot be had.
pub(crate) fn compare(options: &CompareOptions) -> anyhow::Result<bool> {
    if options.run.target.is_some() || options.run.server.server.is_some() {
        bail!("compare starts its servers by --a and --b: it takes no --target and no --server");
    }
    if options.run.html.is_some() {
        bail!("compare makes no page: it takes no --html");
    }
    let json = options.run.json.as_deref().map(OutputFile::open).transpose()?;
    let unit = options.scenario.unit();
    print(&format!(
        "{}: processor time of the server for each {unit}, in microseconds\n  A: {}\n  B: {}\n\n  \
         {:>4}{:>12}{:>12}{:>8}{:>14}{:>14}\n",
        options.scenario.name(),
        options.a,
        options.b,
        "pair",
        "A",
        "B",
        "A/B",
        "A per second",
        "B per second"
    ))?;
    let (mut ones, mut others, mut ratios, mut kept) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut clean, mut ended_early, mut told) = (true, "", Ok(()));
    for pair in 1..=options.pairs {
        // What changes on the machine from run to run favours neither, if each is the first of a pair as often.
        let a_is_first = pair % 2 == 1;
        let (one, other) = if a_is_first {
            let one = measure(options, &options.a);
            (one, measure(options, &options.b))
        } else {
            let other = measure(options, &options.b);
            (measure(options, &options.a), other)
        };
        if interrupt::is_received() {
            // The pair that was under way counts for nothing.
            ended_early = "ENDED EARLY: interrupted; ";
            break;
        }
        let ((one, one_us), (other, other_us)) = match one.and_then(|one| Ok((one, other?))) {
            Ok(both) => both,
            Err(error) if ratios.is_empty() => return Err(error),
            Err(error) => {
                eprintln!("loadtest: {error:#}");
                ended_early = "ENDED EARLY: a run came to nothing; ";
                break;
            }
        };
        let figures = |report: &Report, us: f64| {
            serde_json::json!({
                "processor_us_per_unit": us, "units": report.units, "units_per_s": report.units_per_s,
                "measured_s": report.measured_s, "warmup_s": report.warmup_s, "seed": report.seed,
                "errors": report.error_count(), "warnings": report.tester.warnings,
            })
        };
        kept.push(serde_json::json!({
            "first": if a_is_first { "a" } else { "b" }, "ratio": one_us / other_us,
            "a": figures(&one, one_us), "b": figures(&other, other_us),
        }));
        ones.push(one_us);
        others.push(other_us);
        ratios.push(one_us / other_us);
        let rate =
            |report: &Report| report.units_per_s.map_or(String::from("-"), |rate| format!("{rate:.0}"));
        let mut text = format!(
            "  {pair:>4}{one_us:>12.2}{other_us:>12.2}{:>8.2}{:>14}{:>14}\n",
            one_us / other_us,
            rate(&one),
            rate(&other)
        );
        for report in [&one, &other].into_iter().filter(|report| !report.is_clean()) {
            clean = false;
            text.push_str(&table(report));
        }
        if let Err(error) = print(&text) {
            // What was measured goes wherever it still can.
            told = Err(error);
            break;
        }
    }
    let pairs = ratios.len();
    if pairs == 0 {
        interrupt::check()?;
    }
    let [one, other, ratio] = [ones, others, ratios].map(Spread::of);
    if let Some(file) = json {
        let summary = serde_json::json!({
            "scenario": options.scenario, "unit": unit, "pairs": kept,
            "a": { "command": options.a, "processor_us_per_unit_median": one.median },
            "b": { "command": options.b, "processor_us_per_unit_median": other.median },
            "ratio": { "median": ratio.median, "min": ratio.min, "max": ratio.max },
        });
        file.write(&summary.to_string())?;
    }
    let told = told.and_then(|()| {
        print(&format!(
            "\n  {ended_early}median A {:.2}, B {:.2}; A/B median {:.3}, min {:.3}, max {:.3}\n",
            one.median, other.median, ratio.median, ratio.min, ratio.max
        ))
    });
    if let Err(error) = &told {
        eprintln!("loadtest: {error:#}");
    }
    Ok(clean && ended_early.is_empty() && told.is_ok())
}

fn measure(options: &CompareOptions, command: &str) -> anyhow::Result<(Report, f64)> {
    let mut run_options: RunOptions = options.run.clone();
    run_options.server.server = Some(command.to_owned());
    // Both get the same bytes and the same choices.
    run_options.seed = Some(options.run.seed.unwrap_or(1));
    let report = run(options.scenario, &run_options)?;
    let each = report.server.as_ref().and_then(|server| server.processor_us_per_unit);
    let each =
        each.with_context(|| format!("no {} was completed by {command}:\n{}", report.unit, table(&report)))?;
    Ok((report, each))
}

/// A median and its neighbours.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => f64::NAN,
            length if length % 2 == 1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        Self {
            min: values.first().copied().unwrap_or(f64::NAN),
            median,
            max: values.last().copied().unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Spread { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }
}
