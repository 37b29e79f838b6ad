//! Why a cell is not as expected: one typed finding and one sentence, by a pure function of its evidence.
//!
//! An outcome says *that* a guest hung or was reset; this says where it was and what it was doing there, as far as that can be
//! told. It decides nothing: a verdict rests on the outcome alone. The functions in which CPUs stood are looked up when the guest
//! is gone ([`resolve`]) and are evidence from then on, so that saved evidence tells the same without the kernels' images.

mod finding;
mod kallsyms;
mod place;
mod resolve;
mod segments;
mod vmlinux;

pub use finding::{Finding, Triage};
pub use kallsyms::Kallsyms;
pub use place::Place;
pub use resolve::{needs_symbols, resolve};
pub use segments::{Segment, SegmentMap};
pub use vmlinux::{Found, Vmlinux, Word};

use crate::cell::Cell;
use crate::classify::console::{Landmark, Text, low_memory_end};
use crate::evidence::{Evidence, Exception, GuestEnd, QemuExit};
use crate::judge::{describe, describe_expectation, errno_words, near_miss, telling_line};
use crate::outcome::{
    HangCause, HangProof, LoadFailure, Outcome, OutcomeKind, Refuser, Verdict, VmcoreState,
};
use crate::phase::Phase;
use crate::quote::quote;
use guest_protocol::{LoadReport, Message, PhysRange, Side};
use place::{Doing, Sighted, sighted};

/// What a kernel's panic means, by words of its reason. For a capture kernel they mostly tell what its loader did not give it.
const MEANINGS: [(&str, &str); 9] = [
    (
        "Cannot find place for new RAMDISK",
        "no room for its initramfs, which lies where it cannot map it and has to be moved",
    ),
    ("Failed to allocate", "no room for what it allocates while it starts"),
    ("Real mode trampoline was not allocated", "no room below 1 MiB for its real-mode trampoline"),
    ("System is deadlocked on memory", "no room: out of memory, with no program that it could kill"),
    ("Out of memory", "no room: out of memory"),
    ("not alloc", "no room for what it allocates while it starts"),
    ("Unable to mount root fs", "no init: it found no initramfs that it could use, and has no root device"),
    ("No working init found", "no init: the initramfs has none that it could run"),
    ("Attempted to kill init", "its init, the agent, died"),
];

/// Why `outcome`, which is what [`crate::classify::classify`] makes of the evidence, came about.
pub fn triage(cell: &Cell, evidence: &Evidence, outcome: &Outcome) -> Triage {
    find(cell, evidence, outcome).into()
}

/// Whether such an outcome is worth a sentence: one that is not the expected one, and any hang.
pub fn is_wanted(outcome: &Outcome, verdict: Verdict) -> bool {
    verdict != Verdict::Pass || outcome.kind() == OutcomeKind::Hung
}

