//! Whether a cell took longer than it usually does, or less long, by more than noise. Pure.
//!
//! Times of one night depend on its host, and on what else that did. So each night has a speed: the median, over all its cells, of the
//! ratio of a cell's time to that cell's median; times are compared after division by it, and a slow host is one slow host, not five
//! hundred slow cells. What is left is judged by the median and the median absolute deviation (MAD) of earlier nights, which single
//! odd nights do not move, and by a least growth, below which nobody would look.

use super::night::{Night, NightId};
use crate::accel::Accel;
use crate::cell::CellId;
use crate::outcome::Verdict;
use crate::report::Look;
use std::collections::BTreeMap;

/// The latest nights that what is usual is taken from: a loader that became slower a month ago is the usual one by now.
pub const MOST_NIGHTS: usize = 20;
/// Fewer nights than this say nothing on noise.
pub const LEAST_NIGHTS: usize = 5;
/// A night's speed is taken from at least this many cells: else one slow cell would be its own excuse.
const LEAST_CELLS: usize = 5;
/// Deviations beyond the median. Of a normal distribution one value in 16 million lies beyond five; times have longer tails, and a few
/// nights underestimate their deviation, so this is no more than cautious.
const DEVIATIONS: f64 = 5.0;
/// Deviations of few values come out too small half of the time, and so does what is usual of them: the margin grows by this over their
/// number. Chosen by trial on log-normal times, whose false alarms the tests count.
const OF_FEW: f64 = 2.0;
/// Standard deviation over MAD of a normal distribution, 1 / Φ⁻¹(3/4).
const MAD_TO_DEVIATION: f64 = 1.4826;
/// The least growth in seconds that is told: less does not matter to a night.
const LEAST_SECONDS: f64 = 1.0;
/// The least growth as a share of the usual time that is told. Idle hosts repeat a cell within a tenth, busy ones within a quarter.
const LEAST_SHARE: f64 = 0.3;

/// The median; of an even number the mean of the two in the middle. None of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(match values.len() % 2 {
        1 => upper,
        _ => f64::midpoint(*values.get(middle.checked_sub(1)?)?, upper),
    })
}

/// The standard deviation around their median, by the MAD.
fn deviation(times: &[f64], middle: f64) -> Option<f64> {
    Some(MAD_TO_DEVIATION * median(times.iter().map(|time| (time - middle).abs()))?)
}

/// A time beside what is usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// Longer, by more than noise.
    Slower,
    /// Within noise.
    Usual,
    /// Less long, by more than noise.
    Faster,
}

/// What is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// The median, in seconds.
    pub median: f64,
    /// What a time must be away from it to be told, in seconds.
    pub margin: f64,
    /// How many nights it is of.
    pub nights: usize,
}

impl Usual {
    /// Of the times of earlier nights. None of fewer than [`LEAST_NIGHTS`]. `common` is the deviation, as a share of the median, that all
    /// cells have in common: a cell whose few nights happen to agree is not held to that.
    pub fn of(times: &[f64], common: f64) -> Option<Self> {
        if times.len() < LEAST_NIGHTS {
            return None;
        }
        let middle = median(times.iter().copied())?;
        let deviation = deviation(times, middle)?.max(common * middle);
        let few = 1.0 + OF_FEW / times.len() as f64;
        let margin = (DEVIATIONS * few * deviation).max(LEAST_SHARE * middle).max(LEAST_SECONDS);
        Some(Self { median: middle, margin, nights: times.len() })
    }

    /// A time beside it. A time becomes less by no more than all of itself: what has to be twice as fast to be told is told by the
    /// same factor as what is slower.
    pub fn pace(&self, seconds: f64) -> Pace {
        let factor = 1.0 + self.margin / self.median;
        if seconds > self.median + self.margin {
            Pace::Slower
        } else if seconds < self.median / factor && self.median - seconds > LEAST_SECONDS {
            Pace::Faster
        } else {
            Pace::Usual
        }
    }
}

/// A cell whose time is not the usual one.
#[derive(Clone, Debug, PartialEq)]
pub struct Paced {
    /// In which way.
    pub pace: Pace,
    /// Its time in seconds.
    pub seconds: f64,
    /// What it would usually have been on this night's host, in seconds.
    pub usual: f64,
    /// How many earlier nights say so.
    pub of_nights: usize,
    /// The phase that changed most in the same direction, and by how many seconds.
    pub phase: Option<(String, f64)>,
    /// The first night since which it has been so without a break; none where it was not yet so in the night before.
    pub since: Option<NightId>,
}

/// Times are compared only of the same cell that came to the same under the same accelerator, with a boot of its own or without.
type Comparable<'a> = (&'a CellId, Option<&'static str>, bool, Option<Look>);

/// The times of a night by what they can be compared with: of cells that came to what was expected of them.
fn times(night: &Night) -> BTreeMap<Comparable<'_>, f64> {
    let accel = night.header.accel.map(Accel::name);
    let passed = night.cells.values().filter(|cell| matches!(cell.verdict, Verdict::Pass | Verdict::Flaky));
    passed.filter_map(|cell| Some(((&cell.id, accel, cell.shared, cell.outcome), cell.total()?))).collect()
}

