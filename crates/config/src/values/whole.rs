//! Whole numbers with bounds.

use std::fmt;

use toml::de::DeValue;

use crate::error::Fault;
use crate::place::Lines;
use crate::value::{Scalar, integer, wrong_type, wrong_value};

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whole<const MIN: u32, const MAX: u32>(u32);

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// `None` if it is out of bounds.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if MIN <= number && number <= MAX { Some(Self(number)) } else { None }
    }

    /// For defaults: a constant that is out of bounds does not compile.
    pub(crate) const fn constant<const NUMBER: u32>() -> Self {
        const { assert!(MIN <= NUMBER && NUMBER <= MAX) }
        Self(NUMBER)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    fn expect(number: i128, written: &str) -> Result<Self, Fault> {
        u32::try_from(number).ok().and_then(Self::new).ok_or_else(|| {
            wrong_value(
                format!("{written} is out of range"),
                format!("write {}", <Self as Scalar>::expected()),
            )
        })
    }
}

impl<const MIN: u32, const MAX: u32> fmt::Display for Whole<MIN, MAX> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl<const MIN: u32, const MAX: u32> Scalar for Whole<MIN, MAX> {
    fn expected() -> String {
        format!("a whole number, {MIN} to {MAX}")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let number = text.parse().map_err(|_| {
            wrong_value(
                format!("\"{text}\" is out of place"),
                format!("write {}", <Self as Scalar>::expected()),
            )
        })?;
        Self::expect(number, text)
    }

    fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
        match value {
            DeValue::Integer(written) => {
                Self::expect(integer(value).unwrap_or(i128::MAX), &written.to_string())
            }
            other => Err(wrong_type(other, <Self as Scalar>::expected())),
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}
