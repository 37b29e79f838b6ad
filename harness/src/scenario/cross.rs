//! The combinations of a block's axes, as a few small numbers each. There may be hundreds of thousands, of which most cannot be and a
//! coverage takes some hundreds: cells are made of those alone.

use super::id;
use super::position::NodePath;
use super::words::{Filled, Literal, Region, Regions, Text};
use super::written::Block;
use crate::cell::{Cell, CellId, Kernel, Loader, LowMemory, Platform, Reader, Tamper, Trigger};
use crate::outcome::Expectation;
use guest_protocol::{Arch, Circumstances};

/// Stands in a cell until its rule is found: rules ask for a cell's axes, so the cell has to be there before.
const NOT_YET_EXPECTED: Expectation = Expectation::Unreserved;

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

/// What a combination chooses: an item of each of these lists. In the order in which combinations follow each other, the last one
/// changing fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Choice {
    First,
    Capture,
    /// A reservation with its platform.
    Region,
    Userspace,
    Loader,
    /// The loader's arguments and the circumstances.
    Load,
    /// The trigger, and all that is done to the first kernel or read after it.
    End,
}

impl Choice {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 7] =
        [Self::First, Self::Capture, Self::Region, Self::Userspace, Self::Loader, Self::Load, Self::End];
}

/// Something for each choice.
pub(super) type ByChoice<T> = [T; Choice::ALL.len()];

/// A combination: for each choice the number of the item, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Combination(ByChoice<usize>);

impl Combination {
    /// The number of the item that it chooses there.
    pub(super) const fn of(self, choice: Choice) -> usize {
        self.0[choice as usize]
    }

    /// The one after it, where the lists have these sizes.
    fn next(mut self, sizes: &ByChoice<usize>) -> Option<Self> {
        for (number, size) in self.0.iter_mut().zip(sizes).rev() {
            *number += 1;
            if *number < *size {
                return Some(self);
            }
            *number = 0;
        }
        None
    }
}

/// What a cell meets after the load.
pub(super) struct End<'b> {
    pub(super) trigger: Trigger,
    pub(super) reader: Option<&'b Reader>,
    pub(super) tamper: Tamper,
    pub(super) low_memory: LowMemory,
}

/// The lists that a block's combinations choose from.
pub(super) struct Cross<'b> {
    block: &'b Block,
    suite: &'b str,
    firsts: Vec<Kernel>,
    captures: Vec<Kernel>,
    regions: Vec<PlacedRegion<'b>>,
    loads: Vec<(&'b [Text], Circumstances)>,
    ends: Vec<End<'b>>,
}

impl<'b> Cross<'b> {
    pub(super) fn new(
        block: &'b Block,
        suite: &'b str,
        firsts: Vec<Kernel>,
        captures: Vec<Kernel>,
        regions: Vec<PlacedRegion<'b>>,
    ) -> Self {
        let readers: Vec<Option<&Reader>> = match &block.reader {
            None => vec![None],
            Some(readers) => readers.0.iter().map(|reader| Some(&reader.0)).collect(),
        };
        let mut loads = Vec::new();
        for args in &block.loader_args.0 {
            loads.extend(block.circumstances.0.iter().map(|met| (args.as_slice(), met.0.0)));
        }
        let mut ends = Vec::new();
        for &Literal(trigger) in &block.trigger.0 {
            for &reader in &readers {
                for &Literal(tamper) in &block.tamper.0 {
                    let low_memory = block.low_memory.0.iter();
                    ends.extend(low_memory.map(|low| End { trigger, reader, tamper, low_memory: low.0 }));
                }
            }
        }
        Self { block, suite, firsts, captures, regions, loads, ends }
    }

    /// How many items each list has.
    pub(super) fn sizes(&self) -> ByChoice<usize> {
        Choice::ALL.map(|choice| match choice {
            Choice::First => self.firsts.len(),
            Choice::Capture => self.captures.len(),
            Choice::Region => self.regions.len(),
            Choice::Userspace => self.block.userspace.0.len(),
            Choice::Loader => self.block.loader.0.len(),
            Choice::Load => self.loads.len(),
            Choice::End => self.ends.len(),
        })
    }

