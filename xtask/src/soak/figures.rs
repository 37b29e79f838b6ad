//! What a soak showed: verdicts, what was wrong or unstable, and how near each phase came to its deadline. Pure.

use crate::table::one_line;
use harness::guest::Deadlines;
use harness::outcome::Verdict;
use harness::phase::Phase;
use harness::report::{CellResult, Runs};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A phase at its slowest.
struct Slowest<'a> {
    seconds: f64,
    deadline: f64,
    result: &'a CellResult,
}

/// Whether no verdict was wrong, and no cell came to different things.
pub(super) fn is_stable(results: &[CellResult]) -> bool {
    results.iter().all(|result| result.verdict == Verdict::Pass)
        && Runs::of(results).repeated().all(|(_, came_to)| came_to.is_stable())
}

pub(super) fn lines(
    results: &[CellResult],
    deadlines: &Deadlines,
    report: &Path,
    took: Duration,
) -> Vec<String> {
    let runs = Runs::of(results);
    let unstable: Vec<_> = runs.repeated().filter(|(_, came_to)| !came_to.is_stable()).collect();
    let wrong: Vec<_> = results.iter().filter(|result| result.verdict != Verdict::Pass).collect();
    let mut lines = vec![format!(
        "Soak: {} cells in {:.0} s: {} with a wrong verdict, {} cells unstable",
        results.len(),
        took.as_secs_f64(),
        wrong.len(),
        unstable.len()
    )];
    for (id, came_to) in unstable {
        lines.push(format!("  unstable: {id}: {came_to}"));
    }
    for result in wrong {
        let evidence = report.join(&result.evidence);
        lines.push(format!(
            "  wrong: {}: {}; {}",
            result.trial(),
            one_line(&result.words),
            evidence.display()
        ));
    }
    lines.push("Each phase at its slowest, beside its deadline:".to_owned());
    for (phase, slowest) in slowest(results, deadlines) {
        lines.push(format!(
            "  {:<30} {:>7.1} s of {:>6.1} s ({:>3.0} %)  {}",
            phase.in_words(),
            slowest.seconds,
            slowest.deadline,
            100.0 * slowest.seconds / slowest.deadline,
            slowest.result.trial()
        ));
    }
    lines
}

/// The slowest result of each phase, beside the deadline that it had: `deadlines` as they were before the run calibrated them. A phase that ended at its deadline is among them: a hang is expected to.
fn slowest<'a>(results: &'a [CellResult], deadlines: &Deadlines) -> BTreeMap<Phase, Slowest<'a>> {
    let mut slowest: BTreeMap<Phase, Slowest<'a>> = BTreeMap::new();
    for result in results {
        for (name, &seconds) in &result.seconds {
            // What is no phase is the total.
            let Ok(phase) = serde_json::from_value::<Phase>(name.as_str().into()) else { continue };
            if slowest.get(&phase).is_none_or(|other| other.seconds < seconds) {
                let calibrated = result.accel_reason.as_ref().map_or(1.0, |reason| reason.deadline_factor);
                let deadline = deadlines.of(phase).wall.as_secs_f64() * calibrated;
                slowest.insert(phase, Slowest { seconds, deadline, result });
            }
        }
    }
    slowest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::row_tests::{captured, result};

    fn with_seconds(id: &str, seconds: &[(&str, f64)]) -> CellResult {
        let seconds = seconds.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect();
        CellResult { seconds, ..result(id, Verdict::Pass, &[captured()]) }
    }

    /// Catches a phase that is near its deadline and not told, or told of another cell, and the total taken for a phase.
    #[test]
    fn the_slowest_of_each_phase_is_told() {
        let results = [
            with_seconds("a", &[("capture", 9.0), ("loading", 1.0), ("total", 99.0)]),
            with_seconds("b", &[("capture", 45.0), ("total", 50.0)]),
        ];
        let lines = lines(&results, &Deadlines::default(), Path::new("r"), Duration::from_secs(60));
        assert_eq!(lines[0], "Soak: 2 cells in 60 s: 0 with a wrong verdict, 0 cells unstable");
        let capture = lines.iter().find(|line| line.contains("capture kernel")).unwrap();
        assert!(capture.contains("45.0 s of   90.0 s ( 50 %)  b"), "{capture}");
        assert_eq!(lines.len(), 4, "{lines:?}");
    }

    /// Catches a soak that succeeds although a verdict was wrong, or needed a retry, or varied.
    #[test]
    fn what_is_wrong_or_varies_is_no_success() {
        let pass = || result("a", Verdict::Pass, &[captured()]);
        assert!(is_stable(&[pass(), pass()]));
        for verdict in [Verdict::Fail, Verdict::Error, Verdict::Flaky] {
            let results = [pass(), result("a", verdict, &[captured()])];
            assert!(!is_stable(&results), "{verdict:?}");
            let lines = lines(&results, &Deadlines::default(), Path::new("r"), Duration::ZERO);
            assert!(lines.iter().any(|line| line.starts_with("  unstable: a: 2 runs")), "{lines:?}");
            assert!(lines.iter().any(|line| line.starts_with("  wrong: a")), "{lines:?}");
        }
    }
}
