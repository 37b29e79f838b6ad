//! Evidence of real cells, judged again: what hand-made evidence cannot have is the ways in which real machines differ from it.

use guest_protocol::{Arch, Circumstances};
use harness::cell::{Cell, CellId, Firmware, FirstBoot, Kernel, Loader, Platform, Trigger};
use harness::classify::{classify, conclude};
use harness::evidence::{Evidence, GuestEnd};
use harness::outcome::{Expectation, ExpectedVmcore, HangCause, HangProof, Outcome, Refuser, VmcoreState};
use harness::phase::Phase;
use std::num::NonZeroU32;
use std::path::Path;

fn cell(first: Arch, capture: Arch) -> Cell {
    let kernel = |arch| Kernel { name: "5.10".to_owned(), arch, pae: true, path: None };
    Cell {
        id: CellId("recorded".to_owned()),
        suite: "recorded".to_owned(),
        first: kernel(first),
        userspace: Arch::I386,
        loader: Loader::InTree,
        loader_args: Vec::new(),
        circumstances: Circumstances::None,
        capture: kernel(capture),
        reservation: "256M@1968M".parse().expect("a reservation"),
        platform: Platform {
            name: "pc-4g".to_owned(),
            machine: "pc".to_owned(),
            memory: "4G".parse().expect("a size"),
            cpu: "qemu64".to_owned(),
            cpus: NonZeroU32::MIN,
            boot: FirstBoot::Fastest,
            firmware: Firmware::Bios,
            five_levels: false,
            hardware: None,
        },
        trigger: Trigger::Nmi,
        reader: None,
        first_cmdline: Vec::new(),
        capture_cmdline: Vec::new(),
        tamper: Default::default(),
        low_memory: Default::default(),
        expected: Expectation::captured(ExpectedVmcore::Verified),
    }
}

fn evidence(name: &str) -> Evidence {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evidence").join(name);
    let text = std::fs::read(folder.join("evidence.json")).expect("evidence.json");
    let mut evidence: Evidence = serde_json::from_slice(&text).expect("evidence as the types have it");
    evidence.console = std::fs::read(folder.join("console.log")).expect("console.log");
    evidence
}

#[test]
fn a_capture_is_verified() {
    let outcome = classify(&cell(Arch::X86_64, Arch::X86_64), &evidence("captured"));
    assert_eq!(outcome, Outcome::captured(VmcoreState::Verified));
}

#[test]
fn an_independent_reader_agrees() {
    let cell = Cell {
        reservation: "256M@512M".parse().expect("a reservation"),
        reader: Some("vmcore-dmesg@2.0.25".parse().expect("a reader")),
        ..cell(Arch::I386, Arch::I386)
    };
    let whole = evidence("independent-reader");
    assert_eq!(classify(&cell, &whole), Outcome::captured(VmcoreState::Verified));
    // The log of another cell's guest is none of this one's.
    let foreign = Evidence { log_line: evidence("captured").log_line, ..whole };
    let outcome = classify(&cell, &foreign);
    let Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } = &outcome else {
        panic!("{outcome:?}")
    };
    assert!(
        why.contains("the first kernel's log") && why.contains("what vmcore-dmesg@2.0.25 reads"),
        "{why}"
    );
}

#[test]
fn a_released_loaders_cut_addresses_are_told() {
    // Every nonce, the release and the log are right in this vmcore: only the kernel's page tables show the fault.
    let reservation = "256M@512M".parse().expect("a reservation");
    let outcome =
        classify(&Cell { reservation, ..cell(Arch::X86_64, Arch::X86_64) }, &evidence("cut-addresses"));
    let Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } = &outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(why.matches("PT_LOAD").count(), 4, "{why}");
    assert!(
        why.contains(
            "0x100000000-0x13fffffff has the virtual address 0x0, which the first kernel maps to nothing"
        ),
        "{why}"
    );
}

#[test]
fn a_refusal_is_the_loaders() {
    let outcome = classify(&cell(Arch::X86_64, Arch::I386), &evidence("refused"));
    let Outcome::Refused { by: Refuser::Loader, message } = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("0x7b000000-0x8affffff") && message.contains("0x37ffffff"), "{message}");
}

#[test]
fn a_decompressor_that_refuses_its_place_is_proven_by_the_halted_cpu() {
    let evidence = evidence("destination-too-large");
    let outcome = classify(&cell(Arch::X86_64, Arch::I386), &evidence);
    let Outcome::Hung { at: Phase::Decompression, proof: HangProof::AllHaltedIrqsOff { ip }, cause } =
        outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(cause, HangCause::DestinationTooLarge);
    assert!((0x7b00_0000..0x8b00_0000).contains(&ip), "it halts inside of the crash region: {ip:#x}");
}

#[test]
fn a_fault_in_the_panic_path_is_proven_within_seconds_though_the_end_marker_never_comes() {
    let cell = cell(Arch::I386, Arch::I386);
    let whole = evidence("fault-in-panic-path");
    // The rig ended this guest when it was proven: two seconds after the last word, and not a sample later.
    assert_eq!(whole.end, Some(GuestEnd::Concluded));
    let mut told = Evidence { samples: Vec::new(), end: None, ..whole.clone() };
    let last_word = whole.last_console_ms.expect("a console that spoke");
    let proven = whole.samples.iter().find_map(|sample| {
        told.samples.push(sample.clone());
        conclude(&cell, &told).map(|conclusion| (sample.ms - last_word, conclusion.outcome))
    });
    let (after_ms, outcome) = proven.expect("a conclusion before the deadline");
    assert!((2000..3000).contains(&after_ms), "{after_ms} ms");
    let Outcome::Hung { at: Phase::Purgatory, proof: HangProof::EndOfPanic { line }, cause } = &outcome
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(*cause, HangCause::FaultInPanicPath);
    assert!(line.contains("Fatal exception in interrupt"), "{line}");
    assert_eq!(classify(&cell, &whole), outcome);
}
