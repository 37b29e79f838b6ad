//! What a run says while it goes on: one typed stream, which the terminal, the result files and the tests consume.

use crate::accel::Accel;
use crate::cell::CellId;
use crate::cost::Cost;
use crate::guest::News;
use crate::outcome::{Outcome, Verdict};
use crate::report::CellResult;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One trial of a cell: the cell, and which of its `--repeat` runs. Results are per trial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrialId {
    /// The cell.
    pub cell: CellId,
    /// From 1. Always 1 without `--repeat`.
    pub repetition: u32,
}

impl std::fmt::Display for TrialId {
    /// The cell's id, with `#2` and so on for its further runs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.repetition {
            1 => self.cell.fmt(f),
            repetition => f.pad(&format!("{}#{repetition}", self.cell)),
        }
    }
}

/// What a guest runs for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestOf {
    /// A boot that several trials start from, by its name.
    Boot(String),
    /// An attempt at a trial.
    Trial(TrialId),
}

impl std::fmt::Display for GuestOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boot(name) => write!(f, "boot of {name}"),
            Self::Trial(trial) => trial.fmt(f),
        }
    }
}

/// What happens in a run, in order.
#[derive(Clone, Debug)]
pub enum RunEvent {
    /// Everything is ready; guests start now.
    RunStarted {
        /// Number of trials that are to be run: cells times repetitions, without those that have a result.
        total: usize,
        /// Guests at a time.
        jobs: usize,
        /// The accelerator that is used.
        accel: Accel,
        /// Version of QEMU.
        qemu: String,
        /// Where results and evidence are written.
        report: PathBuf,
        /// Results of the report that is continued; none where it is begun. They are not announced again.
        earlier: Vec<CellResult>,
        /// What people must be told: fewer guests than asked for, why this accelerator, kernels that are not the locked ones.
        notices: Vec<String>,
    },
    /// A guest is about to be booted whose state several trials will start from.
    BootStarted {
        /// What all its cells have in common, for people; no two boots at a time have the same.
        boot: String,
        /// How many trials wait for it.
        trials: usize,
    },
    /// A boot has ended.
    BootEnded {
        /// The boot.
        boot: String,
        /// Why its state was not saved: its trials boot by themselves, and show what is wrong.
        failed: Option<String>,
    },
    /// A guest is about to be started for a trial.
    AttemptStarted {
        /// The trial.
        trial: TrialId,
        /// From 1.
        attempt: u32,
        /// Folder that its evidence goes to.
        evidence: PathBuf,
    },
    /// Something happens to a guest that runs.
    Guest {
        /// Which one.
        of: GuestOf,
        /// What happens.
        news: News,
    },
    /// A guest has ended and was judged. Another attempt follows when retries are left and it was not as expected.
    AttemptEnded {
        /// The trial.
        trial: TrialId,
        /// From 1.
        attempt: u32,
        /// What became of it.
        outcome: Outcome,
        /// Beside the expectation.
        verdict: Verdict,
        /// From the start of QEMU to its end.
        took: Duration,
    },
    /// A guest that hung or was reset is about to be run once more, verbosely, for its evidence alone.
    VerboseRunStarted {
        /// The trial.
        trial: TrialId,
        /// Folder that its evidence goes to.
        evidence: PathBuf,
    },
    /// A trial has its verdict. Already written to `results.jsonl`.
    TrialEnded {
        /// All about it.
        result: Box<CellResult>,
    },
    /// Every trial has its verdict, or the run was stopped.
    RunEnded {
        /// The counts.
        summary: Summary,
    },
}

/// The counts of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Trials by verdict, those of the report that is continued among them. Trials that were not started because the run was stopped are not among them.
    pub verdicts: BTreeMap<Verdict, usize>,
    /// Trials that were never started: stopped before, or `--fail-fast`.
    pub not_run: usize,
    /// Whether the run was interrupted.
    pub interrupted: bool,
    /// Processes that outlived their guest's end: a fault of the rig.
    pub leaked: Vec<String>,
    /// What of the report could not be written at its end: nothing of any cell, for that is written as they end.
    pub unwritten: Option<String>,
    /// What the run cost, without what it continued.
    pub cost: Cost,
}

impl Summary {
    /// Counts a trial.
    pub(crate) fn add(&mut self, verdict: Verdict) {
        *self.verdicts.entry(verdict).or_insert(0) += 1;
    }

    /// Trials with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts.get(&verdict).copied().unwrap_or(0)
    }

    /// What the run as a whole came to.
    pub fn conclusion(&self) -> Conclusion {
        if self.interrupted {
            Conclusion::Interrupted
        } else if self.count(Verdict::Fail) > 0 {
            Conclusion::SomeFailed
        } else if self.count(Verdict::Error) > 0 || !self.leaked.is_empty() || self.unwritten.is_some() {
            Conclusion::RigFailed
        } else {
            Conclusion::AsExpected
        }
    }
}

/// What a run as a whole came to; each has an exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// All cells as expected (a flaky one was, at a later attempt).
    AsExpected,
    /// At least one cell was not.
    SomeFailed,
    /// No loader was shown wrong, and rig, host or platform failed.
    RigFailed,
    /// Stopped by a person.
    Interrupted,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(verdicts: &[(Verdict, usize)]) -> Summary {
        Summary { verdicts: verdicts.iter().copied().collect(), ..Summary::default() }
    }

    /// Bug: trouble of the rig hides a real failure, or a leaked process passes unseen.
    #[test]
    fn a_failure_outweighs_trouble_and_trouble_outweighs_success() {
        let both = summary(&[(Verdict::Fail, 1), (Verdict::Error, 4), (Verdict::Pass, 9)]);
        assert_eq!(both.conclusion(), Conclusion::SomeFailed);
        assert_eq!(summary(&[(Verdict::Error, 1), (Verdict::Pass, 9)]).conclusion(), Conclusion::RigFailed);
        let leaked = Summary { leaked: vec!["process group 7".into()], ..summary(&[(Verdict::Pass, 1)]) };
        assert_eq!(leaked.conclusion(), Conclusion::RigFailed);
        let unwritten = |verdict| Summary { unwritten: Some("no space".into()), ..summary(&[(verdict, 1)]) };
        assert_eq!(unwritten(Verdict::Pass).conclusion(), Conclusion::RigFailed);
        assert_eq!(unwritten(Verdict::Fail).conclusion(), Conclusion::SomeFailed);
        assert_eq!(summary(&[(Verdict::Pass, 1), (Verdict::Flaky, 1)]).conclusion(), Conclusion::AsExpected);
    }
}
