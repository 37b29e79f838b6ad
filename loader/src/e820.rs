//! The memory map that the capture kernel gets: it may use the crash regions and a little low memory, and it must know what
//! firmware keeps.

use crate::addr::{PAGE, PhysAddr, Span, sort_by_key};
use crate::iomem::{Kind, MemoryMap};
use alloc::vec::Vec;

/// The end of conventional memory: RAM above belongs to video and firmware (zero-page.rst counts it in 640 KiB).
const LOW_END: PhysAddr = PhysAddr(0x9_ffff);

/// An entry of the map, as in boot_params.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The range.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
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
    let low = Span::new(PhysAddr(0), LOW_END)?;
    memory.ram().filter_map(|ram| ram.intersect(low)).max_by_key(|ram| ram.size())
}

/// The map for a capture kernel: low RAM, every crash region without the core header (which the capture kernel must not hand
/// out), and what is no RAM as the running kernel knows it. RAM is cut to whole pages.
pub fn map(memory: &MemoryMap, elfcorehdr: Span) -> Vec<Entry> {
    let ram = low_ram(memory)
        .into_iter()
        .chain(memory.crash_regions.iter().copied())
        .flat_map(|span| span.without(elfcorehdr))
        .flatten()
        .filter_map(whole_pages)
        .map(|span| Entry { span, kind: Kind::Ram });
    let others =
        memory.ranges.iter().filter(|(_, kind)| *kind != Kind::Ram).map(|&(span, kind)| Entry { span, kind });
    let mut map: Vec<Entry> = ram.chain(others).collect();
    sort_by_key(&mut map, |entry| entry.span);
    map
}

/// The whole pages in a range.
fn whole_pages(span: Span) -> Option<Span> {
    let end = span.last().checked_add(1)?.align_down(PAGE);
    Span::new(span.start().align_up(PAGE)?, end.checked_sub(1)?)
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
        let map = map(&memory(), span(0x1_3fff_f000, 0x1_3fff_ffff));
        let of = |wanted| map.iter().filter(|e| e.kind == wanted).map(|e| e.span).collect::<Vec<_>>();
        assert_eq!(
            of(Kind::Ram),
            [span(0x1000, 0x9_efff), span(0x1000_0000, 0x13ff_ffff), span(0x1_3000_0000, 0x1_3fff_efff)]
        );
        assert_eq!(of(Kind::Reserved), [span(0, 0xfff), span(0xf_0000, 0xf_ffff)]);
        assert_eq!(of(Kind::AcpiTables), [span(0xbffe_0000, 0xbfff_ffff)]);
        assert!(map.windows(2).all(|pair| pair[0].span.last() < pair[1].span.start()));
    }

    #[test]
    fn a_header_in_the_middle_splits_the_region() {
        let map = map(&memory(), span(0x1100_0000, 0x1100_0fff));
        assert!(map.iter().any(|e| e.span == span(0x1000_0000, 0x10ff_ffff) && e.kind == Kind::Ram));
        assert!(map.iter().any(|e| e.span == span(0x1100_1000, 0x13ff_ffff) && e.kind == Kind::Ram));
    }
}
