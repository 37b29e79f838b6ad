//! How fast a guest was, and what follows for deadlines. Pure.

use crate::accel::Accel;
use std::time::Duration;

/// Time that the probe's work takes under TCG on the host that the table of deadlines was made on: an idle machine with 2 CPUs of
/// an AMD EPYC at 2.4 GHz, QEMU 7.2, the least of many.
pub const REFERENCE: Duration = Duration::from_millis(510);

/// How many times as fast as under TCG a guest must be under KVM to count as running there. A KVM that works is ten times as fast
/// and more; one that is not twice as fast emulates what it should execute, and gets stuck sooner or later.
const WORTH_IT: u32 = 2;

/// Deadlines are never stretched further than this: everything ends. A host that is twenty times as slow as the reference needs
/// minutes for a cell.
const MOST: f64 = 20.0;

/// From this factor on people are told of it; less is the spread of one host from minute to minute.
pub const WORTH_TELLING: f64 = 1.5;

/// How fast probe guests were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// From QEMU's start to the guest's *begin*.
    start: Duration,
    /// From *begin* to *end*.
    took: Duration,
    /// Of that, the time that QEMU waited for a CPU. Zero where the host's kernel does not tell.
    waited: Duration,
}

impl Speed {
    /// That of the reference host under TCG.
    pub const REFERENCE: Self =
        Self { start: Duration::from_millis(50), took: REFERENCE, waited: Duration::ZERO };

    /// As measured by the rig, whose clocks are not read all at once: what was waited is at most what was taken.
    pub(crate) fn new(start: Duration, took: Duration, waited: Duration) -> Self {
        Self { start, took, waited: waited.min(took) }
    }

    /// Of guests that ran at a time: the slowest in each respect.
    pub(super) fn slowest(self, other: Self) -> Self {
        let own = self.own().max(other.own());
        let took = self.took.max(other.took);
        Self { start: self.start.max(other.start), took, waited: took - own }
    }

    /// From QEMU's start to the guest's first word.
    pub fn start(self) -> Duration {
        self.start
    }

    /// What the work took by the clock on the wall.
    pub fn took(self) -> Duration {
        self.took
    }

    /// What it took without the time that QEMU waited for a CPU: the speed that the host has when it is idle.
    pub fn own(self) -> Duration {
        self.took - self.waited
    }

    /// Whether guests as fast as this, under KVM, are worth it beside TCG's.
    pub fn beats(self, tcg: Self) -> bool {
        self.own() * WORTH_IT <= tcg.own()
    }
}

impl std::fmt::Display for Speed {
    /// The seconds that it took, and those of them without a CPU where they weigh.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s", self.took.as_secs_f64())?;
        match self.waited * 10 >= self.took {
            true => write!(f, " ({:.2} s of them without a CPU)", self.waited.as_secs_f64()),
            false => Ok(()),
        }
    }
}

/// How much slower than the reference host this one is, for deadlines. Never less than what a good host may take, for a fast
/// probe is no promise of a fast disk or of an idle hour; never more than 20.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    wall: f64,
    own: f64,
}

impl Calibration {
    /// That of the reference host.
    pub const NONE: Self = Self { wall: 1.0, own: 1.0 };

    /// That of a host of which no figure could be had.
    pub const SLOWEST: Self = Self { wall: MOST, own: MOST };

    /// From the speed of `guests` probe guests at a time, in a run with `jobs` guests at a time under `accel`.
    pub fn new(accel: Accel, speed: Speed, guests: usize, jobs: usize) -> Self {
        let floor = match accel {
            Accel::Tcg => 1.0,
            // The least that makes KVM worth it: it is not used where it is slower.
            Accel::Kvm => 1.0 / f64::from(WORTH_IT),
        };
        // Guests that no probe stood for share the CPUs evenly with the others.
        let crowd = (jobs.max(1) as f64 / guests.max(1) as f64).max(1.0);
        let of = |time: Duration| time.as_secs_f64() / REFERENCE.as_secs_f64();
        let wall = (of(speed.took()) * crowd).clamp(floor, MOST);
        Self { wall, own: of(speed.own()).clamp(floor, wall) }
    }

    /// By the clock on the wall, at the load that was there: as long as this a phase may always take, times its table's seconds.
    pub fn wall(self) -> f64 {
        self.wall
    }

    /// Without the time that QEMU waits for a CPU: as long as this a phase may take however loaded the host becomes. At most
    /// [`Calibration::wall`].
    pub fn own(self) -> f64 {
        self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(took_ms: u64, waited_ms: u64) -> Speed {
        let ms = Duration::from_millis;
        Speed::new(ms(100), ms(took_ms), ms(waited_ms))
    }

    /// Bug: a KVM that was measured while the host was busy counts as slow, or one that is as slow as TCG counts as KVM.
    #[test]
    fn kvm_must_be_clearly_faster_whatever_the_load() {
        for (kvm, tcg, beats) in [
            (speed(30, 0), speed(500, 0), true),
            (speed(600, 560), speed(500, 0), true),
            (speed(250, 0), speed(500, 0), true),
            (speed(260, 0), speed(500, 0), false),
            (speed(450, 0), speed(4000, 3500), false),
        ] {
            assert_eq!(kvm.beats(tcg), beats, "{kvm:?} beside {tcg:?}");
        }
    }

    /// Bug: a fast host's deadlines shrink, a slow or crowded one's do not grow, or a broken clock stretches them for ever.
    #[test]
    fn factors() {
        // In tenths of the reference.
        let of = |took: u32, waited: u32| {
            Speed::new(Duration::ZERO, REFERENCE * took / 10, REFERENCE * waited / 10)
        };
        for (accel, speed, guests, jobs, wall, own) in [
            (Accel::Tcg, of(10, 0), 2, 2, 1.0, 1.0),
            (Accel::Tcg, of(2, 0), 2, 2, 1.0, 1.0),
            (Accel::Tcg, of(30, 0), 2, 2, 3.0, 3.0),
            (Accel::Tcg, of(30, 20), 2, 2, 3.0, 1.0),
            (Accel::Tcg, of(20, 0), 2, 8, 8.0, 2.0),
            (Accel::Tcg, of(20, 0), 2, 1, 2.0, 2.0),
            (Accel::Tcg, of(9000, 0), 1, 1, 20.0, 20.0),
            (Accel::Kvm, of(1, 0), 2, 2, 0.5, 0.5),
            (Accel::Kvm, of(20, 18), 2, 2, 2.0, 0.5),
        ] {
            let calibration = Calibration::new(accel, speed, guests, jobs);
            let close = |is: f64, expected: f64| (is - expected).abs() < 1e-6;
            assert!(
                close(calibration.wall(), wall) && close(calibration.own(), own),
                "{speed:?}, {guests} for {jobs}: {calibration:?}"
            );
        }
    }

    /// Bug: of two guests the one that happened to wait less hides that the other was slow.
    #[test]
    fn the_slowest_in_each_respect() {
        let both = speed(900, 100).slowest(speed(1000, 900));
        assert_eq!((both.took(), both.own()), (Duration::from_millis(1000), Duration::from_millis(800)));
        assert_eq!(speed(10, 50).own(), Duration::ZERO, "clocks that disagree");
    }
}
