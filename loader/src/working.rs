//! The memory that a capture kernel needs beside its image before its userspace runs. With less it panics ("System is
//! deadlocked on memory", "Failed to allocate … bytes for node 0 memory map"), and what was loaded was of no use.
//!
//! No document says how much, and no header. The least is taken from Debian's kernels 5.10, 6.1 and 6.12 with a userspace of 200 KiB
//! (`plan_tests`, `small_regions_are_loaded_as_measured`). Where kernels differ by more than their headers tell, the hungriest
//! decides. A larger userspace needs more, which nobody can know here.

use crate::addr::{PAGE, Span};
use crate::iomem::MemoryMap;
use crate::layout::{Purpose, Reserve};
use crate::rule::{Arch, I386_CAPTURE, UNLIMITED};

const MIB: u64 = 1 << 20;

/// What an x86_64 kernel allocates until its userspace runs, `init_size` and memory map excluded. 6.1 panics with 14.1 MiB (80M at
/// 512M) and comes up with 22.1 (88M). 5.10 comes up with 10.2 and 6.12 with 13.8 (72M), for which this asks too much.
const X86_64_WORK: u64 = 16 * MIB;
/// The same of an i386 kernel, out of low memory. In 32M at 512M, 6.1 panics with 10.3 MiB, and 5.10 comes up with 10.9.
const I386_WORK: u64 = 43 * MIB / 4;

/// A section of the sparse memory map: 2^27 bytes (SECTION_SIZE_BITS, arch/x86/include/asm/sparsemem.h). One that has any RAM gets
/// `struct page`s, 64 bytes each, for all of it (mm/sparse-vmemmap.c).
const SECTION: u64 = 1 << 27;
const SECTION_MAP: u64 = SECTION / PAGE * 64;
/// Size of `struct page` on i386, whose flat memory map has one for each page from 0 to the end of RAM (mm/page_alloc.c,
/// `alloc_node_mem_map`): 10158080 bytes for 992 MiB.
const I386_STRUCT_PAGE: u64 = 40;

/// What the segments must leave for the capture kernel in `region`, the other crash regions being its own too.
pub fn reserve(capture: Arch, memory: &MemoryMap, region: Span, initrd_size: Option<u64>) -> Reserve {
    // What comes out of an initrd is no smaller than itself, and both are there for a while.
    let unpacked = initrd_size.unwrap_or(0);
    let (bytes, limit) = match capture {
        Arch::X86_64 => {
            let sections = region.last().0 / SECTION - region.start().0 / SECTION + 1;
            let others = memory.crash_regions.iter().filter(|&&other| other != region);
            let elsewhere = others.map(|other| other.size()).fold(0, u64::saturating_add);
            let needed =
                X86_64_WORK.saturating_add(sections.saturating_mul(SECTION_MAP)).saturating_add(unpacked);
            (needed.saturating_sub(elsewhere), UNLIMITED)
        }
        // Low memory alone counts: the rest is for userspace and its files. An i386 kernel with a second region does not load.
        Arch::I386 => {
            let map = region.last().0 / PAGE * I386_STRUCT_PAGE;
            (I386_WORK.saturating_add(map).saturating_add(unpacked), I386_CAPTURE)
        }
    };
    Reserve { purpose: Purpose::CaptureKernel, bytes, limit }
}
