//! What the runs come to: medians, and medians of ratios between runs that were neighbours in time.

use super::load::Figures;
use super::scenarios::{Figure, Scenario};
use super::servers::Part;

/// A server's part in a scenario.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    /// Its runs, each with the run of ours beside it.
    pub(crate) pairs: Vec<(Figures, Figures)>,
    /// Why it has none.
    pub(crate) failure: Option<String>,
}

/// A scenario with all that took part.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) scenario: &'static Scenario,
    pub(crate) own: Vec<Figures>,
    pub(crate) entries: Vec<Entry>,
}

/// A row of the report: one server's medians, and how they stand to the roofline's and the best peer's.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    pub(crate) rate: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// The figure that is compared.
    pub(crate) figure: f64,
    /// The figure in ours, as median of the pairs.
    pub(crate) to_own: f64,
    pub(crate) to_roofline: Option<f64>,
    pub(crate) to_best_peer: Option<f64>,
    pub(crate) errors: f64,
    pub(crate) complaint: Option<String>,
}

impl Figure {
    /// The figure in a run.
    pub(crate) fn of(self, figures: &Figures) -> Option<f64> {
        match self {
            Self::Processor => figures.processor_us,
            Self::ProcessorPerGib => figures.processor_s_per_gib,
            Self::Memory => figures.memory_bytes,
        }
    }
}

impl Compared {
    /// The rows, ours first.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let figure = self.scenario.figure;
        let mut rows: Vec<Row> = Vec::new();
        rows.extend(row("ringftpd", Part::Own, figure, self.own.iter(), 1.0));
        for entry in &self.entries {
            let ratios = entry.pairs.iter().filter_map(|(own, theirs)| {
                let (own, theirs) = (figure.of(own)?, figure.of(theirs)?);
                (own > 0.0).then_some(theirs / own)
            });
            if let Some(ratio) = median(ratios) {
                rows.extend(row(
                    entry.name,
                    entry.part,
                    figure,
                    entry.pairs.iter().map(|pair| &pair.1),
                    ratio,
                ));
            }
        }
        let of_part = |part| rows.iter().filter(move |row: &&Row| row.part == part).map(|row| row.to_own);
        let roofline = of_part(Part::Roofline).next();
        let best_peer = of_part(Part::Peer).min_by(f64::total_cmp);
        for row in &mut rows {
            row.to_roofline = roofline.map(|roofline| row.to_own / roofline);
            row.to_best_peer = best_peer.map(|best| row.to_own / best);
        }
        rows
    }

    /// The row of ours.
    pub(crate) fn own_row(&self) -> Option<Row> {
        self.rows().into_iter().find(|row| row.part == Part::Own)
    }

    /// Who did not take part, or failed, and why.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.entries.iter().filter_map(|entry| Some((entry.name, entry.failure.as_deref()?)))
    }
}

fn row<'a>(
    name: &'static str,
    part: Part,
    figure: Figure,
    runs: impl Iterator<Item = &'a Figures> + Clone,
    to_own: f64,
) -> Option<Row> {
    Some(Row {
        name,
        part,
        rate: median(runs.clone().map(|run| run.rate))?,
        p50_us: median(runs.clone().filter_map(|run| run.p50_us)),
        p99_us: median(runs.clone().filter_map(|run| run.p99_us)),
        figure: median(runs.clone().filter_map(|run| figure.of(run)))?,
        to_own,
        to_roofline: None,
        to_best_peer: None,
        errors: runs.clone().map(|run| run.errors).fold(0.0, |sum, errors| sum + errors),
        complaint: runs.filter_map(|run| run.complaint.clone()).next(),
    })
}

/// The middle one; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::scenarios::SCENARIOS;

    fn run(processor_us: f64) -> Figures {
        Figures { processor_us: Some(processor_us), rate: 1.0, units: 1.0, ..Figures::default() }
    }

    fn entry(name: &'static str, part: Part, pairs: &[(f64, f64)]) -> Entry {
        let pairs = pairs.iter().map(|&(own, theirs)| (run(own), run(theirs))).collect();
        Entry { name, part, pairs, failure: None }
    }

    #[test]
    fn ratios_are_medians_of_neighbours() {
        let compared = Compared {
            scenario: &SCENARIOS[0],
            own: vec![run(10.0), run(20.0), run(30.0)],
            entries: vec![
                entry("roofline", Part::Roofline, &[(10.0, 5.0), (20.0, 10.0), (30.0, 30.0)]),
                entry("one", Part::Peer, &[(10.0, 40.0), (20.0, 80.0), (30.0, 90.0)]),
                entry("other", Part::Peer, &[(10.0, 100.0)]),
                Entry {
                    name: "none",
                    part: Part::Peer,
                    pairs: Vec::new(),
                    failure: Some(String::from("why")),
                },
            ],
        };
        let own = compared.own_row().expect("ours");
        assert_eq!((own.figure, own.to_roofline, own.to_best_peer), (20.0, Some(2.0), Some(0.25)));
        assert_eq!(compared.rows().len(), 4);
        assert_eq!(compared.failures().collect::<Vec<_>>(), [("none", "why")]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
