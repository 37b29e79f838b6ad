//! Scenario files: YAML that says what is tried and what is expected, read into cells. The format is described in
//! `scenarios/README.md`.
//!
//! Three layers: as written ([`written`], shapes and literals), checked ([`expand`], what only shows when the parts are put
//! together), ready ([`Suite`]). Everything that is wrong is told with file, line and column, and with a next step, before
//! anything is fetched or booted. serde_yaml, which is frozen upstream, is known to this module only.

mod block;
mod circumstances;
mod coverage;
mod expand;
mod fit;
mod id;
mod overrides;
mod position;
mod problem;
mod rules;
mod surprises;
mod written;

use crate::cell::{Cell, Kernel};
pub(crate) use fit::low_memory_end;
use guest_protocol::Arch;
pub(crate) use id::further;
pub use overrides::{Overrides, combine, with_kernels, with_loader};
use position::NodePath;
use problem::{At, Finding};
pub use problem::{Problem, Problems};
use rules::Rule;
use std::collections::BTreeMap;
use std::path::Path;
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
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&file, &text, catalog, &|suite| {
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
    let wrong = |problem| Problems::all(file, text, vec![problem]);
    match written::read(text).map_err(wrong)? {
        Document::Whole(written) => {
            expand::suite(file, &written, catalog).map_err(|problems| Problems::all(file, text, problems))
        }
        Document::Derived(derived) => {
            let at_base = |what| wrong(Finding { at: At::Node(NodePath::default().key("base")), what });
            let (base_file, base_text) = base(&derived.base.0);
            let base_text =
                base_text.map_err(|error| at_base(format!("cannot read {base_file}: {error}")))?;
            let in_base = |problems| Problems::all(&base_file, &base_text, problems);
            let base = written::read(&base_text).map_err(|problem| in_base(vec![problem]))?;
            let Document::Whole(base) = base else {
                return Err(at_base(format!("{base_file} is based on another suite itself: name that one")));
            };
            let whole = derived.over(*base).map_err(at_base)?;
            expand::suite(&base_file, &whole, catalog).map_err(in_base)
        }
    }
}

#[cfg(test)]
mod tests;
