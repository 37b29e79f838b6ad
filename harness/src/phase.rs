//! The phases that a cell walks through, in their order.

use serde::{Deserialize, Serialize};

/// Where a cell is. The order is the order in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// From `cont` to the first byte of a kernel on the console.
    Firmware,
    /// From there to the agent's *ready*.
    FirstKernel,
    /// From the order to the agent's report of the load, and to *armed*.
    Loading,
    /// From the trigger to the first byte of the capture kernel, or to whatever comes in its place.
    Panicking,
    /// From there to the capture agent's *up*.
    Capture,
    /// From the order to read to *done* and power-off.
    Reading,
    /// Nothing more is awaited.
    Done,
}

impl Phase {
    /// The phase in words that fit "during {phase}".
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::FirstKernel => "boot of the first kernel",
            Self::Loading => "load",
            Self::Panicking => "panic",
            Self::Capture => "boot of the capture kernel",
            Self::Reading => "vmcore check",
            Self::Done => "end",
        }
    }

    /// What ends the phase, in words that fit "{what} was awaited".
    pub const fn awaits(self) -> &'static str {
        match self {
            Self::Firmware => "the first kernel's first word on the console",
            Self::FirstKernel => "`ready` of the first kernel's agent",
            Self::Loading => "`loaded` and `armed` of the first kernel's agent",
            Self::Panicking => "the capture kernel's first word on the console",
            Self::Capture => "`up` of the capture kernel's agent",
            Self::Reading => "`vmcore` and `done` of the capture kernel's agent",
            Self::Done => "the capture kernel's power-off",
        }
    }
}