    /// Every combination, in their order.
    pub(super) fn all(&self) -> impl Iterator<Item = Combination> + use<> {
        self.over(&Choice::ALL)
    }

    /// Every combination that differs in these choices only, in their order; of the other lists each has the first item.
    pub(super) fn over(&self, choices: &[Choice]) -> impl Iterator<Item = Combination> + use<> {
        let mut sizes = self.sizes();
        let first = sizes.iter().all(|&size| size > 0).then(Combination::default);
        for choice in Choice::ALL.iter().filter(|choice| !choices.contains(choice)) {
            sizes[*choice as usize] = 1;
        }
        std::iter::successors(first, move |combination| combination.next(&sizes))
    }

    pub(super) fn first(&self, combination: Combination) -> &Kernel {
        &self.firsts[combination.of(Choice::First)]
    }

    pub(super) fn capture(&self, combination: Combination) -> &Kernel {
        &self.captures[combination.of(Choice::Capture)]
    }

    pub(super) fn region(&self, combination: Combination) -> &PlacedRegion<'b> {
        &self.regions[combination.of(Choice::Region)]
    }

    pub(super) fn userspace(&self, combination: Combination) -> Arch {
        self.block.userspace.0[combination.of(Choice::Userspace)].0.0
    }

    pub(super) fn loader(&self, combination: Combination) -> &'b Loader {
        &self.block.loader.0[combination.of(Choice::Loader)].0
    }

    pub(super) fn load(&self, combination: Combination) -> (&'b [Text], Circumstances) {
        self.loads[combination.of(Choice::Load)]
    }

    pub(super) fn end(&self, combination: Combination) -> &End<'b> {
        &self.ends[combination.of(Choice::End)]
    }

    /// The cell that a combination is.
    pub(super) fn cell(&self, combination: Combination) -> Cell {
        let words = |texts: &[Text]| texts.iter().map(|text| text.0.clone()).collect::<Vec<_>>();
        let region = self.region(combination);
        let (args, circumstances) = self.load(combination);
        let End { trigger, reader, tamper, low_memory } = *self.end(combination);
        let mut cell = Cell {
            id: CellId(String::new()),
            suite: self.suite.to_owned(),
            first: self.first(combination).clone(),
            userspace: self.userspace(combination),
            loader: self.loader(combination).clone(),
            loader_args: words(args),
            circumstances,
            capture: self.capture(combination).clone(),
            reservation: region.region.reservation,
            platform: region.platform.clone(),
            trigger,
            reader: reader.cloned(),
            first_cmdline: words(&self.block.first_cmdline),
            capture_cmdline: words(&self.block.capture_cmdline),
            tamper,
            low_memory,
            expected: NOT_YET_EXPECTED,
        };
        cell.id = id::of(&cell);
        cell
    }
}

/// Something that depends on some choices only.
pub(super) struct Table<T> {
    /// The choices, each with how far apart the values of two neighbours are.
    strides: Vec<(Choice, usize)>,
    values: Vec<T>,
}

impl<T: Clone> Table<T> {
    /// The same value everywhere. `choices` are in their order, each once.
    pub(super) fn filled(cross: &Cross<'_>, choices: &[Choice], value: T) -> Self {
        let sizes = cross.sizes();
        let mut strides = Vec::new();
        let mut all = 1;
        for &choice in choices.iter().rev() {
            strides.push((choice, all));
            all *= sizes[choice as usize];
        }
        Self { strides, values: vec![value; all] }
    }
}

impl<T> Table<T> {
    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    fn index(&self, combination: Combination) -> usize {
        let mut index = 0;
        for &(choice, stride) in &self.strides {
            index += combination.of(choice) * stride;
        }
        index
    }

    /// What stands there for the combination.
    pub(super) fn get(&self, combination: Combination) -> &T {
        &self.values[self.index(combination)]
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, combination: Combination) -> &mut T {
        let index = self.index(combination);
        &mut self.values[index]
    }
}
