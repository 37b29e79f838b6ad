//! Rounds to figures: medians with their spread, and ratios of what was measured in the same round.

use crate::cell::{Cell, CellId, Loader};
use crate::outcome::Expectation;
use crate::runner::{Benched, Round};
use crate::scenario::further;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// The loader's run.
    Load,
    /// From the panic to the jump into the purgatory: the first kernel's own part, the same for every loader.
    ToPurgatory,
    /// From there to the capture kernel's first instruction.
    ToKernel,
    /// From the panic to the capture kernel's first instruction.
    Panic,
}

impl Quantity {
    /// All of them, in the order of a crash.
    pub const ALL: [Self; 4] = [Self::Load, Self::ToPurgatory, Self::ToKernel, Self::Panic];

    /// In a table's head.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::ToPurgatory => "panic to purgatory",
            Self::ToKernel => "purgatory to kernel",
            Self::Panic => "panic to kernel",
        }
    }
}

/// What is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Milliseconds: of a load by the guest's clock, of the rest by the host's.
    Time,
    /// Milliseconds of CPU time: of a load as the first kernel accounts it, of the rest QEMU's. What the host withholds is not in it.
    Cpu,
    /// Millions of instructions, of guests whose clocks count them.
    Instructions,
}

impl Basis {
    /// The unit, in words.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Time => "milliseconds",
            Self::Cpu => "milliseconds of CPU time",
            Self::Instructions => "millions of instructions",
        }
    }

    /// A quantity of a round; none where the host did not tell it.
    fn of(self, round: &Round, quantity: Quantity) -> Option<f64> {
        let (first, second) = (&round.panic.to_purgatory, &round.panic.to_kernel);
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        let leg = |leg: &crate::guest::Leg| match self {
            Self::Time => Some(ms(leg.wall)),
            Self::Cpu => leg.cpu.map(ms),
            Self::Instructions => leg.instructions().map(|count| count as f64 / 1e6),
        };
        match quantity {
            Quantity::Load => Some(match self {
                Self::Time | Self::Instructions => round.load.wall_ns as f64 / 1e6,
                Self::Cpu => (round.load.user_us + round.load.system_us) as f64 / 1e3,
            }),
            Quantity::ToPurgatory => leg(first),
            Quantity::ToKernel => leg(second),
            Quantity::Panic => leg(first).zip(leg(second)).map(|(first, second)| first + second),
        }
    }
}

/// A median, and the least and the most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The value in the middle, or the mean of the two there.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
}

impl Spread {
    /// Of these values; none of no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self { median: f64::midpoint(below, above), least, most })
    }
}

/// Loaders that were measured in the same guests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contest {
    /// What the guests have in common, for people.
    pub name: String,
    /// What was measured by.
    pub basis: Basis,
    /// The loaders, this repository's first.
    pub entrants: Vec<Entrant>,
}

/// A loader with its arguments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entrant {
    /// Its name and its further arguments.
    pub name: String,
    /// Whether it is this repository's.
    pub ours: bool,
    /// What was measured, round by round.
    pub rounds: BTreeMap<Quantity, Vec<f64>>,
    /// Their medians and spreads.
    pub figures: BTreeMap<Quantity, Spread>,
    /// Of this repository's: round by round beside the reference with the lowest median of that quantity. None of a quantity that is not
    /// known of every reference: the fastest may be one of which it is not.
    pub ratios: BTreeMap<Quantity, Ratio>,
}

/// This repository's loader beside a reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The reference.
    pub to: String,
    /// Its share of what the reference takes.
    #[serde(flatten)]
    pub share: Spread,
}

/// What was measured, as contests.
pub fn contests(benched: &[Benched], basis: Basis) -> Vec<Contest> {
    let mut contests: Vec<(Cell, Contest)> = Vec::new();
    for one in benched {
        let guest = without_loader(&one.cell);
        let entrant = Entrant::of(one, basis);
        match contests.iter_mut().find(|(of, _)| *of == guest) {
            Some((_, contest)) => contest.entrants.push(entrant),
            None => {
                let contest = Contest { name: name(&guest), basis, entrants: vec![entrant] };
                contests.push((guest, contest));
            }
        }
    }
    let compared = |(_, mut contest): (Cell, Contest)| {
        contest.compare();
        contest
    };
    contests.into_iter().map(compared).collect()
}

/// What cells have in common that are one contest: everything but the loader, its arguments, and what no guest sees.
fn without_loader(cell: &Cell) -> Cell {
    Cell {
        id: CellId(String::new()),
        suite: String::new(),
        loader: Loader::InTree,
        loader_args: Vec::new(),
        expected: Expectation::Observed,
        ..cell.clone()
    }
}

