//! The second layer of `e2e`: which cells run. Reads scenario files and local kernels' headers; fetches, builds and starts nothing.

use super::local_kernel;
use crate::cli::{E2eArgs, KernelArgs, KernelSide, LoaderArg};
use crate::exit::{Failure, OrFail};
use crate::repo::Repo;
use anyhow::{Context, anyhow, bail};
use guest_protocol::Arch;
use harness::cell::{Cell, CellId, Kernel, Loader};
use harness::durations::Durations;
use harness::filter::Filter;
use harness::outcome::Expectation;
use harness::partition::{PartOfPlan, Partition, WholePlan};
use harness::report;
use harness::scenario::{self, Catalog, Covered, Overrides, ReferenceLoader, SkippedCell};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

/// What was selected.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What runs, at least one cell, in the order of the files.
    pub(crate) cells: Vec<Cell>,
    /// What does not run, and why.
    pub(crate) skipped: Vec<SkippedCell>,
    /// How many combinations the suites leave out because they cannot be, by the axis to blame.
    pub(crate) impossible: BTreeMap<&'static str, usize>,
    /// How much of what can be the suites take, before any filter.
    pub(crate) covered: Covered,
    /// The part of all that was chosen that this is; none where it is all.
    pub(crate) part: Option<PartOfPlan>,
}

/// The plan that these arguments ask for.
///
/// # Errors
/// [`Failure::Input`]: a scenario, a filter or a local file is not right, or nothing is selected.
pub(crate) fn make(args: &E2eArgs, repo: &Repo) -> Result<Plan, Failure> {
    let filter = args
        .filter
        .as_deref()
        .map(|text| text.parse::<Filter>().map_err(|error| anyhow!("--filter:\n{error}")))
        .transpose()
        .or_input()?;
    let partition = args
        .partition
        .as_deref()
        .map(|text| text.parse::<Partition>().map_err(|error| anyhow!("--partition {error}")))
        .transpose()
        .or_input()?;
    let catalog = catalog().or_rig()?;
    let overrides = overrides(args).or_input()?;
    let mut suites = Vec::new();
    for suite in &args.suites {
        let file = suite_file(&repo.scenarios(), suite).or_input()?;
        let suite = scenario::load_covering(&file, &catalog, args.coverage.map(Into::into)).or_input()?;
        suites.push(suite.with(&overrides, &catalog).or_input()?);
    }
    let mut covered = Covered::default();
    suites.iter().for_each(|suite| covered += suite.covered);
    let mut impossible = BTreeMap::new();
    for (axis, combinations) in suites.iter().flat_map(|suite| &suite.impossible) {
        *impossible.entry(*axis).or_insert(0) += combinations;
    }
    let (cells, skipped) = scenario::combine(suites).or_input()?;
    let failed =
        args.failed.then(|| report::not_as_expected(&report_folder(args, repo))).transpose().or_input()?;
    let plan = select(cells, skipped, filter.as_ref(), failed.as_ref())
        .map_err(|error| match (&args.filter, args.kernel.is_empty()) {
            (Some(_), false) => anyhow!(
                "{error}; with --kernel there are cells of its architecture alone, and their ids and axes have its file's name"
            ),
            _ => error,
        })
        .or_input()?;
    let plan = Plan { impossible, covered, ..plan };
    match partition {
        Some(partition) => {
            let durations = Durations::read(&repo.durations()).or_input()?;
            part(plan, partition, &durations).or_input()
        }
        None => Ok(plan),
    }
}

/// What these suites expect of their cells today.
///
/// # Errors
/// [`Failure::Input`]: a suite is not there or not right.
pub(crate) fn expectations(names: &[String], repo: &Repo) -> Result<BTreeMap<CellId, Expectation>, Failure> {
    let catalog = catalog().or_rig()?;
    let load = |name: &String| Ok(scenario::load(&suite_file(&repo.scenarios(), name)?, &catalog)?);
    let suites = names.iter().map(load).collect::<anyhow::Result<Vec<_>>>().or_input()?;
    let (cells, skipped) = scenario::combine(suites).or_input()?;
    let all = cells.into_iter().chain(skipped.into_iter().map(|skipped| skipped.cell));
    Ok(all.map(|cell| (cell.id, cell.expected)).collect())
}

/// All cells of a plan, dealt out to so many parts.
pub(crate) fn deal(plan: &Plan, durations: &Durations, of: NonZeroU64) -> WholePlan {
    let skipped: Vec<Cell> = plan.skipped.iter().map(|skipped| skipped.cell.clone()).collect();
    WholePlan::deal(&plan.cells, &skipped, durations, of)
}