fn find(cell: &Cell, evidence: &Evidence, outcome: &Outcome) -> Finding {
    // An outcome that was proven before QEMU died has its own cause.
    if let (Outcome::RigError { .. }, Some(exit)) = (outcome, &evidence.qemu_exit) {
        let during = last_phase(evidence).in_words().to_owned();
        return match exit.clone() {
            QemuExit::Signal { signal } => Finding::QemuKilled { signal, during },
            QemuExit::Status { status, said } => Finding::QemuEnded { status, said, during },
        };
    }
    match outcome {
        Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } => {
            Finding::CameUp { why: format!("its vmcore is wrong: {}", first_of(why)) }
        }
        Outcome::Captured { vmcore: VmcoreState::Absent { why }, .. } => {
            let why = format!(
                "it has no vmcore: it could not use the core headers that it was given ('{}')",
                quote(why)
            );
            Finding::CameUp { why }
        }
        Outcome::Captured { vmcore: VmcoreState::Verified, .. } => Finding::CameUp {
            why: near_miss(outcome, &cell.expected).unwrap_or_else(|| {
                format!(
                    "its vmcore is right, where this was expected: {}",
                    describe_expectation(&cell.expected)
                )
            }),
        },
        Outcome::Refused { by, message } => Finding::Refused { what: refused(*by, message) },
        Outcome::LoadFailed { how: LoadFailure::TimedOut, .. } => loader_looped(evidence),
        Outcome::LoadFailed { .. } => Finding::LoaderFailed { what: describe(outcome) },
        Outcome::Hung { at, proof, cause } => hung(evidence, *at, proof, *cause),
        Outcome::CapturePanicked { line } => panicked(Side::Capture, line),
        Outcome::StoppedByPurgatory { line, .. } => Finding::PurgatoryStopped { line: line.clone() },
        Outcome::Reset { reason, .. } => reset(evidence, reason),
        Outcome::NotPanicked { seen } => Finding::NotPanicked { seen: not_panicked(evidence, seen) },
        Outcome::Unreserved { why } => Finding::Unreserved { why: unreserved(evidence, why) },
        Outcome::NoFirstKernel { .. } => no_first_kernel(evidence),
        Outcome::RigError { what } => Finding::RigTrouble { what: trouble(evidence, what) },
    }
}

/// The first of the complaints that [`crate::classify`] joins by semicolons, with the number of the others.
fn first_of(complaints: &str) -> String {
    match complaints.split_once("; ") {
        Some((first, rest)) => format!("{first} (and {} more)", rest.split("; ").count()),
        None => complaints.to_owned(),
    }
}

/// Who refused a load, and the first sentence of why: the second one is advice, and in a table's width the first loses its end.
fn refused(by: Refuser, message: &str) -> String {
    /// Far more than any loader's sentence has, and few enough for a line.
    const LONGEST: usize = 300;
    let line = telling_line(message);
    let sentence: String =
        line.split_once(". ").map_or(line, |(first, _)| first).chars().take(LONGEST).collect();
    match by {
        Refuser::Loader => format!("refused by the loader: {sentence}"),
        Refuser::Kernel { errno } => format!("refused by the kernel with {}: {sentence}", errno_words(errno)),
    }
}

/// A kernel that does not reserve the region may say so while it starts (arch/x86/kernel/setup.c, later
/// kernel/crash_reserve.c).
fn unreserved(evidence: &Evidence, why: &str) -> String {
    const WORDS: [&str; 2] = ["crashkernel reservation failed", "cannot allocate crashkernel"];
    let console = String::from_utf8_lossy(&evidence.console);
    match console.lines().find(|line| WORDS.iter().any(|words| line.contains(words))) {
        Some(line) => format!("{why} ('{}')", quote(line)),
        None => why.to_owned(),
    }
}

/// A line of the console in quotes; what the rig saw as it is.
fn not_panicked(evidence: &Evidence, seen: &str) -> String {
    if String::from_utf8_lossy(&evidence.console).contains(seen) {
        format!("'{}'", quote(seen))
    } else {
        seen.to_owned()
    }
}

/// What failed, and when: the words of a command that failed do not tell what the guest was doing.
fn trouble(evidence: &Evidence, what: &str) -> String {
    match evidence.phases.last() {
        Some(phase) => format!("{what}; last phase reached: {}", phase.what.in_words()),
        None => what.to_owned(),
    }
}

fn loader_looped(evidence: &Evidence) -> Finding {
    let report = load_report(evidence);
    let last_line = report.and_then(|report| report.stderr.lines().next_back()).map(str::to_owned);
    Finding::LoaderLooped { milliseconds: report.map_or(0, |report| report.milliseconds), last_line }
}

