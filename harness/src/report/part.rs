//! What a part's report says of the whole: enough to find what is missing when parts are put together.

use super::{
    RecordedRun, Report, ReportError, Results, RunFileError, io_error, new_file, read_results, read_run,
};
use crate::partition::{PartOfPlan, Partition, WholePlan};
use crate::runner::TrialId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// All cells that were chosen, and the part that each is in: a [`WholePlan`].
pub(super) const PLAN_FILE: &str = "plan.json";

/// Of `run.json`: the part, and by what its whole is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Which part, such as `2/4`.
    pub partition: Partition,
    /// How many cells all parts run together.
    pub cells: usize,
    /// [`WholePlan::digest`].
    pub digest: String,
}

impl PartRecord {
    /// That of a run of this part.
    pub fn of(part: &PartOfPlan) -> Self {
        Self { partition: part.partition, cells: part.plan.cells.len(), digest: part.plan.digest.clone() }
    }
}

/// A run that a report was merged from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergedRun {
    /// Its part.
    pub partition: Partition,
    /// Guests at a time.
    pub jobs: usize,
    /// Seconds since the epoch.
    pub started: u64,
    /// Seconds since the epoch.
    pub ended: u64,
}

/// A folder is no report of a part.
#[derive(Debug, thiserror::Error)]
pub enum NoPart {
    /// It is no report.
    #[error(transparent)]
    RunFile(#[from] RunFileError),
    /// It was not run as a part.
    #[error(
        "{0} is not of a part: it was run without --partition, and nothing says what else there should be"
    )]
    Whole(PathBuf),
    /// What says of what it is a part cannot be used.
    #[error("{path}: {source}")]
    Plan {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Its two files do not belong together.
    #[error("{0}: its plan.json is not that of its run.json")]
    OtherPlan(PathBuf),
}

/// Reads which part the report in `folder` is of.
///
/// # Errors
/// It is no report, or not of a part.
pub fn read_plan(folder: &Path) -> Result<(RecordedRun, PartOfPlan), NoPart> {
    let run = read_run(folder)?;
    let Some(record) = &run.header.part else { return Err(NoPart::Whole(folder.to_owned())) };
    let path = folder.join(PLAN_FILE);
    let read = || Ok(serde_json::from_slice(&std::fs::read(&path)?)?);
    let plan: WholePlan = read().map_err(|source| NoPart::Plan { path: path.clone(), source })?;
    let part = PartOfPlan { partition: record.partition, plan };
    if PartRecord::of(&part) != *record || part.plan.of != record.partition.of() {
        return Err(NoPart::OtherPlan(folder.to_owned()));
    }
    Ok((run, part))
}

/// Trials of a part that have no result in its report: what was lost with a host that died. All of them where there is no report
/// that can be read.
pub fn lost_trials(folder: &Path, part: &PartOfPlan, repeat: u32) -> Vec<TrialId> {
    let results = match read_plan(folder) {
        Ok((_, there)) if there == *part => read_results(folder).unwrap_or_default(),
        Ok(_) | Err(_) => Results::default(),
    };
    missing_trials(&results, part, repeat)
}

pub(super) fn missing_trials(results: &Results, part: &PartOfPlan, repeat: u32) -> Vec<TrialId> {
    let there: BTreeSet<TrialId> = results.trials.iter().map(|result| result.trial()).collect();
    let of_part = |part: &PartOfPlan| {
        let cells = part.plan.cells.iter().filter(|cell| cell.part == part.partition.part());
        cells.map(|cell| cell.id.clone()).collect::<Vec<_>>()
    };
    (1..=repeat)
        .flat_map(|repetition| of_part(part).into_iter().map(move |cell| TrialId { cell, repetition }))
        .filter(|trial| !there.contains(trial))
        .collect()
}

impl Report {
    /// Writes down of what the run is a part.
    pub fn write_plan(&self, plan: &WholePlan) -> Result<(), ReportError> {
        let path = self.folder.join(PLAN_FILE);
        let write = || {
            let mut file = new_file(&self.folder)?;
            serde_json::to_writer(&mut file, plan)?;
            file.write_all(b"\n")?;
            file.persist(&path).map_err(|error| error.error)
        };
        write().map(drop).map_err(io_error("write", &path))
    }
}
