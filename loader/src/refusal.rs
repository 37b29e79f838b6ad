//! Why a load is refused. Every refusal says what was asked, what was found, and which limit stands in the way, before
//! anything is changed: a loader's refusal costs an evening less than a hang after the panic.

use crate::addr::{PhysAddr, Span};
use crate::bzimage::NotABzImage;
use crate::cmdline::BadCommandLine;
use crate::elfcorehdr::NoCoreHeader;
use crate::iomem::Unusable;
use crate::layout::Reserve;
use crate::rule::{Limit, Why};
use crate::segment::SegmentKind;
use alloc::string::String;
use core::fmt;

/// Why a load is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The image is none, or not one that can be a capture kernel.
    Image {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: NotABzImage,
    },
    /// /proc/iomem is of no use.
    Memory(Unusable),
    /// The capture kernel is an x86_64 kernel, and the CPUs have no long mode.
    NoLongMode,
    /// There is no crash region.
    NoRegion,
    /// The whole region lies above a limit.
    BeyondLimit {
        /// The region.
        region: Span,
        /// The limit.
        limit: Limit,
    },
    /// The whole region lies below `--mem-min`.
    BelowMemMin {
        /// The region.
        region: Span,
        /// The bound.
        mem_min: PhysAddr,
    },
    /// A segment does not fit below its limit, or at all.
    NoRoom {
        /// The segment.
        segment: SegmentKind,
        /// Its size in bytes.
        size: u64,
        /// The region.
        region: Span,
        /// The part of the region where it could lie.
        usable: Option<Span>,
        /// Whether other segments want to lie there as well.
        shared: bool,
        /// `--mem-min`, if it cuts the region.
        mem_min: Option<PhysAddr>,
        /// The limit that cuts the region, if one does.
        limit: Option<Limit>,
    },
    /// The segments leave too little of the region.
    TooLittleLeft {
        /// The region.
        region: Span,
        /// What must be left.
        reserve: Reserve,
        /// Bytes that the segments leave where that must lie, at the most.
        left: u64,
    },
    /// A segment cannot lie where `--place` puts it.
    Place {
        /// The segment.
        segment: SegmentKind,
        /// Why not.
        why: BadPlace,
    },
    /// The kernel takes no image larger than half of the memory that it hands out.
    MoreThanHalfOfRam {
        /// Bytes of all segments.
        image: u64,
        /// Bytes of that memory.
        ram: u64,
    },
    /// The command line cannot be handed over.
    CommandLine(BadCommandLine),
    /// There can be no core header.
    CoreHeaders(NoCoreHeader),
    /// The running kernel keeps no core header up to date.
    NoHotplug,
    /// The initrd is empty.
    EmptyInitrd {
        /// The file.
        path: String,
    },
    /// There is no RAM below 640 KiB.
    NoLowRam,
    /// No CPU has a place for its notes.
    NoCrashNotes,
}

/// Why a segment cannot lie where it was put by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadPlace {
    /// This load has no such segment.
    NoSuchSegment,
    /// Not the address of a page.
    NotAPage(PhysAddr),
    /// Not in the crash region, or not all of it.
    OutsideOfRegion {
        /// Where it was put.
        start: PhysAddr,
        /// Its size in bytes.
        size: u64,
        /// The region.
        region: Span,
    },
    /// Another segment was put there.
    Overlaps {
        /// Where it was put.
        span: Span,
        /// The other one.
        other: SegmentKind,
        /// Where that one was put.
        taken: Span,
    },
    /// Higher than it may lie.
    BeyondLimit {
        /// Where it was put.
        span: Span,
        /// The limit.
        limit: Limit,
    },
    /// Lower than `--mem-min`.
    BelowMemMin {
        /// Where it was put.
        start: PhysAddr,
        /// The bound.
        mem_min: PhysAddr,
    },
    /// The kernel would not stay there.
    KernelMoves {
        /// Where it was put.
        start: PhysAddr,
        /// `kernel_alignment`.
        alignment: u64,
        /// `pref_address`, or the end of the first MiB.
        lowest: PhysAddr,
    },
}

