//! Evidence to outcome: pure functions over what was seen of a cell, so that saved evidence can be judged again.
//!
//! The order of the questions is the order of a cell's life: did the first kernel come up with the region that was asked for,
//! what became of the load, and what followed the trigger. Each question has a file of its own. An outcome that the evidence
//! proves stands however the guest was ended; only where nothing is proven does [`Evidence::end`] decide, and trouble of rig,
//! QEMU or host is then a rig error, never a statement on the loader.

mod addresses;
mod asked;
pub mod console;
mod coverage;
mod errno;
mod first;
mod given;
mod load;
mod log;
mod panicked;
mod purgatory;
mod story;
mod vmcore;

use crate::artifacts::capture_userspace;
use crate::cell::Cell;
use crate::evidence::{Evidence, GuestEnd};
use crate::outcome::{HangCause, HangProof, Outcome};
use crate::phase::Phase;
use crate::quote::quote;
pub use errno::name as errno_name;
use guest_protocol::{Arch, Side};
use story::Story;

/// An outcome that nothing which may still come can change: the guest can be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The outcome, the same that [`classify`] gives for this evidence.
    pub outcome: Outcome,
}

/// What is known of a cell so far.
enum Finding {
    /// Proven, and final.
    Final(Outcome),
    /// Proven by what is there, but better evidence may follow (a longer text, a stronger proof): worth waiting for.
    Likely(Outcome),
    /// Nothing is proven.
    Open,
}

/// What became of a cell.
pub fn classify(cell: &Cell, evidence: &Evidence) -> Outcome {
    match find(cell, evidence) {
        Finding::Final(outcome) => outcome,
        // What was still to be seen (more words, or none) was not, because the rig's side of it failed.
        Finding::Likely(_) if cut_short(evidence) => by_end(evidence),
        Finding::Likely(outcome) => outcome,
        Finding::Open => by_end(evidence),
    }
}

/// Whether the guest was reset, by a triple fault or its own doing, where that counts.
pub fn was_reset(evidence: &Evidence) -> bool {
    panicked::reset_reason(evidence).is_some()
}

/// Whether the outcome is already proven, so that the guest can be ended at once.
///
/// To be called on each new piece of evidence, register samples included: the only clock is the evidence's own (a text is
/// "the last" when a sample was taken long enough after it), so the same evidence gives the same answer tomorrow.
pub fn conclude(cell: &Cell, evidence: &Evidence) -> Option<Conclusion> {
    match find(cell, evidence) {
        Finding::Final(outcome) => Some(Conclusion { outcome }),
        Finding::Likely(_) | Finding::Open => None,
    }
}

fn find(cell: &Cell, evidence: &Evidence) -> Finding {
    let story = match Story::read(evidence) {
        Ok(story) => story,
        Err(what) => return Finding::Final(Outcome::RigError { what }),
    };
    let lacks = story.lacks.map(|(side, option, seen)| (side, option, seen.to_owned()));
    if let Some((side, option, seen)) = lacks.or_else(|| without_emulation(cell, &story, evidence)) {
        return Finding::Final(lacking(cell, side, option, &seen));
    }
    let ready = match story.ready {
        Some(ready) => ready,
        None => return first::before_ready(&story, evidence),
    };
    if let Some(outcome) = first::at_ready(cell, ready) {
        return Finding::Final(outcome);
    }
    match story.loaded {
        None => load::before_report(&story, evidence),
        Some(report) => match load::outcome(cell, report, evidence) {
            Some(outcome) => Finding::Final(outcome),
            None => panicked::find(cell, &story, ready, evidence),
        },
    }
}

/// An outcome that is the kernel's own doing, and neither the loader's nor the rig's.
fn lacking(cell: &Cell, side: Side, option: &str, seen: &str) -> Outcome {
    let (name, kernel) = match side {
        Side::First => (side.name(), &cell.first.name),
        Side::Capture => (side.name(), &cell.capture.name),
    };
    Outcome::RigError {
        what: format!(
            "the {name} kernel, {kernel}, was built without {option}: {seen}; take one that has it (cargo xtask e2e --kernel \
             {name}=PATH)"
        ),
    }
}

