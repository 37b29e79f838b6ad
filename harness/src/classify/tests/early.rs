//! From power-on to the report of the load.

use super::*;
use crate::cell::Hardware;
use crate::outcome::{LoadFailure, Refuser};
use guest_protocol::CpuIdentity;

#[test]
fn a_first_kernel_that_never_gets_ready_is_no_failure_of_the_loader() {
    let silent = Life::of(amd64()).deadline(Phase::FirstKernel);
    let Outcome::NoFirstKernel { why, .. } = silent.outcome() else { panic!("{:?}", silent.outcome()) };
    assert!(why.contains("45 s") && why.contains("Linux version 5.10.0-32"), "{why}");

    let panicked = Life::of(amd64()).console(900, NMI_PANIC);
    assert!(
        matches!(panicked.outcome(), Outcome::NoFirstKernel { why, .. } if why.contains("NMI: Not continuing"))
    );
    assert!(!panicked.is_concluded(), "the rest of the trace is worth waiting for");
    assert!(panicked.console(990, END_OF_PANIC).is_concluded());

    let reset = Life::of(amd64()).event(500, "SHUTDOWN", "guest-reset").ends(GuestEnd::ByItself);
    assert!(matches!(reset.outcome(), Outcome::NoFirstKernel { why, .. } if why.contains("guest-reset")));
}

#[test]
fn firmware_resets_do_not_count_as_resets_of_the_kernel() {
    // SeaBIOS and QEMU's own start both raise RESET.
    let life = Life::of(amd64()).event(5, "RESET", "guest-reset").triggered();
    assert!(!life.is_concluded());
    assert!(matches!(life.deadline(Phase::Panicking).outcome(), Outcome::Hung { .. }));
}

#[test]
fn trouble_of_rig_host_or_qemu_is_a_rig_error_at_every_step() {
    // A killed QEMU must not be counted against the loader.
    let trouble = || GuestEnd::Trouble { what: "qemu was killed by SIGKILL".to_owned() };
    let faulted =
        Life::of(cell(Arch::I386, Arch::I386)).triggered().console(9100, NMI_PANIC).console(9200, FAULT);
    assert_eq!(
        rig_error(&faulted.clone().ends(trouble()).outcome()),
        "qemu was killed by SIGKILL",
        "that nothing followed was not seen"
    );
    let steps: [Life; 6] = [
        Life::of(amd64()),
        Life::of(amd64()).ready(),
        Life::of(amd64()).armed(),
        Life::of(amd64()).triggered(),
        Life::of(amd64()).triggered().console(9100, NMI_PANIC).console(9900, CAPTURE_BOOTS),
        Life::of(amd64()).triggered().up(),
    ];
    for (number, step) in steps.into_iter().enumerate() {
        assert_eq!(
            rig_error(&step.clone().ends(trouble()).outcome()),
            "qemu was killed by SIGKILL",
            "step {number}"
        );
        assert!(rig_error(&step.clone().ends(GuestEnd::Interrupted).outcome()).contains("interrupted"));
        assert!(!step.is_concluded(), "step {number}");
        rig_error(&step.outcome());
    }
}

#[test]
fn a_region_other_than_the_one_asked_for_is_unreserved() {
    // A cell judged on another region than its own would prove nothing about its own.
    let region = |start: u64, mib: u64| PhysRange { start, end: start + (mib << 20) - 1 };
    let cases: [(&str, Arch, Vec<PhysRange>, bool); 10] = [
        ("256M@1968M", Arch::X86_64, vec![REGION], true),
        ("256M@1968M", Arch::X86_64, vec![], false),
        ("256M@1968M", Arch::X86_64, vec![region(0x7c00_0000, 256)], false),
        ("256M@1968M", Arch::X86_64, vec![region(0x7b00_0000, 255)], false),
        ("256M", Arch::X86_64, vec![region(0xaf00_0000, 256)], true),
        ("256M", Arch::X86_64, vec![region(0xaf00_0000, 128)], false),
        ("256M,high", Arch::X86_64, vec![region(0xaf00_0000, 256), region(0x1_3000_0000, 256)], true),
        ("256M,high", Arch::X86_64, vec![region(0xaf00_0000, 256)], false),
        ("256M,high", Arch::I386, vec![region(0x1000_0000, 256)], true),
        ("256M,high", Arch::I386, vec![], false),
    ];
    for (reservation, first, crash_regions, fits) in cases {
        let mut cell = cell(first, Arch::I386);
        cell.reservation = reservation.parse().unwrap();
        let facts = KernelFacts { crash_regions: crash_regions.clone(), ..first_facts(&cell) };
        let life = Life::of(cell).ready_with(facts);
        let unreserved = matches!(life.outcome(), Outcome::Unreserved { .. });
        assert_eq!(unreserved, !fits, "{reservation} on {first}: {crash_regions:?}");
        assert_eq!(life.is_concluded(), !fits, "{reservation} on {first}: {crash_regions:?}");
    }
}

