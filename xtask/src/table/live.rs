//! The bars while a run goes on: how far it is, and for each running cell its phase and how long it has been in it.

use harness::phase::Phase;
use harness::runner::TrialId;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::time::Duration;

/// How often ages are drawn anew.
const TICK: Duration = Duration::from_millis(250);

/// Bars, or nothing where there is no terminal.
pub(crate) struct Live {
    shown: bool,
    bars: MultiProgress,
    total: Option<ProgressBar>,
    running: HashMap<TrialId, ProgressBar>,
}

impl Live {
    pub(crate) fn new(shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { shown, bars: MultiProgress::with_draw_target(target), total: None, running: HashMap::new() }
    }

    /// The run begins.
    pub(crate) fn begin(&mut self, total: usize) {
        let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX))
            .with_style(style("{prefix:>12.bold.green} [{elapsed_precise}] {wide_bar} {pos}/{len} cells"))
            .with_prefix("Cells");
        self.total = Some(self.add(bar));
    }

    /// A guest starts.
    pub(crate) fn start(&mut self, trial: &TrialId, attempt: u32) {
        let id = match attempt {
            1 => trial.to_string(),
            attempt => format!("{trial} (try {attempt})"),
        };
        let bar = ProgressBar::new_spinner()
            .with_style(style("{spinner:>12} [{elapsed:>8}] {prefix}  {wide_msg}"))
            .with_prefix(id)
            .with_message("start of QEMU");
        let bar = self.add(bar);
        if let Some(earlier) = self.running.insert(trial.clone(), bar) {
            earlier.finish_and_clear();
        }
    }

    /// A guest enters a phase; its age counts anew.
    pub(crate) fn enter(&mut self, trial: &TrialId, phase: Phase) {
        if let Some(bar) = self.running.get(trial) {
            bar.reset_elapsed();
            bar.set_message(phase.in_words());
        }
    }

    /// A trial has its verdict.
    pub(crate) fn end(&mut self, trial: &TrialId) {
        if let Some(bar) = self.running.remove(trial) {
            bar.finish_and_clear();
        }
        if let Some(total) = &self.total {
            total.inc(1);
        }
    }

    /// The run has ended: all bars go.
    pub(crate) fn finish(&mut self) {
        for (_, bar) in self.running.drain() {
            bar.finish_and_clear();
        }
        if let Some(total) = self.total.take() {
            total.finish_and_clear();
        }
    }

    /// Lets `write` write lines that the bars do not overwrite.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        if self.shown { self.bars.suspend(write) } else { write() }
    }

    fn add(&self, bar: ProgressBar) -> ProgressBar {
        let bar = self.bars.add(bar);
        if self.shown {
            bar.enable_steady_tick(TICK);
        }
        bar
    }
}

/// A template of this file. A bad one would still show progress, in indicatif's own style.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    /// Catches a template that indicatif does not take: it would silently fall back to another look.
    #[test]
    fn templates_are_valid() {
        for template in [
            "{prefix:>12.bold.green} [{elapsed_precise}] {wide_bar} {pos}/{len} cells",
            "{spinner:>12} [{elapsed:>8}] {prefix}  {wide_msg}",
        ] {
            indicatif::ProgressStyle::with_template(template).unwrap();
        }
    }
}
