//! Where a CPU was and what it was doing there, in words: the loader's segments, the kernels' functions, the firmware.

use super::segments::SegmentMap;
use crate::evidence::{Cpu, Evidence, Ip, Translation};
use guest_protocol::{KernelFacts, Message, PhysRange, Side};
use serde::{Deserialize, Serialize};

/// Where an instruction lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum Place {
    /// A function of a kernel.
    Function {
        /// Which kernel.
        kernel: Side,
        /// The function.
        name: String,
        /// Bytes behind its beginning.
        offset: u64,
    },
    /// A kernel, at its own virtual addresses; the function is not known.
    Kernel {
        /// Which kernel.
        kernel: Side,
        /// The virtual address.
        address: u64,
    },
    /// A program.
    Userspace {
        /// Its virtual address.
        address: u64,
    },
    /// The capture kernel's image before that kernel has its own page tables: its decompressor, or the first instructions.
    Decompressor {
        /// The physical address.
        address: u64,
    },
    /// Another segment of the crash image.
    Segment {
        /// The loader's name for it.
        name: String,
        /// Bytes behind its beginning.
        offset: u64,
    },
    /// The page that the first kernel leaves by.
    ControlPage {
        /// The physical address.
        address: u64,
    },
    /// The crash region, outside of all that is known to lie there.
    CrashRegion {
        /// The physical address.
        address: u64,
    },
    /// The firmware.
    Firmware {
        /// The physical address.
        address: u64,
    },
    /// No memory: the page tables lead nowhere.
    Unmapped {
        /// The linear address.
        address: u64,
    },
    /// RAM of the first kernel, by its physical address: no code of what was loaded lies there.
    FirstRam {
        /// The physical address.
        address: u64,
    },
    /// Anywhere else.
    Elsewhere {
        /// The linear address.
        address: u64,
    },
}

/// The firmware's code: the last megabyte below 1 MiB, and the ROM below 4 GiB (QEMU maps 256 KiB to 8 MiB there).
const FIRMWARE: [PhysRange; 2] =
    [PhysRange { start: 0xc_0000, end: 0xf_ffff }, PhysRange { start: 0xff80_0000, end: 0xffff_ffff }];
/// Where kernels run at their own addresses: i386 from PAGE_OFFSET on, x86_64 in the upper half.
const KERNEL_32: u64 = 0xc000_0000;
const KERNEL_64: u64 = 0xffff_8000_0000_0000;

impl Place {
    /// In words that follow "in" or stand for themselves, such as `native_halt+0x4` or `the purgatory at +0x30`.
    pub fn in_words(&self) -> String {
        match self {
            Self::Function { name, offset, .. } => format!("{name}+{offset:#x}"),
            Self::Kernel { address, .. } => format!("a function at {address:#x}"),
            Self::Userspace { address } => format!("a program at {address:#x}"),
            Self::Decompressor { address } => format!("its decompressor at {address:#x}"),
            Self::Segment { name, offset } => match name.as_str() {
                "purgatory" => format!("the purgatory at +{offset:#x}"),
                _ => format!("the segment {name}, which is no code, at +{offset:#x}"),
            },
            Self::ControlPage { address } => format!("the first kernel's control page at {address:#x}"),
            Self::CrashRegion { address } => format!("the crash region at {address:#x}"),
            Self::Firmware { address } => format!("the firmware at {address:#x}"),
            Self::Unmapped { address } => format!("no memory at all: nothing is mapped at {address:#x}"),
            Self::FirstRam { address } => format!("the first kernel's memory at {address:#x}"),
            Self::Elsewhere { address } => format!("unknown memory at {address:#x}"),
        }
    }
}

/// A CPU at the last look: where it was, and what it was doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sighted {
    pub(super) place: Place,
    /// Whether the page tables are none any more.
    pub(super) lost_tables: bool,
    pub(super) doing: Doing,
}

/// What a CPU was doing, by two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Halted for good, but for an NMI.
    HaltedIrqsOff,
    /// Halted until the next interrupt, as an idle kernel is.
    Idle,
    /// Running, and the same instruction was seen twice.
    Same { interrupts: bool },
    /// Running, and two instructions were seen.
    Moving { interrupts: bool },
    /// Stopped where it was about to be reset.
    Stopped,
}

impl Doing {
    /// In words behind the name of a kernel and before "in".
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::HaltedIrqsOff => "halted with interrupts off",
            Self::Idle => "idles, waiting for interrupts,",
            Self::Same { interrupts: true } => "stands with interrupts on",
            Self::Same { interrupts: false } => "stands with interrupts off",
            Self::Moving { interrupts: true } => "loops with interrupts on",
            Self::Moving { interrupts: false } => "loops with interrupts off",
            Self::Stopped => "was",
        }
    }
}

