//! The capture kernel's agent is up: what its vmcore is worth.

use super::*;
use crate::outcome::{AcpiWord, ExpectedTold, VmcoreState};
use guest_protocol::{ReaderReport, Told};

fn captured(cell: Cell, change: impl FnOnce(&mut Vmcore)) -> Outcome {
    let mut vmcore = vmcore(&cell);
    change(&mut vmcore);
    up(cell).reads(VmcoreReport::Present(vmcore)).done().outcome()
}

fn up(cell: Cell) -> Life {
    Life::of(cell).triggered().console(9100, NMI_PANIC).console(9900, CAPTURE_BOOTS).up()
}

#[test]
fn a_right_vmcore_is_verified_for_every_pair_that_can_read_it() {
    for (first, capture) in
        [(Arch::X86_64, Arch::X86_64), (Arch::X86_64, Arch::I386), (Arch::I386, Arch::I386)]
    {
        let outcome = captured(cell(first, capture), |_| {});
        assert_eq!(outcome, Outcome::captured(VmcoreState::Verified), "{first} -> {capture}");
    }
    // An i386 kernel with RAM above 4 GiB has a 64-bit core.
    let outcome = captured(cell(Arch::I386, Arch::I386), |vmcore| vmcore.class_bits = 64);
    assert_eq!(outcome, Outcome::captured(VmcoreState::Verified));
    // An x86_64 capture kernel can read an i386 kernel's memory by headers of its own machine only.
    let outcome = captured(cell(Arch::I386, Arch::X86_64), |vmcore| {
        (vmcore.class_bits, vmcore.machine) = (64, 62);
    });
    assert_eq!(outcome, Outcome::captured(VmcoreState::Verified));
    // A kernel from before the ring buffer has its log elsewhere.
    let old = KernelFacts { release: "5.4.0".to_owned(), ..first_facts(&amd64()) };
    let core = Vmcore {
        osrelease: Some("5.4.0".to_owned()),
        uts_release: Ok("5.4.0".to_owned()),
        log: Err("VMCOREINFO has no SYMBOL(prb)".to_owned()),
        ..vmcore(&amd64())
    };
    let mut life = Life::of(amd64()).ready_with(old).loads(loaded());
    life = life.says(8600, Side::First, Message::Armed { planted: planted() });
    life.evidence.triggered_ms = Some(TRIGGERED_MS);
    let outcome = life.up().reads(VmcoreReport::Present(core)).done().outcome();
    assert_eq!(outcome, Outcome::captured(VmcoreState::Verified));
}

#[test]
fn what_the_capture_kernel_was_told_is_a_part_of_the_outcome() {
    // Bug: what is said after the vmcore is lost, or a message that came twice or too early is taken for a whole story.
    let told = Told { acpi_rsdp: 0xf_5ab0, ..Told::default() };
    let life = || up(amd64()).reads(VmcoreReport::Present(vmcore(&amd64())));
    let says = |life: Life| life.says(15_400, Side::Capture, Message::Told(told.clone()));
    let whole = says(life()).done().outcome();
    assert_eq!(
        whole,
        Outcome::Captured { vmcore: VmcoreState::Verified, told: Some(told.clone()), said: None }
    );
    for (odd, words) in [(says(says(life())), "`told` twice"), (says(up(amd64())), "came before `vmcore`")] {
        let outcome = odd.done().outcome();
        assert!(matches!(&outcome, Outcome::RigError { what } if what.contains(words)), "{outcome:?}");
    }
}

