//! What changed from one night to another. Pure.

use super::night::{CellNight, Night, NightId};
use super::noise::{Pace, Paced, paces};
use crate::cell::CellId;
use crate::outcome::Verdict;
use crate::report::Versions;
use std::collections::BTreeMap;

/// The latest nights that flips of a verdict are counted over.
pub const FLAKY_NIGHTS: usize = 14;

/// Which night is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// The one before.
    Last,
    /// The last one that was complete and had nothing unexpected.
    Good,
    /// A certain one.
    Named(NightId),
}

/// In which way a cell changed, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It fails, and did not when something was last known of it, or was never seen to pass.
    NewlyFailing,
    /// Nothing can be said of it for trouble of rig, host or platform, and that is new.
    NewlyErring,
    /// It fails as before, or is as expected as before, but came to something else.
    OtherOutcome,
    /// Its verdict went there and back although nothing that took part changed; or it passed at a later attempt.
    Flaky,
    /// It is not as expected, as before.
    StillFailing,
    /// It is as expected, and was not.
    NewlyPassing,
    /// It took longer than usual, by more than noise.
    Slower,
    /// It took less long than usual, by more than noise.
    Faster,
    /// It was run before, and is now skipped, or the run did not get to it.
    NotRun,
    /// It was there before, and is in no suite now.
    Vanished,
    /// It was not there before, and is as expected.
    New,
}

impl Kind {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 11] = [
        Self::NewlyFailing,
        Self::NewlyErring,
        Self::OtherOutcome,
        Self::Flaky,
        Self::StillFailing,
        Self::NewlyPassing,
        Self::Slower,
        Self::Faster,
        Self::NotRun,
        Self::Vanished,
        Self::New,
    ];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NewlyFailing => "newly failing",
            Self::NewlyErring => "newly without a statement",
            Self::OtherOutcome => "another outcome",
            Self::Flaky => "flaky",
            Self::StillFailing => "still failing",
            Self::NewlyPassing => "newly passing",
            Self::Slower => "slower",
            Self::Faster => "faster",
            Self::NotRun => "no longer run",
            Self::Vanished => "vanished",
            Self::New => "new",
        }
    }
}

/// What changed of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The cell.
    pub cell: CellId,
    /// In which way.
    pub kind: Kind,
    /// What it had come to, in words; none where nothing is known.
    pub was: Option<String>,
    /// What it came to now.
    pub is: Option<String>,
    /// Why it was not as expected, in one sentence.
    pub why: Option<String>,
    /// The first of the nights, this one included, since which it has been so without a break, and how many they are.
    pub since: Option<(NightId, usize)>,
    /// What took part or was expected and has changed since, as in `loader aaaa -> bbbb`; none where nothing is known from before.
    pub with: Option<Vec<String>>,
    /// Its time, of a slower or faster one.
    pub time: Option<Paced>,
    /// How often its verdict changed although nothing that took part did, of a flaky one.
    pub flips: usize,
    /// Where its evidence is, of one that is not as expected.
    pub evidence: Option<String>,
}

/// What changed between two nights.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// Which night it is compared with, in words, as in `the last night`.
    pub what: String,
    /// That night; none where there is none, so that whatever fails is new.
    pub base: Option<NightId>,
    /// How many times as long as usual the cells took.
    pub speed: f64,
    /// What both nights were made with, where it differs, as in `QEMU 7.2 -> 9.0`.
    pub with: Vec<String>,
    /// The cells: by kind, then by id.
    pub cells: Vec<Change>,
}

impl Changes {
    /// Those of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Change> {
        self.cells.iter().filter(move |change| change.kind == kind)
    }

    /// The worst that is new: a cell that newly fails, else one of which nothing can be said any more.
    pub fn newly_broken(&self) -> Option<Verdict> {
        if self.of(Kind::NewlyFailing).next().is_some() {
            return Some(Verdict::Fail);
        }
        self.of(Kind::NewlyErring).next().map(|_| Verdict::Error)
    }
}

/// The nights of a history that a night follows: runs of the same suites, chosen from in the same way, that began before it. Another record
/// of its own run is none of them: half a night is not what its whole is held against.
pub fn before<'a>(now: &Night, history: &'a [Night]) -> Vec<&'a Night> {
    let order = |night: &Night| (night.header.began, night.header.id.clone());
    let is_earlier = |night: &&Night| order(night) < order(now) && !night.is_of_the_run_of(now);
    history.iter().filter(|night| night.is_like(now)).filter(is_earlier).collect()
}

