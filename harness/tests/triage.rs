//! Sentences about real guests: evidence that the rig saved of cells that were made to fail, judged and triaged again.
//! tests/triage/README.md says how each was provoked.

use harness::cell::Cell;
use harness::classify::classify;
use harness::evidence::Evidence;
use harness::report::load_evidence;
use harness::triage::triage;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/triage").join(name)
}

fn recorded(name: &str) -> (Cell, Evidence) {
    let folder = folder(name);
    let cell = std::fs::read(folder.join("cell.json")).expect("cell.json");
    let cell = serde_json::from_slice(&cell).expect("a cell as the types have it");
    (cell, load_evidence(&folder).expect("evidence as the types have it"))
}

/// Folders and their sentences.
const SENTENCES: &[(&str, &str)] = &[
    (
        "capture-kernel-panicked",
        "capture kernel panicked: no init: it found no initramfs that it could use, and has no root device ('VFS: Unable to mount root fs on unknown-block(0,0)')",
    ),
    (
        "capture-kernel-stuck",
        "capture kernel idles, waiting for interrupts, in pv_native_safe_halt+0xf before userspace; last line: '[    2.646870] clocksource: Switched to clocksource tsc'",
    ),
    (
        "decompressor-halted",
        "capture kernel halted in its decompressor with interrupts off: 'Destination address too large'",
    ),
    (
        "fault-in-machine-kexec",
        "first kernel faulted inside machine_kexec: the control page at 0x7bf76000 is not in low memory",
    ),
    (
        "first-kernel-panicked",
        "first kernel panicked before the trigger: no init: it found no initramfs that it could use, and has no root device ('VFS: Unable to mount root fs on unknown-block(0,0)')",
    ),
    (
        "first-kernel-stuck",
        "first kernel idles, waiting for interrupts, in native_safe_halt+0xe before userspace; last line: '[    2.320703] clocksource: Switched to clocksource tsc'",
    ),
    (
        "kernel-without-room",
        "capture kernel halted with interrupts off in native_halt+0xd, before its banner; last line: 'Physical KASLR disabled: no suitable memory region!'",
    ),
    ("loader-killed", "the loader was killed by SIGSEGV (signal 11)"),
    ("loader-loops", "loader looped: killed by the agent after 45 s"),
    (
        "purgatory-loops",
        "the CPU stands with interrupts off in the purgatory at +0x1, before a capture kernel's first word",
    ),
    ("qemu-killed", "QEMU was killed by SIGKILL (signal 9) during load"),
    (
        "trigger-lost",
        "first kernel did not panic at the trigger: no panic on the console, and its CPUs idle with interrupts on",
    ),
    (
        "triple-fault-decompressor",
        "triple fault in the capture kernel's decompressor at 0x7b0012d4, with its page tables overwritten; it began with a page fault on 0x7b505ff8 (vector 14, error 0x8) at 0x7b0012d4",
    ),
    ("triple-fault-purgatory", "triple fault in the purgatory at +0x1"),
];

/// Bug: a change of what is read from registers, page tables, segment maps, symbols or consoles makes a sentence wrong, or puts
/// another finding in its place.
#[test]
fn each_guest_has_its_sentence() {
    for (name, sentence) in SENTENCES {
        let (cell, evidence) = recorded(name);
        let outcome = classify(&cell, &evidence);
        assert_eq!(triage(&cell, &evidence, &outcome).sentence, *sentence, "{name}");
    }
}

/// Bug: a guest is recorded and its sentence forgotten, so that nothing holds it.
#[test]
fn every_recorded_guest_is_in_the_list() {
    let mut folders: Vec<String> = std::fs::read_dir(folder(""))
        .expect("tests/triage")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().expect("a name"))
        .collect();
    folders.sort();
    let mut listed: Vec<_> = SENTENCES.iter().map(|(name, _)| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(folders, listed);
}

/// Bug: a sentence rests on something that was seen and not saved, or that older evidence cannot have; then judging it again ends
/// the rig, or invents a place.
#[test]
fn without_the_look_at_the_machine_no_place_is_made_up() {
    for (name, _) in SENTENCES {
        let (cell, mut evidence) = recorded(name);
        evidence.examined = None;
        evidence.samples.clear();
        evidence.cpu_log.exceptions.clear();
        let outcome = classify(&cell, &evidence);
        let sentence = triage(&cell, &evidence, &outcome).sentence;
        for place in ["in the purgatory", "0x7b0012d4", "native_"] {
            assert!(!sentence.contains(place), "{name}: {sentence}");
        }
    }
}
