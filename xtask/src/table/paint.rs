//! Colours of the table, and the column of words at its left.

use harness::outcome::Verdict;

/// Width of the left column, wide enough for its longest word.
pub(crate) const HEAD_WIDTH: usize = 12;

/// Paints, or leaves plain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    colour: bool,
}

// "Select Graphic Rendition", ECMA-48 section 8.3.117: bold and a colour; reset.
const GREEN: &str = "\x1b[1;32m";
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const MAGENTA: &str = "\x1b[1;35m";
const RESET: &str = "\x1b[0m";

impl Paint {
    pub(crate) const fn new(colour: bool) -> Self {
        Self { colour }
    }

    /// The word that begins a line about the run itself.
    pub(crate) fn head(self, word: &str) -> String {
        self.word(word, GREEN)
    }

    /// The word that begins a line that people should not overlook.
    pub(crate) fn warning(self, word: &str) -> String {
        self.word(word, YELLOW)
    }

    /// A verdict, in its colour.
    pub(crate) fn verdict(self, verdict: Verdict) -> String {
        self.word(verdict_word(verdict), colour_of(verdict))
    }

    /// A word with a verdict's colour.
    pub(crate) fn as_verdict(self, word: &str, verdict: Verdict) -> String {
        self.word(word, colour_of(verdict))
    }

    /// Padded first, painted then: escape sequences must not count as width.
    fn word(self, word: &str, colour: &str) -> String {
        let padded = format!("{word:>HEAD_WIDTH$}");
        if self.colour { format!("{colour}{padded}{RESET}") } else { padded }
    }
}

const fn colour_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => GREEN,
        Verdict::Fail => RED,
        Verdict::Flaky | Verdict::Skipped => YELLOW,
        // Not red: it says nothing on the loader.
        Verdict::Error => MAGENTA,
    }
}

/// A verdict in the table.
pub(crate) const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Flaky => "FLAKY",
        Verdict::Skipped => "SKIP",
        Verdict::Error => "ERROR",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a column that escape sequences shift, and colours where there should be none.
    #[test]
    fn words_are_aligned_with_and_without_colour() {
        assert_eq!(Paint::new(false).verdict(Verdict::Pass), "        PASS");
        assert_eq!(Paint::new(true).verdict(Verdict::Fail), "\x1b[1;31m        FAIL\x1b[0m");
    }
}
