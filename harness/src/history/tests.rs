//! Tests of what is told of nights: known pages, and that none becomes long, or more than text.

use super::compare::compare;
use super::samples::{cell, night};
use super::*;
use crate::cell::CellId;
use crate::outcome::Verdict;
use crate::report::Look;
use crate::report::samples::hold_against;
use proptest::prelude::*;

/// Ten nights with something of every kind in the last one; `text` wherever a guest or a person could have written something.
fn nights(text: &str) -> Vec<Night> {
    let named = |name: &str| format!("{name}.{text}");
    let usual = |day: u64| {
        let mut cells: Vec<CellNight> = (0..8)
            .map(|at| cell(&named(&format!("steady-{at}")), Verdict::Pass, 4.0 + f64::from(at)))
            .collect();
        cells.push(cell(&named("breaks"), Verdict::Pass, 6.0));
        cells.push(cell(&named("slow"), Verdict::Pass, 6.0));
        cells.push(cell(&named("fast"), Verdict::Pass, 9.0));
        cells.push(cell(&named("errs"), Verdict::Pass, 6.0));
        cells.push(cell(&named("goes"), Verdict::Pass, 6.0));
        cells.push(cell(&named("skipped"), Verdict::Pass, 6.0));
        let red = |from: u64| if day >= from { Verdict::Fail } else { Verdict::Pass };
        cells.push(cell(&named("red"), red(7), 6.0));
        cells.push(cell(&named("worse"), red(8), 6.0));
        cells.push(cell(&named("mended"), red(6), 6.0));
        let flip = if matches!(day, 3 | 6) { Verdict::Fail } else { Verdict::Pass };
        cells.push(cell(&named("flips"), flip, 6.0));
        cells
    };
    let mut all: Vec<Night> = (1..=10).map(|day| night(day, usual(day))).collect();
    let last = all.last_mut().unwrap();
    let mut change = |name: &str, change: &dyn Fn(&mut CellNight)| {
        change(last.cells.get_mut(&CellId(named(name))).unwrap());
    };
    let becomes = |verdict| {
        move |it: &mut CellNight| {
            let seconds = std::mem::take(&mut it.seconds);
            *it = CellNight { seconds, ..cell(&it.id.0, verdict, 6.0) };
        }
    };
    change("breaks", &becomes(Verdict::Fail));
    change("breaks", &|it| {
        it.words = format!("hung {text}");
        it.why = Some(format!("first kernel faulted {text}"));
        it.versions.as_mut().unwrap().loader = format!("cccc {text}");
    });
    change("slow", &|it| *it = cell(&it.id.0, Verdict::Pass, 14.0));
    change("fast", &|it| *it = cell(&it.id.0, Verdict::Pass, 2.0));
    change("errs", &becomes(Verdict::Error));
    change("skipped", &becomes(Verdict::Skipped));
    change("worse", &|it| (it.outcome, it.words) = (Some(Look::Reset), format!("reset {text}")));
    change("mended", &becomes(Verdict::Pass));
    change("mended", &|it| it.versions.as_mut().unwrap().loader = format!("dddd {text}"));
    last.cells.remove(&CellId(named("goes")));
    last.cells.insert(CellId(named("new")), cell(&named("new"), Verdict::Pass, 3.0));
    last.header.versions.insert(format!("kernel {text}"), format!("5.10 {text}"));
    last.header.revision = Some(Revision { commit: format!("0123456789abcdef {text}"), changed: true });
    last.header.host = Some(format!("rig2 {text}"));
    let end = last.end.take();
    let cells = last.cells.len();
    last.end = end.map(|end| End { counts: last.counts(), cells, ..end });
    // One night was interrupted.
    all[4].end.iter_mut().for_each(|end| end.interrupted = true);
    all
}

/// A night beside the last one and the last good one.
fn all_changes(nights: &[Night]) -> (&Night, Vec<&Night>, Vec<Changes>) {
    let (now, earlier) = nights.split_last().unwrap();
    let before = before(now, earlier);
    let changes = [Since::Last, Since::Good].map(|since| compare(now, &before, &since, None)).into();
    (now, before, changes)
}

