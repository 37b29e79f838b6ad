//! `cargo xtask mutants`: deliberate bugs, one at a time, to see that the rig notices each and says the right thing about it.
//!
//! All programs are built first, in a copy of the workspace. Loaders are just other programs in a guest, so that one run has all
//! of their cells, and beside them the same cells with the programs as they are (the control). A mutated agent is in a guest from
//! its boot on: each has a run of its own.

mod edit;
mod judge;
mod list;
mod table;
mod workshop;

use crate::build::{Program, Toolchain};
use crate::cli::{E2eArgs, ListFormat, MutantsArgs};
use crate::e2e::Told;
use crate::e2e::ready::{self, GuestFiles};
use crate::exit::{Exit, Failure, OrFail};
use crate::setup::{self, Needs};
use crate::store::Shared;
use crate::table::live::Live;
use crate::table::paint::Paint;
use crate::{Host, e2e, output, store, tools};
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use harness::artifacts::capture_userspace;
use harness::cell::{Cell, CellId, Loader};
use harness::outcome::Verdict;
use harness::report::CellResult;
use harness::runner::RunEvent;
use harness::scenario;
use judge::{CellVerdict, Fate, Row, Seen};
use list::{Catch, Mutant, UNMUTATED};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;
use table::Columns;
use workshop::{NoProgram, Workshop};

/// The folder of the run with all loaders, in the report's.
const LOADERS: &str = "loaders";

pub(crate) async fn run(args: &MutantsArgs, host: &Host) -> Result<Exit, Failure> {
    let path = host.repo.root().join(list::FILE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))
        .or_input()?;
    let list = list::parse(&text).or_input()?;
    let mutants = list::select(list.mutants, &args.names, args.slice).or_input()?;
    let e2e_args = e2e_args(args, list.suites);
    let cells = cells(&mutants, e2e::plan::make(&e2e_args, &host.repo)?.cells).or_input()?;
    if args.list {
        mutants.iter().for_each(|mutant| output::line(listed(mutant, args.format)));
        return Ok(Exit::AsExpected);
    }
    let began = Instant::now();
    let mut needed = e2e::needed_tools(&e2e_args)?;
    needed.push(tools::GIT);
    let store = store::open(&args.store)?;
    let i686 = setup::provide(&Needs { tools: needed, components: &[] }, args.host, &store, &host.interrupts)
        .await?;
    let cells_used: Vec<Cell> = cells.values().cloned().collect();
    ready::prefetch(&cells_used, &store, host).await?;

    let report = args.report.clone().unwrap_or_else(|| host.repo.default_mutants_report());
    let workshop = Workshop::open(host.repo.mutants(), host.repo.root(), &host.interrupts).await?;
    let columns = Columns::new(&mutants, Paint::new(host.style.colour));
    output::line(format_args!("{} {} mutants", columns.paint.head("Building"), mutants.len()));
    build_unmutated(&workshop, &cells_used, &i686, host).await?;
    let mut untried: BTreeMap<&str, Fate> = BTreeMap::new();
    for mutant in &mutants {
        if let Some(fate) = build(&workshop, mutant, &cells, &i686, host).await? {
            columns.untried(&mutant.name, &fate).iter().for_each(output::line);
            untried.insert(&mutant.name, fate);
        }
    }

    let built: Vec<&Mutant> =
        mutants.iter().filter(|mutant| !untried.contains_key(mutant.name.as_str())).collect();
    let mut runs =
        Runs { workshop, store, e2e_args, report, columns, cells, seen: BTreeMap::new(), leaked: false };
    let interrupted = runs.all(&built, host).await?;

    let fates: Vec<(&Mutant, Fate)> = mutants
        .iter()
        .map(|mutant| {
            let fate = untried.remove(mutant.name.as_str());
            (mutant, fate.unwrap_or_else(|| runs.fate(mutant)))
        })
        .collect();
    let seconds = began.elapsed().as_secs_f64();
    columns.summary(&fates, &runs.report, seconds).iter().for_each(output::line);
    write_report(&runs.report, &fates).or_rig()?;
    let control_failed = runs.controls().any(|seen| seen.verdict == Verdict::Fail);
    Ok(judge::exit(fates.iter().map(|(_, fate)| fate), control_failed, runs.leaked, interrupted))
}