/// The CPU that tells most: one that runs, for halted ones wait for it; else the first.
pub(super) fn sighted(evidence: &Evidence) -> Option<Sighted> {
    let examined = evidence.examined.as_ref()?;
    let last = &examined.looks.last()?.what;
    let at = last.iter().position(|cpu| !cpu.halted).unwrap_or(0);
    let (cpu, ip) = (last.get(at)?, examined.ips.get(at)?);
    let earlier = match examined.looks.as_slice() {
        [first, _, ..] => first.what.get(at),
        _ => None,
    };
    let lost_tables = ip.walk.end == Translation::Unread && !ip.walk.entries.is_empty();
    Some(Sighted { place: place(evidence, cpu, ip), lost_tables, doing: doing(cpu, earlier) })
}

fn doing(cpu: &Cpu, earlier: Option<&Cpu>) -> Doing {
    let interrupts = cpu.interrupts();
    match earlier {
        None => Doing::Stopped,
        Some(_) if cpu.halted && interrupts => Doing::Idle,
        Some(_) if cpu.halted => Doing::HaltedIrqsOff,
        Some(earlier) if earlier.ip == cpu.ip => Doing::Same { interrupts },
        Some(_) => Doing::Moving { interrupts },
    }
}

fn place(evidence: &Evidence, cpu: &Cpu, ip: &Ip) -> Place {
    let address = ip.address;
    if let Some(symbol) = &ip.symbol {
        return Place::Function { kernel: symbol.kernel, name: symbol.name.clone(), offset: symbol.offset };
    }
    let physical = match ip.walk.end {
        Translation::Mapped { physical, .. } => physical,
        Translation::NotPresent => return Place::Unmapped { address },
        // Tables that lead out of memory are no longer tables. Code that overwrites its own runs where it lies.
        Translation::Unread => address,
    };
    // The two lowest bits of CS are the privilege.
    if cpu.cs.selector & 3 == 3 {
        return Place::Userspace { address };
    }
    if let Some(kernel) = kernel(evidence, cpu, ip) {
        return Place::Kernel { kernel, address };
    }
    let map = SegmentMap::of(evidence);
    match map.at(physical) {
        Some(("kernel", _)) => return Place::Decompressor { address: physical },
        Some((name, offset)) => return Place::Segment { name: name.to_owned(), offset },
        None => {}
    }
    if map.control().is_some_and(|control| holds(&control, physical)) {
        return Place::ControlPage { address: physical };
    }
    if crash_regions(evidence).iter().any(|region| holds(region, physical)) {
        return Place::CrashRegion { address: physical };
    }
    if FIRMWARE.iter().any(|range| holds(range, physical)) {
        return Place::Firmware { address: physical };
    }
    let ram = facts(evidence, Side::First).map_or(&[][..], |facts| &facts.system_ram);
    match ram.iter().any(|range| holds(range, physical)) {
        true => Place::FirstRam { address: physical },
        false => Place::Elsewhere { address },
    }
}

/// The kernel that runs at its own virtual addresses here; none where no kernel does.
pub(super) fn kernel(evidence: &Evidence, cpu: &Cpu, ip: &Ip) -> Option<Side> {
    let Translation::Mapped { physical, paging: true } = ip.walk.end else { return None };
    let own = if cpu.ip > u64::from(u32::MAX) { ip.address >= KERNEL_64 } else { ip.address >= KERNEL_32 };
    // An identity mapping that reaches so high is a purgatory's or a decompressor's.
    if !own || ip.address == physical {
        return None;
    }
    if crash_regions(evidence).iter().any(|region| holds(region, physical)) {
        return Some(Side::Capture);
    }
    let first = facts(evidence, Side::First).and_then(|facts| facts.kernel_code);
    match first {
        Some(code) if holds(&code, physical) => Some(Side::First),
        // Its other parts, or the low memory of a capture kernel that moved there.
        _ if evidence.triggered_ms.is_some() && super::capture_spoke(evidence) => Some(Side::Capture),
        _ => Some(Side::First),
    }
}

fn holds(range: &PhysRange, address: u64) -> bool {
    (range.start..=range.end).contains(&address)
}

/// What a kernel's agent said of it.
pub(super) fn facts(evidence: &Evidence, side: Side) -> Option<&KernelFacts> {
    evidence.reports.iter().find_map(|report| match &report.what.message {
        Message::Ready(facts) if side == Side::First => Some(facts),
        Message::Up(facts) if side == Side::Capture => Some(facts),
        _ => None,
    })
}

pub(super) fn crash_regions(evidence: &Evidence) -> &[PhysRange] {
    facts(evidence, Side::First).map_or(&[], |facts| &facts.crash_regions)
}
