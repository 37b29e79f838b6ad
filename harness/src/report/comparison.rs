//! Loaders beside each other: what each came to in the same cells, and where they differ, in both directions. Pure.

use super::{CellResult, Look, Table};
use crate::cell::{Cell, Loader};
use crate::filter::Axis;
use crate::outcome::Verdict;
use std::collections::{BTreeMap, BTreeSet};

impl Look {
    /// How far a loader came: a dump, a dump less, none but the user was told, none and nobody was told. None where the outcome says
    /// nothing on the loader.
    const fn standing(self) -> Option<u8> {
        match self {
            Self::Captured => Some(4),
            Self::NoVmcore => Some(3),
            Self::WrongVmcore => Some(2),
            Self::Refused | Self::RefusedByKernel => Some(1),
            Self::LoadFailed
            | Self::Hung
            | Self::CapturePanicked
            | Self::StoppedByPurgatory
            | Self::Reset => Some(0),
            Self::NotPanicked | Self::Unreserved | Self::NoFirstKernel | Self::RigError => None,
        }
    }

    /// Whether a capture kernel came up.
    const fn came_up(self) -> bool {
        matches!(self, Self::Captured | Self::NoVmcore | Self::WrongVmcore)
    }
}

/// All that cells have in common which differ in their loader only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SameCell {
    /// Everything but the loader, as far as it tells cells apart.
    key: Vec<String>,
    /// For people.
    name: String,
    /// Architectures, userspace and place, by which differences are counted.
    kind: [String; 3],
}

impl SameCell {
    fn of(result: &CellResult) -> Self {
        let Cell { first, userspace, capture, reservation, platform, loader_args, .. } = &result.cell;
        let cell = &result.cell;
        let key = vec![
            first.name.clone(),
            userspace.to_string(),
            capture.name.clone(),
            reservation.to_string(),
            format!("{platform:?}"),
            loader_args.join("\n"),
            cell.circumstances.name().to_owned(),
            cell.trigger.name().to_owned(),
            cell.reader.as_ref().map(ToString::to_string).unwrap_or_default(),
            cell.tamper.name().to_owned(),
            cell.low_memory.name().to_owned(),
            cell.first_cmdline.join("\n"),
            cell.capture_cmdline.join("\n"),
            result.repetition.to_string(),
        ];
        let mut name = format!(
            "{} -> {}, {userspace} userspace, {reservation} on {}",
            first.name, capture.name, platform.name
        );
        for words in [loader_args, &cell.first_cmdline, &cell.capture_cmdline] {
            if !words.is_empty() {
                name.push_str(&format!(", {}", words.join(" ")));
            }
        }
        if !cell.circumstances.is_none() {
            name.push_str(&format!(", {}", cell.circumstances.name()));
        }
        let place = match cell.reservation.kind_name() {
            "at" => format!("{} 896M", Axis::Region.values(cell).concat()),
            kind => kind.to_owned(),
        };
        Self { key, name, kind: [format!("{}->{}", first.arch, capture.arch), userspace.to_string(), place] }
    }
}

/// What the loaders of a report came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The loaders by their names, this repository's first.
    loaders: Vec<String>,
    /// By loader: how often each was seen, and how many of its cells say nothing on it.
    counts: BTreeMap<String, (BTreeMap<Look, usize>, usize)>,
    /// What was seen in each cell, by loader.
    cells: BTreeMap<SameCell, BTreeMap<String, Look>>,
    /// Where this repository's loader failed in a way that it never should, and was not expected to.
    faults: Vec<String>,
}

/// Which of two in the same cell came further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    /// Another loader did.
    Worse,
    /// This repository's did.
    Better,
    /// Neither: they differ in another way.
    Otherwise,
}

/// There is nothing to compare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingToCompare {
    /// No trial of this repository's loader.
    #[error("no cell of this report was run with this repository's loader, in-tree")]
    NotOurs,
    /// Only trials of it.
    #[error(
        "all cells of this report were run with in-tree: a suite with other loaders beside it, such as sweep, compares"
    )]
    OnlyOurs,
}

/// Compares the loaders of these results.
///
/// # Errors
/// The results are all of one loader, or none is of this repository's.
pub fn compare_loaders(results: &[CellResult]) -> Result<Comparison, NothingToCompare> {
    let ours = Loader::InTree.to_string();
    let names: BTreeSet<String> = results.iter().map(|result| result.cell.loader.to_string()).collect();
    if !names.contains(&ours) {
        return Err(NothingToCompare::NotOurs);
    }
    if names.len() == 1 {
        return Err(NothingToCompare::OnlyOurs);
    }
    let others = names.into_iter().filter(|name| *name != ours);
    let mut comparison =
        Comparison { loaders: [ours.clone()].into_iter().chain(others).collect(), ..Comparison::default() };
    for result in results {
        let loader = result.cell.loader.to_string();
        let (counts, silent) = comparison.counts.entry(loader.clone()).or_default();
        let Some(seen) = Some(Look::of(&result.outcome)).filter(|look| look.standing().is_some()) else {
            *silent += 1;
            continue;
        };
        *counts.entry(seen).or_insert(0) += 1;
        let as_expected = matches!(result.verdict, Verdict::Pass | Verdict::Flaky);
        if loader == ours && seen.standing() == Some(0) && !as_expected {
            comparison.faults.push(format!("{}: {}", result.trial(), result.words));
        }
        comparison.cells.entry(SameCell::of(result)).or_default().insert(loader, seen);
    }
    Ok(comparison)
}

impl Comparison {
    /// Whether this repository's loader came as far as every other one in the same cells, and failed in none.
    pub fn holds(&self) -> bool {
        self.faults.is_empty() && self.of(Direction::Worse).next().is_none()
    }