/// The command line of an end-to-end run that is like this one.
fn e2e_args(args: &MutantsArgs, suites: Vec<String>) -> E2eArgs {
    E2eArgs { guests: args.guests.clone(), ..E2eArgs::of_suites(suites, args.host, args.store.clone()) }
}

/// The cells that these mutants name, out of all that there are.
///
/// # Errors
/// A cell that the suites do not have.
fn cells(mutants: &[Mutant], all: Vec<Cell>) -> anyhow::Result<BTreeMap<CellId, Cell>> {
    let all: BTreeMap<CellId, Cell> = all.into_iter().map(|cell| (cell.id.clone(), cell)).collect();
    let named = mutants.iter().flat_map(|mutant| &mutant.catches);
    named
        .map(|Catch { alias, cell: id, .. }| {
            let cell = all.get(id).filter(|cell| cell.loader == Loader::InTree).ok_or_else(|| {
                anyhow!(
                    "{}: cell {alias}: the suites have no cell {id} of this repository's loader",
                    list::FILE
                )
            })?;
            Ok((id.clone(), cell.clone()))
        })
        .collect()
}

/// A mutant in the list that the user asks for.
fn listed(mutant: &Mutant, format: ListFormat) -> String {
    let cells: Vec<&str> = mutant.catches.iter().map(|catch| catch.alias.as_str()).collect();
    match format {
        ListFormat::Text => {
            format!("{}: {} ({}; {})", mutant.name, mutant.bug, mutant.edit.file, cells.join(", "))
        }
        ListFormat::Json => serde_json::json!({
            "name": mutant.name,
            "bug": mutant.bug,
            "program": mutant.program.name(),
            "file": mutant.edit.file,
            "slice": mutant.slice,
            "caught": mutant.catches.iter().map(|catch| serde_json::json!({
                "cell": catch.cell,
                "outcome": catch.sign.outcome,
                "words": catch.sign.words.as_str(),
            })).collect::<Vec<_>>(),
        })
        .to_string(),
    }
}

/// The architectures for which a program is needed in a cell's guest.
fn archs(program: Program, cell: &Cell) -> BTreeSet<Arch> {
    match program {
        Program::Loader => [cell.userspace].into(),
        Program::Agent => [cell.userspace, capture_userspace(cell)].into(),
    }
}

/// Builds the programs as they are.
///
/// # Errors
/// [`Failure::Check`]: they do not build, so that nothing can be said on mutants.
async fn build_unmutated(
    workshop: &Workshop,
    cells: &[Cell],
    i686: &Toolchain,
    host: &Host,
) -> Result<(), Failure> {
    for program in [Program::Loader, Program::Agent] {
        let archs = cells.iter().flat_map(|cell| archs(program, cell)).collect();
        let built = workshop.build(UNMUTATED, program, &archs, None, i686, &host.interrupts).await;
        built.map_err(|why| match why {
            NoProgram::NotBuilt(why) => {
                Failure::Check(anyhow!("{} does not build as it is:\n{why}", program.name()))
            }
            NoProgram::Stale(_) => Failure::Rig(anyhow!("a build without an edit cannot be stale")),
            NoProgram::Failed(failure) => failure,
        })?;
    }
    Ok(())
}

/// Builds a mutant; its fate, where that is sealed by it.
async fn build(
    workshop: &Workshop,
    mutant: &Mutant,
    cells: &BTreeMap<CellId, Cell>,
    i686: &Toolchain,
    host: &Host,
) -> Result<Option<Fate>, Failure> {
    let of_mutant = mutant.catches.iter().filter_map(|catch| cells.get(&catch.cell));
    let archs = of_mutant.flat_map(|cell| archs(mutant.program, cell)).collect();
    let edit = Some(&mutant.edit);
    match workshop.build(&mutant.name, mutant.program, &archs, edit, i686, &host.interrupts).await {
        Ok(()) => Ok(None),
        Err(NoProgram::Stale(stale)) => Ok(Some(Fate::Stale { why: mutant.edit.explain(&stale) })),
        Err(NoProgram::NotBuilt(why)) => Ok(Some(Fate::NotBuilt { why })),
        Err(NoProgram::Failed(failure)) => Err(failure),
    }
}

