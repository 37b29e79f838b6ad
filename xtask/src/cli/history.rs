//! Arguments of the verbs over the history of nights.

use crate::exit::Exit;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Where the history is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct HistoryFolder {
    /// Folder of the history. Default: target/e2e/history.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) history: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = Exit::help())]
pub(crate) struct HistoryArgs {
    #[command(subcommand)]
    pub(crate) action: HistoryAction,
    #[command(flatten)]
    pub(crate) folder: HistoryFolder,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum HistoryAction {
    /// Record the run of a report. One that is recorded already stays as it is.
    Add {
        /// Folder of the report. Default: the last one of `e2e`.
        #[arg(value_name = "REPORT")]
        report: Option<PathBuf>,
        /// Name of the machine that it ran on.
        #[arg(long, value_name = "NAME")]
        host: Option<String>,
        /// Commit that its programs were built from.
        #[arg(long, value_name = "COMMIT")]
        revision: Option<String>,
    },
    /// List the nights, oldest first.
    List,
    /// Show what each cell of a night came to.
    Show {
        /// The night's name, or how it alone begins.
        #[arg(value_name = "NIGHT")]
        night: String,
    },
    /// Remove the oldest nights. The last good one of each kind of run stays in any case.
    Prune {
        /// How many nights to keep.
        #[arg(long, value_name = "N")]
        keep: usize,
    },
}

/// A value of `--since`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SinceArg {
    Last,
    Good,
    Night(String),
}

impl std::str::FromStr for SinceArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" => Ok(Self::Last),
            "good" => Ok(Self::Good),
            "" => Err("expected last, good, or the name of a night".to_owned()),
            name => Ok(Self::Night(name.to_owned())),
        }
    }
}

/// How what changed is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChangesFormat {
    /// For a terminal.
    #[default]
    Text,
    /// For a chat or an issue: short.
    Markdown,
    /// A page with pictures of the trend, which needs no network.
    Html,
}

/// What ends `report` with a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// A cell fails that did not, or was never seen to pass.
    New,
    /// A cell fails.
    Any,
}

/// What changed since earlier nights.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ChangesArgs {
    /// Tell what changed since the last night, the last good one (complete, and nothing unexpected), or one that is named.
    /// Repeatable. Default where --format, --night or --fail-on is given: last and good.
    #[arg(long, value_name = "last|good|NIGHT", conflicts_with_all = ["html", "junit"])]
    pub(crate) since: Vec<SinceArg>,
    /// How it is written.
    #[arg(long, value_enum, conflicts_with_all = ["html", "junit"])]
    pub(crate) format: Option<ChangesFormat>,
    /// Write it to this file, in place of standard output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["html", "junit"])]
    pub(crate) out: Option<PathBuf>,
    /// Tell it of this recorded night (by name, or last), in place of a report.
    #[arg(long, value_name = "NIGHT", conflicts_with_all = ["report", "html", "junit"])]
    pub(crate) night: Option<String>,
    /// End with 1 if a cell newly fails (or: fails), and with 3 if there is none, but cells newly have no statement (or: have none),
    /// or the run is not complete. Of several --since the first counts.
    #[arg(long, value_enum, conflicts_with_all = ["html", "junit"])]
    pub(crate) fail_on: Option<FailOn>,
    #[command(flatten)]
    pub(crate) folder: HistoryFolder,
}

impl ChangesArgs {
    /// Whether any of it was asked for.
    pub(crate) fn asked(&self) -> bool {
        let Self { since, format, out, night, fail_on, folder } = self;
        !since.is_empty()
            || format.is_some()
            || out.is_some()
            || night.is_some()
            || fail_on.is_some()
            || folder.history.is_some()
    }

    /// What is compared with.
    pub(crate) fn since(&self) -> Vec<SinceArg> {
        match self.since.as_slice() {
            [] => vec![SinceArg::Last, SinceArg::Good],
            since => since.to_vec(),
        }
    }
}
