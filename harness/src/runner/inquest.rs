//! What is done about a cell that is not as expected, when its guest is gone: the functions in which its CPUs stood, and one more
//! run that tells more. None of it touches a verdict.

use super::attempt::{Ran, Shared, run};
use super::{RunEvent, TrialId};
use crate::cell::{Cell, Kernel};
use crate::classify;
use crate::evidence::Evidence;
use crate::guest::{Deadlines, Inquiry};
use crate::outcome::{Outcome, Verdict};
use crate::pvh::uncompressed;
use crate::report::{AttemptRecord, ReportError, VerboseRecord};
use crate::triage::{self, Vmlinux};
use guest_protocol::Side;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Kernels with their symbols, by the bzImage's digest; none where they could not be read.
pub(super) type SymbolFiles = Mutex<BTreeMap<String, Option<Arc<Vmlinux>>>>;

/// Words that make both kernels say more. `initcall_debug` names the initcall that does not return. `earlyprintk` is there in any
/// case; with `keep` every line would come twice, and a kernel's second panic line means something.
const VERBOSE_WORDS: [&str; 2] = ["ignore_loglevel", "initcall_debug"];
/// A traced guest is slower, and prints twice as much: it was seen to take a third more time.
const SLOWER: f64 = 1.5;

/// Looks up in which functions the CPUs stood. Reading a kernel's symbols takes a second, so it is done only where a CPU stood in
/// one, and off the async threads.
pub(super) async fn resolve(shared: &Arc<Shared>, cell: &Arc<Cell>, evidence: &mut Evidence) {
    if !triage::needs_symbols(evidence) {
        return;
    }
    let (shared, cell, mut copy) = (shared.clone(), cell.clone(), evidence.clone());
    let resolved = tokio::task::spawn_blocking(move || {
        let kernel = |side| match side {
            Side::First => &cell.first,
            Side::Capture => &cell.capture,
        };
        triage::resolve(&mut copy, |side| symbols(&shared, kernel(side)));
        copy
    });
    // A reader of symbols that died costs the function's name, not the cell.
    if let Ok(resolved) = resolved.await {
        *evidence = resolved;
    }
}

fn symbols(shared: &Shared, kernel: &Kernel) -> Option<Arc<Vmlinux>> {
    let image = shared.artifacts.kernel(kernel)?;
    let mut files = shared.symbols.lock().unwrap_or_else(PoisonError::into_inner);
    let read = || uncompressed(&image.bytes).and_then(Vmlinux::parse).map(Arc::new);
    files.entry(image.digest.clone()).or_insert_with(read).clone()
}

/// Whether another run may tell more of an attempt, and is wanted.
pub(super) fn is_worth_more(shared: &Shared, record: &AttemptRecord) -> bool {
    let may_tell = match &record.outcome {
        Outcome::Hung { .. } | Outcome::Reset { .. } | Outcome::NoFirstKernel { .. } => true,
        Outcome::Captured { .. }
        | Outcome::Refused { .. }
        | Outcome::LoadFailed { .. }
        | Outcome::CapturePanicked { .. }
        | Outcome::StoppedByPurgatory { .. }
        | Outcome::NotPanicked { .. }
        | Outcome::Unreserved { .. }
        | Outcome::RigError { .. } => false,
    };
    may_tell && record.verdict != Verdict::Pass && shared.verbose && !shared.stop.is_requested()
}

/// Runs the cell once more, with kernels that say more and QEMU's trace of its CPUs. None: the run was interrupted meanwhile.
pub(super) async fn run_verbosely(
    shared: &Arc<Shared>,
    cell: &Cell,
    trial: &TrialId,
    attempt: u32,
    leaked: &mut Option<String>,
) -> Result<Option<VerboseRecord>, ReportError> {
    let folder = shared.with_report(|report| report.verbose_folder(trial, attempt))?;
    let evidence = folder.path.clone();
    let _ = shared.events.send(RunEvent::VerboseRunStarted { trial: trial.clone(), evidence });
    let cell = Arc::new(verbose(cell));
    let inquiry = Inquiry { examine: true, trace: true, ..Inquiry::default() };
    let Ran { mut reaped, script, .. } = run(shared, &cell, trial, &folder, None, inquiry).await;
    resolve(shared, &cell, &mut reaped.evidence).await;
    let outcome = classify::classify(&cell, &reaped.evidence);
    let triage = triage::triage(&cell, &reaped.evidence, &outcome);
    folder.write(&reaped, &script)?;
    folder.write_triage(&triage)?;
    *leaked = leaked.take().or(reaped.leaked);
    let seconds = reaped.lasted.as_secs_f64();
    let record = VerboseRecord { outcome, triage, seconds, evidence: folder.name };
    Ok((!shared.stop.is_requested()).then_some(record))
}

fn verbose(cell: &Cell) -> Cell {
    let mut cell = cell.clone();
    for words in [&mut cell.first_cmdline, &mut cell.capture_cmdline] {
        words.extend(VERBOSE_WORDS.map(str::to_owned));
    }
    cell
}

/// The deadlines of a guest that is traced.
pub(super) fn more_patient(deadlines: &Deadlines) -> Deadlines {
    Deadlines { factor: deadlines.factor * SLOWER, ..deadlines.clone() }
}
