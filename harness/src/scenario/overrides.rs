//! What the command line changes of a suite: other loaders, local kernels. And several suites in one run.

use super::problem::Problems;
use super::{Catalog, SkippedCell, Suite, expand, id, rules};
use crate::cell::{Cell, CellId, Kernel, Loader};
use std::collections::BTreeSet;

/// What is taken in place of the suite's own. Empty and none change nothing.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Loaders, each tried in every cell in place of the suite's.
    pub loaders: Vec<Loader>,
    /// A first kernel in place of those of its architecture; cells with another first kernel are left out.
    pub first: Option<Kernel>,
    /// A capture kernel, likewise.
    pub capture: Option<Kernel>,
}

impl Overrides {
    fn is_empty(&self) -> bool {
        self.loaders.is_empty() && self.first.is_none() && self.capture.is_none()
    }
}

impl Suite {
    /// The suite with other loaders or kernels. Cells that become the same are made once, what is expected of each is asked of
    /// the suite's rules again, and what cannot be (a reference loader that the lock does not have for a userspace) is skipped
    /// with its reason.
    ///
    /// # Errors
    /// No rule says what is expected of a changed cell.
    pub fn with(self, overrides: &Overrides, catalog: &Catalog) -> Result<Self, Problems> {
        if overrides.is_empty() {
            return Ok(self);
        }
        let mut seen = BTreeSet::new();
        let mut cells = Vec::new();
        let mut skipped = Vec::new();
        let mut problems = Vec::new();
        let before = self.cells.iter().map(|cell| (cell, None));
        let before = before.chain(self.skipped.iter().map(|skipped| (&skipped.cell, Some(&skipped.why))));
        for (cell, why) in before {
            for mut changed in overrides.apply(cell) {
                changed.id = id::of(&changed);
                if !seen.insert(changed.id.clone()) {
                    continue;
                }
                match rules::expectation(&self.rules, &changed) {
                    Ok((_, expected)) => changed.expected = expected,
                    Err(None) => {
                        problems.push(format!("no rule of `expect` matches the changed cell {}", changed.id))
                    }
                    Err(Some((_, why))) => problems.push(why),
                }
                let impossible = expand::why_impossible(&changed, catalog).map(|(_, why)| why);
                match why.cloned().or(impossible).or_else(|| foreign_argument(&changed)) {
                    Some(why) => skipped.push(SkippedCell { cell: changed, why }),
                    None => cells.push(changed),
                }
            }
        }
        if problems.is_empty() {
            return Ok(Self { cells, skipped, ..self });
        }
        Err(Problems::of_file(&self.file, problems))
    }
}

impl Overrides {
    fn apply(&self, cell: &Cell) -> Vec<Cell> {
        let fits = |kernel: &Kernel, local: &Option<Kernel>| {
            local.as_ref().is_none_or(|local| local.arch == kernel.arch)
        };
        if !fits(&cell.first, &self.first) || !fits(&cell.capture, &self.capture) {
            return Vec::new();
        }
        let mut changed = cell.clone();
        if let Some(first) = &self.first {
            changed.first = first.clone();
        }
        if let Some(capture) = &self.capture {
            changed.capture = capture.clone();
        }
        if self.loaders.is_empty() {
            return vec![changed];
        }
        self.loaders.iter().map(|loader| Cell { loader: loader.clone(), ..changed.clone() }).collect()
    }
}

/// Why a released kexec-tools cannot be given the cell's arguments: they are options of this repository's loader.
fn foreign_argument(cell: &Cell) -> Option<String> {
    const OWN: &str = "--ignore-address-limits";
    let foreign =
        matches!(cell.loader, Loader::KexecTools(_)) && cell.loader_args.iter().any(|arg| arg == OWN);
    foreign.then(|| format!("kexec-tools has no {OWN}"))
}

/// The cells of several suites in one run, in their order. The same cell in two suites is run once.
///
/// # Errors
/// Two suites mean different things by the same id (their platforms of one name differ), or expect different things of it.
pub fn combine(suites: Vec<Suite>) -> Result<(Vec<Cell>, Vec<SkippedCell>), Problems> {
    let mut cells: Vec<Cell> = Vec::new();
    let mut skipped: Vec<SkippedCell> = Vec::new();
    let mut problems = Vec::new();
    let mut file = String::new();
    for suite in suites {
        for cell in suite.cells {
            match cells.iter().find(|known| known.id == cell.id) {
                None => cells.push(cell),
                Some(known) if same_trial(known, &cell) => {}
                Some(known) => {
                    let CellId(id) = &cell.id;
                    problems.push(format!(
                        "cell {id} is another one in suite {} than in suite {}, or is expected to end otherwise: run the two apart",
                        cell.suite, known.suite
                    ));
                    file.clone_from(&suite.file);
                }
            }
        }
        skipped.extend(suite.skipped);
    }
    // What one suite skips and another runs is run.
    skipped.retain(|skipped| !cells.iter().any(|cell| cell.id == skipped.cell.id));
    if problems.is_empty() { Ok((cells, skipped)) } else { Err(Problems::of_file(&file, problems)) }
}

fn same_trial(a: &Cell, b: &Cell) -> bool {
    *a == Cell { suite: a.suite.clone(), ..b.clone() }
}