fn told(nights: &[Night]) -> [String; 3] {
    let (now, before, changes) = all_changes(nights);
    [text(now, &before, &changes), markdown(now, &before, &changes), html(now, &before, &before, &changes)]
}

/// Bug: any change of what people read that nobody has looked at.
#[test]
fn what_is_told_is_known() {
    let [text, markdown, html] = told(&nights("words"));
    hold_against("night.txt", &text);
    hold_against("night.md", &markdown);
    hold_against("night.html", &html.replace("><", ">\n<"));
}

/// Bug: a kind of change that a rendering forgets.
#[test]
fn every_kind_is_told() {
    let nights = nights("words");
    let (_, _, changes) = all_changes(&nights);
    let [text, markdown, html] = told(&nights);
    for kind in Kind::ALL {
        assert_eq!(changes[0].of(kind).count(), 1, "{kind:?}");
        let words = kind.words();
        assert!([&text, &markdown, &html].iter().all(|told| told.contains(words)), "{words}");
    }
}

/// Bug: a night in which everything broke floods a chat.
#[test]
fn a_summary_stays_short_whatever_happened() {
    let night_of = |day, verdict: fn(usize) -> Verdict| {
        night(day, (0..900).map(|at| cell(&format!("cell-{at:03}"), verdict(at), 5.0)))
    };
    let bad: fn(usize) -> Verdict = |at| match at % 4 {
        0 => Verdict::Fail,
        1 => Verdict::Error,
        2 => Verdict::Flaky,
        _ => Verdict::Skipped,
    };
    let mut nights = vec![
        night_of(1, |_| Verdict::Pass),
        night_of(2, |at| if at % 8 == 0 { Verdict::Fail } else { Verdict::Pass }),
    ];
    nights.push(night_of(3, bad));
    nights[2].header.versions = (0..99).map(|at| (format!("kernel {at}"), "1".to_owned())).collect();
    let [_, markdown, _] = told(&nights);
    assert!(markdown.lines().count() <= 60, "{}", markdown.lines().count());
    assert!(markdown.len() < 12_000, "{}", markdown.len());
    assert!(markdown.contains("112 newly failing") || markdown.contains("113 newly failing"), "{markdown}");
}

/// Bug: the page loads something from elsewhere.
#[test]
fn the_page_needs_nothing_but_itself() {
    let [_, _, page] = told(&nights("words"));
    for elsewhere in ["http:", "https:", "src=", "@import", "url(", "<link", "<script"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}

/// Bug: the first night of all, or one beside a single other, cannot be told.
#[test]
fn first_nights_are_told() {
    let nights = nights("words");
    let [text, markdown, page] = told(&nights[..1]);
    assert!(text.contains("Since the last night: there is none"), "{text}");
    assert!(markdown.contains("there is none") && page.contains("There is none"));
    let [text, ..] = told(&nights[..2]);
    assert!(text.contains("nothing changed"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Bug: something that a guest or a person wrote becomes an element of the page, a row or a mention of a chat, or a command to a terminal.
    #[test]
    fn no_text_becomes_more_than_text(
        words in "[^\\s]{1,20}|<script>alert\\([0-9]\\)</script>|[\"'<>&|`@\\n\\r\\x00-\\x08\\x0e-\\x1f\\x7f\u{80}-\u{84}\u{86}-\u{9f}\u{202e}]{1,9}"
    ) {
        let (told, harmless) = (told(&nights(&words)), told(&nights("x")));
        let markup = |page: &str| ['<', '>', '"'].map(|c| page.matches(c).count());
        prop_assert_eq!(markup(&told[2]), markup(&harmless[2]));
        let table = |text: &str| ['|', '`', '\n'].map(|c| text.matches(c).count());
        prop_assert_eq!(table(&told[1]), table(&harmless[1]));
        let acts = |c: char| c.is_control() && c != '\n' && c != '\t';
        prop_assert!(told.iter().all(|told| !told.contains(acts)));
    }
}
