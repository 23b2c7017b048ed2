//! How a table of keys is described, once, for everything that works on keys.

use crate::value::Value;

/// A key of a table: its name, and what it means in lines of Markdown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    /// Whether a server that runs goes on with the old value when it is told to read its configuration again.
    pub(crate) takes_restart: bool,
}

/// A table of keys, and of tables below it. The `section!` macro implements it.
pub(crate) trait Section: Default {
    /// What the table is for, in lines of Markdown.
    const DOC: &'static [&'static str];

    /// Shows every key, then every table below, in the order of the description.
    fn visit<V: Visitor>(&mut self, visitor: &mut V);
}

/// Something that is done for every key.
pub(crate) trait Visitor {
    fn key<T: Value>(&mut self, key: Key, value: &mut T);
    fn section<S: Section>(&mut self, name: &'static str, section: &mut S);
}

/// Describes a table: a struct with a field for each key, documented, with its default; then, where it has any, a
/// field for each table below. `[restart]` before a key says that a running server cannot change it.
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $Name:ident {
            $( $(#[doc = $key_doc:literal])+ $([$restart:ident])? $key:ident: $Type:ty = $default:expr, )*
        }
        $( sections { $( $(#[doc = $section_doc:literal])+ $section:ident: $Section:ty, )* } )?
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        $vis struct $Name {
            $( $(#[doc = $key_doc])+ pub $key: $Type, )*
            $( $( $(#[doc = $section_doc])+ pub $section: $Section, )* )?
        }

        impl Default for $Name {
            fn default() -> Self {
                Self {
                    $( $key: $default, )*
                    $( $( $section: <$Section>::default(), )* )?
                }
            }
        }

        impl $crate::section::Section for $Name {
            const DOC: &'static [&'static str] = &[$($doc),+];

            fn visit<V: $crate::section::Visitor>(&mut self, visitor: &mut V) {
                $(
                    let key = $crate::section::Key {
                        name: stringify!($key),
                        doc: &[$($key_doc),+],
                        takes_restart: $crate::section::takes_restart!($($restart)?),
                    };
                    visitor.key(key, &mut self.$key);
                )*
                $( $( visitor.section(stringify!($section), &mut self.$section); )* )?
            }
        }
    };
}
pub(crate) use section;

/// Whether a key of the description above is marked `[restart]`.
macro_rules! takes_restart {
    () => {
        false
    };
    (restart) => {
        true
    };
}
pub(crate) use takes_restart;

/// The path of `name` in the table at `prefix`, which is empty for the outermost one.
pub(crate) fn path(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}
