//! The lines of cells of each verdict, from made-up results.

use super::*;
use guest_protocol::{Arch, Circumstances};
use harness::accel::Accel;
use harness::cell::{Cell, CellId, Firmware, FirstBoot, Kernel, Loader, Mib, Platform, Reservation, Trigger};
use harness::judge::judge;
use harness::outcome::{Expectation, ExpectedRefuser, ExpectedVmcore, Refuser, VmcoreState};
use harness::report::{AttemptRecord, Versions};
use harness::triage::Finding;
use std::num::NonZeroU32;

/// A result with these attempts' outcomes, whose cell is expected to capture.
pub(crate) fn result(id: &str, verdict: Verdict, outcomes: &[Outcome]) -> CellResult {
    let kernel = Kernel { name: "6.1-amd64".into(), arch: Arch::X86_64, pae: true, path: None };
    let mib = |size| Mib(NonZeroU32::new(size).unwrap());
    let expected = Expectation::captured(ExpectedVmcore::Verified);
    let cell = Cell {
        id: CellId(id.into()),
        suite: "seed".into(),
        first: kernel.clone(),
        userspace: Arch::I386,
        loader: Loader::InTree,
        loader_args: Vec::new(),
        circumstances: Circumstances::None,
        capture: kernel,
        reservation: Reservation::At { size: mib(256), offset_mib: 1968 },
        platform: Platform {
            name: "pc-4g".into(),
            machine: "pc".into(),
            memory: mib(4096),
            cpu: "qemu64".into(),
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
        expected: expected.clone(),
    };
    let attempts: Vec<_> = outcomes
        .iter()
        .zip(1..)
        .map(|(outcome, attempt)| AttemptRecord {
            peak_mib: None,
            last_phase: None,
            triage: None,
            verbose: None,
            attempt,
            outcome: outcome.clone(),
            verdict: judge(outcome, &expected),
            seconds: 8.25,
            boot: None,
            notes: Vec::new(),
            evidence: format!("{id}/try-{attempt}").into(),
        })
        .collect();
    let last = outcomes.last().unwrap().clone();
    CellResult {
        id: cell.id.clone(),
        repetition: 1,
        suite: "seed".into(),
        cell,
        expected,
        words: describe(&last),
        outcome: last,
        verdict,
        evidence: format!("{id}/try-{}", attempts.len()).into(),
        attempts,
        seconds: Default::default(),
        versions: Versions {
            qemu: "7.2".into(),
            first: "1".into(),
            capture: "1".into(),
            loader: "1".into(),
            agent: "1".into(),
            firmware: None,
        },
        accel: Accel::Tcg,
        accel_reason: None,
    }
}

pub(crate) fn captured() -> Outcome {
    Outcome::captured(VmcoreState::Verified)
}

pub(crate) fn refused() -> Outcome {
    Outcome::Refused { by: Refuser::Loader, message: "limit\nregion too \x1b[31mhigh".into() }
}

fn lines_of(result: &CellResult, console: &[ConsoleLine]) -> Vec<String> {
    let commands = Commands { again: "cargo xtask e2e seed".into(), cells: "seed".into() };
    lines(result, console, Path::new("r"), 5, &commands, Paint::new(false))
}

/// Catches a passing cell that takes more than its one line, or loses a column.
#[test]
fn a_pass_is_one_line() {
    let result = result("a/b", Verdict::Pass, &[captured()]);
    assert_eq!(lines_of(&result, &[]), ["        PASS [     8.2s] a/b    captured, vmcore verified"]);
}

/// Catches a failure of which one has to search for what was expected, how far it got, its last words, its evidence, or the
/// command that comes next; and guests that colour the terminal, or break its lines.
#[test]
fn a_failure_says_all_that_one_begins_with() {
    let mut result = result("a/b", Verdict::Fail, &[refused()]);
    let triage = Finding::QemuKilled { signal: 9, during: "load".into() }.into();
    result.attempts[0].triage = Some(triage);
    let line = |text: &str, finished| ConsoleLine { text: text.into(), finished };
    result.attempts[0].last_phase = Some(Phase::Capture.into());
    let console = [line(&"Kernel panic - not syncing: ".repeat(4), true), line("Destination add", false)];
    assert_eq!(
        lines_of(&result, &console),
        [
            "        FAIL [     8.2s] a/b",
            "     outcome refused by the loader: region too [31mhigh",
            "         why QEMU was killed by SIGKILL (signal 9) during load",
            "    expected captured, vmcore verified",
            "  last phase boot of the capture kernel; awaited: `up` of the capture kernel's",
            "             agent",
            "     console | Kernel panic - not syncing: Kernel panic - not syncing: Kernel p…",
            "             | Destination add [unfinished]",
            "    evidence r/a/b/try-1",
            "   reproduce sh r/a/b/try-1/repro.sh",
            "       again cargo xtask e2e seed -E 'id=a/b'",
            "       shell cargo xtask shell a/b seed",
        ]
    );
}

/// Catches a command for a shell in a kernel that never had a userspace.
#[test]
fn the_shell_is_where_the_guest_was() {
    let options =
        [None, Some(Phase::FirstKernel), Some(Phase::Loading), Some(Phase::Capture), Some(Phase::Reading)];
    assert_eq!(options.map(shell_options), ["", " --gdb", "", "", " --capture"]);
}

/// Catches a refusal that looks like the expected one, and nothing that says what it lacks; or half of its message.
#[test]
fn a_near_miss_says_what_is_missing() {
    let mut result = result("a/b", Verdict::Fail, &[refused()]);
    let said = format!("limit {}", "far ".repeat(30));
    result.outcome = Outcome::Refused { by: Refuser::Loader, message: format!("debug\n{said}\n") };
    result.words = describe(&result.outcome);
    let message = vec!["limit".into(), "0x37ffffff".into()];
    result.expected = Expectation::Refused { by: ExpectedRefuser::Loader, message };
    assert_eq!(
        details(&result),
        [
            "     message limit far far far far far far far far far far far far far far far",
            "             far far far far far far far far far far far far far far far",
            "    expected refused by the loader, naming \"limit\" and \"0x37ffffff\"",
            "     differs the refusal does not name \"0x37ffffff\"",
        ]
    );
}

/// Catches a retry that nobody sees, and evidence of one that has to be searched.
#[test]
fn every_attempt_of_a_flaky_cell_is_shown() {
    let result = result("a", Verdict::Flaky, &[Outcome::RigError { what: "lost".into() }, captured()]);
    assert_eq!(
        lines_of(&result, &[]),
        [
            "       TRY 1 [     8.2s] a",
            "     outcome rig error: lost",
            "    evidence r/a/try-1",
            "   reproduce sh r/a/try-1/repro.sh",
            "       TRY 2 [     8.2s] a",
            "     outcome captured, vmcore verified",
            "    evidence r/a/try-2",
            "   reproduce sh r/a/try-2/repro.sh",
            "       FLAKY [    16.5s] a",
            "     outcome captured, vmcore verified",
        ]
    );
}

/// Catches a failure whose earlier attempts are lost, or whose evidence is shown twice.
#[test]
fn a_failure_that_was_tried_again_shows_both() {
    let result = result("a", Verdict::Fail, &[Outcome::RigError { what: "lost".into() }, refused()]);
    let lines = lines_of(&result, &[]);
    let evidence: Vec<_> = lines.iter().filter(|line| line.contains("evidence")).collect();
    assert_eq!(evidence, ["    evidence r/a/try-1", "    evidence r/a/try-2"]);
    assert_eq!(lines.iter().filter(|line| line.contains("rig error: lost")).count(), 1);
}

/// Catches a skipped cell without its reason, or out of its column.
#[test]
fn a_skip_says_why() {
    let cell = result("a/b", Verdict::Pass, &[captured()]).cell;
    let skipped = SkippedCell { cell, why: "no such loader".into() };
    assert_eq!(
        skipped_line(&skipped, 5, Paint::new(false)),
        "        SKIP [         ] a/b    no such loader"
    );
}
