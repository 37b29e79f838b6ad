//! Result files and evidence folders of a run.
//!
//! ```text
//! DIR/run.json             what was run, and, when the run ended by itself, its counts
//! DIR/plan.json            of a part: all cells that were chosen, and the part that each is in
//! DIR/results.jsonl        one object a trial, written as it ends, and one a cell that was skipped
//! DIR/junit.xml            the results for CI systems, when the run has ended
//! DIR/report.html          the results for people, when the run has ended
//! DIR/initramfs/*.cpio     the archives of the guests' initramfs images, by content; the scripts use them
//! DIR/kernels/*            first kernels that did not boot from the bzImage as it was fetched; the scripts use them
//! DIR/<cell>/              evidence of an attempt; further ones have .run-N and .attempt-N in their names
//! DIR/<cell>.verbose/      evidence of a guest that was run once more, to tell more of how it hung or was reset
//! ```

mod comparison;
mod evidence_folder;
mod failed;
mod html;
mod identity;
mod junit;
mod look;
mod machine;
mod merge;
mod pages;
mod part;
mod read;
mod record;
mod run_file;
mod runs;
mod table;
mod view;
pub(crate) mod visible;

pub use comparison::{Comparison, NothingToCompare, compare_loaders};
pub use evidence_folder::{AttemptFolder, EvidenceError, SCRIPT_FILE, load_evidence};
pub use failed::{FailedError, not_as_expected};
pub use html::html;
pub(crate) use html::page;
pub use identity::MadeWith;
pub use junit::junit;
pub use look::{Look, verdict_name};
pub use merge::{MergeError, Merged, merge};
pub use pages::{write_file, write_html, write_junit, write_pages};
pub use part::{MergedRun, NoPart, PartRecord, lost_trials, read_plan};
pub use read::{ReadError, Results, read_results};
pub use record::{AttemptRecord, BootRecord, CellResult, LastPhase, SkippedRecord, VerboseRecord, Versions};
pub use run_file::{RecordedRun, RunFileError, read_run};
pub use runs::{CameTo, Runs};
pub use table::Table;
pub use view::{ReportView, read_view};

use crate::accel::{Accel, AccelReason};
use crate::cell::CellId;
use crate::cost::Cost;
use crate::outcome::Verdict;
use crate::runner::{Summary, TrialId};
use crate::scenario::SkippedCell;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Marks a folder as a report, and says what was run.
pub(crate) const RUN_FILE: &str = "run.json";
/// The results.
pub(crate) const RESULTS_FILE: &str = "results.jsonl";
/// Held locked by the run that writes the report.
const LOCK_FILE: &str = ".lock";

/// A report folder cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder exists and is no report.
    #[error(
        "{0} exists and is no earlier report (it has no run.json); name another folder with --report DIR, or remove it"
    )]
    Foreign(PathBuf),
    /// Another run writes to it.
    #[error("{0} is being written by another run; name another folder with --report DIR")]
    Busy(PathBuf),
    /// It was made by another run than the one that is to continue it.
    #[error(
        "{folder} cannot be continued: {what}; run without --resume to begin anew, or name another folder with --report DIR"
    )]
    Different {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        what: String,
    },
    /// Its results cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    /// A system call failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What was found.
        source: io::Error,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReportError {
    move |source| ReportError::Io { what, path: path.to_owned(), source }
}

/// What is known of a run when it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Version of the rig.
    pub rig: String,
    /// Version of QEMU.
    pub qemu: String,
    /// The accelerator.
    pub accel: Accel,
    /// What it was chosen by; none in reports of earlier versions.
    #[serde(default)]
    pub accel_reason: Option<AccelReason>,
    /// Guests at a time.
    pub jobs: usize,
    /// Number of trials.
    pub total: usize,
    /// What else decides results.
    pub made_with: MadeWith,
    /// The part of a whole plan that this run is of; none where it is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<PartRecord>,
    /// The runs that this report was merged from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<MergedRun>,
}

/// `run.json`.
#[derive(Serialize)]
struct RunFile<'a> {
    #[serde(flatten)]
    header: &'a RunHeader,
    /// Seconds since the epoch.
    started: u64,
    /// Seconds since the epoch. A report without it is of a run that was killed.
    ended: Option<u64>,
    verdicts: Option<BTreeMap<String, usize>>,
    not_run: Option<usize>,
    interrupted: Option<bool>,
    /// Processes that outlived their guest's end.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    leaked: &'a [String],
    /// What the run cost, or, of one that was continued, its last part.
    cost: Option<&'a Cost>,
    /// What the runs of each cell came to that was run more than once.
    repeated: BTreeMap<&'a CellId, &'a CameTo>,
}

/// What of `run.json` is needed to continue a report.
#[derive(Deserialize)]
struct Begun {
    #[serde(flatten)]
    header: RunHeader,
    started: u64,
}

/// The report that a run writes.
#[derive(Debug)]
pub struct Report {
    folder: PathBuf,
    header: RunHeader,
    /// Whether it continues an earlier run, which may have left evidence of trials that have no result.
    resumed: bool,
    started: u64,
    /// When the runs that it was merged from had ended; none of a report that is written while it runs.
    ended: Option<u64>,
    results: File,
    /// What is in the results.
    runs: Runs,
    _lock: File,
}

