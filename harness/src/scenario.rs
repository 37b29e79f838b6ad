//! Scenario files: YAML that says what is tried and what is expected, read into cells. The format is described in
//! `scenarios/README.md`.
//!
//! Three layers: as written ([`written`], shapes and literals), checked ([`expand`], what only shows when the parts are put
//! together), ready ([`Suite`]). Everything that is wrong is told with file, line and column, and with a next step, before
//! anything is fetched or booted. serde_yaml, which is frozen upstream, is known to this module only.

mod block;
mod circumstances;
mod coverage;
mod cross;
mod demands;
mod expand;
mod factor;
mod fit;
mod hardware;
mod id;
mod overrides;
mod position;
mod possible;
mod problem;
mod rules;
mod surprises;
mod trigger;
mod values;
mod words;
mod written;

use crate::cell::{Cell, Kernel};
pub use coverage::Covered;
pub(crate) use fit::low_memory_end;
use guest_protocol::Arch;
pub use hardware::PLATFORMS;
use hardware::Platforms;
pub(crate) use id::further;
pub use overrides::{Overrides, combine, foreign_argument, with_kernels, with_loader};
use position::NodePath;
use problem::{At, Finding};
pub use problem::{Problem, Problems};
use rules::Rule;
use std::collections::BTreeMap;
use std::path::Path;
pub use written::Coverage;
use written::Document;

/// What there is to choose from: everything that can be named in a scenario without a path.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The kernels of the lock file.
    pub kernels: Vec<Kernel>,
    /// The reference loaders of the lock file.
    pub loaders: Vec<ReferenceLoader>,
}

impl Catalog {
    /// What the built-in lock file has. Nothing is fetched, and no file is read.
    ///
    /// # Errors
    /// The lock file that was compiled in is damaged.
    pub fn locked() -> Result<Self, images::Error> {
        let kernels = images::known_kernels()?.into_iter();
        let loaders = images::known_loaders()?.into_iter();
        Ok(Self {
            kernels: kernels
                .map(|known| Kernel {
                    pae: known.pae || known.arch == Arch::X86_64,
                    name: known.name,
                    arch: known.arch,
                    path: None,
                })
                .collect(),
            loaders: loaders.map(|(version, arch)| ReferenceLoader { version, arch }).collect(),
        })
    }
}

/// A reference loader of the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceLoader {
    /// Its upstream version, such as `2.0.25`.
    pub version: String,
    /// The architecture that it was built for.
    pub arch: Arch,
}

/// A scenario file that was read and checked.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What is to be run, in the order of the file.
    pub cells: Vec<Cell>,
    /// What is not to be run, and why.
    pub skipped: Vec<SkippedCell>,
    /// How many combinations its generated blocks leave out because they cannot be, by the axis to blame.
    pub impossible: BTreeMap<&'static str, usize>,
    /// How much of what can be its generated blocks take.
    pub covered: Covered,
    /// The expectations, kept for cells that the command line changes.
    rules: Vec<Rule>,
    /// The file, for errors.
    file: String,
}

/// A cell that is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedCell {
    /// The cell.
    pub cell: Cell,
    /// The reason, for people.
    pub why: String,
}

/// Reads a scenario file, and the one that it is based on, if it is.
///
/// # Errors
/// Everything that is wrong with it; one problem where it cannot be read at all.
pub fn load(path: &Path, catalog: &Catalog) -> Result<Suite, Problems> {
    load_covering(path, catalog, None)
}

/// The same, with another coverage of the blocks that are generated, where one is given.
///
/// # Errors
/// As [`load`]; and a coverage is given for a suite without such blocks.
pub fn load_covering(path: &Path, catalog: &Catalog, coverage: Option<Coverage>) -> Result<Suite, Problems> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse_covering(&file, &text, catalog, coverage, &|suite| {
            let path = path.with_file_name(format!("{suite}.yaml"));
            let text = std::fs::read_to_string(&path);
            (path.display().to_string(), text.map_err(|error| error.to_string()))
        }),
        Err(error) => Err(Problems::of_file(&file, vec![format!("cannot read this scenario: {error}")])),
    }
}

/// Finds the file of the suite that another is based on: its name for errors, and its text or why it cannot be read.
pub type FindBase<'f> = dyn Fn(&str) -> (String, Result<String, String>) + 'f;

/// Reads a scenario from its text; `file` is its name in errors.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(file: &str, text: &str, catalog: &Catalog, base: &FindBase<'_>) -> Result<Suite, Problems> {
    parse_covering(file, text, catalog, None, base)
}

/// As [`load_covering`], from a text.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_covering(
    file: &str,
    text: &str,
    catalog: &Catalog,
    coverage: Option<Coverage>,
    base: &FindBase<'_>,
) -> Result<Suite, Problems> {
    let covered = |written: written::Scenario| match coverage {
        None => Ok(written),
        Some(coverage) => {
            let suite = written.suite.0.clone();
            written.covered(coverage).ok_or_else(|| {
                let what =
                    format!("no block of suite {suite} has a `coverage`: all of its cells are made anyway");
                Problems::of_file(file, vec![what])
            })
        }
    };
    let wrong = |problem| Problems::all(file, text, vec![problem]);
    match written::read(text).map_err(wrong)? {
        Document::Whole(written) => {
            let written = covered(*written)?;
            let hardware = hardware(&written, file, base)?;
            expand::suite(file, &written, &hardware, catalog)
                .map_err(|problems| Problems::all(file, text, problems))
        }
        Document::Derived(derived) => {
            let at_base = |what| wrong(Finding { at: At::Node(NodePath::default().key("base")), what });
            let (base_file, base_text) = base(&derived.base.0);
            let base_text =
                base_text.map_err(|error| at_base(format!("cannot read {base_file}: {error}")))?;
            let in_base = |problems| Problems::all(&base_file, &base_text, problems);
            let written = written::read(&base_text).map_err(|problem| in_base(vec![problem]))?;
            let Document::Whole(written) = written else {
                return Err(at_base(format!("{base_file} is based on another suite itself: name that one")));
            };
            let whole = covered(derived.over(*written).map_err(at_base)?)?;
            let hardware = hardware(&whole, &base_file, base)?;
            expand::suite(&base_file, &whole, &hardware, catalog).map_err(in_base)
        }
    }
}

/// What `platforms.yaml` has, where the scenario needs it. `file` is the scenario's, for errors.
fn hardware(written: &written::Scenario, file: &str, find: &FindBase<'_>) -> Result<Platforms, Problems> {
    if !written.needs_hardware() {
        return Ok(Platforms::default());
    }
    let (platforms, text) = find(PLATFORMS);
    let text = text.map_err(|error| {
        let what = format!(
            "a block has `machines`, whose names are those of {platforms}, which cannot be read: {error}"
        );
        Problems::of_file(file, vec![what])
    })?;
    Platforms::read(&text).map_err(|problem| Problems::all(&platforms, &text, vec![problem]))
}

#[cfg(test)]
mod tests;
