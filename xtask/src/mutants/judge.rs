//! What the rig made of a mutant. Pure.

use super::list::Sign;
use crate::exit::Exit;
use harness::outcome::{Outcome, Verdict};
use serde::Serialize;
use std::path::PathBuf;

/// What one cell made of a mutant. In the order of what decides on the mutant: the least comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CellVerdict {
    /// Red, and it looks like this bug.
    Caught,
    /// Red, and it does not look like this bug: any other fault would have done as well.
    OtherReason,
    /// As expected, in spite of the bug: a hole in the rig.
    Survived,
    /// It had no result, for an interruption.
    NotRun,
    /// Trouble of rig or host, which says nothing.
    Unclear,
    /// The cell is not as expected without the bug either, so it says nothing.
    ControlRed,
}

/// What was seen in a cell.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) verdict: Verdict,
    pub(super) outcome: Outcome,
    /// The outcome in words.
    pub(super) words: String,
    pub(super) seconds: f64,
    /// Its evidence, relative to the folder of all reports.
    pub(super) evidence: PathBuf,
}

/// Compares what a cell made of a mutant with the sign that it is to show, and with what the cell is without the bug.
pub(super) fn cell(control: Option<&Seen>, mutant: Option<&Seen>, sign: &Sign) -> CellVerdict {
    let Some(mutant) = mutant else { return CellVerdict::NotRun };
    match control.map(|control| control.verdict) {
        Some(Verdict::Pass) => {}
        // Flaky without a bug: its being red says nothing either.
        Some(Verdict::Fail | Verdict::Flaky | Verdict::Error | Verdict::Skipped) => {
            return CellVerdict::ControlRed;
        }
        None => return CellVerdict::NotRun,
    }
    alone(mutant, sign)
}

/// The same where the cell without the bug is taken to be as expected.
pub(super) fn alone(mutant: &Seen, sign: &Sign) -> CellVerdict {
    let is_the_sign = mutant.outcome.kind() == sign.outcome && sign.words.is_match(&mutant.words);
    match mutant.verdict {
        Verdict::Pass | Verdict::Flaky => CellVerdict::Survived,
        Verdict::Skipped => CellVerdict::NotRun,
        // A bug of the agent may well show as trouble of the rig: then that is what is foreseen.
        Verdict::Fail | Verdict::Error if is_the_sign => CellVerdict::Caught,
        Verdict::Fail => CellVerdict::OtherReason,
        Verdict::Error => CellVerdict::Unclear,
    }
}

/// What became of a mutant.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(super) enum Fate {
    /// It was built and run: what each of its cells made of it. At least one.
    Tried { cells: Vec<Row> },
    /// Its edit does not fit the sources.
    Stale { why: String },
    /// With its edit the program does not build.
    NotBuilt {
        /// The compiler's words.
        why: String,
    },
}

/// What a cell made of a mutant, for the table and the report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) cell: String,
    pub(super) verdict: CellVerdict,
    /// What must be seen.
    pub(super) foreseen: String,
    /// What was seen, in words. Empty where it was not run.
    pub(super) words: String,
    pub(super) seconds: f64,
    pub(super) evidence: Option<PathBuf>,
}

impl Fate {
    /// The verdict on the whole: that of its worst cell, since every cell that the list names must catch it. None where it was
    /// not tried.
    pub(super) fn verdict(&self) -> Option<CellVerdict> {
        match self {
            Self::Tried { cells } => cells.iter().map(|row| row.verdict).max(),
            Self::Stale { .. } | Self::NotBuilt { .. } => None,
        }
    }

    /// The status that this mutant alone would end the program with.
    fn exit(&self, control_failed: bool) -> Exit {
        match self.verdict() {
            Some(CellVerdict::Caught) => Exit::AsExpected,
            Some(CellVerdict::OtherReason | CellVerdict::Survived) | None => Exit::NotAsExpected,
            Some(CellVerdict::ControlRed) if control_failed => Exit::NotAsExpected,
            Some(CellVerdict::ControlRed | CellVerdict::Unclear | CellVerdict::NotRun) => Exit::RigFailed,
        }
    }
}

