//! The cells of one block: the combinations of its axes, those of them that its coverage asks for, and the loaders beside.

use super::coverage::{Covered, Row, cover};
use super::position::NodePath;
use super::problem::{At, Finding};
use super::written::{Block, Coverage, Factor, Filled, Literal, Region, Regions, Text};
use super::{Catalog, expand, id, overrides};
use crate::cell::{Cell, CellId, Kernel, LowMemory, Platform, Reader, Tamper, Trigger};
use crate::outcome::Expectation;
use guest_protocol::Circumstances;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

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
    /// The name of its machine, where the block's `machines` made it.
    pub(super) machine: Option<String>,
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
    /// How much of what can be its coverage takes.
    pub(super) covered: Covered,
    pub(super) findings: Vec<Finding>,
}

/// The values that were in combinations which cannot be, each with the first such one's place and reason.
#[derive(Default)]
struct Missing {
    first: BTreeMap<(Factor, String), (NodePath, String)>,
}

impl Missing {
    /// What is looked at.
    const FACTORS: [Factor; 11] = [
        Factor::First,
        Factor::Userspace,
        Factor::Loader,
        Factor::Capture,
        Factor::Region,
        Factor::Trigger,
        Factor::Hardware,
        Factor::Memory,
        Factor::Machine,
        Factor::Firmware,
        Factor::Cpus,
    ];

    fn note(&mut self, combination: &Combination<'_>, why: String) {
        for factor in Self::FACTORS {
            let key = (factor, factor.value(combination));
            self.first.entry(key).or_insert_with(|| (combination.region.at.clone(), why.clone()));
        }
    }
}

/// The values of a factor as numbers, by combination, and how many there are.
type Numbered = (Rc<Vec<u32>>, u32);

/// What a block's combinations meet, as numbers: each stands for the values of one group of factors.
struct Demands {
    /// For each group the number of its first demand, and its factors.
    groups: Vec<(u32, Vec<Numbered>)>,
}

impl Demands {
    fn new(combinations: &[Combination<'_>], groups: &BTreeSet<Vec<Factor>>) -> Self {
        let factors: BTreeSet<Factor> = groups.iter().flatten().copied().collect();
        let numbered = factors.into_iter().map(|factor| {
            let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
            let mut next = 0;
            let of_all = combinations.iter().map(|one| {
                *numbers.entry(factor.value(one)).or_insert_with(|| {
                    next += 1;
                    next - 1
                })
            });
            let of_all: Vec<u32> = of_all.collect();
            (factor, (Rc::new(of_all), next))
        });
        let numbered: BTreeMap<Factor, Numbered> = numbered.collect();
        let mut first = 0;
        let groups = groups.iter().map(|group| {
            let factors: Vec<_> = group.iter().filter_map(|factor| numbered.get(factor).cloned()).collect();
            let own = first;
            first += factors.iter().map(|(_, values)| values).product::<u32>();
            (own, factors)
        });
        Self { groups: groups.collect() }
    }

    /// What the combination of this number meets.
    fn of(&self, combination: usize) -> Vec<u32> {
        let demand = |(first, factors): &(u32, Vec<Numbered>)| {
            first + factors.iter().fold(0, |number, (of_all, values)| number * values + of_all[combination])
        };
        self.groups.iter().map(demand).collect()
    }
}

/// A combination of a block's axes.
struct Combination<'c> {
    cell: Cell,
    region: &'c PlacedRegion<'c>,
}

impl Factor {
    /// What a block's axes are.
    const AXES: [Self; 16] = [
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
        Self::Hardware,
        Self::Memory,
        Self::Machine,
        Self::Firmware,
        Self::Cpus,
    ];

