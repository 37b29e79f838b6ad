//! One report out of those of parts. What belongs together is decided purely by [`join`]; [`merge`] is the rim.
//!
//! A merged report says what a single run of all cells would have said, or there is none: a part that is missing, a cell without a result, or
//! with two, or parts that were run by different means are errors, each told by name.

use super::identity::difference_of_means;
use super::part::missing_trials;
use super::{
    CellResult, MergedRun, NoPart, ReadError, RecordedRun, Report, ReportError, Results, RunHeader,
    SkippedRecord, io_error, read_plan, read_results,
};
use crate::cost::Cost;
use crate::partition::{PartOfPlan, Partition};
use crate::runner::{Summary, TrialId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Folders of a report that runs share by content: what the scripts of its cells use.
const SHARED: [&str; 2] = ["initramfs", "kernels"];

/// Reports that cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A folder is no part's report.
    #[error(transparent)]
    NoPart(#[from] NoPart),
    /// Its results cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// They make up no whole.
    #[error("{}", text(.0))]
    NoWhole(Vec<Problem>),
    /// The merged report would take the place of one of them.
    #[error("{0} is among what is to be merged; name another folder with --out DIR")]
    Onto(PathBuf),
    /// The merged report cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

fn text(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// Why parts make up no whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Two are parts of different plans.
    OtherPlan {
        /// The report.
        report: String,
        /// The one that it was held against.
        first: String,
    },
    /// Two were run by different means.
    OtherMeans {
        /// The report.
        report: String,
        /// The one that it was held against.
        first: String,
        /// What differs.
        what: String,
    },
    /// Nobody has a part.
    MissingPart {
        /// The part.
        part: Partition,
        /// Its cells.
        cells: Vec<String>,
    },
    /// A part's report lacks cells: it was killed or interrupted, or goes on.
    Missing {
        /// The report.
        report: String,
        /// Whether it had ended by itself.
        ended: bool,
        /// The cells.
        cells: Vec<String>,
    },
    /// A report has cells that its part does not have.
    Foreign {
        /// The report.
        report: String,
        /// The cells.
        cells: Vec<String>,
    },
    /// Two reports have the same result.
    Duplicate {
        /// Both reports.
        reports: [String; 2],
        /// The cells.
        cells: Vec<String>,
    },
    /// Two reports have results of the same cells, and they differ.
    Contradiction {
        /// Both reports.
        reports: [String; 2],
        /// The cells, with what each report says.
        cells: Vec<String>,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = match self {
            Self::OtherPlan { report, first } => {
                return write!(
                    f,
                    "{report} and {first} are parts of different plans: other suites, filters, durations, or number of parts"
                );
            }
            Self::OtherMeans { report, first, what } => {
                return write!(f, "{report} was not run as {first} was: {what}");
            }
            Self::MissingPart { part, cells } => {
                write!(f, "no report is of part {part}, which has {}", count(cells))?;
                cells
            }
            Self::Missing { report, ended, cells } => {
                let why =
                    if *ended { "" } else { ", for its run was killed or goes on; --resume continues it" };
                write!(f, "{report} lacks {}{why}", count(cells))?;
                cells
            }
            Self::Foreign { report, cells } => {
                write!(f, "{report} has {} that its part does not have", count(cells))?;
                cells
            }
            Self::Duplicate { reports: [a, b], cells } => {
                write!(f, "{a} and {b} both have {}", count(cells))?;
                cells
            }
            Self::Contradiction { reports: [a, b], cells } => {
                write!(f, "{a} and {b} contradict each other in {}", count(cells))?;
                cells
            }
        };
        f.write_str(":")?;
        cells.iter().try_for_each(|cell| write!(f, "\n  {cell}"))
    }
}

fn count(cells: &[String]) -> String {
    match cells.len() {
        1 => "1 cell".to_owned(),
        count => format!("{count} cells"),
    }
}

/// A part's report.
#[derive(Clone, Debug)]
struct Part {
    /// Its folder, as it was named.
    name: String,
    run: RecordedRun,
    part: PartOfPlan,
    results: Results,
}

/// What the parts come to together.
#[derive(Clone, Debug, PartialEq)]
struct Joined {
    header: RunHeader,
    started: u64,
    ended: u64,
    /// The results in the plan's order, each with the place of its report.
    trials: Vec<(usize, CellResult)>,
    skipped: Vec<SkippedRecord>,
    summary: Summary,
}

fn join(parts: &[Part]) -> Result<Joined, Vec<Problem>> {
    let Some(first) = parts.first() else { return Err(Vec::new()) };
    let mut problems = Vec::new();
    for part in &parts[1..] {
        let names = || (part.name.clone(), first.name.clone());
        if part.part.plan != first.part.plan {
            let (report, first) = names();
            problems.push(Problem::OtherPlan { report, first });
        } else if let Some(what) = difference_of_means(&first.run.header, &part.run.header) {
            let (report, first) = names();
            problems.push(Problem::OtherMeans { report, first, what });
        }
    }
    if !problems.is_empty() {
        // Of other plans, nothing can be said on single cells.
        return Err(problems);
    }
    problems.extend(missing(parts, first));
    problems.extend(twice(parts));
    if !problems.is_empty() {
        return Err(problems);
    }
    let plan = &first.part.plan;
    let places: BTreeMap<_, usize> =
        plan.cells.iter().enumerate().map(|(place, cell)| (&cell.id, place)).collect();
    let mut trials: Vec<(usize, CellResult)> = Vec::new();
    let mut skipped = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        trials.extend(part.results.trials.iter().map(|result| (index, result.clone())));
        skipped.extend(part.results.skipped.iter().cloned());
    }
    trials.sort_by_key(|(_, result)| (result.repetition, places.get(&result.id).copied()));
    let mut summary = Summary::default();
    trials.iter().for_each(|(_, result)| summary.add(result.verdict));
    summary.leaked = parts.iter().flat_map(|part| part.run.leaked.iter().cloned()).collect();
    summary.cost = Cost::sum(parts.iter().filter_map(|part| part.run.cost.as_ref()));
    let ended = |part: &Part| part.run.ended.unwrap_or(part.run.started);
    let mut merged: Vec<MergedRun> = parts
        .iter()
        .map(|part| MergedRun {
            partition: part.part.partition,
            jobs: part.run.header.jobs,
            started: part.run.started,
            ended: ended(part),
        })
        .collect();
    merged.sort_by_key(|run| run.partition);
    let mut made_with = first.run.header.made_with.clone();
    made_with.cells.clone_from(&plan.digest);
    for part in parts {
        let artifacts = &part.run.header.made_with.artifacts;
        made_with.artifacts.extend(artifacts.iter().map(|(name, version)| (name.clone(), version.clone())));
    }
    let header = RunHeader {
        jobs: parts.iter().map(|part| part.run.header.jobs).sum(),
        total: trials.len(),
        made_with,
        part: None,
        merged,
        ..first.run.header.clone()
    };
    Ok(Joined {
        header,
        started: parts.iter().map(|part| part.run.started).min().unwrap_or(0),
        ended: parts.iter().map(ended).max().unwrap_or(0),
        trials,
        skipped,
        summary,
    })
}

/// What the plan has and the parts do not, and what a part has and should not.
fn missing(parts: &[Part], first: &Part) -> Vec<Problem> {
    let mut problems = Vec::new();
    let there: BTreeSet<Partition> = parts.iter().map(|part| part.part.partition).collect();
    let empty: BTreeSet<Partition> = first.part.plan.empty().into_iter().collect();
    for partition in Partition::all(first.part.plan.of) {
        // Nobody could run a part without cells; those that are skipped are told by whoever has the suite.
        if there.contains(&partition) || empty.contains(&partition) {
            continue;
        }
        let cells = first.part.plan.ids(partition.part()).into_iter().map(|id| id.0.clone()).collect();
        problems.push(Problem::MissingPart { part: partition, cells });
    }
    for part in parts {
        let repeat = part.run.header.made_with.repeat.max(1);
        let mut cells: Vec<String> =
            missing_trials(&part.results, &part.part, repeat).iter().map(TrialId::to_string).collect();
        let number = part.part.partition.part();
        let skipped: BTreeSet<_> = part.results.skipped.iter().map(|skipped| &skipped.id).collect();
        let due = part.part.plan.skipped.iter().filter(|cell| cell.part == number);
        cells.extend(due.filter(|cell| !skipped.contains(&cell.id)).map(|cell| cell.id.0.clone()));
        let ended = part.run.ended.is_some() && part.run.interrupted != Some(true);
        if !cells.is_empty() {
            problems.push(Problem::Missing { report: part.name.clone(), ended, cells });
        }
        let own = part.part.plan.ids(number);
        let ids = part.results.trials.iter().map(|result| &result.id).chain(skipped);
        let foreign: BTreeSet<_> = ids.filter(|id| !own.contains(id)).map(|id| id.0.clone()).collect();
        if !foreign.is_empty() {
            let cells = foreign.into_iter().collect();
            problems.push(Problem::Foreign { report: part.name.clone(), cells });
        }
    }
    problems
}

/// Cells that two reports have.
fn twice(parts: &[Part]) -> Vec<Problem> {
    let mut homes: BTreeMap<TrialId, (usize, &CellResult)> = BTreeMap::new();
    let mut same: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    let mut different: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        for result in &part.results.trials {
            let Some((home, other)) = homes.get(&result.trial()) else {
                homes.insert(result.trial(), (index, result));
                continue;
            };
            // Two runs of a cell never take the same time; it is what they say that must not differ.
            if (other.verdict, other.outcome.kind()) == (result.verdict, result.outcome.kind()) {
                same.entry((*home, index)).or_default().push(result.trial().to_string());
            } else {
                let told = format!("{}: {}, and {}", result.trial(), said(other), said(result));
                different.entry((*home, index)).or_default().push(told);
            }
        }
    }
    let reports = |(a, b): (usize, usize)| [parts[a].name.clone(), parts[b].name.clone()];
    let same = same.into_iter().map(|(two, cells)| Problem::Duplicate { reports: reports(two), cells });
    let different =
        different.into_iter().map(|(two, cells)| Problem::Contradiction { reports: reports(two), cells });
    same.chain(different).collect()
}

