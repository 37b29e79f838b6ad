//! What a soak showed: verdicts, what was wrong or unstable, and how near each phase came to its deadline. Pure.

use crate::table::one_line;
use harness::guest::Deadlines;
use harness::outcome::{Outcome, Verdict};
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

/// `not_shared` tells of boots that no cell could start from.
pub(super) fn lines(
    results: &[CellResult],
    not_shared: &[String],
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
    lines.extend(notes(results, not_shared));
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

/// All notes on one line, the most frequent first: those that differ in numbers and places only are one, told by its first. They decide
/// nothing, but a run in which no saved state could be used, or every guest had to be ended, is not one in which all is well.
fn notes(results: &[CellResult], not_shared: &[String]) -> Option<String> {
    let of_cells = results.iter().flat_map(|result| &result.attempts).flat_map(|attempt| &attempt.notes);
    let mut groups: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for note in not_shared.iter().chain(of_cells) {
        groups.entry(kind(note)).or_insert((0, note)).0 += 1;
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    let all: usize = groups.iter().map(|(times, _)| times).sum();
    let told: Vec<_> = groups.iter().map(|(times, first)| format!("{times} x {}", one_line(first))).collect();
    let plural = if all == 1 { "note" } else { "notes" };
    (all > 0).then(|| format!("  {all} {plural}: {}", told.join("; ")))
}

/// A note without its numbers and paths.
fn kind(note: &str) -> String {
    let varies = |word: &str| word.contains(|letter: char| letter == '/' || letter.is_ascii_digit());
    let words = note.split_whitespace().map(|word| if varies(word) { "#" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// The phase that a cell hung in, if it did. It ends at its deadline, and would hide one that nearly does and passes.
fn hung_in(result: &CellResult) -> Option<Phase> {
    let Outcome::Hung { at, .. } = result.outcome else { return None };
    let last = result.attempts.last().and_then(|attempt| attempt.last_phase.as_ref());
    Some(last.map_or(at, |last| last.phase))
}

/// The slowest result of each phase, beside the deadline that it had: `deadlines` as they were before the run calibrated them. A phase in
/// which a cell hung is not among them.
fn slowest<'a>(results: &'a [CellResult], deadlines: &Deadlines) -> BTreeMap<Phase, Slowest<'a>> {
    let mut slowest: BTreeMap<Phase, Slowest<'a>> = BTreeMap::new();
    for result in results {
        for (name, &seconds) in &result.seconds {
            // What is no phase is the total.
            let Ok(phase) = serde_json::from_value::<Phase>(name.as_str().into()) else { continue };
            if hung_in(result) == Some(phase) {
                continue;
            }
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
    use harness::outcome::{HangCause, HangProof};

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
        let lines = lines(&results, &[], &Deadlines::default(), Path::new("r"), Duration::from_secs(60));
        assert_eq!(lines[0], "Soak: 2 cells in 60 s: 0 with a wrong verdict, 0 cells unstable");
        let capture = lines.iter().find(|line| line.contains("capture kernel")).unwrap();
        assert!(capture.contains("45.0 s of   90.0 s ( 50 %)  b"), "{capture}");
        assert_eq!(lines.len(), 4, "{lines:?}");
    }

    /// Catches an expected hang, at 100 % of its deadline, that hides a cell which nearly failed; and one of whose other phases nothing is told.
    #[test]
    fn a_hang_hides_no_slow_phase() {
        let proof = HangProof::Silence { seconds: 90 };
        let hung = Outcome::Hung { at: Phase::Decompression, proof, cause: HangCause::Unknown };
        let mut hang = result("hang", Verdict::Pass, &[hung]);
        hang.seconds = [("purgatory", 4.0), ("capture", 90.0)].map(|(name, at)| (name.to_owned(), at)).into();
        hang.attempts[0].last_phase = Some(Phase::Capture.into());
        let results = [with_seconds("slow", &[("purgatory", 1.0), ("capture", 85.5)]), hang];
        let slowest = slowest(&results, &Deadlines::default());
        assert_eq!(slowest[&Phase::Capture].result.id.0, "slow");
        assert_eq!(slowest[&Phase::Purgatory].result.id.0, "hang");
    }

    /// Catches a soak that says that all is well although no saved state could be used; and a line for each of hundreds of notes.
    #[test]
    fn notes_are_told_together() {
        let noted = |id: &str, notes: &[&str]| {
            let mut noted = result(id, Verdict::Pass, &[captured()]);
            noted.attempts[0].notes = notes.iter().map(|note| (*note).to_owned()).collect();
            noted
        };
        let off = |seconds| format!("the guest did not power off within {seconds} s");
        let results = [
            noted("a", &["booted by itself: /tmp/x/1/state is damaged", &off(9)]),
            noted("b", &[&off(12)]),
            noted("c", &[]),
        ];
        assert_eq!(notes(&results[2..], &[]), None);
        let told = notes(&results, &["k could not be shared: no room".to_owned(), off(10)]).unwrap();
        assert_eq!(
            told,
            "  5 notes: 3 x the guest did not power off within 10 s; 1 x booted by itself: /tmp/x/1/state is \
             damaged; 1 x k could not be shared: no room"
        );
        let lines = lines(&results, &[], &Deadlines::default(), Path::new("r"), Duration::ZERO);
        assert!(lines[1].starts_with("  3 notes: 2 x the guest"), "{lines:?}");
    }

    /// Catches a soak that succeeds although a verdict was wrong, or needed a retry, or varied.
    #[test]
    fn what_is_wrong_or_varies_is_no_success() {
        let pass = || result("a", Verdict::Pass, &[captured()]);
        assert!(is_stable(&[pass(), pass()]));
        for verdict in [Verdict::Fail, Verdict::Error, Verdict::Flaky] {
            let results = [pass(), result("a", verdict, &[captured()])];
            assert!(!is_stable(&results), "{verdict:?}");
            let lines = lines(&results, &[], &Deadlines::default(), Path::new("r"), Duration::ZERO);
            assert!(lines.iter().any(|line| line.starts_with("  unstable: a: 2 runs")), "{lines:?}");
            assert!(lines.iter().any(|line| line.starts_with("  wrong: a")), "{lines:?}");
        }
    }
}
