//! What the command line changes of a suite: other loaders, local kernels. And several suites in one run.

use super::problem::Problems;
use super::{Catalog, SkippedCell, Suite, id, possible, rules};
use crate::cell::{Cell, CellId, Kernel, Loader};
use guest_protocol::Arch;
use std::collections::{BTreeMap, BTreeSet};

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
                let impossible = possible::why_impossible(&changed, catalog).map(|(_, why)| why);
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

/// The cell with another loader, and the id that goes with it. Its arguments and what is expected of it stay: it is for a build of
/// the *same* loader, which may be given all that the suite's own is given.
#[must_use]
pub fn with_loader(cell: &Cell, loader: Loader) -> Cell {
    let mut changed = Cell { loader, ..cell.clone() };
    changed.id = id::of(&changed);
    changed
}

/// The cell with another kernel on one side or both, and the id that goes with it. What is expected of it stays: it is for another
/// build or version of the *same* kernel.
#[must_use]
pub fn with_kernels(cell: &Cell, first: Option<Kernel>, capture: Option<Kernel>) -> Cell {
    let mut changed = cell.clone();
    changed.first = first.unwrap_or(changed.first);
    changed.capture = capture.unwrap_or(changed.capture);
    changed.id = id::of(&changed);
    changed
}

/// Why another loader than this repository's cannot be given the cell's arguments. A loader given by its path is taken for a
/// kexec-tools: it would end at the option, and say nothing on the cell. None where it can.
#[must_use]
pub fn foreign_argument(cell: &Cell) -> Option<String> {
    let whose = match &cell.loader {
        Loader::InTree => return None,
        Loader::KexecTools(_) => "kexec-tools",
        Loader::Path(_) => "a kexec-tools, which a loader given by its path is taken for,",
    };
    let arg = cell.loader_args.iter().find(|arg| !kexec_tools_knows(arg, cell))?;
    Some(format!("{whose} has no {arg} for {} userspace and this capture kernel", cell.userspace))
}

/// Whether kexec-tools knows an argument that is an option of this repository's loader.
fn kexec_tools_knows(arg: &str, cell: &Cell) -> bool {
    match arg.split('=').next().unwrap_or(arg) {
        "--ignore-address-limits" | "--compat-call" | "--on-mismatch" | "--backup" | "--place" => false,
        "--hotplug" => match &cell.loader {
            Loader::KexecTools(version) => since(version, [2, 0, 28]),
            Loader::InTree | Loader::Path(_) => true,
        },
        // Only in its loader for 64-bit images (kexec/arch/x86_64/kexec-bzImage64.c), which its i386 build lacks.
        "--entry-32bit" => cell.userspace == Arch::X86_64 && cell.capture.arch == Arch::X86_64,
        _ => true,
    }
}

/// Whether an upstream version, of three numbers, is at least this one.
fn since(version: &str, first: [u32; 3]) -> bool {
    version.split('.').map(|part| part.parse().unwrap_or(0)).ge(first)
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
    let mut places: BTreeMap<CellId, usize> = BTreeMap::new();
    for suite in suites {
        for cell in suite.cells {
            match places.get(&cell.id).and_then(|&place| cells.get(place)) {
                None => {
                    places.insert(cell.id.clone(), cells.len());
                    cells.push(cell);
                }
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
    skipped.retain(|skipped| !places.contains_key(&skipped.cell.id));
    if problems.is_empty() { Ok((cells, skipped)) } else { Err(Problems::of_file(&file, problems)) }
}

fn same_trial(a: &Cell, b: &Cell) -> bool {
    *a == Cell { suite: a.suite.clone(), ..b.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Bug: two builds of a loader share an id, so that one's evidence stands under the other's name; or a changed build is not
    /// given the arguments that the cell is about.
    #[test]
    fn another_build_of_the_loader_gets_an_id_of_its_own() {
        let cell = Cell { loader_args: vec!["--entry-32bit".into()], ..testing::cell() };
        let changed = with_loader(&cell, Loader::Path("/build/i386/no-notes".into()));
        assert_eq!(changed.id.0, "5.10-amd64.i386.no-notes.5.10-amd64.256M@1968M.pc-4g.entry-32bit");
        assert_eq!((&changed.loader_args, &changed.expected), (&cell.loader_args, &cell.expected));
    }

    /// Bug: a build of kexec-tools in the in-tree loader's place fails the cells whose option it does not have, which says
    /// nothing on it; or cells that it can be tried in are skipped.
    #[test]
    fn options_that_only_this_loader_has_are_not_given_to_others() {
        const LIMITS: &str = "--ignore-address-limits";
        const ENTRY: &str = "--entry-32bit";
        let path = Loader::Path("/build/sbin/kexec".into());
        let released = Loader::KexecTools("2.0.25".into());
        for (loader, userspace, arg, foreign) in [
            (&Loader::InTree, Arch::I386, LIMITS, false),
            (&released, Arch::I386, LIMITS, true),
            (&path, Arch::I386, LIMITS, true),
            (&path, Arch::X86_64, LIMITS, true),
            (&released, Arch::I386, ENTRY, true),
            (&path, Arch::I386, ENTRY, true),
            (&path, Arch::X86_64, ENTRY, false),
            (&path, Arch::I386, "--debug", false),
            (&path, Arch::I386, "--backup=always", true),
            (&path, Arch::I386, "--hotplug", false),
            (&released, Arch::I386, "--hotplug", true),
            (&Loader::KexecTools("2.0.29".into()), Arch::I386, "--hotplug", false),
        ] {
            let loader_args = vec![arg.to_owned()];
            let cell = Cell { loader: loader.clone(), userspace, loader_args, ..testing::cell() };
            let why = foreign_argument(&cell);
            assert_eq!(why.is_some(), foreign, "{loader:?} {userspace} {arg}");
            assert!(why.is_none_or(|why| why.contains(arg)));
        }
        // An i386 image has no 64-bit entry to do without.
        let mut cell = Cell {
            loader: path,
            userspace: Arch::X86_64,
            loader_args: vec![ENTRY.to_owned()],
            ..testing::cell()
        };
        cell.capture.arch = Arch::I386;
        assert!(foreign_argument(&cell).is_some_and(|why| why.contains(ENTRY)));
    }
}
