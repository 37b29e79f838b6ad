//! What stands under the table: the counts, and once more every cell that was not as expected. Pure.

use super::commands::Commands;
use super::paint::Paint;
use super::row;
use super::text::one_line;
use harness::outcome::{OutcomeKind, Verdict};
use harness::report::{CellResult, Runs};
use harness::runner::Summary;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The last lines of a run.
pub(super) fn lines(
    summary: &Summary,
    results: &[CellResult],
    skipped: usize,
    report: &Path,
    took: Duration,
    commands: &Commands,
    paint: Paint,
) -> Vec<String> {
    let mut lines = vec!["------------".to_owned()];
    let head =
        if unexpected(results).next().is_none() { paint.head("Summary") } else { paint.warning("Summary") };
    lines.push(format!(
        "{head} [{:>8.1}s] {}: {}",
        took.as_secs_f64(),
        plural(results.len(), "cell"),
        verdicts(summary, skipped)
    ));
    if !results.is_empty() {
        lines.push(format!("{} {}", paint.head("Outcomes"), outcomes(results)));
    }
    lines.extend(repeated(results, paint));
    if summary.not_run > 0 {
        let why = if summary.interrupted { "the run was interrupted" } else { "the run stopped before them" };
        lines.push(format!("{} {}: {why}", paint.warning("Not run"), plural(summary.not_run, "cell")));
    }
    if let Some(why) = &summary.unwritten {
        lines.push(format!("{} not whole: {}", paint.as_verdict("Report", Verdict::Error), one_line(why)));
    }
    for process in &summary.leaked {
        lines.push(format!(
            "{} a process outlived its guest: {}",
            paint.as_verdict("Leak", Verdict::Error),
            one_line(process)
        ));
    }
    for result in unstable(results).chain(unexpected(results)) {
        lines.extend(row::once_more(result, report, commands, paint));
    }
    if unexpected(results).nth(1).is_some() {
        lines.push(format!("{} {} --failed", paint.warning("All again"), commands.again));
    }
    lines
}

/// The line that ends a run, alone on its line for CI to read, in libtest's manner: what was as expected, what was not, and only where there are some, the rest.
///
/// `skipped` are the cells that were not even given to the run.
pub(crate) fn count_line(summary: &Summary, skipped: usize) -> String {
    let passed = summary.count(Verdict::Pass) + summary.count(Verdict::Flaky);
    let mut line = format!("{passed} passed, {} failed", summary.count(Verdict::Fail));
    let skipped = skipped + summary.count(Verdict::Skipped);
    if skipped > 0 {
        line.push_str(&format!(", {skipped} skipped"));
    }
    match summary.count(Verdict::Error) {
        0 => {}
        1 => line.push_str(", 1 error"),
        errors => line.push_str(&format!(", {errors} errors")),
    }
    // They are among those that passed.
    match summary.count(Verdict::Flaky) {
        0 => {}
        flaky => line.push_str(&format!(", {flaky} flaky")),
    }
    // Not "skipped": nobody wanted them left out, and `--resume` runs them.
    if summary.not_run > 0 {
        line.push_str(&format!(", {} not run", summary.not_run));
    }
    line
}

fn unexpected(results: &[CellResult]) -> impl Iterator<Item = &CellResult> {
    results.iter().filter(|result| match result.verdict {
        Verdict::Fail | Verdict::Error => true,
        Verdict::Pass | Verdict::Flaky | Verdict::Skipped => false,
    })
}

fn unstable(results: &[CellResult]) -> impl Iterator<Item = &CellResult> {
    results.iter().filter(|result| result.verdict == Verdict::Flaky)
}

fn verdicts(summary: &Summary, skipped: usize) -> String {
    let words = [
        (Verdict::Pass, "passed"),
        (Verdict::Flaky, "flaky"),
        (Verdict::Fail, "failed"),
        (Verdict::Error, "in error"),
        (Verdict::Skipped, "skipped"),
    ];
    let count = |verdict| summary.count(verdict) + if verdict == Verdict::Skipped { skipped } else { 0 };
    let counts: Vec<_> = words
        .into_iter()
        .filter(|(verdict, _)| matches!(verdict, Verdict::Pass | Verdict::Fail) || count(*verdict) > 0)
        .map(|(verdict, word)| format!("{} {word}", count(verdict)))
        .collect();
    counts.join(", ")
}

/// What became of cells that were run more than once: those whose runs differ each by itself, the others as a number.
fn repeated(results: &[CellResult], paint: Paint) -> Vec<String> {
    let runs = Runs::of(results);
    let (stable, unstable): (Vec<_>, Vec<_>) = runs.repeated().partition(|(_, came_to)| came_to.is_stable());
    let mut lines = Vec::new();
    if !stable.is_empty() {
        let all = "whose runs all came to the same";
        lines.push(format!("{} {} {all}", paint.head("Stable"), plural(stable.len(), "cell")));
    }
    lines.extend(
        unstable.iter().map(|(id, came_to)| format!("{} {id}: {came_to}", paint.warning("Unstable"))),
    );
    lines
}

