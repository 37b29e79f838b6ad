//! What became of a cell, what was expected of it, and the verdict: types only. Classification and judgement stand beside.

use crate::phase::Phase;
use guest_protocol::Told;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// What became of a cell, derived from its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// The capture kernel's userspace came up.
    Captured {
        /// What /proc/vmcore was worth.
        vmcore: VmcoreState,
        /// What the capture kernel was told of its machine, where its agent says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told: Option<Told>,
        /// What the loader said on standard error, where the cell asks for something in it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<String>,
    },
    /// The load was refused and nothing is loaded.
    Refused {
        /// Who refused.
        by: Refuser,
        /// The refusal's text.
        message: String,
    },
    /// The loader failed in a way that is no refusal.
    LoadFailed {
        /// In which way.
        how: LoadFailure,
        /// The loader's standard error.
        stderr: String,
    },
    /// The guest does nothing any more.
    Hung {
        /// The phase in which it stopped.
        at: Phase,
        /// What shows it.
        proof: HangProof,
        /// Why, as far as the evidence tells.
        cause: HangCause,
    },
    /// The capture kernel panicked.
    CapturePanicked {
        /// Its panic line.
        line: String,
    },
    /// The purgatory found the loaded image changed and stopped.
    StoppedByPurgatory {
        /// What it said.
        line: String,
        /// The segment that it names.
        #[serde(default)]
        segment: Option<String>,
        /// How it left the machine; none in reports from before that was looked at.
        #[serde(default)]
        end: Option<PurgatoryEnd>,
    },
    /// The machine was reset (triple fault, reboot) after the trigger.
    Reset {
        /// The phase in which it happened.
        at: Phase,
        /// QEMU's reason for the reset.
        reason: String,
    },
    /// The trigger did not make the first kernel panic.
    NotPanicked {
        /// What was seen in its place.
        seen: String,
    },
    /// The first kernel did not reserve the region that the cell asks for.
    Unreserved {
        /// What was asked and what was found.
        why: String,
    },
    /// The first kernel never got to *ready*.
    NoFirstKernel {
        /// The phase in which it stopped.
        at: Phase,
        /// What was seen.
        why: String,
    },
    /// The rig, QEMU or the host failed: no statement on loader or kernels.
    RigError {
        /// What was tried and what was found.
        what: String,
    },
}

impl Outcome {
    /// A capture kernel whose agent says nothing of what it was told, and a loader of which nothing is asked.
    pub const fn captured(vmcore: VmcoreState) -> Self {
        Self::Captured { vmcore, told: None, said: None }
    }

    /// The outcome's name, as in `results.jsonl` and in expectations.
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Captured { .. } => OutcomeKind::Captured,
            Self::Refused { .. } => OutcomeKind::Refused,
            Self::LoadFailed { .. } => OutcomeKind::LoadFailed,
            Self::Hung { .. } => OutcomeKind::Hung,
            Self::CapturePanicked { .. } => OutcomeKind::CapturePanicked,
            Self::StoppedByPurgatory { .. } => OutcomeKind::StoppedByPurgatory,
            Self::Reset { .. } => OutcomeKind::Reset,
            Self::NotPanicked { .. } => OutcomeKind::NotPanicked,
            Self::Unreserved { .. } => OutcomeKind::Unreserved,
            Self::NoFirstKernel { .. } => OutcomeKind::NoFirstKernel,
            Self::RigError { .. } => OutcomeKind::RigError,
        }
    }
}

/// An outcome without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is described at the variant of `Outcome` with its name")]
pub enum OutcomeKind {
    Captured,
    Refused,
    LoadFailed,
    Hung,
    CapturePanicked,
    StoppedByPurgatory,
    Reset,
    NotPanicked,
    Unreserved,
    NoFirstKernel,
    RigError,
}

