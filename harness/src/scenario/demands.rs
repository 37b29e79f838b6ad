//! What a coverage asks of a block's combinations: what each meets, as numbers, and where it stands among those that are as good.

use super::coverage::Row;
use super::cross::{Choice, Combination, Cross, Table};
use super::id;
use super::written::Factor;
use crate::boot::BootKey;
use std::collections::{BTreeMap, BTreeSet};

/// What a block's combinations meet: each number stands for one set of values of a group of factors.
pub(super) struct Demands {
    groups: Vec<Group>,
}

/// A group of factors.
struct Group {
    /// The number of its first demand.
    first: u32,
    /// What each choice that says a value of the group adds to it, by item.
    parts: Vec<(Choice, Vec<u32>)>,
}

impl Demands {
    pub(super) fn new(cross: &Cross<'_>, groups: &BTreeSet<Vec<Factor>>) -> Self {
        let factors: BTreeSet<Factor> = groups.iter().flatten().copied().collect();
        let said = factors.iter().flat_map(|&factor| factor.choices().iter().map(move |&by| (factor, by)));
        let values: BTreeMap<(Factor, Choice), Vec<u32>> =
            said.map(|(factor, by)| ((factor, by), numbered(&cross.words(factor, by)))).collect();
        let mut first = 0;
        let groups = groups.iter().map(|group| {
            let mut parts = Vec::new();
            let mut sets = 1;
            for choice in Choice::ALL {
                let said: Vec<&Vec<u32>> =
                    group.iter().filter_map(|&factor| values.get(&(factor, choice))).collect();
                let Some(items) = said.first().map(|values| values.len()) else { continue };
                // By the sets of values that occur, not by all that might: of a region's factors that is no more than there are regions.
                let sets_of_items: Vec<Vec<u32>> =
                    (0..items).map(|item| said.iter().map(|values| values[item]).collect()).collect();
                let numbers = numbered(&sets_of_items);
                let own = numbers.iter().max().map_or(0, |last| last + 1);
                parts.push((choice, numbers.iter().map(|number| number * sets).collect()));
                sets *= own;
            }
            let group = Group { first, parts };
            first += sets;
            group
        });
        Self { groups: groups.collect() }
    }

    /// What the combination meets, a number for each group.
    fn of(&self, combination: Combination) -> Vec<u32> {
        let mut meets = Vec::with_capacity(self.groups.len());
        for Group { first, parts } in &self.groups {
            let mut demand = *first;
            for (choice, of_items) in parts {
                demand += of_items[combination.of(*choice)];
            }
            meets.push(demand);
        }
        meets
    }
}

/// Numbers from 0, the same for what is equal.
fn numbered<T: Ord>(values: &[T]) -> Vec<u32> {
    let mut numbers = BTreeMap::new();
    let mut next = 0..;
    values.iter().map(|value| *numbers.entry(value).or_insert_with(|| next.next().unwrap_or(0))).collect()
}

/// Where combinations stand among each other by the words of their ids: what the scenario's own order has no part in.
struct Order {
    /// By what ids begin with.
    heads: Vec<(Choice, Vec<usize>)>,
    /// By all that follows.
    rest: Table<usize>,
}

impl Order {
    /// What ids begin with, in their order.
    const HEADS: [Choice; 4] = [Choice::First, Choice::Userspace, Choice::Loader, Choice::Capture];
    /// What says the rest. That is taken as a whole: what stands behind a platform stands there in some ids only.
    const REST: [Choice; 3] = [Choice::Region, Choice::Load, Choice::End];

    fn new(cross: &Cross<'_>) -> Self {
        let head = |(place, choice): (usize, Choice)| {
            let word = |combination| id::parts(&cross.cell(combination))[place].clone() + ".";
            (choice, ranks(&cross.over(&[choice]).map(word).collect::<Vec<_>>()))
        };
        let rest = |combination| id::parts(&cross.cell(combination))[Self::HEADS.len()..].join(".");
        let all: Vec<Combination> = cross.over(&Self::REST).collect();
        let by_word = ranks(&all.iter().map(|&combination| rest(combination)).collect::<Vec<_>>());
        let mut rest = Table::filled(cross, &Self::REST, 0);
        for (combination, rank) in all.into_iter().zip(by_word) {
            *rest.get_mut(combination) = rank;
        }
        Self { heads: Self::HEADS.into_iter().enumerate().map(head).collect(), rest }
    }

    fn rank(&self, combination: Combination) -> usize {
        let mut rank = 0;
        for (choice, ranks) in &self.heads {
            rank = rank * ranks.len() + ranks[combination.of(*choice)];
        }
        rank * self.rest.len() + self.rest.get(combination)
    }
}

/// For each word how many others come before it.
fn ranks(words: &[String]) -> Vec<usize> {
    let sorted: BTreeSet<&String> = words.iter().collect();
    let ranks: BTreeMap<&String, usize> =
        sorted.into_iter().enumerate().map(|(rank, word)| (word, rank)).collect();
    words.iter().map(|word| ranks[word]).collect()
}

/// Which boot each combination's first kernel takes, as numbers.
fn boots(cross: &Cross<'_>) -> Table<usize> {
    /// All that a [`BootKey`] depends on and that differs within a block.
    const SAID_BY: [Choice; 3] = [Choice::First, Choice::Region, Choice::Userspace];
    let all: Vec<Combination> = cross.over(&SAID_BY).collect();
    let keys: Vec<BootKey> = all.iter().map(|&combination| BootKey::of(&cross.cell(combination))).collect();
    let mut boots = Table::filled(cross, &SAID_BY, 0);
    for (combination, number) in all.into_iter().zip(numbered(&keys)) {
        *boots.get_mut(combination) = number as usize;
    }
    boots
}

/// The combinations as rows of a coverage.
pub(super) fn rows(cross: &Cross<'_>, combinations: &[Combination], demands: &Demands) -> Vec<Row> {
    let order = Order::new(cross);
    let boots = boots(cross);
    let row = |&combination: &Combination| Row {
        rank: order.rank(combination),
        boot: *boots.get(combination),
        meets: demands.of(combination),
    };
    combinations.iter().map(row).collect()
}
