//! `cargo xtask merge`: the reports of parts as one.

use crate::cli::MergeArgs;
use crate::e2e::exit_of;
use crate::exit::{Exit, Failure};
use crate::{Host, output, table};
use harness::report::{MergeError, Merged, ReportError, merge};

pub(crate) fn run(args: &MergeArgs, host: &Host) -> Result<Exit, Failure> {
    let out = args.out.clone().unwrap_or_else(|| host.repo.default_report());
    Ok(told(&merge(&args.reports, &out).map_err(failure_of)?))
}

/// Says what was merged, and with what status a single run of it all would have ended.
pub(crate) fn told(merged: &Merged) -> Exit {
    output::line(format_args!("Report: {}", merged.folder.display()));
    output::line(table::count_line(&merged.summary, merged.skipped));
    if let Some(why) = &merged.summary.unwritten {
        output::line(format_args!("the report is not whole: {why}"));
    }
    for leaked in &merged.summary.leaked {
        output::line(format_args!("left behind by a part: {leaked}"));
    }
    exit_of(merged.summary.conclusion())
}

/// Parts that make up no whole are trouble of who ran them, and say nothing on a loader.
pub(crate) fn failure_of(error: MergeError) -> Failure {
    match error {
        MergeError::NoWhole(_) | MergeError::Report(ReportError::Io { .. }) => Failure::Rig(error.into()),
        MergeError::NoPart(_) | MergeError::Unreadable(_) | MergeError::Onto(_) | MergeError::Report(_) => {
            Failure::Input(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a night that is green, or red by a loader's fault, where a part was lost.
    #[test]
    fn what_is_no_whole_is_no_verdict() {
        assert_eq!(failure_of(MergeError::NoWhole(Vec::new())).exit(), Exit::RigFailed);
        assert_eq!(failure_of(MergeError::Onto("r".into())).exit(), Exit::BadInput);
        let full = ReportError::Io {
            what: "write",
            path: "r".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        };
        assert_eq!(failure_of(full.into()).exit(), Exit::RigFailed);
    }
}