/// Compares a night with one of those `before` it, or with another, `named`.
pub fn compare(now: &Night, before: &[&Night], since: &Since, named: Option<&Night>) -> Changes {
    let last = before.last().copied();
    let good = before.iter().rev().copied().find(|night| night.is_good());
    let is_same =
        |a: Option<&Night>, b: Option<&Night>| a.zip(b).is_some_and(|(a, b)| a.header.id == b.header.id);
    let (base, what) = match since {
        Since::Last if is_same(last, good) => (last, "the last night, a good one".to_owned()),
        Since::Last => (last, "the last night".to_owned()),
        Since::Good if is_same(last, good) => (good, "the last good night, which is the last one".to_owned()),
        Since::Good => (good, "the last good night".to_owned()),
        Since::Named(id) => (named, format!("the night {id}")),
    };
    // What was known up to the night that is compared with.
    let until = |night: &&&Night| base.is_some_and(|base| night.header.began <= base.header.began);
    let mut known: Vec<&Night> = before.iter().filter(until).copied().collect();
    if let Some(base) = base.filter(|base| known.last().is_none_or(|last| last.header.id != base.header.id)) {
        known.push(base);
    }
    let paces = paces(now, before);
    let mut cells = Vec::new();
    for cell in now.cells.values() {
        let earlier = Earlier::of(cell, base, &known);
        let line: Vec<(&Night, &CellNight)> =
            before.iter().filter_map(|night| Some((*night, night.cells.get(&cell.id)?))).collect();
        cells.extend(standing(cell, &earlier, base.is_some()).map(|kind| {
            let evidence = matches!(cell.verdict, Verdict::Fail | Verdict::Error)
                .then(|| cell.evidence.display().to_string());
            Change {
                was: earlier.shown().map(|cell| cell.words.clone()),
                is: Some(cell.words.clone()),
                why: cell.why.clone(),
                since: Some(since_when(now, cell, &line)),
                with: earlier.shown().map(|was| differences(was, cell)),
                evidence,
                ..change(cell, kind)
            }
        }));
        let flips = flips(cell, &line);
        if cell.verdict == Verdict::Flaky || flips > 1 {
            let is = Some(cell.words.clone());
            cells.push(Change { flips, is, ..change(cell, Kind::Flaky) });
        }
        if let Some(paced) = paces.unusual.get(&cell.id) {
            let kind = if paced.pace == Pace::Slower { Kind::Slower } else { Kind::Faster };
            cells.push(Change { time: Some(paced.clone()), ..change(cell, kind) });
        }
    }
    cells.extend(base.into_iter().flat_map(|base| gone(now, base)));
    cells.sort_by(|a, b| (a.kind, &a.cell).cmp(&(b.kind, &b.cell)));
    let with = base.map(|base| headers(base, now)).unwrap_or_default();
    Changes { what, base: base.map(|base| base.header.id.clone()), speed: paces.speed, with, cells }
}

fn change(cell: &CellNight, kind: Kind) -> Change {
    Change {
        cell: cell.id.clone(),
        kind,
        was: None,
        is: None,
        why: None,
        since: None,
        with: None,
        time: None,
        flips: 0,
        evidence: None,
    }
}

/// What is known of a cell from before.
struct Earlier<'a> {
    /// What it came to in the night that is compared with.
    base: Option<&'a CellNight>,
    /// What it came to when something could last be said of it, up to then.
    known: Option<&'a CellNight>,
}

impl<'a> Earlier<'a> {
    fn of(cell: &CellNight, base: Option<&'a Night>, known: &[&'a Night]) -> Self {
        let mut of_known = known.iter().rev().filter_map(|night| night.cells.get(&cell.id));
        Self {
            base: base.and_then(|base| base.cells.get(&cell.id)),
            known: of_known.find(|cell| statement(cell).is_some()),
        }
    }

    fn shown(&self) -> Option<&'a CellNight> {
        self.known.or(self.base)
    }
}

/// Whether it was as expected; none where nothing could be said of it.
const fn statement(cell: &CellNight) -> Option<bool> {
    match cell.verdict {
        Verdict::Pass | Verdict::Flaky => Some(true),
        Verdict::Fail => Some(false),
        Verdict::Error | Verdict::Skipped => None,
    }
}

/// How a cell's verdict or outcome changed.
fn standing(cell: &CellNight, earlier: &Earlier<'_>, has_base: bool) -> Option<Kind> {
    let was = earlier.known.and_then(statement);
    let other = earlier.known.is_some_and(|known| known.outcome != cell.outcome);
    let erred = earlier.base.is_some_and(|base| base.verdict == Verdict::Error);
    match cell.verdict {
        Verdict::Fail => Some(match was {
            Some(false) if other => Kind::OtherOutcome,
            Some(false) => Kind::StillFailing,
            Some(true) | None => Kind::NewlyFailing,
        }),
        Verdict::Error if erred => Some(Kind::StillFailing),
        Verdict::Error => Some(Kind::NewlyErring),
        Verdict::Skipped => {
            earlier.base.filter(|base| base.verdict != Verdict::Skipped).map(|_| Kind::NotRun)
        }
        Verdict::Pass | Verdict::Flaky => match was {
            Some(false) => Some(Kind::NewlyPassing),
            _ if erred => Some(Kind::NewlyPassing),
            Some(true) => other.then_some(Kind::OtherOutcome),
            None => (has_base && earlier.base.is_none()).then_some(Kind::New),
        },
    }
}

