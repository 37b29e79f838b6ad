//! What follows the trigger where no capture kernel's agent comes up.

use super::*;

const STUB: u64 = 0x7b69_bb4e;

fn i386() -> Cell {
    cell(Arch::I386, Arch::I386)
}

fn to_i386() -> Life {
    Life::of(cell(Arch::X86_64, Arch::I386)).triggered().console(9100, NMI_PANIC)
}

#[test]
fn a_decompressor_that_refuses_its_place_is_a_hang_with_that_cause() {
    let life = to_i386().console(9800, DECOMPRESSOR_REFUSES).sample(10_000, &[dead(STUB)]);
    assert!(!life.is_concluded(), "one sample proves nothing");
    let life = life.sample(10_500, &[dead(STUB)]);
    assert!(life.is_concluded());
    assert_eq!(
        life.outcome(),
        Outcome::Hung {
            at: Phase::Decompression,
            proof: HangProof::AllHaltedIrqsOff { ip: STUB },
            cause: HangCause::DestinationTooLarge
        }
    );
}

#[test]
fn dead_cpus_are_proven_only_by_all_of_them_in_the_same_place_for_long_enough() {
    // Each of these was or will be alive: a proof out of them would end a guest that is about to capture.
    let samples: [&[(u64, &[CpuState])]; 7] = [
        &[(10_000, &[dead(STUB)])],
        &[(10_000, &[dead(STUB)]), (10_050, &[dead(STUB)])],
        &[(10_000, &[dead(STUB)]), (10_500, &[dead(STUB + 1)])],
        &[(10_000, &[dead(STUB)]), (10_500, &[idle(STUB)])],
        &[(10_000, &[dead(STUB)]), (10_500, &[running(STUB)]), (10_550, &[dead(STUB)])],
        &[(8_000, &[dead(STUB)]), (9_050, &[dead(STUB)])],
        &[(10_000, &[]), (10_500, &[])],
    ];
    for samples in samples {
        let life = samples.iter().fold(to_i386(), |life, (ms, cpus)| life.sample(*ms, cpus));
        assert!(!life.is_concluded(), "{samples:?}");
    }
    // A sample that lacks a CPU, or shows the other one alive.
    let mut two = amd64();
    two.platform.cpus = NonZeroU32::new(2).unwrap();
    for cpus in [&[dead(1)][..], &[dead(1), running(2)]] {
        let life = Life::of(two.clone()).triggered().sample(10_000, cpus).sample(11_000, cpus);
        assert!(!life.is_concluded(), "{cpus:?}");
    }
    let both = [dead(1), dead(2)];
    assert!(Life::of(two).triggered().sample(10_000, &both).sample(11_000, &both).is_concluded());
}

#[test]
fn a_fault_in_the_panic_path_is_told_from_a_plain_end_of_panic() {
    let hung = |life: &Life| match life.outcome() {
        Outcome::Hung { at, proof, cause } => (at, proof, cause),
        other => panic!("{other:?}"),
    };
    let faulted = Life::of(i386())
        .triggered()
        .console(9100, NMI_PANIC)
        .console(9200, FAULT)
        .sample(10_000, &[running(5)]);
    assert!(!faulted.is_concluded(), "0.8 s after the last word, more may come");
    let faulted = faulted.sample(11_200, &[running(6)]);
    assert!(faulted.is_concluded());
    let (at, proof, cause) = hung(&faulted);
    assert_eq!((at, cause), (Phase::Purgatory, HangCause::FaultInPanicPath));
    assert!(matches!(proof, HangProof::EndOfPanic { line } if line.contains("Fatal exception in interrupt")));

    let plain = Life::of(i386())
        .triggered()
        .console(9100, NMI_PANIC)
        .console(9200, END_OF_PANIC)
        .sample(11_200, &[running(5)]);
    assert!(plain.is_concluded());
    assert_eq!(hung(&plain).2, HangCause::NothingTookOver);

    // Linux 5.10's end marker is lost where the second panic comes out of an NMI: its panic line must do.
    let unmarked = FAULT.split("[    9.044103]").next().unwrap();
    let unmarked = Life::of(i386())
        .triggered()
        .console(9100, NMI_PANIC)
        .console(9200, unmarked)
        .sample(11_200, &[running(6)]);
    assert!(unmarked.is_concluded());
    assert_eq!(hung(&unmarked).2, HangCause::FaultInPanicPath);
    // One panic line alone proves nothing: the jump to the capture kernel comes after it.
    let jumping = Life::of(i386()).triggered().console(9100, NMI_PANIC).sample(11_200, &[running(6)]);
    assert!(!jumping.is_concluded());

    // A fault without the panic's end is a hang that nothing explains yet: it may still go on.
    let cut = FAULT.split("[    9.043015]").next().unwrap();
    let open = Life::of(i386())
        .triggered()
        .console(9100, NMI_PANIC)
        .console(9200, cut)
        .sample(12_000, &[running(5)]);
    assert!(!open.is_concluded());
    let (_, proof, cause) = hung(&open.deadline(Phase::Panicking));
    assert!(matches!(proof, HangProof::Silence { .. }), "{proof:?}");
    assert_eq!(cause, HangCause::FaultInPanicPath, "the cause is seen, only the hang is not proven");
}

#[test]
fn a_fault_before_the_panic_is_not_a_fault_in_the_panic_path() {
    // With another trigger the panic itself may be a fault's consequence.
    let before = FAULT.split("[    9.043015]").next().unwrap();
    let life = Life::of(i386())
        .triggered()
        .console(9050, before)
        .console(9100, NMI_PANIC)
        .console(9200, END_OF_PANIC)
        .sample(11_200, &[running(5)]);
    assert!(matches!(life.outcome(), Outcome::Hung { cause: HangCause::NothingTookOver, .. }));
}

