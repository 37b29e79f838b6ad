//! `cargo xtask durations`: how long cells took, out of reports, into the file that runs are ordered and parted by.

use crate::cli::DurationsArgs;
use crate::exit::{Exit, Failure, OrFail};
use crate::{Host, output};
use anyhow::{Context, anyhow};
use harness::durations::Durations;
use harness::report::{read_results, read_run};
use std::io::Write;
use std::path::Path;

pub(crate) fn run(args: &DurationsArgs, host: &Host) -> Result<Exit, Failure> {
    let file = args.out.clone().unwrap_or_else(|| host.repo.durations());
    let mut reports = Vec::new();
    for folder in &args.reports {
        reports.push((read_run(folder).or_input()?.started, folder, read_results(folder).or_input()?));
    }
    // The newest last: it takes the place of what the others say.
    reports.sort_by_key(|(started, _, _)| *started);
    let mut durations = Durations::read(&file).or_input()?;
    let before = durations.clone();
    for (_, folder, results) in &reports {
        let recorded = durations.record(&results.trials);
        recorded
            .map_err(|error| anyhow!("{}: {error}; take another file with --out for these", folder.display()))
            .or_input()?;
    }
    let Some(text) = durations.text() else {
        return Err(Failure::Input(anyhow!("these reports have no cell that ended without an error")));
    };
    if durations != before {
        write(&file, &text).or_rig()?;
    }
    output::line(format_args!(
        "{}: {} cells, {} of them new",
        file.display(),
        durations.len(),
        durations.len() - before.len()
    ));
    Ok(Exit::AsExpected)
}

/// Writes a file that appears when it is whole.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut new = tempfile::Builder::new().permissions(permissions()).tempfile_in(folder)?;
        new.write_all(text.as_bytes())?;
        new.persist(file).map_err(|error| error.error)
    };
    write().map(drop).with_context(|| format!("cannot write {}", file.display()))
}

/// Those of any file: a temporary one would be its owner's alone.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
