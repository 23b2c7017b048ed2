//! What a key can hold: values that stand in one word, lists of them, and tables in lists.

use toml::de::DeValue;

use crate::error::Fault;
use crate::place::Lines;
use crate::reader::{Node, Reader};
use crate::section::Section;

/// What a key can hold.
pub(crate) trait Value: Clone + PartialEq + 'static {
    /// Whether an environment variable can hold it.
    const IN_ENVIRONMENT: bool = true;

    /// What has to be written, to stand in a sentence: `a whole number, 1 to 32`.
    fn expected() -> String;

    /// From the file. What is wrong is told to the reader, and then there is no value.
    fn from_node(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self>;

    /// From the environment.
    fn from_text(text: &str) -> Result<Self, Fault>;

    /// As it would be written in the file; `None` where the key would be left out.
    fn to_toml(&self) -> Option<String>;

    /// Where only a few words can be written: each with its meaning.
    fn words() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

/// A value in one word.
pub(crate) trait Scalar: Clone + PartialEq + 'static {
    /// See [`Value::expected`].
    fn expected() -> String;

    /// From the text of a string, or of an environment variable.
    fn from_text(text: &str) -> Result<Self, Fault>;

    /// From a value of the file: a string, if nothing else is said.
    fn from_toml(value: &DeValue<'_>, lines: &Lines<'_>) -> Result<Self, Fault> {
        let _ = lines;
        match value {
            DeValue::String(text) => Self::from_text(text),
            other => Err(wrong_type(other, Self::expected())),
        }
    }

    /// As it would be written in the file.
    fn to_toml(&self) -> String;

    /// See [`Value::words`].
    fn words() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
}

impl<T: Scalar> Value for T {
    fn expected() -> String {
        T::expected()
    }

    fn from_node(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        T::from_toml(node.value.get_ref(), reader.lines()).map_err(|fault| reader.fault(node, fault)).ok()
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        <T as Scalar>::from_text(text)
    }

    fn to_toml(&self) -> Option<String> {
        Some(Scalar::to_toml(self))
    }

    fn words() -> Vec<(&'static str, &'static str)> {
        <T as Scalar>::words()
    }
}

/// A key that may be left out.
impl<T: Value> Value for Option<T> {
    const IN_ENVIRONMENT: bool = T::IN_ENVIRONMENT;

    fn expected() -> String {
        T::expected()
    }

    fn from_node(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        T::from_node(node, reader).map(Some)
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        T::from_text(text).map(Some)
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().and_then(T::to_toml)
    }
}

impl<T: Value> Value for Vec<T> {
    const IN_ENVIRONMENT: bool = T::IN_ENVIRONMENT;

    fn expected() -> String {
        format!("a list, each entry {}", T::expected())
    }

    fn from_node(node: &Node<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(entries) = node.value.get_ref() else {
            reader.fault(node, wrong_type(node.value.get_ref(), Self::expected()));
            return None;
        };
        let mut complete = true;
        let mut values = Self::with_capacity(entries.len());
        for (number, value) in entries.iter().enumerate() {
            let entry = Node { path: format!("{}[{number}]", node.path), value };
            match T::from_node(&entry, reader) {
                Some(value) => {
                    reader.found(&entry);
                    values.push(value);
                }
                None => complete = false,
            }
        }
        complete.then_some(values)
    }

    /// Separated by commas; an empty text is an empty list.
    fn from_text(text: &str) -> Result<Self, Fault> {
        if text.trim().is_empty() {
            return Ok(Self::new());
        }
        text.split(',').map(|entry| T::from_text(entry.trim())).collect()
    }

    fn to_toml(&self) -> Option<String> {
        let entries: Vec<String> = self.iter().filter_map(T::to_toml).collect();
        Some(format!("[{}]", entries.join(", ")))
    }
}

/// A table in a list.
pub(crate) trait Entry: Section + Clone + PartialEq + 'static {
    /// What it is, to stand in a sentence.
    const EXPECTED: &'static str;

    /// The keys that have to be there.
    const REQUIRED: &'static [&'static str];

    /// Whether a single word can stand for the whole entry, all else being at its default.
    const HAS_WORD: bool = false;

    /// The entry that the word stands for, where [`Self::HAS_WORD`].
    fn from_word(_word: &str) -> Option<Result<Self, Fault>> {
        None
    }

    /// The word that stands for this entry, if one does, as TOML writes it.
    fn to_word(&self) -> Option<String> {
        None
    }
}

/// Makes a [`Section`] that is an [`Entry`] something that a list can hold.
macro_rules! entry_value {
    ($Entry:ty) => {
        impl $crate::value::Value for $Entry {
            const IN_ENVIRONMENT: bool = <Self as $crate::value::Entry>::HAS_WORD;

            fn expected() -> String {
                String::from(<Self as $crate::value::Entry>::EXPECTED)
            }

            fn from_node(
                node: &$crate::reader::Node<'_>,
                reader: &mut $crate::reader::Reader<'_>,
            ) -> Option<Self> {
                reader.entry(node)
            }

            fn from_text(text: &str) -> Result<Self, $crate::error::Fault> {
                <Self as $crate::value::Entry>::from_word(text).unwrap_or_else(|| {
                    Err($crate::error::Fault::Type { found: "a text", expected: Self::expected() })
                })
            }

            fn to_toml(&self) -> Option<String> {
                let word = $crate::value::Entry::to_word(self);
                Some(word.unwrap_or_else(|| $crate::writer::inline_table(self.clone())))
            }
        }
    };
}
pub(crate) use entry_value;

/// What a value of the file is, to stand in a sentence.
pub(crate) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(crate) fn wrong_type(value: &DeValue<'_>, expected: String) -> Fault {
    Fault::Type { found: type_of(value), expected }
}

pub(crate) fn wrong_value(what: impl Into<String>, mend: impl Into<String>) -> Fault {
    Fault::Value { what: what.into(), mend: mend.into() }
}

/// The value of an integer, if any type of integer can hold it.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i128> {
    let integer = value.as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// A string as TOML writes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(control))),
            plain => quoted.push(plain),
        }
    }
    quoted.push('"');
    quoted
}
