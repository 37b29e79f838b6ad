//! Which of many possible rows are enough so that everything that was asked for occurs at least once. Pure, and a function of
//! the rows' content alone: neither their order nor anything random has a say.
//!
//! Own code, since the crates for it are young or generate rows from axes, and here the possible rows are known one by one: what
//! cannot be (an i386 kernel with x86_64 userspace, a region that a machine cannot hold) has been taken out before, whatever its
//! reason. With the rows at hand a covering array is a set cover, and a demand that no possible row meets does not arise.
//!
//! Greedy set cover takes in each step the row that meets most of what is still open. It is within a logarithm of the least
//! possible number (Chvátal 1979); [`tests`] hold it near the lower bound for the shapes that scenarios have.

/// A row that can be, and what it meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Decides between rows that are as good as each other: the least is taken. Rows of the same rank must be the same.
    pub(super) rank: usize,
    /// The boot of a first kernel that it takes: a number from 0, the same in all rows that can share one.
    pub(super) boot: usize,
    /// The demands that it meets, each once: numbers, whatever they stand for.
    pub(super) meets: Vec<u32>,
}

/// How much of what could be a coverage takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Combinations that were taken.
    pub taken: usize,
    /// Combinations that can be.
    pub possible: usize,
    /// Pairs of values, and further combinations that were asked for, which occur in what can be; all of them occur in what was taken.
    /// None are counted where all combinations are taken.
    pub demands: usize,
}

impl std::ops::AddAssign for Covered {
    fn add_assign(&mut self, other: Self) {
        self.taken += other.taken;
        self.possible += other.possible;
        self.demands += other.demands;
    }
}

/// Rows that are enough.
#[derive(Debug)]
pub(super) struct Chosen {
    /// Their numbers, ascending.
    pub(super) rows: Vec<usize>,
    /// How many demands there are, all of which they meet.
    pub(super) demands: usize,
}

/// The rows that together meet every demand which any row meets.
pub(super) fn cover(rows: &[Row]) -> Chosen {
    let mut state = Cover::new(rows);
    let mut chosen: Vec<usize> = Vec::new();
    while let Some(row) = state.best() {
        state.take(row);
        chosen.push(row);
    }
    let demands = state.met.iter().filter(|&&times| times > 0).count();
    // What was chosen early may have become superfluous by what came later.
    for position in (0..chosen.len()).rev() {
        let row = chosen[position];
        if state.is_superfluous(row) {
            state.give_back(row);
            chosen.remove(position);
        }
    }
    chosen.sort_unstable();
    Chosen { rows: chosen, demands }
}

/// How far the cover is.
///
/// While rows are chosen, no row's counts get better: it meets no more of what is open, and the demands that it meets were met no less often.
/// So what was last counted of a row is a bound, and a row whose bound is worse than another's count need not be counted (Minoux 1978).
/// Whether its boot was taken can change for the better, and is looked up each time.
/// Of a large cross there are hundreds of thousands, and hundreds are chosen: most are counted some ten times.
struct Cover<'r> {
    rows: &'r [Row],
    /// How many chosen rows meet each demand.
    met: Vec<u32>,
    /// Whether a chosen row takes each boot.
    booted: Vec<bool>,
    /// The rows by how many of their demands no chosen row met when they were last counted; those at 0 are left out.
    by_open: Vec<Vec<Counted>>,
}

/// A row, as it was last counted.
#[derive(Clone, Copy)]
struct Counted {
    row: usize,
    rank: usize,
    /// How often its demands were met by chosen rows, in sum.
    often: u32,
}

impl<'r> Cover<'r> {
    fn new(rows: &'r [Row]) -> Self {
        let demands = rows.iter().flat_map(|row| &row.meets).max().map_or(0, |&last| last as usize + 1);
        let boots = rows.iter().map(|row| row.boot + 1).max().unwrap_or(0);
        let most = rows.iter().map(|row| row.meets.len()).max().unwrap_or(0);
        let mut by_open = vec![Vec::new(); most + 1];
        for (number, row) in rows.iter().enumerate() {
            by_open[row.meets.len()].push(Counted { row: number, rank: row.rank, often: 0 });
        }
        Self { rows, met: vec![0; demands], booted: vec![false; boots], by_open }
    }

