//! Sizes in bytes, and rates in bytes a second.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use toml::de::DeValue;

use crate::error::Fault;
use crate::place::Lines;
use crate::value::{Scalar, integer, quoted, wrong_type, wrong_value};

/// The units and their bytes, the larger ones first.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// The largest value of a TOML integer: no size or rate is larger.
const BYTES_MAX: u64 = i64::MAX as u64;

const EXAMPLE: &str = "such as \"64 KiB\", \"10 MiB\" or \"1 GB\"";

/// A size in bytes, at least `MIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize<const MIN: u64 = 1>(u64);

impl<const MIN: u64> ByteSize<MIN> {
    /// `None` if it is below the least, or above what TOML can write.
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        if MIN <= bytes && bytes <= BYTES_MAX { Some(Self(bytes)) } else { None }
    }

    pub(crate) const fn constant<const BYTES: u64>() -> Self {
        const { assert!(MIN <= BYTES && BYTES <= BYTES_MAX) }
        Self(BYTES)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    fn expect(bytes: u64, written: &str) -> Result<Self, Fault> {
        Self::new(bytes).ok_or_else(|| {
            wrong_value(
                format!("{written} is out of range"),
                format!("write {}", <Self as Scalar>::expected()),
            )
        })
    }
}

impl<const MIN: u64> fmt::Display for ByteSize<MIN> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&in_units(self.0))
    }
}

impl<const MIN: u64> Scalar for ByteSize<MIN> {
    fn expected() -> String {
        format!("a size {EXAMPLE}, or a number of bytes, at least {MIN}")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let bytes = parse(text).ok_or_else(|| {
            wrong_value(format!("\"{text}\" is no size"), format!("write {}", <Self as Scalar>::expected()))
        })?;
        Self::expect(bytes, text)
    }

    fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
        match value {
            DeValue::String(text) => <Self as Scalar>::from_text(text),
            DeValue::Integer(written) => Self::expect(bytes_of(value), &written.to_string()),
            other => Err(wrong_type(other, <Self as Scalar>::expected())),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A rate in bytes a second, or no limit.
///
/// No limit is written out, `"unlimited"`, so that a later layer can lift what an earlier one set; 0 is refused, for it
/// could be meant either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate(Option<NonZeroU64>);

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self(None);

    /// So many bytes a second, at most 2^63 - 1.
    #[must_use]
    pub fn new(bytes_per_s: NonZeroU64) -> Option<Self> {
        (bytes_per_s.get() <= BYTES_MAX).then_some(Self(Some(bytes_per_s)))
    }

    /// Bytes a second; `None` without a limit.
    #[must_use]
    pub const fn bytes_per_s(self) -> Option<NonZeroU64> {
        self.0
    }

    fn expect(bytes_per_s: u64, written: &str) -> Result<Self, Fault> {
        NonZeroU64::new(bytes_per_s).and_then(Self::new).ok_or_else(|| match bytes_per_s {
            0 => wrong_value("a rate of 0 moves nothing", "write \"unlimited\" for no limit"),
            _ => wrong_value(format!("{written} is out of range"), "write \"unlimited\" for no limit"),
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => formatter.write_str("unlimited"),
            Some(rate) => write!(formatter, "{}/s", in_units(rate.get())),
        }
    }
}

impl FromStr for Rate {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Scalar::from_text(text)
    }
}

impl Scalar for Rate {
    fn expected() -> String {
        String::from(
            "\"unlimited\", a rate such as \"500 KiB/s\" or \"10 MB/s\", or a number of bytes a second",
        )
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text == "unlimited" {
            return Ok(Self::UNLIMITED);
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let size = if is_number { Some(text) } else { text.strip_suffix("/s") };
        let bytes_per_s = size.and_then(parse).ok_or_else(|| {
            wrong_value(format!("\"{text}\" is no rate"), format!("write {}", <Self as Scalar>::expected()))
        })?;
        Self::expect(bytes_per_s, text)
    }

    fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
        match value {
            DeValue::String(text) => <Self as Scalar>::from_text(text),
            DeValue::Integer(written) => Self::expect(bytes_of(value), &written.to_string()),
            other => Err(wrong_type(other, <Self as Scalar>::expected())),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// An integer's value; one that no size can have where it is too large or negative.
fn bytes_of(value: &DeValue<'_>) -> u64 {
    integer(value).and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(u64::MAX)
}

/// `64 KiB`, `64KiB` or `65536`; a size beyond 64 bits is the largest there is, and so out of every range.
fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start_matches(' ') {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    let is_number = !number.is_empty();
    is_number.then(|| number.parse().unwrap_or(u64::MAX).saturating_mul(factor))
}

/// In the largest unit that divides it.
fn in_units(bytes: u64) -> String {
    let divides = |(_, factor): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*factor);
    let (unit, factor) = UNITS.iter().find(divides).copied().unwrap_or(("B", 1));
    format!("{} {unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_understood() {
        let bytes = |text: &str| <ByteSize as Scalar>::from_text(text).map(ByteSize::bytes).ok();
        assert_eq!(bytes("65536"), Some(65536));
        assert_eq!(bytes("64 KiB"), Some(65536));
        assert_eq!(bytes("64KiB"), Some(65536));
        assert_eq!(bytes("3 MB"), Some(3_000_000));
        for wrong in
            ["", "KiB", "-1", "1.5 MiB", "1 kib", "1 KiB/s", "9999999999 TiB", "99999999999999999999", "0"]
        {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_rate_needs_its_time() {
        assert_eq!("10 MiB/s".parse::<Rate>().unwrap().bytes_per_s().unwrap().get(), 10 << 20);
        assert_eq!("4096".parse::<Rate>().unwrap().bytes_per_s().unwrap().get(), 4096);
        assert_eq!("unlimited".parse::<Rate>().unwrap(), Rate::UNLIMITED);
        for wrong in ["10 MiB", "0", "0 B/s", "/s", "", "none"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_understood(bytes in 1..=BYTES_MAX) {
            let size = ByteSize::<1>::new(bytes).unwrap();
            prop_assert_eq!(<ByteSize as Scalar>::from_text(&size.to_string()).unwrap(), size);
            let rate = Rate::new(NonZeroU64::new(bytes).unwrap()).unwrap();
            prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
        }
    }
}
