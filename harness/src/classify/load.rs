//! What became of the load: loaded, refused, or failed in a way that is no refusal.

use super::story::Story;
use super::{Finding, errno, was_starved, with_foreign_lines};
use crate::cell::Cell;
use crate::evidence::{Evidence, GuestEnd};
use crate::outcome::{LoadFailure, Outcome, Refuser};
use crate::phase::Phase;
use crate::quote::quote;
use guest_protocol::{Circumstances, ExitKind, LoadReport};

/// Exit status of a loader that refuses, by convention of kexec-tools and of `kexec-load`.
const REFUSED: u8 = 1;

/// The outcome that the report of a load shows; none where a crash image is in place and the panic decides.
pub(super) fn outcome(cell: &Cell, report: &LoadReport, evidence: &Evidence) -> Option<Outcome> {
    match (cell.circumstances, report.loaded_before) {
        // A first load that fails may fail with the very words that are expected of the second.
        (Circumstances::ReloadFails, Some(false) | None) => {
            return Some(Outcome::RigError {
                what: format!(
                    "the load before the one that is to fail did not leave an image loaded; the loader said: {:?}",
                    quote(&report.stderr)
                ),
            });
        }
        (Circumstances::Reload, None) => {
            return Some(Outcome::RigError {
                what: "the agent ran the loader once in place of twice".into(),
            });
        }
        _ => {}
    }
    let failed = |how| Some(Outcome::LoadFailed { how, stderr: report.stderr.clone() });
    match report.exit {
        ExitKind::Exited { status: 0 } if report.crash_loaded => None,
        ExitKind::Exited { status: 0 } => failed(LoadFailure::NothingLoaded),
        ExitKind::Exited { status } if report.crash_loaded => failed(LoadFailure::LoadedAnyway { status }),
        ExitKind::Exited { status } => match refusal(report, status) {
            Some(refused) => Some(refused),
            None => failed(LoadFailure::Status { status }),
        },
        ExitKind::Signaled { signal } => failed(LoadFailure::Killed { signal }),
        ExitKind::NotStarted { errno } => failed(LoadFailure::NotStarted { errno }),
        ExitKind::TimedOut if was_starved(evidence, Phase::Loading, report.milliseconds) => {
            Some(Outcome::RigError {
                what: format!(
                    "the loader had not ended after {} ms, for most of which QEMU had no CPU: the host is loaded",
                    report.milliseconds
                ),
            })
        }
        ExitKind::TimedOut => failed(LoadFailure::TimedOut),
    }
}

/// A refusal says why, leaves nothing loaded, and ends with status 1. Where the *kernel* refused, the loader only passes the
/// error on and the status is its own affair: kexec-tools ends with 255 then.
fn refusal(report: &LoadReport, status: u8) -> Option<Outcome> {
    let message = if report.stderr.trim().is_empty() { &report.stdout } else { &report.stderr };
    let by = match errno::of_kexec_load(message) {
        Some(errno) => Refuser::Kernel { errno },
        None if status == REFUSED && !message.trim().is_empty() => Refuser::Loader,
        None => return None,
    };
    Some(Outcome::Refused { by, message: message.clone() })
}

/// Between *ready* and the report of the load.
pub(super) fn before_report(story: &Story<'_>, evidence: &Evidence) -> Finding {
    if let Some((_, what)) = story.trouble {
        return Finding::Final(Outcome::RigError {
            what: with_foreign_lines(format!("guest agent: {what}"), evidence),
        });
    }
    if let Some(reason) = super::panicked::reset_reason(evidence) {
        return Finding::Final(Outcome::Reset { at: Phase::Loading, reason });
    }
    match &evidence.end {
        // *Ready* came while the guest was being ended, and nothing was ordered: silence before the order is no loader's.
        Some(GuestEnd::Deadline { phase, seconds }) if *phase < Phase::Loading => {
            let why = format!("`ready` came when it was not awaited any more, after {seconds} s");
            Finding::Likely(Outcome::NoFirstKernel { at: *phase, why })
        }
        Some(_) | None => Finding::Open,
    }
}