impl Report {
    /// Begins a report in `folder`. An earlier one there is kept as `<folder>.old`, in place of the one before.
    pub fn create(folder: &Path, header: RunHeader) -> Result<Self, ReportError> {
        let folder = absolute_folder(folder).map_err(io_error("find", folder))?;
        // Held until the new folder is there and locked: else another run that begins at the same time could find it half made,
        // or move it away as an earlier report.
        let _beginning = lock_parent(&folder)?;
        rotate(&folder)?;
        std::fs::create_dir(&folder).map_err(io_error("create", &folder))?;
        let lock = lock(&folder)?;
        let path = folder.join(RESULTS_FILE);
        let results =
            File::options().append(true).create_new(true).open(&path).map_err(io_error("create", &path))?;
        let runs = Runs::default();
        let (started, ended) = (now(), None);
        let report = Self { header, resumed: false, started, ended, results, runs, _lock: lock, folder };
        report.write_run_file(None)?;
        Ok(report)
    }

    /// Continues the report in `folder`, or begins it where there is none. With it come the results that stand: those that say
    /// something on their cells. The others are to be run again.
    ///
    /// # Errors
    /// The report was made by another run ([`MadeWith`]), or cannot be read, or the folder is no report.
    pub fn resume(folder: &Path, header: RunHeader) -> Result<(Self, Vec<CellResult>), ReportError> {
        let folder = absolute_folder(folder).map_err(io_error("find", folder))?;
        let run_file = folder.join(RUN_FILE);
        let beginning = lock_parent(&folder)?;
        if !run_file.is_file() {
            drop(beginning);
            return Self::create(&folder, header).map(|report| (report, Vec::new()));
        }
        let lock = lock(&folder)?;
        drop(beginning);
        let text = std::fs::read(&run_file).map_err(io_error("read", &run_file))?;
        let different = |what| ReportError::Different { folder: folder.clone(), what };
        let begun: Begun = serde_json::from_slice(&text).map_err(|error| {
            different(format!("its run.json does not say what it was made with ({error})"))
        })?;
        if let Some(what) = identity::difference(&begun.header, &header) {
            return Err(different(what));
        }
        let mut earlier = read_results(&folder)?.trials;
        earlier.retain(|result| result.verdict != Verdict::Error);
        let path = folder.join(RESULTS_FILE);
        let continued = || {
            let whole = read::whole_lines(&std::fs::read_to_string(&path)?).len() as u64;
            let results = File::options().append(true).open(&path)?;
            results.set_len(whole)?;
            Ok(results)
        };
        let results = continued().map_err(io_error("continue", &path))?;
        let runs = Runs::of(&earlier);
        let report = Self {
            header,
            resumed: true,
            started: begun.started,
            ended: None,
            results,
            runs,
            _lock: lock,
            folder,
        };
        report.write_run_file(None)?;
        Ok((report, earlier))
    }

    /// The folder, absolute.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder for an attempt's evidence.
    pub fn attempt_folder(&self, trial: &TrialId, attempt: u32) -> Result<AttemptFolder, ReportError> {
        self.evidence_folder(folder_name(trial, attempt))
    }

    /// Makes the folder for the evidence of an attempt's verbose run.
    pub fn verbose_folder(&self, trial: &TrialId, attempt: u32) -> Result<AttemptFolder, ReportError> {
        self.evidence_folder(format!("{}.verbose", folder_name(trial, attempt)))
    }

    fn evidence_folder(&self, name: String) -> Result<AttemptFolder, ReportError> {
        let name = PathBuf::from(name);
        let path = self.folder.join(&name);
        // What was interrupted, or said nothing, is run again; its evidence makes room.
        if self.resumed && path.exists() {
            std::fs::remove_dir_all(&path).map_err(io_error("replace", &path))?;
        }
        std::fs::create_dir(&path).map_err(io_error("create", &path))?;
        Ok(AttemptFolder { path, name })
    }

