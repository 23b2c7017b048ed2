//! What one worker counts. Its own thread is the only one that writes, so that nothing here costs more than a store.

use std::time::Duration;

use protocol::command::VerbNumber;
use protocol::reply::Code;
use runtime::Counter;
use transfer::Route;

use crate::admission::Full;

/// A set of label values: each variant has a place among the counters, and a name on the page.
macro_rules! label {
    ($(#[doc = $doc:literal])+ $Label:ident { $( $(#[doc = $variant_doc:literal])* $Variant:ident = $name:literal, )+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $Label {
            $( $(#[doc = $variant_doc])* $Variant, )+
        }

        impl $Label {
            pub(crate) const ALL: [Self; [$($name),+].len()] = [$(Self::$Variant),+];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $( Self::$Variant => $name, )+
                }
            }
        }
    };
}

label! {
    /// Why a session is over.
    SessionEnd {
        /// One side said so: QUIT, a deadline, the end of the server.
        Closed = "closed",
        /// The client vanished, or took no replies any more.
        Lost = "lost",
    }
}

label! {
    /// Why a connection got no session.
    Refusal {
        /// As many sessions as there may be.
        Total = "total",
        /// As many sessions without a login.
        Pending = "pending",
        /// As many of that address.
        Address = "address",
        /// As many of that network.
        Network = "network",
        /// No file descriptor was left.
        Descriptors = "descriptors",
    }
}

label! {
    /// What became of a login.
    LoginEnd {
        /// An account.
        Accepted = "accepted",
        /// Without an account.
        Anonymous = "anonymous",
        /// Name or password are wrong, or it may not come from there.
        Refused = "refused",
        /// The address has failed too often, and was refused without a look at the password.
        MustWait = "must_wait",
        /// The account has as many sessions as it may have.
        AccountFull = "account_full",
        /// It could not be found out.
        Unavailable = "unavailable",
    }
}

label! {
    /// Which way the bytes of a data connection go, and whence they come.
    Direction {
        /// RETR.
        Download = "download",
        /// STOR, APPE, STOU.
        Upload = "upload",
        /// LIST, NLST, MLSD.
        Listing = "listing",
    }
}

label! {
    /// The way of the bytes.
    Way {
        Sendfile = "sendfile",
        Splice = "splice",
        RingSplice = "ring-splice",
        Copy = "copy",
        /// It was over before a way was chosen.
        Unchosen = "none",
    }
}

label! {
    /// How a transfer ended.
    TransferEnd {
        /// Every byte was handed over, and an upload has its name.
        Complete = "complete",
        /// Its file could not be opened.
        Refused = "refused",
        /// It failed: no data connection, a disk, a network.
        Failed = "failed",
        /// ABOR, or the session ended.
        Aborted = "aborted",
    }
}

label! {
    /// Who makes a data connection.
    Mode {
        /// The client connects.
        Passive = "passive",
        /// The server connects.
        Active = "active",
    }
}

label! {
    /// How a data connection came about.
    Connecting {
        /// It did.
        Established = "established",
        /// Not in time.
        TooLate = "too_late",
        /// It was refused, or the port was no longer kept.
        Failed = "failed",
    }
}

label! {
    /// A deadline that passed. That of a data connection is counted among those.
    Passed {
        Login = "login",
        Idle = "idle",
        Stall = "stall",
    }
}

label! {
    /// What became of a reload.
    Reload {
        /// The new configuration holds.
        Done = "done",
        /// It was faulty, and nothing changed.
        Refused = "refused",
    }
}

/// Counters, one for each value of a label.
#[derive(Debug)]
pub(crate) struct By<const N: usize>([Counter; N]);

impl<const N: usize> Default for By<N> {
    fn default() -> Self {
        Self([const { Counter::new() }; N])
    }
}

impl<const N: usize> By<N> {
    pub(super) fn at(&self, index: usize) -> &Counter {
        &self.0[index]
    }

    fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }
}

/// How many classes of replies end a command: 2 to 5.
const CLASSES: usize = 4;

