//! The guests that run at a moment, and what is known of each: for whoever asks "where is it stuck?". Pure.

use super::text::{self, bracketed};
use harness::guest::News;
use harness::last_lines::ConsoleLine;
use harness::phase::Phase;
use harness::runner::{GuestOf, RunEvent};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The guests that run.
#[derive(Debug, Default)]
pub(super) struct Roster(BTreeMap<GuestOf, Running>);

#[derive(Debug)]
struct Running {
    since: Instant,
    /// None while QEMU starts.
    phase: Option<Phase>,
    phase_since: Instant,
    pid: Option<i32>,
    /// Where its evidence will be; a shared boot has none of its own.
    evidence: Option<PathBuf>,
    console: PathBuf,
}

impl Roster {
    /// Takes note of an event that came `now`.
    pub(super) fn follow(&mut self, event: &RunEvent, now: Instant) {
        match event {
            RunEvent::BootStarted { boot, .. } => self.begin(GuestOf::Boot(boot.clone()), None, now),
            RunEvent::AttemptStarted { trial, evidence, .. }
            | RunEvent::VerboseRunStarted { trial, evidence } => {
                self.begin(GuestOf::Trial(trial.clone()), Some(evidence.clone()), now);
            }
            RunEvent::Guest { of, news } => match (self.0.get_mut(of), news) {
                (Some(guest), News::Started { pid, console }) => {
                    guest.pid = Some(*pid);
                    guest.console.clone_from(console);
                }
                (Some(guest), News::Phase(phase)) => {
                    guest.phase = Some(*phase);
                    guest.phase_since = now;
                }
                (Some(_), News::Console(_) | News::Slow { .. }) | (None, _) => {}
            },
            RunEvent::BootEnded { boot, .. } => {
                self.0.remove(&GuestOf::Boot(boot.clone()));
            }
            RunEvent::AttemptEnded { trial, .. } => {
                self.0.remove(&GuestOf::Trial(trial.clone()));
            }
            RunEvent::TrialEnded { result } => {
                self.0.remove(&GuestOf::Trial(result.trial()));
            }
            RunEvent::RunEnded { .. } => self.0.clear(),
            RunEvent::RunStarted { .. } => {}
        }
    }

    fn begin(&mut self, of: GuestOf, evidence: Option<PathBuf>, now: Instant) {
        let console = PathBuf::new();
        self.0
            .insert(of, Running { since: now, phase: None, phase_since: now, pid: None, evidence, console });
    }

    /// What each guest does `now`; `console` gives the last lines of a file.
    pub(super) fn lines(&self, now: Instant, console: impl Fn(&Path) -> Vec<ConsoleLine>) -> Vec<String> {
        if self.0.is_empty() {
            return vec![text::verbatim("Now", "no guest runs at this moment")];
        }
        let seconds = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        let mut lines = Vec::new();
        for (of, guest) in &self.0 {
            lines.push(text::verbatim("Now", &format!("{} {of}", bracketed(seconds(guest.since)))));
            let phase = match guest.phase {
                Some(phase) => {
                    let (words, awaited) = (phase.in_words(), phase.awaits());
                    format!("{words}, for {:.1} s; awaited: {awaited}", seconds(guest.phase_since))
                }
                None => "start of QEMU".to_owned(),
            };
            lines.extend(text::told("phase", &phase));
            lines.extend(guest.pid.map(|pid| text::verbatim("QEMU", &format!("process {pid}"))));
            lines.extend(
                guest.evidence.as_ref().map(|path| text::verbatim("evidence", &path.display().to_string())),
            );
            lines.extend(text::quoted("console", &console(&guest.console)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harness::cell::CellId;
    use harness::runner::TrialId;
    use std::time::Duration;

    /// Catches a guest that hangs, and nothing that says where, in which process, or since when; and one that has ended and is
    /// still shown.
    #[test]
    fn every_running_guest_is_told() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let trial = TrialId { cell: CellId("a/b".into()), repetition: 2 };
        let guest = |news| RunEvent::Guest { of: GuestOf::Trial(trial.clone()), news };
        let mut roster = Roster::default();
        let console = |file: &Path| {
            assert_eq!(file, Path::new("r/console"));
            vec![ConsoleLine { text: "Loading".into(), finished: false }]
        };
        roster.follow(
            &RunEvent::AttemptStarted { trial: trial.clone(), attempt: 1, evidence: "r/a".into() },
            begin,
        );
        roster.follow(&guest(News::Started { pid: 77, console: "r/console".into() }), after(100));
        roster.follow(&guest(News::Phase(Phase::Firmware)), after(200));
        roster.follow(&guest(News::Phase(Phase::FirstKernel)), after(1000));
        assert_eq!(
            roster.lines(after(3500), console),
            [
                "         Now [     3.5s] a/b#2",
                "       phase boot of the first kernel, for 2.5 s; awaited: `ready` of the first",
                "             kernel's agent",
                "        QEMU process 77",
                "    evidence r/a",
                "     console | Loading [unfinished]",
            ]
        );
        roster.follow(&RunEvent::BootStarted { boot: "k".into(), trials: 2 }, after(3500));
        roster.follow(&RunEvent::BootEnded { boot: "k".into(), failed: None }, after(3600));
        assert_eq!(roster.lines(after(3600), console).len(), 6);
        roster.follow(&RunEvent::RunEnded { summary: Default::default() }, after(4000));
        assert_eq!(roster.lines(after(4000), console), ["         Now no guest runs at this moment"]);
    }
}
