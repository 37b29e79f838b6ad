//! Reads the results of a report back, of one that is still written or was killed as well.

use super::{CellResult, RESULTS_FILE, SkippedRecord};
use crate::runner::TrialId;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Results that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There are none.
    #[error("cannot read {path}: {source}; is this the folder of a report?")]
    Unreadable {
        /// The result file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no result.
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

/// The results of a report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    /// One a trial, in the order of the file; of a trial that was run again the last.
    pub trials: Vec<CellResult>,
    /// The cells that were skipped.
    pub skipped: Vec<SkippedRecord>,
}

/// A line of `results.jsonl`.
enum Line {
    Trial(Box<CellResult>),
    Skipped(Box<SkippedRecord>),
}

/// Reads the results in the report `folder`.
///
/// # Errors
/// There is no result file, or a whole line of it is no result. The half line that a killed run may leave is none.
pub fn read_results(folder: &Path) -> Result<Results, ReadError> {
    let path = folder.join(RESULTS_FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&text).map_err(|(line, why)| ReadError::NoResult { path, line, why }),
        Err(source) => Err(ReadError::Unreadable { path, source }),
    }
}

/// The whole lines of a result file: all but what follows the last line's end.
pub(super) fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..=end])
}

fn parse(text: &str) -> Result<Results, (usize, String)> {
    let mut results = Results::default();
    let mut places: BTreeMap<TrialId, usize> = BTreeMap::new();
    for (index, text) in whole_lines(text).lines().enumerate() {
        match line(text).map_err(|error| (index + 1, error.to_string()))? {
            Line::Trial(result) => match places.get(&result.trial()) {
                Some(&place) => results.trials[place] = *result,
                None => {
                    places.insert(result.trial(), results.trials.len());
                    results.trials.push(*result);
                }
            },
            Line::Skipped(skipped) => results.skipped.push(*skipped),
        }
    }
    Ok(results)
}

/// A skipped cell is what has no outcome. Told apart first, so that an error is that of the shape which is meant.
fn line(text: &str) -> serde_json::Result<Line> {
    #[derive(Deserialize)]
    struct Shape {
        outcome: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_str::<Shape>(text)?.outcome {
        Some(_) => serde_json::from_str(text).map(Line::Trial),
        None => serde_json::from_str(text).map(Line::Skipped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict;
    use crate::report::tests::result;
    use crate::scenario::SkippedCell;
    use crate::testing;

    fn text(results: &[CellResult]) -> String {
        results.iter().map(|result| serde_json::to_string(result).unwrap() + "\n").collect()
    }

    /// Bug: an error that was run again still counts, or what a record holds is lost on the way back.
    #[test]
    fn the_last_result_of_a_trial_counts() {
        let (error, pass) = (result("a", Verdict::Error), result("a", Verdict::Pass));
        let other = result("b", Verdict::Fail);
        let read = parse(&text(&[error, other.clone(), pass.clone()])).unwrap();
        assert_eq!(read.trials, [pass, other]);
    }

    /// Bug: a skipped cell is taken for a broken line, or for a result.
    #[test]
    fn skipped_cells_are_read() {
        let skipped = SkippedRecord::from(&SkippedCell { cell: testing::cell(), why: "no time".into() });
        let line = serde_json::to_string(&skipped).unwrap() + "\n";
        assert_eq!(parse(&line).unwrap(), Results { trials: Vec::new(), skipped: vec![skipped] });
    }

    /// Bug: a run that was killed in the middle of a line cannot be read; or a broken line within passes unseen.
    #[test]
    fn half_of_a_last_line_is_no_line() {
        let whole = text(&[result("a", Verdict::Pass)]);
        assert_eq!(parse(&format!("{whole}{}", &whole[..40])).unwrap().trials.len(), 1);
        assert_eq!(parse("").unwrap(), Results::default());
        let (line, why) = parse(&format!("{whole}{{\"id\":\"b\"}}\n{whole}")).unwrap_err();
        assert!(line == 2 && why.contains("missing field"), "{line}: {why}");
    }
}