impl fmt::Display for BadPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchSegment => f.write_str("this load has none (no --initrd, no --backup?)"),
            Self::NotAPage(start) => write!(f, "{start} is not a multiple of 4096"),
            Self::OutsideOfRegion { start, size, region } => {
                write!(f, "with {size:#x} bytes from {start} on it leaves the crash region {region}")
            }
            Self::Overlaps { span, other, taken } => write!(f, "{span} overlaps the {other} at {taken}"),
            Self::BeyondLimit { span, limit } => {
                write!(f, "{span} reaches beyond {}, {}", limit.last, limit.why)
            }
            Self::BelowMemMin { start, mem_min } => write!(f, "{start} is lower than --mem-min, {mem_min}"),
            Self::KernelMoves { start, alignment, lowest } => write!(
                f,
                "from {start} it would move: it runs at multiples of {alignment:#x}, and not below {lowest}"
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image { path, why } => write!(f, "{path}: {why}"),
            Self::Memory(Unusable::Hidden) => f.write_str(
                "/proc/iomem shows only zeros for addresses: the kernel hides them from processes without CAP_SYS_ADMIN. \
                 Run this as root",
            ),
            Self::Memory(Unusable::NoRam) => f.write_str("/proc/iomem has no \"System RAM\" line"),
            Self::NoLongMode => f.write_str(
                "the capture kernel is an x86_64 kernel, and this machine's CPU has no long mode (CPUID: no lm): it would halt \
                 without a word. Take an i386 kernel",
            ),
            Self::NoRegion => f.write_str(
                "no crash region: /proc/iomem has no \"Crash kernel\" line. Boot with crashkernel=SIZE, such as \
                 crashkernel=256M, and look in the kernel log for \"crashkernel\"",
            ),
            Self::BeyondLimit { region, limit } => {
                write!(f, "crash region {region} lies above {}, {}", limit.last, limit.why)?;
                advise(f, *limit)
            }
            Self::BelowMemMin { region, mem_min } => {
                write!(f, "crash region {region} lies below {mem_min}, the lowest address that --mem-min allows. {LOWER_MEM_MIN}")
            }
            Self::NoRoom { segment, size, region, usable, shared, mem_min, limit } => {
                write!(f, "crash region {region} has no room for the {segment} of {size:#x} bytes where it may lie")?;
                match usable {
                    Some(usable) => write!(f, ": {usable}, {:#x} bytes", usable.size())?,
                    None => f.write_str(": nothing of it is usable")?,
                }
                if *shared {
                    f.write_str(", less what other segments take of it")?;
                }
                if let Some(limit) = limit {
                    write!(f, "; it must end at or below {}, {}", limit.last, limit.why)?;
                }
                if let Some(mem_min) = mem_min {
                    return write!(f, "; it must begin at or above {mem_min}, the lowest address that --mem-min allows. {LOWER_MEM_MIN}");
                }
                match limit {
                    Some(limit) => advise(f, *limit),
                    None => f.write_str(". Reserve a larger region with crashkernel="),
                }
            }
            Self::TooLittleLeft { region, reserve: Reserve { purpose, bytes, limit }, left } => {
                write!(f, "crash region {region} is too small: the segments leave {left:#x} bytes")?;
                let cut = region.last() > limit.last;
                if cut {
                    write!(f, " of it up to {}, {}", limit.last, limit.why)?;
                }
                write!(f, ", and {purpose} {bytes:#x}")?;
                if cut { advise(f, *limit) } else { f.write_str(". Reserve a larger region with crashkernel=") }
            }
            Self::Place { segment, why } => write!(f, "--place: the {segment} cannot lie there: {why}"),
            Self::MoreThanHalfOfRam { image, ram } => write!(
                f,
                "the image takes {image:#x} bytes, more than half of the running kernel's memory ({ram:#x} bytes without the crash region): \
                 kexec_load refuses that"
            ),
            Self::CommandLine(why) => why.fmt(f),
            Self::CoreHeaders(why) => why.fmt(f),
            Self::NoHotplug => f.write_str(
                "--hotplug: the running kernel does not keep core headers up to date: /sys/kernel/crash_elfcorehdr_size is missing \
                 (Linux 6.5 and later have it, with CONFIG_CRASH_HOTPLUG). Load without --hotplug, and again whenever CPUs or memory \
                 come or go",
            ),
            Self::EmptyInitrd { path } => write!(f, "{path}: the initrd is empty"),
            Self::NoLowRam => f.write_str(
                "/proc/iomem has no RAM below 640 KiB: a capture kernel panics without room for its real-mode trampoline",
            ),
            Self::NoCrashNotes => f.write_str(
                "no CPU has a crash_notes file in /sys/devices/system/cpu: is /sys mounted, and the kernel built with \
                 CONFIG_CRASH_DUMP?",
            ),
        }
    }
}

