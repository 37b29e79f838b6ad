//! One trial: attempts until it is as expected or no retry is left, and the result of them all.

use super::attempt::{Attempted, Shared, attempt};
use super::{RunError, TrialId};
use crate::artifacts::LoaderFiles;
use crate::cell::{Cell, Kernel};
use crate::judge;
use crate::outcome::{Outcome, Verdict};
use crate::report::{AttemptRecord, CellResult, Versions};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Runs a trial. With its result come the processes that could not be ended.
pub(super) async fn trial(
    shared: Arc<Shared>,
    cell: Arc<Cell>,
    id: TrialId,
    retries: u32,
    qemu: String,
) -> Result<(CellResult, Option<String>), RunError> {
    let mut attempts = Vec::new();
    let mut leaked: Option<String> = None;
    loop {
        let number = u32::try_from(attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let Attempted { record, seconds, leaked: lingers } = attempt(&shared, &cell, &id, number).await?;
        leaked = leaked.or(lingers);
        let passed = record.verdict == Verdict::Pass;
        attempts.push(record);
        if passed || number > retries || shared.stop.is_requested() {
            return Ok((result(&shared, &cell, &id, attempts, seconds, &qemu), leaked));
        }
    }
}

/// The result of a trial that has no attempt to show.
pub(super) fn result_without_attempts(
    shared: &Shared,
    cell: &Cell,
    id: &TrialId,
    outcome: Outcome,
    qemu: &str,
) -> CellResult {
    let verdict = judge::judge(&outcome, &cell.expected);
    let record = AttemptRecord {
        attempt: 1,
        outcome,
        verdict,
        seconds: 0.0,
        notes: Vec::new(),
        evidence: PathBuf::new(),
    };
    result(shared, cell, id, vec![record], BTreeMap::new(), qemu)
}

fn result(
    shared: &Shared,
    cell: &Cell,
    id: &TrialId,
    attempts: Vec<AttemptRecord>,
    seconds: BTreeMap<String, f64>,
    qemu: &str,
) -> CellResult {
    let verdicts: Vec<Verdict> = attempts.iter().map(|attempt| attempt.verdict).collect();
    let (outcome, evidence) = match attempts.last() {
        Some(last) => (last.outcome.clone(), last.evidence.clone()),
        None => (Outcome::RigError { what: "no attempt was made".into() }, PathBuf::new()),
    };
    CellResult {
        id: cell.id.clone(),
        repetition: id.repetition,
        suite: cell.suite.clone(),
        cell: cell.clone(),
        expected: cell.expected.clone(),
        words: judge::describe(&outcome),
        verdict: judge::overall(&verdicts).unwrap_or(Verdict::Error),
        outcome,
        attempts,
        seconds,
        evidence,
        versions: versions(shared, cell, qemu),
        accel: shared.accel,
    }
}

fn versions(shared: &Shared, cell: &Cell, qemu: &str) -> Versions {
    let unknown = || "unknown".to_owned();
    let kernel = |kernel: &Kernel| {
        shared.artifacts.kernel(kernel).map_or_else(unknown, |image| image.file.version.clone())
    };
    Versions {
        qemu: qemu.to_owned(),
        first: kernel(&cell.first),
        capture: kernel(&cell.capture),
        loader: shared
            .artifacts
            .loader(&cell.loader, cell.userspace)
            .map_or_else(unknown, |files: &LoaderFiles| files.version().to_owned()),
        agent: shared.artifacts.agent(cell.userspace).map_or_else(unknown, |agent| agent.digest.clone()),
    }
}
