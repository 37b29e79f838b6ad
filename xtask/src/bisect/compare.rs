//! `compare`: the same cells with one thing and with another, in turns, and where the two part.

use super::candidate::Candidate;
use super::memory::Observation;
use super::select;
use super::tester::{CellFinding, Given, Tester, Thoroughness, toolchain};
use crate::Host;
use crate::build::{self, Program};
use crate::cli::{CompareArgs, ComparedArg, KernelSide};
use crate::e2e::local_kernel;
use crate::exit::{Exit, Failure, OrFail};
use crate::table::{one_line, plural};
use crate::{output, store};
use anyhow::{Context, anyhow};
use guest_protocol::Arch;
use harness::cell::{Cell, Kernel, Loader};
use harness::outcome::{Outcome, VmcoreState};
use harness::scenario;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(crate) async fn run(args: &CompareArgs, host: &Host) -> Result<Exit, Failure> {
    let both = [&args.a, &args.b];
    can_be_compared(both).map_err(|why| Failure::Input(anyhow!(why)))?;
    let recipe = super::candidate::Recipe::Released;
    let mut cells =
        select::cells(&args.judging.cells, &args.judging.suite, &recipe, args.host, &args.store, host)?;
    let of_loaders = both.iter().any(|compared| !matches!(compared, ComparedArg::Kernel(..)));
    if of_loaders {
        cells = without_released(cells);
    }
    let all = cells.len();
    if of_loaders {
        // Loaders are put into the cells of the one in the tree; options of its own would end any other.
        cells.retain(|cell| cell.loader == Loader::InTree && cell.loader_args.is_empty());
    }
    if cells.is_empty() {
        return Err(Failure::Input(anyhow!(
            "none of {all} cells is one of loader=in-tree without arguments of its own"
        )));
    }
    let asked = Asked { all, tried: cells.len() };
    output::line(format_args!(
        "{} and {} in {}, {} with each{}",
        args.a,
        args.b,
        plural(cells.len(), "cell"),
        plural(args.runs.get() as usize, "run"),
        if args.judging.cells.is_empty() { " (no CELL was named, so it is all of the suite)" } else { "" }
    ));
    let store = store::open(&args.store)?;
    let i686 = toolchain(&recipe, &[], &args.judging, (args.host, &args.store), &store, host).await?;
    let given = Given {
        args: &args.judging,
        criteria: super::Criteria::default(),
        host_args: args.host,
        store_args: &args.store,
        store,
        cells,
        i686: &i686,
        own_loader: both.iter().any(|compared| matches!(compared, ComparedArg::Kernel(..))),
    };
    let tester = Tester::new(given, host).await?;
    let mut candidates = Vec::new();
    for compared in both {
        candidates.push(candidate(compared, &tester.cells, &i686, host).await?);
    }
    let mut tested = Vec::new();
    // In turns, so that a host that grows slower does so for both.
    for round in 1..=args.runs.get() {
        tested.clear();
        for candidate in &candidates {
            let how = Thoroughness { least: round, again: false, exactly: true };
            tested.push(tester.test(candidate, how).await?);
        }
    }
    let [a, b] = &tested[..] else { return Err(Failure::Rig(anyhow!("two were to be compared"))) };
    for (tested, compared) in [(a, &args.a), (b, &args.b)] {
        if let super::tester::Finding::Untestable { why } = &tested.finding
            && tested.cells.is_empty()
        {
            return Err(Failure::Input(anyhow!("{compared} cannot be tried: {why}")));
        }
    }
    let (text, exit) = told(&a.cells, &b.cells, [&args.a, &args.b], asked);
    output::line(text);
    Ok(exit)
}

/// Whether the two are of a kind and differ.
///
/// # Errors
/// A sentence: why nothing would come of it.
fn can_be_compared([a, b]: [&ComparedArg; 2]) -> Result<(), String> {
    let side = |compared: &ComparedArg| match compared {
        ComparedArg::Kernel(side, _) => Some(*side),
        ComparedArg::InTree | ComparedArg::KexecTools(_) | ComparedArg::Program(_) => None,
    };
    if a == b {
        return Err(format!("{a} and {b} are the same: nothing could differ but luck"));
    }
    match (side(a), side(b)) {
        (Some(_), None) | (None, Some(_)) => {
            Err(format!("{a} and {b}: one is a loader and the other a kernel; name two of a kind"))
        }
        (Some(of_a), Some(of_b)) if of_a != of_b => Err(format!(
            "{a} and {b}: one is the first kernel and the other the capture kernel, so that a difference would be no one's; name two for \
             the same place: both first= or both capture="
        )),
        _ => Ok(()),
    }
}

/// The cells with the loader in the tree in place of released ones, each once: a suite has several loaders in the same cell, and which of
/// them its id names says nothing where others are put into it.
fn without_released(cells: Vec<Cell>) -> Vec<Cell> {
    let mut seen = BTreeSet::new();
    let cells = cells.into_iter().map(|cell| match cell.loader {
        Loader::KexecTools(_) => scenario::with_loader(&cell, Loader::InTree),
        Loader::InTree | Loader::Path(_) => cell,
    });
    cells.filter(|cell| seen.insert(cell.id.clone())).collect()
}

