//! Evidence: what was seen of a cell, kept whole. Types only; outcomes are derived from it elsewhere, by pure functions.
//!
//! Times are milliseconds since the guest was let run (`cont`).

mod changes;
mod machine;

pub use changes::{Changes, LowPattern, Tampered};
pub use machine::{
    Access, Code, Cpu, CpuLog, Examination, Exception, Ip, PageEntry, PageWalk, QemuExit, Selector, Symbol,
    Table, Translation,
};

use crate::phase::Phase;
use guest_protocol::{Plant, Report};
use serde::{Deserialize, Serialize};

/// All that was seen of one attempt at a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Bytes of the console (first serial port), of both kernels. In a file of its own when saved.
    #[serde(skip)]
    pub console: Vec<u8>,
    /// Length of `console` when the panic was triggered: everything before is the first kernel's ordinary life.
    pub console_at_trigger: Option<usize>,
    /// When the panic was triggered.
    pub triggered_ms: Option<u64>,
    /// When the last console byte came.
    pub last_console_ms: Option<u64>,
    /// What the agents reported.
    pub reports: Vec<Timed<Report>>,
    /// Lines of the message channel that are no report: cut, foreign, garbage. Lossy text.
    pub foreign_lines: Vec<Timed<String>>,
    /// The nonces that were ordered.
    pub plants: Vec<Plant>,
    /// The line that was ordered into the first kernel's log; empty before the order.
    pub log_line: String,
    /// What the rig changed in the guest's memory.
    #[serde(default, skip_serializing_if = "Changes::is_empty")]
    pub changes: Changes,
    /// Events of QMP.
    pub events: Vec<Timed<QmpEvent>>,
    /// Register samples, oldest first.
    pub samples: Vec<Timed<RegisterSample>>,
    /// When each phase began.
    pub phases: Vec<Timed<Phase>>,
    /// How long QEMU had waited for a CPU in a phase when an agent spoke in it and when it ended, where that was a second or more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<PhaseWait>,
    /// How the guest ended.
    pub end: Option<GuestEnd>,
    /// The machine before it was ended, where its outcome was not the expected one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examined: Option<Examination>,
    /// What QEMU's own log says of the CPUs.
    #[serde(default, skip_serializing_if = "CpuLog::is_empty")]
    pub cpu_log: CpuLog,
    /// How QEMU ended, where the rig did not end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qemu_exit: Option<QemuExit>,
}

/// Something with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed<T> {
    /// Milliseconds since `cont`.
    pub ms: u64,
    /// What was seen.
    pub what: T,
}

/// Time in a phase in which QEMU was ready to run and had no CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseWait {
    /// The phase.
    pub phase: Phase,
    /// Milliseconds, of the most starved of QEMU's threads.
    pub ms: u64,
}

/// An event of QMP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QmpEvent {
    /// Its name, such as `SHUTDOWN`.
    pub name: String,
    /// Its data, as JSON.
    pub data: serde_json::Value,
}

/// The state of all CPUs at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterSample {
    /// One entry a CPU, in QEMU's order.
    pub cpus: Vec<CpuState>,
}

/// What the proof of a hang needs of a CPU, out of `info registers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuState {
    /// RIP or EIP.
    pub ip: u64,
    /// RFL or EFL.
    pub flags: u64,
    /// HLT=1.
    pub halted: bool,
}

impl CpuState {
    /// IF, bit 9 of the flags register.
    const INTERRUPT_FLAG: u64 = 1 << 9;

    /// Whether no interrupt can wake this CPU.
    pub const fn is_dead(self) -> bool {
        self.halted && self.flags & Self::INTERRUPT_FLAG == 0
    }
}

/// How the guest ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum GuestEnd {
    /// It ended by itself: QEMU said SHUTDOWN (power-off or reset under `-no-reboot`).
    ByItself,
    /// The rig ended it because nothing more was awaited: the outcome was known.
    Concluded,
    /// The rig ended it because the phase's deadline had passed.
    Deadline {
        /// The phase.
        phase: Phase,
        /// How long it had lasted, in seconds: its deadline, and what that was put off because the host withheld the CPU.
        seconds: u32,
    },
    /// QEMU, QMP or the host failed.
    Trouble {
        /// What was tried and what was found.
        what: String,
    },
    /// The run was interrupted.
    Interrupted,
}
