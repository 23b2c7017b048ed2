//! The small writers that every format of a listing is made of; none allocates.

/// Appends `name` with each control byte as `?`: a CR or LF in it would split the listing, and an escape sequence
/// could steer the terminal that it is read on.
pub(super) fn write_printable(name: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(name);
    for byte in &mut out[start..] {
        if byte.is_ascii_control() {
            *byte = b'?';
        }
    }
}

/// The digits of the largest number.
const DIGITS_MAX: usize = 20;

/// Appends `number` in decimal, on the right of at least `width` columns.
// The remainder of a division by ten is one digit.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn write_decimal(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b' '; DIGITS_MAX];
    let mut start = DIGITS_MAX;
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start.min(DIGITS_MAX - width.min(DIGITS_MAX))..]);
}

/// Appends `number` in decimal, on the left of at least `width` columns.
pub(super) fn write_decimal_left(number: u64, width: usize, out: &mut Vec<u8>) {
    let end = out.len() + width;
    write_decimal(number, 0, out);
    if out.len() < end {
        out.resize(end, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_in_columns() {
        assert_eq!(written(|out| write_decimal(0, 0, out)), "0");
        assert_eq!(written(|out| write_decimal(u64::MAX, 8, out)), "18446744073709551615");
        assert_eq!(written(|out| write_decimal(42, 5, out)), "   42");
        assert_eq!(written(|out| write_decimal_left(42, 5, out)), "42   ");
        assert_eq!(written(|out| write_decimal_left(123_456, 5, out)), "123456");
    }

    #[test]
    fn control_bytes_become_question_marks_and_others_stay() {
        let mut out = Vec::new();
        write_printable(b"a\r\nb\x1b[2J\x7f\xff\x80 c", &mut out);
        assert_eq!(out, b"a??b?[2J?\xff\x80 c");
    }
}
