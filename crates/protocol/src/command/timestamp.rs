//! Times as FTP writes them: `YYYYMMDDHHMMSS[.sss]`, always UTC (RFC 3659 section 2.3).

use std::fmt;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use super::Timestamp;

impl Timestamp {
    /// 0001-01-01 00:00:00.
    pub const MIN: Self = Self { unix_seconds: -62_135_596_800 };
    /// 9999-12-31 23:59:59.
    pub const MAX: Self = Self { unix_seconds: 253_402_300_799 };

    /// Reads fourteen digits with an optional fraction, which is dropped. Years run from 0001 to 9999. A leap
    /// second, which RFC 3659 allows for and Unix time has no room for, is the second before it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (digits, fraction) = match memchr::memchr(b'.', text) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        if fraction.is_some_and(|fraction| fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit)) {
            return None;
        }
        Self::from_digits(digits.try_into().ok()?)
    }

    /// The same, and twelve digits for a time without seconds, as `SITE UTIME` was first written.
    pub(super) fn parse_with_optional_seconds(text: &[u8]) -> Option<Self> {
        match <&[u8; 12]>::try_from(text) {
            Ok(minutes) => {
                let mut digits = [b'0'; 14];
                digits[..12].copy_from_slice(minutes);
                Self::from_digits(&digits)
            }
            Err(_) => Self::parse(text),
        }
    }

    fn from_digits(digits: &[u8; 14]) -> Option<Self> {
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let two = |at: usize| (digits[at] - b'0') * 10 + (digits[at + 1] - b'0');
        let year = i32::from(two(0)) * 100 + i32::from(two(2));
        let date = Date::from_calendar_date(year, Month::try_from(two(4)).ok()?, two(6)).ok()?;
        let second = if two(12) == 60 { 59 } else { two(12) };
        let time = Time::from_hms(two(8), two(10), second).ok()?;
        let unix_seconds = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
        (year >= 1).then_some(Self { unix_seconds })
    }
}

/// Fourteen digits, as `MDTM` and the fact `modify` have them. A time outside the years 0001 to 9999, which a
/// file system may hold, is shown as the nearest one inside.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (*self).clamp(Self::MIN, Self::MAX);
        let Ok(moment) = OffsetDateTime::from_unix_timestamp(shown.unix_seconds) else {
            return Err(fmt::Error);
        };
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second) = moment.to_hms();
        let month = u8::from(month);
        write!(formatter, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        Timestamp::parse(text.as_bytes()).map(|time| time.unix_seconds)
    }

    #[test]
    fn times_are_read() {
        for (text, expected) in [
            ("19700101000000", 0),
            ("19691231235959", -1),
            ("20260228235959", 1_772_323_199),
            ("20240229000000", 1_709_164_800),
            ("20240229000000.5", 1_709_164_800),
            ("20161231235960", 1_483_228_799),
            ("00010101000000", Timestamp::MIN.unix_seconds),
            ("99991231235959.999", Timestamp::MAX.unix_seconds),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "202602282359",
            "20260229000000",
            "20261301000000",
            "20260100000000",
            "20260101240000",
            "20260101006000",
            "20260101000061",
            "00000101000000",
            "20260101000000.",
            "20260101000000.x",
            "2026010100000x",
            " 20260101000000",
            "+2026010100000",
            "120260101000000",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn seconds_may_be_left_out_where_practice_leaves_them_out() {
        let short = Timestamp::parse_with_optional_seconds(b"202602282359");
        assert_eq!(short, Timestamp::parse(b"20260228235900"));
        assert_eq!(Timestamp::parse_with_optional_seconds(b"2026022823590"), None);
    }

    #[test]
    fn what_is_shown_reads_as_itself() {
        for unix_seconds in [0, -1, 1_772_323_199, Timestamp::MIN.unix_seconds, Timestamp::MAX.unix_seconds] {
            assert_eq!(seconds(&Timestamp { unix_seconds }.to_string()), Some(unix_seconds));
        }
        assert_eq!(Timestamp { unix_seconds: i64::MIN }.to_string(), "00010101000000");
        assert_eq!(Timestamp { unix_seconds: i64::MAX }.to_string(), "99991231235959");
    }
}