    /// Path of the file `name`, which names its content, in this folder of the report; written unless it is there.
    pub fn keep(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<PathBuf, ReportError> {
        let folder = self.folder.join(folder);
        std::fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        let path = folder.join(name);
        if !path.exists() {
            // Two guests may want the same one at the same time: it appears whole or not at all.
            let write = || {
                let mut file = new_file(&folder)?;
                file.write_all(bytes)?;
                file.persist(&path).map_err(|error| error.error)
            };
            write().map_err(io_error("write", &path))?;
        }
        Ok(path)
    }

    /// Adds a result; on disk when this returns.
    pub fn add(&mut self, result: &CellResult) -> Result<(), ReportError> {
        self.add_line(result)?;
        self.runs.add(result);
        Ok(())
    }

    /// Adds cells that are not run, unless the report that this continues has them.
    pub fn add_skipped(&mut self, skipped: &[SkippedCell]) -> Result<(), ReportError> {
        if self.resumed {
            return Ok(());
        }
        skipped.iter().try_for_each(|skipped| self.add_line(&SkippedRecord::from(skipped)))
    }

    fn add_line(&mut self, result: &impl Serialize) -> Result<(), ReportError> {
        let path = self.folder.join(RESULTS_FILE);
        let mut line =
            serde_json::to_vec(result).map_err(io::Error::from).map_err(io_error("write", &path))?;
        line.push(b'\n');
        let before = self.results.metadata().map_err(io_error("look at", &path))?.len();
        // One write, so that a reader (or a killed run) never sees half of a line but at the very end.
        let written = self.results.write_all(&line).and_then(|()| self.results.sync_data());
        if written.is_err() {
            // A full disk takes a part of the line. If that cannot be taken back either, readers know half a line when they see it.
            let _ = self.results.set_len(before);
        }
        written.map_err(io_error("write", &path))
    }

    /// Ends the report with the run's counts, and writes its pages.
    pub fn finish(&self, summary: &Summary) -> Result<(), ReportError> {
        self.write_run_file(Some(summary))?;
        write_pages(&self.folder).map(drop)
    }

    fn write_run_file(&self, summary: Option<&Summary>) -> Result<(), ReportError> {
        let content = RunFile {
            header: &self.header,
            started: self.started,
            ended: summary.map(|_| self.ended.unwrap_or_else(now)),
            verdicts: summary.map(|summary| {
                summary
                    .verdicts
                    .iter()
                    .map(|(verdict, count)| (verdict_name(*verdict).to_owned(), *count))
                    .collect()
            }),
            not_run: summary.map(|summary| summary.not_run),
            interrupted: summary.map(|summary| summary.interrupted),
            leaked: summary.map_or(&[], |summary| &summary.leaked),
            cost: summary.map(|summary| &summary.cost),
            repeated: self.runs.repeated().collect(),
        };
        let path = self.folder.join(RUN_FILE);
        let write = || {
            let mut file = new_file(&self.folder)?;
            serde_json::to_writer_pretty(&mut file, &content)?;
            file.write_all(b"\n")?;
            file.as_file().sync_data()?;
            file.persist(&path).map_err(|error| error.error)
        };
        write().map(drop).map_err(io_error("write", &path))
    }
}

/// The absolute path of a folder, without a slash or a dot at its end: where [`std::path::absolute`] leaves one, what is put behind the
/// folder's name would be the name of something inside it.
pub fn absolute_folder(folder: &Path) -> io::Result<PathBuf> {
    Ok(std::path::absolute(folder)?.components().collect())
}

/// Waits until no other run is just beginning a report beside this one. The lock is on the folder above, so nothing is left behind.
fn lock_parent(folder: &Path) -> Result<File, ReportError> {
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(io_error("create", parent))?;
    let beginning = File::open(parent).map_err(io_error("open", parent))?;
    beginning.lock().map_err(io_error("lock", parent))?;
    Ok(beginning)
}

/// Takes a report for this run alone.
fn lock(folder: &Path) -> Result<File, ReportError> {
    let path = folder.join(LOCK_FILE);
    let lock = File::create(&path).map_err(io_error("create", &path))?;
    lock.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => ReportError::Busy(folder.to_owned()),
        TryLockError::Error(source) => io_error("lock", &path)(source),
    })?;
    Ok(lock)
}

/// Moves an earlier report out of the way. Never touches a folder that is no report.
fn rotate(folder: &Path) -> Result<(), ReportError> {
    let is_report = |folder: &Path| folder.join(RUN_FILE).is_file();
    let is_free = |folder: &Path| match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if is_free(folder) {
        return match std::fs::remove_dir(folder) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(io_error("replace", folder)(source))
            }
            _ => Ok(()),
        };
    }
    if !is_report(folder) {
        return Err(ReportError::Foreign(folder.to_owned()));
    }
    if let Ok(lock) = File::open(folder.join(LOCK_FILE))
        && let Err(TryLockError::WouldBlock) = lock.try_lock()
    {
        return Err(ReportError::Busy(folder.to_owned()));
    }
    let mut old = folder.as_os_str().to_owned();
    old.push(".old");
    let old = PathBuf::from(old);
    if is_report(&old) || is_free(&old) {
        match std::fs::remove_dir_all(&old) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &old)(source));
            }
            _ => {}
        }
    } else {
        return Err(ReportError::Foreign(old));
    }
    std::fs::rename(folder, &old).map_err(io_error("move", folder))
}

/// Name of an attempt's folder: the cell's id alone for the usual only one.
fn folder_name(trial: &TrialId, attempt: u32) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._@+,=-".contains(c) { c } else { '_' };
    let mut name: String = trial.cell.0.chars().map(safe).collect();
    if trial.repetition > 1 {
        name.push_str(&format!(".run-{}", trial.repetition));
    }
    if attempt > 1 {
        name.push_str(&format!(".attempt-{attempt}"));
    }
    name
}

/// A file that appears under its name when it is whole. Others may read it, as with every result file.
pub(crate) fn new_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o644)).tempfile_in(folder)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
pub(crate) mod tests;
