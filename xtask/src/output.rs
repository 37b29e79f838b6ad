//! What this program writes to its terminal, and in which colours. Nothing else prints.

use std::io::{IsTerminal, Write};

/// How standard output and standard error are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    /// Escape sequences for colours on standard output.
    pub(crate) colour: bool,
    /// Bars that are drawn over each other on standard error.
    pub(crate) progress: bool,
}

impl Style {
    /// Nothing but text: for files, pipes and CI.
    pub(crate) const PLAIN: Self = Self { colour: false, progress: false };

    /// The style that fits this process's standard output and error.
    pub(crate) fn detect() -> Self {
        Self::choose(
            std::io::stdout().is_terminal(),
            std::io::stderr().is_terminal(),
            |name| std::env::var_os(name).is_some_and(|value| !value.is_empty()),
            std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
        )
    }

    /// The rule: colours and bars on capable terminals only; NO_COLOR (no-color.org) takes the colours away, CI both.
    fn choose(stdout: bool, stderr: bool, is_set: impl Fn(&str) -> bool, dumb: bool) -> Self {
        if is_set("CI") || dumb {
            return Self::PLAIN;
        }
        Self { colour: stdout && !is_set("NO_COLOR"), progress: stderr }
    }
}

/// Writes a line to standard output: results. If nobody can read it any more (`| head`, a `tee` that died), the work goes on all the
/// same: its files and its exit status are results as well, and the status must tell the truth.
pub(crate) fn line(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a line to standard error: what happens meanwhile. If nobody can read it, nothing is lost.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches escape sequences in pipes, in CI logs, and against the user's wish.
    #[test]
    fn colours_and_bars_only_where_they_are_wanted() {
        let style = |stdout, stderr, set: &'static str, dumb| {
            let style = Style::choose(stdout, stderr, |name| name == set, dumb);
            (style.colour, style.progress)
        };
        assert_eq!(style(true, true, "", false), (true, true));
        assert_eq!(style(false, true, "", false), (false, true));
        assert_eq!(style(true, false, "", false), (true, false));
        assert_eq!(style(true, true, "NO_COLOR", false), (false, true));
        assert_eq!(style(true, true, "CI", false), (false, false));
        assert_eq!(style(true, true, "", true), (false, false));
    }
}
