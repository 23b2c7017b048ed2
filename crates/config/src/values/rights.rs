//! What an account may do, as words.

use protocol::rights::Rights;
use toml::de::DeValue;

use crate::error::Fault;
use crate::nearest;
use crate::place::Lines;
use crate::value::{Scalar, quoted, wrong_type, wrong_value};

/// Each right alone.
const SINGLE: [(&str, Rights); 10] = [
    ("list", Rights::LIST),
    ("download", Rights::DOWNLOAD),
    ("upload", Rights::UPLOAD),
    ("overwrite", Rights::OVERWRITE),
    ("append", Rights::APPEND),
    ("delete", Rights::DELETE),
    ("rename", Rights::RENAME),
    ("make_directory", Rights::MAKE_DIRECTORY),
    ("set_times", Rights::SET_TIMES),
    ("set_modes", Rights::SET_MODES),
];

/// What is usually given together.
const TOGETHER: [(&str, Rights); 3] =
    [("reader", Rights::READER), ("uploader", Rights::UPLOADER), ("writer", Rights::WRITER)];

fn words() -> impl Iterator<Item = &'static str> {
    TOGETHER.iter().chain(&SINGLE).map(|(word, _)| *word)
}

fn word(text: &str) -> Result<Rights, Fault> {
    if let Some((_, rights)) = TOGETHER.iter().chain(&SINGLE).find(|(word, _)| *word == text) {
        return Ok(*rights);
    }
    let mend = match nearest::similar(text, words()) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => format!("there are {}", words().collect::<Vec<_>>().join(", ")),
    };
    Err(wrong_value(format!("\"{text}\" is no right"), mend))
}

impl Scalar for Rights {
    fn expected() -> String {
        let names = |list: &[(&str, Self)]| list.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        format!("one of {}, or a list out of {}", names(&TOGETHER), names(&SINGLE))
    }

    /// One word, or several, separated by commas.
    fn from_text(text: &str) -> Result<Self, Fault> {
        text.split(',').map(|text| word(text.trim())).try_fold(Self::empty(), |all, one| Ok(all | one?))
    }

    fn from_toml(value: &DeValue<'_>, _: &Lines<'_>) -> Result<Self, Fault> {
        match value {
            DeValue::String(text) => word(text),
            DeValue::Array(entries) => {
                entries.iter().try_fold(Self::empty(), |all, entry| match entry.get_ref() {
                    DeValue::String(text) => Ok(all | word(text)?),
                    other => Err(wrong_type(other, <Self as Scalar>::expected())),
                })
            }
            other => Err(wrong_type(other, <Self as Scalar>::expected())),
        }
    }

    fn to_toml(&self) -> String {
        if let Some((word, _)) = TOGETHER.iter().find(|(_, rights)| rights == self) {
            return quoted(word);
        }
        let single = SINGLE.iter().filter(|(_, right)| self.contains(*right));
        let entries: Vec<String> = single.map(|(word, _)| quoted(word)).collect();
        format!("[{}]", entries.join(", "))
    }
}
