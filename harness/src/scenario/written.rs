//! A scenario as it is written: the shapes of its parts. Every literal in them is parsed where it stands ([`super::words`]), so that an
//! error of form is told with its line and column by the YAML reader itself. What only shows when parts are put together comes later.

use super::problem::Finding;
use super::surprises;
use super::words::{ArchName, CircumstancesName, Filled, Literal, Name, Regions, Text};
use crate::cell::{Firmware, FirstBoot, Loader, LowMemory, Mib, Reader, Tamper, Trigger};
use crate::filter::Filter;
use crate::outcome::{AcpiWord, EfiWord, ExpectedPurgatoryEnd, HangCause, SetupDataKind};
use guest_protocol::Circumstances;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::str::FromStr;

/// A scenario file: one of its own, or another one's cells in another number.
pub(super) enum Document {
    Whole(Box<Scenario>),
    Derived(Derived),
}

/// A suite that takes the cells of another file, and of its blocks that are generated every combination.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Derived {
    pub(super) suite: Name,
    pub(super) description: Text,
    /// The other suite's name; its file lies beside this one.
    pub(super) base: Name,
    pub(super) coverage: Coverage,
}

impl Scenario {
    /// The same with another coverage of all blocks that are generated; none where no block is.
    pub(super) fn covered(mut self, coverage: Coverage) -> Option<Self> {
        let mut generated = self.matrix.0.iter_mut().filter_map(|block| block.coverage.as_mut()).peekable();
        generated.peek()?;
        generated.for_each(|own| *own = coverage);
        Some(self)
    }

    /// Whether it needs what `platforms.yaml` has.
    pub(super) fn needs_hardware(&self) -> bool {
        self.matrix.0.iter().any(|block| block.on.is_some())
    }
}

impl Derived {
    /// The base as this suite has it.
    ///
    /// # Errors
    /// The base has nothing that is generated, so that this suite would be the same.
    pub(super) fn over(self, base: Scenario) -> Result<Scenario, String> {
        let name = base.suite.0.clone();
        let base = base
            .covered(self.coverage)
            .ok_or_else(|| format!("no block of suite {name} has a `coverage` that this one could change"))?;
        Ok(Scenario { suite: self.suite, description: self.description, ..base })
    }
}

/// A scenario of its own.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Scenario {
    pub(super) suite: Name,
    pub(super) description: Text,
    #[serde(default)]
    pub(super) platforms: BTreeMap<Name, Platform>,
    pub(super) matrix: Filled<Block>,
    #[serde(default)]
    pub(super) skip: Vec<Skip>,
    pub(super) expect: Filled<Rule>,
}

/// A machine, under its name.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Platform {
    pub(super) machine: Text,
    pub(super) memory: Literal<Mib>,
    pub(super) cpu: Text,
    #[serde(default = "one_cpu")]
    pub(super) cpus: NonZeroU32,
    #[serde(default)]
    pub(super) boot: FirstBoot,
    #[serde(default)]
    pub(super) firmware: Firmware,
    #[serde(default)]
    pub(super) five_levels: bool,
}

/// Machines, as every combination of what these list; the names are those of `platforms.yaml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct On {
    pub(super) hardware: Filled<Name>,
    pub(super) memory: Filled<Literal<Mib>>,
    pub(super) machine: Filled<Name>,
    #[serde(default = "bios")]
    pub(super) firmware: Filled<Firmware>,
    #[serde(default = "single")]
    pub(super) cpus: Filled<NonZeroU32>,
}

/// Cells: combinations of what its axes list.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Block {
    pub(super) first: Filled<Text>,
    pub(super) userspace: Filled<Literal<ArchName>>,
    pub(super) loader: Filled<Literal<Loader>>,
    #[serde(default = "no_words")]
    pub(super) loader_args: Filled<Vec<Text>>,
    #[serde(default = "no_circumstances")]
    pub(super) circumstances: Filled<Literal<CircumstancesName>>,
    pub(super) capture: Filled<Text>,
    pub(super) region: Regions,
    #[serde(rename = "machines")]
    pub(super) on: Option<On>,
    #[serde(default = "nmi")]
    pub(super) trigger: Filled<Literal<Trigger>>,
    pub(super) reader: Option<Filled<Literal<Reader>>>,
    #[serde(default = "no_tampering")]
    pub(super) tamper: Filled<Literal<Tamper>>,
    #[serde(default = "untouched")]
    pub(super) low_memory: Filled<Literal<LowMemory>>,
    #[serde(default)]
    pub(super) first_cmdline: Vec<Text>,
    #[serde(default)]
    pub(super) capture_cmdline: Vec<Text>,
    #[serde(default)]
    pub(super) without: Vec<Literal<Filter>>,
    pub(super) coverage: Option<Coverage>,
    #[serde(default)]
    pub(super) every: Vec<Filled<Factor>>,
    #[serde(default)]
    pub(super) beside: Vec<Literal<Loader>>,
}