impl OutcomeKind {
    /// Its name, as in `results.jsonl`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Refused => "refused",
            Self::LoadFailed => "load-failed",
            Self::Hung => "hung",
            Self::CapturePanicked => "capture-panicked",
            Self::StoppedByPurgatory => "stopped-by-purgatory",
            Self::Reset => "reset",
            Self::NotPanicked => "not-panicked",
            Self::Unreserved => "unreserved",
            Self::NoFirstKernel => "no-first-kernel",
            Self::RigError => "rig-error",
        }
    }
}

/// What /proc/vmcore was worth in a capture kernel that came up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum VmcoreState {
    /// Every nonce was read back, the notes are complete, and VMCOREINFO names the first kernel.
    Verified,
    /// It is there, and something in it is wrong.
    Wrong {
        /// What was expected and what was found.
        why: String,
    },
    /// There is none, because the capture kernel did not accept the core headers that it found.
    Absent {
        /// What it says about them on its console.
        why: String,
    },
}

/// Who refused a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "who", rename_all = "kebab-case")]
pub enum Refuser {
    /// The loader, before it asked the kernel.
    Loader,
    /// The kernel's kexec_load, with this errno.
    Kernel {
        /// errno.
        errno: i32,
    },
}

/// How a load failed that is no refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum LoadFailure {
    /// A signal killed the loader.
    Killed {
        /// Signal number.
        signal: u8,
    },
    /// It ended with a status that is neither success nor a refusal, or with status 1 and no word.
    Status {
        /// The status.
        status: u8,
    },
    /// Status 0, and the kernel says that nothing is loaded.
    NothingLoaded,
    /// It claims a failure, yet the kernel says that something is loaded.
    LoadedAnyway {
        /// The status.
        status: u8,
    },
    /// It did not end in its time.
    TimedOut,
    /// It could not be started.
    NotStarted {
        /// errno of execve.
        errno: i32,
    },
}

/// How a purgatory that does not start the capture kernel left the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum PurgatoryEnd {
    /// Every CPU is halted with interrupts off, one of them inside of the purgatory.
    Halted {
        /// Its instruction pointer.
        ip: u64,
    },
    /// A CPU goes round inside of the purgatory, and nothing more is said.
    Loops {
        /// Its instruction pointer.
        ip: u64,
    },
    /// The machine was reset behind what it said.
    Reset {
        /// QEMU's reason for the reset.
        reason: String,
    },
}

/// What shows a hang, strongest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "kebab-case")]
pub enum HangProof {
    /// Every CPU is halted with interrupts off, in two samples with the same instruction pointers.
    AllHaltedIrqsOff {
        /// Instruction pointer of the CPU that ran last (CPU 0 where several are alike).
        ip: u64,
    },
    /// The first kernel printed its "end Kernel panic" line, or panicked a second time inside of its panic path, and printed
    /// nothing after it.
    EndOfPanic {
        /// The line.
        line: String,
    },
    /// Nothing was seen until the phase's deadline. The weakest proof.
    Silence {
        /// Seconds of the deadline.
        seconds: u32,
    },
}

/// Why a guest hangs, as far as the evidence tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HangCause {
    /// The capture kernel's decompressor refused its place: "Destination address too large".
    DestinationTooLarge,
    /// The first kernel faulted in its own panic path: its control page is outside of its direct map.
    FaultInPanicPath,
    /// The first kernel panicked and nothing took over: no crash image was there, or it did not jump.
    NothingTookOver,
    /// None of the known causes.
    Unknown,
}

/// What must come of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Expectation {
    /// The capture kernel comes up.
    Captured {
        /// With this vmcore.
        vmcore: ExpectedVmcore,
        /// And having been told this.
        #[serde(default, skip_serializing_if = "ExpectedTold::is_nothing")]
        told: ExpectedTold,
        /// And every one of these stands in what the loader said on standard error.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        message: Vec<String>,
    },
    /// The load is refused.
    Refused {
        /// By whom.
        by: ExpectedRefuser,
        /// Every one of these stands in the message (a refusal for another reason is no pass).
        message: Vec<String>,
    },
    /// The guest hangs for this cause. A proof by silence alone does not meet it.
    Hung {
        /// The cause.
        cause: HangCause,
    },
    /// The purgatory finds the loaded image changed, says so, and does not start the capture kernel.
    StoppedByPurgatory {
        /// The segment that it names; none where any will do.
        segment: Option<String>,
        /// Every one of these stands in what it says.
        message: Vec<String>,
        /// How it leaves the machine.
        end: ExpectedPurgatoryEnd,
    },
    /// The first kernel gives no such region.
    Unreserved,
    /// Something that speaks of the loader, whatever it says: for loaders that are not judged but compared. A trial that says
    /// nothing on it is no observation.
    Observed,
}

