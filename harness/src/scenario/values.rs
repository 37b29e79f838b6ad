//! The values of a block's axes: which of them are in combinations that can be, and which never are.

use super::cross::{ByChoice, Choice, Combination, Cross};
use super::written::Factor;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of an item of a choice's list.
#[derive(Clone, Copy, Default)]
struct Item {
    /// Whether any combination with it can be.
    can_be: bool,
    /// The first combination with it that cannot be.
    cannot_be: Option<Combination>,
}

/// What is known of the values.
pub(super) struct Values<'c> {
    cross: &'c Cross<'c>,
    items: ByChoice<Vec<Item>>,
}

impl<'c> Values<'c> {
    /// The factors whose values must not be in vain: one of each choice that anything can be impossible for.
    const LOOKED_AT: [Factor; 11] = [
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

    /// Nothing is known yet.
    pub(super) fn new(cross: &'c Cross<'c>) -> Self {
        Self { cross, items: cross.sizes().map(|size| vec![Item::default(); size]) }
    }

    /// Takes note of a combination that can be.
    pub(super) fn can_be(&mut self, combination: Combination) {
        for choice in Choice::ALL {
            self.items[choice as usize][combination.of(choice)].can_be = true;
        }
    }

    /// Takes note of a combination that cannot be. They come in their order.
    pub(super) fn cannot_be(&mut self, combination: Combination) {
        for choice in Choice::ALL {
            let item = &mut self.items[choice as usize][combination.of(choice)];
            if item.cannot_be.is_none() {
                item.cannot_be = Some(combination);
            }
        }
    }

    /// The values of an axis that are in combinations which can be.
    pub(super) fn possible(&self, axis: Factor) -> BTreeSet<String> {
        let of_axis = self.of(axis).into_iter();
        of_axis.filter(|(_, item)| item.can_be).map(|(word, _)| word).collect()
    }

    /// The values that are in no combination that can be, sorted, each with the first that cannot.
    pub(super) fn never(&self) -> Vec<(Factor, String, Combination)> {
        let never = Self::LOOKED_AT.into_iter().flat_map(|factor| {
            let values = self.of(factor).into_iter().filter(|(_, item)| !item.can_be);
            values.filter_map(move |(word, item)| Some((factor, word, item.cannot_be?)))
        });
        never.collect()
    }

    /// What is known of the values of an axis. Several items may have the same: every region on a machine has its memory.
    fn of(&self, axis: Factor) -> BTreeMap<String, Item> {
        let mut values: BTreeMap<String, Item> = BTreeMap::new();
        for &choice in axis.choices() {
            let words = self.cross.words(axis, choice);
            for (word, item) in words.into_iter().zip(&self.items[choice as usize]) {
                let value = values.entry(word).or_default();
                value.can_be |= item.can_be;
                value.cannot_be = value.cannot_be.into_iter().chain(item.cannot_be).min();
            }
        }
        values
    }
}
