//! What the rig orders.

use crate::{Circumstances, HexBytes};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One line from the rig.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Order {
    /// To the first kernel's agent at *ready*: plant, load, report, arm.
    Load(LoadOrder),
    /// To the capture kernel's agent at *up*: look at /proc/vmcore.
    Read {
        /// What to read through it.
        reads: Vec<Read>,
        /// A program that reads it as well, after the agent did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reader: Option<ReaderOrder>,
    },
    /// To either: power the guest off.
    PowerOff,
    /// To the first kernel's agent when it is armed: panic the kernel from a CPU of its choice, by /proc/sysrq-trigger.
    Panic {
        /// The CPU's number.
        cpu: u32,
    },
}

const fn is_false(value: &bool) -> bool {
    !*value
}

/// What the first kernel's agent is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadOrder {
    /// The nonces, drawn by the rig, new for every cell.
    pub plants: Vec<Plant>,
    /// The line that goes into the first kernel's log before *armed*, drawn by the rig, new for every cell: 1 to
    /// [`crate::MAX_LOG_LINE`] printable characters of ASCII.
    pub log_line: String,
    /// The loader and its arguments; the first is the path of the program in the guest.
    pub argv: Vec<String>,
    /// How long the loader may run, in seconds of guest time.
    pub timeout_seconds: u32,
    /// What the agent does before it starts the loader.
    #[serde(default, skip_serializing_if = "Circumstances::is_none")]
    pub circumstances: Circumstances,
    /// Whether to arm after a load that left nothing loaded as well, so that what the panic then does can be seen.
    pub arm_unloaded: bool,
    /// Whether to let every function of the magic SysRq key happen, from keyboard and console as well (/proc/sys/kernel/sysrq).
    #[serde(default, skip_serializing_if = "is_false")]
    pub sysrq: bool,
}

/// An independent reader of /proc/vmcore to run in the capture kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderOrder {
    /// The program and its arguments; the first is its path in the guest.
    pub argv: Vec<String>,
    /// How long it may run, in seconds of guest time.
    pub timeout_seconds: u32,
}

/// A nonce to plant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plant {
    /// Names it in [`crate::Planted`].
    pub id: u32,
    /// The bytes: 1 to [`crate::MAX_NONCE_BYTES`].
    pub bytes: HexBytes,
    /// Where its page must lie.
    pub place: Place,
}

/// Where a planted page must lie. What cannot be satisfied is [`crate::Message::Trouble`], never another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// Wherever the kernel puts it.
    Anywhere,
    /// At 4 GiB or above.
    Above4G,
    /// Below 4 GiB.
    Below4G,
}

/// A read to do in the capture kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// Physical address of the first byte.
    pub address: u64,
    /// Number of bytes, at most [`crate::MAX_NONCE_BYTES`]; they must lie in one PT_LOAD.
    pub length: u32,
}