/// What this night's cells took, beside earlier nights.
#[derive(Clone, Debug, PartialEq)]
pub struct Paces {
    /// How many times as long as usual this night's cells took, by their median; 1 where there are too few to say.
    pub speed: f64,
    /// The cells whose times are not the usual ones, the speed taken off.
    pub unusual: BTreeMap<CellId, Paced>,
}

/// Judges the times of a night by those of `earlier` ones, oldest first.
pub fn paces(now: &Night, earlier: &[&Night]) -> Paces {
    let earlier = &earlier[earlier.len().saturating_sub(MOST_NIGHTS)..];
    let (own, nights) = (times(now), earlier.iter().map(|night| times(night)).collect::<Vec<_>>());
    let medians: BTreeMap<&Comparable<'_>, f64> = own
        .keys()
        .filter_map(|key| Some((key, median(nights.iter().filter_map(|night| night.get(key).copied()))?)))
        .collect();
    let speed = |night: &BTreeMap<Comparable<'_>, f64>| {
        let ratios: Vec<f64> =
            medians.iter().filter_map(|(key, median)| Some(night.get(*key)? / median)).collect();
        if ratios.len() < LEAST_CELLS { 1.0 } else { median(ratios).unwrap_or(1.0) }
    };
    let speeds: Vec<f64> = nights.iter().map(speed).collect();
    let own_speed = speed(&own);
    // Of each earlier night, how long each cell would have taken at the usual speed.
    let usual_speed = |key: &Comparable<'_>| -> Vec<Option<f64>> {
        nights.iter().zip(&speeds).map(|(night, speed)| Some(night.get(key)? / speed)).collect()
    };
    let each: BTreeMap<&Comparable<'_>, Vec<Option<f64>>> =
        own.keys().map(|key| (key, usual_speed(key))).collect();
    let known = |each: &[Option<f64>]| each.iter().copied().flatten().collect::<Vec<f64>>();
    let share = |each: &Vec<Option<f64>>| {
        let times = known(each);
        let middle = median(times.iter().copied()).filter(|_| times.len() >= LEAST_NIGHTS)?;
        Some(deviation(&times, middle)? / middle)
    };
    let shares: Vec<f64> = each.values().filter_map(share).collect();
    let common = if shares.len() < LEAST_CELLS { 0.0 } else { median(shares).unwrap_or(0.0) };
    let mut unusual = BTreeMap::new();
    for (key, each) in &each {
        let (Some(&seconds), Some(usual)) = (own.get(*key), Usual::of(&known(each), common)) else {
            continue;
        };
        let pace = usual.pace(seconds / own_speed);
        if pace == Pace::Usual {
            continue;
        }
        let so = earlier.iter().zip(each).rev().filter_map(|(night, time)| Some((night, (*time)?)));
        let since = so.take_while(|(_, time)| usual.pace(*time) == pace).last();
        let paced = Paced {
            pace,
            seconds,
            usual: usual.median * own_speed,
            of_nights: usual.nights,
            phase: changed_phase(now, earlier, key, own_speed),
            since: since.map(|(night, _)| night.header.id.clone()),
        };
        unusual.insert(key.0.clone(), paced);
    }
    Paces { speed: own_speed, unusual }
}