    /// The row that meets the most open demands; of several, one whose boot a chosen row takes already, since a boot is what a row costs most;
    /// of several, the one whose demands were met least often so far, which spreads the values; of several still, the first by rank. None
    /// when nothing is open.
    fn best(&mut self) -> Option<usize> {
        while self.by_open.len() > 1 {
            if let Some(row) = self.best_of_most_open() {
                return Some(row);
            }
            self.by_open.pop();
        }
        None
    }

    /// The best of the rows with the most open demands; none when none of them has so many any more.
    fn best_of_most_open(&mut self) -> Option<usize> {
        let (last, fewer) = self.by_open.split_last_mut()?;
        let most = fewer.len();
        let (mut best, mut least) = (None, (true, u32::MAX, usize::MAX));
        last.retain_mut(|counted| {
            let needs_boot = !self.booted[self.rows[counted.row].boot];
            let order = |counted: &Counted| (needs_boot, counted.often, counted.rank);
            if order(counted) >= least {
                return true;
            }
            let mut open = 0;
            counted.often = 0;
            for &demand in &self.rows[counted.row].meets {
                let times = self.met[demand as usize];
                open += usize::from(times == 0);
                counted.often += times;
            }
            if open < most {
                fewer[open].push(*counted);
                return false;
            }
            if order(counted) < least {
                (best, least) = (Some(counted.row), order(counted));
            }
            true
        });
        best
    }

    fn take(&mut self, row: usize) {
        self.rows[row].meets.iter().for_each(|&demand| self.met[demand as usize] += 1);
        self.booted[self.rows[row].boot] = true;
    }

    /// Whether other chosen rows meet all that this chosen row meets.
    fn is_superfluous(&self, row: usize) -> bool {
        self.rows[row].meets.iter().all(|&demand| self.met[demand as usize] > 1)
    }

    fn give_back(&mut self, row: usize) {
        self.rows[row].meets.iter().for_each(|&demand| self.met[demand as usize] -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// A row with a name of its own.
    #[derive(Clone, Debug)]
    struct Named {
        name: String,
        boot: usize,
        meets: Vec<u32>,
    }

    fn cover(rows: &[Named]) -> Vec<usize> {
        let names: BTreeSet<&String> = rows.iter().map(|row| &row.name).collect();
        let rank = |row: &Named| names.iter().filter(|name| **name < &row.name).count();
        let rows: Vec<Row> = rows
            .iter()
            .map(|row| Row { rank: rank(row), boot: row.boot, meets: row.meets.clone() })
            .collect();
        super::cover(&rows).rows
    }

    /// Every combination of axes of these sizes that `can_be`, with all pairs of axes and the further `groups` as demands.
    fn rows(sizes: &[usize], groups: &[Vec<usize>], can_be: impl Fn(&[usize]) -> bool) -> Vec<Named> {
        let mut all: Vec<Vec<usize>> = vec![Vec::new()];
        for size in sizes {
            all = all
                .iter()
                .flat_map(|row| (0..*size).map(|value| row.iter().copied().chain([value]).collect()))
                .collect();
        }
        let pairs = (0..sizes.len()).flat_map(|a| (0..a).map(move |b| vec![b, a]));
        let groups: Vec<Vec<usize>> = pairs.chain(groups.iter().cloned()).collect();
        let mut numbers: BTreeMap<Vec<(usize, usize)>, u32> = BTreeMap::new();
        let mut number = |demand| {
            let next = u32::try_from(numbers.len()).unwrap();
            *numbers.entry(demand).or_insert(next)
        };
        all.into_iter()
            .filter(|row| can_be(row))
            .map(|row| Named {
                name: format!("{row:?}"),
                // As in scenarios: all axes but the last two say what boots.
                boot: row.iter().zip(sizes).rev().skip(2).fold(0, |boot, (value, size)| boot * size + value),
                meets: groups
                    .iter()
                    .map(|group| number(group.iter().map(|&axis| (axis, row[axis])).collect()))
                    .collect(),
            })
            .collect()
    }

    fn demands<'r>(rows: impl IntoIterator<Item = &'r Named>) -> BTreeSet<&'r u32> {
        rows.into_iter().flat_map(|row| &row.meets).collect()
    }

