//! The table of a run on the terminal: a consumer of the run's events, as `results.jsonl` is another.
//!
//! Lines go to standard output as cells end; bars, where there is a terminal for them, to standard error.

pub(crate) mod live;
pub(crate) mod paint;
mod row;
mod summary;

use crate::output::{self, Style};
use harness::report::CellResult;
use harness::runner::RunEvent;
use harness::scenario::SkippedCell;
use live::Live;
use paint::Paint;
pub(crate) use row::one_line;
#[cfg(test)]
pub(crate) use row::tests as row_tests;
use std::path::PathBuf;
use std::time::Instant;
pub(crate) use summary::{count_line, shell_quoted};

/// What the table knows beside the events.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The beginning of the command that runs one cell again: everything but the filter.
    pub(crate) again: String,
    /// Width of the column of ids: the longest id of the run.
    pub(crate) id_width: usize,
}

/// Consumes the events of one run.
pub(crate) struct Table {
    paint: Paint,
    context: Context,
    live: Live,
    began: Instant,
    report: PathBuf,
    results: Vec<CellResult>,
    skipped: usize,
}

impl Table {
    pub(crate) fn new(style: Style, context: Context) -> Self {
        Self {
            paint: Paint::new(style.colour),
            live: Live::new(style.progress),
            context,
            began: Instant::now(),
            report: PathBuf::new(),
            results: Vec::new(),
            skipped: 0,
        }
    }

    /// Shows one event.
    pub(crate) fn show(&mut self, event: RunEvent) {
        self.live.follow(&event);
        match event {
            RunEvent::RunStarted { total, jobs, accel, qemu, report, earlier, notices } => {
                let plural = if total == 1 { "cell" } else { "cells" };
                let head = self.paint.head("Running");
                let mut lines = vec![format!(
                    "{head} {total} {plural}, {jobs} at a time, {accel}, {}; report in {}",
                    row::one_line(&qemu),
                    report.display()
                )];
                lines.extend(
                    notices
                        .iter()
                        .map(|notice| format!("{} {}", self.paint.warning("Note"), row::one_line(notice))),
                );
                if !earlier.is_empty() {
                    let notice = format!("{} more have their result from before", earlier.len());
                    lines.push(format!("{} {notice}", self.paint.warning("Note")));
                }
                self.results = earlier;
                self.report = report;
                self.print(&lines);
            }
            RunEvent::BootEnded { boot, failed: Some(why) } => {
                let note = self.paint.warning("Note");
                let why = row::one_line(&why);
                self.print(&[format!(
                    "{note} {boot} could not be shared, its cells boot by themselves: {why}"
                )]);
            }
            // Told with the trial's end, where one can see whether another attempt followed.
            RunEvent::AttemptEnded { .. } => {}
            RunEvent::BootStarted { .. }
            | RunEvent::BootPhase { .. }
            | RunEvent::BootEnded { failed: None, .. }
            | RunEvent::AttemptStarted { .. }
            | RunEvent::PhaseEntered { .. } => {}
            RunEvent::TrialEnded { result } => {
                self.print(&row::lines(&result, &self.report, self.context.id_width, self.paint));
                self.results.push(*result);
            }
            RunEvent::RunEnded { summary } => {
                let took = self.began.elapsed();
                self.print(&summary::lines(
                    &summary,
                    &self.results,
                    self.skipped,
                    &self.report,
                    took,
                    &self.context,
                    self.paint,
                ));
            }
        }
    }

    /// Shows a cell that is not run at all.
    pub(crate) fn show_skipped(&mut self, skipped: &SkippedCell) {
        self.skipped += 1;
        self.print(&[row::skipped_line(skipped, self.context.id_width, self.paint)]);
    }

    /// Takes the bars away, should the run have ended without saying so.
    pub(crate) fn abandon(&mut self) {
        self.live.finish();
    }

    /// The results that it has shown.
    pub(crate) fn into_results(self) -> Vec<CellResult> {
        self.results
    }

    fn print(&self, lines: &[String]) {
        self.live.aside(|| lines.iter().for_each(output::line));
    }
}

/// The width of the column for these ids.
pub(crate) fn id_width<'a>(ids: impl Iterator<Item = &'a str>) -> usize {
    // Wider ids push their words to the right instead of making every line too long.
    const MOST: usize = 80;
    ids.map(|id| id.chars().count()).max().unwrap_or(0).min(MOST)
}
