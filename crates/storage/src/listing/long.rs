//! One line as `ls -l` prints it in the C locale, in UTC: what clients that know no MLSD read (RFC 959, LIST).

use nix::libc;
use nix::sys::stat::FileStat;

use super::names::{write_decimal, write_decimal_left, write_printable};
use crate::calendar::{Civil, two_digits};

/// How long the time of day is shown before the year takes its place: half a mean Gregorian year, as in GNU ls.
const RECENT_SECONDS: i64 = 31_556_952 / 2;

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Appends the line of `name` without its end, as seen at `now_unix_seconds`.
// Some of these fields are narrower on other processors than on this one.
#[allow(clippy::useless_conversion)]
pub fn format_long_entry(status: &FileStat, name: &[u8], now_unix_seconds: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&mode_letters(status.st_mode));
    out.push(b' ');
    write_decimal(u64::from(status.st_nlink), 4, out);
    out.push(b' ');
    write_decimal_left(u64::from(status.st_uid), 8, out);
    out.push(b' ');
    write_decimal_left(u64::from(status.st_gid), 8, out);
    out.push(b' ');
    write_decimal(u64::try_from(status.st_size).unwrap_or(0), 8, out);
    out.push(b' ');
    write_time(status.st_mtime, now_unix_seconds, out);
    out.push(b' ');
    write_printable(name, out);
}

/// The ten letters of type and permission bits, setuid, setgid and sticky included.
fn mode_letters(mode: u32) -> [u8; 10] {
    let mut letters = *b"-rwxrwxrwx";
    letters[0] = match mode & libc::S_IFMT {
        libc::S_IFDIR => b'd',
        libc::S_IFLNK => b'l',
        libc::S_IFIFO => b'p',
        libc::S_IFSOCK => b's',
        libc::S_IFCHR => b'c',
        libc::S_IFBLK => b'b',
        _ => b'-',
    };
    for (index, letter) in letters[1..].iter_mut().enumerate() {
        if mode & (0o400 >> index) == 0 {
            *letter = b'-';
        }
    }
    for (bit, index, letter) in [(libc::S_ISUID, 3, b's'), (libc::S_ISGID, 6, b's'), (libc::S_ISVTX, 9, b't')]
    {
        if mode & bit != 0 {
            let executable = letters[index] == b'x';
            letters[index] = if executable { letter } else { letter.to_ascii_uppercase() };
        }
    }
    letters
}

/// `Nov 22 17:50` for the last half year, `Nov 22  2024` for what is older or in the future.
fn write_time(unix_seconds: i64, now_unix_seconds: i64, out: &mut Vec<u8>) {
    let civil = Civil::from_unix_seconds(unix_seconds);
    out.extend_from_slice(MONTHS[usize::from(civil.month - 1)]);
    out.push(b' ');
    write_decimal(u64::from(civil.day), 2, out);
    out.push(b' ');
    let recent = now_unix_seconds.saturating_sub(RECENT_SECONDS)..=now_unix_seconds;
    if recent.contains(&unix_seconds) {
        out.extend_from_slice(&two_digits(civil.hour));
        out.push(b':');
        out.extend_from_slice(&two_digits(civil.minute));
    } else {
        write_decimal(u64::from(civil.year), 5, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_bits_have_the_letters_of_ls() {
        for (mode, letters) in [
            (libc::S_IFREG | 0o644, b"-rw-r--r--"),
            (libc::S_IFDIR | 0o755, b"drwxr-xr-x"),
            (libc::S_IFLNK | 0o777, b"lrwxrwxrwx"),
            (libc::S_IFIFO | 0o600, b"prw-------"),
            (libc::S_IFSOCK | 0o700, b"srwx------"),
            (libc::S_IFCHR | 0o620, b"crw--w----"),
            (libc::S_IFBLK | 0o660, b"brw-rw----"),
            (libc::S_IFREG | 0o4755, b"-rwsr-xr-x"),
            (libc::S_IFREG | 0o4644, b"-rwSr--r--"),
            (libc::S_IFREG | 0o2755, b"-rwxr-sr-x"),
            (libc::S_IFDIR | 0o2745, b"drwxr-Sr-x"),
            (libc::S_IFDIR | 0o1777, b"drwxrwxrwt"),
            (libc::S_IFDIR | 0o1776, b"drwxrwxrwT"),
            (libc::S_IFREG, b"----------"),
        ] {
            assert_eq!(mode_letters(mode).escape_ascii().to_string(), letters.escape_ascii().to_string());
        }
    }

    #[test]
    fn the_year_takes_the_place_of_the_hour_after_half_a_year() {
        let written = |seconds, now| {
            let mut out = Vec::new();
            write_time(seconds, now, &mut out);
            String::from_utf8(out).unwrap()
        };
        let now = 1_732_297_800; // 2024-11-22 17:50:00 UTC
        assert_eq!(written(now, now), "Nov 22 17:50");
        assert_eq!(written(now + 1, now), "Nov 22  2024");
        assert_eq!(written(now - RECENT_SECONDS, now), "May 24 02:55");
        assert_eq!(written(now - RECENT_SECONDS - 1, now), "May 24  2024");
        assert_eq!(written(0, now), "Jan  1  1970");
        assert_eq!(written(i64::MIN, now), "Jan  1     0");
        assert_eq!(written(i64::MAX, i64::MAX), "Dec 31 23:59");
    }
}