/// Takes one part of the plan. An empty one is an error, as every selection of nothing is.
fn part(mut plan: Plan, partition: Partition, durations: &Durations) -> anyhow::Result<Plan> {
    let all = plan.cells.len();
    let whole = deal(&plan, durations, partition.of());
    let own: BTreeSet<CellId> = whole.ids(partition.part()).into_iter().cloned().collect();
    plan.cells.retain(|cell| own.contains(&cell.id));
    plan.skipped.retain(|skipped| own.contains(&skipped.cell.id));
    if plan.cells.is_empty() {
        bail!(
            "nothing is selected: none of {all} cells is in part {partition}, for cells that share a boot stay together; \
             take fewer parts"
        );
    }
    plan.part = Some(PartOfPlan { partition, plan: whole });
    Ok(plan)
}

/// Takes what filter and last report select. A selection of nothing is an error: as a success it would hide every typo.
fn select(
    cells: Vec<Cell>,
    skipped: Vec<SkippedCell>,
    filter: Option<&Filter>,
    failed: Option<&BTreeSet<CellId>>,
) -> anyhow::Result<Plan> {
    let all = cells.len();
    let wanted = |cell: &Cell| {
        filter.is_none_or(|filter| filter.matches(cell)) && failed.is_none_or(|ids| ids.contains(&cell.id))
    };
    let plan = Plan {
        cells: cells.into_iter().filter(wanted).collect(),
        skipped: skipped.into_iter().filter(|skipped| wanted(&skipped.cell)).collect(),
        impossible: BTreeMap::new(),
        covered: Covered::default(),
        part: None,
    };
    if !plan.cells.is_empty() {
        return Ok(plan);
    }
    if let Some(skipped) = plan.skipped.first() {
        bail!("all that is selected is skipped; {}: {}", skipped.cell.id, skipped.why);
    }
    match (filter, failed) {
        (_, Some(ids)) if ids.is_empty() => bail!("--failed: all was as expected in the last report"),
        (Some(filter), _) => {
            bail!("nothing is selected: none of {all} cells matches `{filter}`; --list shows them")
        }
        (None, Some(_)) => {
            bail!("--failed: none of the cells that were not as expected is in the suites that were named")
        }
        (None, None) => bail!(
            "nothing is selected: the suites that were named have no cell of the architecture of the local kernels"
        ),
    }
}

/// What scenarios can name, out of the lock file that this program was built with.
fn catalog() -> anyhow::Result<Catalog> {
    let kernels = images::known_kernels()?.into_iter().map(|kernel| Kernel {
        // The store says it of i386 kernels only; a cell's kernel says it of every one that pages as PAE does.
        pae: kernel.pae || kernel.arch == Arch::X86_64,
        name: kernel.name,
        arch: kernel.arch,
        path: None,
    });
    let loaders =
        images::known_loaders()?.into_iter().map(|(version, arch)| ReferenceLoader { version, arch });
    Ok(Catalog { kernels: kernels.collect(), loaders: loaders.collect() })
}

fn overrides(args: &E2eArgs) -> anyhow::Result<Overrides> {
    Ok(Overrides {
        loaders: loaders(&args.loader)?,
        first: local(&args.kernel, KernelSide::First)?,
        capture: local(&args.kernel, KernelSide::Capture)?,
    })
}

/// The loaders that are named. Those given by path are told apart by their file name in the cells' ids.
fn loaders(args: &[LoaderArg]) -> anyhow::Result<Vec<Loader>> {
    let mut names: BTreeSet<&std::ffi::OsStr> = BTreeSet::new();
    args.iter()
        .map(|loader| match loader {
            LoaderArg::InTree => Ok(Loader::InTree),
            LoaderArg::KexecTools(version) => Ok(Loader::KexecTools(version.clone())),
            LoaderArg::Path(path) => {
                let Some(name) = path.file_name() else {
                    bail!("--loader {}: this names no file", path.display())
                };
                if !names.insert(name) {
                    bail!(
                        "--loader {}: another one is called {} too, and cells could not be told apart; rename one",
                        path.display(),
                        name.display()
                    );
                }
                if !path.is_file() {
                    bail!("--loader {}: there is no such file", path.display());
                }
                let absolute =
                    std::path::absolute(path).with_context(|| format!("--loader {}", path.display()))?;
                Ok(Loader::Path(absolute))
            }
        })
        .collect()
}

/// The local kernel for one side, if one is named.
fn local(kernels: &[KernelArgs], side: KernelSide) -> anyhow::Result<Option<Kernel>> {
    let mut of_side = kernels.iter().flat_map(|kernels| &kernels.0).filter(|kernel| kernel.side == side);
    let kernel = of_side.next().map(|kernel| local_kernel::read(&kernel.path)).transpose()?;
    match of_side.next() {
        Some(second) => bail!("--kernel {}: one kernel a side, please", second.path.display()),
        None => Ok(kernel),
    }
}

/// The folder of the report, as the user named it or by default.
pub(super) fn report_folder(args: &E2eArgs, repo: &Repo) -> PathBuf {
    args.report.clone().unwrap_or_else(|| repo.default_report())
}

