//! One of several parts of the cells, for runs that are spread over hosts or days. Pure.
//!
//! Cells that share a boot stay together, and each cell is in exactly one part. Groups are dealt out by what they are estimated to
//! take, the longest first and each to the part with the least, so that no part exceeds another by more than one group. The same
//! cells, durations and number of parts give the same parts on every host, in whatever order the cells come.

use crate::artifacts::digest;
use crate::boot::grouped;
use crate::cell::{Cell, CellId};
use crate::durations::Durations;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// What a boot and its saved state cost beside the cells that start from it, in tenths of a second (measured with TCG on two cores: 3.3
/// to 7 s, and half a second to save it).
const BOOT: u64 = 50;

/// Part `part` of `of`: 1 <= part <= of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Partition {
    part: NonZeroU64,
    of: NonZeroU64,
}

/// A text that names no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// It is not two numbers.
    #[error("{0:?} is no part: expected M/N, such as 1/4 for the first of four")]
    Form(String),
    /// The part is not one of them.
    #[error("{part}/{of}: parts are counted from 1 to {of}")]
    Range {
        /// As written.
        part: u64,
        /// As written.
        of: NonZeroU64,
    },
    /// There are no parts.
    #[error("{0}/0: there is one part at the least")]
    NoParts(u64),
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, PartitionError> {
        // `parse` takes a sign.
        let number = |text: &str| (!text.starts_with('+')).then(|| text.parse::<u64>().ok()).flatten();
        let numbers = text.split_once('/').and_then(|(part, of)| number(part).zip(number(of)));
        let (part, of) = numbers.ok_or_else(|| PartitionError::Form(text.to_owned()))?;
        let of = NonZeroU64::new(of).ok_or(PartitionError::NoParts(part))?;
        match NonZeroU64::new(part) {
            Some(part) if part <= of => Ok(Self { part, of }),
            Some(_) | None => Err(PartitionError::Range { part, of }),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

impl TryFrom<String> for Partition {
    type Error = PartitionError;

    fn try_from(text: String) -> Result<Self, PartitionError> {
        text.parse()
    }
}

impl From<Partition> for String {
    fn from(partition: Partition) -> Self {
        partition.to_string()
    }
}

impl Partition {
    /// All parts of so many.
    pub fn all(of: NonZeroU64) -> impl Iterator<Item = Self> {
        (1..=of.get()).filter_map(NonZeroU64::new).map(move |part| Self { part, of })
    }

    /// Its number, from 1.
    pub const fn part(self) -> NonZeroU64 {
        self.part
    }

    /// How many parts there are.
    pub const fn of(self) -> NonZeroU64 {
        self.of
    }
}

/// A cell of a plan, and the part that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dealt {
    /// The cell.
    pub id: CellId,
    /// Its part, from 1.
    pub part: NonZeroU64,
}

/// All cells that were chosen, dealt out. Every part's report has it, so that a part or a cell that is missing is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholePlan {
    /// How many parts there are.
    pub of: NonZeroU64,
    /// Digest of the cells with their expectations, and of the parts that they are in; whatever the cells' order.
    pub digest: String,
    /// The cells that are to be run, in the plan's order.
    pub cells: Vec<Dealt>,
    /// The cells that are skipped, likewise.
    pub skipped: Vec<Dealt>,
}

