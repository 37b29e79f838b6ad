//! Arguments of the verbs that order cells, and spread them over hosts.

use super::{HostArgs, StoreArgs};
use crate::exit::Exit;
use clap::{Args, ValueEnum};
use std::num::NonZeroU64;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct DurationsArgs {
    /// Folders of reports, in any order. Of a cell that is in several, the newest run counts.
    #[arg(value_name = "REPORT", required = true)]
    pub(crate) reports: Vec<PathBuf>,
    /// File to write. What is in it already stays, unless a report has it. Default: scenarios/durations.json.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct MergeArgs {
    /// Folders of the parts' reports, in any order: those of `e2e --partition M/N` for each M.
    #[arg(value_name = "DIR", required = true)]
    pub(crate) reports: Vec<PathBuf>,
    /// Folder of the merged report. One that is there already is kept as DIR.old. Default: that of `e2e`.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// What runs the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// This host.
    Local,
    /// The nodes of a Slurm cluster.
    Slurm,
}

#[derive(Args, Clone, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct NightlyArgs {
    /// What runs the parts.
    #[arg(long, value_enum)]
    pub(crate) engine: Engine,
    /// Suite of scenarios/ by name, or YAML file by path (which nodes must see, too). Repeatable.
    #[arg(long, value_name = "SUITE|FILE.yaml", default_value = "nightly")]
    pub(crate) suite: Vec<String>,
    /// Number of parts. Default: 1 on this host, with Slurm one for each node that is up.
    #[arg(long, value_name = "N")]
    pub(crate) parts: Option<NonZeroU64>,
    /// Folder of the report. One that is there already is kept as DIR.old. Default: target/nightly/latest.
    #[arg(long, value_name = "DIR")]
    pub(crate) report: Option<PathBuf>,
    /// Folder that all nodes see under this path, for what they need and for the parts' reports. Default: the report's, with .stage
    /// behind its name.
    #[arg(long, value_name = "DIR")]
    pub(crate) stage: Option<PathBuf>,
    /// Further argument for sbatch, such as --sbatch=--partition=night or --sbatch=--exclusive. Repeatable.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) sbatch: Vec<String>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Further arguments of `e2e`, for every part: such as -E, -j, --accel, --loader, --retries. --record adds the night to the history
    /// once, by the report of all parts.
    #[arg(last = true, value_name = "ARG of e2e")]
    pub(crate) e2e: Vec<String>,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct SlurmCheckArgs {
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}
