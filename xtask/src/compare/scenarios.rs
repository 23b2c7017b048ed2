//! What is compared.

use super::servers::Part;

/// A scenario of the load tester, with its options.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The load tester's name for it.
    pub(crate) scenario: &'static str,
    /// The path of the target.
    pub(crate) path: &'static str,
    pub(crate) options: &'static [&'static str],
    /// What a unit is.
    pub(crate) unit: &'static str,
    /// The figure that is compared first.
    pub(crate) figure: Figure,
    /// The roofline knows the commands.
    pub(crate) has_roofline: bool,
    /// A web server can do the same.
    pub(crate) has_web: bool,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Processor time for each unit.
    Processor,
    /// Processor time for each GiB.
    ProcessorPerGib,
    /// Memory for each session.
    Memory,
}

impl Scenario {
    /// Whether a server of this part takes part.
    pub(crate) fn is_for(&self, part: Part) -> bool {
        match part {
            Part::Own | Part::Peer => true,
            Part::Roofline => self.has_roofline,
            Part::Web => self.has_web,
        }
    }
}

const PLAIN: Scenario = Scenario {
    name: "",
    title: "",
    scenario: "",
    path: "1k.bin",
    options: &["--sessions", "32"],
    unit: "session",
    figure: Figure::Processor,
    has_roofline: false,
    has_web: false,
};

/// Every scenario, in the order of the report.
pub(crate) const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "small-files",
        title: "A session for one small file: connect, log in, `EPSV`, fetch 1 KiB, quit",
        scenario: "small-files",
        has_roofline: true,
        ..PLAIN
    },
    Scenario {
        name: "stream",
        title: "Small files in one session: `EPSV`, fetch 1 KiB",
        scenario: "stream",
        unit: "transfer",
        has_roofline: true,
        ..PLAIN
    },
    Scenario {
        name: "login",
        title: "Connect, log in, quit",
        scenario: "login",
        has_roofline: true,
        ..PLAIN
    },
    Scenario {
        name: "noop",
        title: "`NOOP` and its reply",
        scenario: "noop",
        unit: "round trip",
        has_roofline: true,
        ..PLAIN
    },
    Scenario {
        name: "pasv",
        title: "The storm: 500 sessions with a passive port each, then all fetch at once",
        scenario: "pasv",
        options: &["--sessions", "500"],
        unit: "transfer",
        ..PLAIN
    },
    Scenario {
        name: "list",
        title: "A directory of 10,000 entries: `MLSD`, or `LIST` where that is missing",
        scenario: "list",
        path: "list",
        options: &["--sessions", "2"],
        unit: "listing",
        ..PLAIN
    },
    Scenario {
        name: "download",
        title: "Files of 64 MiB from the page cache",
        scenario: "download",
        path: "big.bin",
        options: &["--sessions", "4"],
        unit: "transfer",
        figure: Figure::ProcessorPerGib,
        has_web: true,
        ..PLAIN
    },
    Scenario {
        name: "upload",
        title: "Uploads of 16 MiB",
        scenario: "upload",
        path: "upload",
        options: &["--sessions", "4", "--upload-size", "16M"],
        unit: "transfer",
        figure: Figure::ProcessorPerGib,
        ..PLAIN
    },
    Scenario {
        name: "idle",
        title: "1000 sessions that are logged in and silent",
        scenario: "idle",
        options: &["--sessions", "1000"],
        figure: Figure::Memory,
        ..PLAIN
    },
];
