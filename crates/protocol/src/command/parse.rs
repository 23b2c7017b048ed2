//! From a line to a [`Command`].

use super::verbs::{self, VerbNumber};
use super::words::{decimal, non_empty, trim};
use super::{Command, ParseError, Structure, TransferMode, TypeCode, Verb};
use crate::line::SUBNEGOTIATION_END;

/// Reads a line, without its end, as a command.
///
/// The verb is the word up to the first blank, in any case. Exactly one blank separates it from its argument;
/// further ones belong to the argument where that is a path, for a name may begin or end with a blank, and
/// are skipped where it is a number or a keyword. An argument of no bytes is none. A line that begins with a
/// blank has no verb.
///
/// What can be left of telnet's synch in front of the verb, because TCP's urgent byte went astray (any of the
/// bytes 240 to 255, which [`crate::line`] cannot tell from Latin-1), is skipped before `ABOR`, `STAT` and
/// `QUIT`: the commands that are sent with it (RFC 959 section 4.1.3). Before another verb it makes the line
/// unknown.
pub fn parse(line: &[u8]) -> Result<Command<'_>, ParseError> {
    parse_counted(line).1
}

/// As [`parse`], with the verb's number beside what it comes to, for whoever counts commands.
pub fn parse_counted(line: &[u8]) -> (VerbNumber, Result<Command<'_>, ParseError>) {
    let synch_bytes = line.iter().take_while(|&&byte| byte >= SUBNEGOTIATION_END).count();
    let line = &line[synch_bytes..];
    let longest = &line[..line.len().min(Verb::LENGTH_MAX + 1)];
    let verb_bytes = longest.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
    let Some((number, row)) = Verb::new(&line[..verb_bytes]).and_then(verbs::find) else {
        return (VerbNumber::OTHER, Err(ParseError::Unknown));
    };
    if synch_bytes > 0 && !matches!(row.name, "ABOR" | "STAT" | "QUIT") {
        return (VerbNumber::OTHER, Err(ParseError::Unknown));
    }
    (number, row.read(line.get(verb_bytes + 1..).and_then(non_empty)))
}

/// The rule of a command without an argument: blanks are none.
pub(super) fn alone<'a>(argument: Option<&[u8]>, command: Command<'a>) -> Option<Command<'a>> {
    keyword(argument).is_none().then_some(command)
}

/// An argument that is no path: the blanks around it do not count.
pub(super) fn keyword(argument: Option<&[u8]>) -> Option<&[u8]> {
    argument.map(trim).and_then(non_empty)
}

/// `A`, `A N`, `I`, `L 8`, `L8`, `L 7`, which other servers take for text, and the types of RFC 959 section 3.1.1
/// that are not offered.
pub(super) fn parse_type(argument: &[u8]) -> Option<TypeCode> {
    let (code, parameter) = trim(argument).split_first()?;
    let parameter = trim(parameter);
    match (code.to_ascii_uppercase(), parameter) {
        (b'I', b"") | (b'L', b"8") => Some(TypeCode::Image),
        (b'A', b"" | b"N" | b"n") | (b'L', b"7") => Some(TypeCode::Ascii),
        (b'A' | b'E', b"T" | b"t" | b"C" | b"c") | (b'E', b"" | b"N" | b"n") => Some(TypeCode::NotOffered),
        (b'L', size) if decimal(size).is_some() => Some(TypeCode::NotOffered),
        _ => None,
    }
}

/// `F`, `R` and `P`.
pub(super) fn parse_structure(argument: &[u8]) -> Option<Structure> {
    match trim(argument) {
        b"F" | b"f" => Some(Structure::File),
        b"R" | b"r" | b"P" | b"p" => Some(Structure::NotOffered),
        _ => None,
    }
}

/// `S`, `B`, `C`, and `Z` of draft-preston-ftpext-deflate.
pub(super) fn parse_mode(argument: &[u8]) -> Option<TransferMode> {
    match trim(argument) {
        b"S" | b"s" => Some(TransferMode::Stream),
        b"B" | b"b" | b"C" | b"c" | b"Z" | b"z" => Some(TransferMode::NotOffered),
        _ => None,
    }
}
