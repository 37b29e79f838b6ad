//! What triage finds, and the one sentence that says it.

use super::place::Place;
use crate::judge::signal_words;
use crate::quote::quote;
use guest_protocol::Side;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The most low memory that an i386 kernel has with the usual split, 896 MiB (arch/x86/include/asm/pgtable_32_types.h: MAXMEM; less
/// what its fixed mappings take of it).
const MAX_LOW_MEMORY: u64 = 896 << 20;

/// Why a cell is not as expected, as far as its evidence tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Triage {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// It in one sentence, for one line.
    pub sentence: String,
}

impl From<Finding> for Triage {
    fn from(finding: Finding) -> Self {
        // What is quoted may have several lines.
        let sentence = finding.to_string().split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
        Self { finding, sentence }
    }
}

/// What is found of a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Finding {
    /// A signal that the rig did not send ended QEMU.
    QemuKilled {
        /// The signal.
        signal: i32,
        /// What the guest was doing, as in "during the {during}".
        during: String,
    },
    /// QEMU ended by itself.
    QemuEnded {
        /// Its status.
        status: i32,
        /// Its last word.
        said: String,
        /// What the guest was doing.
        during: String,
    },
    /// The rig or the host failed in another way.
    RigTrouble {
        /// What was tried and what was found.
        what: String,
    },
    /// A kernel panicked, and nothing was to take over.
    Panicked {
        /// Which kernel.
        kernel: Side,
        /// Why, in the kernel's words.
        reason: String,
        /// What that means for a capture kernel or a first one, where that is known.
        meaning: Option<String>,
    },
    /// The first kernel faulted on its way to the capture kernel.
    FaultInMachineKexec {
        /// The function that faulted, as the kernel named it.
        function: String,
        /// Where its control page lies, by the loader's plan.
        control_page: Option<u64>,
        /// Where its low memory ends, as it said.
        #[serde(default)]
        low_memory_end: Option<u64>,
    },
    /// The first kernel's panic ran to its end.
    NothingTookOver {
        /// Its last word.
        line: String,
    },
    /// The capture kernel's decompressor gave up.
    DecompressorStopped {
        /// What it said.
        message: String,
        /// Whether its CPU was seen halted with interrupts off.
        halted: bool,
    },
    /// A triple fault reset the machine.
    TripleFault {
        /// Where the CPU was; none where that could not be seen.
        place: Option<Place>,
        /// Whether its page tables led out of memory: something had overwritten them.
        lost_tables: bool,
        /// The first of the exceptions that led to it, where they were traced.
        exception: Option<String>,
    },
    /// A kernel, or the firmware, reset the machine.
    Rebooted {
        /// What tells it.
        reason: String,
        /// Where the CPU was; none where nobody looked, and then nobody saw whether a fault did it.
        place: Option<Place>,
        /// The last line since the trigger; empty where there was none.
        line: String,
    },
    /// The purgatory found the image changed.
    PurgatoryStopped {
        /// What it said.
        line: String,
    },
    /// A kernel, or what runs before it, goes no further.
    Stuck {
        /// What does not go on, such as `first kernel`.
        who: String,
        /// What its CPU was doing, such as `loops with interrupts on`.
        doing: String,
        /// Where.
        place: Place,
        /// Where in its life, such as `before userspace`.
        when: String,
        /// The last line of its console.
        last_line: Option<String>,
    },
    /// The loader did not end.
    LoaderLooped {
        /// After so many milliseconds the agent killed it.
        milliseconds: u64,
        /// Its last word.
        last_line: Option<String>,
    },
    /// The loader ended in another way than it should.
    LoaderFailed {
        /// What became of the load, in words.
        what: String,
    },
    /// The loader, or the kernel, refused a load that was to succeed, or refused it with other words.
    Refused {
        /// What became of the load, in words.
        what: String,
    },
    /// The first kernel did not reserve the region that was asked for.
    Unreserved {
        /// What was asked and what was found.
        why: String,
    },
    /// The trigger made no panic.
    NotPanicked {
        /// What was seen: a line of its console in quotes, or the rig's own words.
        seen: String,
    },
    /// The capture kernel came up, and something else was expected of it or of its vmcore.
    CameUp {
        /// What is wrong with it, or what was expected.
        why: String,
    },
    /// Nothing is known but this.
    Unknown {
        /// What was awaited, and for how long, or what was seen in its place.
        awaited: String,
        /// The last phase reached, in words.
        phase: String,
        /// The last line of the console.
        last_line: Option<String>,
    },
}