    /// What `machines` lists.
    const OF_ON: [Self; 5] = [Self::Hardware, Self::Memory, Self::Machine, Self::Firmware, Self::Cpus];

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
            Self::Hardware => "hardware",
            Self::Memory => "memory",
            Self::Machine => "machine",
            Self::Firmware => "firmware",
            Self::Cpus => "cpus",
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
            Self::Region if region.machine.is_some() => cell.reservation.to_string(),
            Self::Region => format!("{} on {}", cell.reservation, cell.platform.name),
            Self::Trigger => cell.trigger.name().to_owned(),
            Self::Reader => cell.reader.as_ref().map(ToString::to_string).unwrap_or_default(),
            Self::Tamper => cell.tamper.name().to_owned(),
            Self::LowMemory => cell.low_memory.name().to_owned(),
            Self::Pair => format!("{}->{}", cell.first.arch, cell.capture.arch),
            Self::Limit => region.limit.unwrap_or_default().to_owned(),
            Self::Hardware => {
                cell.platform.hardware.as_ref().map(|known| known.name.clone()).unwrap_or_default()
            }
            Self::Memory => cell.platform.memory.to_string(),
            Self::Machine => region.machine.clone().unwrap_or_else(|| cell.platform.machine.clone()),
            Self::Firmware => cell.platform.firmware.name().to_owned(),
            Self::Cpus => cell.platform.cpus.to_string(),
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
        let mut possible = Vec::new();
        let mut missing = Missing::default();
        self.each_combination(|combination| {
            let without = self.block.without.iter();
            if let Some(number) = without.clone().position(|filter| filter.0.matches(&combination.cell)) {
                left_out[number] = true;
                return;
            }
            match (expand::why_impossible(&combination.cell, catalog), self.block.coverage) {
                (None, _) => possible.push(combination),
                (Some((axis, why)), None) => made.wrong(self.place(axis, combination.region), why),
                (Some((axis, why)), Some(_)) => {
                    *made.impossible.entry(axis).or_insert(0) += 1;
                    missing.note(&combination, why);
                }
            }
        });
        self.check_every(&mut made);
        if self.block.coverage.is_some() {
            self.check_values(&possible, missing, &mut made);
        }
        let all = possible.len();
        let chosen = match self.block.coverage {
            None | Some(Coverage::Full) => possible,
            Some(Coverage::Pairwise) => self.covering(possible, &mut made),
        };
        if self.block.coverage.is_some() {
            made.covered.possible = all;
            made.covered.taken = chosen.len();
        }
        self.with_loaders_beside(chosen, catalog, &mut left_out, &mut made);
        for (filter, _) in left_out.iter().enumerate().filter(|(_, used)| !**used) {
            made.wrong(
                self.at.key("without").item(filter),
                "this filter leaves nothing out of its block: remove it".to_owned(),
            );
        }
        made
    }

    /// Makes every combination of the axes, one after the other: there may be hundreds of thousands that cannot be.
    fn each_combination<'c>(&'c self, mut take: impl FnMut(Combination<'c>)) {
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
                                    take(Combination { cell, region });
                                }
                            }
                        }
                    }
                }
            }
        }
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
    fn check_values(&self, possible: &[Combination<'_>], missing: Missing, made: &mut Made) {
        let mut there: BTreeMap<Factor, BTreeSet<String>> = BTreeMap::new();
        for one in possible {
            for factor in Missing::FACTORS {
                let values = there.entry(factor).or_default();
                let value = factor.value(one);
                if !values.contains(&value) {
                    values.insert(value);
                }
            }
        }
        for ((factor, value), (region, why)) in missing.first {
            if !there.get(&factor).is_some_and(|values| values.contains(&value)) {
                let what =
                    format!("`{value}` is in no combination of this block that can be; the first: {why}");
                let place = match factor {
                    Factor::Region => region,
                    Factor::Hardware | Factor::Memory | Factor::Machine | Factor::Firmware | Factor::Cpus => {
                        self.at.key("machines").key(factor.name())
                    }
                    _ => self.at.key(factor.name()),
                };
                made.wrong(place, what);
            }
        }
    }

    /// The place of an axis, and of a region the place of that.
    fn place(&self, axis: &str, region: &PlacedRegion<'_>) -> NodePath {
        if axis == Factor::Region.name() { region.at.clone() } else { self.at.key(axis) }
    }

    /// Those of the combinations that together have every pair of values of two axes, and all that `every` asks for.
    fn covering<'c>(&self, possible: Vec<Combination<'c>>, made: &mut Made) -> Vec<Combination<'c>> {
        let several =
            |factor: &Factor| possible.iter().map(|one| factor.value(one)).collect::<BTreeSet<_>>().len() > 1;
        // A platform that `machines` make is five axes; any other is one with its region.
        let own = |factor: &Factor| self.block.on.is_some() || !Factor::OF_ON.contains(factor);
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
        let demands = Demands::new(&possible, &groups);
        let rows: Vec<Row<'_>> = possible
            .iter()
            .enumerate()
            .map(|(number, one)| Row { name: &one.cell.id.0, meets: demands.of(number) })
            .collect();
        let mut chosen = vec![false; possible.len()];
        let cover = cover(&rows);
        cover.rows.into_iter().for_each(|row| chosen[row] = true);
        made.covered.demands = cover.demands;
        drop(rows);
        let mut taken = Vec::new();
        for (one, chosen) in possible.into_iter().zip(chosen) {
            if chosen { taken.push(one) } else { made.untaken.push(one.cell) }
        }
        taken
    }

    /// The cells of these combinations, each with those of the loaders beside that can run in it and are not left out by a filter.
    fn with_loaders_beside(
        &self,
        chosen: Vec<Combination<'_>>,
        catalog: &Catalog,
        left_out: &mut [bool],
        made: &mut Made,
    ) {
        let mut used = vec![false; self.block.beside.len()];
        let is_empty = chosen.is_empty();
        for Combination { cell, .. } in chosen {
            let beside = self.block.beside.iter().zip(&mut used).filter_map(|(Literal(loader), used)| {
                let mut beside = Cell { loader: loader.clone(), ..cell.clone() };
                beside.id = id::of(&beside);
                let can_be = expand::why_impossible(&beside, catalog).is_none()
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
        for (number, _) in used.iter().enumerate().filter(|(_, used)| !**used && !is_empty) {
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
