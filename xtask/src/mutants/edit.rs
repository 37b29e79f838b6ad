//! An edit of a source file: a text that stands there exactly once, and what takes its place. Pure.

use std::collections::BTreeSet;

/// An edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The file, relative to the workspace.
    pub(super) file: String,
    /// The text to replace.
    pub(super) find: String,
    /// What takes its place.
    pub(super) replace: String,
}

/// Why an edit does not fit the sources any more. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stale {
    /// The file is gone.
    NoFile,
    /// The text is not there; where something like it is.
    Gone {
        /// The lines most like it, at most three, ascending. Empty where nothing is.
        near: Vec<usize>,
    },
    /// It is there more than once.
    Ambiguous {
        /// Where it begins each time.
        lines: Vec<usize>,
    },
}

impl Edit {
    /// The file's text with the edit in it.
    ///
    /// # Errors
    /// The text to replace does not stand there exactly once.
    pub(super) fn apply(&self, source: &str) -> Result<String, Stale> {
        // Overlapping occurrences are two: either could be meant.
        let mut places = Vec::new();
        let mut from = 0;
        while let Some(at) = source[from..].find(&self.find).map(|at| from + at) {
            places.push(at);
            from = at + self.find.chars().next().map_or(1, char::len_utf8);
        }
        match places.as_slice() {
            [] => Err(Stale::Gone { near: near(source, &self.find) }),
            &[at] => {
                let rest = &source[at + self.find.len()..];
                Ok([&source[..at], &self.replace, rest].concat())
            }
            many => Err(Stale::Ambiguous { lines: many.iter().map(|&at| line_of(source, at)).collect() }),
        }
    }

    /// Why the edit is stale, as an error for people.
    pub(super) fn explain(&self, stale: &Stale) -> String {
        let begins = self.find.trim().lines().next().unwrap_or_default();
        let lines = |lines: &[usize]| lines.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        match stale {
            Stale::NoFile => format!("{} is gone: name the file that has the text now", self.file),
            Stale::Gone { near } if near.is_empty() => {
                format!("{} does not have the text to replace, nor anything like it: `{begins}`", self.file)
            }
            Stale::Gone { near } => {
                format!(
                    "{} does not have the text to replace, `{begins}`; see line {}",
                    self.file,
                    lines(near)
                )
            }
            Stale::Ambiguous { lines: at } => format!(
                "{} has the text to replace more than once, at lines {}: make it longer: `{begins}`",
                self.file,
                lines(at)
            ),
        }
    }
}

fn line_of(source: &str, at: usize) -> usize {
    1 + source.as_bytes()[..at].iter().filter(|&&byte| byte == b'\n').count()
}

/// The lines of a source that have the most words in common with the longest line of a text, and at least half of them.
fn near(source: &str, text: &str) -> Vec<usize> {
    const MOST: usize = 3;
    let wanted = text.lines().map(words).max_by_key(BTreeSet::len).unwrap_or_default();
    let scores: Vec<usize> = source.lines().map(|line| words(line).intersection(&wanted).count()).collect();
    let best = scores.iter().copied().max().unwrap_or(0);
    if best == 0 || 2 * best < wanted.len() {
        return Vec::new();
    }
    (1..).zip(scores).filter(|&(_, score)| score == best).map(|(line, _)| line).take(MOST).collect()
}

/// The words of a line that mean something: names and numbers.
fn words(line: &str) -> BTreeSet<&str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.len() > 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str =
        "fn limit() -> u64 {\n    I386_LAST\n}\n\nfn whole_pages(size: u64) -> u64 {\n    size / PAGE\n}\n";

    fn edit(find: &str, replace: &str) -> Edit {
        Edit { file: "loader/src/x.rs".into(), find: find.into(), replace: replace.into() }
    }

    /// Catches a replacement that lands somewhere else, or that takes or leaves a byte too many.
    #[test]
    fn one_place_is_replaced_and_nothing_else() {
        let edited = edit("    size / PAGE\n", "    size / PAGE - 1\n").apply(SOURCE).unwrap();
        assert_eq!(edited, SOURCE.replace("/ PAGE", "/ PAGE - 1"));
        assert_eq!(edit(SOURCE, "").apply(SOURCE).unwrap(), "");
    }

    /// Catches an edit that silently hits the first of several places: the mutant would be another bug than its name says.
    #[test]
    fn a_text_that_is_there_twice_is_refused() {
        assert_eq!(edit("u64 {", "u32 {").apply(SOURCE), Err(Stale::Ambiguous { lines: vec![1, 5] }));
        assert_eq!(edit("aa", "b").apply("aaa"), Err(Stale::Ambiguous { lines: vec![1, 1] }));
        let edit = edit("u64 {", "u32 {");
        let told = edit.explain(&edit.apply(SOURCE).unwrap_err());
        assert!(told.contains("loader/src/x.rs") && told.contains("lines 1, 5"), "{told}");
    }

    /// Catches a mutant of code that has changed which counts as applied, and an error that leaves people to search.
    #[test]
    fn a_text_that_is_gone_is_told_with_the_lines_like_it() {
        let gone = edit("    let size = size / PAGE;\n", "").apply(SOURCE);
        assert_eq!(gone, Err(Stale::Gone { near: vec![6] }));
        assert_eq!(edit("wholly other words", "").apply(SOURCE), Err(Stale::Gone { near: vec![] }));
        let edit = edit("fn whole_pages(size: u32)", "");
        let told = edit.explain(&edit.apply(SOURCE).unwrap_err());
        assert!(told.contains("see line 5") && told.contains("fn whole_pages(size: u32)"), "{told}");
    }
}
