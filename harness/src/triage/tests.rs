//! Findings from evidence made by hand, for what no recorded guest shows; tests/triage.rs has the recorded ones.

use super::*;
use crate::evidence::{
    Code, Cpu, CpuLog, Examination, Ip, PageWalk, QmpEvent, Selector, Symbol, Timed, Translation,
};
use crate::testing;
use guest_protocol::{ExitKind, HexBytes, Report};

fn said(evidence: &Evidence, outcome: &Outcome) -> String {
    triage(&testing::cell(), evidence, outcome).sentence
}

fn loaded(stderr: &str, exit: ExitKind) -> Timed<Report> {
    let report = LoadReport {
        loaded_before: None,
        exit,
        stdout: String::new(),
        stderr: stderr.to_owned(),
        crash_loaded: true,
        milliseconds: 45_000,
        time: None,
    };
    Timed { ms: 1, what: Report { seq: 1, kernel: Side::First, message: Message::Loaded(report) } }
}

const PLAN: &str = "\
kexec-load: segment: kernel 0x7b000000-0x7eb79fff (0x3b7a000 bytes)
kexec-load: segment: purgatory 0x8affd000-0x8affefff (0x2000 bytes)
kexec-load: control pages of the running kernel: 0x7eb7a000-0x7eb7bfff
";

/// A machine that was looked at: one CPU at two addresses (one look where both are the same and it stopped).
fn examined(ips: &[u64], cpu: Cpu, walk: Translation) -> Examination {
    let last = ips[ips.len() - 1];
    let look =
        |(number, ip): (usize, &u64)| Timed { ms: number as u64, what: vec![Cpu { ip: *ip, ..cpu.clone() }] };
    Examination {
        status: Some("running".into()),
        looks: ips.iter().enumerate().map(look).collect(),
        ips: vec![Ip {
            address: last,
            code: Some(Code { start: last, bytes: HexBytes(vec![0xf4; 48]) }),
            walk: PageWalk { entries: Vec::new(), end: walk },
            symbol: None,
        }],
        missing: Vec::new(),
    }
}

fn flat(physical: u64) -> Translation {
    Translation::Mapped { physical, paging: false }
}

/// Bug: what a CPU does is told by one look, so that a loop seems to stand still; or its interrupts are those of another state.
#[test]
fn what_a_cpu_does_is_told_by_two_looks() {
    let hung = Outcome::Hung {
        at: Phase::Panicking,
        proof: HangProof::Silence { seconds: 45 },
        cause: HangCause::Unknown,
    };
    for (ips, flags, halted, doing) in [
        (&[0x8aff_d030, 0x8aff_d030][..], 2, true, "halted with interrupts off"),
        (&[0x8aff_d030, 0x8aff_d030], 0x202, true, "idles, waiting for interrupts,"),
        (&[0x8aff_d030, 0x8aff_d030], 0x202, false, "stands with interrupts on"),
        (&[0x8aff_d000, 0x8aff_d030], 2, false, "loops with interrupts off"),
        (&[0x8aff_d000, 0x8aff_d030], 0x202, false, "loops with interrupts on"),
    ] {
        let evidence = Evidence {
            reports: vec![loaded(PLAN, ExitKind::Exited { status: 0 })],
            triggered_ms: Some(2),
            console_at_trigger: Some(0),
            examined: Some(examined(ips, Cpu { flags, halted, ..Cpu::default() }, flat(0x8aff_d030))),
            ..Evidence::default()
        };
        assert_eq!(
            said(&evidence, &hung),
            format!("the CPU {doing} in the purgatory at +0x30, before a capture kernel's first word")
        );
    }
}

