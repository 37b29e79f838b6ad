//! What is measured of a guest, and by what.

use super::Reaped;
use std::time::Duration;

/// The 64-bit entry lies this far behind a kernel's load address, the 32-bit entry at it (Documentation/arch/x86/boot.rst).
const ENTRY_64: u64 = 0x200;

/// Frequency of the ACPI power-management timer in Hz (ACPI 6.5, 4.8.2.1).
const PM_TIMER_HZ: u64 = 3_579_545;

/// The timer goes round after 2^24 ticks, or 4.7 thousand million instructions, of which QEMU's TCG emulates less than 1.5 thousand million a
/// second on any host: no sooner than in this CPU time.
const GOES_ROUND: Duration = Duration::from_secs(3);

/// The places that a crash leads by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Milestones {
    /// Where the first kernel jumps to, in the purgatory: physical address.
    pub jump: u64,
    /// Where the capture kernel is loaded: physical address.
    pub kernel: u64,
    /// Its first bytes, which must be there.
    pub head: Vec<u8>,
}

impl Milestones {
    /// The capture kernel's entries, of which the purgatory takes one.
    pub fn entries(&self) -> [u64; 2] {
        [self.kernel, self.kernel + ENTRY_64]
    }
}

/// What was measured of a guest, which is gone.
#[derive(Debug)]
pub struct Measured {
    /// All that was seen of it, the agent's report of the load included.
    pub reaped: Reaped,
    /// Its panic, where that was to be measured.
    pub panic: Option<PanicTimes>,
}

/// From the panic to the capture kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PanicTimes {
    /// From the trigger to the jump into the purgatory: the first kernel's own part.
    pub to_purgatory: Leg,
    /// From there to the capture kernel's first instruction.
    pub to_kernel: Leg,
}

/// The way from one milestone to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Address of the milestone that it ended at.
    pub at: u64,
    /// By the host's clock.
    pub wall: Duration,
    /// CPU time of QEMU; none where the host does not tell it.
    pub cpu: Option<Duration>,
    /// Ticks of the guest's ACPI power-management timer, modulo 2^24. Its clock stands while the machine does.
    pub pm_ticks: u32,
}

impl Leg {
    /// In guests whose clocks count their instructions: how many, to 280. None where the timer may have gone round, or what QEMU
    /// took is not known.
    pub fn instructions(&self) -> Option<u64> {
        let whole = self.cpu.is_some_and(|cpu| cpu < GOES_ROUND);
        whole.then(|| u64::from(self.pm_ticks) * 1_000_000_000 / PM_TIMER_HZ)
    }
}
