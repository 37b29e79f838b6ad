//! Tests of what is told of two nights.

use super::*;
use crate::history::samples::{cell, night};
use crate::report::Look;

/// The nights of one cell `a`, beside a cell `z` that always passes; `-` is a night without it.
fn line(verdicts: &str) -> Vec<Night> {
    let verdict = |c| match c {
        'P' => Some(Verdict::Pass),
        'F' => Some(Verdict::Fail),
        'E' => Some(Verdict::Error),
        'S' => Some(Verdict::Skipped),
        'Y' => Some(Verdict::Flaky),
        _ => None,
    };
    let cells = |c| {
        let other = [cell("z", Verdict::Pass, 5.0)].into_iter();
        other.chain(verdict(c).map(|verdict| cell("a", verdict, 5.0))).collect::<Vec<_>>()
    };
    verdicts.chars().zip(1..).map(|(c, day)| night(day, cells(c))).collect()
}

fn told(nights: &[Night], since: &Since) -> Changes {
    let (now, earlier) = nights.split_last().unwrap();
    compare(now, &before(now, earlier), since, None)
}

fn kinds(verdicts: &str, since: &Since) -> Vec<Kind> {
    told(&line(verdicts), since).cells.iter().map(|change| change.kind).collect()
}

/// Bug: what a run came to before it was interrupted is the last night before what it came to in the end, so that a cell that failed in its
/// first half is nothing new, and all cells of its second half are.
#[test]
fn a_run_is_not_held_against_its_own_half() {
    let mut nights = line("PF");
    let mut half = nights[1].clone();
    half.cells.retain(|id, _| id.0 == "a");
    half.header.id = NightId::try_from("0-sorts-first".to_owned()).unwrap();
    half.end.iter_mut().for_each(|end| (end.cells, end.interrupted) = (1, true));
    nights.insert(1, half);
    for host in [Some("rig1".to_owned()), None] {
        // A report that nobody recorded does not say its machine.
        nights[2].header.host = host;
        let changes = told(&nights, &Since::Last);
        assert_eq!(changes.base.as_ref(), Some(&nights[0].header.id));
        assert_eq!(changes.cells.iter().map(|change| change.kind).collect::<Vec<_>>(), [Kind::NewlyFailing]);
    }
    nights[1].header.host = Some("rig2".into());
    nights[2].header.host = Some("rig1".into());
    assert_eq!(
        told(&nights, &Since::Last).base.as_ref(),
        Some(&nights[1].header.id),
        "another machine's run"
    );
}

/// Bug: a change of a verdict is told as another one, or not at all; trouble of the rig in between makes an old failure new, or hides
/// that something broke.
#[test]
fn changes_since_the_last_night() {
    use Kind::*;
    for (verdicts, wanted) in [
        ("PP", &[][..]),
        ("PF", &[NewlyFailing]),
        ("PE", &[NewlyErring]),
        ("FF", &[StillFailing]),
        ("EE", &[StillFailing]),
        ("FP", &[NewlyPassing]),
        ("EP", &[NewlyPassing]),
        ("PEF", &[NewlyFailing]),
        ("FEF", &[StillFailing]),
        ("FEP", &[NewlyPassing]),
        ("FE", &[NewlyErring]),
        ("PSP", &[]),
        ("PS", &[NotRun]),
        ("P-", &[Vanished]),
        ("-P", &[New]),
        ("-F", &[NewlyFailing]),
        ("P-F", &[NewlyFailing]),
        ("Y", &[Flaky]),
        ("F", &[NewlyFailing]),
        ("P", &[]),
        ("PFP", &[Flaky, NewlyPassing]),
        ("PFF", &[StillFailing]),
        ("PFPF", &[NewlyFailing, Flaky]),
    ] {
        assert_eq!(kinds(verdicts, &Since::Last), wanted, "{verdicts}");
    }
}

/// Bug: `--since good` compares with a night that was interrupted or had a failure; or what failed already last night is lost from
/// sight when it is new since the last good one.
#[test]
fn changes_since_the_last_good_night() {
    assert_eq!(kinds("PFF", &Since::Good), [Kind::NewlyFailing]);
    let mut nights = line("PPF");
    nights[1].end = None;
    let changes = told(&nights, &Since::Good);
    assert_eq!(changes.base.as_ref(), Some(&nights[0].header.id));
    assert_eq!(told(&nights, &Since::Last).base.as_ref(), Some(&nights[1].header.id));
    assert_eq!(told(&line("FF"), &Since::Good).base, None);
    assert_eq!(told(&line("PF"), &Since::Last).what, "the last night, a good one");
}

