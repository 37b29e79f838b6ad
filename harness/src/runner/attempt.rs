//! One attempt at a trial: a guest from its files to its judged outcome.

use super::boot::{Files, PvhFiles, SharedBoot, cell_places, prepare};
use super::inquest::{self, SymbolFiles, resolve};
use super::{GuestOf, RunEvent, TrialId};
use crate::accel::{Accel, AccelReason};
use crate::artifacts::Artifacts;
use crate::cell::Cell;
use crate::classify::console;
use crate::cmdline::{first_cmdline, loader_argv};
use crate::cost::{Meter, used_mib};
use crate::evidence::{Evidence, GuestEnd};
use crate::guest::{
    Deadlines, GuestPlan, Inquiry, NONCE_BYTES, News, Origin, Reaped, reader_order, run_guest,
};
use crate::outcome::Outcome;
use crate::qemu::{Purpose, Script, Start, Wiring};
use crate::report::{AttemptFolder, AttemptRecord, BootRecord, Report, ReportError};
use crate::scratch::Scratch;
use crate::stop::Stop;
use crate::{classify, judge, triage};
use guest_protocol::Message;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// The QEMUs that run.
#[derive(Debug, Default)]
pub(super) struct Guests(Mutex<Vec<i32>>);

impl Guests {
    /// Takes note of one that was started.
    pub(super) fn note(&self, news: &News) {
        if let News::Started { pid, .. } = news {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(*pid);
        }
    }

    /// Memory that they have in use, in MiB.
    pub(super) fn used_mib(&self) -> u64 {
        let mut pids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used: Vec<(i32, u64)> = pids.iter().filter_map(|pid| Some((*pid, used_mib(*pid)?))).collect();
        // Those that are gone use nothing, and another process may get their number.
        *pids = used.iter().map(|(pid, _)| *pid).collect();
        used.iter().map(|(_, mib)| mib).sum()
    }
}

/// What all attempts of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) artifacts: Arc<Artifacts>,
    pub(super) qemu: PathBuf,
    pub(super) qemu_version: String,
    pub(super) accel: Accel,
    pub(super) accel_reason: AccelReason,
    /// The QEMUs that run.
    pub(super) guests: Guests,
    /// Every guest boots from power-on, its kernel from the bzImage.
    pub(super) fresh: bool,
    /// Guests run by the number of their instructions.
    pub(super) counted: bool,
    pub(super) pvh: PvhFiles,
    pub(super) deadlines: Deadlines,
    /// Cells are run again, verbosely, whose guests hung or were reset unexpectedly.
    pub(super) verbose: bool,
    /// The memory of guests that do not end as expected is dumped.
    pub(super) dump: bool,
    /// Kernels with their symbols, once they were needed.
    pub(super) symbols: SymbolFiles,
    /// What all of it costs.
    pub(super) meter: Meter,
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

/// Runs a guest for `cell`, from the state of `boot` if there is one, and judges it. What goes wrong before it runs is a rig
/// error with its evidence folder; only a report that cannot be written is an error.
pub(super) async fn attempt(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    trial: &TrialId,
    attempt: u32,
    boot: Option<&SharedBoot>,
) -> Result<Attempted, ReportError> {
    let folder = shared.with_report(|report| report.attempt_folder(trial, attempt))?;
    let evidence = folder.path.clone();
    let _ = shared.events.send(RunEvent::AttemptStarted { trial: trial.clone(), attempt, evidence });
    let dump = shared.dump.then(|| folder.memory_dump());
    // A script around QEMU looks at nothing when it ends a guest that has fallen silent.
    let examine = shared.deadlines.silence.is_none();
    let inquiry = Inquiry { examine, dump: dump.as_deref(), ..Inquiry::default() };
    let Ran { mut reaped, script, boot } = run(shared, cell, trial, &folder, boot, inquiry).await;
    resolve(shared, cell, &mut reaped.evidence).await;
    let outcome = classify::classify(cell, &reaped.evidence);
    let verdict = judge::judge(&outcome, &cell.expected);
    folder.write(&reaped, &script)?;
    let wanted = triage::is_wanted(&outcome, verdict);
    let triage = wanted.then(|| triage::triage(cell, &reaped.evidence, &outcome));
    triage.iter().try_for_each(|triage| folder.write_triage(triage))?;
    shared.meter.take_guest(&reaped.times, false);
    shared.meter.take(reaped.peak_mib, reaped.last_message.map(|at| at.elapsed()));
    let took = reaped.lasted;
    let ended =
        RunEvent::AttemptEnded { trial: trial.clone(), attempt, outcome: outcome.clone(), verdict, took };
    let _ = shared.events.send(ended);
    let record = AttemptRecord {
        attempt,
        outcome,
        verdict,
        seconds: took.as_secs_f64(),
        peak_mib: reaped.peak_mib,
        boot,
        notes: reaped.notes.clone(),
        last_phase: reaped.evidence.phases.last().map(|phase| phase.what.into()),
        triage,
        verbose: None,
        evidence: folder.name,
    };
    Ok(Attempted { record, seconds: reaped.seconds(), leaked: reaped.leaked })
}

