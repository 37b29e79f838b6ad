//! Arguments of the verbs that order cells, and spread them over hosts.

use crate::exit::Exit;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct DurationsArgs {
    /// Folders of reports, in any order. Of a cell that is in several, the newest run counts.
    #[arg(value_name = "REPORT", required = true)]
    pub(crate) reports: Vec<PathBuf>,
    /// File to write. What is in it already stays, unless a report has it newer. Default: scenarios/durations.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