/// Bug: a triple fault is told as a reboot, or placed by the registers of a machine that had been reset.
#[test]
fn a_triple_fault_is_placed_where_the_machine_stopped() {
    let reset = Outcome::Reset { at: Phase::Panicking, reason: "SHUTDOWN with reason guest-reset".into() };
    let log = CpuLog {
        triple_fault: true,
        exceptions: vec![
            Exception { vector: 6, error: 0, address: 0x1, access: None },
            Exception { vector: 13, error: 0x10, address: 0x8aff_d030, access: None },
            Exception { vector: 8, error: 0, address: 0x8aff_d030, access: None },
        ],
    };
    let stopped = |walk| Evidence {
        reports: vec![loaded(PLAN, ExitKind::Exited { status: 0 })],
        triggered_ms: Some(2),
        console_at_trigger: Some(0),
        examined: Some(examined(&[0x8aff_d030], Cpu::default(), walk)),
        cpu_log: log.clone(),
        ..Evidence::default()
    };
    assert_eq!(
        said(&stopped(flat(0x8aff_d030)), &reset),
        "triple fault in the purgatory at +0x30; it began with a general protection fault (vector 13, error 0x10) \
         at 0x8affd030"
    );
    let nowhere = Evidence {
        cpu_log: CpuLog { exceptions: Vec::new(), ..log.clone() },
        ..stopped(Translation::NotPresent)
    };
    assert_eq!(said(&nowhere, &reset), "triple fault: a jump to 0x8affd030, where nothing is mapped");
    let event = QmpEvent { name: "SHUTDOWN".into(), data: serde_json::json!({"reason": "guest-reset"}) };
    let reboot = Evidence {
        cpu_log: CpuLog::default(),
        console: b"[    1.0] reboot: Restarting system\r\n".to_vec(),
        events: vec![Timed { ms: 3, what: event }],
        ..stopped(flat(0xf_ff00))
    };
    assert_eq!(
        said(&reboot, &reset),
        "the machine was reset, with its CPU in the firmware at 0xfff00; last line: '[    1.0] reboot: Restarting system'"
    );
    // Where QEMU saw no reset, the outcome's own words are what tells it.
    let again = Outcome::Reset { at: Phase::Panicking, reason: "the first kernel booted again".into() };
    let silent = Evidence { events: Vec::new(), examined: None, ..reboot };
    assert!(
        said(&silent, &again).starts_with("the first kernel booted again; whether by a fault was not seen")
    );
    // Without a look there is no place, and none is made up.
    let unseen = Evidence { examined: None, ..nowhere };
    assert_eq!(said(&unseen, &reset), "triple fault at a place that could not be seen");
}

/// Bug: a function is attributed to the kernel that is in the way, or a place in a kernel without symbols is lost.
#[test]
fn a_kernels_function_is_named_with_its_kernel() {
    let long_mode =
        Cpu { flags: 0x202, cs: Selector { selector: 0x10, base: 0, flags: 0x20_9b00 }, ..Cpu::default() };
    let mapped = Translation::Mapped { physical: 0x7c12_3456, paging: true };
    let mut seen = examined(&[0xffff_ffff_8112_3400, 0xffff_ffff_8112_3456], long_mode, mapped);
    let console = b"[    0.000000] Linux version 5.10\r\n[    1.0] half a li".to_vec();
    let mut evidence = Evidence {
        triggered_ms: Some(2),
        console_at_trigger: Some(0),
        console,
        examined: Some(seen.clone()),
        ..Evidence::default()
    };
    let hung = Outcome::Hung {
        at: Phase::Capture,
        proof: HangProof::Silence { seconds: 90 },
        cause: HangCause::Unknown,
    };
    assert_eq!(
        said(&evidence, &hung),
        "capture kernel loops with interrupts on in a function at 0xffffffff81123456 before userspace; last line: '[    1.0] half a li'"
    );
    // In the crash region it is the capture kernel though none has spoken.
    let ready = guest_protocol::KernelFacts {
        release: "5.10".into(),
        version: "#1".into(),
        machine: "x86_64".into(),
        userspace: guest_protocol::Arch::I386,
        cmdline: String::new(),
        cpus: 1,
        crash_regions: vec![PhysRange { start: 0x7b00_0000, end: 0x8aff_ffff }],
        system_ram: Vec::new(),
        five_levels: None,
        cpu: None,
        firmware_ram: None,
        kernel_code: None,
        crash_loaded: None,
    };
    let ready = Report { seq: 0, kernel: Side::First, message: Message::Ready(ready) };
    let silent =
        Evidence { console: Vec::new(), reports: vec![Timed { ms: 0, what: ready }], ..evidence.clone() };
    assert_eq!(
        said(&silent, &hung),
        "capture kernel loops with interrupts on in a function at 0xffffffff81123456, before its banner"
    );
    seen.ips[0].symbol =
        Some(Symbol { kernel: Side::Capture, name: "delay_tsc".into(), offset: 0x12, slide: 0 });
    evidence.examined = Some(seen);
    assert_eq!(
        said(&evidence, &hung),
        "capture kernel loops with interrupts on in delay_tsc+0x12 before userspace; last line: '[    1.0] half a li'"
    );
}