#[test]
fn another_guest_than_the_cells_is_a_rig_error() {
    type Change = fn(&mut KernelFacts);
    let wrong: [(&str, Change); 4] = [
        ("machine", |facts| facts.machine = "i686".to_owned()),
        ("userspace", |facts| facts.userspace = Arch::X86_64),
        ("CPUs", |facts| facts.cpus = 2),
        ("was loaded before", |facts| facts.crash_loaded = Some(true)),
    ];
    for (word, change) in wrong {
        let mut facts = first_facts(&amd64());
        change(&mut facts);
        let outcome = Life::of(amd64()).ready_with(facts).outcome();
        assert!(rig_error(&outcome).contains(word), "{outcome:?}");
    }
}

#[test]
fn every_end_of_a_loader_has_its_name() {
    const REFUSAL: &str = "crash region 0x7b000000-0x8affffff lies above 0x37ffffff, the highest address an i386 capture kernel can run at";
    let status = |status| ExitKind::Exited { status };
    let failed = |how| Outcome::LoadFailed { how, stderr: String::new() };
    let refused = |by, message: &str| Outcome::Refused { by, message: message.to_owned() };
    let enomem = "kexec_load failed: Cannot allocate memory\n";
    let cases = [
        (status(1), false, REFUSAL, refused(Refuser::Loader, REFUSAL)),
        (status(1), false, enomem, refused(Refuser::Kernel { errno: 12 }, enomem)),
        (status(255), false, enomem, refused(Refuser::Kernel { errno: 12 }, enomem)),
        // Without a word it is no refusal: nobody could tell why.
        (status(1), false, "", failed(LoadFailure::Status { status: 1 })),
        (status(2), false, "", failed(LoadFailure::Status { status: 2 })),
        (status(0), false, "", failed(LoadFailure::NothingLoaded)),
        (status(1), true, "", failed(LoadFailure::LoadedAnyway { status: 1 })),
        (ExitKind::Signaled { signal: 11 }, false, "", failed(LoadFailure::Killed { signal: 11 })),
        (ExitKind::Signaled { signal: 11 }, true, "", failed(LoadFailure::Killed { signal: 11 })),
        (ExitKind::NotStarted { errno: 2 }, false, "", failed(LoadFailure::NotStarted { errno: 2 })),
        (ExitKind::TimedOut, false, "", failed(LoadFailure::TimedOut)),
    ];
    for (exit, crash_loaded, stderr, expected) in cases {
        let report = LoadReport { exit, crash_loaded, stderr: stderr.to_owned(), ..loaded() };
        let life = Life::of(amd64()).ready().loads(report);
        assert_eq!(life.outcome(), expected, "{exit:?}");
        assert!(life.is_concluded(), "{exit:?}: a guest whose load failed has nothing more to show");
        // It stands whatever ends the guest then.
        assert_eq!(life.ends(GuestEnd::Interrupted).outcome(), expected);
    }
    assert!(!Life::of(amd64()).ready().loads(loaded()).is_concluded());
}

/// Bug: cells for five levels of page tables pass with four, for QEMU's CPU or the kernel lost the fifth.
#[test]
fn five_levels_are_there_where_they_are_asked_for() {
    let mut cell = amd64();
    cell.platform.five_levels = true;
    let ready = |five_levels| {
        let facts = KernelFacts { five_levels, ..first_facts(&cell) };
        Life::of(cell.clone()).ready_with(facts)
    };
    assert!(!ready(Some(true)).is_concluded());
    for four in [Some(false), None] {
        assert!(rig_error(&ready(four).outcome()).contains("no la57"));
    }
}

