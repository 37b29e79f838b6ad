//! What followed the trigger: the capture kernel, a hang with its proof and cause, a reset, or no panic at all.

use super::console::{NOTIFIERS_FIRST, Text};
use super::story::{Story, side_words};
use super::{Finding, damaged_since, first, no_message, purgatory, vmcore, with_foreign_lines};
use crate::cell::{Cell, LowMemory};
use crate::evidence::{CpuState, Evidence, GuestEnd, QmpEvent};
use crate::outcome::{HangCause, HangProof, Outcome, VmcoreState};
use crate::phase::Phase;
use guest_protocol::{KernelFacts, PhysRange, Side, VmcoreReport};

/// Two register samples this far apart, in milliseconds, show that a CPU does nothing: an interrupt that could still move it
/// comes within a timer tick, which is 10 ms at most (CONFIG_HZ is 100 or more).
pub(super) const APART_MS: u64 = 100;

/// The console has said its last word when nothing followed for so many milliseconds. A kernel's panic path prints without
/// pauses; the longest known wait in it is one second, for the other CPUs to stop (arch/x86/kernel/smp.c).
pub(super) const QUIET_MS: u64 = 2000;

/// A crash image is loaded; what became of the panic.
pub(super) fn find(cell: &Cell, story: &Story<'_>, ready: &KernelFacts, evidence: &Evidence) -> Finding {
    if let (Some((side, what)), None) = (story.trouble, seen_whole(cell, story))
        && !is_untold(cell, story)
    {
        let what = with_foreign_lines(format!("the {} agent: {what}", side_words(side)), evidence);
        return Finding::Final(match (side, story.up) {
            // Its kernel came up and could not serve it, which is how too little or wrong memory shows as well.
            (Side::Capture, Some(_)) => Outcome::captured(VmcoreState::Wrong { why: what }),
            (Side::Capture, None) | (Side::First, _) => Outcome::RigError { what },
        });
    }
    if evidence.triggered_ms.is_none() {
        return before_trigger(evidence);
    }
    if let Some(what) = unchanged(cell, evidence) {
        return Finding::Final(Outcome::RigError { what });
    }
    match story.up {
        Some(up) => after_up(cell, story, ready, up, evidence),
        None => before_up(cell, story, ready, evidence),
    }
}

/// The report on the vmcore, once all that belongs to it is there: the reader's too, where the cell has one and there is a vmcore.
fn seen_whole<'a>(cell: &Cell, story: &Story<'a>) -> Option<&'a VmcoreReport> {
    let report = story.vmcore?;
    let awaited = cell.reader.is_some() && !matches!(report, VmcoreReport::Absent);
    (!awaited || story.reader.is_some() || story.done).then_some(report)
}

/// Whether the cell asks what the capture kernel was told, and its agent, which has reported on the vmcore, has not come to that.
const fn is_untold(cell: &Cell, story: &Story<'_>) -> bool {
    let passed_by = story.told.is_some() || story.done;
    cell.expected.asks_what_was_told() && story.vmcore.is_some() && !passed_by
}

/// What the cell wanted changed in the guest's memory and was not: a rig error's text.
fn unchanged(cell: &Cell, evidence: &Evidence) -> Option<String> {
    let changes = &evidence.changes;
    let tampered = changes.tampered.as_ref().map(|tampered| tampered.segment.as_str());
    if tampered != cell.tamper.segment() {
        return Some(format!(
            "the cell wants {} of the loaded image changed, and the rig changed {}",
            cell.tamper.name(),
            tampered.unwrap_or("none")
        ));
    }
    let missing = cell.low_memory == LowMemory::Planted && changes.low_pattern.is_none();
    missing.then(|| "the cell wants a pattern below 640 KiB, and the rig wrote none".to_owned())
}

/// The image is loaded, and the panic was not triggered yet.
fn before_trigger(evidence: &Evidence) -> Finding {
    if let Some(reason) = reset_reason(evidence) {
        return Finding::Final(Outcome::Reset { at: Phase::Loading, reason });
    }
    match &evidence.end {
        Some(GuestEnd::Deadline { seconds, .. }) => {
            let what = format!("the load succeeded, and {seconds} s later the panic had not been triggered");
            Finding::Likely(Outcome::RigError { what: with_foreign_lines(what, evidence) })
        }
        Some(GuestEnd::ByItself | GuestEnd::Concluded | GuestEnd::Trouble { .. } | GuestEnd::Interrupted)
        | None => Finding::Open,
    }
}