/// How many of a block's combinations are made, where it leaves out by itself what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// All of them.
    Full,
    /// Enough for every pair of two axes' values, and for what `every` lists.
    Pairwise,
}

impl Coverage {
    /// Both, in the order of their documentation.
    pub const ALL: [Self; 2] = [Self::Pairwise, Self::Full];

    /// The name in scenarios and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Pairwise => "pairwise",
        }
    }
}

impl FromStr for Coverage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|coverage| coverage.name() == text);
        known.ok_or_else(|| format!("{text:?} is no coverage: pairwise or full"))
    }
}

/// What a combination can be asked for by: an axis of a block, or what follows from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Factor {
    First,
    Userspace,
    Loader,
    LoaderArgs,
    Circumstances,
    Capture,
    Region,
    Trigger,
    Reader,
    Tamper,
    LowMemory,
    /// The architectures of both kernels.
    Pair,
    /// The name that regions stand under.
    Limit,
    /// Of the machines of `machines`.
    Hardware,
    Memory,
    Machine,
    Firmware,
    Cpus,
}

/// Cells that are not run.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Skip {
    pub(super) when: Literal<Filter>,
    pub(super) why: Text,
}

/// What is expected of the cells that no earlier rule matched.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Rule {
    pub(super) when: Literal<Filter>,
    pub(super) outcome: OutcomeWord,
    pub(super) vmcore: Option<VmcoreWord>,
    pub(super) why: Option<Filled<Text>>,
    pub(super) by: Option<RefuserWord>,
    pub(super) message: Option<Filled<Text>>,
    pub(super) cause: Option<HangCause>,
    pub(super) setup_data: Option<Filled<SetupDataKind>>,
    pub(super) acpi: Option<AcpiWord>,
    pub(super) efi: Option<EfiWord>,
    pub(super) memory_map: Option<NonZeroU32>,
    pub(super) segment: Option<Text>,
    pub(super) end: Option<ExpectedPurgatoryEnd>,
}

/// The outcomes that can be expected.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum OutcomeWord {
    Captured,
    Refused,
    Hung,
    StoppedByPurgatory,
    Unreserved,
    Observed,
}

#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum VmcoreWord {
    Verified,
    Absent,
    Any,
    Wrong,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RefuserWord {
    Loader,
    Kernel,
}

/// Reads the text of a scenario.
pub(super) fn read(text: &str) -> Result<Document, Finding> {
    surprises::find(text)?;
    // Told apart by the one key before it is read in earnest, so that errors are those of the shape that is meant.
    let is_derived =
        serde_yaml::from_str::<serde_yaml::Mapping>(text).is_ok_and(|keys| keys.contains_key("base"));
    if is_derived {
        serde_yaml::from_str(text).map(Document::Derived).map_err(|error| finding(&error))
    } else {
        serde_yaml::from_str(text)
            .map(|whole| Document::Whole(Box::new(whole)))
            .map_err(|error| finding(&error))
    }
}

/// An error of the YAML reader.
pub(super) fn finding(error: &serde_yaml::Error) -> Finding {
    let mut what = error.to_string();
    // The place is told in front of the message, as compilers do it.
    if let Some(place) = error.location() {
        let told = format!(" at line {} column {}", place.line(), place.column());
        what = what.replacen(&told, "", 1);
    }
    Finding { at: surprises::at(error), what }
}

fn bios() -> Filled<Firmware> {
    Filled(vec![Firmware::Bios])
}

fn single() -> Filled<NonZeroU32> {
    Filled(vec![one_cpu()])
}

const fn one_cpu() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn no_words() -> Filled<Vec<Text>> {
    Filled(vec![Vec::new()])
}

fn no_circumstances() -> Filled<Literal<CircumstancesName>> {
    Filled(vec![Literal(CircumstancesName(Circumstances::None))])
}

fn nmi() -> Filled<Literal<Trigger>> {
    Filled(vec![Literal(Trigger::Nmi)])
}

fn no_tampering() -> Filled<Literal<Tamper>> {
    Filled(vec![Literal(Tamper::None)])
}

fn untouched() -> Filled<Literal<LowMemory>> {
    Filled(vec![Literal(LowMemory::Untouched)])
}
