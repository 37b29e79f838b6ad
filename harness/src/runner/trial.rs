//! One trial: attempts until it is as expected or no retry is left, and the result of them all.

use super::attempt::{Attempted, Shared, attempt};
use super::boot::SharedBoot;
use super::inquest;
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
    boot: Option<Arc<SharedBoot>>,
) -> Result<(CellResult, Option<String>), RunError> {
    let mut attempts: Vec<Attempted> = Vec::new();
    loop {
        let number = u32::try_from(attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
        // A further attempt boots by itself: whatever the state had to do with the first one is then out of the way.
        let boot = boot.as_deref().filter(|_| number == 1);
        let attempted = attempt(&shared, &cell, &id, number, boot).await?;
        let passed = attempted.record.verdict == Verdict::Pass;
        attempts.push(attempted);
        if passed || number > retries || shared.stop.is_requested() {
            if let Some(Attempted { record, leaked, .. }) = attempts.last_mut()
                && inquest::is_worth_more(&shared, record)
            {
                record.verbose = inquest::run_verbosely(&shared, &cell, &id, number, leaked).await?;
            }
            let leaked = attempts.iter_mut().find_map(|attempted| attempted.leaked.take());
            return Ok((result(&shared, &cell, &id, attempts, &qemu), leaked));
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
        peak_mib: None,
        boot: None,
        notes: Vec::new(),
        last_phase: None,
        triage: None,
        verbose: None,
        evidence: PathBuf::new(),
    };
    result(shared, cell, id, vec![Attempted { record, seconds: BTreeMap::new(), leaked: None }], qemu)
}

fn result(shared: &Shared, cell: &Cell, id: &TrialId, attempts: Vec<Attempted>, qemu: &str) -> CellResult {
    let verdicts: Vec<Verdict> = attempts.iter().map(|attempted| attempted.record.verdict).collect();
    let verdict = judge::overall(&verdicts).unwrap_or(Verdict::Error);
    let (outcome, evidence, seconds) = match judge::deciding(&verdicts, verdict)
        .and_then(|at| attempts.get(at))
    {
        Some(Attempted { record, seconds, .. }) => {
            (record.outcome.clone(), record.evidence.clone(), seconds.clone())
        }
        None => (Outcome::RigError { what: "no attempt was made".into() }, PathBuf::new(), BTreeMap::new()),
    };
    CellResult {
        id: cell.id.clone(),
        repetition: id.repetition,
        suite: cell.suite.clone(),
        cell: cell.clone(),
        expected: cell.expected.clone(),
        words: judge::describe_beside(&outcome, &cell.expected),
        verdict,
        outcome,
        attempts: attempts.into_iter().map(|attempted| attempted.record).collect(),
        seconds,
        evidence,
        versions: versions(shared, cell, qemu),
        accel: shared.accel,
        accel_reason: Some(shared.accel_reason.clone()),
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
        firmware: shared.artifacts.firmware(cell.platform.firmware).map(|file| file.version.clone()),
    }
}
