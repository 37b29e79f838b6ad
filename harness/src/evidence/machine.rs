//! The machine as the rig found it before it ended it, and what QEMU says of its CPUs: types only. All of it is evidence, saved
//! and judged again; what is new here has defaults, so that older evidence still loads.

use super::Timed;
use guest_protocol::{HexBytes, Side};
use serde::{Deserialize, Serialize};

/// What was collected of a machine before it was ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Examination {
    /// QEMU's run state, such as `running`, or `shutdown` for a machine that stopped where it was about to be reset.
    pub status: Option<String>,
    /// The CPUs, looked at twice, a second apart. Each in QEMU's order.
    pub looks: Vec<Timed<Vec<Cpu>>>,
    /// Where each CPU was at the last look, in the same order.
    pub ips: Vec<Ip>,
    /// What could not be had, and why.
    pub missing: Vec<String>,
}

/// A CPU's registers, as far as they tell what it was doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// RIP or EIP.
    pub ip: u64,
    /// RFL or EFL.
    pub flags: u64,
    /// HLT=1.
    pub halted: bool,
    /// RSP or ESP.
    pub sp: u64,
    /// CR0.
    pub cr0: u64,
    /// CR2: the address of the last page fault.
    pub cr2: u64,
    /// CR3: where the page tables lie.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
    /// CS.
    pub cs: Selector,
    /// IDT.
    pub idt: Table,
}

impl Cpu {
    /// IF, bit 9 of the flags register.
    const INTERRUPT_FLAG: u64 = 1 << 9;
    /// L, the bit of a code segment's descriptor that selects 64-bit code: bit 21 of its second word, as QEMU prints it.
    const LONG_CODE: u32 = 1 << 21;

    /// Whether interrupts can come in.
    pub const fn interrupts(&self) -> bool {
        self.flags & Self::INTERRUPT_FLAG != 0
    }

    /// The linear address of the instruction: the segment's base counts outside of 64-bit code.
    pub const fn address(&self) -> u64 {
        if self.cs.flags & Self::LONG_CODE != 0 {
            self.ip
        } else {
            self.cs.base.wrapping_add(self.ip) & 0xffff_ffff
        }
    }
}

/// A segment register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// What was loaded into it.
    pub selector: u16,
    /// Its base.
    pub base: u64,
    /// The descriptor's second word: type, L, D and so on.
    pub flags: u32,
}

/// A descriptor table's register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its address.
    pub base: u64,
    /// Its size in bytes, less one.
    pub limit: u32,
}

/// Where a CPU was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ip {
    /// Linear address of the instruction.
    pub address: u64,
    /// The bytes around it; none where they could not be read.
    pub code: Option<Code>,
    /// How the guest's own page tables translate it.
    pub walk: PageWalk,
    /// The function in which it lies, found in the kernel's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Symbol>,
}

/// Bytes of the guest's memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Linear address of the first.
    pub start: u64,
    /// The bytes.
    pub bytes: HexBytes,
}

/// A walk through page tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageWalk {
    /// The entries that were read, from the top.
    pub entries: Vec<PageEntry>,
    /// Where it led.
    pub end: Translation,
}

/// An entry of a page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageEntry {
    /// Its physical address.
    pub at: u64,
    /// What stands there.
    pub value: u64,
}

/// Where a linear address leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Translation {
    /// To this physical address.
    Mapped {
        /// The address.
        physical: u64,
        /// Whether by page tables; else paging is off, and the address is physical itself.
        paging: bool,
    },
    /// Nowhere: an entry is not present.
    NotPresent,
    /// An entry could not be read.
    #[default]
    Unread,
}

/// A place in a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symbol {
    /// The kernel whose code it is.
    pub kernel: Side,
    /// The function.
    pub name: String,
    /// Bytes behind its beginning.
    pub offset: u64,
    /// How far the kernel runs from where it was linked to: its KASLR offset.
    pub slide: u64,
}

/// What QEMU's own log says of the CPUs: of resets always, of exceptions where the run was traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuLog {
    /// A CPU faulted while it was to handle a double fault, which resets the machine.
    pub triple_fault: bool,
    /// The last exceptions of the CPUs themselves, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
}

impl CpuLog {
    /// Whether it says nothing.
    pub const fn is_empty(&self) -> bool {
        !self.triple_fault && self.exceptions.is_empty()
    }
}

/// An exception that a CPU raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Its vector: 6 is an invalid opcode, 8 a double fault, 13 a general protection fault, 14 a page fault.
    pub vector: u8,
    /// Its error code.
    pub error: u32,
    /// Linear address of the instruction.
    pub address: u64,
    /// What was accessed, by a page fault.
    pub access: Option<Access>,
}

/// The address that a page fault is about (CR2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access(pub u64);

/// How QEMU ended by itself or by somebody else's hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum QemuExit {
    /// A signal ended it.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// It exited.
    Status {
        /// Its status.
        status: i32,
        /// What it last wrote to standard error.
        said: String,
    },
}