/// The capture kernel's agent is up, or something that says so.
fn after_up(
    cell: &Cell,
    story: &Story<'_>,
    ready: &KernelFacts,
    up: &KernelFacts,
    evidence: &Evidence,
) -> Finding {
    if first::machine_arch(&up.machine) != Some(cell.capture.arch) {
        let what = format!(
            "the capture kernel is to be {}, and says that its machine is {:?}",
            cell.capture.arch, up.machine
        );
        return Finding::Final(Outcome::RigError { what });
    }
    let text = since_trigger(evidence);
    let untold = is_untold(cell, story);
    if untold && let Some(finding) = stopped_while_reading(cell, &text, evidence) {
        return finding;
    }
    let Some(report) = seen_whole(cell, story) else {
        return if untold { before_told(story, evidence) } else { before_vmcore(cell, &text, evidence) };
    };
    let outcome = if let (VmcoreReport::Absent, Some(why)) = (report, outside_of_region(ready, up)) {
        // Without a vmcore its place is all that tells a capture kernel from a kernel that was booted in another way.
        Outcome::Reset {
            at: Phase::Capture,
            reason: format!("the kernel that came up is no capture kernel: {why}"),
        }
    } else {
        match vmcore::state(cell, story, ready, up, evidence, report, &text) {
            Ok(vmcore) => {
                let said = story.loaded.filter(|_| cell.expected.asks_what_was_said());
                let said = said.map(|report| report.stderr.clone());
                Outcome::Captured { vmcore, told: story.told.cloned(), said }
            }
            Err(what) => Outcome::RigError { what },
        }
    };
    // What is wrong already stays wrong, whatever the kernel was told.
    let settled = !matches!(
        outcome,
        Outcome::Captured { vmcore: VmcoreState::Verified | VmcoreState::Absent { .. }, .. }
    );
    if untold && !settled && (story.trouble.is_some() || evidence.end.is_some()) {
        return before_told(story, evidence);
    }
    // The report is whole, whatever ended the guest after it; *done* only ends the wait.
    if story.done || evidence.end.is_some() { Finding::Final(outcome) } else { Finding::Likely(outcome) }
}

/// The capture kernel's agent is up, and its report on /proc/vmcore is awaited.
fn before_vmcore(cell: &Cell, text: &Text, evidence: &Evidence) -> Finding {
    if let Some(finding) = stopped_while_reading(cell, text, evidence) {
        return finding;
    }
    match &evidence.end {
        Some(GuestEnd::ByItself) => {
            let why = "the capture kernel's agent ended before it reported on the vmcore".to_owned();
            Finding::Likely(Outcome::captured(VmcoreState::Wrong { why }))
        }
        Some(
            GuestEnd::Deadline { .. }
            | GuestEnd::Concluded
            | GuestEnd::Trouble { .. }
            | GuestEnd::Interrupted,
        )
        | None => Finding::Open,
    }
}

/// What shows that the capture kernel whose agent was up did not go on.
fn stopped_while_reading(cell: &Cell, text: &Text, evidence: &Evidence) -> Option<Finding> {
    let at = Phase::Reading;
    if let Some(finding) = capture_panic(text, evidence) {
        return Some(finding);
    }
    if let Some(reason) = reset_reason(evidence) {
        return Some(Finding::Final(Outcome::Reset { at, reason }));
    }
    all_dead(cell, evidence)
        .map(|(proof, _)| Finding::Final(Outcome::Hung { at, proof, cause: HangCause::Unknown }))
}

/// The vmcore is reported, and what the cell asks beside it is not: an agent's or the rig's failure, for the kernel served it so far.
fn before_told(story: &Story<'_>, evidence: &Evidence) -> Finding {
    let what = match (story.trouble, &evidence.end) {
        (Some((side, what)), _) => format!("the {} agent: {what}", side_words(side)),
        (None, Some(GuestEnd::Deadline { seconds, .. })) => format!(
            "the capture kernel's agent reported on the vmcore, and within {seconds} s not what that kernel was told"
        ),
        (
            None,
            Some(GuestEnd::ByItself | GuestEnd::Concluded | GuestEnd::Trouble { .. } | GuestEnd::Interrupted)
            | None,
        ) => return Finding::Open,
    };
    Finding::Final(Outcome::RigError { what: with_foreign_lines(what, evidence) })
}

