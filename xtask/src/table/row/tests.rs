//! The lines of cells of each verdict, from made-up results.

use super::*;
use guest_protocol::Arch;
use harness::accel::Accel;
use harness::cell::{Cell, CellId, FirstBoot, Kernel, Loader, Mib, Platform, Reservation, Trigger};
use harness::judge::judge;
use harness::outcome::{ExpectedRefuser, ExpectedVmcore, Refuser, VmcoreState};
use harness::report::{AttemptRecord, Versions};
use std::num::NonZeroU32;

/// A result with these attempts' outcomes, whose cell is expected to capture.
pub(in super::super) fn result(id: &str, verdict: Verdict, outcomes: &[Outcome]) -> CellResult {
    let kernel = Kernel { name: "6.1-amd64".into(), arch: Arch::X86_64, pae: true, path: None };
    let mib = |size| Mib(NonZeroU32::new(size).unwrap());
    let expected = Expectation::Captured { vmcore: ExpectedVmcore::Verified };
    let cell = Cell {
        id: CellId(id.into()),
        suite: "seed".into(),
        first: kernel.clone(),
        userspace: Arch::I386,
        loader: Loader::InTree,
        loader_args: Vec::new(),
        capture: kernel,
        reservation: Reservation::At { size: mib(256), offset_mib: 1968 },
        platform: Platform {
            name: "pc-4g".into(),
            machine: "pc".into(),
            memory: mib(4096),
            cpu: "qemu64".into(),
            cpus: NonZeroU32::MIN,
            boot: FirstBoot::Fastest,
        },
        trigger: Trigger::Nmi,
        reader: None,
        first_cmdline: Vec::new(),
        capture_cmdline: Vec::new(),
        expected: expected.clone(),
    };
    let attempts: Vec<_> = outcomes
        .iter()
        .zip(1..)
        .map(|(outcome, attempt)| AttemptRecord {
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
        },
        accel: Accel::Tcg,
        accel_reason: None,
    }
}

pub(in super::super) fn captured() -> Outcome {
    Outcome::Captured { vmcore: VmcoreState::Verified }
}

pub(in super::super) fn refused() -> Outcome {
    Outcome::Refused { by: Refuser::Loader, message: "limit\nregion too \x1b[31mhigh".into() }
}

/// Catches a passing cell that takes more than its one line, or loses a column.
#[test]
fn a_pass_is_one_line() {
    let result = result("a/b", Verdict::Pass, &[captured()]);
    assert_eq!(
        lines(&result, Path::new("r"), 5, Paint::new(false)),
        ["        PASS [     8.2s] a/b    captured, vmcore verified"]
    );
}

/// Catches a failure whose expectation or evidence one has to search for, and guests that colour the terminal.
#[test]
fn a_failure_says_what_was_expected_and_where_the_evidence_is() {
    let result = result("a/b", Verdict::Fail, &[refused()]);
    assert_eq!(
        lines(&result, Path::new("r"), 3, Paint::new(false)),
        [
            "        FAIL [     8.2s] a/b  refused by the loader: region too  [31mhigh",
            "                         expected: captured, vmcore verified",
            "                         evidence: r/a/b/try-1",
        ]
    );
}

/// Catches a refusal that looks like the expected one, and nothing that says what it lacks.
#[test]
fn a_near_miss_says_what_is_missing() {
    let mut result = result("a/b", Verdict::Fail, &[refused()]);
    let message = vec!["limit".into(), "0x37ffffff".into()];
    result.expected = Expectation::Refused { by: ExpectedRefuser::Loader, message };
    assert_eq!(
        details(&result, Path::new("r")),
        [
            "                         expected: refused by the loader, naming \"limit\" and \"0x37ffffff\"",
            "                         differs: the refusal does not name \"0x37ffffff\"",
            "                         evidence: r/a/b/try-1",
        ]
    );
}

/// Catches a retry that nobody sees.
#[test]
fn every_attempt_of_a_flaky_cell_is_shown() {
    let result = result("a", Verdict::Flaky, &[Outcome::RigError { what: "lost".into() }, captured()]);
    assert_eq!(
        lines(&result, Path::new("r"), 1, Paint::new(false)),
        [
            "       TRY 1 [     8.2s] a  rig error: lost",
            "       TRY 2 [     8.2s] a  captured, vmcore verified",
            "       FLAKY [    16.5s] a  captured, vmcore verified",
            "                         evidence: r/a/try-2",
        ]
    );
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
