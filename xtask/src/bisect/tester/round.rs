//! One round: cells in guests, with a report in a folder of its own.

use super::Tester;
use crate::bisect::disk;
use crate::cli::E2eArgs;
use crate::e2e::{self, Told};
use crate::exit::{Failure, OrFail};
use crate::output;
use crate::table::live::Live;
use anyhow::{Context, anyhow};
use harness::artifacts::Artifacts;
use harness::cell::Cell;
use harness::report::CellResult;
use harness::runner::RunEvent;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

impl Tester<'_> {
    /// Runs cells so many times each; each result with its evidence's absolute path.
    pub(super) async fn run(
        &self,
        cells: Vec<Cell>,
        artifacts: Arc<Artifacts>,
        repeat: u32,
    ) -> Result<Vec<(CellResult, PathBuf)>, Failure> {
        let e2e_args = E2eArgs {
            guests: self.args.guests.clone(),
            repeat: NonZeroU32::new(repeat).unwrap_or(NonZeroU32::MIN),
            // The next run of the same thing says as much, and the evidence of all is kept.
            no_verbose_run: true,
            report: Some(self.new_report()?),
            ..E2eArgs::of_suites(Vec::new(), self.host_args, self.store_args.clone())
        };
        let options = e2e::options(&e2e_args, self.host);
        let report = std::path::absolute(&options.report).context("no current folder").or_rig()?;
        let mut live = Live::new(self.host.style.progress);
        let mut results = Vec::new();
        let show = |told: Told| match told {
            Told::Asked => live.aside(|| live.now().iter().for_each(output::line)),
            Told::Event(event) => {
                live.follow(&event);
                if let RunEvent::TrialEnded { result } = *event {
                    let evidence = report.join(&result.evidence);
                    results.push((*result, evidence));
                }
            }
        };
        let summary = e2e::drive(cells, &[], artifacts, options, self.host, show).await;
        live.finish();
        share(&report.join("kernels"), &self.folder.join("kernels"));
        let summary = summary?;
        if summary.interrupted {
            return Err(Failure::Interrupted);
        }
        if !summary.leaked.is_empty() {
            return Err(Failure::Rig(anyhow!(
                "a process outlived its guest and cannot be ended: {}; end it before anything else is tested here",
                summary.leaked.join(", ")
            )));
        }
        if let Some(why) = summary.unwritten {
            return Err(Failure::Rig(anyhow!("the report cannot be written: {why}")));
        }
        // Console logs are QEMU's own to write, and it says nothing of what it could not.
        disk::check(&[&self.folder])?;
        Ok(results)
    }

    /// A folder for one round's report that no other has.
    fn new_report(&self) -> Result<PathBuf, Failure> {
        let runs = self.folder.join("runs");
        std::fs::create_dir_all(&runs).with_context(|| format!("cannot make {}", runs.display())).or_rig()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(runs.join(format!("{}-{:09}-{}", now.as_secs(), now.subsec_nanos(), std::process::id())))
    }
}

/// Makes the kernels of a round's report, which its scripts start from, the same files as those of the rounds before: they are named by
/// their content, and dozens of rounds of a hunt would each have its sixty megabytes.
fn share(own: &Path, all: &Path) {
    for entry in std::fs::read_dir(own).into_iter().flatten().flatten() {
        let (path, known) = (entry.path(), all.join(entry.file_name()));
        let length = |path: &Path| std::fs::metadata(path).map(|meta| meta.len()).ok();
        // Where it cannot be done, on a file system without links say, the round keeps its own.
        if length(&known).is_some() && length(&known) == length(&path) {
            let link = path.with_extension("link");
            let _ = std::fs::hard_link(&known, &link).and_then(|()| std::fs::rename(&link, &path));
        } else {
            let _ = std::fs::create_dir_all(all).and_then(|()| std::fs::hard_link(&path, &known));
        }
    }
}