/// Bug: the rig's trouble behind the report on the vmcore makes a capture kernel that was told nothing, which no expectation of it
/// is met by: the loader is blamed.
#[test]
fn what_a_cell_asks_beside_the_vmcore_is_waited_for() {
    let told = ExpectedTold { acpi: Some(AcpiWord::Found), ..ExpectedTold::default() };
    let asks = |reader: &Cell| Cell {
        expected: Expectation::Captured {
            vmcore: ExpectedVmcore::Verified,
            told: told.clone(),
            message: Vec::new(),
        },
        ..reader.clone()
    };
    for cell in [asks(&amd64()), asks(&with_reader())] {
        let life = up(cell.clone()).reads(VmcoreReport::Present(vmcore(&cell)));
        assert!(!life.is_concluded());
        let lost = GuestEnd::Trouble { what: "qmp lost".to_owned() };
        let trouble = Message::Trouble { what: "read setup_data: EIO".to_owned() };
        for (life, words) in [
            (life.clone().ends(lost), "qmp lost"),
            (life.clone().ends(GuestEnd::Interrupted), "interrupted"),
            (life.clone().ends(GuestEnd::ByItself), "ended by itself"),
            (life.clone().deadline(Phase::Reading), "within 45 s not what"),
            (life.clone().says(15_550, Side::Capture, trouble).deadline(Phase::Reading), "setup_data: EIO"),
        ] {
            let outcome = life.outcome();
            assert!(rig_error(&outcome).contains(words), "{outcome:?}");
        }
        // What the guest did is no trouble of the rig.
        let panicked =
            life.clone().console(15_600, "[    2.1] Kernel panic - not syncing: Fatal exception\r\n");
        assert!(matches!(panicked.outcome(), Outcome::CapturePanicked { .. }));
        let reset = life.event(15_600, "SHUTDOWN", "guest-reset");
        assert!(matches!(reset.outcome(), Outcome::Reset { at: Phase::Reading, .. }));
    }
    // A vmcore that is wrong is the loader's, whatever came after it.
    let cell = asks(&amd64());
    let wrong = Vmcore { prstatus: 0, ..vmcore(&cell) };
    let life = up(cell).reads(VmcoreReport::Present(wrong)).deadline(Phase::Reading);
    let outcome = life.outcome();
    assert!(matches!(outcome, Outcome::Captured { vmcore: VmcoreState::Wrong { .. }, .. }), "{outcome:?}");
}

