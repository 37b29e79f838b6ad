//! The memory map that the capture kernel gets: it may use the crash regions and a little low memory, and it must know what
//! firmware keeps.

use crate::addr::{PAGE, PhysAddr, Span, sort_by_key};
use crate::iomem::{Kind, MemoryMap};
use crate::rule::Arch;
use alloc::vec::Vec;

/// Conventional memory: RAM above belongs to video and firmware (zero-page.rst counts it in 640 KiB).
const LOW: Span = Span::up_to(PhysAddr(0x9_ffff));

/// An entry of the map, as in boot_params.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The range.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
}

/// Entries that boot_params has room for (E820_MAX_ENTRIES_ZEROPAGE).
pub const IN_BOOT_PARAMS: usize = 128;
/// Size of an entry in bytes, as boot_params and setup_data have it: address, size, and type of 4 bytes.
pub const ENTRY_SIZE: usize = 20;

impl Entry {
    /// The entry's bytes.
    pub fn encode(&self) -> [u8; ENTRY_SIZE] {
        let mut bytes = [0; ENTRY_SIZE];
        bytes[..8].copy_from_slice(&self.span.start().0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.span.size().to_le_bytes());
        bytes[16..].copy_from_slice(&self.kind.number().to_le_bytes());
        bytes
    }
}

impl Kind {
    /// The number in an e820 entry (arch/x86/include/asm/e820/types.h).
    pub const fn number(self) -> u32 {
        match self {
            Self::Ram => 1,
            Self::Reserved => 2,
            Self::AcpiTables => 3,
            Self::AcpiNvs => 4,
            Self::Persistent => 7,
            Self::PersistentLegacy => 12,
        }
    }
}

/// The RAM below 640 KiB that the capture kernel may use. It needs some: its other CPUs start in real mode, and x86_64
/// kernels panic without room for that trampoline (arch/x86/realmode/init.c).
pub fn low_ram(memory: &MemoryMap) -> Option<Span> {
    memory.ram().filter_map(|ram| ram.intersect(LOW)).max_by_key(|ram| ram.size())
}

/// Entries of a map that a capture kernel is given at the most. Its table holds 128 and three for each NUMA node that it was built for
/// (E820_MAX_ENTRIES, arch/x86/include/asm/e820/types.h): i386 kernels have one node, x86_64 kernels up to 2^10. What is more is
/// ignored. A kernel with a full table also loses RAM that it was told of: it splits ranges, around each item of setup_data
/// among others (arch/x86/kernel/e820.c, `e820__reserve_setup_data`), and finds no entry for what comes behind.
pub const fn most(capture: Arch) -> usize {
    /// Three items of setup_data, which make two more entries each; the first page and video memory (`trim_bios_range`); and as many again.
    const ITS_OWN: usize = 16;
    let nodes = match capture {
        Arch::I386 => 1,
        Arch::X86_64 => 1 << 10,
    };
    128 + 3 * nodes - ITS_OWN
}

/// The map for a capture kernel: low RAM, every crash region without the holes that the capture kernel must not hand out (core header, saved
/// low memory), and what is no RAM as the running kernel knows it. RAM is cut to whole pages.
///
/// The order is that of importance, for whoever reads the beginning alone: a decompressor sees no more than the 128 entries of boot_params
/// when it looks for RAM to move to (arch/x86/boot/compressed/kaslr.c), and what is beyond [`most`] is left out. Kernels sort the map themselves
/// (arch/x86/kernel/e820.c, `e820__update_table`).
pub fn map(memory: &MemoryMap, holes: &[Span]) -> Vec<Entry> {
    let mut usable = memory.crash_regions.clone();
    if let Some(low) = low_ram(memory) {
        usable.push(low);
    }
    let mut map = Vec::new();
    for region in usable {
        for part in region.without_all(holes) {
            if let Some(span) = part.whole_units(PAGE) {
                map.push(Entry { span, kind: Kind::Ram });
            }
        }
    }
    for &(span, kind) in &memory.ranges {
        if kind != Kind::Ram {
            map.push(Entry { span, kind });
        }
    }
    sort_by_key(&mut map, |entry| (entry.kind.rank(), entry.span));
    map
}

impl Kind {
    /// How much a capture kernel depends on knowing of such memory: on RAM entirely; on ACPI's tables to find its devices. The rest keeps
    /// it from using the addresses for devices.
    const fn rank(self) -> u8 {
        match self {
            Self::Ram => 0,
            Self::AcpiTables | Self::AcpiNvs => 1,
            Self::Reserved | Self::Persistent | Self::PersistentLegacy => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span;

    fn memory() -> MemoryMap {
        MemoryMap {
            ranges: vec![
                (span(0, 0xfff), Kind::Reserved),
                (span(0x1000, 0x9fbff), Kind::Ram),
                (span(0xf_0000, 0xf_ffff), Kind::Reserved),
                (span(0x10_0000, 0xbffd_ffff), Kind::Ram),
                (span(0xbffe_0000, 0xbfff_ffff), Kind::AcpiTables),
            ],
            crash_regions: vec![span(0x1000_0000, 0x13ff_ffff), span(0x1_3000_0000, 0x1_3fff_ffff)],
        }
    }

    /// Catches a capture kernel that may use all of the crashed kernel's memory, none of the crash region, no low memory,
    /// or the pages of its own core header; and a low companion that is forgotten.
    #[test]
    fn the_capture_kernel_gets_its_regions_and_low_memory() {
        let map = map(&memory(), &[span(0x1_3fff_f000, 0x1_3fff_ffff)]);
        let of = |wanted| map.iter().filter(|e| e.kind == wanted).map(|e| e.span).collect::<Vec<_>>();
        assert_eq!(
            of(Kind::Ram),
            [span(0x1000, 0x9_efff), span(0x1000_0000, 0x13ff_ffff), span(0x1_3000_0000, 0x1_3fff_efff)]
        );
        assert_eq!(of(Kind::Reserved), [span(0, 0xfff), span(0xf_0000, 0xf_ffff)]);
        assert_eq!(of(Kind::AcpiTables), [span(0xbffe_0000, 0xbfff_ffff)]);
        assert_eq!(map.len(), 6);
    }

    /// Catches RAM or ACPI's tables behind the entries that an early or small reader sees.
    #[test]
    fn what_matters_comes_first() {
        let kinds: Vec<Kind> = map(&memory(), &[]).iter().map(|entry| entry.kind).collect();
        use Kind::{AcpiTables, Ram, Reserved};
        assert_eq!(kinds, [Ram, Ram, Ram, AcpiTables, Reserved, Reserved]);
    }

    #[test]
    fn a_header_in_the_middle_splits_the_region() {
        let map = map(&memory(), &[span(0x1100_0000, 0x1100_0fff), span(0x1200_0000, 0x1200_0fff)]);
        let ram: Vec<Span> = map.iter().filter(|e| e.kind == Kind::Ram).map(|e| e.span).collect();
        assert_eq!(
            ram[1..4],
            [span(0x1000_0000, 0x10ff_ffff), span(0x1100_1000, 0x11ff_ffff), span(0x1200_1000, 0x13ff_ffff)]
        );
    }
}
