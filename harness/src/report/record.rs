//! The record of one trial, or of a cell that was skipped: an object of `results.jsonl`. An interface: scripts read it.

use crate::accel::{Accel, AccelReason};
use crate::cell::{Cell, CellId};
use crate::first_image::Route;
use crate::outcome::{Expectation, Outcome, Verdict};
use crate::phase::Phase;
use crate::runner::TrialId;
use crate::scenario::SkippedCell;
use crate::triage::Triage;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// All about one trial of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellResult {
    /// The cell's id.
    pub id: CellId,
    /// Which of its `--repeat` runs, from 1.
    pub repetition: u32,
    /// Its suite.
    pub suite: String,
    /// The cell with every axis.
    pub cell: Cell,
    /// What must come of it.
    pub expected: Expectation,
    /// What became of it, at the attempt that decided: the last one with the verdict below; of a flaky trial, the last that
    /// passed.
    pub outcome: Outcome,
    /// The outcome in words.
    pub words: String,
    /// Beside the expectation. `flaky` when it was as expected at a later attempt.
    pub verdict: Verdict,
    /// Every attempt, in order; at least one.
    pub attempts: Vec<AttemptRecord>,
    /// Seconds by phase of that attempt, with `total` (from the start of QEMU to its end).
    pub seconds: BTreeMap<String, f64>,
    /// Folder of that attempt's evidence, relative to the report's folder.
    pub evidence: PathBuf,
    /// What was tried, by version.
    pub versions: Versions,
    /// The accelerator.
    pub accel: Accel,
    /// What it was chosen by; none in reports of earlier versions.
    #[serde(default)]
    pub accel_reason: Option<AccelReason>,
}

impl CellResult {
    /// The attempt that decided.
    pub fn deciding(&self) -> Option<&AttemptRecord> {
        self.attempts.iter().rfind(|attempt| attempt.evidence == self.evidence)
    }

    /// Why it was not as expected, or how it hung, by the attempt that decided.
    pub fn triage(&self) -> Option<&Triage> {
        self.deciding()?.triage.as_ref()
    }

    /// The trial that this is the result of.
    pub fn trial(&self) -> TrialId {
        TrialId { cell: self.id.clone(), repetition: self.repetition }
    }
}

/// A cell that was not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SkippedRecord {
    /// The cell's id.
    pub id: CellId,
    /// Its suite.
    pub suite: String,
    /// The cell with every axis.
    pub cell: Cell,
    /// What would have had to come of it.
    pub expected: Expectation,
    /// Always `skipped`.
    pub verdict: Verdict,
    /// The reason.
    pub why: String,
}

impl From<&SkippedCell> for SkippedRecord {
    fn from(SkippedCell { cell, why }: &SkippedCell) -> Self {
        Self {
            id: cell.id.clone(),
            suite: cell.suite.clone(),
            expected: cell.expected.clone(),
            cell: cell.clone(),
            verdict: Verdict::Skipped,
            why: why.clone(),
        }
    }
}

/// One attempt at a trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// From 1.
    pub attempt: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Beside the expectation.
    pub verdict: Verdict,
    /// From the start of QEMU to its end.
    pub seconds: f64,
    /// The most memory that its QEMU had in use, in MiB; none where it ended by itself, and in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_mib: Option<u64>,
    /// How its guest came to *ready*; none where no guest was started.
    pub boot: Option<BootRecord>,
    /// Things seen that decide nothing, such as a guest that did not power off.
    pub notes: Vec<String>,
    /// The last phase that its guest came to; none where no guest ran, and in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_phase: Option<LastPhase>,
    /// Why it was not as expected, or how it hung; none elsewhere, and in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triage: Option<Triage>,
    /// The same cell run once more, verbosely, for its evidence alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verbose: Option<VerboseRecord>,
    /// Folder of its evidence, relative to the report's folder.
    pub evidence: PathBuf,
}

/// Where a guest was when it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPhase {
    /// The phase.
    pub phase: Phase,
    /// What would have ended the phase.
    pub awaited: String,
}

impl From<Phase> for LastPhase {
    fn from(phase: Phase) -> Self {
        Self { phase, awaited: phase.awaits().to_owned() }
    }
}

impl std::fmt::Display for LastPhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; awaited: {}", self.phase.in_words(), self.awaited)
    }
}

/// A further run of a cell whose guest hung or was reset, with kernels that say more and QEMU's trace of its CPUs. It has no part in
/// any verdict: its kernels have other command lines than the cell's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerboseRecord {
    /// What became of it.
    pub outcome: Outcome,
    /// Why.
    pub triage: Triage,
    /// From the start of QEMU to its end.
    pub seconds: f64,
    /// Folder of its evidence, relative to the report's folder.
    pub evidence: PathBuf,
}

/// How a guest came to *ready*.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// The way that its kernel booted.
    pub kernel: Route,
    /// Key of the saved state that it began in, which names all that the boot depended on; none: it booted by itself.
    pub saved_state: Option<String>,
}

/// Versions of all that took part in a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// QEMU, as it says it.
    pub qemu: String,
    /// The first kernel's package.
    pub first: String,
    /// The capture kernel's package.
    pub capture: String,
    /// The loader's package, or the digest of its program.
    pub loader: String,
    /// Digest of the agent in the first kernel.
    pub agent: String,
    /// The firmware's package, where it is not QEMU's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
}