/// The file of a suite: a path is taken as it is, a bare name is looked up in the suites' folder.
fn suite_file(scenarios: &Path, suite: &str) -> anyhow::Result<PathBuf> {
    if suite.contains('/') || suite.ends_with(".yaml") || suite.ends_with(".yml") {
        return Ok(PathBuf::from(suite));
    }
    let file = scenarios.join(format!("{suite}.yaml"));
    if file.is_file() {
        return Ok(file);
    }
    Err(anyhow!(
        "no suite {suite:?}; there are {}; a file of your own is given by its path, such as ./my-cells.yaml",
        known_suites(scenarios).join(", ")
    ))
}

/// The names of the suites, sorted.
pub(crate) fn known_suites(scenarios: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(scenarios).map(|entries| entries.flatten().collect::<Vec<_>>());
    let mut names: Vec<_> = entries
        .unwrap_or_default()
        .iter()
        .map(std::fs::DirEntry::path)
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        // What suites are put together from is none.
        .filter(|name| name != scenario::PLATFORMS)
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{CommandLine, Verb};
    use clap::Parser;

    fn args(words: &[&str]) -> E2eArgs {
        match CommandLine::try_parse_from(["xtask", "e2e"].iter().chain(words)).unwrap().verb {
            Verb::E2e(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn plan(words: &[&str]) -> Result<Plan, String> {
        make(&args(words), &Repo::find()).map_err(|failure| {
            assert_eq!(failure.exit().status(), 2, "{failure}");
            failure.to_string()
        })
    }

    /// Catches suites in the repository that do not load, and two cells of one id, whose evidence would be mixed.
    #[test]
    fn the_suites_of_the_repository_load() {
        let plan = plan(&["seed", "smoke"]).unwrap();
        let ids: BTreeSet<_> = plan.cells.iter().map(|cell| &cell.id.0).collect();
        assert_eq!(ids.len(), plan.cells.len());
        assert!(ids.len() > 40, "{} cells", ids.len());
    }

    /// Catches a typo that runs nothing and succeeds, or that is told without what would help.
    #[test]
    fn bad_selections_are_told() {
        for (words, expected) in [
            (&["nosuch"][..], "there are "),
            (&["./nowhere.yaml"], "nowhere.yaml"),
            (&["-E", "userspice=i386"], "userspice"),
            (&["-E", "id=no.such.cell"], "--list shows them"),
            (&["--partition", "5/4"], "--partition 5/4: parts are counted from 1 to 4"),
            (&["--partition", "4"], "expected M/N"),
            (&["--failed", "--report", "/nonexistent"], "cannot read /nonexistent/results.jsonl"),
            (&["--loader", "./no/such"], "there is no such file"),
            (&["--loader", "/bin/sh", "--loader", "/usr/bin/sh"], "rename one"),
            (&["--kernel", "first=/bin/sh"], "/bin/sh is no kernel to boot"),
            (&["--kernel", "capture=/bin/sh,capture=/bin/sh"], "/bin/sh is no kernel to boot"),
        ] {
            let error = plan(words).expect_err(&words.join(" "));
            assert!(error.contains(expected), "{words:?}: {error}");
        }
    }

    /// Catches parts that lose cells or run them twice, and an empty part that succeeds.
    #[test]
    fn parts_make_up_the_whole() {
        let all = plan(&["smoke"]).unwrap().cells;
        let mut parts = Vec::new();
        for part in ["1/3", "2/3", "3/3"] {
            parts.extend(plan(&["smoke", "--partition", part]).map(|plan| plan.cells).unwrap_or_default());
        }
        parts.sort_by(|a, b| a.id.cmp(&b.id));
        let mut sorted = all;
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(parts, sorted);
        let part = plan(&["smoke", "--partition", "2/3"]).unwrap().part.unwrap();
        assert_eq!((part.partition.to_string().as_str(), part.plan.cells.len()), ("2/3", sorted.len()));
        let one = ["smoke", "-E", "loader=kexec-tools"];
        let taken = |part| plan(&[&one[..], &["--partition", part]].concat());
        let (full, empty): (Vec<_>, Vec<_>) = ["1/2", "2/2"].into_iter().map(taken).partition(Result::is_ok);
        assert_eq!(full.len(), 1);
        assert!(empty[0].as_ref().is_err_and(|told| told.contains("take fewer parts")), "{empty:?}");
    }

    /// Catches `--failed` that runs everything when nothing failed.
    #[test]
    fn nothing_failed_is_no_selection() {
        let all = plan(&["smoke"]).unwrap();
        let select_ids =
            |ids: BTreeSet<CellId>| select(all.cells.clone(), all.skipped.clone(), None, Some(&ids));
        let error = select_ids(BTreeSet::new()).unwrap_err();
        assert_eq!(error.to_string(), "--failed: all was as expected in the last report");
        let one = all.cells[0].id.clone();
        assert_eq!(select_ids([one].into()).unwrap().cells.len(), 1);
    }
}
