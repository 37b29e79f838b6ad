//! Texts of guests as documents can carry them: every character that would do something is shown instead. Pure.

/// Puts in place of each character that is no text a picture of it: control characters but newline and tab, those that
/// reverse the direction of what follows (U+202A to U+202E, U+2066 to U+2069, Unicode's bidirectional algorithm, UAX 9), and
/// what XML 1.0 has no way to write (U+FFFE, U+FFFF; <https://www.w3.org/TR/xml/#charsets>).
pub(crate) fn visible(text: &str) -> String {
    text.chars().map(picture).collect()
}

fn picture(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        // The block of control pictures (U+2400) shows the 32 of ASCII in their order, and then DEL.
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\x7f' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
            char::REPLACEMENT_CHARACTER
        }
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: an escape sequence of a firmware's console, or a NUL of a dying kernel, breaks a document, or hides what follows.
    #[test]
    fn what_is_no_text_is_shown() {
        assert_eq!(visible("a\x1b[2J\0\r\x7fb\n\tc"), "a␛[2J␀␍␡b\n\tc");
        assert_eq!(visible("\u{9b}\u{202e}\u{fffe}\u{ffff}é✓"), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}é✓");
    }
}
