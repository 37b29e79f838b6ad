//! Arguments of the verbs that read reports.

use super::{ChangesArgs, JudgeFormat, TableFormat};
use crate::exit::Exit;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct CompareLoadersArgs {
    /// Folder of the report. Default: the last one of `e2e`.
    #[arg(value_name = "REPORT")]
    pub(crate) report: Option<PathBuf>,
    /// Format of the tables.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TableFormat,
    /// List each cell in which they differ, also where none came further than this repository's.
    #[arg(long)]
    pub(crate) cells: bool,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct ReportArgs {
    /// Folder of the report. Default: the last one of `e2e`.
    #[arg(value_name = "REPORT")]
    pub(crate) report: Option<PathBuf>,
    /// Write the HTML page to this file. Without --html and --junit both pages are written into the report.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Write the JUnit file to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) changes: ChangesArgs,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct JudgeArgs {
    /// Folder of the report. Default: the last one of `e2e`.
    #[arg(value_name = "REPORT")]
    pub(crate) report: Option<PathBuf>,
    /// Judge by what this suite expects today, in place of what was expected then. Repeatable.
    #[arg(long, value_name = "SUITE|FILE.yaml")]
    pub(crate) suite: Vec<String>,
    /// Format of what is told.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: JudgeFormat,
}
