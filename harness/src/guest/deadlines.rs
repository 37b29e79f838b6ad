//! How long each phase may take. An expired deadline is an outcome with evidence, the weakest proof of a hang.

use crate::accel::Accel;
use crate::phase::Phase;
use std::time::Duration;

/// Seconds by phase under TCG on one core of a middling machine, several times what an idle host needs, so that a loaded
/// one does not turn deadlines into verdicts (a whole cell takes some 16 s there).
const TCG_SECONDS: [(Phase, u32); Phase::ALL.len()] = [
    (Phase::Firmware, 20),
    (Phase::FirstKernel, 90),
    (Phase::Ready, 20),
    (Phase::Loading, 60),
    (Phase::Armed, 20),
    (Phase::Panicking, 45),
    (Phase::Purgatory, 45),
    (Phase::Decompression, 45),
    (Phase::Capture, 90),
    (Phase::Reading, 60),
    // Only the power-off is awaited, and a guest that misses it is a note.
    (Phase::Done, 10),
];

/// How long each phase may take: a table under TCG, scaled by an accelerator and a factor for slow hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Deadlines {
    /// Multiplies every deadline. For hosts that are slower, or more loaded, than the table assumes. More than 0.
    pub factor: f64,
    /// Overrides, in seconds, before the factor.
    pub overrides: Vec<(Phase, u32)>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { factor: 1.0, overrides: Vec::new() }
    }
}

impl Deadlines {
    /// The deadline of `phase`, counted from when it is entered; at least one second.
    pub fn of(&self, phase: Phase, accel: Accel) -> Duration {
        let seconds = self.overrides.iter().rev().chain(&TCG_SECONDS).find(|(of, _)| *of == phase);
        let seconds = seconds.map_or(0, |(_, seconds)| *seconds);
        let accelerated = match accel {
            Accel::Tcg => 1.0,
            // A guest that is not three times as fast under KVM has no working KVM.
            Accel::Kvm => 1.0 / 3.0,
        };
        Duration::from_secs_f64((f64::from(seconds) * accelerated * self.factor).clamp(1.0, 86_400.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a phase without an entry has no deadline worth the name, and its cells end at once.
    #[test]
    fn every_phase_has_an_entry() {
        for phase in Phase::ALL {
            assert!(Deadlines::default().of(phase, Accel::Tcg) >= Duration::from_secs(10), "{phase:?}");
        }
    }

    /// Bug: an override is shadowed by the table, or the factor is left out for it.
    #[test]
    fn the_last_override_wins_and_is_scaled() {
        let overrides = vec![(Phase::Capture, 5), (Phase::Capture, 7)];
        let deadlines = Deadlines { factor: 2.0, overrides };
        assert_eq!(deadlines.of(Phase::Capture, Accel::Tcg), Duration::from_secs(14));
    }
}
