//! Seconds since 1970 as dates of the Gregorian calendar, in UTC, written without allocating.

/// A moment as calendar and clock show it, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// The year, 0 to 9999.
    pub year: u16,
    /// The month, 1 to 12.
    pub month: u8,
    /// The day of the month, 1 to 31.
    pub day: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute, 0 to 59.
    pub minute: u8,
    /// The second, 0 to 59.
    pub second: u8,
}

/// 0000-01-01 00:00:00 UTC, the first moment that four digits of a year can say, in seconds since 1970.
const FIRST_UNIX_SECONDS: i64 = -62_167_219_200;
/// 9999-12-31 23:59:59 UTC, the last one.
const LAST_UNIX_SECONDS: i64 = 253_402_300_799;

const SECONDS_OF_DAY: u64 = 86_400;
const DAYS_OF_400_YEARS: u64 = 146_097;
const DAYS_OF_100_YEARS: u64 = 36_524;
const DAYS_OF_4_YEARS: u64 = 1_461;
const DAYS_OF_YEAR: u64 = 365;

impl Civil {
    /// The date of `unix_seconds`; one outside of the years 0 to 9999 becomes the nearest within.
    // Every value is reduced below its field's bound before it is narrowed.
    #[allow(clippy::cast_possible_truncation)]
    pub fn from_unix_seconds(unix_seconds: i64) -> Self {
        let seconds = unix_seconds.clamp(FIRST_UNIX_SECONDS, LAST_UNIX_SECONDS);
        // Counted from 0000-03-01 minus 400 years, so that all is positive and a leap day is its year's last day.
        let days_before = 60;
        let seconds = (seconds - FIRST_UNIX_SECONDS).unsigned_abs();
        let day = seconds / SECONDS_OF_DAY + DAYS_OF_400_YEARS - days_before;
        let second_of_day = seconds % SECONDS_OF_DAY;

        let day_of_era = day % DAYS_OF_400_YEARS;
        // The last day of 4, of 100 and of 400 years is a leap day or misses one: taken out, years are 365 days long.
        let year_of_era = (day_of_era - day_of_era / (DAYS_OF_4_YEARS - 1) + day_of_era / DAYS_OF_100_YEARS
            - day_of_era / (DAYS_OF_400_YEARS - 1))
            / DAYS_OF_YEAR;
        let day_of_year = day_of_era - (DAYS_OF_YEAR * year_of_era + year_of_era / 4 - year_of_era / 100);
        // From March on, month lengths repeat every five months: 31 30 31 30 31, 153 days.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = day / DAYS_OF_400_YEARS * 400 + year_of_era + u64::from(month <= 2) - 400;
        Self {
            year: year as u16,
            month: month as u8,
            day: day_of_month as u8,
            hour: (second_of_day / 3600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
        }
    }
}

/// Appends `unix_seconds` as the time value of RFC 3659 section 2.3, `YYYYMMDDHHMMSS` in UTC: what MDTM answers and
/// the fact `modify` says.
pub fn write_time_value(unix_seconds: i64, out: &mut Vec<u8>) {
    let civil = Civil::from_unix_seconds(unix_seconds);
    let [hundreds, rest] = [civil.year / 100, civil.year % 100].map(|part| u8::try_from(part).unwrap_or(99));
    for part in [hundreds, rest, civil.month, civil.day, civil.hour, civil.minute, civil.second] {
        out.extend_from_slice(&two_digits(part));
    }
}

/// `value`, below 100, as two digits.
pub(crate) fn two_digits(value: u8) -> [u8; 2] {
    [b'0' + value / 10, b'0' + value % 10]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;

    fn agrees(unix_seconds: i64) {
        let expected = OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap();
        let civil = Civil::from_unix_seconds(unix_seconds);
        assert_eq!(
            (i32::from(civil.year), civil.month, civil.day),
            (expected.year(), u8::from(expected.month()), expected.day()),
            "{unix_seconds}"
        );
        assert_eq!((civil.hour, civil.minute, civil.second), expected.to_hms(), "{unix_seconds}");
    }

    #[test]
    fn every_day_of_the_whole_range_agrees_with_another_calendar() {
        for day in FIRST_UNIX_SECONDS / 86_400..=LAST_UNIX_SECONDS / 86_400 {
            agrees(day * 86_400);
            agrees(day * 86_400 + 86_399);
        }
    }

    proptest! {
        #[test]
        fn every_second_agrees_with_another_calendar(seconds in FIRST_UNIX_SECONDS..=LAST_UNIX_SECONDS) {
            agrees(seconds);
        }
    }

    #[test]
    fn times_beyond_four_digits_become_the_nearest() {
        let written = |seconds| {
            let mut out = Vec::new();
            write_time_value(seconds, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(i64::MAX), "99991231235959");
        assert_eq!(written(i64::MIN), "00000101000000");
        assert_eq!(written(0), "19700101000000");
        assert_eq!(written(-1), "19691231235959");
        assert_eq!(written(951_782_400), "20000229000000");
    }
}