impl Expectation {
    /// A capture kernel with this vmcore, whatever it was told.
    pub fn captured(vmcore: ExpectedVmcore) -> Self {
        Self::Captured { vmcore, told: ExpectedTold::default(), message: Vec::new() }
    }

    /// Whether it asks what the capture kernel was told of its machine.
    pub const fn asks_what_was_told(&self) -> bool {
        matches!(self, Self::Captured { told, .. } if !told.is_nothing())
    }

    /// Whether it asks what the loader of an image that was captured said.
    pub const fn asks_what_was_said(&self) -> bool {
        matches!(self, Self::Captured { message, .. } if !message.is_empty())
    }
}

/// What a capture kernel must have been told of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ExpectedTold {
    /// There is setup_data of each of these kinds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub setup_data: Vec<SetupDataKind>,
    /// What it has of ACPI; none: whatever it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acpi: Option<AcpiWord>,
    /// What it has of UEFI, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub efi: Option<EfiWord>,
    /// Its memory map has at least so many entries, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_map: Option<NonZeroU32>,
}

impl ExpectedTold {
    /// Whether anything will do.
    pub const fn is_nothing(&self) -> bool {
        self.setup_data.is_empty() && self.acpi.is_none() && self.efi.is_none() && self.memory_map.is_none()
    }
}

/// Kinds of setup_data that a loader hands on (arch/x86/include/uapi/asm/setup_data.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetupDataKind {
    /// The entries of the memory map that do not fit into boot_params.
    E820Ext,
    /// UEFI's tables.
    Efi,
    /// A seed for the random number generator.
    RngSeed,
}

impl SetupDataKind {
    /// The blob's type.
    pub const fn number(self) -> u32 {
        match self {
            Self::E820Ext => 1,
            Self::Efi => 4,
            Self::RngSeed => 9,
        }
    }

    /// The name in scenarios.
    pub const fn name(self) -> &'static str {
        match self {
            Self::E820Ext => "e820-ext",
            Self::Efi => "efi",
            Self::RngSeed => "rng-seed",
        }
    }
}

/// What a capture kernel has of ACPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcpiWord {
    /// Its tables, however it found them.
    Found,
    /// Its tables, and their root's address in its boot_params.
    HandedOn,
    /// No tables.
    None,
}

/// What a capture kernel has of UEFI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EfiWord {
    /// The map of its runtime services.
    Runtime,
    /// Nothing.
    None,
}

/// The vmcore that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedVmcore {
    /// Readable and right.
    Verified,
    /// None.
    Absent,
    /// Anything, none included: where the rig damages what leads to it, and the kernel must come up all the same.
    Any,
    /// One with a known fault, such as a released loader's.
    Wrong {
        /// Every one of these stands in what is said to be wrong with it. At least one, or any fault would do.
        why: Vec<String>,
    },
}

/// How a purgatory is expected to leave the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedPurgatoryEnd {
    /// Standing still, halted or going round.
    #[default]
    Stopped,
    /// Reset.
    Reset,
}

/// The refuser that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedRefuser {
    /// The loader.
    Loader,
    /// The kernel, with any errno.
    Kernel,
}

/// What a cell's outcome means beside its expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As expected.
    Pass,
    /// Not as expected, and the outcome says something about loader or kernels.
    Fail,
    /// As expected, but not at the first attempt.
    Flaky,
    /// Not run.
    Skipped,
    /// No statement on the loader could be had.
    Error,
}