/// Bug: a loader that passes an option over is content, and so is the capture kernel.
#[test]
fn what_the_loader_was_asked_for_is_compared() {
    let cell = |options: &[&str]| Cell {
        loader_args: options.iter().map(|&option| option.to_owned()).collect(),
        ..cell(Arch::I386, Arch::I386)
    };
    let bits = |option: &str, bits| captured(cell(&[option]), |vmcore| vmcore.class_bits = bits);
    let verified = Outcome::captured(VmcoreState::Verified);
    let wrong = |outcome: Outcome| match outcome {
        Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(bits("--elf32-core-headers", 32), verified);
    assert_eq!(bits("--elf64-core-headers", 64), verified);
    assert!(wrong(bits("--elf64-core-headers", 32)).contains("it is 32-bit ELF, and --elf64"));
    assert!(wrong(bits("--elf32-core-headers", 64)).contains("it is 64-bit ELF, and --elf32"));
    let placed = |options: &[&str], stderr: &str| {
        let cell = cell(options);
        let core = vmcore(&cell);
        let mut life = Life::of(cell).ready().loads(LoadReport { stderr: stderr.to_owned(), ..loaded() });
        life = life.says(8600, Side::First, Message::Armed { planted: planted() });
        life.evidence.triggered_ms = Some(TRIGGERED_MS);
        life.up().reads(VmcoreReport::Present(core)).done().outcome()
    };
    let line = "kexec-load: segment: kernel 0x7c000000-0x7d000fff (0x1001000 bytes)\n";
    assert_eq!(placed(&["--mem-min=0x7c000000", "--mem-max=0x7d000fff"], line), verified);
    for option in ["--mem-min=0x7c000001", "--mem-max=0x7d000ffe"] {
        assert!(wrong(placed(&[option], line)).contains("allows lie: kernel 0x7c000000-0x7d000fff"));
        assert!(rig_error(&placed(&[option], "")).contains("no segment"));
    }
}

#[test]
fn everything_wrong_with_a_vmcore_is_told() {
    // Each of these is a vmcore that a check of the file's presence alone would pass.
    type Change = fn(&mut Vmcore);
    let changes: [(&str, Change); 17] = [
        ("nonce 1 at 0x123456000 is 0000000000000000…, planted was a1a1a1a1a1a1a1a1…", |vmcore| {
            vmcore.reads[1].found = Found::Bytes(HexBytes(vec![0; 64]));
        }),
        ("nonce 0 at 0x12345000 is a0a0, planted", |vmcore| {
            vmcore.reads[0].found = Found::Bytes(HexBytes(vec![0xa0; 2]))
        }),
        ("no PT_LOAD covers nonce 1", |vmcore| vmcore.reads[1].found = Found::NotCovered),
        ("reading nonce 0 at 0x12345000 failed: EFAULT", |vmcore| vmcore.reads[0].found = Found::Failed(14)),
        ("0 NT_PRSTATUS notes", |vmcore| vmcore.prstatus = 0),
        ("VMCOREINFO is of kernel 6.1.0-50", |vmcore| vmcore.osrelease = Some("6.1.0-50".to_owned())),
        ("no OSRELEASE", |vmcore| vmcore.osrelease = None),
        ("ELF machine is 3", |vmcore| vmcore.machine = 3),
        ("32-bit ELF", |vmcore| vmcore.class_bits = 32),
        ("has the virtual address 0x100000, which the first kernel maps to nothing", |vmcore| {
            vmcore.loads[0].virtual_ = 0x10_0000;
            vmcore.mappings = Ok(vec![Mapping { first: None, last: None }]);
        }),
        ("of its 1 PT_LOADs the agent followed the addresses of 0", |vmcore| vmcore.mappings = Ok(vec![])),
        ("page tables cannot be walked: no PT_LOAD", |vmcore| {
            vmcore.mappings = Err("no PT_LOAD has the 1 bytes".to_owned());
        }),
        ("init_uts_ns, read through p_vaddr, is of kernel \"\"", |vmcore| {
            vmcore.uts_release = Ok(String::new());
        }),
        ("read the release", |vmcore| vmcore.uts_release = Err("read the release in init_uts_ns".to_owned())),
        ("log cannot be read: no PT_LOAD", |vmcore| vmcore.log = Err("no PT_LOAD has it".to_owned())),
        ("log (700 records) lacks the line \"kdump-rig: the log of this cell has 01", |vmcore| {
            vmcore.log =
                Ok(FirstLog { records: 700, tail: first_log().replace("of this cell", "of a cell") });
        }),
        ("lacks the panic, \"Kernel panic - not syncing: NMI: Not continuing\"", |vmcore| {
            vmcore.log = Ok(FirstLog { records: 700, tail: first_log().replace("Not cont", "Cont") });
        }),
    ];
    for (words, change) in changes {
        match captured(amd64(), change) {
            Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } => {
                assert!(why.contains(words), "{why}")
            }
            other => panic!("{words}: {other:?}"),
        }
    }
}

#[test]
fn a_kernel_outside_of_the_crash_region_is_no_capture_kernel() {
    let elsewhere = Some(PhysRange { start: 0x100_0000, end: 0x1e0_2000 });
    for kernel_code in [elsewhere, None] {
        let facts = KernelFacts { kernel_code, ..capture_facts(&amd64()) };
        let life = Life::of(amd64()).triggered().up_with(facts);
        // Without a vmcore nothing speaks for it: a reboot would look the same.
        let rebooted = life.clone().reads(VmcoreReport::Absent).done().outcome();
        assert!(matches!(rebooted, Outcome::Reset { at: Phase::Capture, .. }), "{rebooted:?}");
        let odd = life.reads(VmcoreReport::Present(vmcore(&amd64()))).done().outcome();
        assert!(matches!(odd, Outcome::Captured { vmcore: VmcoreState::Wrong { .. }, .. }), "{odd:?}");
    }
}

#[test]
fn the_low_companion_is_a_crash_region_too() {
    let mut cell = amd64();
    cell.reservation = Reservation::High { size: Mib(NonZeroU32::new(256).unwrap()) };
    let high = PhysRange { start: 0x1_3000_0000, end: 0x1_3fff_ffff };
    let ready = KernelFacts { crash_regions: vec![REGION, high], ..first_facts(&cell) };
    let core = vmcore(&cell);
    let mut given = capture_facts(&cell);
    given.system_ram.push(high);
    let mut life = Life::of(cell.clone()).ready_with(ready).loads(loaded());
    life = life.says(8600, Side::First, Message::Armed { planted: planted() });
    life.evidence.triggered_ms = Some(TRIGGERED_MS);
    let outcome = life.up_with(given).reads(VmcoreReport::Present(core)).done().outcome();
    assert_eq!(outcome, Outcome::captured(VmcoreState::Verified));
}

