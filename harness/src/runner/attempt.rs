//! One attempt at a trial: a guest from its files to its judged outcome.

use super::{RunEvent, TrialId};
use crate::accel::Accel;
use crate::artifacts::{Artifacts, digest};
use crate::cell::Cell;
use crate::cmdline::{first_cmdline, loader_argv};
use crate::guest::{Deadlines, GuestPlan, Reaped, run_guest};
use crate::outcome::Outcome;
use crate::payload::{highest_initrd_address, initrd_in_the_way, initrd_place, payload};
use crate::qemu::{SCRIPT_CHANNEL, Wiring, run_script};
use crate::report::{AttemptFolder, AttemptRecord, Report, ReportError};
use crate::scenario::low_memory_end;
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::{classify, judge};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// What all attempts of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) artifacts: Arc<Artifacts>,
    pub(super) qemu: PathBuf,
    pub(super) accel: Accel,
    pub(super) deadlines: Deadlines,
    pub(super) scratch: Scratch,
    pub(super) report: Mutex<Report>,
    pub(super) events: UnboundedSender<RunEvent>,
    pub(super) stop: Stop,
}

impl Shared {
    /// The report. A panic of another holder leaves it whole: every method does one thing.
    pub(super) fn with_report<T>(&self, use_it: impl FnOnce(&mut Report) -> T) -> T {
        use_it(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An attempt that has ended.
pub(super) struct Attempted {
    pub(super) record: AttemptRecord,
    pub(super) seconds: BTreeMap<String, f64>,
    pub(super) leaked: Option<String>,
}

/// Runs a guest for `cell` and judges it. What goes wrong before it runs is a rig error with its evidence folder; only a
/// report that cannot be written is an error.
pub(super) async fn attempt(
    shared: &Arc<Shared>,
    cell: &Cell,
    trial: &TrialId,
    attempt: u32,
) -> Result<Attempted, ReportError> {
    let folder = shared.with_report(|report| report.attempt_folder(trial, attempt))?;
    let _ = shared.events.send(RunEvent::AttemptStarted { trial: trial.clone(), attempt });
    let (reaped, script) = match prepare(shared, cell).await {
        Ok(boot) => run(shared, cell, trial, &folder, &boot).await,
        Err(what) => (Reaped::never_ran(what), Vec::new()),
    };
    let outcome = classify::classify(cell, &reaped.evidence);
    let verdict = judge::judge(&outcome, &cell.expected);
    folder.write(&reaped, &script)?;
    let took = reaped.lasted;
    let ended =
        RunEvent::AttemptEnded { trial: trial.clone(), attempt, outcome: outcome.clone(), verdict, took };
    let _ = shared.events.send(ended);
    let record = AttemptRecord {
        attempt,
        outcome,
        verdict,
        seconds: took.as_secs_f64(),
        notes: reaped.notes.clone(),
        evidence: folder.name,
    };
    Ok(Attempted { record, seconds: reaped.seconds(), leaked: reaped.leaked })
}

/// What a guest boots with.
pub(super) struct Boot {
    pub(super) kernel: PathBuf,
    pub(super) initramfs: PathBuf,
    pub(super) argv: Vec<String>,
}

/// Makes up the initramfs of a cell, off the async threads: it copies and hashes some ten megabytes.
pub(super) async fn prepare(shared: &Arc<Shared>, cell: &Cell) -> Result<Boot, String> {
    let (shared, cell) = (shared.clone(), cell.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let kernel = shared
            .artifacts
            .kernel(&cell.first)
            .ok_or_else(|| format!("no kernel {} among the resolved artifacts", cell.first.name))?;
        let payload = payload(&cell, &shared.artifacts).map_err(|error| error.to_string())?;
        check_place(&cell, &kernel.bytes, payload.initramfs.len())?;
        let digest = digest(&payload.initramfs);
        let initramfs = shared
            .with_report(|report| report.initramfs(&digest, &payload.initramfs))
            .map_err(|error| error.to_string())?;
        let path = &kernel.file.bzimage;
        // The script of the evidence folder runs somewhere else.
        let kernel =
            std::path::absolute(path).map_err(|error| format!("cannot find {}: {error}", path.display()))?;
        Ok(Boot { kernel, initramfs, argv: loader_argv(&cell, &payload.loader) })
    });
    prepared.await.unwrap_or_else(|error| Err(format!("making up the initramfs failed: {error}")))
}

/// Refuses an initramfs that QEMU would put into the region that the cell forces.
fn check_place(cell: &Cell, kernel: &[u8], size: usize) -> Result<(), String> {
    let Some(highest) = highest_initrd_address(kernel) else {
        return Err(format!("kernel {} is too short for a bzImage", cell.first.name));
    };
    let Some(low_end) = low_memory_end(&cell.platform) else {
        return Ok(());
    };
    match initrd_place(size as u64, low_end, highest) {
        None => Err(format!("an initramfs of {} MiB does not fit below {low_end:#x}", size >> 20)),
        Some(place) if initrd_in_the_way(cell.first.arch, &cell.reservation, place) => Err(format!(
            "the initramfs ({} MiB) would lie at {place}, in the region {} that the cell forces; make loader or capture kernel smaller",
            size >> 20,
            cell.reservation
        )),
        Some(_) => Ok(()),
    }
}

async fn run(
    shared: &Arc<Shared>,
    cell: &Cell,
    trial: &TrialId,
    folder: &AttemptFolder,
    boot: &Boot,
) -> (Reaped, Vec<u8>) {
    let scratch = match shared.scratch.guest() {
        Ok(scratch) => scratch,
        Err(error) => {
            return (Reaped::never_ran(format!("cannot make a temporary folder: {error}")), Vec::new());
        }
    };
    let cmdline = first_cmdline(cell);
    let console_log = folder.console_log();
    let plan = GuestPlan {
        cell,
        qemu: &shared.qemu,
        accel: shared.accel,
        kernel: &boot.kernel,
        initramfs: &boot.initramfs,
        cmdline: &cmdline,
        loader_argv: &boot.argv,
        deadlines: &shared.deadlines,
        console_log: &console_log,
    };
    // The script runs in its own folder and reaches the initramfs from there, also when the report was moved.
    let beside = Path::new("../initramfs").join(boot.initramfs.file_name().unwrap_or_default());
    let wiring = Wiring::ByHand { channel: Path::new(SCRIPT_CHANNEL) };
    let by_hand = GuestPlan { initramfs: &beside, ..plan }.args_wired(wiring);
    let script = run_script(&shared.qemu, &by_hand, &plan.args(&scratch));
    let mut on_phase = |phase| {
        let _ = shared.events.send(RunEvent::PhaseEntered { trial: trial.clone(), phase });
    };
    let reaped = run_guest(plan, scratch, shared.stop.clone(), &mut on_phase).await;
    (reaped, script)
}

/// The outcome of a trial whose task died.
pub(super) fn task_died(error: &tokio::task::JoinError) -> Outcome {
    Outcome::RigError { what: format!("the task of this trial died: {error}") }
}
