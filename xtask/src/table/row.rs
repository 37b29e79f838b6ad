//! The lines of one cell. Pure.

use super::paint::{HEAD_WIDTH, Paint};
use harness::judge::{describe, describe_expectation, explain};
use harness::outcome::{Expectation, Outcome, Verdict};
use harness::report::CellResult;
use harness::scenario::SkippedCell;
use std::path::Path;

/// A cell's lines: one, and where it was not as expected, what was expected and where the evidence lies.
pub(super) fn lines(result: &CellResult, report: &Path, id_width: usize, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if result.attempts.len() > 1 {
        for attempt in &result.attempts {
            lines.push(format!(
                "{} [{:>8.1}s] {}  {}",
                paint.as_verdict(&format!("TRY {}", attempt.attempt), attempt.verdict),
                attempt.seconds,
                result.trial(),
                one_line(&describe(&attempt.outcome))
            ));
        }
    }
    lines.push(main_line(result, id_width, paint));
    lines.extend(details(result, report));
    lines
}

/// Verdict, seconds, id, outcome in words.
pub(super) fn main_line(result: &CellResult, id_width: usize, paint: Paint) -> String {
    format!(
        "{} [{:>8.1}s] {:<id_width$}  {}",
        paint.verdict(result.verdict),
        seconds(result),
        result.trial().to_string(),
        one_line(&result.words)
    )
}

/// The line of a cell that is not run, with the reason.
pub(super) fn skipped_line(skipped: &SkippedCell, id_width: usize, paint: Paint) -> String {
    format!(
        "{} [{:>9}] {:<id_width$}  {}",
        paint.verdict(Verdict::Skipped),
        "",
        skipped.cell.id,
        one_line(&skipped.why)
    )
}

/// What stands under a cell that was not as expected.
pub(super) fn details(result: &CellResult, report: &Path) -> Vec<String> {
    match result.verdict {
        Verdict::Pass => Vec::new(),
        Verdict::Skipped => Vec::new(),
        Verdict::Flaky => vec![indented("evidence", &report.join(&result.evidence).display().to_string())],
        Verdict::Fail | Verdict::Error => {
            let mut details = vec![indented("expected", &one_line(&describe_expectation(&result.expected)))];
            details.extend(near_miss(result).map(|how| indented("differs", &one_line(&how))));
            details.extend(result.triage().map(|triage| indented("why", &one_line(&triage.sentence))));
            details.push(indented("evidence", &report.join(&result.evidence).display().to_string()));
            details
        }
    }
}

/// How an outcome of the expected kind is still not the expected one: what is missing may lie behind the part of a message
/// that the table has room for. Outcomes of another kind differ plainly.
fn near_miss(result: &CellResult) -> Option<String> {
    let same_kind = matches!(
        (&result.outcome, &result.expected),
        (Outcome::Refused { .. }, Expectation::Refused { .. })
            | (Outcome::Hung { .. }, Expectation::Hung { .. })
    );
    same_kind.then(|| explain(&result.outcome, &result.expected)).flatten()
}

/// A further line, its text under the ids.
pub(super) fn indented(what: &str, text: &str) -> String {
    // The left column, a blank, and "[    16.2s]".
    const SECONDS_WIDTH: usize = 11;
    format!("{:width$} {what}: {text}", "", width = HEAD_WIDTH + 1 + SECONDS_WIDTH)
}

/// Seconds over all attempts: what the cell has cost.
pub(super) fn seconds(result: &CellResult) -> f64 {
    result.attempts.iter().map(|attempt| attempt.seconds).sum()
}

/// Text from guests on one line, without what would move the cursor or change colours.
pub(crate) fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
pub(super) mod tests;