/// That for people.
fn name(guest: &Cell) -> String {
    let Cell { first, userspace, capture, reservation, platform, .. } = guest;
    let name = format!(
        "{} -> {}, {userspace} userspace, {reservation} on {}",
        first.name, capture.name, platform.name
    );
    std::iter::once(name).chain(further(guest)).collect::<Vec<_>>().join(", ")
}

impl Entrant {
    fn of(benched: &Benched, basis: Basis) -> Self {
        let Benched { cell, rounds, .. } = benched;
        let values = |quantity: Quantity| -> Option<(Quantity, Vec<f64>)> {
            let values: Option<Vec<f64>> = rounds.iter().map(|round| basis.of(round, quantity)).collect();
            Some((quantity, values.filter(|values| !values.is_empty())?))
        };
        let rounds: BTreeMap<Quantity, Vec<f64>> = Quantity::ALL.into_iter().filter_map(values).collect();
        let figures = rounds.iter().filter_map(|(quantity, values)| Some((*quantity, Spread::of(values)?)));
        Self {
            name: [&[cell.loader.to_string()], cell.loader_args.as_slice()].concat().join(" "),
            ours: cell.loader == Loader::InTree,
            figures: figures.collect(),
            rounds,
            ratios: BTreeMap::new(),
        }
    }
}

impl Contest {
    /// A reference of which this is not known, for want of which there is no ratio.
    pub fn unknown(&self, quantity: Quantity) -> Option<&str> {
        let mut references = self.entrants.iter().filter(|entrant| !entrant.ours);
        references.find(|one| !one.figures.contains_key(&quantity)).map(|one| one.name.as_str())
    }

    /// Puts this repository's loaders first, and each beside the fastest reference.
    fn compare(&mut self) {
        self.entrants.sort_by_key(|entrant| !entrant.ours);
        let references: Vec<Entrant> =
            self.entrants.iter().filter(|entrant| !entrant.ours).cloned().collect();
        for ours in self.entrants.iter_mut().filter(|entrant| entrant.ours) {
            ours.ratios = Quantity::ALL
                .into_iter()
                .filter_map(|quantity| Some((quantity, ratio(ours, &references, quantity)?)))
                .collect();
        }
    }
}