/// What one worker counts. On cache lines of its own, two apart from the next worker's, for processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerCounters {
    /// By verb and then by the class of the reply, 2 to 5.
    commands: By<{ VerbNumber::COUNT * CLASSES }>,
    pub(crate) reply_latency: Latency,
    pub(crate) sessions_started: Counter,
    sessions_ended: By<{ SessionEnd::ALL.len() }>,
    refusals: By<{ Refusal::ALL.len() }>,
    logins: By<{ LoginEnd::ALL.len() }>,
    transfers_started: By<{ Direction::ALL.len() }>,
    transfers: [[By<{ TransferEnd::ALL.len() }>; Way::ALL.len()]; Direction::ALL.len()],
    bytes: By<{ Direction::ALL.len() }>,
    cold_reads: Counter,
    cold_opens: Counter,
    limit_waits: By<{ Direction::ALL.len() }>,
    data_connections: [By<{ Connecting::ALL.len() }>; Mode::ALL.len()],
    deadlines: By<{ Passed::ALL.len() }>,
}

/// The figures of a transfer that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransferFigures {
    pub(crate) direction: Direction,
    pub(crate) route: Option<Route>,
    pub(crate) end: TransferEnd,
    pub(crate) cold_reads: u64,
    pub(crate) limit_waits: u64,
}

impl WorkerCounters {
    /// The last reply to a command was sent.
    pub(crate) fn on_command(&self, verb: VerbNumber, code: Code) {
        if let Some(class) = usize::from(code.class()).checked_sub(2).filter(|class| *class < CLASSES) {
            self.commands.at(verb.index() * CLASSES + class).add(1);
        }
    }

    pub(crate) fn on_session_ended(&self, end: SessionEnd) {
        self.sessions_ended.at(end as usize).add(1);
    }

    pub(crate) fn on_refused(&self, refusal: Refusal) {
        self.refusals.at(refusal as usize).add(1);
    }

    pub(crate) fn on_login(&self, end: LoginEnd) {
        self.logins.at(end as usize).add(1);
    }

    pub(crate) fn on_data_connection(&self, mode: Mode, outcome: Connecting) {
        self.data_connections[mode as usize].at(outcome as usize).add(1);
    }

    pub(crate) fn on_deadline(&self, passed: Passed) {
        self.deadlines.at(passed as usize).add(1);
    }

    pub(crate) fn on_cold_open(&self) {
        self.cold_opens.add(1);
    }

    pub(crate) fn on_transfer(&self, direction: Direction) {
        self.transfers_started.at(direction as usize).add(1);
    }

    pub(crate) fn on_transfer_ended(&self, figures: &TransferFigures) {
        let TransferFigures { direction, route, end, cold_reads, limit_waits } = *figures;
        self.transfers[direction as usize][Way::of(route) as usize].at(end as usize).add(1);
        // Nearly always nothing: then their cache lines are left alone.
        if cold_reads > 0 {
            self.cold_reads.add(cold_reads);
        }
        if limit_waits > 0 {
            self.limit_waits.at(direction as usize).add(limit_waits);
        }
    }

    /// Where the bytes of a direction are counted as they move.
    pub(crate) fn bytes(&self, direction: Direction) -> &Counter {
        self.bytes.at(direction as usize)
    }
}

/// Reading, from any thread.
impl WorkerCounters {
    /// How often a command was answered with a reply of `class`, 2 to 5.
    pub(super) fn commands(&self, verb: VerbNumber, class: usize) -> u64 {
        self.commands.at(verb.index() * CLASSES + class - 2).get()
    }

    pub(super) fn sessions_ended(&self, end: SessionEnd) -> u64 {
        self.sessions_ended.at(end as usize).get()
    }

    pub(super) fn sessions_open(&self) -> u64 {
        // Read in this order, or one that begins and ends meanwhile would be missing.
        let ended = self.sessions_ended.total();
        self.sessions_started.get().saturating_sub(ended)
    }

    pub(super) fn refusals(&self, refusal: Refusal) -> u64 {
        self.refusals.at(refusal as usize).get()
    }

    pub(super) fn logins(&self, end: LoginEnd) -> u64 {
        self.logins.at(end as usize).get()
    }

    pub(super) fn transfers(&self, direction: Direction, way: Way, end: TransferEnd) -> u64 {
        self.transfers[direction as usize][way as usize].at(end as usize).get()
    }

    pub(super) fn transfers_running(&self, direction: Direction) -> u64 {
        let ended = self.transfers[direction as usize].iter().map(By::total).sum();
        self.transfers_started.at(direction as usize).get().saturating_sub(ended)
    }

    pub(super) fn cold_reads(&self) -> u64 {
        self.cold_reads.get()
    }

    pub(super) fn cold_opens(&self) -> u64 {
        self.cold_opens.get()
    }

    pub(super) fn limit_waits(&self, direction: Direction) -> u64 {
        self.limit_waits.at(direction as usize).get()
    }

