//! A purgatory that finds the loaded image changed, and what the rig changes so that it does.

use super::*;
use crate::cell::{LowMemory, Tamper};
use crate::evidence::{LowPattern, Tampered};
use crate::outcome::{PurgatoryEnd, VmcoreState};

const LINE: &str = "kexec-load: SHA-256 of the boot_params at 0x8aff9000-0x8affb7ff does not match what was loaded: the capture kernel \
                    is not started";
const STOCK: &str = "I'm in purgatory\r\nsha256 digests do not match :(\r\n       digest: 00 11\r\n";
/// Where the plan of [`plan`] has the purgatory.
const INSIDE: u64 = 0x8aff_d0a2;

fn tampered() -> Cell {
    Cell { tamper: Tamper::BootParams, ..amd64() }
}

/// A guest of whose boot_params a bit was flipped, and whose loader said this.
fn life(stderr: &str) -> Life {
    let report = LoadReport { stderr: stderr.to_owned(), ..loaded() };
    let mut life = Life::of(tampered()).ready().loads(report).says(
        8600,
        Side::First,
        Message::Armed { planted: planted() },
    );
    life.evidence.triggered_ms = Some(TRIGGERED_MS);
    life.evidence.console_at_trigger = Some(life.evidence.console.len());
    let loaded = PhysRange { start: 0x8aff_9000, end: 0x8aff_b7ff };
    life.evidence.changes.tampered =
        Some(Tampered { segment: "boot_params".into(), loaded, address: 0x8aff_a000, before: 0, after: 8 });
    life.console(9100, NMI_PANIC)
}

fn plan() -> &'static str {
    "kexec-load: segment: purgatory 0x8affd000-0x8affefff (0x2000 bytes)\n"
}

fn stopped(life: &Life) -> Option<(Option<String>, PurgatoryEnd)> {
    match life.outcome() {
        Outcome::StoppedByPurgatory { segment, end, .. } => Some((segment, end?)),
        _ => None,
    }
}

/// Bug: words alone prove that it stopped; or the segment that it names is not told.
#[test]
fn what_it_says_is_proven_by_where_it_halts() {
    let said = life(plan()).console(9300, &format!("{LINE}\r\n")).sample(9700, &[dead(INSIDE)]);
    assert!(!said.is_concluded(), "one sample proves nothing");
    let halted = said.sample(10_200, &[dead(INSIDE)]);
    assert!(halted.is_concluded());
    assert_eq!(stopped(&halted), Some((Some("boot_params".into()), PurgatoryEnd::Halted { ip: INSIDE })));
    assert!(matches!(halted.outcome(), Outcome::StoppedByPurgatory { line, .. } if line == LINE));
}

/// Bug: a CPU that halted in the decompressor, or in the first kernel, counts as the purgatory's stop.
#[test]
fn elsewhere_it_is_no_stop() {
    for ip in [0x7b69_bb4e, 0xffff_ffff_8100_0000] {
        let life = life(plan()).console(9300, LINE).sample(9700, &[dead(ip)]).sample(10_200, &[dead(ip)]);
        assert!(matches!(life.outcome(), Outcome::Hung { .. }), "{:?}", life.outcome());
    }
    // Without a plan, the crash region is all that is known; the first kernel is not in it.
    let life = life("").console(9300, LINE).sample(9700, &[dead(INSIDE)]).sample(10_200, &[dead(INSIDE)]);
    assert!(stopped(&life).is_some());
}

/// Bug: a purgatory that was to reset the machine and did is "reset", as any triple fault is.
#[test]
fn a_reset_behind_its_words_is_its_doing() {
    let reset = life(plan()).console(9300, LINE).event(9310, "SHUTDOWN", "guest-reset");
    let end = PurgatoryEnd::Reset { reason: "SHUTDOWN with reason guest-reset".into() };
    assert_eq!(stopped(&reset), Some((Some("boot_params".into()), end)));
    assert!(reset.is_concluded());
    let silent = life(plan()).event(9310, "SHUTDOWN", "guest-reset");
    assert!(matches!(silent.outcome(), Outcome::Reset { .. }));
}