#[test]
fn an_absent_vmcore_is_told_with_the_kernels_own_reason() {
    let life = up(cell(Arch::I386, Arch::X86_64))
        .console(15_100, "[    1.0] Warning: Core image elf header is not sane\r\n");
    match life.reads(VmcoreReport::Absent).done().outcome() {
        Outcome::Captured { vmcore: VmcoreState::Absent { why }, .. } => {
            assert!(why.contains("not sane"), "{why}")
        }
        other => panic!("{other:?}"),
    }
    // Wrong addresses and silence pass for no pair at all.
    for (words, why) in [
        ("[    1.0] Warning: Core image elf header not found\r\n", "points to no core header"),
        ("[    1.0] nothing of interest\r\n", "does not say why"),
    ] {
        let life = up(cell(Arch::I386, Arch::X86_64)).console(15_100, words);
        let outcome = life.reads(VmcoreReport::Absent).done().outcome();
        let Outcome::Captured { vmcore: VmcoreState::Wrong { why: found }, .. } = &outcome else {
            panic!("{outcome:?}")
        };
        assert!(found.contains(why), "{found}");
    }
    // A loader that forgot elfcorehdr= must not pass for a pair that cannot have a vmcore.
    let facts = KernelFacts { cmdline: "kdump_rig=capture".to_owned(), ..capture_facts(&amd64()) };
    let forgotten = Life::of(amd64()).triggered().up_with(facts).reads(VmcoreReport::Absent).done().outcome();
    assert!(
        matches!(forgotten, Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } if why.contains("elfcorehdr="))
    );
}

/// Bug: what the capture kernel was given is looked at, and never counts.
#[test]
fn a_capture_kernel_that_was_given_too_little_is_wrong() {
    let given = capture_facts(&amd64());
    let short = KernelFacts { cmdline: given.cmdline.replace("nr_cpus=1", "nr_cpus="), ..given.clone() };
    let small = KernelFacts { system_ram: vec![PhysRange { start: 0x7b00_0000, end: 0x8afe_efff }], ..given };
    for (facts, words) in
        [(short, "command line does not have"), (small, "was not given 0x8afef000-0x8affffff")]
    {
        for report in [VmcoreReport::Present(vmcore(&amd64())), VmcoreReport::Absent] {
            let refused = "[    1.0] Warning: Core image elf header is not sane\r\n";
            let life = Life::of(amd64()).triggered().up_with(facts.clone()).console(15_100, refused);
            let outcome = life.reads(report).done().outcome();
            assert!(
                matches!(&outcome, Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } if why.contains(words)),
                "{outcome:?}"
            );
        }
    }
}

#[test]
fn what_the_rig_did_not_plant_or_read_is_its_own_error() {
    let mut nothing = up(amd64());
    nothing.evidence.plants.clear();
    rig_error(&nothing.reads(VmcoreReport::Present(vmcore(&amd64()))).done().outcome());
    rig_error(&captured(amd64(), |vmcore| vmcore.reads.truncate(1)));
    let mut unlogged = up(amd64());
    unlogged.evidence.log_line.clear();
    rig_error(&unlogged.reads(VmcoreReport::Present(vmcore(&amd64()))).done().outcome());
    let mut unplanted = up(amd64());
    unplanted.evidence.plants.push(Plant { id: 7, bytes: HexBytes(vec![1]), place: Place::Anywhere });
    rig_error(&unplanted.reads(VmcoreReport::Present(vmcore(&amd64()))).done().outcome());
    let facts = KernelFacts { machine: "i686".to_owned(), ..capture_facts(&amd64()) };
    rig_error(&Life::of(amd64()).triggered().up_with(facts).outcome());
}

