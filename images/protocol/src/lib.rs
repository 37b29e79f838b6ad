//! Messages between the rig and the guest agent: the one definition that both sides compile, so that they cannot drift apart.
//!
//! Both directions are JSON objects, one a line, on the guest's second serial port (`/dev/ttyS1`). The agent wraps each
//! message in a [`Report`] which numbers it; the rig sends [`Order`]s. The order of a cell:
//!
//! ```text
//! first kernel    agent: Ready  ->  rig: Order::Load  ->  agent: Loaded  ->  agent: Armed  ->  rig triggers the panic
//! capture kernel  agent: Up     ->  rig: Order::Read  ->  agent: Vmcore  ->  agent: Told  ->  agent: Done, then power-off
//! ```
//!
//! Where the order to read names a reader and there is a vmcore, the agent reports [`Message::Reader`] before *done*.
//!
//! An agent ignores lines that do not begin like a JSON object, and answers every other that is no order with
//! [`Message::Trouble`]. The capture kernel's agent begins with an empty line, which ends a line that the first kernel may
//! have left half written.
//!
//! The first kernel's agent draws nothing and knows nothing in advance: the nonces, in memory and in the log, come with the
//! order. The capture kernel's agent is told addresses only, and reports the bytes that it finds there, and what the first
//! kernel's log says; the rig compares.
#![no_std]
extern crate alloc;

mod circumstances;
mod hex;
mod kernel;
mod load;
mod order;
mod told;
mod vmcore;

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

pub use circumstances::Circumstances;
pub use hex::HexBytes;
pub use kernel::{CpuIdentity, KernelFacts};
pub use load::{ExitKind, LoadReport, Planted, ReaderReport, RunTime};
pub use order::{LoadOrder, Order, Place, Plant, Read, ReaderOrder};
pub use told::{Efi, SetupData, Told};
pub use vmcore::{FirstLog, Found, LoadHeader, Mapping, ReadResult, Vmcore, VmcoreReport};

/// Kernel command line parameter that tells the agent which side it is on: `kdump_rig=first` or `kdump_rig=capture`.
pub const SIDE_PARAMETER: &str = "kdump_rig";

/// Device of the message channel inside the guest. The console is the other port, `/dev/ttyS0`.
pub const CHANNEL_DEVICE: &str = "/dev/ttyS1";

/// Longest line that either side accepts, in bytes, newline included. A longer one is garbage, not a message.
pub const MAX_LINE: usize = 1 << 20;

/// Largest [`Plant::bytes`] that the agent takes: one page, so that a nonce never straddles two physical pages.
pub const MAX_NONCE_BYTES: usize = 4096;

/// Longest [`LoadOrder::log_line`], in bytes: the kernel takes it as one record (`LOG_LINE_MAX`, 992, kernel/printk/printk.c
/// of 5.10), and it stays one line of the console.
pub const MAX_LOG_LINE: usize = 200;

/// Most of the first kernel's log that is reported, in bytes before JSON's escapes; its end. A panic with its trace takes 4 KiB.
pub const MAX_LOG_TAIL: usize = 32 * 1024;

/// Architecture of a program or of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 32-bit x86, whatever the kernel's flavour (PAE or not).
    I386,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// The name used everywhere: in scenarios, cell ids and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::I386 => "i386",
            Self::X86_64 => "x86_64",
        }
    }
}

impl core::fmt::Display for Arch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// The kernel in which a message was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The kernel that panics.
    First,
    /// The kernel that kexec starts.
    Capture,
}

impl Side {
    /// The value of [`SIDE_PARAMETER`] that selects this side.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Capture => "capture",
        }
    }
}

/// An inclusive range of physical addresses, as /proc/iomem prints them. One that is read has its end where it should: a guest
/// may say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bounds")]
pub struct PhysRange {
    /// First byte.
    pub start: u64,
    /// Last byte (inclusive).
    pub end: u64,
}

/// A range as it is written.
#[derive(Deserialize)]
struct Bounds {
    start: u64,
    end: u64,
}

impl TryFrom<Bounds> for PhysRange {
    type Error = &'static str;

    fn try_from(Bounds { start, end }: Bounds) -> Result<Self, Self::Error> {
        if start <= end { Ok(Self { start, end }) } else { Err("a range of addresses ends before it begins") }
    }
}

impl core::fmt::Display for PhysRange {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}-{:#x}", self.start, self.end)
    }
}

/// One line from the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Number of the message on this side, from 0 without gaps: a lost line shows.
    pub seq: u32,
    /// The kernel in which it was written.
    pub kernel: Side,
    /// What is said.
    pub message: Message,
}

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Message {
    /// The first kernel's userspace is up, and nothing is loaded or planted.
    Ready(KernelFacts),
    /// The loader ran; what became of it.
    Loaded(LoadReport),
    /// The nonces are in place and their addresses were read back: the panic may be triggered now.
    Armed {
        /// Where the planted nonces are.
        planted: Vec<Planted>,
    },
    /// The capture kernel's userspace is up.
    Up(KernelFacts),
    /// What /proc/vmcore holds.
    Vmcore(VmcoreReport),
    /// What the capture kernel was told of its machine.
    Told(Told),
    /// The reader that was ordered ran on /proc/vmcore; what became of it.
    Reader(ReaderReport),
    /// Everything is said; the guest powers off next.
    Done,
    /// The kernel was built without something that the rig needs of it. Never a statement on the loader.
    Lacks {
        /// The option by its name, such as `CONFIG_KEXEC`; or those of which one is missing.
        option: String,
        /// What shows it.
        seen: String,
    },
    /// The agent itself could not do its work. Never a statement on the loader.
    Trouble {
        /// What was tried, on what, and what was found.
        what: String,
    },
}

#[cfg(test)]
mod tests;
