//! Numbers and pieces of the kernel's texts and of arguments, as bytes. They need not be UTF-8, and the standard library's own means for
//! `str` would be a fifth of the program.

/// A number of digits alone: no sign, no blanks, no prefix. `radix` is 2 to 36. None where there are no digits or 64 bits are too few.
pub fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let digit = |&byte: &u8| char::from(byte).to_digit(radix);
    digits.first()?;
    digits.iter().try_fold(0u64, |value, byte| {
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit(byte)?))
    })
}

/// What stands before and behind the first `separator`.
pub fn split_once<'a>(text: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(separator.len()).position(|window| window == separator)?;
    Some((&text[..at], &text[at + separator.len()..]))
}

/// The first two numbers of a kernel's release such as `5.10.0-32-amd64`.
pub fn version(release: &[u8]) -> Option<(u64, u64)> {
    let (major, rest) = split_once(release, b".")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    Some((number(major, 10)?, number(&rest[..end], 10)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches signs and blanks that pass, a number that wraps, and none that is zero.
    #[test]
    fn numbers_are_digits_alone() {
        assert_eq!(number(b"0", 10), Some(0));
        assert_eq!(number(b"7fFf", 16), Some(0x7fff));
        assert_eq!(number(b"18446744073709551615", 10), Some(u64::MAX));
        for (digits, radix) in [
            ("", 10),
            ("+1", 10),
            ("-1", 10),
            (" 1", 10),
            ("8", 8),
            ("18446744073709551616", 10),
            ("10000000000000000", 16),
        ] {
            assert_eq!(number(digits.as_bytes(), radix), None, "{digits}");
        }
    }

    /// Catches the last separator in place of the first, and one at either end.
    #[test]
    fn texts_are_split_at_the_first_separator() {
        assert_eq!(split_once(b"a : b : c", b" : "), Some((&b"a"[..], &b"b : c"[..])));
        assert_eq!(split_once(b" : ", b" : "), Some((&b""[..], &b""[..])));
        assert_eq!(split_once(b"a:b", b" : "), None);
        assert_eq!(split_once(b"", b"-"), None);
    }
}
