//! Durations in whole seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use crate::error::Fault;
use crate::place::Lines;
use crate::value::Scalar;
use crate::values::whole::Whole;

/// A year: a deadline beyond is a slip of the pen.
const MAX: u32 = 31_536_000;

/// A duration in whole seconds, `MIN` to a year: 1 where nothing else is said, for a deadline of 0 would be over at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds<const MIN: u32 = 1>(Whole<MIN, MAX>);

impl<const MIN: u32> Seconds<MIN> {
    /// `None` if it is out of bounds.
    #[must_use]
    pub const fn new(seconds: u32) -> Option<Self> {
        match Whole::new(seconds) {
            Some(whole) => Some(Self(whole)),
            None => None,
        }
    }

    pub(crate) const fn constant<const SECONDS: u32>() -> Self {
        Self(Whole::constant::<SECONDS>())
    }

    /// The number of seconds.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The same as the standard library has it.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.get().into())
    }
}

impl<const MIN: u32> fmt::Display for Seconds<MIN> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<const MIN: u32> FromStr for Seconds<MIN> {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Scalar::from_text(text)
    }
}

impl<const MIN: u32> Scalar for Seconds<MIN> {
    fn expected() -> String {
        format!("whole seconds, {MIN} to {MAX}")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        Whole::from_text(text).map(Self).map_err(Self::in_seconds)
    }

    fn from_toml(value: &DeValue<'_>, lines: &Lines<'_>) -> Result<Self, Fault> {
        Whole::from_toml(value, lines).map(Self).map_err(Self::in_seconds)
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl<const MIN: u32> Seconds<MIN> {
    /// A number's fault, told with the unit.
    fn in_seconds(fault: Fault) -> Fault {
        let expected = <Self as Scalar>::expected();
        match fault {
            Fault::Type { found, .. } => Fault::Type { found, expected },
            Fault::Value { what, .. } => Fault::Value { what, mend: format!("write {expected}") },
            other => other,
        }
    }
}