    pub(super) fn data_connections(&self, mode: Mode, outcome: Connecting) -> u64 {
        self.data_connections[mode as usize].at(outcome as usize).get()
    }

    pub(super) fn deadlines(&self, passed: Passed) -> u64 {
        self.deadlines.at(passed as usize).get()
    }
}

impl Way {
    fn of(route: Option<Route>) -> Self {
        match route {
            Some(Route::Sendfile) => Self::Sendfile,
            Some(Route::Splice) => Self::Splice,
            Some(Route::RingSplice) => Self::RingSplice,
            Some(Route::Copy) => Self::Copy,
            None => Self::Unchosen,
        }
    }

    /// Whether transfers of a direction can end so, having taken this way.
    pub(super) fn leads_to(self, direction: Direction, end: TransferEnd) -> bool {
        let exists = match direction {
            Direction::Download => true,
            Direction::Upload => self != Self::Sendfile,
            Direction::Listing => matches!(self, Self::Copy | Self::Unchosen),
        };
        let ends = match end {
            // A file of no bytes may need no way at all.
            TransferEnd::Complete => self != Self::Unchosen || direction == Direction::Download,
            TransferEnd::Refused => self == Self::Unchosen,
            TransferEnd::Failed | TransferEnd::Aborted => true,
        };
        exists && ends
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        match full {
            Full::Total => Self::Total,
            Full::Pending => Self::Pending,
            Full::Address => Self::Address,
            Full::Network => Self::Network,
        }
    }
}

/// How many buckets a [`Latency`] has.
pub(super) const LATENCY_BUCKETS: usize = 26;

/// Times in buckets of powers of two: bucket 0 holds those under 1 µs, bucket `i` those under 2^i µs, the last one the rest.
#[derive(Debug)]
pub(crate) struct Latency {
    counts: [Counter; LATENCY_BUCKETS],
    sum_ns: Counter,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: [const { Counter::new() }; LATENCY_BUCKETS], sum_ns: Counter::new() }
    }
}

impl Latency {
    /// So many took so long, each.
    pub(crate) fn record(&self, took: Duration, many: u64) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bits = u64::BITS - (ns / 1000).leading_zeros();
        self.counts[(bits as usize).min(LATENCY_BUCKETS - 1)].add(many);
        self.sum_ns.add(ns.saturating_mul(many));
    }

    /// The counts, and the sum in nanoseconds.
    pub(super) fn read(&self) -> ([u64; LATENCY_BUCKETS], u64) {
        (self.counts.each_ref().map(Counter::get), self.sum_ns.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_below_its_bound() {
        let latency = Latency::default();
        latency.record(Duration::from_nanos(999), 1);
        latency.record(Duration::from_micros(1), 2);
        latency.record(Duration::from_micros(1023), 1);
        latency.record(Duration::from_secs(3600), 1);
        let (counts, sum_ns) = latency.read();
        let mut expected = [0; LATENCY_BUCKETS];
        (expected[0], expected[1], expected[10], expected[LATENCY_BUCKETS - 1]) = (1, 2, 1, 1);
        assert_eq!(counts, expected);
        assert_eq!(sum_ns, 999 + 2000 + 1_023_000 + 3_600_000_000_000);
    }

    #[test]
    fn what_runs_is_what_has_begun_and_not_ended() {
        let counters = WorkerCounters::default();
        counters.on_transfer(Direction::Upload);
        counters.on_transfer(Direction::Upload);
        let figures = TransferFigures {
            direction: Direction::Upload,
            route: Some(Route::Splice),
            end: TransferEnd::Aborted,
            cold_reads: 0,
            limit_waits: 3,
        };
        counters.on_transfer_ended(&figures);
        assert_eq!(counters.transfers_running(Direction::Upload), 1);
        assert_eq!(counters.transfers(Direction::Upload, Way::Splice, TransferEnd::Aborted), 1);
        assert_eq!(counters.limit_waits(Direction::Upload), 3);
    }

    #[test]
    fn what_only_prepares_for_another_reply_is_no_class_of_its_own() {
        let counters = WorkerCounters::default();
        let verb = VerbNumber::OTHER;
        for code in [150, 226, 350, 450, 550, 631] {
            counters.on_command(verb, Code::new(code));
        }
        assert_eq!([2, 3, 4, 5].map(|class| counters.commands(verb, class)), [1, 1, 1, 1]);
    }

    #[test]
    fn no_two_workers_share_a_cache_line() {
        assert_eq!(align_of::<WorkerCounters>(), 128);
        assert_eq!(size_of::<WorkerCounters>() % 128, 0);
    }
}