    fn taken<'r>(rows: &'r [Named], numbers: &[usize]) -> Vec<&'r Named> {
        numbers.iter().map(|&number| &rows[number]).collect()
    }

    /// A shape that scenarios have: few kernels, many regions, and some combinations that cannot be.
    fn shapes() -> impl Strategy<Value = (Vec<Named>, u64)> {
        let sizes = (2..6_usize, 1..3_usize, 2..6_usize, 1..12_usize);
        (sizes, any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|((a, b, c, d), holes, order, triple)| {
            let can_be = |row: &[usize]| {
                let number = row.iter().fold(holes, |hash, value| {
                    (hash ^ *value as u64).wrapping_mul(6_364_136_223_846_793_005).rotate_left(17)
                });
                number % 5 != 0
            };
            let groups = if triple { vec![vec![0, 1, 2]] } else { Vec::new() };
            (rows(&[a, b, c, d], &groups, can_be), order)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Bug: a pair, or a combination of a group, that can be does not occur.
        #[test]
        fn all_that_can_be_met_is_met((rows, _) in shapes()) {
            let chosen = cover(&rows);
            prop_assert_eq!(demands(taken(&rows, &chosen)), demands(&rows));
        }

        /// Bug: sorting a list in a scenario exchanges the cells, and with them the history of each.
        #[test]
        fn the_order_of_the_rows_has_no_say((rows, mut order) in shapes()) {
            let mut shuffled = rows.clone();
            for last in (1..shuffled.len()).rev() {
                order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                shuffled.swap(last, usize::try_from(order >> 33).unwrap() % (last + 1));
            }
            let names = |rows: &[Named]| -> BTreeSet<String> {
                taken(rows, &cover(rows)).into_iter().map(|row| row.name.clone()).collect()
            };
            prop_assert_eq!(names(&rows), names(&shuffled));
        }

        /// Bug: a row stays that the others make superfluous.
        #[test]
        fn no_row_is_superfluous((rows, _) in shapes()) {
            let chosen = cover(&rows);
            for left_out in &chosen {
                let others: Vec<usize> = chosen.iter().copied().filter(|row| row != left_out).collect();
                prop_assert_ne!(demands(taken(&rows, &others)), demands(&rows));
            }
        }
    }

    /// Bug: a worse choice (the first open demand instead of the most) makes suites of twice the size, which all pass the tests
    /// above. The product of the two (or three) largest axes is the lower bound.
    #[test]
    fn sizes_stay_near_the_lower_bound() {
        for (sizes, groups, least, most) in [
            (&[3, 3, 3, 3][..], &[][..], 9, 11),
            (&[6, 2, 6, 40], &[], 240, 244),
            (&[6, 2, 6, 10], &[vec![0, 1, 2]], 72, 80),
            (&[2, 2, 2, 2], &[], 4, 6),
            (&[5], &[], 0, 0),
            (&[10, 10], &[], 100, 100),
        ] {
            let rows = rows(sizes, groups, |_| true);
            let size = cover(&rows).len();
            assert!((least..=most).contains(&size), "{sizes:?}: {size} rows of {}", rows.len());
        }
        // With an i386 half of the kernels that has one userspace only.
        let rows = rows(&[6, 2, 6, 40], &[vec![0, 1, 2]], |row| row[0] < 3 || row[1] == 0);
        let size = cover(&rows).len();
        assert!((240..=250).contains(&size), "{size}");
    }

    /// Bug: of rows that meet as much, one is taken that needs a boot of its own: a night of as many cells takes twice the time.
    #[test]
    fn boots_are_shared_where_that_costs_no_row() {
        // The pairs of the three axes that say what boots need 16 of 64 boots.
        let rows = rows(&[4, 4, 4, 10, 10], &[], |_| true);
        let chosen = cover(&rows);
        let boots: BTreeSet<usize> = chosen.iter().map(|&row| rows[row].boot).collect();
        assert!((100..=110).contains(&chosen.len()), "{} rows", chosen.len());
        assert!((16..=24).contains(&boots.len()), "{} boots for {} rows", boots.len(), chosen.len());
    }

    /// Bug: no possible row at all ends in a panic.
    #[test]
    fn nothing_possible_is_nothing_chosen() {
        assert!(cover(&[]).is_empty());
    }
}