/// Bug: where nothing is known, nothing is said; or the last, unfinished line is lost.
#[test]
fn where_nothing_is_known_what_was_awaited_is_said() {
    let evidence = Evidence {
        phases: vec![Timed { ms: 0, what: Phase::Firmware }, Timed { ms: 9, what: Phase::FirstKernel }],
        console: b"Linux version 5.10\r\n[    0.5] Freeing".to_vec(),
        end: Some(GuestEnd::Deadline { phase: Phase::FirstKernel, seconds: 90 }),
        ..Evidence::default()
    };
    let outcome = crate::classify::classify(&testing::cell(), &evidence);
    assert_eq!(
        said(&evidence, &outcome),
        "the end of boot of the first kernel was awaited for 90 s; last phase reached: boot of the first kernel; last line: \
         '[    0.5] Freeing'"
    );
}

/// Bug: an outcome has no sentence, or one that spans lines.
#[test]
fn every_outcome_has_one_line() {
    let text = || "one\ntwo".to_owned();
    let outcomes = [
        Outcome::captured(VmcoreState::Verified),
        Outcome::captured(VmcoreState::Wrong { why: text() }),
        Outcome::captured(VmcoreState::Absent { why: text() }),
        Outcome::Refused { by: crate::outcome::Refuser::Loader, message: text() },
        Outcome::LoadFailed { how: LoadFailure::TimedOut, stderr: text() },
        Outcome::LoadFailed { how: LoadFailure::Killed { signal: 11 }, stderr: text() },
        Outcome::Hung {
            at: Phase::Capture,
            proof: HangProof::Silence { seconds: 1 },
            cause: HangCause::DestinationTooLarge,
        },
        Outcome::Hung {
            at: Phase::Panicking,
            proof: HangProof::EndOfPanic { line: text() },
            cause: HangCause::NothingTookOver,
        },
        Outcome::Hung {
            at: Phase::Panicking,
            proof: HangProof::EndOfPanic { line: text() },
            cause: HangCause::FaultInPanicPath,
        },
        Outcome::CapturePanicked { line: text() },
        Outcome::StoppedByPurgatory {
            line: text(),
            segment: None,
            end: Some(crate::outcome::PurgatoryEnd::Halted { ip: 1 }),
        },
        Outcome::Reset { at: Phase::Panicking, reason: text() },
        Outcome::NotPanicked { seen: text() },
        Outcome::Unreserved { why: text() },
        Outcome::NoFirstKernel { at: Phase::Firmware, why: text() },
        Outcome::RigError { what: text() },
    ];
    for outcome in outcomes {
        let sentence = said(&Evidence::default(), &outcome);
        assert!(!sentence.is_empty() && !sentence.contains('\n'), "{outcome:?}: {sentence:?}");
    }
}

/// Bug: who killed QEMU is told in the words of a rig error, which hide the signal.
#[test]
fn a_killed_qemu_is_told_with_its_signal_and_phase() {
    let evidence = Evidence {
        phases: vec![Timed { ms: 0, what: Phase::Capture }],
        qemu_exit: Some(QemuExit::Signal { signal: 9 }),
        ..Evidence::default()
    };
    let outcome = Outcome::RigError { what: "QEMU (pid 7) ended".into() };
    assert_eq!(
        said(&evidence, &outcome),
        "QEMU was killed by SIGKILL (signal 9) during boot of the capture kernel"
    );
}

/// Bug: what the rig saw stands in quotes, as if the guest had said it; or a line of the guest stands without.
#[test]
fn only_what_a_guest_said_is_in_quotes() {
    let line = "[    3.0] Dazed and confused, but trying to continue";
    let console = format!("{line}\r\n").into_bytes();
    let dazed = Evidence { console, ..Evidence::default() };
    for (evidence, seen, told) in [
        (&dazed, line, "'[    3.0] Dazed and confused, but trying to continue'"),
        (&Evidence::default(), "its CPUs idle", "its CPUs idle"),
    ] {
        let outcome = Outcome::NotPanicked { seen: seen.to_owned() };
        assert_eq!(said(evidence, &outcome), format!("first kernel did not panic at the trigger: {told}"));
    }
}
