//! Reads from a report which cells were not as expected, for running those again.

use super::RESULTS_FILE;
use crate::cell::CellId;
use crate::outcome::Verdict;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A report that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FailedError {
    /// There is none.
    #[error("cannot read {path}: {source}; run without --failed first, or name the report with --report DIR")]
    Unreadable {
        /// The result file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no result file.
    #[error("{path}, line {line}: no result: {why}")]
    NoResult {
        /// The result file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        why: String,
    },
}

/// The members that matter here, so that reports of other versions can be read too.
#[derive(Deserialize)]
struct Result_ {
    id: CellId,
    #[serde(default)]
    repetition: u32,
    verdict: Verdict,
}

/// The cells in the report `folder` that failed, were flaky, or had no verdict. Empty: all were as expected.
pub fn not_as_expected(folder: &Path) -> Result<BTreeSet<CellId>, FailedError> {
    let path = folder.join(RESULTS_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(FailedError::Unreadable { path, source }),
    };
    // A run that was continued has run again what was in error; the last result counts.
    let mut verdicts = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let result: Result_ = match serde_json::from_str(line) {
            Ok(result) => result,
            // The run was killed while it wrote its last line; that cell has no result.
            Err(_) if !text.ends_with('\n') && index + 1 == text.lines().count() => continue,
            Err(error) => {
                return Err(FailedError::NoResult { path, line: index + 1, why: error.to_string() });
            }
        };
        verdicts.insert((result.id, result.repetition), result.verdict);
    }
    let not_as_expected = |verdict: &Verdict| match verdict {
        Verdict::Fail | Verdict::Flaky | Verdict::Error => true,
        Verdict::Pass | Verdict::Skipped => false,
    };
    verdicts.retain(|_, verdict| not_as_expected(verdict));
    Ok(verdicts.into_keys().map(|(id, _)| id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: `--failed` runs what passed, or dies of the half line that a killed run left.
    #[test]
    fn reads_what_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let lines = r#"{"id":"e","repetition":1,"verdict":"error"}
{"id":"a","verdict":"pass","more":1}
{"id":"e","repetition":1,"verdict":"pass"}
{"id":"b","verdict":"fail"}
{"id":"c","verdict":"error"}
{"id":"d","verd"#;
        std::fs::write(folder.path().join(RESULTS_FILE), lines).unwrap();
        let failed: Vec<_> = not_as_expected(folder.path()).unwrap().into_iter().map(|id| id.0).collect();
        assert_eq!(failed, ["b", "c"]);
    }
}
