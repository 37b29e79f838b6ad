//! The table of a run on the terminal: a consumer of the run's events, as `results.jsonl` is another.
//!
//! Lines go to standard output as cells end; bars, where there is a terminal for them, to standard error.

mod commands;
mod last_words;
pub(crate) mod live;
pub(crate) mod paint;
mod roster;
mod row;
mod summary;
mod text;

use crate::output::{self, Style};
pub(crate) use commands::{Commands, shell_word};
use harness::guest::News;
use harness::outcome::Verdict;
use harness::report::CellResult;
use harness::runner::RunEvent;
use harness::scenario::SkippedCell;
use live::Live;
use paint::Paint;
#[cfg(test)]
pub(crate) use row::tests as row_tests;
use std::path::PathBuf;
use std::time::Instant;
pub(crate) use summary::{count_line, plural};
pub(crate) use text::one_line;

/// What the table knows beside the events.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The commands that are offered for cells.
    pub(crate) commands: Commands,
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
    not_shared: Vec<String>,
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
            not_shared: Vec::new(),
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
                    one_line(&qemu),
                    report.display()
                )];
                lines.extend(
                    notices
                        .iter()
                        .map(|notice| format!("{} {}", self.paint.warning("Note"), one_line(notice))),
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
                let what =
                    format!("{boot} could not be shared, its cells boot by themselves: {}", one_line(&why));
                self.print(&[format!("{note} {what}")]);
                self.not_shared.push(what);
            }
            // Told with the trial's end, where one can see whether another attempt followed.
            RunEvent::AttemptEnded { .. } => {}
            RunEvent::Guest { of, news: News::Slow { phase, limit } } => {
                let used = text::bracketed(limit.as_secs_f64() / 2.0);
                let phase = phase.in_words();
                self.print(&[format!(
                    "{} {used} {of}: {phase}, of at most {:.0} s",
                    self.paint.warning("SLOW"),
                    limit.as_secs_f64()
                )]);
            }
            RunEvent::BootStarted { .. }
            | RunEvent::BootEnded { failed: None, .. }
            | RunEvent::AttemptStarted { .. }
            | RunEvent::VerboseRunStarted { .. }
            | RunEvent::Guest { .. } => {}
            RunEvent::TrialEnded { result } => {
                let console = match result.verdict {
                    Verdict::Fail | Verdict::Error => {
                        last_words::last_words(&self.report.join(&result.evidence))
                    }
                    Verdict::Pass | Verdict::Flaky | Verdict::Skipped => Vec::new(),
                };
                let Context { commands, id_width } = &self.context;
                self.print(&row::lines(&result, &console, &self.report, *id_width, commands, self.paint));
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
                    &self.context.commands,
                    self.paint,
                ));
            }
        }
    }

    /// Shows what every guest does now.
    pub(crate) fn show_now(&self) {
        self.print(&self.live.now());
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

    /// The results that it has shown, and what it has said of boots that could not be shared.
    pub(crate) fn into_results(self) -> (Vec<CellResult>, Vec<String>) {
        (self.results, self.not_shared)
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