fn said(result: &CellResult) -> String {
    format!("{} ({})", super::verdict_name(result.verdict), result.words)
}

/// What came of a merge.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The merged report's folder, absolute.
    pub folder: PathBuf,
    /// The counts of the joined run.
    pub summary: Summary,
    /// Cells that were skipped.
    pub skipped: usize,
}

/// Merges the reports of all parts of a plan into one in `out`, with their evidence (hard links where the file system has them) and
/// its pages. An earlier report there is kept as `<out>.old`.
///
/// # Errors
/// They do not make up a whole, or cannot be read, or the merged one cannot be written. Of pages that cannot be written the summary says so.
pub fn merge(folders: &[PathBuf], out: &Path) -> Result<Merged, MergeError> {
    let same = |folder: &PathBuf| {
        std::fs::canonicalize(folder)
            .ok()
            .is_some_and(|folder| std::fs::canonicalize(out).is_ok_and(|out| out == folder))
    };
    if let Some(folder) = folders.iter().find(|folder| same(folder)) {
        return Err(MergeError::Onto(folder.clone()));
    }
    let mut parts = Vec::new();
    for folder in folders {
        let (run, part) = read_plan(folder)?;
        let results = read_results(folder)?;
        parts.push(Part { name: folder.display().to_string(), run, part, results });
    }
    let mut joined = join(&parts).map_err(MergeError::NoWhole)?;
    let mut report = Report::create(out, joined.header)?;
    (report.started, report.ended) = (joined.started, Some(joined.ended));
    for folder in folders {
        for shared in SHARED {
            link_tree(&folder.join(shared), &report.folder.join(shared))?;
        }
    }
    for skipped in &joined.skipped {
        report.add_line(skipped)?;
    }
    for (index, result) in &joined.trials {
        for evidence in evidence_of(result) {
            link_tree(&folders[*index].join(evidence), &report.folder.join(evidence))?;
        }
        report.add(result)?;
    }
    // As in a run: every result is written by now, and a loader that was shown wrong must not hide behind a page that has no room.
    joined.summary.unwritten = report.finish(&joined.summary).err().map(|error| error.to_string());
    Ok(Merged { folder: report.folder.clone(), summary: joined.summary, skipped: joined.skipped.len() })
}

