//! Which cells can be, and which combinations of a block are cells. Each question looks at a few choices of a combination, and of hundreds of
//! thousands of combinations it is asked once for every way to make these.

use super::cross::{Choice, Combination, Cross, Table};
use super::words::Literal;
use super::{Catalog, circumstances, fit, id, trigger};
use crate::artifacts::capture_userspace;
use crate::cell::{Cell, Loader, Reader};
use crate::filter::{Axis, Filter};
use guest_protocol::Arch;

/// A reason why cells cannot be.
struct Check {
    /// The key of the axis to blame.
    blames: &'static str,
    /// All that the answer depends on; what is the same in all cells of a block aside.
    looks_at: &'static [Choice],
    /// Why a cell cannot be; none where this is no reason.
    why_not: fn(&Cell, &Catalog) -> Option<String>,
}

/// All reasons but the id's length, which every choice has a part in. The first that holds is told.
const CHECKS: [Check; 6] = [
    Check { blames: "userspace", looks_at: &[Choice::First, Choice::Userspace], why_not: wrong_userspace },
    Check {
        blames: "region",
        looks_at: &[Choice::First, Choice::Region],
        why_not: |cell, _| fit::why_not(&cell.first, cell.reservation, &cell.platform),
    },
    Check {
        blames: "circumstances",
        looks_at: &[Choice::First, Choice::Userspace, Choice::Load],
        why_not: |cell, _| circumstances::why_not(cell),
    },
    Check {
        blames: "trigger",
        looks_at: &[Choice::Region, Choice::End],
        why_not: |cell, _| trigger::why_not(cell),
    },
    Check { blames: "loader", looks_at: &[Choice::Userspace, Choice::Loader], why_not: no_such_loader },
    Check {
        blames: "reader",
        looks_at: &[Choice::Capture, Choice::Userspace, Choice::End],
        why_not: no_such_reader,
    },
];

/// What a too long id is blamed on: paths of loaders and their arguments are what there is no bound for.
const BLAMED_FOR_ID: &str = "loader";

/// Why a cell cannot be, whatever the file that it comes from; none where it can. With the key of the axis to blame.
pub(super) fn why_impossible(cell: &Cell, catalog: &Catalog) -> Option<(&'static str, String)> {
    let why = CHECKS.iter().find_map(|check| Some((check.blames, (check.why_not)(cell, catalog)?)));
    why.or_else(|| Some((BLAMED_FOR_ID, too_long(cell)?)))
}

fn wrong_userspace(cell: &Cell, _: &Catalog) -> Option<String> {
    (cell.first.arch == Arch::I386 && cell.userspace == Arch::X86_64).then(|| {
        format!(
            "{} is an i386 kernel and cannot run x86_64 userspace: give it a block of its own",
            cell.first.name
        )
    })
}

fn no_such_loader(cell: &Cell, catalog: &Catalog) -> Option<String> {
    match &cell.loader {
        Loader::KexecTools(version) => why_no_kexec_tools(version, cell.userspace, catalog),
        Loader::InTree | Loader::Path(_) => None,
    }
}

fn no_such_reader(cell: &Cell, catalog: &Catalog) -> Option<String> {
    let Reader::VmcoreDmesg(version) = cell.reader.as_ref()?;
    why_no_kexec_tools(version, capture_userspace(cell), catalog)
}

/// Why the lock has no such kexec-tools; none where it has.
fn why_no_kexec_tools(version: &str, arch: Arch, catalog: &Catalog) -> Option<String> {
    let known = catalog.loaders.iter().any(|loader| loader.version == version && loader.arch == arch);
    if known {
        return None;
    }
    let all: Vec<String> =
        catalog.loaders.iter().map(|loader| format!("{} for {}", loader.version, loader.arch)).collect();
    Some(format!("the lock has no kexec-tools {version} for {arch}; it has {}", all.join(", ")))
}

fn too_long(cell: &Cell) -> Option<String> {
    (cell.id.0.len() > id::MAX_LENGTH).then(|| {
        format!(
            "the cell's id has more than {} characters and cannot name a folder: {}",
            id::MAX_LENGTH,
            cell.id
        )
    })
}

/// What comes of a combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// This filter of `without` leaves it out.
    LeftOut(usize),
    /// It cannot be, by the axis to blame.
    Impossible(&'static str),
    Possible,
}

