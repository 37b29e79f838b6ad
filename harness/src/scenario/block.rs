//! The cells of one block: the combinations of its axes, those of them that its coverage asks for, and the loaders beside.

use super::coverage::{Demand, Row, cover};
use super::position::NodePath;
use super::problem::{At, Finding};
use super::written::{Block, CoverageWord, Factor, Filled, Literal, Region, Regions, Text};
use super::{Catalog, expand, id, overrides};
use crate::cell::{Cell, CellId, Kernel, LowMemory, Platform, Reader, Tamper, Trigger};
use crate::outcome::Expectation;
use guest_protocol::Circumstances;
use std::collections::{BTreeMap, BTreeSet};

/// Stands in a cell until its rule is found: rules ask for a cell's axes, so the cell has to be there before.
const NOT_YET_EXPECTED: Expectation = Expectation::Unreserved;

/// A block with its names looked up.
pub(super) struct Checked<'b> {
    pub(super) block: &'b Block,
    /// Its place.
    pub(super) at: NodePath,
    pub(super) suite: &'b str,
    pub(super) firsts: Vec<Kernel>,
    pub(super) captures: Vec<Kernel>,
    pub(super) regions: Vec<PlacedRegion<'b>>,
}

/// A region with its platform.
#[derive(Clone)]
pub(super) struct PlacedRegion<'b> {
    pub(super) region: &'b Region,
    pub(super) platform: Platform,
    /// The name that it stands under.
    pub(super) limit: Option<&'b str>,
    pub(super) at: NodePath,
}

/// The cells of a block.
#[derive(Default)]
pub(super) struct Made {
    /// In the order of the file.
    pub(super) cells: Vec<Cell>,
    /// Cells that could be as well, and that the coverage does without.
    pub(super) untaken: Vec<Cell>,
    /// Combinations that cannot be and were left out for it, by the axis to blame.
    pub(super) impossible: BTreeMap<&'static str, usize>,
    pub(super) findings: Vec<Finding>,
}

/// A combination of a block's axes.
struct Combination<'c> {
    cell: Cell,
    region: &'c PlacedRegion<'c>,
}

impl Factor {
    /// What a block's axes are.
    const AXES: [Self; 11] = [
        Self::First,
        Self::Userspace,
        Self::Loader,
        Self::LoaderArgs,
        Self::Circumstances,
        Self::Capture,
        Self::Region,
        Self::Trigger,
        Self::Reader,
        Self::Tamper,
        Self::LowMemory,
    ];

    /// As it is written.
    const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Userspace => "userspace",
            Self::Loader => "loader",
            Self::LoaderArgs => "loader-args",
            Self::Circumstances => "circumstances",
            Self::Capture => "capture",
            Self::Region => "region",
            Self::Trigger => "trigger",
            Self::Reader => "reader",
            Self::Tamper => "tamper",
            Self::LowMemory => "low-memory",
            Self::Pair => "pair",
            Self::Limit => "limit",
        }
    }

    fn value(self, Combination { cell, region }: &Combination<'_>) -> String {
        match self {
            Self::First => cell.first.name.clone(),
            Self::Userspace => cell.userspace.to_string(),
            Self::Loader => cell.loader.to_string(),
            Self::LoaderArgs => cell.loader_args.join(" "),
            Self::Circumstances => cell.circumstances.name().to_owned(),
            Self::Capture => cell.capture.name.clone(),
            Self::Region => format!("{} on {}", cell.reservation, cell.platform.name),
            Self::Trigger => cell.trigger.name().to_owned(),
            Self::Reader => cell.reader.as_ref().map(ToString::to_string).unwrap_or_default(),
            Self::Tamper => cell.tamper.name().to_owned(),
            Self::LowMemory => cell.low_memory.name().to_owned(),
            Self::Pair => format!("{}->{}", cell.first.arch, cell.capture.arch),
            Self::Limit => region.limit.unwrap_or_default().to_owned(),
        }
    }
}

/// Looks up the regions that a block lists, in its order.
pub(super) fn listed<'b>(
    regions: &'b Regions,
    at: &NodePath,
) -> Vec<(Option<&'b str>, &'b Region, NodePath)> {
    fn numbered(
        list: &Filled<Literal<Region>>,
        at: NodePath,
    ) -> impl Iterator<Item = (&Region, NodePath)> + '_ {
        list.0.iter().enumerate().map(move |(number, Literal(region))| (region, at.item(number)))
    }
    match regions {
        Regions::Plain(list) => numbered(list, at.clone()).map(|(region, at)| (None, region, at)).collect(),
        Regions::ByLimit(lists) => lists
            .iter()
            .flat_map(|(name, list)| {
                numbered(list, at.key(&name.0)).map(|(region, at)| (Some(name.0.as_str()), region, at))
            })
            .collect(),
    }
}

