//! `cargo xtask compare-loaders`: the loaders of a report beside each other.

use crate::cli::{CompareLoadersArgs, TableFormat};
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, output};
use harness::report::{Table, compare_loaders, read_results};

pub(crate) fn run(args: &CompareLoadersArgs, host: &Host) -> Result<Exit, Failure> {
    let folder = args.report.clone().unwrap_or_else(|| host.repo.default_report());
    let results = read_results(&folder).or_input()?;
    let comparison = compare_loaders(&results.trials).or_input()?;
    let form: fn(&Table) -> String = match args.format {
        TableFormat::Text => Table::text,
        TableFormat::Markdown => Table::markdown,
    };
    comparison.tables(args.cells).iter().for_each(|table| output::line(form(table)));
    Ok(if comparison.holds() { Exit::AsExpected } else { Exit::NotAsExpected })
}