/// Bug: kexec-tools' purgatory, which goes round for ever, is waited for until the deadline, or is proven while it may still go on.
#[test]
fn one_that_goes_round_is_known_when_it_is_quiet() {
    let round = |first, second| {
        life("").console(9300, STOCK).sample(first, &[running(INSIDE)]).sample(second, &[running(INSIDE + 2)])
    };
    assert_eq!(stopped(&round(10_000, 11_400)), Some((None, PurgatoryEnd::Loops { ip: INSIDE + 2 })));
    assert!(!round(9400, 10_000).is_concluded(), "it has just spoken");
    assert!(!round(11_390, 11_400).is_concluded(), "the two looks are one");
    let elsewhere = life("").console(9300, STOCK).sample(10_000, &[running(1)]).sample(11_400, &[running(1)]);
    assert!(!elsewhere.is_concluded());
}

/// Bug: a purgatory that complains and starts the capture kernel all the same passes for one that stops.
#[test]
fn one_that_goes_on_has_not_stopped() {
    let life = life(plan()).console(9300, LINE).console(9400, CAPTURE_BOOTS);
    let life = life.sample(9900, &[dead(INSIDE)]).sample(10_400, &[dead(INSIDE)]);
    assert_eq!(stopped(&life), None);
}

/// Bug: a guest in which nothing was changed, or something else, says that its loader does not look.
#[test]
fn what_was_to_be_changed_was() {
    let mut unchanged = life(plan());
    unchanged.evidence.changes.tampered = None;
    assert!(rig_error(&unchanged.outcome()).contains("wants boot_params of the loaded image changed"));
    let mut other = life(plan());
    other.cell.tamper = Tamper::None;
    assert!(rig_error(&other.outcome()).contains("the rig changed boot_params"));
    let mut low = Life::of(Cell { low_memory: LowMemory::Planted, ..amd64() }).triggered();
    assert!(rig_error(&low.outcome()).contains("below 640 KiB"));
    low.evidence.changes.low_pattern = Some(LowPattern { address: 0x4_0000, bytes: HexBytes(vec![7; 8]) });
    assert!(matches!(low.outcome(), Outcome::RigError { what } if !what.contains("below 640 KiB")));
}

/// Bug: a pattern that the vmcore does not have, or has with other bytes (the backup was not made, or of the wrong place), is
/// verified; or one that was not looked for.
#[test]
fn the_pattern_below_640_kib_must_be_in_the_vmcore() {
    let with = |found: Option<Found>| {
        let cell = Cell { low_memory: LowMemory::Planted, ..amd64() };
        let mut report = vmcore(&cell);
        report.reads.extend(found.map(|found| ReadResult { address: 0x4_0000, found }));
        let mut life = Life::of(cell).triggered();
        life.evidence.changes.low_pattern =
            Some(LowPattern { address: 0x4_0000, bytes: HexBytes(vec![7; 8]) });
        life.console(9100, NMI_PANIC).up().reads(VmcoreReport::Present(report)).done().outcome()
    };
    let state = |found| match with(Some(found)) {
        Outcome::Captured { vmcore: VmcoreState::Wrong { why }, .. } => why,
        Outcome::Captured { vmcore: VmcoreState::Verified, .. } => "verified".to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(state(Found::Bytes(HexBytes(vec![7; 8]))), "verified");
    assert!(state(Found::Bytes(HexBytes(vec![0; 8]))).contains("the pattern below 640 KiB at 0x40000 is"));
    assert!(state(Found::NotCovered).contains("no PT_LOAD covers the pattern below 640 KiB"));
    assert!(state(Found::Failed(14)).contains("reading the pattern below 640 KiB"));
    assert!(rig_error(&with(None)).contains("did not read the pattern below 640 KiB"));
}