/// The status of the whole. `control_failed` says that a cell failed without any bug, which is a fault of loader or kernels.
pub(super) fn exit<'a>(
    fates: impl Iterator<Item = &'a Fate>,
    control_failed: bool,
    leaked: bool,
    interrupted: bool,
) -> Exit {
    if interrupted {
        return Exit::Interrupted;
    }
    let exits: Vec<Exit> = fates.map(|fate| fate.exit(control_failed)).collect();
    if exits.contains(&Exit::NotAsExpected) {
        Exit::NotAsExpected
    } else if leaked || exits.contains(&Exit::RigFailed) {
        Exit::RigFailed
    } else {
        Exit::AsExpected
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use harness::judge;
    use harness::outcome::{OutcomeKind, VmcoreState};
    use regex::Regex;

    pub(in crate::mutants) fn seen(verdict: Verdict, outcome: Outcome) -> Seen {
        let words = judge::describe(&outcome);
        Seen { verdict, outcome, words, seconds: 12.5, evidence: "loader/x/try-1".into() }
    }

    fn wrong(why: &str) -> Outcome {
        Outcome::captured(VmcoreState::Wrong { why: why.into() })
    }

    fn rig_error() -> Outcome {
        Outcome::RigError { what: "QEMU went away".into() }
    }

    fn good() -> Seen {
        seen(Verdict::Pass, Outcome::captured(VmcoreState::Verified))
    }

    fn sign(outcome: OutcomeKind, words: &str) -> Sign {
        Sign { outcome, words: Regex::new(words).unwrap() }
    }

    /// Catches a mutant that counts as caught by whatever turned the cell red: another kind, other words, a broken host.
    #[test]
    fn only_the_sign_is_a_catch() {
        use CellVerdict::{Caught, OtherReason, Survived, Unclear};
        let notes = sign(OutcomeKind::Captured, "0 NT_PRSTATUS");
        let reset = Outcome::Reset { at: harness::phase::Phase::Capture, reason: "0 NT_PRSTATUS".into() };
        for (mutant, expected) in [
            (seen(Verdict::Fail, wrong("it has 0 NT_PRSTATUS notes")), Caught),
            (seen(Verdict::Fail, wrong("it has 1 NT_PRSTATUS notes")), OtherReason),
            (seen(Verdict::Fail, reset), OtherReason),
            (seen(Verdict::Error, rig_error()), Unclear),
            (good(), Survived),
        ] {
            assert_eq!(cell(Some(&good()), Some(&mutant), &notes), expected, "{mutant:?}");
        }
        // Catches the sign of a bug in the agent that is taken for trouble.
        let foreseen = sign(OutcomeKind::RigError, "went away");
        assert_eq!(cell(Some(&good()), Some(&seen(Verdict::Error, rig_error())), &foreseen), Caught);
    }

    /// Catches "caught" in a cell that is just as red without the bug.
    #[test]
    fn a_red_control_says_nothing() {
        let notes = sign(OutcomeKind::Captured, "NT_PRSTATUS");
        let red = seen(Verdict::Fail, wrong("it has 0 NT_PRSTATUS notes"));
        assert_eq!(cell(Some(&red), Some(&red), &notes), CellVerdict::ControlRed);
        assert_eq!(cell(None, Some(&red), &notes), CellVerdict::NotRun);
        assert_eq!(cell(Some(&good()), None, &notes), CellVerdict::NotRun);
    }

    fn tried(verdicts: &[CellVerdict]) -> Fate {
        let row = |&verdict| Row {
            cell: "low".into(),
            verdict,
            foreseen: String::new(),
            words: String::new(),
            seconds: 0.0,
            evidence: None,
        };
        Fate::Tried { cells: verdicts.iter().map(row).collect() }
    }

    /// Catches a survivor that another cell's catch hides, and a status that says "caught" of a mutant that was never built.
    #[test]
    fn the_worst_decides() {
        use CellVerdict::{Caught, ControlRed, OtherReason, Survived, Unclear};
        assert_eq!(tried(&[Caught, Survived]).verdict(), Some(Survived));
        let stale = Fate::Stale { why: String::new() };
        let exit = |fates: &[Fate]| exit(fates.iter(), false, false, false).status();
        assert_eq!(exit(&[tried(&[Caught]), tried(&[Caught, Caught])]), 0);
        assert_eq!(exit(&[tried(&[Caught]), stale]), 1);
        assert_eq!(exit(&[Fate::NotBuilt { why: String::new() }]), 1);
        assert_eq!(exit(&[tried(&[Unclear]), tried(&[OtherReason])]), 1);
        assert_eq!(exit(&[tried(&[Survived])]), 1);
        assert_eq!(exit(&[tried(&[Caught]), tried(&[Unclear])]), 3);
        assert_eq!(exit(&[tried(&[ControlRed])]), 3);
        let of = |failed, leaked, interrupted| {
            super::exit([tried(&[ControlRed])].iter(), failed, leaked, interrupted).status()
        };
        assert_eq!((of(true, false, false), of(true, true, true)), (1, 130));
        assert_eq!(super::exit([tried(&[Caught])].iter(), false, true, false).status(), 3);
    }
}