/// A program in a cell: whose it is (a mutant's name, or [`UNMUTATED`]), and which of the suites' cells that is.
type Trial = (String, CellId);

/// The end-to-end runs, and what was seen in them.
struct Runs {
    workshop: Workshop,
    store: Shared,
    e2e_args: E2eArgs,
    report: PathBuf,
    columns: Columns,
    /// The cells of the suites that are used.
    cells: BTreeMap<CellId, Cell>,
    seen: BTreeMap<Trial, Seen>,
    leaked: bool,
}

impl Runs {
    /// Runs everything; whether the user interrupted it.
    async fn all(&mut self, mutants: &[&Mutant], host: &Host) -> Result<bool, Failure> {
        let catches = || mutants.iter().flat_map(|mutant| &mutant.catches);
        let used: BTreeSet<&CellId> = catches().map(|catch| &catch.cell).collect();
        let mut trials: Vec<Trial> = used.iter().map(|&cell| (UNMUTATED.to_owned(), cell.clone())).collect();
        for mutant in mutants.iter().filter(|mutant| mutant.program == Program::Loader) {
            trials.extend(mutant.catches.iter().map(|catch| (mutant.name.clone(), catch.cell.clone())));
        }
        if self.one(LOADERS, UNMUTATED, trials, mutants, host).await? {
            return Ok(true);
        }
        for mutant in mutants.iter().filter(|mutant| mutant.program == Program::Agent) {
            let trials =
                mutant.catches.iter().map(|catch| (mutant.name.clone(), catch.cell.clone())).collect();
            if self.one(&mutant.name, &mutant.name, trials, mutants, host).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One run, with `agent`'s agent in its guests; its report goes into a folder of its own.
    async fn one(
        &mut self,
        folder: &str,
        agent: &str,
        trials: Vec<Trial>,
        mutants: &[&Mutant],
        host: &Host,
    ) -> Result<bool, Failure> {
        let mut cells = Vec::new();
        let mut by_id: BTreeMap<CellId, Trial> = BTreeMap::new();
        for (name, id) in trials {
            let Some(cell) = self.cells.get(&id) else { continue };
            let loader = if agent == UNMUTATED { name.as_str() } else { UNMUTATED };
            let loader = Loader::Path(self.workshop.program(Program::Loader, cell.userspace, loader));
            let cell = scenario::with_loader(cell, loader);
            by_id.insert(cell.id.clone(), (name, id));
            cells.push(cell);
        }
        if cells.is_empty() {
            return Ok(false);
        }
        let agents = cells.iter().flat_map(|cell| archs(Program::Agent, cell));
        let agents = agents.map(|arch| (arch, self.workshop.program(Program::Agent, arch, agent))).collect();
        let files = GuestFiles { agents, loaders: BTreeMap::new() };
        let artifacts = ready::resolve(&cells, self.store.clone(), files, host).await?;
        let options = harness::runner::Options {
            report: self.report.join(folder),
            // Mutants hang by the dozen, as they are to.
            verbose: false,
            ..e2e::options(&self.e2e_args, host)
        };
        let mut live = Live::new(host.style.progress);
        let mut seen = BTreeMap::new();
        let show = |told: Told| {
            let event = match told {
                Told::Event(event) => *event,
                Told::Asked => return live.aside(|| live.now().iter().for_each(output::line)),
            };
            live.follow(&event);
            let note = self.columns.paint.warning("Note");
            match event {
                RunEvent::RunStarted { notices, .. } => live.aside(|| {
                    let notices = notices.iter().map(|notice| crate::table::one_line(notice));
                    notices.for_each(|notice| output::line(format_args!("{note} {notice}")));
                }),
                RunEvent::BootEnded { boot, failed: Some(why) } => live.aside(|| {
                    let why = crate::table::one_line(&why);
                    output::line(format_args!("{note} {boot} could not be shared: {why}"));
                }),
                RunEvent::TrialEnded { result } => {
                    let Some((name, id)) = by_id.get(&result.id) else { return };
                    let now = seen_in(folder, &result);
                    let line = self.line(name, id, &now, mutants);
                    live.aside(|| line.iter().for_each(output::line));
                    seen.insert((name.clone(), id.clone()), now);
                }
                RunEvent::BootStarted { .. }
                | RunEvent::BootEnded { failed: None, .. }
                | RunEvent::AttemptStarted { .. }
                | RunEvent::Guest { .. }
                | RunEvent::AttemptEnded { .. }
                | RunEvent::VerboseRunStarted { .. }
                | RunEvent::RunEnded { .. } => {}
            }
        };
        let summary = e2e::drive(cells, &[], artifacts, options, host, show).await;
        live.finish();
        let summary = summary?;
        self.seen.extend(seen);
        for process in &summary.leaked {
            output::note(format_args!("a process outlived its guest: {process}"));
        }
        self.leaked |= !summary.leaked.is_empty();
        Ok(summary.interrupted)
    }

    /// The line of a cell that has ended. Its control may still be to come; the summary knows it.
    fn line(&self, name: &str, id: &CellId, seen: &Seen, mutants: &[&Mutant]) -> Option<String> {
        let of_cell = |mutant: &'_ &Mutant| mutant.catches.iter().find(|catch| catch.cell == *id).cloned();
        if name == UNMUTATED {
            let catch = mutants.iter().find_map(of_cell)?;
            return Some(self.columns.control(&catch.alias, seen));
        }
        let catch = mutants.iter().filter(|mutant| mutant.name == name).find_map(of_cell)?;
        let verdict = judge::alone(seen, &catch.sign);
        Some(self.columns.row(name, &row(&catch, verdict, Some(seen))))
    }

    fn controls(&self) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(|((name, _), _)| name == UNMUTATED).map(|(_, seen)| seen)
    }

    /// What became of a mutant that was built.
    fn fate(&self, mutant: &Mutant) -> Fate {
        let of = |name: &str, catch: &Catch| self.seen.get(&(name.to_owned(), catch.cell.clone()));
        let rows = mutant.catches.iter().map(|catch| {
            let seen = of(&mutant.name, catch);
            row(catch, judge::cell(of(UNMUTATED, catch), seen, &catch.sign), seen)
        });
        Fate::Tried { cells: rows.collect() }
    }
}

/// What a trial showed.
fn seen_in(folder: &str, result: &CellResult) -> Seen {
    Seen {
        verdict: result.verdict,
        outcome: result.outcome.clone(),
        words: result.words.clone(),
        seconds: result.attempts.iter().map(|attempt| attempt.seconds).sum(),
        evidence: Path::new(folder).join(&result.evidence),
    }
}

fn row(catch: &Catch, verdict: CellVerdict, seen: Option<&Seen>) -> Row {
    let kind = serde_json::to_value(catch.sign.outcome).unwrap_or_default();
    Row {
        cell: catch.alias.clone(),
        verdict,
        foreseen: format!("{}, and /{}/", kind.as_str().unwrap_or_default(), catch.sign.words),
        words: seen.map(|seen| seen.words.clone()).unwrap_or_default(),
        seconds: seen.map_or(0.0, |seen| seen.seconds),
        evidence: seen.map(|seen| seen.evidence.clone()),
    }
}

/// Writes `mutants.jsonl`: an object a mutant.
fn write_report(folder: &Path, fates: &[(&Mutant, Fate)]) -> anyhow::Result<()> {
    let lines = fates.iter().map(|(mutant, fate)| {
        serde_json::json!({
            "name": mutant.name,
            "bug": mutant.bug,
            "file": mutant.edit.file,
            "verdict": fate.verdict(),
            "fate": fate,
        })
        .to_string()
            + "\n"
    });
    let path = folder.join("mutants.jsonl");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, lines.collect::<String>()))
        .with_context(|| format!("cannot write {}", path.display()))
}
