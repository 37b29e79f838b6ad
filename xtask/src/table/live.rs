//! The bars while a run goes on: how far it is, and for each running cell its phase and how long it has been in it.

use harness::phase::Phase;
use harness::runner::RunEvent;
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
    /// By the name of the trial or boot.
    running: HashMap<String, ProgressBar>,
}

impl Live {
    pub(crate) fn new(shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { shown, bars: MultiProgress::with_draw_target(target), total: None, running: HashMap::new() }
    }

    /// Draws what an event changes.
    pub(crate) fn follow(&mut self, event: &RunEvent) {
        match event {
            RunEvent::RunStarted { total, .. } => self.begin(*total),
            RunEvent::BootStarted { boot, trials } => {
                self.start(boot.clone(), format!("boot of {boot} for {trials} cells"));
            }
            RunEvent::BootPhase { boot, phase } => self.enter(boot, *phase),
            RunEvent::BootEnded { boot, .. } => self.clear(boot),
            RunEvent::AttemptStarted { trial, attempt } => {
                let shown = match attempt {
                    1 => trial.to_string(),
                    attempt => format!("{trial} (try {attempt})"),
                };
                self.start(trial.to_string(), shown);
            }
            RunEvent::PhaseEntered { trial, phase } => self.enter(&trial.to_string(), *phase),
            RunEvent::AttemptEnded { .. } => {}
            RunEvent::TrialEnded { result } => self.end(&result.trial().to_string()),
            RunEvent::RunEnded { .. } => self.finish(),
        }
    }

    /// The run begins.
    fn begin(&mut self, total: usize) {
        let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX))
            .with_style(style("{prefix:>12.bold.green} [{elapsed_precise}] {wide_bar} {pos}/{len} cells"))
            .with_prefix("Cells");
        self.total = Some(self.add(bar));
    }

    /// A guest starts, shown by these words.
    fn start(&mut self, name: String, shown: String) {
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
    fn enter(&mut self, name: &str, phase: Phase) {
        if let Some(bar) = self.running.get(name) {
            bar.reset_elapsed();
            bar.set_message(phase.in_words());
        }
    }

    /// A guest is gone.
    fn clear(&mut self, name: &str) {
        if let Some(bar) = self.running.remove(name) {
            bar.finish_and_clear();
        }
    }

    /// A trial has its verdict.
    fn end(&mut self, name: &str) {
        self.clear(name);
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