/// Triggered, and no word from a capture kernel's agent.
fn before_up(cell: &Cell, story: &Story<'_>, ready: &KernelFacts, evidence: &Evidence) -> Finding {
    let text = since_trigger(evidence);
    let (before, capture) = text.split_at_kernel_start();
    if let Some(finding) = capture_panic(&text, evidence) {
        return finding;
    }
    if capture.is_none()
        && let Some(finding) = purgatory::find(cell, &before, ready, evidence)
    {
        return finding;
    }
    let at = match &capture {
        Some(capture) if capture.has_banner() => Phase::Capture,
        Some(_) => Phase::Decompression,
        None if before.panic_line().is_some() => Phase::Purgatory,
        None => Phase::Panicking,
    };
    if story.rebooted {
        return Finding::Final(Outcome::Reset { at, reason: "the first kernel booted again".to_owned() });
    }
    if let Some(reason) = reset_reason(evidence) {
        return Finding::Final(Outcome::Reset { at, reason });
    }
    let notifiers_first = cell.first_cmdline.iter().any(|word| word.starts_with(NOTIFIERS_FIRST));
    let last = if capture.is_none() { before.last_of_panic(notifiers_first) } else { None };
    let cause = cause(&text, &before, capture.is_some(), last.is_some());
    if let Some((proof, ip)) = all_dead(cell, evidence) {
        // The decompressor runs in the image that was loaded; a CPU that halted elsewhere halted for another reason.
        let in_region = ready.crash_regions.iter().any(|region| (region.start..=region.end).contains(&ip));
        let cause = match cause {
            HangCause::DestinationTooLarge if !in_region => HangCause::Unknown,
            cause => cause,
        };
        return Finding::Final(Outcome::Hung { at, proof, cause });
    }
    if let Some(line) = last {
        let proof = HangProof::EndOfPanic { line: line.to_owned() };
        return when_quiet(Outcome::Hung { at, proof, cause }, evidence);
    }
    if let (Some(line), None, None) = (before.dazed(), before.panic_line(), &capture) {
        return when_quiet(Outcome::NotPanicked { seen: line.to_owned() }, evidence);
    }
    match &evidence.end {
        Some(GuestEnd::Deadline { phase, .. })
            if *phase == Phase::Panicking && !before.tells_of_trouble() && idles(evidence) =>
        {
            // What a living kernel happens to say, of a clock that it has chosen, is no sign of a panic.
            let seen = "no panic on the console, and its CPUs idle with interrupts on".to_owned();
            Finding::Likely(Outcome::NotPanicked { seen })
        }
        // What was awaited may be what is damaged.
        Some(GuestEnd::Deadline { phase, seconds }) if damaged_since(evidence, Phase::Panicking) => {
            let what = with_foreign_lines(no_message(*phase, *seconds), evidence);
            Finding::Likely(Outcome::RigError { what })
        }
        Some(GuestEnd::Deadline { phase, seconds }) => {
            let proof = HangProof::Silence { seconds: *seconds };
            Finding::Likely(Outcome::Hung { at: at.max(*phase), proof, cause })
        }
        Some(GuestEnd::ByItself | GuestEnd::Concluded | GuestEnd::Trouble { .. } | GuestEnd::Interrupted)
        | None => Finding::Open,
    }
}

/// The panic of the kernel that spoke after the trigger; the first kernel's own panic stands before that one's first words.
/// Its panic line is enough to know; the rest of its trace is worth waiting for.
fn capture_panic(text: &Text, evidence: &Evidence) -> Option<Finding> {
    let (_, capture) = text.split_at_kernel_start();
    let capture = capture?;
    let line = capture.panic_line()?.to_owned();
    let outcome = match starved_since_trigger(evidence).filter(|_| capture.missed_its_timer()) {
        // Its timer is emulated by threads that had no CPU: nothing is shown of how the jump left the timer.
        Some(ms) => Outcome::RigError {
            what: format!(
                "the capture kernel missed its timer's interrupts while QEMU had no CPU for {ms} ms: {line}"
            ),
        },
        None => Outcome::CapturePanicked { line },
    };
    let over = capture.end_of_panic().is_some() || reset_reason(evidence).is_some();
    Some(if over { Finding::Final(outcome) } else { Finding::Likely(outcome) })
}

/// How long QEMU waited for a CPU in the worst phase since the trigger; none where it was less than a second.
fn starved_since_trigger(evidence: &Evidence) -> Option<u64> {
    let since = evidence.waits.iter().filter(|wait| wait.phase >= Phase::Panicking);
    since.map(|wait| wait.ms).max()
}