fn no_first_kernel(evidence: &Evidence) -> Finding {
    let text = Text::new(&evidence.console);
    if let Some(line) = text.panic_line() {
        return panicked(Side::First, line);
    }
    if crate::classify::was_reset(evidence) {
        return reset(evidence, "");
    }
    let when = match (text.is_empty(), text.ran_init()) {
        (true, _) => ", before the first word of a kernel",
        (false, false) => " before userspace",
        (false, true) => ", with its userspace started, and its agent said nothing",
    };
    stuck(evidence, &text, "first kernel", when).unwrap_or_else(|| unknown(evidence, &text))
}

fn hung(evidence: &Evidence, at: Phase, proof: &HangProof, cause: HangCause) -> Finding {
    let text = since_trigger(evidence);
    if let Some(message) = text.decompressor_error() {
        let halted = matches!(proof, HangProof::AllHaltedIrqsOff { .. });
        return Finding::DecompressorStopped { message: message.to_owned(), halted };
    }
    match cause {
        HangCause::FaultInPanicPath => Finding::FaultInMachineKexec {
            function: text.faulting_function().unwrap_or("its panic path").to_owned(),
            control_page: control_page(evidence),
            low_memory_end: low_memory_end(&evidence.console),
        },
        HangCause::NothingTookOver => Finding::NothingTookOver {
            line: match proof {
                HangProof::EndOfPanic { line } => line.clone(),
                HangProof::AllHaltedIrqsOff { .. } | HangProof::Silence { .. } => {
                    text.last_line().unwrap_or_default().to_owned()
                }
            },
        },
        HangCause::DestinationTooLarge | HangCause::Unknown => {
            let banner = Landmark::Banner.is_in(since(evidence));
            let (who, when) = match () {
                () if evidence.triggered_ms.is_none() => ("first kernel", ", loading the crash image"),
                () if at == Phase::Reading => ("capture kernel", ", with its agent at work on the vmcore"),
                () if text.ran_init() => ("capture kernel", ", with its userspace started"),
                () if banner => ("capture kernel", " before userspace"),
                () if capture_spoke(evidence) => ("capture kernel", ", before its banner"),
                () => ("", ""),
            };
            stuck(evidence, &text, who, when).unwrap_or_else(|| match proof {
                // Nobody looked where that is, and it is known all the same.
                HangProof::AllHaltedIrqsOff { ip } => Finding::Unknown {
                    awaited: format!("every CPU halted with interrupts off at {ip:#x}"),
                    phase: at.in_words().to_owned(),
                    last_line: text.last_line().map(str::to_owned),
                },
                HangProof::EndOfPanic { .. } | HangProof::Silence { .. } => unknown(evidence, &text),
            })
        }
    }
}

/// What the CPU was seen doing, where the machine was looked at. `who` is empty where only the place tells.
fn stuck(evidence: &Evidence, text: &Text, who: &str, when: &str) -> Option<Finding> {
    let Sighted { place, doing, .. } = sighted(evidence)?;
    // Silence between two kernels: whose it is shows by where the CPU is.
    let (who, when) = match (who, &place) {
        ("", Place::Function { kernel: Side::First, .. } | Place::Kernel { kernel: Side::First, .. }) => {
            ("first kernel", ", after the trigger")
        }
        ("", Place::Function { .. } | Place::Kernel { .. } | Place::Decompressor { .. }) => {
            ("capture kernel", ", before its banner")
        }
        ("", Place::ControlPage { .. } | Place::Userspace { .. }) => ("first kernel", ", after the trigger"),
        ("", _) => ("the CPU", ", before a capture kernel's first word"),
        (who, _) => (who, when),
    };
    let doing = doing.in_words().to_owned();
    let last_line = text.last_line().map(str::to_owned);
    Some(Finding::Stuck { who: who.to_owned(), doing, place, when: when.to_owned(), last_line })
}

fn panicked(kernel: Side, line: &str) -> Finding {
    // Behind the words that all have, and a time stamp in front of them.
    let reason = line.split_once("not syncing: ").map_or(line, |(_, reason)| reason);
    let meaning = MEANINGS.iter().find(|(words, _)| reason.contains(words));
    Finding::Panicked {
        kernel,
        reason: reason.to_owned(),
        meaning: meaning.map(|(_, meaning)| (*meaning).to_owned()),
    }
}