/// Bug: a guest whose CPU or RAM is not that of the hardware it stands for is taken for it, and the matrix shows nothing of that
/// hardware; or a guest is blamed for what its firmware keeps.
#[test]
fn a_guest_is_the_hardware_that_it_stands_for() {
    let identity = CpuIdentity { vendor: "AuthenticAMD".into(), family: 22, model: 48, stepping: 1 };
    let mut cell = amd64();
    cell.platform.hardware = Some(Hardware { name: "steppe-eagle".into(), identity: identity.clone() });
    let memory = cell.platform.memory.bytes();
    let right = KernelFacts {
        cpu: Some(identity.clone()),
        firmware_ram: Some(memory - (512 << 10)),
        ..first_facts(&cell)
    };
    let ready = |facts: KernelFacts, cell: &Cell| Life::of(cell.clone()).ready_with(facts);
    assert!(!ready(right.clone(), &cell).is_concluded());
    let others = [
        CpuIdentity { vendor: "GenuineIntel".into(), ..identity.clone() },
        CpuIdentity { family: 21, ..identity.clone() },
        CpuIdentity { model: 0, ..identity.clone() },
        CpuIdentity { stepping: 0, ..identity },
    ];
    for other in others {
        let told =
            rig_error(&ready(KernelFacts { cpu: Some(other.clone()), ..right.clone() }, &cell).outcome())
                .to_owned();
        assert!(told.contains("stands for steppe-eagle") && told.contains(&other.to_string()), "{told}");
    }
    assert!(
        rig_error(&ready(KernelFacts { cpu: None, ..right.clone() }, &cell).outcome())
            .contains("does not say")
    );
    for ram in [Some(memory + 1), Some(memory - (3 << 20)), Some(memory / 2), None] {
        let facts = KernelFacts { firmware_ram: ram, ..right.clone() };
        assert!(rig_error(&ready(facts, &cell).outcome()).contains("is to have 4096M of RAM"), "{ram:?}");
    }
    // A UEFI keeps more, and QEMU's own machines stand for nothing.
    let small = KernelFacts { firmware_ram: Some(memory - (30 << 20)), ..right };
    let uefi = Platform { firmware: Firmware::Uefi, ..cell.platform.clone() };
    assert!(!ready(small, &Cell { platform: uefi, ..cell.clone() }).is_concluded());
    assert!(!ready(first_facts(&amd64()), &amd64()).is_concluded());
}

/// Bug: a loader whose every load fails passes where only the second one is to.
#[test]
fn a_reload_that_fails_follows_on_a_load() {
    let cell = || Cell { circumstances: Circumstances::ReloadFails, ..amd64() };
    let load = |loaded_before| {
        let stderr = "kexec-load: kexec_load: EADDRNOTAVAIL (99): x\n".to_owned();
        let exit = ExitKind::Exited { status: 1 };
        let report = LoadReport { exit, stderr, crash_loaded: false, loaded_before, ..loaded() };
        Life::of(cell()).ready().loads(report).outcome()
    };
    assert!(matches!(load(Some(true)), Outcome::Refused { by: Refuser::Kernel { errno: 99 }, .. }));
    for none in [Some(false), None] {
        assert!(rig_error(&load(none)).contains("did not leave an image"));
    }
}

/// Bug: a loader that refuses at once is no verdict where it was to load twice; or one run passes for two.
#[test]
fn a_reload_is_judged_by_its_last_run() {
    let load = |loaded_before, status| {
        let report = LoadReport {
            exit: ExitKind::Exited { status },
            stderr: "kexec-load: crash region 0x1-0x2 lies above\n".to_owned(),
            crash_loaded: status == 0,
            loaded_before,
            ..loaded()
        };
        let cell = Cell { circumstances: Circumstances::Reload, ..amd64() };
        Life::of(cell).ready().loads(report).outcome()
    };
    assert!(matches!(load(Some(false), 1), Outcome::Refused { by: Refuser::Loader, .. }));
    assert!(rig_error(&load(None, 0)).contains("once in place of twice"));
    assert!(!matches!(load(Some(true), 1), Outcome::RigError { .. }));
}

#[test]
fn a_load_that_takes_the_kernel_down_is_named() {
    let reset = Life::of(amd64()).ready().event(8300, "SHUTDOWN", "guest-reset");
    assert!(matches!(reset.outcome(), Outcome::Reset { at: Phase::Loading, .. }));
    let silent = Life::of(amd64()).ready().deadline(Phase::Loading);
    assert!(matches!(
        silent.outcome(),
        Outcome::Hung { at: Phase::Loading, proof: HangProof::Silence { .. }, .. }
    ));
    let unarmed = Life::of(amd64()).ready().loads(loaded()).deadline(Phase::Loading);
    rig_error(&unarmed.outcome());
}