/// The phase of a cell whose time is farthest from its median, the night's speed taken off.
fn changed_phase(now: &Night, earlier: &[&Night], key: &Comparable<'_>, speed: f64) -> Option<(String, f64)> {
    let cell = now.cells.get(key.0)?;
    let grown =
        (cell.total()? / speed) - median(earlier.iter().filter_map(|night| night.cells.get(key.0)?.total()))?;
    let phases = cell.seconds.iter().filter(|(phase, _)| *phase != "total");
    let changes = phases.filter_map(|(phase, seconds)| {
        let before = earlier.iter().filter_map(|night| night.cells.get(key.0)?.seconds.get(phase).copied());
        Some((phase.clone(), seconds - median(before)? * speed))
    });
    changes
        .filter(|(_, change)| change.signum() == grown.signum())
        .max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::samples::{cell, night};
    use proptest::prelude::*;

    /// Nights of as many cells as there are factors, whose usual times are 6 s, 7 s, …: time = usual × factor × speed.
    fn nights(factors: &[Vec<f64>], speeds: &[f64]) -> Vec<Night> {
        let cells = |(factors, speed): (&Vec<f64>, &f64)| {
            let cell = |(at, factor): (usize, &f64)| {
                cell(&format!("c{at:03}"), Verdict::Pass, (6.0 + at as f64) * factor * speed)
            };
            factors.iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        (1..).zip(factors.iter().zip(speeds).map(cells)).map(|(day, cells)| night(day, cells)).collect()
    }

    fn judged(nights: &[Night]) -> Paces {
        let (now, earlier) = nights.split_last().unwrap();
        paces(now, &earlier.iter().collect::<Vec<_>>())
    }

    /// A number of [0, 1) out of a seed (splitmix64: Steele, Lea, Flood, OOPSLA 2014).
    fn random(seed: &mut u64) -> f64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A factor around 1 with the tails that times have: log-normal (Box-Muller).
    fn log_normal(seed: &mut u64, sigma: f64) -> f64 {
        let (radius, angle) = (random(seed).max(1e-12), random(seed));
        (sigma * (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()).exp()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Bug: cells that vary as they always did are told as slower or faster, on nights of hosts of any speed.
        #[test]
        fn what_varies_as_ever_is_not_told(
            factors in prop::collection::vec(prop::collection::vec(0.93f64..1.07, 12), 2..24),
            speeds in prop::collection::vec(0.3f64..4.0, 24),
        ) {
            let paces = judged(&nights(&factors, &speeds));
            prop_assert!(paces.unusual.is_empty(), "{:?}", paces.unusual);
        }

        /// Bug: one cell that takes twice as long hides behind its night's noise or behind a fast host; or the others are told in its place.
        #[test]
        fn a_cell_of_twice_the_time_is_found(
            mut factors in prop::collection::vec(prop::collection::vec(0.95f64..1.05, 12), 6..24),
            speeds in prop::collection::vec(0.3f64..4.0, 24),
            which in 0usize..12,
        ) {
            factors.last_mut().unwrap()[which] *= 2.0;
            let paces = judged(&nights(&factors, &speeds));
            let found: Vec<_> = paces.unusual.iter().map(|(id, paced)| (id.0.as_str(), paced.pace)).collect();
            let wanted = format!("c{which:03}");
            prop_assert_eq!(found, [(wanted.as_str(), Pace::Slower)]);
        }

        /// Bug: long tails of a busy host's times make a list of slow cells every night, which nobody then reads.
        #[test]
        fn long_tails_are_rarely_told(mut seed in any::<u64>(), earlier in LEAST_NIGHTS..=MOST_NIGHTS) {
            let mut row = || (0..200).map(|_| log_normal(&mut seed, 0.12)).collect::<Vec<f64>>();
            let factors: Vec<Vec<f64>> = (0..=earlier).map(|_| row()).collect();
            let told = judged(&nights(&factors, &[1.0; MOST_NIGHTS + 1])).unusual.len();
            // Of 200 cells: two in a hundred at worst, with five nights to judge by.
            prop_assert!(told <= 4, "{told} of 200");
        }
    }

    /// Bug: a slow host is told as slow cells, or its speed as the usual one.
    #[test]
    fn a_slow_host_is_one_slow_host() {
        let usual = vec![1.0; 20];
        let mut all = nights(&vec![usual; 8], &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 3.0]);
        let paces = judged(&all);
        assert!((paces.speed - 3.0).abs() < 1e-9 && paces.unusual.is_empty());
        // The one cell that did not become slower with its host became faster.
        let last = all.last_mut().unwrap().cells.get_mut(&CellId("c010".into())).unwrap();
        last.seconds.insert("total".into(), 16.0);
        let paces = judged(&all).unusual;
        assert_eq!(paces.len(), 1);
        assert_eq!(paces[&CellId("c010".into())].pace, Pace::Faster);
    }

    /// Bug: two or three nights are taken for what is usual; or times with a boot of one's own are held against times without, or of
    /// hangs against those of captures.
    #[test]
    fn only_what_can_be_compared_is() {
        let mut all = nights(&vec![vec![1.0; 6]; 6], &[1.0; 6]);
        let slow = |all: &mut Vec<Night>, change: fn(&mut super::super::night::CellNight)| {
            let cell = all.last_mut().unwrap().cells.get_mut(&CellId("c003".into())).unwrap();
            cell.seconds.insert("total".into(), 50.0);
            change(cell);
            judged(all).unusual.len()
        };
        assert_eq!(slow(&mut all, |_| ()), 1);
        assert_eq!(slow(&mut all, |cell| cell.shared = false), 0);
        assert_eq!(slow(&mut all, |cell| (cell.shared, cell.verdict) = (true, Verdict::Fail)), 0);
        assert_eq!(slow(&mut all, |cell| cell.verdict = Verdict::Pass), 1);
        assert_eq!(slow(&mut all[1..].to_vec(), |_| ()), 0);
        all.last_mut().unwrap().header.accel = Some(Accel::Kvm);
        assert_eq!(judged(&all).unusual.len(), 0);
    }

    /// Bug: a cell that has been slow for a week is told as if it were new tonight; or nobody is told which phase it is.
    #[test]
    fn it_is_told_since_when_and_where() {
        let mut factors = vec![vec![1.0; 6]; 9];
        (6..9).for_each(|night| factors[night][4] = 3.0);
        let all = nights(&factors, &[1.0; 9]);
        let paced = judged(&all).unusual.remove(&CellId("c004".into())).unwrap();
        assert_eq!(paced.since.as_ref(), Some(&all[6].header.id));
        assert_eq!((paced.seconds, paced.usual, paced.of_nights), (30.0, 10.0, 8));
        assert_eq!(paced.phase, Some(("capture".to_owned(), 10.0)));
    }

    /// Bug: a median of an even number, of one, or with a time that is no number.
    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([4.0, 1.0, f64::NAN, 2.0, 3.0]), Some(2.5));
    }
}
