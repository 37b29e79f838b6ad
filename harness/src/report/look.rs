//! How an outcome shows where there is room for one character: in the HTML report's matrix, and in counts. Pure.

use crate::outcome::{Outcome, Refuser, Verdict, VmcoreState};
use serde::{Deserialize, Serialize};

/// An outcome as a picture needs it: its kind, and of a capture what its vmcore is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is described by `Look::words`")]
pub enum Look {
    Captured,
    NoVmcore,
    WrongVmcore,
    Refused,
    RefusedByKernel,
    LoadFailed,
    Hung,
    CapturePanicked,
    StoppedByPurgatory,
    Reset,
    NotPanicked,
    Unreserved,
    NoFirstKernel,
    RigError,
}

impl Look {
    /// All looks, in the order of a legend.
    pub const ALL: [Self; 14] = [
        Self::Captured,
        Self::NoVmcore,
        Self::WrongVmcore,
        Self::Refused,
        Self::RefusedByKernel,
        Self::LoadFailed,
        Self::Hung,
        Self::CapturePanicked,
        Self::StoppedByPurgatory,
        Self::Reset,
        Self::NotPanicked,
        Self::Unreserved,
        Self::NoFirstKernel,
        Self::RigError,
    ];

    /// The look of an outcome.
    pub const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Captured { vmcore: VmcoreState::Verified, .. } => Self::Captured,
            Outcome::Captured { vmcore: VmcoreState::Absent { .. }, .. } => Self::NoVmcore,
            Outcome::Captured { vmcore: VmcoreState::Wrong { .. }, .. } => Self::WrongVmcore,
            Outcome::Refused { by: Refuser::Loader, .. } => Self::Refused,
            Outcome::Refused { by: Refuser::Kernel { .. }, .. } => Self::RefusedByKernel,
            Outcome::LoadFailed { .. } => Self::LoadFailed,
            Outcome::Hung { .. } => Self::Hung,
            Outcome::CapturePanicked { .. } => Self::CapturePanicked,
            Outcome::StoppedByPurgatory { .. } => Self::StoppedByPurgatory,
            Outcome::Reset { .. } => Self::Reset,
            Outcome::NotPanicked { .. } => Self::NotPanicked,
            Outcome::Unreserved { .. } => Self::Unreserved,
            Outcome::NoFirstKernel { .. } => Self::NoFirstKernel,
            Outcome::RigError { .. } => Self::RigError,
        }
    }

    /// The outcome in two or three words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::NoVmcore => "captured, no vmcore",
            Self::WrongVmcore => "captured, vmcore wrong",
            Self::Refused => "refused by the loader",
            Self::RefusedByKernel => "refused by the kernel",
            Self::LoadFailed => "load failed",
            Self::Hung => "hung",
            Self::CapturePanicked => "capture kernel panicked",
            Self::StoppedByPurgatory => "stopped by the purgatory",
            Self::Reset => "reset",
            Self::NotPanicked => "not panicked",
            Self::Unreserved => "no such crash region",
            Self::NoFirstKernel => "no first kernel",
            Self::RigError => "rig error",
        }
    }

    /// The character that stands for it: one that every font has, and no two alike, so that it is told without colours.
    pub const fn glyph(self) -> char {
        match self {
            Self::Captured => '✓',
            Self::NoVmcore => '∅',
            Self::WrongVmcore => '≠',
            Self::Refused => 'R',
            Self::RefusedByKernel => 'K',
            Self::LoadFailed => 'L',
            Self::Hung => 'H',
            Self::CapturePanicked => 'P',
            Self::StoppedByPurgatory => 'S',
            Self::Reset => 'X',
            Self::NotPanicked => 'N',
            Self::Unreserved => 'U',
            Self::NoFirstKernel => 'F',
            Self::RigError => 'E',
        }
    }

    /// Its class in the style sheet, by colour: alike where the difference matters little.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::NoVmcore | Self::WrongVmcore => "flawed",
            Self::Refused | Self::RefusedByKernel => "refused",
            Self::LoadFailed
            | Self::Hung
            | Self::CapturePanicked
            | Self::StoppedByPurgatory
            | Self::Reset
            | Self::NotPanicked => "dead",
            Self::Unreserved | Self::NoFirstKernel | Self::RigError => "silent",
        }
    }
}

/// A verdict's name, as in `results.jsonl`.
pub const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Flaky => "flaky",
        Verdict::Skipped => "skipped",
        Verdict::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Bug: two outcomes look the same on paper; or a verdict has another name in a page than in `results.jsonl`.
    #[test]
    fn looks_are_told_apart() {
        let glyphs: BTreeSet<char> = Look::ALL.into_iter().map(Look::glyph).collect();
        let words: BTreeSet<&str> = Look::ALL.into_iter().map(Look::words).collect();
        assert_eq!((glyphs.len(), words.len()), (Look::ALL.len(), Look::ALL.len()));
        for verdict in [Verdict::Pass, Verdict::Fail, Verdict::Flaky, Verdict::Skipped, Verdict::Error] {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict_name(verdict));
        }
    }
}