/// What to do about a `--mem-min` that is too high.
const LOWER_MEM_MIN: &str = "Give a lower --mem-min";

/// Says how to get a region that this limit allows.
fn advise(f: &mut fmt::Formatter<'_>, limit: Limit) -> fmt::Result {
    match limit.why {
        Why::I386First => f.write_str(
            ". Boot with crashkernel=SIZE alone: an i386 kernel then puts the region below 512 MiB",
        ),
        Why::I386Capture | Why::InitrdAddrMax => {
            // 256 MiB is what most distributions reserve, and 16 MiB the coarsest alignment that kernels ask of an offset.
            const USUAL_SIZE: u64 = 256 << 20;
            f.write_str(". Boot with crashkernel=SIZE@OFFSET for a region that ends at or below it")?;
            match limit.last.checked_add(1).and_then(|end| end.checked_sub(USUAL_SIZE)) {
                Some(highest) => {
                    let mib = highest.align_down(16 << 20).0 >> 20;
                    write!(
                        f,
                        " (256M: an offset of at most {mib}M), and with nokaslr, or the place may be taken"
                    )
                }
                None => Ok(()),
            }
        }
        Why::MemMax => f.write_str(
            ". Give a higher --mem-max. Where there are several \"Crash kernel\" ranges, the kernel takes segments in the highest alone",
        ),
        Why::CompatCall(None) => f.write_str(
            ". Leave out --compat-call, or boot with crashkernel=SIZE, without \",high\": the region then lies below 4 GiB where it fits",
        ),
        Why::CompatCall(Some(_)) | Why::Entry32 | Why::NotAbove4G => f.write_str(
            ". Boot with crashkernel=SIZE, without \",high\": the region then lies below 4 GiB where it fits",
        ),
        Why::Unlimited => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Purpose;
    use crate::rule::I386_LAST;
    use crate::testing::span;
    use alloc::string::ToString;

    /// People (and the rig) look for region, limit and reason in the message.
    #[test]
    fn a_refusal_names_region_limit_and_reason() {
        let limit = Limit { last: I386_LAST, why: Why::I386Capture };
        let text = Refusal::BeyondLimit { region: span(0x7b00_0000, 0x8aff_ffff), limit }.to_string();
        assert_eq!(
            text,
            "crash region 0x7b000000-0x8affffff lies above 0x36ffdfff, the highest address an i386 capture kernel can run \
             at (0x37ffffff less its fixed mappings). Boot with crashkernel=SIZE@OFFSET for a region that ends at or below it (256M: an offset of at most 608M), and \
             with nokaslr, or the place may be taken"
        );
        let reserve = Reserve {
            purpose: Purpose::ControlPages,
            bytes: 0x1000,
            limit: Limit { last: I386_LAST, why: Why::I386First },
        };
        let region = span(0x3000_0000, 0x3fff_ffff);
        let text = Refusal::TooLittleLeft { region, reserve, left: 0 }.to_string();
        assert!(
            text.starts_with(
                "crash region 0x30000000-0x3fffffff is too small: the segments leave 0x0 bytes of it up to 0x36ffdfff, the highest \
                 address that the running i386 kernel can reach through its direct map, and the running kernel's control code and \
                 page tables may need 0x1000. Boot with"
            ),
            "{text}"
        );
    }
}
