//! Made-up results: which differences are told, in which direction, and what each does to the property.

use super::*;
use crate::outcome::{HangCause, HangProof, LoadFailure, Outcome, Refuser, VmcoreState};
use crate::phase::Phase;
use crate::report::tests::result;

const OLD: &str = "2.0.20";
const NEW: &str = "2.0.25";

fn ours(place: &str, outcome: Outcome) -> CellResult {
    run(Loader::InTree, place, outcome)
}

fn theirs(version: &str, place: &str, outcome: Outcome) -> CellResult {
    run(Loader::KexecTools(version.into()), place, outcome)
}

/// A result that was not as expected.
fn run(loader: Loader, place: &str, outcome: Outcome) -> CellResult {
    let mut result = result(&format!("{loader}.{place}"), Verdict::Fail);
    result.cell.loader = loader;
    result.cell.reservation = place.parse().unwrap();
    result.words = "words".into();
    CellResult { outcome, ..result }
}

fn captured() -> Outcome {
    Outcome::captured(VmcoreState::Verified)
}

fn no_vmcore() -> Outcome {
    Outcome::captured(VmcoreState::Absent { why: "x".into() })
}

fn refused() -> Outcome {
    Outcome::Refused { by: Refuser::Loader, message: "x".into() }
}

fn hung() -> Outcome {
    let proof = HangProof::Silence { seconds: 45 };
    Outcome::Hung { at: Phase::Capture, proof, cause: HangCause::Unknown }
}

fn compare(results: &[CellResult]) -> Comparison {
    compare_loaders(results).unwrap()
}

/// The rows of the table whose title begins so.
fn rows(comparison: &Comparison, title: &str) -> Vec<String> {
    let tables = comparison.tables(true);
    let table = tables.iter().find(|table| table.title.starts_with(title)).unwrap();
    table.rows.iter().map(|row| row.join(" | ")).collect()
}

/// Bug: a cell that ours refuses and another loader captures passes; or a better or equal result is held against ours.
#[test]
fn the_property_is_broken_by_what_another_loader_does_better_only() {
    for (our_outcome, their_outcome, holds) in [
        (captured(), captured(), true),
        (captured(), refused(), true),
        (captured(), hung(), true),
        (captured(), no_vmcore(), true),
        (no_vmcore(), no_vmcore(), true),
        (refused(), refused(), true),
        (refused(), hung(), true),
        (refused(), captured(), false),
        (refused(), no_vmcore(), false),
        (no_vmcore(), captured(), false),
        (Outcome::captured(VmcoreState::Wrong { why: "x".into() }), no_vmcore(), false),
    ] {
        let told = format!("{our_outcome:?} beside {their_outcome:?}");
        let results = [ours("256M@512M", our_outcome), theirs(OLD, "256M@512M", their_outcome)];
        assert_eq!(compare(&results).holds(), holds, "{told}");
    }
}

/// Bug: ours hangs where the others hang too, and nobody is told; or a hang that a suite expects, to prove a limit, is a fault.
#[test]
fn what_should_never_happen_is_told_whatever_the_others_do() {
    let killed = Outcome::LoadFailed { how: LoadFailure::Killed { signal: 11 }, stderr: String::new() };
    for outcome in [
        hung(),
        killed,
        Outcome::CapturePanicked { line: "x".into() },
        Outcome::Reset { at: Phase::Capture, reason: "x".into() },
        Outcome::StoppedByPurgatory { line: "x".into(), segment: None, end: None },
    ] {
        let mut results = vec![ours("256M@512M", outcome.clone()), theirs(OLD, "256M@512M", outcome.clone())];
        let comparison = compare(&results);
        assert!(!comparison.holds(), "{outcome:?}");
        assert_eq!(rows(&comparison, "Where in-tree failed"), ["in-tree.256M@512M: words"]);
        results[0].verdict = Verdict::Pass;
        assert!(compare(&results).holds(), "{outcome:?}, as expected");
    }
}

/// Bug: cells are taken for the same that are not (another place, another argument), or the same for different ones.
#[test]
fn only_the_same_cells_are_compared() {
    let mut other_args = theirs(OLD, "256M@512M", captured());
    other_args.cell.loader_args = vec!["--x".into()];
    let mut repeated = theirs(OLD, "256M@512M", captured());
    repeated.repetition = 2;
    let results = [
        ours("256M@512M", refused()),
        theirs(OLD, "256M@528M", captured()),
        other_args,
        repeated,
        theirs(NEW, "256M@512M", refused()),
    ];
    let comparison = compare(&results);
    assert!(comparison.holds());
    assert_eq!(
        rows(&comparison, "In the cells that both ran"),
        ["kexec-tools@2.0.20 | 0 | 0 | 0 | 0 | 0", "kexec-tools@2.0.25 | 1 | 0 | 0 | 0 | 1"]
    );
}

/// Bug: counts of one loader stand in another's row; a cell without a statement counts as one.
#[test]
fn tables_tell_both_directions() {
    let unreserved = || Outcome::Unreserved { why: "x".into() };
    let results = [
        ours("256M@1968M", captured()),
        theirs(OLD, "256M@1968M", refused()),
        theirs(NEW, "256M@1968M", hung()),
        ours("256M@2048M", captured()),
        theirs(OLD, "256M@2048M", refused()),
        theirs(NEW, "256M@2048M", hung()),
        ours("256M@512M", refused()),
        theirs(NEW, "256M@512M", captured()),
        ours("64M", refused()),
        theirs(OLD, "64M", refused()),
        theirs(OLD, "96M", unreserved()),
    ];
    let comparison = compare(&results);
    let tables = comparison.tables(false);
    assert_eq!(
        tables[0].head,
        ["loader", "cells", "captured", "refused by the loader", "hung", "says nothing"]
    );
    assert_eq!(
        rows(&comparison, "What each"),
        [
            "in-tree | 4 | 2 | 2 | 0 | 0",
            "kexec-tools@2.0.20 | 4 | 0 | 3 | 0 | 1",
            "kexec-tools@2.0.25 | 3 | 1 | 0 | 2 | 0"
        ]
    );
    assert_eq!(
        rows(&comparison, "In the cells"),
        ["kexec-tools@2.0.20 | 3 | 0 | 2 | 0 | 1", "kexec-tools@2.0.25 | 3 | 0 | 2 | 1 | 0"]
    );
    assert_eq!(
        rows(&comparison, "Where loaders differ"),
        [
            "x86_64->x86_64 | i386 | below 896M | 1 | refused by the loader |  | captured",
            "x86_64->x86_64 | i386 | above 896M | 2 | captured | refused by the loader | hung"
        ]
    );
    assert_eq!(
        rows(&comparison, "Where another"),
        [
            "5.10-amd64 -> 5.10-amd64, i386 userspace, 256M@512M on pc-4g | refused by the loader |  | captured"
        ]
    );
    assert_eq!(rows(&comparison, "Where in-tree came").len(), 2);
    assert!(!comparison.holds());
}

/// Bug: a report of one loader is said to hold.
#[test]
fn one_loader_is_no_comparison() {
    assert_eq!(compare_loaders(&[ours("64M", captured())]), Err(NothingToCompare::OnlyOurs));
    assert_eq!(compare_loaders(&[theirs(OLD, "64M", captured())]), Err(NothingToCompare::NotOurs));
    assert_eq!(compare_loaders(&[]), Err(NothingToCompare::NotOurs));
}