#[test]
fn a_channel_that_lost_or_mixed_messages_carries_no_verdict() {
    let facts = || first_facts(&amd64());
    let cases = [
        (Life::of(amd64()).ready().ready(), "twice"),
        (Life::of(amd64()).ready().loads(loaded()).loads(loaded()), "twice"),
        (Life::of(amd64()).loads(loaded()), "before `ready`"),
        (
            Life::of(amd64()).ready().says(8600, Side::First, Message::Armed { planted: planted() }),
            "before `loaded`",
        ),
        (Life::of(amd64()).ready().up(), "before `armed`"),
        (Life::of(amd64()).armed().up(), "had not been triggered"),
        (Life::of(amd64()).triggered().reads(VmcoreReport::Absent), "before `up`"),
        (Life::of(amd64()).triggered().up().done(), "before `vmcore`"),
        (Life::of(amd64()).triggered().up().reads(VmcoreReport::Absent).reads(VmcoreReport::Absent), "twice"),
        (Life::of(amd64()).says(10, Side::Capture, Message::Ready(facts())), "not its message"),
        (Life::of(amd64()).triggered().says(9500, Side::First, Message::Up(facts())), "not its message"),
    ];
    for (life, words) in cases {
        let what = rig_error(&life.outcome()).to_owned();
        assert!(what.contains(words), "{what}");
        assert!(life.is_concluded(), "{what}");
    }
    let mut lost = Life::of(amd64()).ready();
    lost.evidence
        .foreign_lines
        .push(Timed { ms: 8400, what: "{\"seq\":1,\"ker[    8.1] random: crng".to_owned() });
    lost.evidence.reports.push(Timed {
        ms: 8600,
        what: Report { seq: 2, kernel: Side::First, message: Message::Armed { planted: planted() } },
    });
    let what = rig_error(&lost.outcome()).to_owned();
    assert!(what.contains("message 1 is missing") && what.contains("crng"), "{what}");
}

/// Bug: an agent whose message was damaged, and which is silent since, is a loader that hangs.
#[test]
fn silence_on_a_damaged_channel_proves_nothing() {
    let silent = Life::of(amd64()).ready().ends(GuestEnd::Deadline { phase: Phase::Loading, seconds: 60 });
    assert!(matches!(silent.outcome(), Outcome::Hung { .. }), "{:?}", silent.outcome());
    let mut damaged = silent;
    damaged.evidence.foreign_lines.push(Timed { ms: 8400, what: "{\"seq\":1,\"ker".to_owned() });
    let what = rig_error(&damaged.outcome()).to_owned();
    assert!(what.contains("no message came within 60 s") && what.contains("ker"), "{what}");
    // What a shared boot left there is no excuse for all the cells that began from it.
    damaged.evidence.phases =
        [(0, Phase::Firmware), (8500, Phase::Loading)].map(|(ms, what)| Timed { ms, what }).to_vec();
    assert!(matches!(damaged.outcome(), Outcome::Hung { .. }), "{:?}", damaged.outcome());
    // After the trigger it is `up` that may be lost.
    let mut panicked = Life::of(amd64()).triggered().console(9100, NMI_PANIC).deadline(Phase::Capture);
    assert!(matches!(panicked.outcome(), Outcome::Hung { .. }));
    panicked.evidence.phases.push(Timed { ms: TRIGGERED_MS, what: Phase::Panicking });
    panicked.evidence.foreign_lines.push(Timed { ms: TRIGGERED_MS + 500, what: "{\"seq\":0,".to_owned() });
    rig_error(&panicked.outcome());
}

/// *Ready* may come in the moment in which its deadline ends the guest: nothing was ordered then, and no loader is to blame.
#[test]
fn a_ready_that_comes_too_late_is_no_failure_of_the_loader() {
    for phase in [Phase::FirstKernel, Phase::Ready] {
        let late = Life::of(amd64()).ready().ends(GuestEnd::Deadline { phase, seconds: 90 });
        let outcome = late.outcome();
        assert!(
            matches!(&outcome, Outcome::NoFirstKernel { why, .. } if why.contains("90 s")),
            "{outcome:?}"
        );
    }
}

