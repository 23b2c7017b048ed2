//! Numbers, texts, paths, addresses, and one of a few words.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use passive_ports::{PortRange, PortRangeError};
use toml::de::DeValue;

use crate::choice::Choice;
use crate::choices;
use crate::error::Fault;
use crate::nearest;
use crate::place::Lines;
use crate::value::{Scalar, integer, quoted, wrong_type, wrong_value};

/// Whole numbers, each type with its bounds.
macro_rules! whole_number {
    ($($Number:ty, $expected:literal;)+) => { $(
        impl Scalar for $Number {
            fn expected() -> String {
                String::from($expected)
            }

            fn from_text(text: &str) -> Result<Self, Fault> {
                text.parse().map_err(|_| wrong_value(format!("\"{text}\" is out of place"), concat!("write ", $expected)))
            }

            fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
                let DeValue::Integer(written) = value else { return Err(wrong_type(value, <Self as Scalar>::expected())) };
                integer(value)
                    .and_then(|number| number.to_string().parse().ok())
                    .ok_or_else(|| wrong_value(format!("{written} is out of range"), concat!("write ", $expected)))
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}

whole_number! {
    NonZeroU32, "a whole number, 1 to 4294967295";
    NonZeroUsize, "a whole number, at least 1";
    i32, "a whole number, which may be negative";
}

impl Scalar for bool {
    fn expected() -> String {
        String::from("true or false")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|_| wrong_value(format!("\"{text}\" is out of place"), "write true or false"))
    }

    fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
        value.as_bool().ok_or_else(|| wrong_type(value, <Self as Scalar>::expected()))
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Scalar for String {
    fn expected() -> String {
        String::from("a string")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(wrong_value("an empty string", "write something, or leave the key out"));
        }
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Scalar for PathBuf {
    fn expected() -> String {
        String::from("a path")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "" => Err(wrong_value("an empty path", "write one, or leave the key out")),
            text if text.contains('\0') => Err(wrong_value("a NUL in a path", "no path has one")),
            text => Ok(Self::from(text)),
        }
    }

    fn from_toml(value: &DeValue<'_>, lines: &Lines<'_>) -> Result<Self, Fault> {
        match value {
            DeValue::String(text) => <Self as Scalar>::from_text(text).map(|_| lines.resolve(text)),
            other => Err(wrong_type(other, <Self as Scalar>::expected())),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Scalar for SocketAddr {
    fn expected() -> String {
        String::from("an address and port such as \"0.0.0.0:2121\" or \"[::]:2121\"")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        text.parse().map_err(|_| {
            let mend = match text.parse::<u16>() {
                Ok(port) => format!("write \"[::]:{port}\" for every address of this machine"),
                Err(_) => format!("write {}", <Self as Scalar>::expected()),
            };
            wrong_value(format!("\"{text}\" is no address with a port"), mend)
        })
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Scalar for PortRange {
    fn expected() -> String {
        String::from("a range of ports such as \"50000-50015\", or one port")
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        let mend = |error: &PortRangeError| match error {
            PortRangeError::Backwards { low, high } => format!("write \"{high}-{low}\""),
            _ => format!("write {}", <Self as Scalar>::expected()),
        };
        text.parse().map_err(|error: PortRangeError| match error {
            PortRangeError::NotANumber { text: ref bound } => {
                wrong_value(format!("\"{bound}\" is not a port number"), mend(&error))
            }
            PortRangeError::Backwards { .. } => {
                wrong_value(format!("the range {text} is backwards"), mend(&error))
            }
            PortRangeError::TooLarge { text: ref bound } => {
                wrong_value(format!("{bound} is above the highest port, 65535"), mend(&error))
            }
            PortRangeError::Zero => wrong_value("port 0 names no port; the lowest is 1", mend(&error)),
        })
    }

    fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
        match value {
            DeValue::String(text) => <Self as Scalar>::from_text(text),
            DeValue::Integer(port) => <Self as Scalar>::from_text(&port.to_string()),
            other => Err(wrong_type(other, <Self as Scalar>::expected())),
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// A [`Choice`] is written as its word.
macro_rules! choice_values {
    ($($Choice:ty,)+) => { $(
        impl Scalar for $Choice {
            fn expected() -> String {
                format!("one of {}", <Self as Choice>::words())
            }

            fn from_text(text: &str) -> Result<Self, Fault> {
                text.parse().map_err(|_| {
                    let words = <Self as Choice>::ALL.iter().map(|(_, word, _)| *word);
                    let mend = match nearest::similar(text, words) {
                        Some(word) => format!("did you mean \"{word}\"? It is {}", <Self as Scalar>::expected()),
                        None => format!("write {}", <Self as Scalar>::expected()),
                    };
                    wrong_value(format!("\"{text}\" is out of place"), mend)
                })
            }

            fn to_toml(&self) -> String {
                quoted(self.word())
            }

            fn words() -> Vec<(&'static str, &'static str)> {
                Self::ALL.iter().map(|(_, word, meaning)| (*word, *meaning)).collect()
            }
        }
    )+ };
}

choice_values! {
    choices::RuntimeChoice,
    choices::ListenerKind,
    choices::ProxyProtocol,
    choices::AnonymousAccess,
    choices::DataPeer,
    choices::SourcePort,
    choices::TransferRoute,
    choices::SyncPolicy,
    choices::UploadCache,
    choices::LogFormat,
    choices::LogLevel,
}
