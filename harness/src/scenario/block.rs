//! The cells of one block: the combinations of its axes, those of them that its coverage asks for, and the loaders beside.

use super::coverage::{self, Covered};
use super::cross::{Combination, Cross};
use super::demands::{self, Demands};
use super::position::NodePath;
use super::possible::{self, Fate, Sieve};
use super::problem::{At, Finding};
use super::values::Values;
use super::words::{Literal, Regions};
use super::written::{Block, Coverage, Factor};
use super::{Catalog, id, overrides};
use crate::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// A block with its names looked up.
pub(super) struct Checked<'b> {
    pub(super) block: &'b Block,
    /// Its place.
    pub(super) at: NodePath,
    pub(super) cross: Cross<'b>,
}

/// The cells of a block.
#[derive(Default)]
pub(super) struct Made {
    /// In the order of the file.
    pub(super) cells: Vec<Cell>,
    /// Combinations that could be cells as well, and that the coverage does without.
    pub(super) untaken: Vec<Combination>,
    /// Combinations that cannot be and were left out for it, by the axis to blame.
    pub(super) impossible: BTreeMap<&'static str, usize>,
    /// How much of what can be its coverage takes.
    pub(super) covered: Covered,
    pub(super) findings: Vec<Finding>,
}

impl Checked<'_> {
    /// The cells, and all that is wrong with the block.
    pub(super) fn cells(&self, catalog: &Catalog) -> Made {
        let mut made = Made::default();
        let mut left_out = vec![false; self.block.without.len()];
        let mut possible = Vec::new();
        let mut values = Values::new(&self.cross);
        let mut sieve = Sieve::new(&self.cross, &self.block.without, catalog);
        for combination in self.cross.all() {
            match (sieve.fate(combination), self.block.coverage) {
                (Fate::LeftOut(filter), _) => left_out[filter] = true,
                (Fate::Possible, _) => {
                    values.can_be(combination);
                    possible.push(combination);
                }
                (Fate::Impossible(axis), Some(_)) => {
                    values.cannot_be(combination);
                    *made.impossible.entry(axis).or_insert(0) += 1;
                }
                (Fate::Impossible(_), None) => {
                    if let Some((axis, why)) = self.why_impossible(combination, catalog) {
                        made.wrong(self.place(axis, combination), why);
                    }
                }
            }
        }
        self.check_every(&mut made);
        if self.block.coverage.is_some() {
            self.check_values(&values, catalog, &mut made);
        }
        let all = possible.len();
        let chosen = match self.block.coverage {
            None | Some(Coverage::Full) => possible,
            Some(Coverage::Pairwise) => self.covering(possible, &values, &mut made),
        };
        if self.block.coverage.is_some() {
            made.covered.possible = all;
            made.covered.taken = chosen.len();
        }
        self.with_loaders_beside(&chosen, catalog, &mut left_out, &mut made);
        for (filter, _) in left_out.iter().enumerate().filter(|(_, used)| !**used) {
            made.wrong(
                self.at.key("without").item(filter),
                "this filter leaves nothing out of its block: remove it".to_owned(),
            );
        }
        made
    }

    fn why_impossible(&self, combination: Combination, catalog: &Catalog) -> Option<(&'static str, String)> {
        possible::why_impossible(&self.cross.cell(combination), catalog)
    }

    /// Whether `every` asks for what this block can give.
    fn check_every(&self, made: &mut Made) {
        let at = self.at.key("every");
        if !self.block.every.is_empty() && self.block.coverage.is_none() {
            let what = "`every` says nothing without `coverage`: all combinations are made anyway".to_owned();
            made.wrong(self.at.key_itself("every"), what);
        }
        for (group, factors) in self.block.every.iter().enumerate() {
            for (number, factor) in factors.0.iter().enumerate() {
                let place = at.item(group).item(number);
                if factors.0[..number].contains(factor) {
                    made.wrong(place, format!("`{}` stands twice in this group", factor.name()));
                } else if Factor::OF_ON.contains(factor) && self.block.on.is_none() {
                    let what = format!("`{}` is of `machines`, and this block has none", factor.name());
                    made.wrong(place, what);
                } else if *factor == Factor::Limit && matches!(self.block.region, Regions::Plain(_)) {
                    let what = "`limit` is the name that regions stand under, and those of this block stand under none";
                    made.wrong(place, what.to_owned());
                }
            }
        }
    }

    /// Tells the values that are in none of the combinations that can be: they would say nothing, unnoticed.
    fn check_values(&self, values: &Values<'_>, catalog: &Catalog, made: &mut Made) {
        for (factor, value, combination) in values.never() {
            let Some((_, why)) = self.why_impossible(combination, catalog) else { continue };
            let what = format!("`{value}` is in no combination of this block that can be; the first: {why}");
            let place = if Factor::OF_ON.contains(&factor) {
                self.at.key("machines").key(factor.name())
            } else {
                self.place(factor.name(), combination)
            };
            made.wrong(place, what);
        }
    }

    /// The place of an axis, and of a region the place of that.
    fn place(&self, axis: &str, combination: Combination) -> NodePath {
        if axis == Factor::Region.name() {
            self.cross.region(combination).at.clone()
        } else {
            self.at.key(axis)
        }
    }

    /// Those of the combinations that together have every pair of values of two axes, and all that `every` asks for.
    fn covering(&self, possible: Vec<Combination>, values: &Values<'_>, made: &mut Made) -> Vec<Combination> {
        // A platform that `machines` make is five axes; any other is one with its region.
        let own = |factor: &Factor| self.block.on.is_some() || !Factor::OF_ON.contains(factor);
        let several = |factor: &Factor| values.possible(*factor).len() > 1;
        let mut axes: Vec<Factor> = Factor::AXES.into_iter().filter(own).filter(several).collect();
        if axes.len() < 2 {
            axes = Factor::AXES.into_iter().filter(own).collect();
        }
        let pairs =
            axes.iter().enumerate().flat_map(|(number, &a)| axes[..number].iter().map(move |&b| vec![b, a]));
        let groups = self.block.every.iter().map(|group| {
            let mut group = group.0.clone();
            group.sort_unstable();
            group
        });
        let groups: BTreeSet<Vec<Factor>> = pairs.chain(groups).collect();
        let rows = demands::rows(&self.cross, &possible, &Demands::new(&self.cross, &groups));
        let mut chosen = vec![false; possible.len()];
        let cover = coverage::cover(&rows);
        cover.rows.into_iter().for_each(|row| chosen[row] = true);
        made.covered.demands = cover.demands;
        let mut taken = Vec::new();
        for (combination, chosen) in possible.into_iter().zip(chosen) {
            if chosen { taken.push(combination) } else { made.untaken.push(combination) }
        }
        taken
    }

    /// The cells of these combinations, each with those of the loaders beside that can run in it and are not left out by a filter.
    fn with_loaders_beside(
        &self,
        chosen: &[Combination],
        catalog: &Catalog,
        left_out: &mut [bool],
        made: &mut Made,
    ) {
        let mut used = vec![false; self.block.beside.len()];
        for &combination in chosen {
            let cell = self.cross.cell(combination);
            let beside = self.block.beside.iter().zip(&mut used).filter_map(|(Literal(loader), used)| {
                let mut beside = Cell { loader: loader.clone(), ..cell.clone() };
                beside.id = id::of(&beside);
                let can_be = possible::why_impossible(&beside, catalog).is_none()
                    && overrides::foreign_argument(&beside).is_none();
                let without = self.block.without.iter().position(|filter| filter.0.matches(&beside));
                if let (true, Some(number)) = (can_be, without) {
                    left_out[number] = true;
                }
                let stays = can_be && without.is_none();
                *used |= stays;
                stays.then_some(beside)
            });
            let beside: Vec<Cell> = beside.collect();
            made.cells.push(cell);
            made.cells.extend(beside);
        }
        for (number, _) in used.iter().enumerate().filter(|(_, used)| !**used && !chosen.is_empty()) {
            let loader = &self.block.beside[number].0;
            made.wrong(
                self.at.key("beside").item(number),
                format!(
                    "{loader} can run in no cell of this block: the lock has it for no userspace of theirs, or `without` leaves it out"
                ),
            );
        }
    }
}

impl Made {
    fn wrong(&mut self, at: NodePath, what: String) {
        self.findings.push(Finding { at: At::Node(at), what });
    }
}
