//! Where a run's time went: what guests themselves used of the CPUs, phase by phase, and what of the places for guests was used
//! for something else, or for nothing.

use crate::phase::Phase;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A time by the clock, and what a QEMU used of a CPU in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Seconds by the clock.
    pub wall: f64,
    /// Seconds of CPU time.
    pub cpu: f64,
    /// Seconds in which it was ready to run and the host had no CPU for it.
    pub withheld: f64,
}

impl Span {
    /// Seconds in which its QEMU had nothing to do.
    pub fn unused(self) -> f64 {
        (self.wall - self.cpu - self.withheld).max(0.0)
    }
}

impl std::ops::AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.withheld += other.withheld;
    }
}

/// What one guest took, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GuestTimes {
    /// From QEMU's start until the guest runs: its state is read here, where it begins in one.
    pub setup: Span,
    /// Each phase that was entered. That of *ready*, of a boot that is shared, is the saving of its state.
    pub phases: Vec<(Phase, Span)>,
}

impl GuestTimes {
    /// Of a guest whose QEMU was started at zero, from when each phase was entered, and its end: the moment and QEMU's CPU time then.
    pub(crate) fn of(marks: &[(Phase, Mark)], end: Mark) -> Self {
        let Some((_, first)) = marks.first() else { return Self::default() };
        let setup = Mark::default().until(*first);
        let ends = marks.iter().skip(1).map(|(_, mark)| *mark).chain([end]);
        let phases = marks.iter().zip(ends).map(|((phase, begin), end)| (*phase, begin.until(end)));
        Self { setup, phases: phases.collect() }
    }
}

/// A moment in a QEMU's life.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Mark {
    /// Since its start.
    pub(crate) at: Duration,
    /// CPU time that it had used.
    pub(crate) cpu: Duration,
    /// How long its threads had waited for a CPU.
    pub(crate) withheld: Duration,
}

impl Mark {
    fn until(self, end: Self) -> Span {
        Span {
            wall: end.at.saturating_sub(self.at).as_secs_f64(),
            cpu: end.cpu.saturating_sub(self.cpu).as_secs_f64(),
            withheld: end.withheld.saturating_sub(self.withheld).as_secs_f64(),
        }
    }
}

/// Where a run's time went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// From the first guest's start to the last one's end, in seconds.
    pub wall_seconds: f64,
    /// Guests that were to run at a time: so many places there were.
    pub places: usize,
    /// Seconds in which places stood empty: nothing was left to be started, or memory did not allow it.
    pub empty_seconds: f64,
    /// Boots that were shared.
    pub boots: usize,
    /// Other guests.
    pub trials: usize,
    /// QEMUs' starts, and the reading of states.
    pub setup: Span,
    /// The writing of states.
    pub saving: Span,
    /// What the guests did, by phase.
    pub phases: BTreeMap<String, Span>,
}

impl Ledger {
    /// Takes a boot that others start from.
    pub fn take_boot(&mut self, times: &GuestTimes) {
        self.boots += 1;
        self.setup += times.setup;
        for (phase, span) in &times.phases {
            match phase {
                Phase::Ready => self.saving += *span,
                phase => *self.phases.entry(phase.name().to_owned()).or_default() += *span,
            }
        }
    }

    /// Takes another guest.
    pub fn take_trial(&mut self, times: &GuestTimes) {
        self.trials += 1;
        self.setup += times.setup;
        for (phase, span) in &times.phases {
            *self.phases.entry(phase.name().to_owned()).or_default() += *span;
        }
    }

    /// The CPU time that the guests themselves used, in seconds: one boot for those that share it, and what each trial did.
    pub fn guests_seconds(&self) -> f64 {
        self.phases.values().map(|span| span.cpu).sum()
    }

    /// The least time that these guests can take on so many CPUs, in seconds: all of them busy with nothing else from begin to end.
    pub fn bound_seconds(&self, cpus: usize) -> f64 {
        self.guests_seconds() / cpus.max(1) as f64
    }

    /// Seconds in which QEMUs were ready to run and the host had no CPU for them.
    pub fn withheld_seconds(&self) -> f64 {
        self.phases.values().chain([&self.setup, &self.saving]).map(|span| span.withheld).sum()
    }

    /// Seconds in which places had a task and no QEMU: files were made up, digests computed, evidence written.
    pub fn without_qemu_seconds(&self) -> f64 {
        let all = self.phases.values().chain([&self.setup, &self.saving]);
        let qemu: f64 = all.map(|span| span.wall).sum();
        (self.wall_seconds * self.places as f64 - self.empty_seconds - qemu).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: u64, cpu: u64) -> Mark {
        Mark { at: Duration::from_secs(at), cpu: Duration::from_secs(cpu), ..Mark::default() }
    }

    fn times() -> GuestTimes {
        GuestTimes::of(
            &[(Phase::Firmware, mark(1, 1)), (Phase::FirstKernel, mark(3, 2)), (Phase::Ready, mark(8, 7))],
            mark(9, 8),
        )
    }

    /// Bug: a phase's time is counted to the one before it, or what QEMU did before the guest ran counts as the guest's.
    #[test]
    fn phases_last_until_the_next_begins() {
        let span = |wall, cpu| Span { wall, cpu, withheld: 0.0 };
        let times = times();
        assert_eq!(times.setup, span(1.0, 1.0));
        let phases = [
            (Phase::Firmware, span(2.0, 1.0)),
            (Phase::FirstKernel, span(5.0, 5.0)),
            (Phase::Ready, span(1.0, 1.0)),
        ];
        assert_eq!(times.phases, phases);
        assert_eq!(GuestTimes::of(&[], mark(1, 1)), GuestTimes::default());
    }

    /// Bug: the writing of a state is taken for the guest's own time, so that a rig which saves more is nearer to its bound; or a
    /// place that stands empty is taken for work.
    #[test]
    fn what_is_not_the_guests_is_not_in_the_bound() {
        let mut ledger = Ledger { wall_seconds: 20.0, places: 2, empty_seconds: 5.0, ..Ledger::default() };
        ledger.take_boot(&times());
        ledger.take_trial(&times());
        assert_eq!((ledger.boots, ledger.trials), (1, 1));
        assert_eq!(ledger.guests_seconds(), 6.0 + 7.0);
        assert_eq!(ledger.bound_seconds(2), 6.5);
        assert_eq!((ledger.saving.cpu, ledger.setup.wall), (1.0, 2.0));
        // 40 s of places, 5 of them empty, 18 with a QEMU.
        assert_eq!(ledger.without_qemu_seconds(), 17.0);
    }

    /// Bug: a QEMU with two busy threads has waited for less than nothing, and hides another's wait; or what a busy host withheld is
    /// taken for a wait of the guest's.
    #[test]
    fn nothing_is_unused_less_than_not_at_all() {
        assert_eq!(Span { wall: 1.0, cpu: 1.5, withheld: 0.0 }.unused(), 0.0);
        assert_eq!(Span { wall: 2.0, cpu: 1.0, withheld: 0.5 }.unused(), 0.5);
    }
}