impl Checked<'_> {
    /// The cells, and all that is wrong with the block.
    pub(super) fn cells(&self, catalog: &Catalog) -> Made {
        let mut made = Made::default();
        let mut left_out = vec![false; self.block.without.len()];
        let mut combinations = self.combinations();
        combinations.retain(|Combination { cell, .. }| {
            match self.block.without.iter().position(|filter| filter.0.matches(cell)) {
                Some(number) => {
                    left_out[number] = true;
                    false
                }
                None => true,
            }
        });
        for (filter, _) in left_out.iter().enumerate().filter(|(_, used)| !**used) {
            made.wrong(
                self.at.key("without").item(filter),
                "this filter leaves nothing out of its block: remove it".to_owned(),
            );
        }
        self.check_every(&mut made);
        let chosen = match self.block.coverage {
            None => self.all_or_wrong(combinations, catalog, &mut made),
            Some(coverage) => {
                let possible = self.possible(combinations, catalog, &mut made);
                match coverage {
                    CoverageWord::Full => possible,
                    CoverageWord::Pairwise => self.covering(possible, &mut made),
                }
            }
        };
        self.with_loaders_beside(chosen, catalog, &mut made);
        made
    }

    /// Every combination of the axes.
    fn combinations(&self) -> Vec<Combination<'_>> {
        let words = |texts: &[Text]| texts.iter().map(|text| text.0.clone()).collect::<Vec<_>>();
        let block = self.block;
        let readers: Vec<Option<Reader>> = match &block.reader {
            None => vec![None],
            Some(readers) => readers.0.iter().map(|reader| Some(reader.0.clone())).collect(),
        };
        let loads: Vec<(&Vec<Text>, Circumstances)> = block
            .loader_args
            .0
            .iter()
            .flat_map(|args| block.circumstances.0.iter().map(move |met| (args, met.0.0)))
            .collect();
        let changes = block
            .tamper
            .0
            .iter()
            .flat_map(|tamper| block.low_memory.0.iter().map(move |low_memory| (tamper.0, low_memory.0)));
        let changes: Vec<(Tamper, LowMemory)> = changes.collect();
        let ends: Vec<(Trigger, &Option<Reader>, (Tamper, LowMemory))> = block
            .trigger
            .0
            .iter()
            .flat_map(|trigger| readers.iter().map(move |reader| (trigger.0, reader)))
            .flat_map(|(trigger, reader)| changes.iter().map(move |&changes| (trigger, reader, changes)))
            .collect();
        let mut combinations = Vec::new();
        for first in &self.firsts {
            for capture in &self.captures {
                for region in &self.regions {
                    for userspace in &block.userspace.0 {
                        for loader in &block.loader.0 {
                            for &(args, circumstances) in &loads {
                                for &(trigger, reader, (tamper, low_memory)) in &ends {
                                    let mut cell = Cell {
                                        id: CellId(String::new()),
                                        suite: self.suite.to_owned(),
                                        first: first.clone(),
                                        userspace: userspace.0.0,
                                        loader: loader.0.clone(),
                                        loader_args: words(args),
                                        circumstances,
                                        capture: capture.clone(),
                                        reservation: region.region.reservation,
                                        platform: region.platform.clone(),
                                        trigger,
                                        reader: reader.clone(),
                                        first_cmdline: words(&block.first_cmdline),
                                        capture_cmdline: words(&block.capture_cmdline),
                                        tamper,
                                        low_memory,
                                        expected: NOT_YET_EXPECTED,
                                    };
                                    cell.id = id::of(&cell);
                                    combinations.push(Combination { cell, region });
                                }
                            }
                        }
                    }
                }
            }
        }
        combinations
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
                } else if *factor == Factor::Limit && matches!(self.block.region, Regions::Plain(_)) {
                    let what = "`limit` is the name that regions stand under, and those of this block stand under none";
                    made.wrong(place, what.to_owned());
                }
            }
        }
    }

    /// All combinations, where each that cannot be is an error.
    fn all_or_wrong<'c>(
        &self,
        combinations: Vec<Combination<'c>>,
        catalog: &Catalog,
        made: &mut Made,
    ) -> Vec<Combination<'c>> {
        let mut all = Vec::new();
        for combination in combinations {
            match expand::why_impossible(&combination.cell, catalog) {
                None => all.push(combination),
                Some((axis, why)) => made.wrong(self.place(axis, combination.region), why),
            }
        }
        all
    }

    /// The combinations that can be. A value that is in none of them is an error: it would say nothing, unnoticed.
    fn possible<'c>(
        &self,
        combinations: Vec<Combination<'c>>,
        catalog: &Catalog,
        made: &mut Made,
    ) -> Vec<Combination<'c>> {
        let mut possible: Vec<Combination<'c>> = Vec::new();
        let mut impossible: Vec<(Combination<'c>, (&'static str, String))> = Vec::new();
        for combination in combinations {
            match expand::why_impossible(&combination.cell, catalog) {
                None => possible.push(combination),
                Some((axis, why)) => {
                    *made.impossible.entry(axis).or_insert(0) += 1;
                    impossible.push((combination, (axis, why)));
                }
            }
        }
        for factor in [Factor::First, Factor::Userspace, Factor::Loader, Factor::Capture, Factor::Region] {
            let mut there: BTreeSet<String> = possible.iter().map(|one| factor.value(one)).collect();
            for (combination, (_, why)) in &impossible {
                let value = factor.value(combination);
                if there.insert(value.clone()) {
                    let what =
                        format!("`{value}` is in no combination of this block that can be; the first: {why}");
                    made.wrong(self.place(factor.name(), combination.region), what);
                }
            }
        }
        possible
    }

    /// The place of an axis, and of a region the place of that.
    fn place(&self, axis: &str, region: &PlacedRegion<'_>) -> NodePath {
        if axis == Factor::Region.name() { region.at.clone() } else { self.at.key(axis) }
    }

    /// Those of the combinations that together have every pair of values of two axes, and all that `every` asks for.
    fn covering<'c>(&self, possible: Vec<Combination<'c>>, made: &mut Made) -> Vec<Combination<'c>> {
        let several =
            |factor: &Factor| possible.iter().map(|one| factor.value(one)).collect::<BTreeSet<_>>().len() > 1;
        let mut axes: Vec<Factor> = Factor::AXES.into_iter().filter(several).collect();
        if axes.len() < 2 {
            axes = Factor::AXES.to_vec();
        }
        let pairs =
            axes.iter().enumerate().flat_map(|(number, &a)| axes[..number].iter().map(move |&b| vec![b, a]));
        let groups = self.block.every.iter().map(|group| {
            let mut group = group.0.clone();
            group.sort_unstable();
            group
        });
        let groups: BTreeSet<Vec<Factor>> = pairs.chain(groups).collect();
        let demand = |group: &Vec<Factor>, one: &Combination<'_>| -> Demand {
            group.iter().map(|factor| (factor.name(), factor.value(one))).collect()
        };
        let rows: Vec<Row> = possible
            .iter()
            .map(|one| Row {
                name: one.cell.id.0.clone(),
                meets: groups.iter().map(|group| demand(group, one)).collect(),
            })
            .collect();
        let mut chosen = vec![false; possible.len()];
        cover(&rows).into_iter().for_each(|row| chosen[row] = true);
        let mut taken = Vec::new();
        for (one, chosen) in possible.into_iter().zip(chosen) {
            if chosen { taken.push(one) } else { made.untaken.push(one.cell) }
        }
        taken
    }

    /// The cells of these combinations, each with those of the loaders beside that can run in it.
    fn with_loaders_beside(&self, chosen: Vec<Combination<'_>>, catalog: &Catalog, made: &mut Made) {
        let mut used = vec![false; self.block.beside.len()];
        let is_empty = chosen.is_empty();
        for Combination { cell, .. } in chosen {
            let beside = self.block.beside.iter().zip(&mut used).filter_map(|(Literal(loader), used)| {
                let mut beside = Cell { loader: loader.clone(), ..cell.clone() };
                beside.id = id::of(&beside);
                let can_be = expand::why_impossible(&beside, catalog).is_none()
                    && overrides::foreign_argument(&beside).is_none();
                *used |= can_be;
                can_be.then_some(beside)
            });
            let beside: Vec<Cell> = beside.collect();
            made.cells.push(cell);
            made.cells.extend(beside);
        }
        for (number, _) in used.iter().enumerate().filter(|(_, used)| !**used && !is_empty) {
            let loader = &self.block.beside[number].0;
            made.wrong(
                self.at.key("beside").item(number),
                format!(
                    "{loader} can run in no cell of this block: the lock has it for no userspace of theirs"
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