impl WholePlan {
    /// Deals out what was chosen. Parts can be empty: there may be fewer boots than parts.
    pub fn deal(cells: &[Cell], skipped: &[Cell], durations: &Durations, of: NonZeroU64) -> Self {
        let run: BTreeSet<&CellId> = cells.iter().map(|cell| &cell.id).collect();
        let mut all: Vec<&Cell> = cells.iter().chain(skipped).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let weight = |group: &Vec<&Cell>| {
            let cells = group.iter().filter(|cell| run.contains(&cell.id));
            let seconds: u64 = cells.clone().map(|cell| tenths(durations.estimate(cell))).sum();
            // What is skipped boots nothing.
            if cells.count() == 0 { 0 } else { BOOT + seconds }
        };
        let mut groups: Vec<(u64, Vec<&Cell>)> =
            grouped(all, |cell| cell).into_iter().map(|group| (weight(&group), group)).collect();
        // A stable sort: of the same weight, the group whose first id is the lower comes first.
        groups.sort_by_key(|(weight, _)| Reverse(*weight));
        let mut loads: Vec<(u64, NonZeroU64)> =
            (1..=of.get()).filter_map(NonZeroU64::new).map(|part| (0, part)).collect();
        let mut parts: BTreeMap<&CellId, NonZeroU64> = BTreeMap::new();
        for (weight, group) in groups {
            // What is skipped lies with the first part, which is never empty: of an empty part nobody writes a report.
            let home = if weight == 0 { loads.first_mut() } else { loads.iter_mut().min() };
            let Some(least) = home else { break };
            least.0 += weight;
            parts.extend(group.into_iter().map(|cell| (&cell.id, least.1)));
        }
        let dealt = |cells: &[Cell]| -> Vec<Dealt> {
            let dealt = |cell: &Cell| Some(Dealt { id: cell.id.clone(), part: *parts.get(&cell.id)? });
            cells.iter().filter_map(dealt).collect()
        };
        let text = |cell: &Cell| serde_json::to_string(cell).unwrap_or_else(|_| cell.id.0.clone());
        let part = |cell: &Cell| parts.get(&cell.id).copied().map_or(0, NonZeroU64::get);
        let lines: BTreeSet<String> = cells
            .iter()
            .map(|cell| format!("run {} {}\n", part(cell), text(cell)))
            .chain(skipped.iter().map(|cell| format!("skip {} {}\n", part(cell), text(cell))))
            .collect();
        let lines: String = lines.into_iter().collect();
        Self { of, digest: digest(lines.as_bytes()), cells: dealt(cells), skipped: dealt(skipped) }
    }

    /// The cells of a part that are run or skipped.
    pub fn ids(&self, part: NonZeroU64) -> BTreeSet<&CellId> {
        self.cells.iter().chain(&self.skipped).filter(|cell| cell.part == part).map(|cell| &cell.id).collect()
    }

    /// Parts that have no cell to run.
    pub fn empty(&self) -> Vec<Partition> {
        let used: BTreeSet<NonZeroU64> = self.cells.iter().map(|cell| cell.part).collect();
        Partition::all(self.of).filter(|partition| !used.contains(&partition.part)).collect()
    }
}

/// Whole numbers: sums of fractions would depend on their order.
fn tenths(seconds: f64) -> u64 {
    // Durations are from 0 to a day.
    (seconds * 10.0).round() as u64
}