/// `reason` is the outcome's: there are resets without any event of QEMU's, known by the kernel that came up after them.
fn reset(evidence: &Evidence, reason: &str) -> Finding {
    let seen = sighted(evidence).filter(|seen| seen.doing == Doing::Stopped);
    let lost_tables = seen.as_ref().is_some_and(|seen| seen.lost_tables);
    let place = seen.map(|seen| seen.place);
    if evidence.cpu_log.triple_fault {
        return Finding::TripleFault {
            place,
            lost_tables,
            exception: first_exception(&evidence.cpu_log.exceptions),
        };
    }
    // What the first kernel said before the trigger says nothing of the reset.
    let line = since_trigger(evidence).last_line().unwrap_or_default().to_owned();
    let reason = if crate::classify::was_reset(evidence) { "the machine was reset" } else { reason };
    Finding::Rebooted { reason: reason.to_owned(), place, line }
}

/// The exception that a triple fault began with: before the double fault there is the one that could not be handled. What comes
/// before that was handled.
fn first_exception(exceptions: &[Exception]) -> Option<String> {
    const DOUBLE_FAULT: u8 = 8;
    let at = exceptions.iter().rposition(|exception| exception.vector == DOUBLE_FAULT)?;
    let Exception { vector, error, address, access } =
        exceptions[..=at].iter().rev().find(|e| e.vector != DOUBLE_FAULT)?;
    let name = match vector {
        0 => "a division error",
        2 => "an NMI",
        3 => "a breakpoint",
        6 => "an invalid opcode",
        7 => "a use of the FPU",
        10 => "an invalid TSS",
        11 => "an absent segment",
        12 => "a stack fault",
        13 => "a general protection fault",
        14 => "a page fault",
        _ => "an exception",
    };
    let about = access.map_or_else(String::new, |access| format!(" on {:#x}", access.0));
    Some(format!("{name}{about} (vector {vector}, error {error:#x}) at {address:#x}"))
}

fn unknown(evidence: &Evidence, text: &Text) -> Finding {
    let phase = last_phase(evidence);
    let awaited = match &evidence.end {
        Some(GuestEnd::Deadline { phase, seconds }) => {
            format!("the end of {} was awaited for {seconds} s", phase.in_words())
        }
        _ => format!("the end of {} was awaited", phase.in_words()),
    };
    Finding::Unknown {
        awaited,
        phase: phase.in_words().to_owned(),
        last_line: text.last_line().map(str::to_owned),
    }
}

/// Where the first kernel's control page lies, by the loader's plan.
fn control_page(evidence: &Evidence) -> Option<u64> {
    SegmentMap::of(evidence).control().map(|PhysRange { start, .. }| start)
}

fn load_report(evidence: &Evidence) -> Option<&LoadReport> {
    evidence.reports.iter().find_map(|report| match &report.what.message {
        Message::Loaded(report) => Some(report),
        _ => None,
    })
}

/// The console since the trigger; all of it where there was none.
fn since_trigger(evidence: &Evidence) -> Text {
    Text::new(since(evidence))
}

fn since(evidence: &Evidence) -> &[u8] {
    let from = evidence.console_at_trigger.unwrap_or(0);
    evidence.console.get(from..).unwrap_or(&[])
}

/// Whether a kernel has begun to speak since the trigger.
fn capture_spoke(evidence: &Evidence) -> bool {
    let since = evidence.console_at_trigger.map_or(&[][..], |_| since(evidence));
    [Landmark::Decompressor, Landmark::Banner].into_iter().any(|landmark| landmark.is_in(since))
}

/// The phase that began last.
fn last_phase(evidence: &Evidence) -> Phase {
    evidence.phases.last().map_or(Phase::Firmware, |phase| phase.what)
}

#[cfg(test)]
mod tests;
