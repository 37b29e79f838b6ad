//! What counts as a difference, and what parts two things.

use super::*;
use crate::bisect::confidence::Counts;
use crate::bisect::memory::Key;
use harness::cell::CellId;
use harness::outcome::{OutcomeKind, Verdict};

fn runs(runs: &[&str]) -> Vec<Vec<String>> {
    runs.iter().map(|run| run.split(' ').map(str::to_owned).collect()).collect()
}

/// Bug: noise that is another in every run is told as the difference, or the first true one is passed over.
#[test]
fn only_what_every_run_of_one_side_has_parts_them() {
    let told = part(&runs(&["x tsc1 a b", "x tsc2 a b"]), &runs(&["x tsc3 c", "x tsc4 c"]));
    assert_eq!(told, Some((Some("a".into()), Some("c".into()))));
    assert_eq!(part(&runs(&["x tsc1", "x tsc2"]), &runs(&["x tsc3", "x tsc4"])), None);
    assert_eq!(part(&runs(&["x a"]), &runs(&["x"])), Some((Some("a".into()), None)));
    assert_eq!(part(&[], &[]), None);
}

/// Bug: a cell that is named by its id with a released loader is none of those that are compared; or a suite's cells are run once more
/// for each of its loaders.
#[test]
fn whichever_loader_a_suite_has_in_a_cell_it_is_one_cell() {
    let seed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/seed.yaml");
    let seed = scenario::load(&seed, &scenario::Catalog::locked().unwrap()).unwrap();
    let of = |loader: &str| {
        let id = format!("5.10-amd64.i386.{loader}.5.10-amd64.256M@1968M.pc-4g");
        seed.cells.iter().find(|cell| cell.id.0 == id).unwrap().clone()
    };
    let (own, released) = (of("in-tree"), of("kexec-tools-2.0.25"));
    let ids = |cells: &[&Cell]| {
        let cells = without_released(cells.iter().map(|cell| (*cell).clone()).collect());
        cells.into_iter().map(|cell| cell.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[&released]), std::slice::from_ref(&own.id));
    assert_eq!(ids(&[&own, &released, &of("kexec-tools-2.0.20")]), std::slice::from_ref(&own.id));
}

/// Bug: what can only differ by luck, or in two ways at once, is run for minutes and then told as a comparison.
#[test]
fn only_two_of_a_kind_that_differ_are_compared() {
    let can = |a: &str, b: &str| can_be_compared([&a.parse().unwrap(), &b.parse().unwrap()]);
    assert_eq!(can("in-tree", "kexec-tools@2.0.25"), Ok(()));
    assert_eq!(can("first=5.10-amd64", "first=6.1-amd64"), Ok(()));
    assert!(can("in-tree", "in-tree").unwrap_err().contains("the same"));
    assert!(can("in-tree", "first=6.1-amd64").unwrap_err().contains("two of a kind"));
    assert!(can("first=5.10-amd64", "capture=6.1-amd64").unwrap_err().contains("the same place"));
}

fn cell(id: &str, outcomes: &[Outcome]) -> CellFinding {
    let seen = |outcome: &Outcome| Observation {
        outcome: outcome.clone(),
        verdict: Verdict::Fail,
        words: format!("words of {}", outcome.kind().name()),
        seconds: 1.0,
        evidence: "/nowhere".into(),
    };
    let (vain, told): (Vec<_>, Vec<_>) = outcomes
        .iter()
        .map(seen)
        .partition(|seen| matches!(seen.outcome.kind(), OutcomeKind::RigError | OutcomeKind::Unreserved));
    CellFinding {
        id: CellId(id.into()),
        key: Key { cell: "c".into(), content: "d".into() },
        counts: Counts::default(),
        finding: None,
        good: None,
        bad: None,
        seen: told,
        vain,
    }
}

fn told_of(a: &[CellFinding], b: &[CellFinding], all: usize, tried: usize) -> (String, Exit) {
    let names = ["first=a", "first=b"].map(|name| name.parse().unwrap());
    told(a, b, [&names[0], &names[1]], Asked { all, tried })
}

/// Bug: one run that the rig lost is a difference; or all of them are lost, and nothing is said to differ.
#[test]
fn trouble_of_the_rig_is_no_difference() {
    let captured = || Outcome::captured(VmcoreState::Verified);
    let trouble = || Outcome::RigError { what: "QEMU died".into() };
    let unreserved = || Outcome::Unreserved { why: "x".into() };
    let tell = |a: &[Outcome], b: &[Outcome]| told_of(&[cell("x", a)], &[cell("x", b)], 1, 1);
    assert_eq!(
        tell(&[trouble(), captured()], &[captured(), captured()]),
        ("1 cell: 0 differ".to_owned(), Exit::AsExpected)
    );
    let (text, exit) = tell(&[trouble(), trouble()], &[trouble(), trouble()]);
    assert_eq!(exit, Exit::RigFailed);
    assert!(text.starts_with("x: unknown") && text.ends_with("1 cell: 0 differ, 1 unknown"), "{text}");
    assert!(text.contains("first=a: words of rig-error"), "{text}");
    let (text, exit) = tell(&[trouble()], &[captured()]);
    assert_eq!(exit, Exit::RigFailed);
    assert!(text.contains("first=b: words of captured"), "{text}");
    assert_eq!(tell(&[], &[captured()]).1, Exit::RigFailed);
    assert_eq!(tell(&[unreserved(), trouble()], &[captured()]).1, Exit::NotAsExpected);
    let both = |outcome| [cell("x", &[outcome]), cell("y", &[captured()])];
    assert_eq!(told_of(&both(trouble()), &both(captured()), 2, 2).1, Exit::RigFailed);
    let (a, b) = ([cell("x", &[trouble()]), cell("y", &[unreserved()])], both(captured()));
    assert_eq!(told_of(&a, &b, 2, 2).1, Exit::NotAsExpected);
}

/// Bug: what a cell shows with the one is held against what another cell shows with the other; or cells that became the same with the
/// kernel in them are told as if only one kernel could be in them.
#[test]
fn cells_are_held_against_themselves() {
    let captured = || cell("x", &[Outcome::captured(VmcoreState::Verified)]);
    let unreserved = || cell("y", &[Outcome::Unreserved { why: "x".into() }]);
    let (text, exit) = told_of(&[captured(), unreserved()], &[unreserved(), captured()], 7, 5);
    assert_eq!(exit, Exit::AsExpected, "{text}");
    assert!(
        text.starts_with("2 cells: 0 differ; 2 left out, which only one of them understands; 3 more "),
        "{text}"
    );
    assert_eq!(told_of(&[captured()], &[unreserved()], 1, 1).1, Exit::RigFailed);
}

/// Bug: times make every line of a console, and every message of an agent, a difference.
#[test]
fn times_are_not_evidence() {
    assert_eq!(without_time("[    1.234567] Kernel panic - not syncing"), "Kernel panic - not syncing");
    assert_eq!(without_time("[drm] x"), "[drm] x");
    let log = r#"{"ms":1,"what":{"agent":{"seq":1,"kernel":"first","message":{"type":"loaded","exit":{"status":1},"stderr":"a\nb\n","milliseconds":7}}}}
{"ms":2,"what":{"rig":{"type":"load"}}}
cut off"#;
    assert_eq!(agent_lines(log), ["loaded.exit.status: 1"]);
    assert_eq!(loader_lines(log), ["a", "b"]);
}
