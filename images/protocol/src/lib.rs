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
mod told;

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

pub use circumstances::Circumstances;
pub use hex::HexBytes;
pub use told::{Efi, SetupData, Told};

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

/// What a kernel says about itself at [`Message::Ready`] and [`Message::Up`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// `uname -m`, with the personality reset: the running kernel's own machine.
    pub machine: String,
    /// Architecture that the agent was built for.
    pub userspace: Arch,
    /// /proc/cmdline without its newline.
    pub cmdline: String,
    /// CPUs that are online.
    pub cpus: u32,
    /// `Crash kernel` lines of /proc/iomem, in its order. Empty: the kernel reserved nothing.
    pub crash_regions: Vec<PhysRange>,
    /// `System RAM` lines of /proc/iomem, in its order.
    pub system_ram: Vec<PhysRange>,
    /// Whether it translates by five levels of page tables; none where it does not say, as agents of before did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub five_levels: Option<bool>,
    /// What the first CPU says it is; none in what agents said that did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuIdentity>,
    /// RAM that the firmware's map has in all, in bytes (`System RAM` in /sys/firmware/memmap, which is e820 as it was handed over); none
    /// where the kernel shows no such map, as after a kexec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware_ram: Option<u64>,
    /// The `Kernel code` line of /proc/iomem.
    pub kernel_code: Option<PhysRange>,
    /// /sys/kernel/kexec_crash_loaded; absent where the kernel has no such file.
    pub crash_loaded: Option<bool>,
}

/// What a CPU is, as CPUID tells it and /proc/cpuinfo prints it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuIdentity {
    /// `vendor_id`, such as `AuthenticAMD`.
    pub vendor: String,
    /// `cpu family`, the extended one included.
    pub family: u32,
    /// `model`, the extended one included.
    pub model: u32,
    /// `stepping`.
    pub stepping: u32,
}

impl core::fmt::Display for CpuIdentity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{} family {:#x} model {:#x} stepping {}",
            self.vendor, self.family, self.model, self.stepping
        )
    }
}

/// What became of the loader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// How the loader ended.
    pub exit: ExitKind,
    /// All that it wrote to standard output; of more than 64 KiB the first and the last 32, with a line that says so.
    pub stdout: String,
    /// All that it wrote to standard error, bounded likewise.
    pub stderr: String,
    /// /sys/kernel/kexec_crash_loaded after the loader ended.
    pub crash_loaded: bool,
    /// Whether an image was loaded before this run, by an earlier run that the circumstances ask for; none where they ask for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_before: Option<bool>,
    /// Wall-clock time of the loader's run, in milliseconds of guest time.
    pub milliseconds: u64,
    /// The same in detail; none in reports of agents that did not measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<RunTime>,
}

/// The time that a program took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunTime {
    /// From just before it was forked off until its end was seen, in nanoseconds of the guest's monotonic clock.
    pub wall_ns: u64,
    /// CPU time in its own code, in microseconds, as the kernel accounts it (getrusage(2)).
    pub user_us: u64,
    /// CPU time in the kernel for it, likewise.
    pub system_us: u64,
}

/// What became of an independent reader of /proc/vmcore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderReport {
    /// How it ended.
    pub exit: ExitKind,
    /// What it wrote to standard output, bounded as [`LoadReport::stdout`].
    pub stdout: String,
    /// What it wrote to standard error, bounded likewise.
    pub stderr: String,
    /// Wall-clock time of its run, in milliseconds of guest time.
    pub milliseconds: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum ExitKind {
    /// It exited with a status.
    Exited {
        /// 0 to 255.
        status: u8,
    },
    /// A signal killed it.
    Signaled {
        /// Signal number.
        signal: u8,
    },
    /// It could not be started.
    NotStarted {
        /// errno of execve.
        errno: i32,
    },
    /// It did not end within its time (`timeout_seconds` of the order) and was killed by the agent.
    TimedOut,
}

/// A nonce in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Planted {
    /// [`Plant::id`] of the order.
    pub id: u32,
    /// Physical address of its first byte, read back just before this message.
    pub address: u64,
}

/// What the capture kernel's agent found in /proc/vmcore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum VmcoreReport {
    /// There is no /proc/vmcore.
    Absent,
    /// There is one.
    Present(Vmcore),
    /// There is a file, but it cannot be read as an ELF core.
    Unreadable {
        /// What was read and what was wrong with it.
        why: String,
    },
}

/// The parts of /proc/vmcore that the rig judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vmcore {
    /// EI_CLASS: 32 or 64.
    pub class_bits: u8,
    /// e_machine: 62 is x86_64, 3 is i386.
    pub machine: u16,
    /// Size of the file in bytes.
    pub size: u64,
    /// Number of NT_PRSTATUS notes with the name CORE.
    pub prstatus: u32,
    /// `OSRELEASE=` of VMCOREINFO.
    pub osrelease: Option<String>,
    /// `CRASHTIME=` of VMCOREINFO, seconds since the epoch.
    pub crashtime: Option<u64>,
    /// All PT_LOAD headers.
    pub loads: Vec<LoadHeader>,
    /// What was read at each address of the order, in its order.
    pub reads: Vec<ReadResult>,
    /// For each of [`Vmcore::loads`], where the first kernel's own page tables lead from its virtual addresses; or why they
    /// could not be walked.
    pub mappings: Result<Vec<Mapping>, String>,
    /// The release string of `init_uts_ns`, read by its virtual address through p_vaddr; or why it could not be read.
    pub uts_release: Result<String, String>,
    /// The first kernel's log, read by virtual addresses likewise; or why it could not be read.
    pub log: Result<FirstLog, String>,
}

/// Where the first kernel's page tables lead from the virtual addresses of a PT_LOAD. None: nothing is mapped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Physical address that its first byte (p_vaddr) is mapped to.
    pub first: Option<u64>,
    /// Physical address that its last byte (p_vaddr + p_memsz - 1) is mapped to.
    pub last: Option<u64>,
}

/// The first kernel's log, out of its printk ring buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstLog {
    /// Records that the buffer holds.
    pub records: u64,
    /// The text of the last ones, a line each, at most [`MAX_LOG_TAIL`] bytes; invalid UTF-8 replaced.
    pub tail: String,
}

/// A PT_LOAD header of /proc/vmcore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadHeader {
    /// p_paddr.
    pub physical: u64,
    /// p_vaddr.
    pub virtual_: u64,
    /// p_memsz, in bytes.
    pub size: u64,
    /// p_offset.
    pub offset: u64,
}

/// The outcome of one read through the vmcore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadResult {
    /// Physical address, as ordered.
    pub address: u64,
    /// The bytes, or why there are none.
    pub found: Found,
}

/// What a read through the vmcore gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The bytes at the address.
    Bytes(HexBytes),
    /// No PT_LOAD covers the address.
    NotCovered,
    /// The read failed with this errno; ENODATA (61) where the file ended first.
    Failed(i32),
}

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
    /// [`MAX_LOG_LINE`] printable characters of ASCII.
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
    /// Names it in [`Planted`].
    pub id: u32,
    /// The bytes: 1 to [`MAX_NONCE_BYTES`].
    pub bytes: HexBytes,
    /// Where its page must lie.
    pub place: Place,
}

/// Where a planted page must lie. What cannot be satisfied is [`Message::Trouble`], never another place.
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
    /// Number of bytes, at most [`MAX_NONCE_BYTES`]; they must lie in one PT_LOAD.
    pub length: u32,
}

#[cfg(test)]
mod tests;
