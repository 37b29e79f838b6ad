//! The lines of one cell. Pure.

use super::commands::{Commands, shell_word};
use super::paint::Paint;
use super::text::{bracketed, one_line, quoted, told, verbatim};
use harness::judge::{describe, describe_expectation, near_miss, telling_line};
use harness::last_lines::ConsoleLine;
use harness::outcome::{Outcome, Verdict};
use harness::phase::Phase;
use harness::report::{AttemptRecord, CellResult, LastPhase, SCRIPT_FILE};
use harness::scenario::SkippedCell;
use std::path::Path;

/// A cell's lines: one, and where it was not as expected, all that one needs to begin with it.
pub(super) fn lines(
    result: &CellResult,
    console: &[ConsoleLine],
    report: &Path,
    id_width: usize,
    commands: &Commands,
    paint: Paint,
) -> Vec<String> {
    let mut lines = Vec::new();
    if result.attempts.len() > 1 {
        lines.extend(result.attempts.iter().flat_map(|tried| attempt(tried, result, report, paint)));
    }
    match result.verdict {
        Verdict::Pass | Verdict::Skipped => lines.push(main_line(result, id_width, paint)),
        // Its attempts tell the rest, those that were not as expected above all.
        Verdict::Flaky => lines.extend(head(result, paint)),
        Verdict::Fail | Verdict::Error => {
            lines.extend(head(result, paint));
            lines.extend(details(result));
            lines.extend(quoted("console", console));
            lines.extend(evidence(&result.evidence, report));
            lines.push(verbatim("again", &commands.again(&result.id)));
            lines.push(verbatim(
                "shell",
                &commands.shell(&result.id, shell_options(last_phase(result).map(|last| last.phase))),
            ));
        }
    }
    lines
}

/// The lines of a cell that was not as expected under the table, where its other lines may have scrolled away.
pub(super) fn once_more(
    result: &CellResult,
    report: &Path,
    commands: &Commands,
    paint: Paint,
) -> Vec<String> {
    let mut lines = head(result, paint);
    match result.verdict {
        Verdict::Flaky => {
            for tried in &result.attempts {
                lines.extend(told(&format!("try {}", tried.attempt), &describe(&tried.outcome)));
                lines.extend(evidence(&tried.evidence, report));
            }
        }
        Verdict::Pass | Verdict::Fail | Verdict::Error | Verdict::Skipped => {
            lines.extend(evidence(&result.evidence, report));
        }
    }
    lines.push(verbatim("again", &commands.again(&result.id)));
    lines
}

/// Verdict, seconds, id, outcome in words.
fn main_line(result: &CellResult, id_width: usize, paint: Paint) -> String {
    format!(
        "{} {} {:<id_width$}  {}",
        paint.verdict(result.verdict),
        bracketed(seconds(result)),
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

/// The first lines of a block: verdict, seconds and id; then the outcome.
fn head(result: &CellResult, paint: Paint) -> Vec<String> {
    let first =
        format!("{} {} {}", paint.verdict(result.verdict), bracketed(seconds(result)), result.trial());
    let mut lines = vec![first];
    lines.extend(told("outcome", &result.words));
    lines
}

/// One of several attempts.
fn attempt(tried: &AttemptRecord, result: &CellResult, report: &Path, paint: Paint) -> Vec<String> {
    let word = paint.as_verdict(&format!("TRY {}", tried.attempt), tried.verdict);
    let mut lines = vec![format!("{word} {} {}", bracketed(tried.seconds), result.trial())];
    lines.extend(told("outcome", &describe(&tried.outcome)));
    // That of the one that decides a failure follows in the failure's own block.
    if result.verdict == Verdict::Flaky || tried.evidence != result.evidence {
        lines.extend(evidence(&tried.evidence, report));
    }
    lines
}

/// Why it was so, what was expected, how it differs, and how far the guest got.
fn details(result: &CellResult) -> Vec<String> {
    // Of a refusal, or of trouble of the rig, there may be no more to say than the outcome does.
    let why = result.triage().filter(|triage| triage.sentence != result.words);
    let why = why.map(|triage| told("why", &triage.sentence));
    let mut lines = why.unwrap_or_default();
    lines.extend(whole_message(result).into_iter().flat_map(|message| told("message", message)));
    lines.extend(told("expected", &describe_expectation(&result.expected)));
    lines.extend(
        near_miss(&result.outcome, &result.expected).into_iter().flat_map(|how| told("differs", &how)),
    );
    lines.extend(last_phase(result).into_iter().flat_map(|last| told("last phase", &last.to_string())));
    lines
}

/// Where the guest was when it ended.
fn last_phase(result: &CellResult) -> Option<&LastPhase> {
    result.deciding()?.last_phase.as_ref()
}

/// Where an attempt's evidence is, and the script in it; nothing of one that never had a folder.
fn evidence(folder: &Path, report: &Path) -> Vec<String> {
    if folder.as_os_str().is_empty() {
        return Vec::new();
    }
    let folder = report.join(folder);
    let script = shell_word(&folder.join(SCRIPT_FILE).display().to_string());
    vec![verbatim("evidence", &folder.display().to_string()), verbatim("reproduce", &format!("sh {script}"))]
}

/// The options of `shell` that lead to where the guest was.
fn shell_options(last_phase: Option<Phase>) -> &'static str {
    match last_phase {
        // No userspace came up that a shell could run in: a debugger is what helps.
        Some(phase) if phase <= Phase::FirstKernel => " --gdb",
        Some(phase) if phase >= Phase::Reading => " --capture",
        _ => "",
    }
}

/// The loader's message, where the outcome in words has room for its beginning only.
fn whole_message(result: &CellResult) -> Option<&str> {
    match &result.outcome {
        Outcome::Refused { message, .. } => {
            Some(telling_line(message)).filter(|message| !result.words.contains(message))
        }
        _ => None,
    }
}

/// Seconds over all attempts: what the cell has cost.
fn seconds(result: &CellResult) -> f64 {
    result.attempts.iter().map(|attempt| attempt.seconds).sum()
}

#[cfg(test)]
pub(crate) mod tests;