/// The folders of a result's evidence. One that leads out of its report is none of its.
fn evidence_of(result: &CellResult) -> BTreeSet<&Path> {
    let attempts = result.attempts.iter().map(|attempt| attempt.evidence.as_path());
    let verbose = result.attempts.iter().filter_map(|attempt| attempt.verbose.as_ref());
    let all = attempts.chain(verbose.map(|verbose| verbose.evidence.as_path()));
    let inside = |path: &&Path| {
        let mut components = path.components();
        matches!(components.next(), Some(std::path::Component::Normal(_))) && components.next().is_none()
    };
    all.filter(inside).collect()
}

/// Makes `to` have what `from` has; nothing where there is no such folder.
fn link_tree(from: &Path, to: &Path) -> Result<(), ReportError> {
    let entries = match std::fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io_error("read", from))?,
    };
    std::fs::create_dir_all(to).map_err(io_error("create", to))?;
    for entry in entries {
        let entry = entry.map_err(io_error("read", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(io_error("look at", &path))?;
        if kind.is_dir() {
            link_tree(&path, &target)?;
        } else if kind.is_file() && !target.exists() {
            // Another file system, or one without links, takes a copy.
            std::fs::hard_link(&path, &target)
                .or_else(|_| std::fs::copy(&path, &target).map(drop))
                .map_err(io_error("copy", &path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