/// A question about cells, with its answers so far.
struct Question<Q> {
    question: Q,
    answers: Table<Option<bool>>,
}

impl<Q> Question<Q> {
    fn new(cross: &Cross<'_>, question: Q, looks_at: &[Choice]) -> Self {
        Self { question, answers: Table::filled(cross, looks_at, None) }
    }

    fn holds(&mut self, combination: Combination, ask: impl FnOnce(&Q) -> bool) -> bool {
        let answer = self.answers.get_mut(combination);
        *answer.get_or_insert_with(|| ask(&self.question))
    }
}

/// Says of the combinations of a cross what comes of each.
pub(super) struct Sieve<'c> {
    cross: &'c Cross<'c>,
    catalog: &'c Catalog,
    without: Vec<Question<&'c Filter>>,
    checks: Vec<Question<&'static Check>>,
    /// Whether the id of any combination is too long.
    ids_may_be_too_long: bool,
}

impl<'c> Sieve<'c> {
    pub(super) fn new(cross: &'c Cross<'c>, without: &'c [Literal<Filter>], catalog: &'c Catalog) -> Self {
        let filters = without.iter().map(|Literal(filter)| filter);
        Self {
            cross,
            catalog,
            without: filters.map(|filter| Question::new(cross, filter, &looked_at([filter]))).collect(),
            checks: CHECKS.iter().map(|check| Question::new(cross, check, check.looks_at)).collect(),
            ids_may_be_too_long: longest_id(cross) > id::MAX_LENGTH,
        }
    }

    /// What comes of a combination.
    pub(super) fn fate(&mut self, combination: Combination) -> Fate {
        let Self { cross, catalog, without, checks, ids_may_be_too_long } = self;
        for (number, filter) in without.iter_mut().enumerate() {
            if filter.holds(combination, |filter| filter.matches(&cross.cell(combination))) {
                return Fate::LeftOut(number);
            }
        }
        for check in checks {
            let is_reason = |check: &&Check| (check.why_not)(&cross.cell(combination), catalog).is_some();
            if check.holds(combination, is_reason) {
                return Fate::Impossible(check.question.blames);
            }
        }
        if *ids_may_be_too_long && too_long(&cross.cell(combination)).is_some() {
            return Fate::Impossible(BLAMED_FOR_ID);
        }
        Fate::Possible
    }
}

/// The length of the longest id among the combinations, in bytes. Each part of an id comes from one choice alone, so the longest of
/// each make it up.
fn longest_id(cross: &Cross<'_>) -> usize {
    let length = |combination| cross.cell(combination).id.0.len();
    let Some(first) = cross.all().next().map(length) else { return 0 };
    let further = Choice::ALL.map(|choice| cross.over(&[choice]).map(length).max().unwrap_or(first) - first);
    first + further.iter().sum::<usize>()
}

/// The choices that say whether filters match, in their order.
pub(super) fn looked_at<'f>(filters: impl IntoIterator<Item = &'f Filter>) -> Vec<Choice> {
    let axes: Vec<Axis> = filters.into_iter().flat_map(Filter::axes).collect();
    let says = |choice: &Choice| axes.iter().any(|axis| says(*axis).contains(choice));
    Choice::ALL.into_iter().filter(says).collect()
}

/// What says a cell's value on an axis.
const fn says(axis: Axis) -> &'static [Choice] {
    match axis {
        Axis::Id => &Choice::ALL,
        // The same in all cells.
        Axis::Suite => &[],
        Axis::First | Axis::FirstArch => &[Choice::First],
        Axis::Userspace => &[Choice::Userspace],
        Axis::Loader => &[Choice::Loader],
        Axis::Args | Axis::Circumstances => &[Choice::Load],
        Axis::Capture | Axis::CaptureArch => &[Choice::Capture],
        Axis::Pair => &[Choice::First, Choice::Capture],
        Axis::Reservation
        | Axis::Region
        | Axis::RegionStart
        | Axis::RegionLast
        | Axis::Size
        | Axis::Platform
        | Axis::Hardware
        | Axis::Machine
        | Axis::Memory
        | Axis::Cpus
        | Axis::Firmware => &[Choice::Region],
        Axis::Trigger | Axis::Reader | Axis::Tamper | Axis::LowMemory => &[Choice::End],
    }
}