/// An x86_64 kernel that cannot run the i386 agent at all, so that its agent cannot say so: which of the two, and what shows it.
fn without_emulation(
    cell: &Cell,
    story: &Story<'_>,
    evidence: &Evidence,
) -> Option<(Side, &'static str, String)> {
    let (side, kernel, userspace, from) = match (story.ready, story.up, evidence.triggered_ms) {
        (None, _, _) => (Side::First, &cell.first, cell.userspace, 0),
        (Some(_), None, Some(_)) => {
            let from = evidence.console_at_trigger.unwrap_or(0);
            (Side::Capture, &cell.capture, capture_userspace(cell), from)
        }
        (Some(_), _, _) => return None,
    };
    if (kernel.arch, userspace) != (Arch::X86_64, Arch::I386) {
        return None;
    }
    let text = console::Text::new(evidence.console.get(from..).unwrap_or_default());
    let line = text.init_not_executable()?;
    Some((side, "CONFIG_IA32_EMULATION, or has it switched off", line.trim().to_owned()))
}

/// Whether the guest was ended by trouble of rig or host, in the middle of what it did.
const fn cut_short(evidence: &Evidence) -> bool {
    match evidence.end {
        Some(GuestEnd::Trouble { .. } | GuestEnd::Interrupted) => true,
        Some(GuestEnd::ByItself | GuestEnd::Concluded | GuestEnd::Deadline { .. }) | None => false,
    }
}

/// The outcome where the evidence proves none.
fn by_end(evidence: &Evidence) -> Outcome {
    let what = match &evidence.end {
        // Silence is the weakest proof, and on a channel with damage on it none: what was awaited may be what is damaged.
        Some(GuestEnd::Deadline { phase, seconds }) if damaged_since(evidence, *phase) => {
            no_message(*phase, *seconds)
        }
        Some(GuestEnd::Deadline { phase, seconds }) => {
            return Outcome::Hung {
                at: *phase,
                proof: HangProof::Silence { seconds: *seconds },
                cause: HangCause::Unknown,
            };
        }
        Some(GuestEnd::Trouble { what }) => what.clone(),
        Some(GuestEnd::Interrupted) => "the run was interrupted before the cell had a result".to_owned(),
        Some(GuestEnd::ByItself) => {
            format!("the guest ended by itself during {} without a result", last_phase(evidence).in_words())
        }
        Some(GuestEnd::Concluded) => {
            "the guest was ended as if its outcome were known, but the evidence proves none".to_owned()
        }
        None => "the evidence does not say how the guest ended".to_owned(),
    };
    Outcome::RigError { what: with_foreign_lines(what, evidence) }
}

/// Whether lines of the message channel that are no messages came since this phase began. Damage that a boot left there before is
/// no excuse for what follows.
fn damaged_since(evidence: &Evidence, phase: Phase) -> bool {
    let began = evidence.phases.iter().find(|began| began.what >= phase).map_or(0, |began| began.ms);
    evidence.foreign_lines.iter().any(|line| line.ms >= began)
}

fn no_message(phase: Phase, seconds: u32) -> String {
    format!("no message came within {seconds} s during {}", phase.in_words())
}

/// Whether a program of the guest that ran out of time in this phase had less than half of it: the guest's clock goes on while the
/// host withholds the CPU.
fn was_starved(evidence: &Evidence, phase: Phase, took_ms: u64) -> bool {
    let waits = evidence.waits.iter().filter(|wait| wait.phase == phase);
    waits.map(|wait| wait.ms).max().unwrap_or(0).saturating_mul(2) >= took_ms.max(1)
}

/// The phase that began last.
fn last_phase(evidence: &Evidence) -> Phase {
    evidence.phases.iter().map(|phase| phase.what).max().unwrap_or(Phase::Firmware)
}

/// A rig error's text, with the damage on the message channel that may explain it.
fn with_foreign_lines(what: String, evidence: &Evidence) -> String {
    match evidence.foreign_lines.as_slice() {
        [] => what,
        [line] => {
            format!("{what}; a line on the message channel is no message: {:?}", quote(&line.what))
        }
        lines => {
            format!(
                "{what}; {} lines on the message channel are no messages, the first: {:?}",
                lines.len(),
                quote(&lines[0].what)
            )
        }
    }
}

#[cfg(test)]
mod tests;