/// A guest that ran.
pub(super) struct Ran {
    pub(super) reaped: Reaped,
    /// The script that starts it again.
    pub(super) script: Vec<u8>,
    boot: Option<BootRecord>,
}

pub(super) async fn run(
    shared: &Arc<Shared>,
    cell: &Arc<Cell>,
    trial: &TrialId,
    folder: &AttemptFolder,
    boot: Option<&SharedBoot>,
    inquiry: Inquiry<'_>,
) -> Ran {
    let (mut notes, mut leaked) = (Vec::new(), None);
    if let Some(boot) = boot {
        let origin = Origin::Saved(&boot.saved);
        let ran = run_from(shared, cell, trial, folder, &boot.files, origin, inquiry).await;
        if !ran.reaped.not_restored {
            return ran;
        }
        leaked = ran.reaped.leaked;
        // Nothing of the guest has run yet: a boot of its own is as good.
        if let Some(GuestEnd::Trouble { what }) = ran.reaped.evidence.end {
            notes.push(format!("booted by itself: {what}"));
        }
    }
    let mut ran = match prepare(shared, vec![cell.clone()]).await {
        Ok((files, _)) => {
            let boot = || run_from(shared, cell, trial, folder, &files, Origin::PowerOn, inquiry);
            let ran = boot().await;
            match emulators_fault(shared.accel, cell, &ran.reaped.evidence) {
                Some(fault) if ran.reaped.leaked.is_none() => {
                    notes.push(format!(
                        "booted again: under TCG a CPU ran a breakpoint that another had taken back ({fault})"
                    ));
                    boot().await
                }
                _ => ran,
            }
        }
        Err(what) => Ran { reaped: Reaped::never_ran(what), script: Vec::new(), boot: None },
    };
    ran.reaped.notes.extend(notes);
    ran.reaped.leaked = leaked.or(ran.reaped.leaked);
    ran
}

async fn run_from(
    shared: &Arc<Shared>,
    cell: &Cell,
    trial: &TrialId,
    folder: &AttemptFolder,
    files: &Files,
    origin: Origin<'_>,
    inquiry: Inquiry<'_>,
) -> Ran {
    let never_ran = |what| Ran { reaped: Reaped::never_ran(what), script: Vec::new(), boot: None };
    let places = match cell_places(shared, cell) {
        Ok(places) => places,
        Err(what) => return never_ran(what),
    };
    let scratch = match shared.scratch.guest() {
        Ok(scratch) => scratch,
        Err(error) => return never_ran(format!("cannot make a temporary folder: {error}")),
    };
    let cmdline = first_cmdline(cell);
    let argv = loader_argv(cell, &places);
    let console_log = folder.console_log();
    let deadlines = match inquiry.trace {
        false => shared.deadlines.clone(),
        true => inquest::more_patient(&shared.deadlines),
    };
    let plan = GuestPlan {
        cell,
        qemu: &shared.qemu,
        accel: shared.accel,
        origin,
        firmware: files.firmware.as_deref(),
        kernel: &files.kernel,
        initramfs: &files.initramfs,
        cmdline: &cmdline,
        loader_argv: &argv,
        deadlines: &deadlines,
        console_log: &console_log,
        inquiry,
    };
    // The script runs in its own folder and reaches the report's files from there, also when the report was moved.
    let beside: Vec<PathBuf> = files.parts.iter().map(|part| beside(part)).collect();
    let kernel = match files.kernel.starts_with(folder.path.parent().unwrap_or(&folder.path)) {
        true => self::beside(&files.kernel),
        false => files.kernel.clone(),
    };
    let purpose = Purpose::Repro {
        reader: reader_order(&plan),
        value_bytes: NONCE_BYTES,
        silence: shared.deadlines.longest_silence(),
    };
    let (args_by_hand, args_of_rig) = (by_hand_args(&plan, &purpose, &kernel), plan.args(&scratch));
    let script = Script {
        purpose: &purpose,
        qemu: &shared.qemu,
        kernel: &kernel,
        parts: &beside,
        args: &args_by_hand,
        args_of_rig: Some(&args_of_rig),
        trigger: cell.trigger,
    };
    let script = script.text();
    let mut tell = |news| {
        shared.guests.note(&news);
        let _ = shared.events.send(RunEvent::Guest { of: GuestOf::Trial(trial.clone()), news });
    };
    let reaped = run_guest(plan, scratch, shared.stop.clone(), &mut tell).await;
    let saved_state = match origin {
        Origin::PowerOn | Origin::ToBeSaved(_) => None,
        Origin::Saved(_) => Some(files.key.clone()),
    };
    Ran { reaped, script, boot: Some(BootRecord { kernel: files.route, saved_state }) }
}