/// The part of a whole plan that a run is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOfPlan {
    /// Which part.
    pub partition: Partition,
    /// Of what.
    pub plan: WholePlan,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Reservation;
    use crate::outcome::{Outcome, VmcoreState};
    use crate::report::CellResult;
    use crate::testing;
    use guest_protocol::Arch;
    use proptest::prelude::*;

    /// Cells of 240 boots, three each.
    fn cells() -> Vec<Cell> {
        let mut cells = Vec::new();
        for place in 0..120 {
            for userspace in [Arch::I386, Arch::X86_64] {
                for capture in ["5.10-amd64", "6.1-amd64", "6.12-amd64"] {
                    let mut cell = testing::cell();
                    cell.reservation =
                        Reservation::At { size: testing::mib(256), offset_mib: 512 + 16 * place };
                    cell.userspace = userspace;
                    cell.capture.name = capture.into();
                    cell.id = CellId(format!("{}.{place}.{capture}", userspace.name()));
                    cells.push(cell);
                }
            }
        }
        cells
    }

    fn partition(text: &str) -> Partition {
        text.parse().unwrap()
    }

    fn deal(cells: &[Cell], durations: &Durations, of: u64) -> WholePlan {
        WholePlan::deal(cells, &[], durations, NonZeroU64::new(of).unwrap())
    }

    /// Durations of these cells, in tenths of a second.
    fn took(cells: &[Cell], tenths: &[u16]) -> Durations {
        let results: Vec<CellResult> = cells
            .iter()
            .zip(tenths)
            .map(|(cell, tenths)| CellResult {
                id: cell.id.clone(),
                cell: cell.clone(),
                seconds: [("total".to_owned(), f64::from(*tenths) / 10.0)].into(),
                ..testing::result(Outcome::captured(VmcoreState::Verified))
            })
            .collect();
        let mut durations = Durations::default();
        durations.record(&results).unwrap();
        durations
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Bug: a cell is run in no part, or in two; a boot is torn apart; one part has all that is long; or parts depend on the order of
        /// a file, so that hosts do not agree on them.
        #[test]
        fn parts_hold_what_they_promise(
            tenths in proptest::collection::vec(0_u16..2000, 720),
            taken in proptest::sample::subsequence((0..720_usize).collect::<Vec<_>>(), 1..=80),
            of in 1_u64..9,
            turned in 0_usize..80,
        ) {
            let all = cells();
            let chosen: Vec<Cell> = taken.iter().map(|&index| all[index].clone()).collect();
            let durations = took(&all, &tenths);
            let plan = deal(&chosen, &durations, of);
            let part: BTreeMap<&CellId, NonZeroU64> = plan.cells.iter().map(|cell| (&cell.id, cell.part)).collect();
            prop_assert_eq!(part.len(), chosen.len(), "each cell once");
            prop_assert!(part.values().all(|part| part.get() <= of));

            let mut loads = vec![0; usize::try_from(of).unwrap()];
            let mut largest = 0;
            for group in grouped(chosen.iter(), |cell| cell) {
                let home = part[&group[0].id];
                prop_assert!(group.iter().all(|cell| part[&cell.id] == home), "boots stay together");
                let weight = BOOT + group.iter().map(|cell| super::tenths(durations.estimate(cell))).sum::<u64>();
                loads[usize::try_from(home.get() - 1).unwrap()] += weight;
                largest = largest.max(weight);
            }
            let spread = loads.iter().max().unwrap() - loads.iter().min().unwrap();
            prop_assert!(spread <= largest, "{loads:?}, and the largest group is {largest}");

            let mut otherwise = chosen.clone();
            otherwise.reverse();
            let middle = turned.min(otherwise.len());
            otherwise.rotate_left(middle);
            let again = deal(&otherwise, &durations, of);
            let again_part: BTreeMap<_, _> = again.cells.iter().map(|cell| (&cell.id, cell.part)).collect();
            prop_assert_eq!((&part, &plan.digest), (&again_part, &again.digest));
        }
    }

    /// Bug: parts of plans that differ in an expectation, a duration or a skipped cell pass for parts of one.
    #[test]
    fn other_plans_have_other_digests() {
        let some = &cells()[..12];
        let plan = deal(some, &Durations::default(), 3);
        let mut expected = some.to_vec();
        expected[3].expected = crate::outcome::Expectation::Observed;
        let tenths: Vec<u16> = (1..=12).map(|n| n * n * 20).collect();
        let skipped = WholePlan::deal(&some[..11], &some[11..], &Durations::default(), plan.of);
        let others = [
            deal(&expected, &Durations::default(), 3),
            deal(some, &took(some, &tenths), 3),
            deal(some, &Durations::default(), 4),
            deal(&some[..11], &Durations::default(), 3),
            skipped.clone(),
        ];
        for other in others {
            assert_ne!(other.digest, plan.digest);
        }
        assert_eq!((skipped.cells.len(), skipped.skipped.len()), (11, 1));
        assert_eq!(deal(some, &Durations::default(), 3), plan);
    }

    /// Bug: cells that are skipped make a part look full, or belong to no part, and no merged report has them.
    #[test]
    fn what_is_skipped_weighs_nothing_and_has_a_part() {
        let all = cells();
        let plan = WholePlan::deal(&all[..3], &all[3..9], &Durations::default(), NonZeroU64::new(2).unwrap());
        let parts: usize = Partition::all(plan.of).map(|partition| plan.ids(partition.part()).len()).sum();
        assert_eq!((parts, plan.empty().len()), (9, 1), "one boot is run, and so one part is empty");
        assert_eq!(plan.empty()[0].to_string(), "2/2");
    }

    /// Bug: a part's name changes on its way through a report.
    #[test]
    fn parts_are_written_as_they_are_typed() {
        let text = serde_json::to_string(&partition("2/4")).unwrap();
        assert_eq!(
            (text.as_str(), serde_json::from_str::<Partition>(&text).unwrap()),
            ("\"2/4\"", partition("2/4"))
        );
        assert!(serde_json::from_str::<Partition>("\"5/4\"").is_err());
    }

    /// Bug: `0/4` or `5/4` runs nothing and succeeds.
    #[test]
    fn parts_that_are_none_are_refused() {
        for good in ["1/1", "1/4", "4/4"] {
            assert_eq!(partition(good).to_string(), good);
        }
        for (bad, told) in [
            ("", "expected M/N"),
            ("1", "expected M/N"),
            ("1/", "expected M/N"),
            ("a/4", "expected M/N"),
            ("+1/4", "expected M/N"),
            ("-1/4", "expected M/N"),
            ("1/4/2", "expected M/N"),
            ("0/4", "counted from 1 to 4"),
            ("5/4", "counted from 1 to 4"),
            ("1/0", "one part at the least"),
        ] {
            let error = bad.parse::<Partition>().unwrap_err().to_string();
            assert!(error.contains(told), "{bad}: {error}");
        }
    }
}