/// `; last line: '…'`, or nothing.
fn last(line: Option<&String>) -> String {
    line.map_or_else(String::new, |line| format!("; last line: '{}'", quote(line)))
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QemuKilled { signal, during } => {
                let name = u8::try_from(*signal).map_or_else(|_| format!("signal {signal}"), signal_words);
                write!(f, "QEMU was killed by {name} during {during}")
            }
            Self::QemuEnded { status, said, during } if said.is_empty() => {
                write!(f, "QEMU ended with status {status} during {during}, without a word")
            }
            Self::QemuEnded { status, said, during } => {
                write!(f, "QEMU ended with status {status} during {during}: '{}'", quote(said))
            }
            Self::RigTrouble { what } => f.write_str(what),
            Self::Panicked { kernel, reason, meaning } => {
                let when = if *kernel == Side::First { " before the trigger" } else { "" };
                write!(f, "{} panicked{when}: ", kernel_words(*kernel))?;
                match meaning {
                    Some(meaning) => write!(f, "{meaning} ('{}')", quote(reason)),
                    None => write!(f, "'{}'", quote(reason)),
                }
            }
            Self::FaultInMachineKexec { function, control_page, low_memory_end } => {
                write!(f, "first kernel faulted inside {function}")?;
                match control_page {
                    Some(page) if *page >= low_memory_end.unwrap_or(MAX_LOW_MEMORY) => {
                        write!(f, ": the control page at {page:#x} is not in low memory")
                    }
                    Some(page) => write!(f, ", with the control page at {page:#x}"),
                    None => f.write_str(", which cannot reach a control page outside of low memory"),
                }
            }
            Self::NothingTookOver { line } => {
                write!(
                    f,
                    "first kernel panicked and did not jump to a crash image; last line: '{}'",
                    quote(line)
                )
            }
            Self::DecompressorStopped { message, halted: true } => {
                write!(
                    f,
                    "capture kernel halted in its decompressor with interrupts off: '{}'",
                    quote(message)
                )
            }
            Self::DecompressorStopped { message, halted: false } => {
                write!(f, "capture kernel stopped in its decompressor: '{}'", quote(message))
            }
            Self::TripleFault { place, lost_tables, exception } => {
                match place {
                    Some(Place::Unmapped { address }) => {
                        write!(f, "triple fault: a jump to {address:#x}, where nothing is mapped")?;
                    }
                    Some(place) => write!(f, "triple fault in {}", with_kernel(place))?,
                    None => f.write_str("triple fault at a place that could not be seen")?,
                }
                if *lost_tables {
                    f.write_str(", with its page tables overwritten")?;
                }
                exception.as_ref().map_or(Ok(()), |exception| write!(f, "; it began with {exception}"))
            }
            Self::Rebooted { reason, place, line } => {
                f.write_str(reason)?;
                // The CPU goes on for a few instructions behind the one that asked for the reset, and the asking may be another's.
                match place {
                    Some(place) => write!(f, ", with its CPU in {}", with_kernel(place))?,
                    None => f.write_str("; whether by a fault was not seen")?,
                }
                match line.as_str() {
                    "" => f.write_str("; its console said nothing more"),
                    line => write!(f, "; last line: '{}'", quote(line)),
                }
            }
            Self::PurgatoryStopped { line } => {
                write!(
                    f,
                    "purgatory stopped: by its digest, what lies in the crash region is not what was loaded ('{}')",
                    quote(line)
                )
            }
            Self::Stuck { who, doing, place, when, last_line } => {
                write!(f, "{who} {doing} in {}{when}{}", place.in_words(), last(last_line.as_ref()))
            }
            Self::LoaderLooped { milliseconds, last_line } => {
                write!(f, "loader looped: killed by the agent after {} s", milliseconds / 1000)?;
                f.write_str(&last(last_line.as_ref()))
            }
            Self::LoaderFailed { what } | Self::Refused { what } => f.write_str(what),
            Self::Unreserved { why } => write!(f, "first kernel reserved no such region: {why}"),
            Self::NotPanicked { seen } => {
                write!(f, "first kernel did not panic at the trigger: {seen}")
            }
            Self::CameUp { why } => write!(f, "capture kernel came up; {why}"),
            Self::Unknown { awaited, phase, last_line } => {
                write!(f, "{awaited}; last phase reached: {phase}{}", last(last_line.as_ref()))
            }
        }
    }
}

/// A place with the kernel that it belongs to.
fn with_kernel(place: &Place) -> String {
    match place {
        Place::Function { kernel, .. } | Place::Kernel { kernel, .. } => {
            format!("{} of the {}", place.in_words(), kernel_words(*kernel))
        }
        Place::Decompressor { address } => format!("the capture kernel's decompressor at {address:#x}"),
        _ => place.in_words(),
    }
}

pub(super) const fn kernel_words(kernel: Side) -> &'static str {
    match kernel {
        Side::First => "first kernel",
        Side::Capture => "capture kernel",
    }
}
