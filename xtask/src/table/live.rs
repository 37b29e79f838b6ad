//! What is shown of guests while they run: bars with phase, seconds in it and the console's last line; on request, all that is
//! known of each.

use super::last_words::growing_console;
use super::roster::Roster;
use harness::guest::News;
use harness::runner::{GuestOf, RunEvent};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often ages are drawn anew.
const TICK: Duration = Duration::from_millis(250);

/// How far the run is.
const TOTAL: &str = "{prefix:>12.bold.green} [{elapsed_precise}] {wide_bar} {pos}/{len} cells";
/// A guest: how long it has been in its phase, and which. Cut at the terminal's width, so what changes comes first.
const GUEST: &str = "{spinner:>12} [{elapsed:>8}] {wide_msg}";
/// The last line of its console, under it.
const CONSOLE: &str = "             {wide_msg:.dim}";

/// The running guests, and their bars where there is a terminal for them.
pub(crate) struct Live {
    shown: bool,
    bars: MultiProgress,
    total: Option<ProgressBar>,
    guests: BTreeMap<GuestOf, Bars>,
    roster: Roster,
}

/// The bars of a guest.
struct Bars {
    /// The guest, for people.
    name: String,
    guest: ProgressBar,
    console: ProgressBar,
}

impl Live {
    pub(crate) fn new(shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        Self { shown, bars, total: None, guests: BTreeMap::new(), roster: Roster::default() }
    }

    /// Draws what an event changes.
    pub(crate) fn follow(&mut self, event: &RunEvent) {
        self.roster.follow(event, Instant::now());
        match event {
            RunEvent::RunStarted { total, .. } => self.begin(*total),
            RunEvent::BootStarted { boot, trials } => {
                let of = GuestOf::Boot(boot.clone());
                let name = format!("{of}, for {trials} cells");
                self.start(of, name);
            }
            RunEvent::BootEnded { boot, .. } => self.clear(&GuestOf::Boot(boot.clone())),
            RunEvent::AttemptStarted { trial, attempt, .. } => {
                let name = match attempt {
                    1 => trial.to_string(),
                    attempt => format!("{trial} (try {attempt})"),
                };
                self.start(GuestOf::Trial(trial.clone()), name);
            }
            RunEvent::Guest { of, news } => self.tell(of, news),
            RunEvent::AttemptEnded { .. } => {}
            RunEvent::VerboseRunStarted { trial, .. } => {
                self.start(GuestOf::Trial(trial.clone()), format!("{trial} (once more, verbosely)"));
            }
            RunEvent::TrialEnded { result } => {
                self.clear(&GuestOf::Trial(result.trial()));
                if let Some(total) = &self.total {
                    total.inc(1);
                }
            }
            RunEvent::RunEnded { .. } => self.finish(),
        }
    }

    /// What each guest does now, in lines for a terminal of 80 columns.
    pub(crate) fn now(&self) -> Vec<String> {
        self.roster.lines(Instant::now(), growing_console)
    }

    /// The run begins.
    fn begin(&mut self, total: usize) {
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        let bar = self.add(ProgressBar::new(total).with_style(style(TOTAL)).with_prefix("Cells"));
        self.ticking(&bar);
        self.total = Some(bar);
    }

    /// A guest starts, under this name.
    fn start(&mut self, of: GuestOf, name: String) {
        let guest = ProgressBar::new_spinner()
            .with_style(style(GUEST))
            .with_message(format!("start of QEMU: {name}"));
        let guest = self.add(guest);
        let console = self.add(ProgressBar::new_spinner().with_style(style(CONSOLE)));
        self.ticking(&guest);
        if let Some(earlier) = self.guests.insert(of, Bars { name, guest, console }) {
            earlier.clear();
        }
    }

    fn tell(&mut self, of: &GuestOf, news: &News) {
        let Some(bars) = self.guests.get(of) else { return };
        match news {
            News::Started { .. } => {}
            News::Phase(phase) => {
                bars.guest.reset_elapsed();
                bars.guest.set_message(format!("{}: {}", phase.in_words(), bars.name));
            }
            News::Console(line) => bars.console.set_message(line.clone()),
            News::Slow { phase, .. } => {
                bars.guest.set_message(format!("{}, slow: {}", phase.in_words(), bars.name));
            }
        }
    }

    /// A guest is gone.
    fn clear(&mut self, of: &GuestOf) {
        if let Some(bars) = self.guests.remove(of) {
            bars.clear();
        }
    }

    /// The run has ended: all bars go.
    pub(crate) fn finish(&mut self) {
        std::mem::take(&mut self.guests).values().for_each(Bars::clear);
        if let Some(total) = self.total.take() {
            total.finish_and_clear();
        }
    }

    /// Lets `write` write lines that the bars do not overwrite.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        if self.shown { self.bars.suspend(write) } else { write() }
    }

    fn add(&self, bar: ProgressBar) -> ProgressBar {
        self.bars.add(bar)
    }

    fn ticking(&self, bar: &ProgressBar) {
        if self.shown {
            bar.enable_steady_tick(TICK);
        }
    }
}

impl Bars {
    fn clear(&self) {
        self.guest.finish_and_clear();
        self.console.finish_and_clear();
    }
}

/// A template of this file. A bad one would still show progress, in indicatif's own style.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches a template that indicatif does not take: it would silently fall back to another look.
    #[test]
    fn templates_are_valid() {
        for template in [TOTAL, GUEST, CONSOLE] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
