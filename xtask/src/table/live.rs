//! The bars while a run goes on: how far it is, and for each running cell its phase and how long it has been in it.

use harness::phase::Phase;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::time::Duration;

/// How often ages are drawn anew.
const TICK: Duration = Duration::from_millis(250);

/// Bars, or nothing where there is no terminal.
pub(super) struct Live {
    shown: bool,
    bars: MultiProgress,
    total: Option<ProgressBar>,
    /// By the name of the trial or boot.
    running: HashMap<String, ProgressBar>,
}

impl Live {
    pub(super) fn new(shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { shown, bars: MultiProgress::with_draw_target(target), total: None, running: HashMap::new() }
    }

    /// The run begins.
    pub(super) fn begin(&mut self, total: usize) {
        let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX))
            .with_style(style("{prefix:>12.bold.green} [{elapsed_precise}] {wide_bar} {pos}/{len} cells"))
            .with_prefix("Cells");
        self.total = Some(self.add(bar));
    }

    /// A guest starts, shown by these words.
    pub(super) fn start(&mut self, name: String, shown: String) {
        let bar = ProgressBar::new_spinner()
            .with_style(style("{spinner:>12} [{elapsed:>8}] {prefix}  {wide_msg}"))
            .with_prefix(shown)
            .with_message("start of QEMU");
        let bar = self.add(bar);
        if let Some(earlier) = self.running.insert(name, bar) {
            earlier.finish_and_clear();
        }
    }

    /// A guest enters a phase; its age counts anew.
    pub(super) fn enter(&mut self, name: &str, phase: Phase) {
        if let Some(bar) = self.running.get(name) {
            bar.reset_elapsed();
            bar.set_message(phase.in_words());
        }
    }

    /// A guest is gone.
    pub(super) fn clear(&mut self, name: &str) {
        if let Some(bar) = self.running.remove(name) {
            bar.finish_and_clear();
        }
    }

    /// A trial has its verdict.
    pub(super) fn end(&mut self, name: &str) {
        self.clear(name);
        if let Some(total) = &self.total {
            total.inc(1);
        }
    }

    /// The run has ended: all bars go.
    pub(super) fn finish(&mut self) {
        for (_, bar) in self.running.drain() {
            bar.finish_and_clear();
        }
        if let Some(total) = self.total.take() {
            total.finish_and_clear();
        }
    }

    /// Lets `write` write lines that the bars do not overwrite.
    pub(super) fn aside(&self, write: impl FnOnce()) {
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
