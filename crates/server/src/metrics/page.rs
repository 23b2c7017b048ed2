//! The page of metrics: every figure by its name, added up over the workers at the moment that somebody asks.
//!
//! Names and meanings stand here and nowhere else; docs/metrics.md is made from the page. Every series is there from the
//! start, with zero, so that a rate over it is right from its first event on.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;
use std::time::Duration;

use passive_ports::{Snapshot, WaitHistogram};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use protocol::command::VerbNumber;

use super::counters::{
    Connecting, Direction, LATENCY_BUCKETS, LoginEnd, Mode, Passed, Refusal, Reload, SessionEnd, TransferEnd,
    Way, WorkerCounters,
};
use super::{Metrics, process};
use crate::logging;
use crate::readiness::Phase;

/// The classes of replies that end a command.
const CLASSES: [(usize, &str); 4] = [(2, "2xx"), (3, "3xx"), (4, "4xx"), (5, "5xx")];

/// The buckets of reply latency that the page shows, as powers of two of a microsecond: 16 µs to 16.8 s.
const LATENCY_SHOWN: RangeInclusive<usize> = 4..=24;

/// Those of the wait for a passive data connection, every second one: 64 µs to 67 s.
const WAITS_SHOWN: RangeInclusive<usize> = 6..=26;

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What Prometheus asks for first.
    OpenMetrics,
    /// What everybody reads.
    Plain,
}

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// Writes the page.
pub(super) fn write(metrics: &'static Metrics, form: Form) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(All(metrics)));
    let mut page = String::new();
    match form {
        Form::OpenMetrics => text::encode(&mut page, &registry)?,
        Form::Plain => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok(page)
}

#[derive(Debug)]
struct All(&'static Metrics);

impl Collector for All {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.server(&mut page)?;
        self.sessions(&mut page)?;
        self.commands(&mut page)?;
        self.transfers(&mut page)?;
        self.passive_ports(&mut page)?;
        self.workers(&mut page)?;
        page.counters(
            "ringftpd_log_lines_lost",
            "Log lines that are in no log, because it could not be written, or not as fast as they came.",
            [
                ([("log", "events")], logging::lines_lost()),
                ([("log", "transfers")], self.0.transfer_log.get().map_or(0, |log| log.lines_lost())),
            ],
        )?;
        process::encode(&mut page, self.0.started)
    }
}

impl All {
    /// Adds up over the workers.
    fn sum(&self, of: impl Fn(&WorkerCounters) -> u64) -> u64 {
        self.0.workers.iter().map(|worker| of(&worker.counters)).sum()
    }

    fn server(&self, page: &mut Page<'_>) -> fmt::Result {
        let runtime = self.0.backend.to_string();
        page.gauges(
            "ringftpd_build_info",
            "1; the labels tell the version, and what the workers run on.",
            [([("version", env!("CARGO_PKG_VERSION")), ("runtime", &runtime)], 1)],
        )?;
        let is_ready = self.0.readiness.phase() == Phase::Ready;
        page.gauge(
            "ringftpd_ready",
            "1 while clients are served, 0 while the server starts or drains.",
            is_ready.into(),
        )?;
        page.counters(
            "ringftpd_reloads",
            "Readings of the configuration on SIGHUP. `refused`: it was faulty, and nothing changed.",
            Reload::ALL.map(|end| ([("outcome", end.name())], self.0.reloads.at(end as usize).get())),
        )
    }

    fn sessions(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counter(
            "ringftpd_sessions_started",
            "Sessions that began: control connections that were served.",
            self.sum(|worker| worker.sessions_started.get()),
        )?;
        page.counters(
            "ringftpd_sessions_ended",
            "Sessions that are over: `closed` by one side's word or by a deadline, or `lost` with their client.",
            SessionEnd::ALL
                .map(|end| ([("end", end.name())], self.sum(|worker| worker.sessions_ended(end)))),
        )?;
        page.gauge("ringftpd_sessions_open", "Sessions now.", self.sum(WorkerCounters::sessions_open))?;
        page.gauge(
            "ringftpd_sessions_limit",
            "How many sessions there may be: `limits.sessions_max`, or what the limit of file descriptors leaves.",
            self.0.sessions_max.load(Ordering::Relaxed) as u64,
        )?;
        page.counters(
            "ringftpd_sessions_refused",
            "Connections that got no session, by the limit that was reached.",
            Refusal::ALL
                .map(|reason| ([("reason", reason.name())], self.sum(|worker| worker.refusals(reason)))),
        )?;
        page.counters(
            "ringftpd_logins",
            "Logins that were decided. `must_wait`: the address had failed too often.",
            LoginEnd::ALL.map(|end| ([("outcome", end.name())], self.sum(|worker| worker.logins(end)))),
        )?;
        page.gauge(
            "ringftpd_password_checks_waiting",
            "Logins whose password waits to be checked; `limits.password_checks_max` of them are at a time.",
            self.0.bounds.get().map_or(0, |bounds| bounds.password_checks.waiting() as u64),
        )?;
        page.counters(
            "ringftpd_deadlines_passed",
            "Deadlines that passed and ended a session (`login`, `idle`) or a transfer (`stall`).",
            Passed::ALL
                .map(|passed| ([("deadline", passed.name())], self.sum(|worker| worker.deadlines(passed)))),
        )
    }

    fn commands(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counters(
            "ringftpd_commands",
            "Commands by verb and by the class of their last reply. `other`: what is not offered, or no command.",
            VerbNumber::all().flat_map(|verb| {
                CLASSES.map(|(class, name)| {
                    let labels = [("verb", verb.name()), ("class", name)];
                    (labels, self.sum(|worker| worker.commands(verb, class)))
                })
            }),
        )?;
        let mut counts = [0; LATENCY_BUCKETS];
        let mut sum_ns = 0;
        for worker in &self.0.workers {
            let (more, more_ns) = worker.counters.reply_latency.read();
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            sum_ns += more_ns;
        }
        page.histogram(
            "ringftpd_reply_latency_seconds",
            "From a command's arrival to the kernel's having its first reply.",
            &buckets(&counts, LATENCY_SHOWN, |bucket| Duration::from_micros(1 << bucket)),
            Duration::from_nanos(sum_ns).as_secs_f64(),
            counts.iter().sum(),
        )
    }

    fn transfers(&self, page: &mut Page<'_>) -> fmt::Result {
        let by_direction = |of: fn(&WorkerCounters, Direction) -> u64| {
            Direction::ALL.map(|direction| {
                ([("direction", direction.name())], self.sum(|worker| of(worker, direction)))
            })
        };
        let ways = Direction::ALL.into_iter().flat_map(|direction| {
            Way::ALL.into_iter().flat_map(move |way| TransferEnd::ALL.map(|end| (direction, way, end)))
        });
        page.counters(
            "ringftpd_transfers",
            "Transfers that are over, by the route of their bytes: the last one, where it changed on the way.",
            ways.filter(|(direction, way, end)| way.leads_to(*direction, *end)).map(|(direction, way, end)| {
                let labels =
                    [("direction", direction.name()), ("route", way.name()), ("outcome", end.name())];
                (labels, self.sum(|worker| worker.transfers(direction, way, end)))
            }),
        )?;
        page.gauges(
            "ringftpd_transfers_running",
            "Transfers now, from the opening of the file to the end of the data connection.",
            by_direction(WorkerCounters::transfers_running),
        )?;
        page.counters(
            "ringftpd_transferred_bytes",
            "Bytes that data connections took or gave, counted as they move.",
            by_direction(|worker, direction| worker.bytes(direction).get()),
        )?;
        page.counter(
            "ringftpd_cold_opens",
            "Downloads whose file was opened on another thread, because the kernel had not cached its path or asks a daemon or another machine to open it.",
            self.sum(WorkerCounters::cold_opens),
        )?;
        page.counter(
            "ringftpd_cold_reads",
            "Reads of files that had to wait, on another thread: what was read was not in the page cache.",
            self.sum(WorkerCounters::cold_reads),
        )?;
        page.counters(
            "ringftpd_rate_limit_waits",
            "How often a transfer had to wait for a limit of rate.",
            by_direction(WorkerCounters::limit_waits),
        )?;
        page.counters(
            "ringftpd_data_connections",
            "Data connections that were waited for.",
            Mode::ALL.into_iter().flat_map(|mode| {
                Connecting::ALL.map(|outcome| {
                    let labels = [("mode", mode.name()), ("outcome", outcome.name())];
                    (labels, self.sum(|worker| worker.data_connections(mode, outcome)))
                })
            }),
        )
    }

    fn passive_ports(&self, page: &mut Page<'_>) -> fmt::Result {
        let (ports, passive) = match self.0.bounds.get() {
            Some(bounds) => (bounds.passive_ports as u64, bounds.passive.total()),
            None => (0, Snapshot::default()),
        };
        let Snapshot { pending, cooling, free, leased, borrowed, refused, expired, mismatched, waits } =
            passive;
        page.gauge("ringftpd_passive_ports", "Passive ports that are bound.", ports)?;
        page.gauge(
            "ringftpd_passive_ports_free",
            "Passive ports on which nobody is awaited. The others take clients of further addresses all the same.",
            free,
        )?;
        page.gauge("ringftpd_passive_leases_pending", "Leases that wait for their connection now.", pending)?;
        page.gauge(
            "ringftpd_passive_leases_cooling",
            "Pairs of port and client that are given up and not yet leased anew.",
            cooling,
        )?;
        page.counter("ringftpd_passive_leases", "Leases of a passive port that sessions got.", leased)?;
        page.counter(
            "ringftpd_passive_leases_borrowed",
            "Those that they got on the ports of another worker.",
            borrowed,
        )?;
        page.counter(
            "ringftpd_passive_leases_refused",
            "Leases that were asked for in vain: no port was free for the client's address.",
            refused,
        )?;
        page.counter("ringftpd_passive_leases_expired", "Leases to which nobody came in time.", expired)?;
        page.counter(
            "ringftpd_passive_connections_mismatched",
            "Connections to a passive port from an address that nobody awaited there, which were closed.",
            mismatched,
        )?;
        let upper_bound = |bucket| WaitHistogram::upper_bound(bucket).unwrap_or(Duration::MAX);
        page.histogram(
            "ringftpd_passive_wait_seconds",
            "From the lease of a passive port to the client's connection.",
            &buckets(&waits.counts, WAITS_SHOWN.step_by(2), upper_bound),
            Duration::from_micros(waits.sum_us).as_secs_f64(),
            waits.total(),
        )
    }

    fn workers(&self, page: &mut Page<'_>) -> fmt::Result {
        let numbers: Vec<String> = (0..self.0.workers.len()).map(|number| number.to_string()).collect();
        let figures: Vec<_> = self
            .0
            .workers
            .iter()
            .zip(&numbers)
            .filter_map(|(worker, number)| Some((number.as_str(), worker.observer.get()?.figures())))
            .collect();
        let each = |of: fn(&runtime::WorkerFigures) -> u64| {
            figures.iter().map(move |(number, figures)| ([("worker", *number)], of(figures)))
        };
        page.gauges(
            "ringftpd_worker_sessions",
            "Sessions of each worker now.",
            self.0
                .workers
                .iter()
                .zip(&numbers)
                .map(|(worker, number)| ([("worker", number.as_str())], worker.counters.sessions_open())),
        )?;
        page.counters_of_seconds(
            "ringftpd_worker_busy_seconds",
            "How long each worker's thread was awake.",
            figures.iter().map(|(number, figures)| ([("worker", *number)], figures.busy.as_secs_f64())),
        )?;
        page.counters(
            "ringftpd_worker_sleeps",
            "How often each worker's thread had nothing to do and slept until the kernel woke it.",
            each(|figures| figures.sleeps),
        )?;
        page.counters(
            "ringftpd_worker_kernel_operations",
            "What each worker handed to the kernel: a `poll` of a descriptor or the receiving on a control connection, which go on until they end, on epoll its registration; the `cancel` of one; a `splice` that the ring's threads do.",
            figures.iter().flat_map(|(number, figures)| {
                let operations =
                    [("poll", figures.polls), ("cancel", figures.cancels), ("splice", figures.splices)];
                operations
                    .map(|(operation, count)| ([("worker", *number), ("operation", operation)], count))
            }),
        )?;
        page.counters(
            "ringftpd_blocking_jobs",
            "Jobs of each worker that were given to other threads because they may wait for a disk.",
            each(|figures| figures.jobs),
        )?;
        page.gauges(
            "ringftpd_blocking_jobs_running",
            "Such jobs that run now: 16 at most for whatever may wait, and 16 for each mount and sort of job.",
            each(|figures| figures.jobs_running),
        )?;
        page.gauges(
            "ringftpd_blocking_jobs_waiting",
            "Such jobs that wait for their turn now.",
            each(|figures| figures.jobs_waiting),
        )
    }
}

/// The buckets that are shown: each has its upper bound, and what was counted since the one before.
fn buckets<const N: usize>(
    counts: &[u64; N],
    shown: impl Iterator<Item = usize>,
    upper_bound: impl Fn(usize) -> Duration,
) -> Vec<(f64, u64)> {
    let mut from = 0;
    let mut buckets: Vec<(f64, u64)> = shown
        .map(|bucket| {
            let since = counts[from..=bucket].iter().sum();
            from = bucket + 1;
            (upper_bound(bucket).as_secs_f64(), since)
        })
        .collect();
    buckets.push((f64::INFINITY, counts[from..].iter().sum()));
    buckets
}

/// A page that is being written.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn counter_of_seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    pub(super) fn gauge_of_seconds(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counters<'l, const L: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); L], u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        series.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn counters_of_seconds<'l, const L: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); L], f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        series.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn gauges<'l, const L: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); L], u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        series.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}