fn cause(text: &Text, before: &Text, capture_started: bool, panic_is_over: bool) -> HangCause {
    if text.destination_too_large() {
        HangCause::DestinationTooLarge
    } else if capture_started {
        HangCause::Unknown
    } else if before.faulted_after_panic() {
        HangCause::FaultInPanicPath
    } else if panic_is_over {
        HangCause::NothingTookOver
    } else {
        HangCause::Unknown
    }
}

/// The console since the trigger.
fn since_trigger(evidence: &Evidence) -> Text {
    let from = evidence.console_at_trigger.unwrap_or(0);
    Text::new(evidence.console.get(from..).unwrap_or(&[]))
}

/// An outcome that rests on the console's last words: final once it has been quiet long enough.
fn when_quiet(outcome: Outcome, evidence: &Evidence) -> Finding {
    let last_look = evidence.samples.last().map_or(0, |sample| sample.ms);
    let last_word = evidence.last_console_ms.or(evidence.triggered_ms).unwrap_or(0);
    if last_look >= last_word.saturating_add(QUIET_MS) {
        Finding::Final(outcome)
    } else {
        Finding::Likely(outcome)
    }
}

/// The proof that no CPU will ever run again, and where CPU 0 stands: the latest samples, over at least [`APART_MS`], show all CPUs halted with
/// interrupts off and in the same places.
pub(super) fn all_dead(cell: &Cell, evidence: &Evidence) -> Option<(HangProof, u64)> {
    let triggered = evidence.triggered_ms?;
    let latest = evidence.samples.last()?;
    let cpus = &latest.what.cpus;
    let complete = cpus.len() == usize::try_from(cell.platform.cpus.get()).ok()?;
    if !complete || !cpus.iter().all(|cpu| cpu.is_dead()) {
        return None;
    }
    let ips = |cpus: &[CpuState]| cpus.iter().map(|cpu| cpu.ip).collect::<Vec<_>>();
    let same = evidence.samples.iter().rev().take_while(|sample| {
        sample.ms > triggered
            && sample.what.cpus.iter().all(|cpu| cpu.is_dead())
            && ips(&sample.what.cpus) == ips(cpus)
    });
    let earliest = same.last()?;
    (latest.ms.saturating_sub(earliest.ms) >= APART_MS)
        .then(|| (HangProof::AllHaltedIrqsOff { ip: cpus[0].ip }, cpus[0].ip))
}

/// Whether the latest sample shows a kernel that lives and has nothing to do: halted, and woken by its next interrupt.
fn idles(evidence: &Evidence) -> bool {
    let cpus = evidence.samples.last().map_or(&[][..], |sample| &sample.what.cpus);
    !cpus.is_empty() && cpus.iter().all(|cpu| cpu.halted && !cpu.is_dead())
}

/// Why the machine was reset, where it was.
///
/// Under `-no-reboot` QEMU turns a guest's reset into SHUTDOWN with the reset's reason. A RESET counts after the trigger only:
/// firmware may cause one while it starts.
pub(super) fn reset_reason(evidence: &Evidence) -> Option<String> {
    let triggered = evidence.triggered_ms;
    evidence.events.iter().find_map(|event| {
        let QmpEvent { name, data } = &event.what;
        let reason = data.get("reason")?.as_str()?;
        let counts = match name.as_str() {
            "SHUTDOWN" => true,
            "RESET" => triggered.is_some(),
            _ => false,
        };
        let in_time = triggered.is_none_or(|triggered| event.ms >= triggered);
        (counts && in_time && is_reset_by_guest(reason)).then(|| format!("{name} with reason {reason}"))
    })
}

/// Reasons with which QEMU names a reset that the guest caused, a triple fault included (`ShutdownCause`, qapi/run-state.json).
fn is_reset_by_guest(reason: &str) -> bool {
    matches!(reason, "guest-reset" | "guest-panic" | "subsystem-reset")
}

/// Why a kernel that came up is not shown to run in a region that the first kernel reserved; none where it is.
pub(super) fn outside_of_region(ready: &KernelFacts, up: &KernelFacts) -> Option<String> {
    let regions = || ready.crash_regions.iter().map(PhysRange::to_string).collect::<Vec<_>>().join(", ");
    match up.kernel_code {
        None => Some("its /proc/iomem does not tell where its code is".to_owned()),
        Some(code) => {
            let holds = |region: &PhysRange| {
                region.start <= code.start && code.start <= code.end && code.end <= region.end
            };
            (!ready.crash_regions.iter().any(holds))
                .then(|| format!("its code at {code} lies outside of the crash region {}", regions()))
        }
    }
}