/// How many cells were to be compared.
#[derive(Clone, Copy)]
struct Asked {
    all: usize,
    /// Those in which both can be.
    tried: usize,
}

/// Those of a cell's runs that came to an end of its own. No region and no first kernel are such ends here, since kernels may differ in
/// them. Trouble of the rig is none of what is compared.
fn ends(cell: &CellFinding) -> Vec<&Observation> {
    let own = |seen: &&Observation| !matches!(seen.outcome, Outcome::RigError { .. });
    cell.seen.iter().chain(&cell.vain).filter(own).collect()
}

/// What differs and what is not known, and the status that goes with it.
fn told(a: &[CellFinding], b: &[CellFinding], names: [&ComparedArg; 2], asked: Asked) -> (String, Exit) {
    let (mut different, mut unknown) = (0, 0);
    let mut text = String::new();
    for a in a {
        let both = [Some(a), b.iter().find(|b| b.id == a.id)];
        let of_both = both.map(|cell| cell.map(ends).unwrap_or_default());
        let kinds =
            |seen: &[&Observation]| seen.iter().map(|seen| kind(&seen.outcome)).collect::<BTreeSet<_>>();
        let [of_a, of_b] = &of_both;
        let is_unknown = of_a.is_empty() || of_b.is_empty();
        if is_unknown {
            unknown += 1;
            text.push_str(&format!("\n{}: unknown, no run of one came to an end\n", a.id));
        } else if kinds(of_a) == kinds(of_b) {
            continue;
        } else {
            different += 1;
            text.push_str(&format!("\n{}\n", a.id));
        }
        for ((name, cell), own) in names.iter().zip(both).zip(&of_both) {
            let mut words: BTreeSet<String> = own.iter().map(|seen| one_line(&seen.words)).collect();
            if words.is_empty() {
                words.extend(cell.iter().flat_map(|cell| &cell.vain).map(|seen| one_line(&seen.words)));
            }
            if words.is_empty() {
                words.insert("(no run)".to_owned());
            }
            for words in words {
                text.push_str(&format!("  {name}: {words}\n"));
            }
        }
        if is_unknown {
            continue;
        }
        for (section, only_a, only_b) in partings(of_a, of_b) {
            text.push_str(&format!("  {section}, where they part:\n"));
            for (name, line) in names.iter().zip([only_a, only_b]) {
                text.push_str(&format!("    {name}: {}\n", one_line(&line)));
            }
        }
    }
    text.push_str(&format!("{}: {different} differ", plural(a.len(), "cell")));
    if unknown > 0 {
        text.push_str(&format!(", {unknown} unknown"));
    }
    let left_out = asked.all.saturating_sub(asked.tried);
    if left_out > 0 {
        text.push_str(&format!("; {left_out} left out, which only one of them understands"));
    }
    let merged = asked.tried.saturating_sub(a.len());
    if merged > 0 {
        text.push_str(&format!("; {merged} more are the same as one of these once the kernel is in them"));
    }
    let exit = match (different, unknown) {
        (0, 0) => Exit::AsExpected,
        (0, _) => Exit::RigFailed,
        _ => Exit::NotAsExpected,
    };
    (text.trim_start_matches('\n').to_owned(), exit)
}

/// What must be the same for two runs to have come to the same.
fn kind(outcome: &Outcome) -> String {
    let state = match outcome {
        Outcome::Captured { vmcore: VmcoreState::Verified, .. } => ", vmcore verified",
        Outcome::Captured { vmcore: VmcoreState::Wrong { .. }, .. } => ", vmcore wrong",
        Outcome::Captured { vmcore: VmcoreState::Absent { .. }, .. } => ", vmcore absent",
        _ => "",
    };
    format!("{}{state}", outcome.kind().name())
}

/// Of each kind of evidence in which two things part, the first line of either that the other never has.
pub(super) fn partings(a: &[&Observation], b: &[&Observation]) -> Vec<(&'static str, String, String)> {
    let parted = |section: Section| {
        let lines = |seen: &[&Observation]| seen.iter().map(|seen| section.lines(seen)).collect::<Vec<_>>();
        let (only_a, only_b) = part(&lines(a), &lines(b))?;
        let told = |line: Option<String>| line.unwrap_or_else(|| "(nothing of its own)".to_owned());
        Some((section.name(), told(only_a), told(only_b)))
    };
    Section::ALL.into_iter().filter_map(parted).collect()
}

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// What the loader said, its segments among it.
    Loader,
    /// What the agents of both kernels reported.
    Agents,
    Console,
}

impl Section {
    const ALL: [Self; 3] = [Self::Loader, Self::Agents, Self::Console];

