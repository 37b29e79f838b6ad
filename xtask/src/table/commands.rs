//! The commands that a table offers for a cell. Pure.

use harness::cell::CellId;
use harness::qemu;
use std::ffi::OsStr;

/// What the commands for a cell of this run begin or end with.
#[derive(Clone, Debug)]
pub(crate) struct Commands {
    /// The beginning of the command that runs one cell again: everything but the filter.
    pub(crate) again: String,
    /// The words by which `shell` finds the run's cells: suites, and what stands in place of theirs.
    pub(crate) cells: String,
}

impl Commands {
    /// Runs this cell again.
    pub(super) fn again(&self, id: &CellId) -> String {
        format!("{} -E {}", self.again, shell_quoted(&format!("id={}", filter_value(&id.0))))
    }

    /// Opens a guest of this cell; `options` with a blank before each.
    pub(super) fn shell(&self, id: &CellId, options: &str) -> String {
        format!("cargo xtask shell {}{options} {}", shell_word(&id.0), self.cells)
    }
}

/// An id as a value of a filter expression ([`harness::filter`]): in double quotes if it holds what has a meaning there.
fn filter_value(id: &str) -> String {
    if !id.is_empty() && !id.contains(|c: char| c.is_whitespace() || "&|!()=~\"\\".contains(c)) {
        return id.to_owned();
    }
    format!("\"{}\"", id.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A word for a POSIX shell, quoted only where it must be.
pub(crate) fn shell_word(word: &str) -> String {
    text(&qemu::quoted(OsStr::new(word)))
}

/// A word for a POSIX shell, in quotes.
fn shell_quoted(word: &str) -> String {
    text(&qemu::in_quotes(OsStr::new(word)))
}

/// Quotes round text leave it text.
fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{captured, result};
    use super::*;
    use harness::filter::Filter;
    use harness::outcome::Verdict;

    /// Catches a pasted command whose filter is an error, or selects another cell.
    #[test]
    fn ids_survive_the_filter() {
        for id in ["a/b+c@1968M", "64->32 (x86)", r#"a"b\c"#, "a&b"] {
            let filter: Filter = format!("id={}", filter_value(id)).parse().unwrap();
            assert!(filter.matches(&result(id, Verdict::Pass, &[captured()]).cell), "{id}");
        }
        assert_eq!(filter_value("a/b+c@1968M"), "a/b+c@1968M");
    }
}
