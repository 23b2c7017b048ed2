//! A page of metrics, taken apart.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::http;

/// A page: what each family is, and the series in their order.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) families: Vec<Family>,
    series: BTreeMap<String, f64>,
}

/// Metrics of one name.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Each label with the values that it takes, in their order.
    pub(crate) labels: Vec<(String, Vec<String>)>,
}

impl Page {
    /// Asks a server for its page.
    ///
    /// # Panics
    ///
    /// If it gives none, or one that is not well-formed.
    #[track_caller]
    pub(crate) fn of(metrics: SocketAddr) -> Self {
        let answer = http::get(metrics, "/metrics");
        assert_eq!(answer.status, 200, "{}", answer.head);
        assert!(
            answer.head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
            "{}",
            answer.head
        );
        let mut page = Self::default();
        answer.body.lines().for_each(|line| page.take(line));
        page
    }

    /// The value of a series, as the page writes it: `name` or `name{label="value"}`.
    ///
    /// # Panics
    ///
    /// If there is no such series.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no series {series}"))
    }

    /// The sum of all series whose text begins so.
    pub(crate) fn sum(&self, beginning: &str) -> f64 {
        self.series.iter().filter(|(series, _)| series.starts_with(beginning)).map(|(_, value)| value).sum()
    }

    /// How many transfers of a direction ended so, by whatever route: which one it is depends on the file system.
    pub(crate) fn transfers(&self, direction: &str, outcome: &str) -> f64 {
        let beginning = format!("ringftpd_transfers_total{{direction=\"{direction}\",");
        let end = format!("outcome=\"{outcome}\"}}");
        let is_meant = |series: &str| series.starts_with(&beginning) && series.ends_with(&end);
        self.series.iter().filter(|(series, _)| is_meant(series)).map(|(_, value)| value).sum()
    }

    fn take(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a help");
            self.families.push(Family { name: name.into(), help: help.into(), ..Family::default() });
            return;
        }
        let family = self.families.last_mut().expect("a family before its series");
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(name, family.name);
            kind.clone_into(&mut family.kind);
            return;
        }
        let (series, value) = line.rsplit_once(' ').expect("a series and its value");
        let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, value) = label.split_once('=').expect("a label and its value");
            family.note(name, value.trim_matches('"'));
        }
        let known = self.series.insert(series.into(), value.parse().expect("a number"));
        assert_eq!(known, None, "{series} stands twice");
    }
}

impl Family {
    fn note(&mut self, name: &str, value: &str) {
        let at = self.labels.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.labels.push((name.into(), Vec::new()));
            self.labels.len() - 1
        });
        let values = &mut self.labels[at].1;
        if !values.iter().any(|known| known == value) {
            values.push(value.into());
        }
    }
}
