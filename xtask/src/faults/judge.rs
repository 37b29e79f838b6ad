//! Whether the rig survived a fault: what was seen beside what must be. Pure.

use crate::exit::Exit;
use harness::outcome::{OutcomeKind, Verdict};
use serde::Serialize;

/// What must come of a fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The rig's exit status; none: it has none, for it is killed.
    pub(super) exit: Option<Exit>,
    pub(super) faulted: Fate,
    pub(super) control: Fate,
    /// What the rig must say, all of it.
    pub(super) says: &'static [&'static str],
    /// Bound of the rig's resident memory, in MiB, where the fault is to fill it.
    pub(super) peak_mib: Option<u64>,
}

/// What must become of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes.
    Pass,
    /// It ends otherwise, with these words in its outcome.
    Ends { verdict: Verdict, outcome: OutcomeKind, words: &'static str },
    /// It has no result.
    NoResult,
}

/// A cell's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct CellSeen {
    pub(super) verdict: Verdict,
    pub(super) outcome: OutcomeKind,
    pub(super) words: String,
}

/// What was seen of a fault.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Observed {
    /// The rig's exit status; none: it was killed by a signal.
    pub(super) exit: Option<i32>,
    pub(super) faulted: Option<CellSeen>,
    pub(super) control: Option<CellSeen>,
    /// All that the rig said.
    #[serde(skip)]
    pub(super) said: String,
    /// What is left behind that should not be: processes, folders.
    pub(super) left: Vec<String>,
    /// What is not whole in the report, or otherwise not as it must be.
    pub(super) broken: Vec<String>,
    /// Most resident memory of the rig that was seen, in MiB.
    pub(super) peak_mib: u64,
}

/// What the campaign says of a fault.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub(super) enum Finding {
    /// All is as it must be.
    Survived,
    /// Something is not.
    Wrong { why: Vec<String> },
    /// The fault could not be injected, which says nothing on the rig.
    NotInjected { why: String },
}

/// Compares.
pub(super) fn judge(expected: &Expected, observed: &Observed) -> Finding {
    let mut why = Vec::new();
    let exit = expected.exit.map(|exit| i32::from(exit.status()));
    if observed.exit != exit {
        why.push(format!("the exit status is {}, and must be {}", status(observed.exit), status(exit)));
    }
    why.extend(cell("faulted", expected.faulted, observed.faulted.as_ref()));
    why.extend(cell("control", expected.control, observed.control.as_ref()));
    for text in expected.says.iter().filter(|text| !observed.said.contains(**text)) {
        why.push(format!("the rig does not say {text:?}"));
    }
    if observed.said.contains("panicked at") {
        why.push("the rig panicked".to_owned());
    }
    if let Some(bound) = expected.peak_mib.filter(|bound| observed.peak_mib > *bound) {
        why.push(format!("the rig took {} MiB of memory, and must do with {bound}", observed.peak_mib));
    }
    why.extend(observed.left.iter().map(|left| format!("left behind: {left}")));
    why.extend(observed.broken.iter().cloned());
    if why.is_empty() { Finding::Survived } else { Finding::Wrong { why } }
}

fn cell(which: &str, expected: Fate, seen: Option<&CellSeen>) -> Option<String> {
    let told = || seen.map_or("no result".to_owned(), in_words);
    let right = match (expected, seen) {
        (Fate::NoResult, None) => true,
        (Fate::Pass, Some(seen)) => seen.verdict == Verdict::Pass,
        (Fate::Ends { verdict, outcome, words }, Some(seen)) => {
            seen.verdict == verdict && seen.outcome == outcome && seen.words.contains(words)
        }
        (Fate::NoResult, Some(_)) | (Fate::Pass | Fate::Ends { .. }, None) => false,
    };
    (!right).then(|| format!("the {which} cell has {}, and must have {}", told(), fate_in_words(expected)))
}

/// A cell's result in a few words.
pub(super) fn in_words(seen: &CellSeen) -> String {
    format!("{} ({})", verdict_word(seen.verdict), seen.words)
}

/// What a cell must come to, in a few words.
pub(super) fn fate_in_words(fate: Fate) -> String {
    match fate {
        Fate::Pass => "pass".to_owned(),
        Fate::NoResult => "no result".to_owned(),
        Fate::Ends { verdict, words, .. } => format!("{} (…{words}…)", verdict_word(verdict)),
    }
}