/// A loader's time goes by while its guest has no CPU.
#[test]
fn a_loader_without_a_cpu_has_not_looped() {
    let report = || LoadReport { exit: ExitKind::TimedOut, milliseconds: 45_000, ..loaded() };
    let with_wait = |phase, ms| {
        let mut life = Life::of(amd64()).ready().loads(report());
        life.evidence.waits.push(PhaseWait { phase, ms });
        life.outcome()
    };
    rig_error(&with_wait(Phase::Loading, 30_000));
    for looped in [with_wait(Phase::Loading, 5_000), with_wait(Phase::FirstKernel, 30_000)] {
        assert!(matches!(looped, Outcome::LoadFailed { how: LoadFailure::TimedOut, .. }), "{looped:?}");
    }
}

#[test]
fn a_trigger_at_the_wrong_time_is_a_rig_error() {
    let mut early = Life::of(amd64()).armed();
    early.evidence.triggered_ms = Some(8550);
    assert!(rig_error(&early.outcome()).contains("before `armed`"));
    let mut unarmed = Life::of(amd64()).ready();
    unarmed.evidence.triggered_ms = Some(9000);
    assert!(rig_error(&unarmed.outcome()).contains("not armed"));
}

#[test]
fn the_agents_trouble_is_the_rigs() {
    let trouble = || Message::Trouble { what: "mlock: ENOMEM".to_owned() };
    for life in [
        Life::of(amd64()).says(10, Side::First, trouble()),
        Life::of(amd64()).ready().says(8100, Side::First, trouble()),
        Life::of(amd64()).ready().loads(loaded()).says(8600, Side::First, trouble()),
        Life::of(amd64()).triggered().says(15_100, Side::Capture, trouble()),
    ] {
        assert!(rig_error(&life.outcome()).contains("mlock: ENOMEM"));
    }
    // Once the capture kernel is up, its agent's trouble may come of what the loader gave it.
    let up = Life::of(amd64()).triggered().up();
    for life in [up.clone().says(15_100, Side::Capture, trouble()), up.ends(GuestEnd::ByItself)] {
        let outcome = life.outcome();
        assert!(
            matches!(outcome, Outcome::Captured { vmcore: crate::outcome::VmcoreState::Wrong { .. }, .. }),
            "{outcome:?}"
        );
    }
}

/// Bug: what a kernel was built without is a verdict on the loader, or is told without option and kernel.
#[test]
fn what_a_kernel_lacks_is_no_loaders_fault() {
    let lacks =
        |option: &str| Message::Lacks { option: option.to_owned(), seen: "there is no /proc/x".to_owned() };
    for (life, kernel) in [
        (Life::of(amd64()).says(10, Side::First, lacks("CONFIG_KEXEC")), "the first kernel, "),
        (Life::of(amd64()).ready().says(8100, Side::First, lacks("CONFIG_KEXEC")), "the first kernel, "),
        (
            Life::of(amd64()).triggered().up().says(15_100, Side::Capture, lacks("CONFIG_KEXEC")),
            "the capture kernel, ",
        ),
    ] {
        let outcome = life.outcome();
        let what = rig_error(&outcome);
        assert!(
            what.contains(kernel) && what.contains("without CONFIG_KEXEC: there is no /proc/x"),
            "{what}"
        );
    }
}

/// Bug: a kernel that cannot run i386 programs is a capture kernel that panics, for which the loader is blamed.
#[test]
fn a_kernel_without_i386_programs_is_no_loaders_fault() {
    let refused = "[    2.1] Failed to execute /init (error -8)\r\n[    2.2] Kernel panic - not syncing: No working init found.\r\n";
    let i386 = || Cell { userspace: Arch::I386, ..amd64() };
    for (life, kernel) in [
        (Life::of(i386()).console(2200, refused), "the first kernel, "),
        (Life::of(i386()).triggered().console(15_000, refused), "the capture kernel, "),
    ] {
        let outcome = life.outcome();
        let what = rig_error(&outcome);
        assert!(what.contains(kernel) && what.contains("CONFIG_IA32_EMULATION"), "{what}");
    }
    let native = Life::of(Cell { userspace: Arch::X86_64, ..amd64() }).console(2200, refused).outcome();
    assert!(matches!(native, Outcome::NoFirstKernel { .. }), "{native:?}");
}
