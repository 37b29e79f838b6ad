//! `cargo xtask report`: the pages of an earlier report, or what changed since earlier nights.

mod changes;

use crate::cli::ReportArgs;
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, output};
use harness::report::{read_view, write_html, write_junit, write_pages};

pub(crate) fn run(args: &ReportArgs, host: &Host) -> Result<Exit, Failure> {
    if args.changes.asked() {
        return changes::run(args.report.as_ref(), &args.changes, host);
    }
    let folder = args.report.clone().unwrap_or_else(|| host.repo.default_report());
    let view = read_view(&folder).or_input()?;
    let mut written = Vec::new();
    if let Some(file) = &args.html {
        write_html(&view, &folder, file).or_rig()?;
        written.push(file.clone());
    }
    if let Some(file) = &args.junit {
        write_junit(&view, file).or_rig()?;
        written.push(file.clone());
    }
    if written.is_empty() {
        written.extend(write_pages(&folder).or_rig()?);
    }
    written.iter().for_each(|file| output::line(file.display()));
    Ok(Exit::AsExpected)
}