#[test]
fn a_capture_is_concluded_by_done_and_stands_without_it() {
    let report = || VmcoreReport::Present(vmcore(&amd64()));
    let life = up(amd64());
    assert!(!life.is_concluded());
    let life = life.reads(report());
    assert!(!life.is_concluded(), "`done` follows at once");
    let verified = Outcome::captured(VmcoreState::Verified);
    assert_eq!(life.clone().ends(GuestEnd::Trouble { what: "qmp lost".to_owned() }).outcome(), verified);
    assert!(life.done().is_concluded());
}

#[test]
fn what_happens_while_the_vmcore_is_read_is_told_as_such() {
    let life = up(amd64());
    assert!(matches!(
        life.clone().deadline(Phase::Reading).outcome(),
        Outcome::Hung { at: Phase::Reading, .. }
    ));
    let reset = life.clone().event(15_200, "SHUTDOWN", "guest-reset");
    assert!(matches!(reset.outcome(), Outcome::Reset { at: Phase::Reading, .. }));
    let panicked = life.clone().console(15_200, "[    2.1] Kernel panic - not syncing: Fatal exception\r\n");
    assert!(matches!(panicked.outcome(), Outcome::CapturePanicked { .. }));
    let dead = life.sample(16_000, &[dead(7)]).sample(16_500, &[dead(7)]);
    assert!(matches!(
        dead.outcome(),
        Outcome::Hung { at: Phase::Reading, proof: HangProof::AllHaltedIrqsOff { ip: 7 }, .. }
    ));
}

fn with_reader() -> Cell {
    Cell { reader: Some("vmcore-dmesg@2.0.25".parse().unwrap()), ..amd64() }
}

fn read_well() -> ReaderReport {
    ReaderReport {
        exit: ExitKind::Exited { status: 0 },
        stdout: first_log(),
        stderr: String::new(),
        milliseconds: 300,
    }
}

/// Bug: the reader's failure, or its silence, passes because the agent is content.
#[test]
fn an_independent_reader_must_agree() {
    let read = |report| {
        up(with_reader())
            .reads(VmcoreReport::Present(vmcore(&amd64())))
            .says(15_550, Side::Capture, Message::Reader(report))
            .done()
            .outcome()
    };
    assert_eq!(read(read_well()), Outcome::captured(VmcoreState::Verified));
    let wrong = |report| match read(report) {
        Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } => why,
        other => panic!("{other:?}"),
    };
    let failed = ReaderReport {
        exit: ExitKind::Exited { status: 59 },
        stderr: "No program header covering vaddr 0x82a5 found kexec bug?\n".to_owned(),
        ..read_well()
    };
    assert_eq!(
        wrong(failed),
        "vmcore-dmesg@2.0.25 ended with status 59, saying: No program header covering vaddr 0x82a5 found kexec bug?"
    );
    let foreign = ReaderReport { stdout: first_log().replace("0123", "3210"), ..read_well() };
    assert!(wrong(foreign).starts_with("what vmcore-dmesg@2.0.25 reads of it lacks the line"));
    let silent = up(with_reader()).reads(VmcoreReport::Present(vmcore(&amd64()))).done().outcome();
    assert!(matches!(silent, Outcome::Captured { vmcore: VmcoreState::Wrong { .. }, .. }), "{silent:?}");
}

/// Bug: the guest is ended, or judged, while the reader still runs.
#[test]
fn the_reader_is_waited_for() {
    let life = up(with_reader()).reads(VmcoreReport::Present(vmcore(&amd64())));
    assert!(!life.is_concluded());
    let hung = life.clone().deadline(Phase::Reading).outcome();
    assert!(matches!(hung, Outcome::Hung { at: Phase::Reading, .. }), "{hung:?}");
    let trouble = life.says(15_550, Side::Capture, Message::Trouble { what: "fork: ENOMEM".to_owned() });
    let outcome = trouble.outcome();
    assert!(
        matches!(&outcome, Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } if why.contains("ENOMEM")),
        "{outcome:?}"
    );
    // Where there is no vmcore there is nothing to read.
    let absent = up(with_reader()).console(15_100, "Warning: Core image elf header is not sane\r\n");
    let absent = absent.reads(VmcoreReport::Absent).done();
    assert!(matches!(absent.outcome(), Outcome::Captured { vmcore: VmcoreState::Absent { .. }, .. }));
}