/// QEMU's arguments for the guest of a script, which sees the first kernel's image at `kernel`.
fn by_hand_args(plan: &GuestPlan<'_>, purpose: &Purpose, kernel: &Path) -> Vec<OsString> {
    let folder = Path::new(purpose.name());
    let initramfs = folder.join("initramfs");
    let by_hand = GuestPlan { initramfs: &initramfs, kernel, ..*plan };
    by_hand.args_wired(Wiring::ByHand { folder }, Start::PowerOn)
}

/// A file of one of the report's folders, as seen from an attempt's folder.
fn beside(file: &Path) -> PathBuf {
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default();
    Path::new("..").join(folder).join(file.file_name().unwrap_or_default())
}

/// The line in which a first kernel dies of a fault of the emulator's; none where it did not, or not of that.
///
/// Linux changes its code through a breakpoint (int3), which it takes back when all CPUs have seen it. TCG runs each CPU in a thread, and one of
/// them may still run the breakpoint when it is gone: then it is nobody's, and the kernel stops. It was seen in three of some 900 boots with
/// four CPUs on QEMU 7.2, each time in another function, and by others with newer ones
/// (<https://github.com/multipath-tcp/mptcp_net-next/issues/471>).
fn emulators_fault(accel: Accel, cell: &Cell, evidence: &Evidence) -> Option<String> {
    let was_ready = evidence.reports.iter().any(|report| matches!(report.what.message, Message::Ready(_)));
    let races = accel == Accel::Tcg && cell.platform.cpus.get() > 1 && !was_ready;
    let text = races.then(|| console::Text::new(&evidence.console))?;
    text.stray_breakpoint().map(str::to_owned)
}

/// The outcome of a trial whose task died.
pub(super) fn task_died(error: &tokio::task::JoinError) -> Outcome {
    Outcome::RigError { what: format!("the task of this trial died: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Timed;
    use crate::testing;
    use guest_protocol::{Arch, KernelFacts, Report, Side};
    use std::num::NonZeroU32;

    /// Bug: a first kernel that the emulator broke leaves a cell without a statement; or one that broke by itself is given another chance.
    #[test]
    fn only_the_emulators_own_fault_is_forgiven() {
        let died_after = |reports, accel, cpus, line: &str| {
            let mut cell = testing::cell();
            cell.platform.cpus = NonZeroU32::new(cpus).unwrap();
            let console =
                format!("[    1.9] {line}\r\n[    1.9] Kernel panic - not syncing: Fatal exception\r\n");
            let evidence = Evidence { console: console.into_bytes(), reports, ..Evidence::default() };
            emulators_fault(accel, &cell, &evidence)
        };
        let died = |accel, cpus, line: &str| died_after(Vec::new(), accel, cpus, line);
        let int3 = "Oops: int3: 0000 [#1] SMP NOPTI";
        assert!(died(Accel::Tcg, 4, int3).is_some_and(|line| line.contains(int3)));
        assert!(
            died(Accel::Tcg, 4, "int3: 0000 [#1] PREEMPT SMP").is_some(),
            "as kernels before 6.10 say it"
        );
        assert_eq!(died(Accel::Tcg, 4, "Oops: 0002 [#1] SMP NOPTI"), None);
        assert_eq!(died(Accel::Tcg, 1, int3), None);
        assert_eq!(died(Accel::Kvm, 4, int3), None);
        // From *ready* on it is the loader's turn, and nothing is forgiven.
        assert_eq!(died_after(vec![ready()], Accel::Tcg, 4, int3), None);
    }

    fn ready() -> Timed<Report> {
        let facts = KernelFacts {
            release: "6.12".into(),
            version: "#1".into(),
            machine: "x86_64".into(),
            userspace: Arch::X86_64,
            cmdline: String::new(),
            cpus: 4,
            crash_regions: Vec::new(),
            system_ram: Vec::new(),
            five_levels: None,
            cpu: None,
            firmware_ram: None,
            kernel_code: None,
            crash_loaded: None,
        };
        Timed { ms: 1, what: Report { seq: 0, kernel: Side::First, message: Message::Ready(facts) } }
    }
}