fn outcomes(results: &[CellResult]) -> String {
    let mut counts: BTreeMap<OutcomeKind, usize> = BTreeMap::new();
    for result in results {
        *counts.entry(result.outcome.kind()).or_default() += 1;
    }
    let words: Vec<_> = counts.into_iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
    words.join(", ")
}

/// `1 cell`, `2 cells`: for nouns whose plural has an `s` more.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{captured, refused, result};
    use super::*;
    use harness::outcome::Outcome;

    fn summary(verdicts: &[(Verdict, usize)]) -> Summary {
        Summary { verdicts: verdicts.iter().copied().collect(), ..Summary::default() }
    }

    fn commands() -> Commands {
        Commands { again: "cargo xtask e2e seed".into(), cells: "seed".into() }
    }

    /// Catches a failed or flaky cell that scrolled away, and a command that does not run it again.
    #[test]
    fn failures_come_once_more_with_the_command_that_repeats_them() {
        let lost = Outcome::RigError { what: "lost".into() };
        let results = [
            result("a/b", Verdict::Fail, &[refused()]),
            result("c", Verdict::Pass, &[captured()]),
            result("f", Verdict::Flaky, &[lost, captured()]),
        ];
        let lines = lines(
            &summary(&[(Verdict::Pass, 1), (Verdict::Fail, 1), (Verdict::Flaky, 1)]),
            &results,
            0,
            Path::new("r"),
            Duration::from_millis(61_500),
            &commands(),
            Paint::new(false),
        );
        assert_eq!(
            lines,
            [
                "------------",
                "     Summary [    61.5s] 3 cells: 1 passed, 1 flaky, 1 failed",
                "    Outcomes 2 captured, 1 refused",
                "       FLAKY [    16.5s] f",
                "     outcome captured, vmcore verified",
                "       try 1 rig error: lost",
                "    evidence r/f/try-1",
                "   reproduce sh r/f/try-1/repro.sh",
                "       try 2 captured, vmcore verified",
                "    evidence r/f/try-2",
                "   reproduce sh r/f/try-2/repro.sh",
                "       again cargo xtask e2e seed -E 'id=f'",
                "        FAIL [     8.2s] a/b",
                "     outcome refused by the loader: region too [31mhigh",
                "    evidence r/a/b/try-1",
                "   reproduce sh r/a/b/try-1/repro.sh",
                "       again cargo xtask e2e seed -E 'id=a/b'",
            ]
        );
    }

    /// Catches an interrupted run that looks complete, and a leaked process that nobody is told about.
    #[test]
    fn what_did_not_run_and_what_leaked_is_said() {
        let interrupted = Summary {
            not_run: 3,
            interrupted: true,
            leaked: vec!["process group 7".into()],
            ..summary(&[(Verdict::Pass, 1)])
        };
        let results = [result("c", Verdict::Pass, &[captured()])];
        let lines = lines(
            &interrupted,
            &results,
            0,
            Path::new("r"),
            Duration::from_secs(9),
            &commands(),
            Paint::new(false),
        );
        assert_eq!(lines[3], "     Not run 3 cells: the run was interrupted");
        assert_eq!(lines[4], "        Leak a process outlived its guest: process group 7");
    }

    /// Catches an error that CI's reader of the last line takes for a success of the rig.
    #[test]
    fn the_count_line_hides_nothing() {
        assert_eq!(count_line(&summary(&[(Verdict::Pass, 7)]), 0), "7 passed, 0 failed");
        let all = [
            (Verdict::Pass, 4),
            (Verdict::Flaky, 1),
            (Verdict::Fail, 2),
            (Verdict::Skipped, 1),
            (Verdict::Error, 2),
        ];
        let stopped = Summary { not_run: 3, ..summary(&all) };
        assert_eq!(count_line(&stopped, 1), "5 passed, 2 failed, 2 skipped, 2 errors, 1 flaky, 3 not run");
    }

    /// Catches `--repeat` that shows how often a cell failed nowhere, or fills the screen with cells that are always the same.
    #[test]
    fn runs_that_differ_are_told_apart() {
        let run = |id: &str, verdict, outcome| result(id, verdict, &[outcome]);
        let results = [
            run("a", Verdict::Pass, captured()),
            run("b", Verdict::Pass, captured()),
            run("a", Verdict::Fail, refused()),
            run("b", Verdict::Pass, captured()),
            run("a", Verdict::Pass, captured()),
        ];
        let lines = repeated(&results, Paint::new(false));
        assert_eq!(
            lines.iter().map(|line| line.trim()).collect::<Vec<_>>(),
            ["Stable 1 cell whose runs all came to the same", "Unstable a: 3 runs: 2 captured, 1 refused"]
        );
        assert!(repeated(&results[..2], Paint::new(false)).is_empty());
    }
}
