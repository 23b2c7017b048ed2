//! Names of accounts.

use std::fmt;

use toml::de::DeValue;

use crate::error::Fault;
use crate::place::Lines;
use crate::value::{Scalar, quoted, wrong_type, wrong_value};

/// The names of the anonymous account (RFC 1635 section 2).
const RESERVED: [&str; 2] = ["anonymous", "ftp"];

/// A line of the control connection holds no longer one with ease.
const BYTES_MAX: usize = 255;

/// The name of an account, as `USER` gives it: not empty, no control characters, no spaces around, not the anonymous one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

impl AccountName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// No name: what an account has until it is read.
    pub(crate) fn none() -> Self {
        Self(String::new())
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Scalar for AccountName {
    fn expected() -> String {
        String::from("a name")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let mend = "choose another name";
        if RESERVED.contains(&text) {
            return Err(wrong_value(
                format!("\"{text}\" is the anonymous account"),
                "choose another name, or see [anonymous]",
            ));
        }
        if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
            return Err(wrong_value(format!("no client can log in as {}", quoted(text)), mend));
        }
        if text.len() > BYTES_MAX {
            return Err(wrong_value(format!("the name is longer than {BYTES_MAX} bytes"), mend));
        }
        Ok(Self(text.to_owned()))
    }

    fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
        match value {
            DeValue::String(text) => <Self as Scalar>::from_text(text),
            other => Err(wrong_type(other, <Self as Scalar>::expected())),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.0)
    }
}
