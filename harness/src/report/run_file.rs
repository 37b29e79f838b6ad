//! Reading `run.json`: what a run was made with, and how it ended.

use super::{RUN_FILE, RunHeader};
use crate::cost::Cost;
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// What `run.json` says of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RecordedRun {
    /// What was known when it started.
    #[serde(flatten)]
    pub header: RunHeader,
    /// Seconds since the epoch.
    pub started: u64,
    /// Seconds since the epoch; none of a run that goes on or was killed.
    #[serde(default)]
    pub ended: Option<u64>,
    /// Trials that were not started.
    #[serde(default)]
    pub not_run: Option<usize>,
    /// Whether somebody ended it.
    #[serde(default)]
    pub interrupted: Option<bool>,
    /// Processes that outlived their guest's end.
    #[serde(default)]
    pub leaked: Vec<String>,
    /// What it cost.
    #[serde(default)]
    pub cost: Option<Cost>,
}

/// A folder's `run.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// It is not there, or cannot be read.
    #[error("{folder} is no report: cannot read its run.json: {source}")]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says too little, or was written by a version that said it otherwise.
    #[error(
        "{folder}: its run.json does not say what it was made with ({source}); it may be of another version"
    )]
    Other {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// Reads what the report in `folder` says of its run.
///
/// # Errors
/// There is no `run.json`, or it is of a version that did not say what a run was made with.
pub fn read_run(folder: &Path) -> Result<RecordedRun, RunFileError> {
    let text = std::fs::read(folder.join(RUN_FILE))
        .map_err(|source| RunFileError::Unreadable { folder: folder.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| RunFileError::Other { folder: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use crate::report::tests::header;
    use crate::runner::Summary;

    /// Bug: a run that was killed reads as one that ended, or what it was made with is lost on the way back.
    #[test]
    fn what_a_run_wrote_is_read() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("r");
        assert!(read_run(&folder).unwrap_err().to_string().contains("is no report"));
        let report = Report::create(&folder, header()).unwrap();
        let run = read_run(&folder).unwrap();
        assert_eq!((run.header, run.ended, run.interrupted), (header(), None, None));
        report.finish(&Summary { not_run: 3, interrupted: true, ..Summary::default() }).unwrap();
        let run = read_run(&folder).unwrap();
        assert!(run.ended.is_some_and(|ended| ended >= run.started));
        assert_eq!((run.not_run, run.interrupted), (Some(3), Some(true)));
        std::fs::write(folder.join(RUN_FILE), "{}").unwrap();
        assert!(read_run(&folder).unwrap_err().to_string().contains("another version"));
    }
}
