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
    /// Why runs of ours came to nothing.
    pub(crate) own_failures: Vec<String>,
    pub(crate) entries: Vec<Entry>,
}

/// A row of the report: one server's medians, and how they stand to the roofline's and the best peer's.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) part: Part,
    pub(crate) rate: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// The figure that is compared.
    pub(crate) figure: f64,
    /// The figure in ours, as median of the pairs; and so the rate and the latency, of pairs that decide them.
    pub(crate) to_own: f64,
    pub(crate) rate_to_own: Option<f64>,
    pub(crate) p99_to_own: Option<f64>,
    pub(crate) to_roofline: Option<f64>,
    pub(crate) to_best_peer: Option<f64>,
    pub(crate) errors: f64,
    pub(crate) complaint: Option<String>,
    /// In a run of its, rate and latencies are the load's as much as its own.
    pub(crate) is_doubtful: bool,
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
        rows.extend(row("ringftpd", Part::Own, figure, &self.own.iter().collect::<Vec<_>>()));
        for entry in &self.entries {
            let Some(to_own) = entry.to_own(|run| figure.of(run)) else { continue };
            let runs: Vec<&Figures> = entry.pairs.iter().map(|(_, theirs)| theirs).collect();
            let row = row(entry.name, entry.part, figure, &runs);
            rows.extend(row.map(|row| Row {
                to_own,
                rate_to_own: entry.decided_to_own(|run| run.rate, |one, other| one > other),
                p99_to_own: entry.decided_to_own(|run| run.p99_us, |one, other| one < other),
                ..row
            }));
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

    /// Who did not take part, or failed, and why; ours too.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let own = self.own_failures.iter().map(|failure| ("ringftpd", failure.as_str()));
        own.chain(self.entries.iter().filter_map(|entry| Some((entry.name, entry.failure.as_deref()?))))
    }

    /// What ours takes of what the server of a part takes, from the pair where that is least to that where it is most.
    pub(crate) fn own_to(&self, part: Part) -> Option<(f64, f64)> {
        let entry = self.entries.iter().find(|entry| entry.part == part)?;
        let ratios = entry.ratios_to_own(|run| self.scenario.figure.of(run)).map(|theirs| 1.0 / theirs);
        Some((ratios.clone().min_by(f64::total_cmp)?, ratios.max_by(f64::total_cmp)?))
    }
}

impl Entry {
    /// What of its runs is, in the runs of ours beside them.
    fn ratios_to_own<'a>(
        &'a self,
        of: impl Fn(&Figures) -> Option<f64> + Clone + 'a,
    ) -> impl Iterator<Item = f64> + Clone + 'a {
        self.pairs.iter().filter_map(move |(own, theirs)| {
            let (own, theirs) = (of(own)?, of(theirs)?);
            (own > 0.0).then_some(theirs / own)
        })
    }

    fn to_own(&self, of: impl Fn(&Figures) -> Option<f64> + Clone) -> Option<f64> {
        median(self.ratios_to_own(of))
    }

    /// The same of the pairs that decide which of the two is better. Where the load was at its limit, a server is at least as good as
    /// it looks: so it is decided that it is better, and never that it is worse.
    fn decided_to_own(
        &self,
        of: impl Fn(&Figures) -> Option<f64>,
        is_better: impl Fn(f64, f64) -> bool,
    ) -> Option<f64> {
        median(self.pairs.iter().filter_map(|(own, theirs)| {
            let (mine, other) = (of(own)?, of(theirs)?);
            let decides = match (own.doubts.is_empty(), theirs.doubts.is_empty()) {
                (true, true) => true,
                (false, true) => is_better(mine, other),
                (true, false) => is_better(other, mine),
                (false, false) => false,
            };
            (decides && mine > 0.0).then_some(other / mine)
        }))
    }
}

/// The medians of runs of ours, or of another that is still to be held against ours.
fn row(name: &'static str, part: Part, figure: Figure, runs: &[&Figures]) -> Option<Row> {
    Some(Row {
        name,
        part,
        rate: median(runs.iter().filter_map(|run| run.rate)),
        p50_us: median(runs.iter().filter_map(|run| run.p50_us)),
        p99_us: median(runs.iter().filter_map(|run| run.p99_us)),
        figure: median(runs.iter().filter_map(|run| figure.of(run)))?,
        to_own: 1.0,
        rate_to_own: None,
        p99_to_own: None,
        to_roofline: None,
        to_best_peer: None,
        errors: runs.iter().map(|run| run.errors).fold(0.0, |sum, errors| sum + errors),
        complaint: runs.iter().filter_map(|run| run.complaint.clone()).next(),
        is_doubtful: runs.iter().any(|run| !run.doubts.is_empty()),
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
        Figures { processor_us: Some(processor_us), rate: Some(1.0), units: 1.0, ..Figures::default() }
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
            own_failures: vec![String::from("it was killed")],
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
        assert_eq!(compared.own_to(Part::Roofline), Some((1.0, 2.0)));
        assert_eq!(compared.failures().collect::<Vec<_>>(), [("ringftpd", "it was killed"), ("none", "why")]);
    }

    #[test]
    fn where_the_load_is_at_its_limit_a_server_is_at_least_as_good_as_it_looks() {
        let at = |rate, at_its_limit: bool| Figures {
            rate: Some(rate),
            doubts: at_its_limit.then(|| String::from("the load was full")).into_iter().collect(),
            ..run(1.0)
        };
        let ratio = |own, theirs| {
            let entry = Entry { name: "one", part: Part::Peer, pairs: vec![(own, theirs)], failure: None };
            entry.decided_to_own(|run| run.rate, |one, other| one > other)
        };
        assert_eq!(ratio(at(10.0, false), at(5.0, false)), Some(0.5));
        assert_eq!(ratio(at(10.0, true), at(5.0, false)), Some(0.5), "ours is quicker, or quicker still");
        assert_eq!(ratio(at(10.0, true), at(20.0, false)), None);
        assert_eq!(ratio(at(10.0, false), at(20.0, true)), Some(2.0));
        assert_eq!(ratio(at(10.0, false), at(5.0, true)), None);
        assert_eq!(ratio(at(10.0, true), at(20.0, true)), None);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