#[test]
fn text_before_the_trigger_proves_nothing() {
    let life = Life::of(i386()).console(500, FAULT).triggered().sample(12_000, &[running(1)]);
    assert!(!life.is_concluded());
    assert!(matches!(
        life.deadline(Phase::Panicking).outcome(),
        Outcome::Hung { proof: HangProof::Silence { .. }, .. }
    ));
}

#[test]
fn the_capture_kernels_panic_is_told_from_the_first_ones() {
    let capture_panic =
        "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n";
    let life = Life::of(amd64()).triggered().console(9100, NMI_PANIC).console(9900, CAPTURE_BOOTS);
    assert!(!life.is_concluded());
    assert!(matches!(
        life.clone().deadline(Phase::Capture).outcome(),
        Outcome::Hung { at: Phase::Capture, .. }
    ));
    let life = life.console(11_000, capture_panic);
    assert!(!life.is_concluded(), "its trace is worth waiting for");
    let expected = |outcome| matches!(outcome, Outcome::CapturePanicked { line } if line.contains("Unable to mount root"));
    assert!(expected(life.outcome()));
    let ended = life
        .clone()
        .console(11_100, "[    1.3] ---[ end Kernel panic - not syncing: VFS: Unable to mount ]---\r\n");
    assert!(ended.is_concluded());
    // With panic=1 on its command line it resets the machine, and it is still the panic that tells why.
    let reset = life.event(12_500, "SHUTDOWN", "guest-reset").ends(GuestEnd::ByItself);
    assert!(reset.is_concluded() && expected(reset.outcome()));
}

#[test]
fn resets_are_told_with_reason_and_phase() {
    let early = Life::of(amd64()).triggered().console(9100, NMI_PANIC).event(9300, "SHUTDOWN", "guest-reset");
    let Outcome::Reset { at, reason } = early.outcome() else { panic!("{:?}", early.outcome()) };
    assert_eq!(at, Phase::Purgatory);
    assert!(reason.contains("guest-reset"));
    assert!(early.is_concluded());
    let late =
        Life::of(amd64()).triggered().console(9900, CAPTURE_BOOTS).event(10_300, "RESET", "guest-reset");
    assert!(matches!(late.outcome(), Outcome::Reset { at: Phase::Capture, .. }));
    // The first kernel's second life must not be taken for a capture.
    let again = Life::of(amd64()).triggered();
    let facts = first_facts(&again.cell);
    let again = again.says(20_000, Side::First, Message::Ready(facts));
    assert!(matches!(again.outcome(), Outcome::Reset { .. }), "{:?}", again.outcome());
    // The rig's own quit is no reset.
    let quit =
        Life::of(amd64()).triggered().event(9300, "SHUTDOWN", "host-qmp-quit").ends(GuestEnd::ByItself);
    rig_error(&quit.outcome());
}

#[test]
fn a_trigger_without_effect_is_not_a_hang() {
    let dazed = "[    9.0] Uhhuh. NMI received for unknown reason 30 on CPU 0.\r\n[    9.0] Dazed and confused, but trying to continue\r\n";
    let life = Life::of(amd64()).triggered().console(9100, dazed).sample(11_500, &[idle(1)]);
    assert!(life.is_concluded());
    assert!(matches!(life.outcome(), Outcome::NotPanicked { seen } if seen.contains("Dazed")));
    let mut lost = Life::of(amd64()).triggered().sample(12_000, &[idle(1)]);
    lost.evidence.last_console_ms = Some(8000);
    assert!(!lost.is_concluded(), "an NMI may be late on a busy host");
    assert!(matches!(lost.deadline(Phase::Panicking).outcome(), Outcome::NotPanicked { .. }));
    let chatty = || {
        Life::of(amd64()).triggered().console(9500, "[    9.4] clocksource: Switched to clocksource tsc\r\n")
    };
    let idles = chatty().sample(12_000, &[idle(1)]).deadline(Phase::Panicking);
    assert!(matches!(idles.outcome(), Outcome::NotPanicked { .. }), "{:?}", idles.outcome());
    // One that has said that it faulted, or that spins, may be anything.
    let faulted = chatty().console(9600, FAULT).sample(12_000, &[idle(1)]).deadline(Phase::Panicking);
    let spins = chatty().sample(12_000, &[running(1)]).deadline(Phase::Panicking);
    for life in [faulted, spins] {
        assert!(matches!(life.outcome(), Outcome::Hung { .. }), "{:?}", life.outcome());
    }
}

/// A capture kernel checks its timer by a few milliseconds of busy waiting, in which a starved QEMU may not run at all.
#[test]
fn a_timer_that_a_starved_host_kept_away_is_no_failure_of_the_jump() {
    let panic =
        "[    0.2] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug\r\n";
    let mut life = Life::of(amd64()).triggered().console(9900, CAPTURE_BOOTS).console(9950, panic);
    assert!(matches!(life.outcome(), Outcome::CapturePanicked { .. }), "{:?}", life.outcome());
    life.evidence.waits.push(PhaseWait { phase: Phase::FirstKernel, ms: 9000 });
    assert!(matches!(life.outcome(), Outcome::CapturePanicked { .. }), "that was long before");
    life.evidence.waits.push(PhaseWait { phase: Phase::Capture, ms: 1500 });
    rig_error(&life.outcome());
    // Any other panic has its own cause.
    let mut other = life;
    let console = String::from_utf8_lossy(&other.evidence.console).into_owned();
    other.evidence.console = console.replace("IO-APIC + timer doesn't work", "Out of memory").into_bytes();
    assert!(matches!(other.outcome(), Outcome::CapturePanicked { .. }), "{:?}", other.outcome());
}