/// Since which night a cell's verdict has been what it is; nights that said nothing on it are passed over.
fn since_when(now: &Night, cell: &CellNight, line: &[(&Night, &CellNight)]) -> (NightId, usize) {
    let said =
        line.iter().rev().filter(|(_, earlier)| statement(earlier).is_some() || statement(cell).is_none());
    let same = said.take_while(|(_, earlier)| match statement(cell) {
        Some(now) => statement(earlier) == Some(now),
        None => earlier.verdict == cell.verdict,
    });
    let same: Vec<&NightId> = same.map(|(night, _)| &night.header.id).collect();
    let first = same.last().map_or_else(|| now.header.id.clone(), |id| (*id).clone());
    (first, same.len() + 1)
}

/// How often a cell's verdict changed between two nights that agree in all that took part.
fn flips(cell: &CellNight, line: &[(&Night, &CellNight)]) -> usize {
    let recent = line.get(line.len().saturating_sub(FLAKY_NIGHTS - 1)..).unwrap_or(line);
    let said: Vec<&CellNight> =
        recent.iter().map(|(_, cell)| *cell).chain([cell]).filter(|cell| statement(cell).is_some()).collect();
    let flipped = |pair: &&[&CellNight]| match pair {
        [a, b] => statement(a) != statement(b) && differences(a, b).is_empty(),
        _ => false,
    };
    said.windows(2).filter(flipped).count()
}

/// What took part in a cell, or was expected of it, and differs.
fn differences(was: &CellNight, is: &CellNight) -> Vec<String> {
    let mut told = Vec::new();
    let mut add = |what: &str, was: &str, is: &str| {
        if was != is {
            told.push(format!("{what} {was} -> {is}"));
        }
    };
    if let (Some(was), Some(is)) = (&was.versions, &is.versions) {
        let Versions { qemu, first, capture, loader, agent, firmware } = was;
        let none = "none".to_owned();
        add("loader", loader, &is.loader);
        add("first kernel", first, &is.first);
        add("capture kernel", capture, &is.capture);
        add("agent", agent, &is.agent);
        add("QEMU", qemu, &is.qemu);
        add("firmware", firmware.as_ref().unwrap_or(&none), is.firmware.as_ref().unwrap_or(&none));
    }
    add("expected", &was.expected, &is.expected);
    told
}

/// The cells of the earlier night that this one does not have.
fn gone<'a>(now: &'a Night, base: &'a Night) -> impl Iterator<Item = Change> + 'a {
    let ran = base.cells.values().filter(|cell| cell.verdict != Verdict::Skipped);
    // Of a run that did not get to its end nobody knows whether it would have come to the cell.
    let kind = if now.is_complete() { Kind::Vanished } else { Kind::NotRun };
    ran.filter(|cell| !now.cells.contains_key(&cell.id)).map(move |cell| Change {
        was: Some(cell.words.clone()),
        is: (kind == Kind::NotRun).then(|| "the run did not get to it".to_owned()),
        ..change(cell, kind)
    })
}

/// What two nights were made with and on, where it differs.
fn headers(was: &Night, is: &Night) -> Vec<String> {
    let mut told = Vec::new();
    let (was, is) = (&was.header, &is.header);
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut add = |what: &str, was: Option<String>, is: Option<String>| {
        if was != is {
            told.push(format!("{what} {} -> {}", shown(&was), shown(&is)));
        }
    };
    let text = |value: &dyn std::fmt::Display| value.to_string();
    add("revision", was.revision.as_ref().map(|r| text(r)), is.revision.as_ref().map(|r| text(r)));
    let names: BTreeMap<&String, ()> =
        was.versions.keys().chain(is.versions.keys()).map(|name| (name, ())).collect();
    for name in names.into_keys() {
        let version =
            |of: &BTreeMap<String, String>| Some(of.get(name).map_or("not used", String::as_str).to_owned());
        add(name, version(&was.versions), version(&is.versions));
    }
    add("QEMU", was.qemu.clone(), is.qemu.clone());
    add("accelerator", was.accel.as_ref().map(|a| text(a)), is.accel.as_ref().map(|a| text(a)));
    add("host", was.host.clone(), is.host.clone());
    add("guests at a time", was.jobs.as_ref().map(|j| text(j)), is.jobs.as_ref().map(|j| text(j)));
    told
}

#[cfg(test)]
mod tests;