const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Flaky => "flaky",
        Verdict::Skipped => "skipped",
        Verdict::Error => "error",
    }
}

fn status(status: Option<i32>) -> String {
    status.map_or("none".to_owned(), |status| status.to_string())
}

/// The status of the whole.
pub(super) fn exit<'a>(findings: impl Iterator<Item = &'a Finding> + Clone, interrupted: bool) -> Exit {
    let mut all = findings;
    if interrupted {
        Exit::Interrupted
    } else if all.clone().any(|finding| matches!(finding, Finding::Wrong { .. })) {
        Exit::NotAsExpected
    } else if all.any(|finding| matches!(finding, Finding::NotInjected { .. })) {
        Exit::RigFailed
    } else {
        Exit::AsExpected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected = Expected {
        exit: Some(Exit::RigFailed),
        faulted: Fate::Ends { verdict: Verdict::Error, outcome: OutcomeKind::RigError, words: "signal: 9" },
        control: Fate::Pass,
        says: &["Note"],
        peak_mib: Some(100),
    };

    fn seen(verdict: Verdict, outcome: OutcomeKind, words: &str) -> Option<CellSeen> {
        Some(CellSeen { verdict, outcome, words: words.into() })
    }

    fn good() -> Observed {
        Observed {
            exit: Some(3),
            faulted: seen(Verdict::Error, OutcomeKind::RigError, "rig error: signal: 9"),
            control: seen(Verdict::Pass, OutcomeKind::Captured, "captured"),
            said: "Note x".into(),
            peak_mib: 100,
            ..Observed::default()
        }
    }

    /// Catches a campaign that is content with less than it claims: each thing that can be wrong, alone, must be told.
    #[test]
    fn each_shortcoming_is_told() {
        assert!(matches!(judge(&EXPECTED, &good()), Finding::Survived));
        let fail = seen(Verdict::Fail, OutcomeKind::RigError, "signal: 9");
        let hung = seen(Verdict::Error, OutcomeKind::Hung, "signal: 9");
        let words = seen(Verdict::Error, OutcomeKind::RigError, "signal: 11");
        let red = seen(Verdict::Fail, OutcomeKind::Captured, "captured");
        for (observed, told) in [
            (Observed { exit: Some(0), ..good() }, "the exit status is 0, and must be 3"),
            (Observed { exit: None, ..good() }, "the exit status is none, and must be 3"),
            (Observed { faulted: fail, ..good() }, "the faulted cell has fail"),
            (Observed { faulted: hung, ..good() }, "the faulted cell has error"),
            (Observed { faulted: words, ..good() }, "and must have error (…signal: 9…)"),
            (Observed { faulted: None, ..good() }, "the faulted cell has no result"),
            (Observed { control: red, ..good() }, "the control cell has fail"),
            (Observed { said: String::new(), ..good() }, "does not say \"Note\""),
            (Observed { said: "Note, thread 'main' panicked at x".into(), ..good() }, "the rig panicked"),
            (Observed { peak_mib: 101, ..good() }, "101 MiB"),
            (Observed { left: vec!["process 7".into()], ..good() }, "left behind: process 7"),
            (Observed { broken: vec!["half a line".into()], ..good() }, "half a line"),
        ] {
            match judge(&EXPECTED, &observed) {
                Finding::Wrong { why } => assert!(why.len() == 1 && why[0].contains(told), "{why:?}"),
                other => panic!("{told}: {other:?}"),
            }
        }
    }

    /// Catches a cell that must have no result and has one.
    #[test]
    fn no_result_is_an_expectation() {
        let expected = Expected { faulted: Fate::NoResult, ..EXPECTED };
        assert!(matches!(judge(&expected, &good()), Finding::Wrong { .. }));
        assert!(matches!(judge(&expected, &Observed { faulted: None, ..good() }), Finding::Survived));
    }

    /// Catches a fault that was never injected and counts as survived, and one that hides another that was not.
    #[test]
    fn the_worst_decides() {
        let wrong = || Finding::Wrong { why: vec!["x".into()] };
        let not = || Finding::NotInjected { why: "x".into() };
        let status = |findings: &[Finding]| exit(findings.iter(), false).status();
        assert_eq!(status(&[Finding::Survived]), 0);
        assert_eq!(status(&[Finding::Survived, not()]), 3);
        assert_eq!(status(&[not(), wrong(), Finding::Survived]), 1);
        assert_eq!(exit([wrong()].iter(), true).status(), 130);
    }
}
