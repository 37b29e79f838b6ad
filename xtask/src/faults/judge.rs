//! Whether the rig survived a fault: what was seen beside what must be. Pure.

use crate::exit::Exit;
use harness::outcome::{OutcomeKind, Verdict};
use harness::report::verdict_name;
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

/// What must become of a cell, in each of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It passes.
    Pass,
    /// It ends otherwise, with these words in its outcome.
    Ends { verdict: Verdict, outcome: OutcomeKind, words: &'static str },
    /// Of so many runs one ends so, whichever it is, and the others pass.
    OneOf { runs: usize, verdict: Verdict, outcome: OutcomeKind, words: &'static str },
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
    /// The faulted cell's results, one a run.
    pub(super) faulted: Vec<CellSeen>,
    pub(super) control: Vec<CellSeen>,
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

impl Observed {
    /// Takes what must be there after the fault. What is not is lost by the rig.
    pub(super) fn take<T, E: Into<anyhow::Error>>(&mut self, what: &str, found: Result<T, E>) -> Option<T> {
        found.map_err(|error| self.broken.push(format!("{what}: {:#}", error.into()))).ok()
    }

    /// What must be so after the fault.
    pub(super) fn must(&mut self, be_so: bool, else_told: impl Into<String>) {
        if !be_so {
            self.broken.push(else_told.into());
        }
    }

    /// The same, if the fault came.
    pub(super) fn provided(self, it_came: bool, else_why: impl Into<String>) -> Result<Self, NotInjected> {
        if it_came {
            Ok(self)
        } else {
            Err(NotInjected { why: else_why.into(), observed: Some(Box::new(self)) })
        }
    }
}

/// Why a fault did not come. No error becomes one by itself: where it is made it must be said that the fault was still to come. What goes
/// wrong after it is the rig's doing, and belongs to [`Observed::broken`].
#[derive(Debug)]
pub(super) struct NotInjected {
    pub(super) why: String,
    /// What was seen of a rig that ran all the same.
    pub(super) observed: Option<Box<Observed>>,
}

/// Says of an error that the fault was still to come.
pub(super) trait BeforeFault<T> {
    fn before_fault(self) -> Result<T, NotInjected>;
}

impl<T, E: Into<anyhow::Error>> BeforeFault<T> for Result<T, E> {
    fn before_fault(self) -> Result<T, NotInjected> {
        self.map_err(|error| NotInjected { why: format!("{:#}", error.into()), observed: None })
    }
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

/// Judges what came of an injection.
pub(super) fn finding(expected: &Expected, came: Result<&Observed, &NotInjected>) -> Finding {
    match came {
        Ok(observed) => judge(expected, observed),
        Err(NotInjected { why, observed }) => {
            // A rig that breaks before the fault comes has not even survived its absence.
            let mut broke = observed.as_deref().map(broke).unwrap_or_default();
            if broke.is_empty() {
                return Finding::NotInjected { why: why.clone() };
            }
            broke.push(format!("and the fault did not come: {why}"));
            Finding::Wrong { why: broke }
        }
    }
}

/// What no rig may do, whatever was done to it, or not.
fn broke(observed: &Observed) -> Vec<String> {
    let panicked = observed.said.contains("panicked at").then(|| "the rig panicked".to_owned());
    let left = observed.left.iter().map(|left| format!("left behind: {left}"));
    panicked.into_iter().chain(left).chain(observed.broken.iter().cloned()).collect()
}

/// Compares.
fn judge(expected: &Expected, observed: &Observed) -> Finding {
    let mut why = Vec::new();
    let exit = expected.exit.map(|exit| i32::from(exit.status()));
    if observed.exit != exit {
        why.push(format!("the exit status is {}, and must be {}", status(observed.exit), status(exit)));
    }
    why.extend(cell("faulted", expected.faulted, &observed.faulted));
    why.extend(cell("control", expected.control, &observed.control));
    for text in expected.says.iter().filter(|text| !observed.said.contains(**text)) {
        why.push(format!("the rig does not say {text:?}"));
    }
    if let Some(bound) = expected.peak_mib.filter(|bound| observed.peak_mib > *bound) {
        why.push(format!("the rig took {} MiB of memory, and must do with {bound}", observed.peak_mib));
    }
    why.extend(broke(observed));
    if why.is_empty() { Finding::Survived } else { Finding::Wrong { why } }
}

fn cell(which: &str, expected: Fate, seen: &[CellSeen]) -> Option<String> {
    let is = |verdict, outcome, words: &str| {
        seen.iter()
            .filter(|seen| seen.verdict == verdict && seen.outcome == outcome && seen.words.contains(words))
            .count()
    };
    let passed = seen.iter().filter(|seen| seen.verdict == Verdict::Pass).count();
    let right = match expected {
        Fate::NoResult => seen.is_empty(),
        Fate::Pass => !seen.is_empty() && passed == seen.len(),
        Fate::Ends { verdict, outcome, words } => {
            !seen.is_empty() && is(verdict, outcome, words) == seen.len()
        }
        Fate::OneOf { runs, verdict, outcome, words } => {
            seen.len() == runs && is(verdict, outcome, words) == 1 && passed == runs - 1
        }
    };
    (!right).then(|| {
        format!("the {which} cell has {}, and must have {}", in_words(seen), fate_in_words(expected))
    })
}

/// A cell's results in a few words: of several the first that is no pass.
pub(super) fn in_words(seen: &[CellSeen]) -> String {
    let passed = |seen: &&CellSeen| seen.verdict == Verdict::Pass;
    let told = match seen.iter().find(|seen| !passed(seen)).or(seen.first()) {
        None => return "no result".to_owned(),
        Some(told) => format!("{} ({})", verdict_name(told.verdict), told.words),
    };
    match (seen.len(), seen.iter().filter(passed).count()) {
        (1, _) => told,
        (runs, passed) => format!("{told}, {passed} of {runs} passed"),
    }
}

/// What a cell must come to, in a few words.
pub(super) fn fate_in_words(fate: Fate) -> String {
    match fate {
        Fate::Pass => "pass".to_owned(),
        Fate::NoResult => "no result".to_owned(),
        Fate::Ends { verdict, words, .. } => format!("{} (…{words}…)", verdict_name(verdict)),
        Fate::OneOf { runs, verdict, words, .. } => {
            format!("{} (…{words}…) in 1 of {runs}", verdict_name(verdict))
        }
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

    fn seen(verdict: Verdict, outcome: OutcomeKind, words: &str) -> Vec<CellSeen> {
        vec![CellSeen { verdict, outcome, words: words.into() }]
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
        // The last of several runs must not hide the one before it.
        let mixed = [red.clone(), good().control].concat();
        for (observed, told) in [
            (Observed { exit: Some(0), ..good() }, "the exit status is 0, and must be 3"),
            (Observed { exit: None, ..good() }, "the exit status is none, and must be 3"),
            (Observed { faulted: fail, ..good() }, "the faulted cell has fail"),
            (Observed { faulted: hung, ..good() }, "the faulted cell has error"),
            (Observed { faulted: words, ..good() }, "and must have error (…signal: 9…)"),
            (Observed { faulted: Vec::new(), ..good() }, "the faulted cell has no result"),
            (Observed { control: red, ..good() }, "the control cell has fail"),
            (Observed { control: mixed, ..good() }, "the control cell has fail (captured), 1 of 2 passed"),
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
        assert!(matches!(judge(&expected, &Observed { faulted: Vec::new(), ..good() }), Finding::Survived));
    }

    /// Catches a cell of which a fault hits none of the runs, or two, or of which a run has no result; and an order of the results in
    /// which what is so does not count.
    #[test]
    fn one_of_several_runs_is_faulted() {
        let (pass, lost) = (good().control, good().faulted);
        let fate = Fate::OneOf {
            runs: 3,
            verdict: Verdict::Error,
            outcome: OutcomeKind::RigError,
            words: "signal: 9",
        };
        let right = |runs: [&[CellSeen]; 3]| cell("faulted", fate, &runs.concat()).is_none();
        assert!(right([&lost, &pass, &pass]) && right([&pass, &lost, &pass]) && right([&pass, &pass, &lost]));
        assert!(
            !right([&pass, &pass, &pass]) && !right([&lost, &lost, &pass]) && !right([&lost, &pass, &[]])
        );
        let hung = seen(Verdict::Fail, OutcomeKind::Hung, "hung");
        assert!(!right([&lost, &pass, &hung]));
    }

    /// Catches a rig that loses results, or crashes, and passes for a fault that could not be injected.
    #[test]
    fn a_rig_that_breaks_is_wrong_whether_the_fault_came_or_not() {
        let mut lost = good();
        assert_eq!(lost.take("run.json", "7".parse::<u32>()), Some(7));
        assert_eq!(lost.take("run.json", "x".parse::<u32>()), None);
        lost.must(true, "not told");
        match finding(&EXPECTED, Ok(&lost)) {
            Finding::Wrong { why } => assert_eq!(why, ["run.json: invalid digit found in string"]),
            other => panic!("{other:?}"),
        }
        let not =
            |observed: Observed| finding(&EXPECTED, Err(&observed.provided(false, "no moment").unwrap_err()));
        assert!(good().provided(true, "").is_ok());
        // What the fault would have changed says nothing.
        let untouched = Observed { exit: Some(0), faulted: good().control, ..good() };
        match not(untouched) {
            Finding::NotInjected { why } => assert_eq!(why, "no moment"),
            other => panic!("{other:?}"),
        }
        for broken in [
            Observed { said: "thread 'main' panicked at x".into(), ..good() },
            Observed { left: vec!["process 7".into()], ..good() },
            lost,
        ] {
            let found = not(broken);
            let Finding::Wrong { why } = &found else { panic!("{found:?}") };
            assert!(why.len() == 2 && why[1].ends_with("did not come: no moment"), "{why:?}");
        }
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