fn ratio(ours: &Entrant, references: &[Entrant], quantity: Quantity) -> Option<Ratio> {
    let measured: Option<Vec<_>> =
        references.iter().map(|one| Some((one, one.figures.get(&quantity)?.median))).collect();
    let (fastest, _) = measured?.into_iter().min_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let (ours, theirs) = (ours.rounds.get(&quantity)?, fastest.rounds.get(&quantity)?);
    let shares: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    Some(Ratio { to: fastest.name.clone(), share: Spread::of(&shares)? })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::guest::{Leg, PanicTimes};
    use crate::testing;
    use guest_protocol::RunTime;
    use std::time::Duration;

    pub(in super::super) fn benched(loader: &str, args: &[&str], load_ms: &[u64], jump_ms: u64) -> Benched {
        let cell = Cell {
            loader: loader.parse().unwrap(),
            loader_args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..testing::cell()
        };
        let leg = |ms: u64| Leg {
            at: 0,
            wall: Duration::from_millis(ms),
            cpu: Some(Duration::from_millis(ms / 2)),
            pm_ticks: 3_579_545 / 1000 * ms as u32,
        };
        let round = |&ms: &u64| Round {
            load: RunTime { wall_ns: ms * 1_000_000, user_us: ms * 100, system_us: ms * 200 },
            panic: PanicTimes { to_purgatory: leg(10), to_kernel: leg(jump_ms) },
        };
        Benched { cell, kernel: 0, rounds: load_ms.iter().map(round).collect() }
    }

    /// Bug: the median is a mean, or of an even number of rounds one of the two in the middle; or the order of rounds matters.
    #[test]
    fn the_middle_counts() {
        let spread = |values: &[f64]| Spread::of(values).map(|one| (one.least, one.median, one.most));
        assert_eq!(spread(&[9.0, 1.0, 2.0]), Some((1.0, 2.0, 9.0)));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some((1.0, 3.0, 9.0)));
        assert_eq!(spread(&[]), None);
    }

    /// Bug: the slower reference is the measure, one for all quantities though another is faster in one; the ratio is upside down; or
    /// medians are divided, which hides how it varies from round to round.
    #[test]
    fn ratios_are_to_the_fastest_reference_of_each_quantity() {
        let all = [
            benched("kexec-tools@2.0.20", &[], &[100, 200, 100], 50),
            benched("in-tree", &[], &[50, 50, 25], 5),
            benched("kexec-tools@2.0.25", &[], &[400, 400, 400], 10),
            benched("in-tree", &["--entry-32bit"], &[100, 100, 100], 20),
        ];
        let contests = contests(&all, Basis::Time);
        let [contest] = contests.as_slice() else { panic!("one contest: {contests:?}") };
        let names: Vec<&str> = contest.entrants.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["in-tree", "in-tree --entry-32bit", "kexec-tools@2.0.20", "kexec-tools@2.0.25"]);
        let ratio = |quantity| contest.entrants[0].ratios[&quantity].clone();
        let share = Spread { median: 0.25, least: 0.25, most: 0.5 };
        assert_eq!(ratio(Quantity::Load), Ratio { to: "kexec-tools@2.0.20".into(), share });
        let share = Spread { median: 0.5, least: 0.5, most: 0.5 };
        assert_eq!(ratio(Quantity::ToKernel), Ratio { to: "kexec-tools@2.0.25".into(), share });
        assert!((ratio(Quantity::Panic).share.median - 0.75).abs() < 1e-9);
        assert!(contest.entrants[2].ratios.is_empty());
    }

    /// Bug: where a figure of the fastest reference is missing, a slower one silently takes its place.
    #[test]
    fn there_is_no_ratio_without_the_fastest() {
        let mut all = [
            benched("in-tree", &[], &[50], 5),
            benched("kexec-tools@2.0.20", &[], &[100], 50),
            benched("kexec-tools@2.0.25", &[], &[400], 10),
        ];
        all[2].rounds[0].panic.to_kernel.cpu = None;
        let contest = &contests(&all, Basis::Cpu)[0];
        let ratios = &contest.entrants[0].ratios;
        assert!(
            ratios.contains_key(&Quantity::Load) && !ratios.contains_key(&Quantity::ToKernel),
            "{ratios:?}"
        );
        assert_eq!(contest.unknown(Quantity::ToKernel), Some("kexec-tools@2.0.25"));
        assert_eq!(contest.unknown(Quantity::Load), None);
        let table = crate::bench::table(contest).join("\n");
        assert!(table.contains("none of kexec-tools@2.0.25"), "{table}");
    }

    /// Bug: guests that differ in more than the loader are put beside each other, or those that do not are kept apart.
    #[test]
    fn one_contest_is_one_guest() {
        let with = |change: fn(&mut Cell)| {
            let mut one = benched("kexec-tools@2.0.20", &[], &[1], 1);
            change(&mut one.cell);
            one
        };
        let ours = benched("in-tree", &[], &[1], 1);
        let of = |other: Benched| contests(&[ours.clone(), other], Basis::Time).len();
        assert_eq!(of(with(|cell| cell.first_cmdline.push("nokaslr".into()))), 2);
        assert_eq!(of(with(|cell| cell.low_memory = crate::cell::LowMemory::Planted)), 2);
        assert_eq!(of(with(|cell| cell.suite = "another".into())), 1);
        assert_eq!(of(with(|cell| cell.expected = Expectation::Observed)), 1);
        let named = contests(&[with(|cell| cell.first_cmdline.push("nokaslr".into()))], Basis::Time);
        assert!(named[0].name.ends_with(" on pc-4g, first-nokaslr"), "{}", named[0].name);
    }

    /// Bug: a figure is of another basis than its unit says.
    #[test]
    fn each_basis_reads_its_own_clock() {
        let all = [benched("in-tree", &[], &[10], 40)];
        let of = |basis, quantity| contests(&all, basis)[0].entrants[0].figures[&quantity].median;
        assert_eq!((of(Basis::Time, Quantity::Load), of(Basis::Time, Quantity::ToKernel)), (10.0, 40.0));
        assert_eq!((of(Basis::Cpu, Quantity::Load), of(Basis::Cpu, Quantity::ToKernel)), (3.0, 20.0));
        assert!((of(Basis::Instructions, Quantity::ToKernel) - 40.0).abs() < 0.01);
        let mut long = all;
        long[0].rounds[0].panic.to_kernel.cpu = Some(Duration::from_secs(3));
        let figures = &contests(&long, Basis::Instructions)[0].entrants[0].figures;
        assert!(
            figures.contains_key(&Quantity::Load) && !figures.contains_key(&Quantity::ToKernel),
            "it may have gone round"
        );
    }
}