/// Bug: a night of another suite, or of a part of it, or a later one, is taken for the night before.
#[test]
fn only_nights_of_the_same_kind_are_compared() {
    let mut nights = line("PFP");
    nights[1].header.suites = ["smoke".to_owned()].into();
    let now = nights.pop().unwrap();
    assert_eq!(before(&now, &nights), [&nights[0]]);
    nights[0].header.selection = Some("-E userspace=i386".into());
    assert_eq!(before(&now, &nights), Vec::<&Night>::new());
    let nights = line("PPP");
    assert_eq!(before(&nights[1], &nights).len(), 1);
    let changes = compare(
        &nights[2],
        &before(&nights[2], &nights),
        &Since::Named(nights[0].header.id.clone()),
        Some(&nights[0]),
    );
    assert_eq!(changes.base.as_ref(), Some(&nights[0].header.id));
}

/// Bug: a loader that was mended is called flaky; or the versions that changed with a verdict are not told.
#[test]
fn a_flip_with_another_loader_is_no_flake() {
    let mut nights = line("PFP");
    let loader = |night: &mut Night, version: &str| {
        let cell = night.cells.get_mut(&CellId("a".into())).unwrap();
        cell.versions.as_mut().unwrap().loader = version.into();
    };
    loader(&mut nights[1], "cccc");
    let changes = told(&nights, &Since::Last);
    let kinds: Vec<Kind> = changes.cells.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [Kind::NewlyPassing]);
    assert_eq!(changes.cells[0].with, Some(vec!["loader cccc -> aaaa".to_owned()]));
    nights[2].header.versions.insert("loader in-tree for i386".into(), "dddd".into());
    nights[2].header.host = None;
    assert_eq!(
        told(&nights, &Since::Last).with,
        ["loader in-tree for i386 aaaa -> dddd", "host rig1 -> unknown"]
    );
}

/// Bug: a failure that became a worse one hides among the known ones; or nobody can tell since when a cell has been red.
#[test]
fn since_when_and_as_what() {
    let mut nights = line("PFFEF");
    let still = told(&nights, &Since::Last).cells.remove(0);
    assert_eq!(still.since, Some((nights[1].header.id.clone(), 3)));
    assert_eq!(still.with, Some(vec![]));
    let now = nights.last_mut().unwrap().cells.get_mut(&CellId("a".into())).unwrap();
    (now.outcome, now.words) = (Some(Look::Reset), "reset".into());
    let other = told(&nights, &Since::Last).cells.remove(0);
    assert_eq!(
        (other.kind, other.was.as_deref()),
        (Kind::OtherOutcome, Some("hung during jump and purgatory"))
    );
    assert_eq!(other.evidence.as_deref(), Some("/r/a"));
}

/// Bug: cells that an interrupted run did not get to are told as gone from the suite.
#[test]
fn what_was_not_reached_has_not_vanished() {
    let mut nights = line("P-");
    nights[1].end.as_mut().unwrap().interrupted = true;
    let changes = told(&nights, &Since::Last);
    assert_eq!((changes.cells.len(), changes.cells[0].kind), (1, Kind::NotRun));
}

/// Bug: `--fail-on new` takes the rig's trouble for a loader's fault, or an old failure for a new one.
#[test]
fn what_is_newly_broken() {
    let broken = |verdicts| told(&line(verdicts), &Since::Last).newly_broken();
    assert_eq!(broken("PF"), Some(Verdict::Fail));
    assert_eq!(broken("PE"), Some(Verdict::Error));
    assert_eq!([broken("FF"), broken("EE"), broken("P-"), broken("PP"), broken("FP")], [None; 5]);
}

/// Bug: a cell that slowed down does not reach the list.
#[test]
fn slower_cells_are_told() {
    let mut nights: Vec<Night> = (1..=7).map(|day| night(day, [cell("a", Verdict::Pass, 5.0)])).collect();
    let slow = night(8, [cell("a", Verdict::Pass, 12.0)]);
    nights.push(slow);
    let changes = told(&nights, &Since::Last);
    assert_eq!((changes.cells.len(), changes.cells[0].kind), (1, Kind::Slower));
    assert_eq!(changes.cells[0].time.as_ref().unwrap().usual, 5.0);
}
