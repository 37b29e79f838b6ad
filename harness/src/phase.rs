//! The phases that a cell walks through, in their order.

use serde::{Deserialize, Serialize};

/// Where a cell is. The order is the order in time. Not every cell sees each: a kernel without an early console goes from
/// its predecessor's last words to its own banner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// From `cont` to the first byte of a kernel on the console.
    Firmware,
    /// From there to the agent's *ready*.
    FirstKernel,
    /// At *ready*, before an order: where a state is saved, and where a restored guest begins.
    Ready,
    /// From the order to the agent's report of the load, and to *armed*.
    Loading,
    /// From *armed* until the trigger is pulled.
    Armed,
    /// From the trigger to the first kernel's panic line. Out of an NMI a kernel may jump before that line leaves its buffer: then
    /// whatever comes next ends the phase.
    Panicking,
    /// From there to the capture kernel's first word: the first kernel stops its CPUs and devices and jumps, and the purgatory
    /// runs. Its last instructions cannot be told from the purgatory's first on the console.
    Purgatory,
    /// From there to the banner of the capture kernel proper.
    Decompression,
    /// From there to the capture agent's *up*.
    Capture,
    /// From the order to read to *done*.
    Reading,
    /// The vmcore is checked: nothing more is awaited but the power-off.
    Done,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Self; 11] = [
        Self::Firmware,
        Self::FirstKernel,
        Self::Ready,
        Self::Loading,
        Self::Armed,
        Self::Panicking,
        Self::Purgatory,
        Self::Decompression,
        Self::Capture,
        Self::Reading,
        Self::Done,
    ];

    /// The phase's name in result files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::FirstKernel => "first-kernel",
            Self::Ready => "ready",
            Self::Loading => "loading",
            Self::Armed => "armed",
            Self::Panicking => "panicking",
            Self::Purgatory => "purgatory",
            Self::Decompression => "decompression",
            Self::Capture => "capture",
            Self::Reading => "reading",
            Self::Done => "done",
        }
    }

    /// The phase in words that fit "during {phase}".
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::FirstKernel => "boot of the first kernel",
            Self::Ready => "wait for the order",
            Self::Loading => "load",
            Self::Armed => "trigger",
            Self::Panicking => "panic",
            Self::Purgatory => "jump and purgatory",
            Self::Decompression => "decompression of the capture kernel",
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
            Self::Ready => "the rig's order",
            Self::Loading => "`loaded` and `armed` of the first kernel's agent",
            Self::Armed => "QEMU's answer to the trigger",
            Self::Panicking => "the first kernel's panic line, or the capture kernel's first word",
            Self::Purgatory => "the capture kernel's first word on the console",
            Self::Decompression => "the capture kernel's banner",
            Self::Capture => "`up` of the capture kernel's agent",
            Self::Reading => "`vmcore` and `done` of the capture kernel's agent",
            Self::Done => "the capture kernel's power-off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a phase is named otherwise in `seconds` than in an outcome's `at`, or is missing from the list of all.
    #[test]
    fn names_are_those_of_the_result_files() {
        for phase in Phase::ALL {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
        assert!(Phase::ALL.is_sorted());
    }
}
