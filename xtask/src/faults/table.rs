//! The table of faults: a line a fault as it ends, then the counts, and once more all that was not survived. Lines are made purely.

use super::Tried;
use super::judge::{CellSeen, Expected, Fate, Finding, Observed, fate_in_words, in_words};
use crate::table::one_line;
use crate::table::paint::Paint;
use harness::outcome::Verdict;
use std::path::Path;

/// Widths of the columns of names and of what is expected: the longest of the list.
const NAME: usize = 26;
const EXPECTED: usize = 62;

pub(super) fn head(paint: Paint) -> Vec<String> {
    vec![format!("{} {:>11} {:<NAME$} {:<EXPECTED$} observed", paint.head(""), "", "fault", "expected")]
}

/// What must come of a fault, in a few words.
pub(super) fn expected(expected: &Expected) -> String {
    let exit = expected.exit.map_or("killed".to_owned(), |exit| format!("status {}", exit.status()));
    let cells = match (expected.faulted, expected.control) {
        (Fate::NoResult, Fate::NoResult) => String::new(),
        (Fate::Pass, Fate::Pass) => ", both cells pass".to_owned(),
        (faulted, control) => format!(", {} beside {}", fate_in_words(faulted), fate_in_words(control)),
    };
    format!("{exit}{cells}")
}

/// What came of it.
fn observed(observed: &Observed) -> String {
    let exit = observed.exit.map_or("killed".to_owned(), |exit| format!("status {exit}"));
    let pass = |seen: &[CellSeen]| !seen.is_empty() && seen.iter().all(|seen| seen.verdict == Verdict::Pass);
    let (faulted, control) = (&observed.faulted, &observed.control);
    let cells = match (pass(faulted), pass(control)) {
        _ if faulted.is_empty() && control.is_empty() => String::new(),
        (true, true) => ", both cells pass".to_owned(),
        (false, true) => format!(", {} beside pass", in_words(faulted)),
        (_, false) => format!(", {} beside {}", in_words(faulted), in_words(control)),
    };
    format!("{exit}{cells}")
}

/// The line of a fault, and what is wrong with it.
pub(super) fn row(tried: &Tried, paint: Paint) -> Vec<String> {
    let (word, verdict) = match &tried.finding {
        Finding::Survived => ("survived", Verdict::Pass),
        Finding::Wrong { .. } => ("WRONG", Verdict::Fail),
        Finding::NotInjected { .. } => ("NOT INJECTED", Verdict::Error),
    };
    let seen = tried.observed.as_ref().map(observed).unwrap_or_default();
    let mut lines = vec![
        format!(
            "{} [{:>8.1}s] {:<NAME$} {:<EXPECTED$} {}",
            paint.as_verdict(word, verdict),
            tried.seconds,
            tried.fault.name,
            tried.fault.expected,
            one_line(&seen)
        )
        .trim_end()
        .to_owned(),
    ];
    let why: &[String] = match &tried.finding {
        Finding::Survived => &[],
        Finding::Wrong { why } => why,
        Finding::NotInjected { why } => std::slice::from_ref(why),
    };
    lines.extend(why.iter().map(|why| format!("{:>12} {}", "", one_line(why))));
    lines
}

/// What stands under the table.
pub(super) fn summary(
    tried: &[Tried],
    wanted: usize,
    report: &Path,
    seconds: f64,
    paint: Paint,
) -> Vec<String> {
    let mut lines = vec!["------------".to_owned()];
    for one in tried.iter().filter(|one| !matches!(one.finding, Finding::Survived)) {
        lines.extend(row(one, paint));
        lines.push(format!("{:>12} injected: {}", "", one.fault.what));
        lines.push(format!("{:>12} evidence: {}", "", report.join(&one.evidence).display()));
        lines.push(format!("{:>12} again: cargo xtask faults {}", "", one.fault.name));
    }
    let count = |is: fn(&Finding) -> bool| tried.iter().filter(|one| is(&one.finding)).count();
    let survived = count(|finding| matches!(finding, Finding::Survived));
    let wrong = count(|finding| matches!(finding, Finding::Wrong { .. }));
    let not_injected = count(|finding| matches!(finding, Finding::NotInjected { .. }));
    let mut counts = format!("{survived} survived, {wrong} wrong");
    if not_injected > 0 {
        counts.push_str(&format!(", {not_injected} not injected"));
    }
    if tried.len() < wanted {
        counts.push_str(&format!(", {} not tried", wanted - tried.len()));
    }
    let head = if survived == wanted { paint.head("Summary") } else { paint.warning("Summary") };
    lines.push(format!("{head} [{seconds:>8.1}s] {wanted} faults: {counts}"));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::FaultRecord;
    use super::super::list::FAULTS;
    use super::*;
    use harness::outcome::OutcomeKind;

    fn tried(finding: Finding) -> Tried {
        let faulted = CellSeen {
            verdict: Verdict::Error,
            outcome: OutcomeKind::RigError,
            words: "rig error: QEMU\nended".into(),
        };
        let control =
            CellSeen { verdict: Verdict::Pass, outcome: OutcomeKind::Captured, words: "captured".into() };
        let observed =
            Observed { exit: Some(3), faulted: vec![faulted], control: vec![control], ..Observed::default() };
        let fault = FaultRecord { name: "qemu-killed", what: "QEMU is killed", expected: "status 3".into() };
        Tried { fault, finding, observed: Some(observed), seconds: 1.25, evidence: "qemu-killed".into() }
    }

    /// Catches a fault that was not survived and scrolled away, or is counted among the others; and one that was never tried.
    #[test]
    fn what_is_wrong_comes_once_more() {
        let paint = Paint::new(false);
        let all = [
            tried(Finding::Survived),
            tried(Finding::Wrong { why: vec!["left behind: process 7".into()] }),
            tried(Finding::NotInjected { why: "no namespaces".into() }),
        ];
        assert_eq!(row(&all[0], paint).len(), 1);
        assert!(
            row(&all[0], paint)[0].ends_with("status 3, error (rig error: QEMU ended) beside pass"),
            "{:?}",
            row(&all[0], paint)
        );
        let text = summary(&all, 4, Path::new("/r"), 2.0, paint).join("\n");
        for part in [
            "left behind: process 7",
            "no namespaces",
            "evidence: /r/qemu-killed",
            "4 faults: 1 survived, 1 wrong, 1 not injected, 1 not tried",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    /// Catches columns that no longer fit the list.
    #[test]
    fn columns_fit() {
        for fault in FAULTS {
            assert!(fault.name.len() <= NAME, "{}", fault.name);
            assert!(expected(&fault.expected).chars().count() <= EXPECTED, "{}", expected(&fault.expected));
        }
    }
}
