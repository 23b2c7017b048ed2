//! Values that are one of a few words.

/// One of a few words.
pub(crate) trait Choice: Copy + Sized + 'static {
    /// Each with its word and its meaning.
    const ALL: &'static [(Self, &'static str, &'static str)];

    fn word(self) -> &'static str;

    /// The words, quoted: `"off", "read"`.
    fn words() -> String {
        let quoted: Vec<String> = Self::ALL.iter().map(|(_, word, _)| format!("\"{word}\"")).collect();
        quoted.join(", ")
    }
}

/// The text is none of the words that may stand there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is none of {words}")]
pub struct UnknownWord {
    pub(crate) text: String,
    pub(crate) words: String,
}

/// Describes an enumeration by its words.
macro_rules! choice {
    (
        $(#[$attribute:meta])+
        pub enum $Name:ident {
            $( #[doc = $doc:literal] $Variant:ident = $word:literal, )+
        }
    ) => {
        $(#[$attribute])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $Name {
            $( #[doc = $doc] $Variant, )+
        }

        impl $crate::choice::Choice for $Name {
            const ALL: &'static [(Self, &'static str, &'static str)] = &[$( (Self::$Variant, $word, $doc) ),+];

            fn word(self) -> &'static str {
                match self {
                    $( Self::$Variant => $word, )+
                }
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str($crate::choice::Choice::word(*self))
            }
        }

        impl std::str::FromStr for $Name {
            type Err = $crate::choice::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $( $word => Ok(Self::$Variant), )+
                    _ => Err($crate::choice::UnknownWord {
                        text: text.to_owned(),
                        words: <Self as $crate::choice::Choice>::words(),
                    }),
                }
            }
        }
    };
}
pub(crate) use choice;
