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
        "capture-kernel-without-memory",
        "capture kernel panicked: no room: out of memory, with no program that it could kill ('System is deadlocked on memory')",
    ),
    (
        "crash-region-halted",
        "the CPU halted with interrupts off in the crash region at 0x24000001, before a capture kernel's first word",
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
        "initramfs-without-room",
        "capture kernel panicked: no room for its initramfs, which lies where it cannot map it and has to be moved ('Cannot find place for new RAMDISK of size 164516')",
    ),
    (
        "kernel-refuses",
        "refused by the kernel with ENOMEM: kexec-load: kexec_load: ENOMEM (12): the kernel found no place for its control pages in the region, or no memory for the transfer; see the kernel log",
    ),
    (
        "kernel-without-room",
        "capture kernel halted with interrupts off in native_halt+0xd, before its banner; last line: 'Physical KASLR disabled: no suitable memory region!'",
    ),
    (
        "kernel-without-room-unseen",
        "every CPU halted with interrupts off at 0xffffffffbc51252d; last phase reached: decompression of the capture kernel; last line: 'Physical KASLR disabled: no suitable memory region!'",
    ),
    (
        "kexec-tools-refuses",
        "refused by the loader: Could not find a free area of memory of 0x3b7a000 bytes...",
    ),
    ("loader-killed", "the loader was killed by SIGSEGV (signal 11)"),
    ("loader-lies", "the loader claims success, but nothing is loaded"),
    ("loader-loops", "loader looped: killed by the agent after 45 s"),
    (
        "loader-refuses",
        "refused by the loader: kexec-load: crash region 0x7b000000-0x8affffff lies above 0x36ffdfff, the highest address an i386 capture kernel can run at (0x37ffffff less its fixed mappings)",
    ),
    (
        "machine-reset",
        "the machine was reset, with its CPU in the crash region at 0x2fffd006; its console said nothing more",
    ),
    (
        "machine-reset-unseen",
        "the machine was reset; whether by a fault was not seen; its console said nothing more",
    ),
    (
        "memory-map-without-room",
        "capture kernel panicked: no room for what it allocates while it starts ('Failed to allocate 9830400 bytes for node 0 memory map')",
    ),
    (
        "purgatory-loops",
        "the CPU stands with interrupts off in the purgatory at +0x1, before a capture kernel's first word",
    ),
    (
        "purgatory-stopped",
        "purgatory stopped: by its digest, what lies in the crash region is not what was loaded ('sha256 digests do not match :(')",
    ),
    (
        "qemu-ended",
        "QEMU ended with status 0 during panic: 'qemu-system-x86_64: terminating on signal 15 from pid 23623 (bash)'",
    ),
    ("qemu-killed", "QEMU was killed by SIGKILL (signal 9) during load"),
    (
        "qemu-stopped",
        "QMP command human-monitor-command: no reply within 10 s; last phase reached: boot of the first kernel",
    ),
    (
        "qemu-without-memory",
        "QEMU ended before the guest ran (exit status: 1): qemu-system-x86_64: cannot set up guest memory 'ram': Cannot allocate memory",
    ),
    (
        "trigger-lost",
        "first kernel did not panic at the trigger: no panic on the console, and its CPUs idle with interrupts on",
    ),
    (
        "triple-fault-decompressor",
        "triple fault in the capture kernel's decompressor at 0x7b0012d4, with its page tables overwritten; it began with a page fault on 0x7b505ff8 (vector 14, error 0x8) at 0x7b0012d4",
    ),
    ("triple-fault-purgatory", "triple fault in the purgatory at +0x1"),
    (
        "unreserved",
        "first kernel reserved no such region: crashkernel=256M reserved nothing ('[    0.000000] crashkernel reservation failed - No suitable area found.')",
    ),
    (
        "vmcore-absent",
        "capture kernel came up; it has no vmcore: it could not use the core headers that it was given ('[    1.364190] Kdump: vmcore not initialized')",
    ),
    (
        "vmcore-right",
        "capture kernel came up; its vmcore is right, where this was expected: refused by the loader, naming \"lies above\"",
    ),
    (
        "vmcore-unreadable",
        "capture kernel came up; its vmcore is wrong: reading nonce 0 at 0x1be916000 failed: EFAULT (and 3 more)",
    ),
    (
        "vmcore-wrong",
        "capture kernel came up; its vmcore is wrong: the PT_LOAD of 0x1000-0x9fbff has the virtual address 0x1000, which the first kernel maps to nothing, and its last byte to nothing (and 3 more)",
    ),
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
