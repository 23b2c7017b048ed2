//! The configured range of passive ports, as an operator writes it: `LOW-HIGH`, or one port.

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Ports below this one need a privilege to be bound.
const UNPRIVILEGED_LOWEST: u16 = 1024;

/// An inclusive range of ports: never empty, never backwards, never with port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    low: u16,
    high: u16,
}

/// Why a text is no range of ports. Whoever wrote the configuration is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortRangeError {
    /// A bound is not a decimal number.
    NotANumber {
        /// The bound as written.
        text: String,
    },
    /// A bound is a number above 65535.
    TooLarge {
        /// The bound as written.
        text: String,
    },
    /// A bound is port 0, which names no port.
    Zero,
    /// The low bound is above the high one.
    Backwards {
        /// The bound written first.
        low: u16,
        /// The bound written last.
        high: u16,
    },
}

impl PortRange {
    /// The range from `low` to `high`, both included.
    ///
    /// # Errors
    /// [`PortRangeError::Zero`] and [`PortRangeError::Backwards`].
    pub fn new(low: u16, high: u16) -> Result<PortRange, PortRangeError> {
        if low == 0 || high == 0 {
            return Err(PortRangeError::Zero);
        }
        if low > high {
            return Err(PortRangeError::Backwards { low, high });
        }
        Ok(PortRange { low, high })
    }

    /// The lowest port of the range.
    #[must_use]
    pub fn low(self) -> u16 {
        self.low
    }

    /// The highest port of the range, which is leased like any other.
    #[must_use]
    pub fn high(self) -> u16 {
        self.high
    }

    /// How many ports the range has, 1 to 65535.
    #[must_use]
    pub fn count(self) -> usize {
        usize::from(self.high - self.low) + 1
    }

    /// Every port of the range, upwards, the last one included.
    #[must_use]
    pub fn iter(self) -> RangeInclusive<u16> {
        self.low..=self.high
    }

    /// Whether `port`, such as a control port, lies in the range.
    #[must_use]
    pub fn overlaps(self, port: u16) -> bool {
        self.iter().contains(&port)
    }

    /// Whether some port of the range is below 1024: worth a warning, for it can be bound by a privilege only.
    #[must_use]
    pub fn includes_privileged(self) -> bool {
        self.low < UNPRIVILEGED_LOWEST
    }
}

impl IntoIterator for PortRange {
    type Item = u16;
    type IntoIter = RangeInclusive<u16>;

    fn into_iter(self) -> RangeInclusive<u16> {
        self.iter()
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high {
            return write!(f, "{}", self.low);
        }
        write!(f, "{}-{}", self.low, self.high)
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(text: &str) -> Result<PortRange, PortRangeError> {
        match text.split_once('-') {
            Some((low, high)) => PortRange::new(parse_port(low)?, parse_port(high)?),
            None => parse_port(text).and_then(|port| PortRange::new(port, port)),
        }
    }
}

/// One bound. Spaces around it are forgiven; a sign is not, which `u16::from_str` would take.
fn parse_port(text: &str) -> Result<u16, PortRangeError> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PortRangeError::NotANumber { text: text.to_owned() });
    }
    text.parse().map_err(|_| PortRangeError::TooLarge { text: text.to_owned() })
}

impl fmt::Display for PortRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortRangeError::NotANumber { text } => {
                write!(f, "\"{text}\" is not a port number; write LOW-HIGH, such as 50000-50099, or one port")
            }
            PortRangeError::TooLarge { text } => write!(f, "{text} is above the highest port, 65535"),
            PortRangeError::Zero => write!(f, "port 0 names no port; the lowest is 1"),
            PortRangeError::Backwards { low, high } => {
                write!(f, "the range {low}-{high} is backwards; write {high}-{low}")
            }
        }
    }
}

impl Error for PortRangeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PortRange, PortRangeError> {
        text.parse()
    }

    #[test]
    fn a_range_has_its_last_port() {
        let range = parse("50000-50003").unwrap();
        assert_eq!(range.iter().collect::<Vec<_>>(), [50000, 50001, 50002, 50003]);
        assert_eq!(range.count(), 4);
        assert_eq!(range.to_string(), "50000-50003");
    }

    #[test]
    fn one_port_is_a_range() {
        let range = parse("65535").unwrap();
        assert_eq!(range.iter().collect::<Vec<_>>(), [65535]);
        assert_eq!(range, parse("65535-65535").unwrap());
        assert_eq!(range.to_string(), "65535");
    }

    #[test]
    fn all_ports_are_a_range() {
        let range = parse("1-65535").unwrap();
        assert_eq!(range.count(), 65535);
        assert_eq!(range.iter().last(), Some(65535));
        assert!(range.includes_privileged());
    }

    #[test]
    fn a_range_knows_the_ports_it_overlaps() {
        let range = parse("2121-2130").unwrap();
        assert!(range.overlaps(2121) && range.overlaps(2130));
        assert!(!range.overlaps(2120) && !range.overlaps(2131));
    }

    #[test]
    fn privileged_starts_below_1024() {
        assert!(parse("1023-2000").unwrap().includes_privileged());
        assert!(!parse("1024-2000").unwrap().includes_privileged());
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        assert_eq!(parse("60000-50000"), Err(PortRangeError::Backwards { low: 60000, high: 50000 }));
        assert_eq!(parse("0-10"), Err(PortRangeError::Zero));
        assert_eq!(parse("0"), Err(PortRangeError::Zero));
        assert_eq!(parse("1-65536"), Err(PortRangeError::TooLarge { text: "65536".to_owned() }));
        for (text, blamed) in
            [("", ""), ("1-", ""), ("-5", ""), ("a-9", "a"), ("+1-9", "+1"), ("1-2-3", "2-3")]
        {
            assert_eq!(parse(text), Err(PortRangeError::NotANumber { text: blamed.to_owned() }), "{text:?}");
        }
    }

    #[test]
    fn spaces_around_a_bound_are_forgiven() {
        assert_eq!(parse(" 50000 - 50010 "), PortRange::new(50000, 50010));
    }
}
