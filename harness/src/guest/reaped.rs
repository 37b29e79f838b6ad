//! What is left of a guest when its QEMU is gone: its evidence, and what people may want to know beside it.

use crate::evidence::{Evidence, GuestEnd, Timed};
use crate::ledger::GuestTimes;
use crate::qmp::Direction;
use guest_protocol::Order;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A guest that is gone.
#[derive(Debug, Default)]
pub struct Reaped {
    /// What was seen of it, whole.
    pub evidence: Evidence,
    /// Things seen that decide nothing.
    pub notes: Vec<String>,
    /// All lines of QMP. Milliseconds since `cont`, negative before.
    pub qmp_log: Vec<(i64, Direction, String)>,
    /// Register dumps as QEMU printed them.
    pub registers: Vec<Timed<String>>,
    /// What the monitor said of a machine that was looked at, for people: what was asked, and the answer.
    pub machine: Vec<(String, String)>,
    /// The last of QEMU's own log of its CPUs.
    pub cpu_log: Vec<u8>,
    /// The orders that its agents were given.
    pub orders: Vec<Timed<Order>>,
    /// What QEMU wrote to its standard error.
    pub stderr: String,
    /// From the start of QEMU to its end.
    pub lasted: Duration,
    /// When an agent spoke last.
    pub last_message: Option<Instant>,
    /// The most memory that QEMU had in use, in MiB.
    pub peak_mib: Option<u64>,
    /// What it took of the CPUs, phase by phase.
    pub times: GuestTimes,
    /// When it ended, in milliseconds since `cont`.
    pub ended_ms: u64,
    /// A process of it that could not be ended: a fault of the run.
    pub leaked: Option<String>,
    /// The saved state that it was to begin in could not be restored, and nothing of the guest ran: a boot of its own may do.
    pub not_restored: bool,
}

impl Reaped {
    /// A guest that never ran.
    pub(crate) fn never_ran(what: String) -> Self {
        let evidence = Evidence { end: Some(GuestEnd::Trouble { what }), ..Evidence::default() };
        Self { evidence, ..Self::default() }
    }

    /// Seconds spent in each phase that was entered, by the phase's name, and `total`.
    pub fn seconds(&self) -> BTreeMap<String, f64> {
        let begins = self.evidence.phases.iter();
        let ends = begins.clone().skip(1).map(|phase| phase.ms).chain([self.ended_ms]);
        let mut seconds = BTreeMap::new();
        for (begin, end) in begins.zip(ends) {
            *seconds.entry(begin.what.name().to_owned()).or_insert(0.0) +=
                end.saturating_sub(begin.ms) as f64 / 1000.0;
        }
        seconds.insert("total".into(), self.lasted.as_secs_f64());
        seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phase::Phase;

    /// Bug: a phase's seconds are counted to the wrong neighbour, or the last phase has none.
    #[test]
    fn phases_last_until_the_next() {
        let phases = vec![
            Timed { ms: 0, what: Phase::Firmware },
            Timed { ms: 500, what: Phase::FirstKernel },
            Timed { ms: 4500, what: Phase::Loading },
        ];
        let evidence = Evidence { phases, ..Evidence::default() };
        let reaped = Reaped { evidence, ended_ms: 5000, lasted: Duration::from_secs(6), ..Reaped::default() };
        let seconds: Vec<_> = reaped.seconds().into_iter().collect();
        let expected = [("firmware", 0.5), ("first-kernel", 4.0), ("loading", 0.5), ("total", 6.0)];
        assert_eq!(seconds, expected.map(|(name, seconds)| (name.to_owned(), seconds)));
    }
}
