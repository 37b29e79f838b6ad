//! How long each phase may take. An expired deadline is an outcome with evidence, the weakest proof of a hang.

use crate::outcome::Outcome;
use crate::patience::Limit;
use crate::phase::Phase;
use crate::probe::Calibration;
use crate::qmp::COMMAND_DEADLINE;
use std::time::Duration;

/// Longest deadline: what a factor and an override come to must stay a time.
const DAY: f64 = 86_400.0;

/// Seconds that a phase may take under TCG on the reference host: several times what it needs when idle, so that what the probe
/// does not see (a slow disk, a kernel built with debugging) does not turn deadlines into verdicts. A whole cell takes some 16 s.
const fn tcg_seconds(phase: Phase) -> u32 {
    match phase {
        // A BIOS takes one second; a UEFI firmware with its kernel's decompression, whose banner ends the phase there, ten.
        Phase::Firmware => 60,
        Phase::FirstKernel => 90,
        // These two are passed through at once: the order is written, the trigger is a command with a deadline of its own.
        Phase::Ready | Phase::Armed => 20,
        Phase::Loading => 60,
        Phase::Panicking => 45,
        Phase::Purgatory => 45,
        Phase::Decompression => 45,
        Phase::Capture => 90,
        Phase::Reading => 60,
        // Only the power-off is awaited, and a guest that misses it is a note.
        Phase::Done => 10,
    }
}

/// How long each phase may take: a table for the reference host, scaled to this one.
#[derive(Clone, Debug, PartialEq)]
pub struct Deadlines {
    /// How much slower this host is, under the accelerator in use.
    pub calibration: Calibration,
    /// Multiplies every deadline beside the calibration, for what it cannot know. More than 0.
    pub factor: f64,
    /// Overrides, in seconds on the reference host. The last one for a phase counts.
    pub overrides: Vec<(Phase, u32)>,
    /// Hangs are known by a silence of this length on both ports and by nothing else, as a script around QEMU knows them; only
    /// then the machine is looked at. None: it is looked at again and again, and a hang that is proven ends the guest.
    pub silence: Option<Duration>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { calibration: Calibration::NONE, factor: 1.0, overrides: Vec::new(), silence: None }
    }
}

impl Deadlines {
    /// The deadline of `phase`, counted from when it is entered; at least one second.
    pub fn of(&self, phase: Phase) -> Limit {
        let overridden = self.overrides.iter().rev().find(|(of, _)| *of == phase);
        let seconds = f64::from(overridden.map_or(tcg_seconds(phase), |(_, seconds)| *seconds));
        let scaled =
            |calibrated: f64| Duration::from_secs_f64((seconds * calibrated * self.factor).clamp(1.0, DAY));
        Limit { wall: scaled(self.calibration.wall()), own: scaled(self.calibration.own()) }
    }

    /// Whether a guest whose outcome is proven, and which wrote nothing for so long, is to be ended. Who knows hangs by silence alone
    /// waits for it; a script sees what a guest says as well as the rig does.
    pub(super) fn is_over(&self, outcome: &Outcome, quiet: Duration) -> bool {
        match (outcome, self.silence) {
            (Outcome::Hung { .. }, Some(silence)) => quiet >= silence,
            _ => true,
        }
    }

    /// Whether this silence is a hang by itself.
    pub(super) fn is_hang(&self, quiet: Duration) -> bool {
        self.silence.is_some_and(|silence| quiet >= silence)
    }

    /// So long may QEMU take for a command of QMP; and twice that to start, and to greet.
    pub fn command(&self) -> Duration {
        let factor = (self.calibration.wall() * self.factor).max(1.0);
        COMMAND_DEADLINE.mul_f64(factor).min(Duration::from_secs_f64(DAY))
    }

    /// How long the agents may say nothing at all: from power-on to *ready*, or from *armed* to *up*, whichever is longer.
    pub fn longest_silence(&self) -> Duration {
        let all = |wanted: fn(Phase) -> bool| {
            Phase::ALL.into_iter().filter(|phase| wanted(*phase)).map(|phase| self.of(phase).wall).sum()
        };
        let boot: Duration = all(|phase| phase < Phase::Ready);
        boot.max(all(|phase| (Phase::Panicking..Phase::Reading).contains(&phase)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accel::Accel;
    use crate::probe::{REFERENCE, Speed};

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Bug: an override is shadowed by the table or by an earlier one, or the factor is left out for it.
    #[test]
    fn the_last_override_wins_and_is_scaled() {
        let overrides = vec![(Phase::Capture, 5), (Phase::Capture, 7)];
        let twice = Speed::new(s(0), REFERENCE * 2, s(0));
        let calibration = Calibration::new(Accel::Tcg, twice, 1, 1);
        let deadlines = Deadlines { calibration, overrides, ..Deadlines::default() };
        assert_eq!(deadlines.of(Phase::Capture), Limit::of(s(14)));
        assert_eq!(deadlines.of(Phase::Firmware), Limit::of(s(120)));
    }

    /// Bug: what a loaded host withheld from the probe counts against guests when the load is gone, or is allowed for twice while it
    /// lasts.
    #[test]
    fn the_load_is_allowed_for_by_the_wall_alone() {
        let loaded = Speed::new(s(0), REFERENCE * 4, REFERENCE * 3);
        let calibration = Calibration::new(Accel::Tcg, loaded, 1, 1);
        let limit = Deadlines { calibration, ..Deadlines::default() }.of(Phase::Firmware);
        assert_eq!(limit, Limit { wall: s(240), own: s(60) });
    }

    /// Bug: the loop that the rig is compared with has the rig's own eye for hangs; or it waits for the silence of guests that have
    /// said all there is to say; or the rig waits as the loop does.
    #[test]
    fn silence_is_waited_for_by_those_alone_who_see_nothing_else() {
        let hung = Outcome::Hung {
            at: Phase::Decompression,
            proof: crate::outcome::HangProof::Silence { seconds: 1 },
            cause: crate::outcome::HangCause::Unknown,
        };
        let captured = Outcome::captured(crate::outcome::VmcoreState::Verified);
        let script = Deadlines { silence: Some(s(30)), ..Deadlines::default() };
        let over = |of: &Deadlines, outcome, quiet| (of.is_over(outcome, s(quiet)), of.is_hang(s(quiet)));
        assert_eq!(over(&script, &hung, 29), (false, false));
        assert_eq!(over(&script, &hung, 30), (true, true));
        assert_eq!(over(&script, &captured, 0), (true, false));
        assert_eq!(over(&Deadlines::default(), &hung, 0), (true, false));
        assert_eq!(over(&Deadlines::default(), &hung, 600), (true, false));
    }

    /// Bug: a fast KVM leaves a phase no time at all, or an override of nothing ends it at once.
    #[test]
    fn no_deadline_is_shorter_than_a_second() {
        let overrides = vec![(Phase::Loading, 0)];
        assert_eq!(Deadlines { overrides, ..Deadlines::default() }.of(Phase::Loading), Limit::of(s(1)));
    }
}