    const fn name(self) -> &'static str {
        match self {
            Self::Loader => "the loader's words",
            Self::Agents => "the agents' findings",
            Self::Console => "the console",
        }
    }

    /// Its lines in an observation's evidence, without what is another in every run.
    fn lines(self, seen: &Observation) -> Vec<String> {
        let read = |file: &str| {
            let bytes = std::fs::read(seen.evidence.join(file)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        match self {
            Self::Console => {
                read("console.log").lines().map(without_time).filter(|line| !line.is_empty()).collect()
            }
            Self::Loader => loader_lines(&read("agent.jsonl")),
            Self::Agents => agent_lines(&read("agent.jsonl")),
        }
    }
}

/// What the agents said, one message a value.
fn messages(log: &str) -> impl Iterator<Item = serde_json::Value> {
    log.lines().filter_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        value.pointer("/what/agent/message").cloned()
    })
}

fn loader_lines(log: &str) -> Vec<String> {
    let words = messages(log).filter_map(|message| message["stderr"].as_str().map(str::to_owned));
    words.flat_map(|words| words.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Each value of each message as a line, `type.path: value`.
fn agent_lines(log: &str) -> Vec<String> {
    fn flatten(path: &str, value: &serde_json::Value, lines: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                // The loader's words are a section of their own; times differ always.
                let fields = fields
                    .iter()
                    .filter(|(name, _)| !["type", "stderr", "milliseconds", "time"].contains(&name.as_str()));
                fields.for_each(|(name, value)| flatten(&format!("{path}.{name}"), value, lines));
            }
            serde_json::Value::Array(items) => {
                items.iter().for_each(|item| flatten(path, item, lines));
            }
            other => lines.push(format!("{path}: {other}")),
        }
    }
    let mut lines = Vec::new();
    for message in messages(log) {
        flatten(message["type"].as_str().unwrap_or("message"), &message, &mut lines);
    }
    lines
}

/// A line of a console without the kernel's time in front.
fn without_time(line: &str) -> String {
    let line = line.trim();
    match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((time, rest)) if time.trim().parse::<f64>().is_ok() => rest.trim().to_owned(),
        _ => line.to_owned(),
    }
}

/// The first line that every run of the one side has and no run of the other, of each side. None where neither has such a line. What
/// differs between runs of the same thing is no difference between things.
fn part(a: &[Vec<String>], b: &[Vec<String>]) -> Option<(Option<String>, Option<String>)> {
    let first = |own: &[Vec<String>], other: &[Vec<String>]| {
        let (one, rest) = own.split_first()?;
        let mut lines = one.iter();
        lines
            .find(|line| {
                rest.iter().all(|run| run.contains(line)) && !other.iter().any(|run| run.contains(line))
            })
            .cloned()
    };
    match (first(a, b), first(b, a)) {
        (None, None) => None,
        parted => Some(parted),
    }
}

/// What is put into the cells.
async fn candidate(
    compared: &ComparedArg,
    cells: &[Cell],
    i686: &build::Toolchain,
    host: &Host,
) -> Result<Candidate, Failure> {
    let archs: BTreeSet<Arch> = cells.iter().map(|cell| cell.userspace).collect();
    Ok(match compared {
        ComparedArg::InTree => {
            let built = build::build(&host.repo, &[Program::Loader], i686, &host.interrupts).await?;
            Candidate::OwnLoader(built.of(Program::Loader))
        }
        ComparedArg::KexecTools(version) => Candidate::KexecTools(version.clone()),
        ComparedArg::Program(path) => {
            let of = |arch: &Arch| {
                let path = path.to_string_lossy().replace("{arch}", arch.name());
                let path = std::path::absolute(&path).with_context(|| format!("cannot use {path}"))?;
                if path.is_file() {
                    Ok((*arch, path))
                } else {
                    Err(anyhow!("there is no {}", path.display()))
                }
            };
            Candidate::Programs(archs.iter().map(of).collect::<Result<BTreeMap<_, _>, _>>().or_input()?)
        }
        ComparedArg::Kernel(side, name) => {
            let kernel = Some(kernel(name).or_input()?);
            match side {
                KernelSide::First => Candidate::Kernels { first: kernel, capture: None },
                KernelSide::Capture => Candidate::Kernels { first: None, capture: kernel },
            }
        }
    })
}

/// A kernel by its path, or by its name in the lock file.
fn kernel(name: &str) -> anyhow::Result<Kernel> {
    if name.contains('/') {
        return local_kernel::read(Path::new(name));
    }
    let known = images::known_kernels()?;
    let Some(kernel) = known.iter().find(|kernel| kernel.name == name) else {
        let names: Vec<_> = known.iter().map(|kernel| kernel.name.as_str()).collect();
        return Err(anyhow!(
            "{name} is no kernel of the lock file, which has {}; a path has a slash",
            names.join(", ")
        ));
    };
    let pae = kernel.pae || kernel.arch == Arch::X86_64;
    Ok(Kernel { name: kernel.name.clone(), arch: kernel.arch, pae, path: None })
}

#[cfg(test)]
mod tests;
