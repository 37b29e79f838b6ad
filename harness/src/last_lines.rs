//! The last lines of a console, for people: where a guest died, its last words tell the most. Pure.

/// A line of a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleLine {
    /// Its text as the guest wrote it, lossy, without blanks around it.
    pub text: String,
    /// Whether the guest wrote its end.
    pub finished: bool,
}

/// The last `most` lines of a console that are not blank, oldest first.
pub fn last_lines(console: &[u8], most: usize) -> Vec<ConsoleLine> {
    let lines = console.rsplit(|byte| *byte == b'\n').enumerate();
    let mut last: Vec<_> = lines
        .map(|(at, line)| ConsoleLine {
            text: String::from_utf8_lossy(line).trim().to_owned(),
            finished: at > 0,
        })
        .filter(|line| !line.text.is_empty())
        .take(most)
        .collect();
    last.reverse();
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a lost unfinished line, which is where a guest died; or blank lines in place of words.
    #[test]
    fn the_last_lines_are_those_with_words() {
        let lines = |console: &[u8]| {
            let lines = last_lines(console, 2).into_iter();
            lines
                .map(|line| format!("{}{}", line.text, if line.finished { "$" } else { "" }))
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(b"a\r\nb\r\n\r\n  \r\nDestination add"), ["b$", "Destination add"]);
        assert_eq!(lines(b"a\nb c\n\xff\n"), ["b c$", "\u{fffd}$"]);
        assert_eq!(lines(b""), [""; 0]);
    }
}