    /// The tables: counts, this repository's loader beside each other one, the differences counted, and those by the cell where
    /// another loader came further. With `cells` the other differences by the cell as well.
    pub fn tables(&self, cells: bool) -> Vec<Table> {
        let mut tables = vec![self.counted(), self.beside(), self.differences()];
        tables.push(self.by_cell("Where another loader came further than in-tree", Direction::Worse));
        if cells {
            tables.push(self.by_cell("Where in-tree came further than another loader", Direction::Better));
            tables.push(self.by_cell("Where they differ otherwise", Direction::Otherwise));
        }
        let rows = self.faults.iter().map(|fault| vec![fault.clone()]).collect();
        tables.push(Table {
            title: "Where in-tree failed after the load, or in it".to_owned(),
            head: vec!["cell".to_owned()],
            rows,
        });
        tables
    }

    fn ours(&self) -> &str {
        self.loaders.first().map_or("", String::as_str)
    }

    /// The cells of one direction, with what was seen in each.
    fn of(&self, wanted: Direction) -> impl Iterator<Item = (&SameCell, &BTreeMap<String, Look>)> {
        self.cells.iter().filter(move |(_, seen)| self.direction(seen) == Some(wanted))
    }

    /// None where all that ran came to the same, or where one of the two sides did not run.
    fn direction(&self, seen: &BTreeMap<String, Look>) -> Option<Direction> {
        let ours = *seen.get(self.ours())?;
        let others = || seen.iter().filter(|(loader, _)| *loader != self.ours()).map(|(_, seen)| *seen);
        if others().any(|other| other.standing() > ours.standing()) {
            Some(Direction::Worse)
        } else if others().any(|other| other.standing() < ours.standing()) {
            Some(Direction::Better)
        } else {
            others().any(|other| other != ours).then_some(Direction::Otherwise)
        }
    }

    fn counted(&self) -> Table {
        let count = |loader: &String, seen| {
            self.counts.get(loader).and_then(|(counts, _)| counts.get(&seen)).copied().unwrap_or(0)
        };
        let silent = |loader: &String| self.counts.get(loader).map_or(0, |(_, silent)| *silent);
        let columns: Vec<Look> = Look::ALL
            .into_iter()
            .filter(|seen| self.loaders.iter().any(|loader| count(loader, *seen) > 0))
            .collect();
        let is_silent = self.loaders.iter().any(|loader| silent(loader) > 0);
        let mut head = vec!["loader".to_owned(), "cells".to_owned()];
        head.extend(columns.iter().map(|seen| seen.words().to_owned()));
        if is_silent {
            head.push("says nothing".to_owned());
        }
        let row = |loader: &String| {
            let counts: Vec<usize> = columns.iter().map(|seen| count(loader, *seen)).collect();
            let all = counts.iter().sum::<usize>() + silent(loader);
            let mut row = vec![loader.clone(), all.to_string()];
            row.extend(counts.iter().map(ToString::to_string));
            if is_silent {
                row.push(silent(loader).to_string());
            }
            row
        };
        Table {
            title: "What each loader came to".to_owned(),
            head,
            rows: self.loaders.iter().map(row).collect(),
        }
    }

    /// This repository's loader and each other one, in the cells that both ran.
    fn beside(&self) -> Table {
        let ours = self.ours();
        let row = |other: &String| {
            let same = || self.cells.values().filter_map(|seen| Some((*seen.get(ours)?, *seen.get(other)?)));
            let count = |ours_up: bool, other_up: bool| {
                same().filter(|(a, b)| (a.came_up(), b.came_up()) == (ours_up, other_up)).count().to_string()
            };
            vec![
                other.clone(),
                same().count().to_string(),
                count(true, true),
                count(true, false),
                count(false, true),
                count(false, false),
            ]
        };
        Table {
            title: "In the cells that both ran, the capture kernel came up".to_owned(),
            head: [
                "beside in-tree",
                "same cells",
                "with both",
                "only with in-tree",
                "only with the other",
                "with neither",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows: self.loaders.iter().skip(1).map(row).collect(),
        }
    }

    /// The differences, counted by what the cells have in common.
    fn differences(&self) -> Table {
        let mut counts: BTreeMap<(Direction, &[String; 3], Vec<String>), usize> = BTreeMap::new();
        for (cell, seen) in &self.cells {
            if let Some(direction) = self.direction(seen) {
                *counts.entry((direction, &cell.kind, self.row_of(seen))).or_insert(0) += 1;
            }
        }
        let mut head = ["kernels", "userspace", "region", "cells"].map(str::to_owned).to_vec();
        head.extend(self.loaders.iter().cloned());
        let rows = counts.into_iter().map(|((_, kind, seen), count)| {
            kind.iter().cloned().chain([count.to_string()]).chain(seen).collect()
        });
        Table { title: "Where loaders differ in the same cells".to_owned(), head, rows: rows.collect() }
    }

    fn by_cell(&self, title: &str, direction: Direction) -> Table {
        let mut head = vec!["cell".to_owned()];
        head.extend(self.loaders.iter().cloned());
        let row = |(cell, seen): (&SameCell, &BTreeMap<String, Look>)| {
            [cell.name.clone()].into_iter().chain(self.row_of(seen)).collect()
        };
        Table { title: title.to_owned(), head, rows: self.of(direction).map(row).collect() }
    }

    /// What each loader came to in a cell; nothing where it did not run.
    fn row_of(&self, seen: &BTreeMap<String, Look>) -> Vec<String> {
        let words =
            |loader: &String| seen.get(loader).map_or_else(String::new, |seen| seen.words().to_owned());
        self.loaders.iter().map(words).collect()
    }
}

#[cfg(test)]
mod tests;
