//! The pages that the running kernel takes from the crash region for itself: its control code, which it runs when it leaves,
//! on x86_64 the page tables of that moment, and from Linux 4.13 on a copy of VMCOREINFO. A model of `kimage_alloc_crash_control_pages` (kernel/kexec_core.c): each
//! request gets the lowest place that overlaps no segment, from where the one before it ended.
//!
//! An i386 kernel writes to its control page through its direct map. One outside of low memory has no address there: the kernel
//! faults while it panics (seen as #PF with error code 2), although kexec_load succeeded. Everything else it reaches
//! through temporary mappings (`kimage_load_crash_segment`) or by physical address, with paging off.

use crate::addr::{PAGE, PhysAddr, Span};
use crate::iomem::{Kind, MemoryMap};
use crate::layout::{Purpose, Reserve};
use crate::rule::{Arch, Limit, UNLIMITED};

/// What the running kernel takes, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Pages in one piece that is aligned to its own size: KEXEC_CONTROL_PAGE_SIZE (asm/kexec.h).
    code: u64,
    /// Single pages behind it.
    single: u64,
}

impl Demand {
    /// What a kernel of this architecture takes at the most.
    ///
    /// i386: the control code, which alone must lie in low memory, and the copy of VMCOREINFO (kernel/kexec_core.c,
    /// `kimage_crash_copy_vmcoreinfo`); its page tables come from other memory (machine_kexec_32.c, `machine_kexec_alloc_page_tables`).
    /// x86_64: two pages, one since Linux 6.12, and tables for the identity map of all RAM and of ACPI's tables
    /// (machine_kexec_64.c, `init_pgtable`), with pages of 2 MiB at the least: one page of tables for each GiB that a range touches, one for
    /// each 512 GiB, one or two at the root; and that copy.
    pub fn of(running: Arch, memory: &MemoryMap) -> Self {
        const GIB: u64 = 1 << 30;
        /// The roots, and what firmware keeps outside of all these ranges: EFI's system and configuration tables.
        const FEW: u64 = 18;
        const VMCOREINFO: u64 = 1;
        if running == Arch::I386 {
            return Self { code: 1, single: VMCOREINFO };
        }
        let touched = |span: Span, unit: u64| span.last().0 / unit - span.start().0 / unit + 1;
        let mapped = memory
            .ranges
            .iter()
            .filter(|(_, kind)| matches!(kind, Kind::Ram | Kind::AcpiTables | Kind::AcpiNvs))
            .map(|&(span, _)| touched(span, GIB).saturating_add(touched(span, 512 * GIB)))
            .fold(0, u64::saturating_add);
        Self { code: 2, single: mapped.saturating_add(FEW + VMCOREINFO) }
    }

    /// Bytes which, left free anywhere in a region with so many segments, are enough. More than the pages themselves where two must
    /// lie together: the segments leave one gap more than they are at the most, and each but one may be passed over with two pages in
    /// it, the one with one.
    const fn bytes(&self, segments: u64) -> u64 {
        let passed_over = if self.code > 1 { 2 * segments + 1 } else { 0 };
        self.code.saturating_add(self.single).saturating_add(passed_over).saturating_mul(PAGE)
    }

    /// What so many segments must leave, if the control code is to lie at or below a limit.
    pub fn reserves(&self, segments: u64, limit: Limit) -> [Reserve; 2] {
        let reserve = |bytes, limit| Reserve { purpose: Purpose::ControlPages, bytes, limit };
        [reserve(self.bytes(segments), UNLIMITED), reserve(self.code * PAGE, limit)]
    }

    /// Where the control code will lie; none if the segments leave no place.
    pub fn code(&self, region: Span, segments: &[Span]) -> Option<Span> {
        lowest_hole(region, segments, region.start(), self.code)
    }

    /// Where the kernel takes them from, the lowest page to the highest; none if the segments leave too little.
    pub fn taken(&self, region: Span, segments: &[Span]) -> Option<Span> {
        let code = self.code(region, segments)?;
        let (mut last, mut left) = (code.last(), self.single);
        while left > 0 {
            let first = lowest_hole(region, segments, last.checked_add(1)?, 1)?.start();
            // The pages up to the next segment, or to the region's end, follow at once: a map of memory can ask for very many.
            let behind = segments.iter().map(|segment| segment.start()).filter(|&start| start > first);
            let end = behind.filter_map(|start| start.checked_sub(1)).fold(region.last(), PhysAddr::min);
            let pages = left.min(Span::new(first, end)?.whole_units(PAGE)?.size() / PAGE);
            last = Span::sized(first, pages * PAGE)?.last();
            left -= pages;
        }
        Span::new(code.start(), last)
    }
}

/// The lowest place for so many pages from `from` on, aligned to their size.
fn lowest_hole(region: Span, segments: &[Span], from: PhysAddr, pages: u64) -> Option<Span> {
    let size = pages.checked_mul(PAGE)?;
    let mut hole = Span::sized(from.align_up(size)?, size)?;
    while let Some(segment) = segments.iter().find(|segment| segment.intersect(hole).is_some()) {
        hole = Span::sized(segment.last().checked_add(1)?.align_up(size)?, size)?;
    }
    region.contains(hole).then_some(hole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span;
    use alloc::vec;
    use alloc::vec::Vec;

    const REGION: u64 = 0x1000_0000;

    fn page(from: u64, to: u64) -> Span {
        span(REGION + from * PAGE, REGION + to * PAGE - 1)
    }

    /// Catches a search that goes page by page through a map of memory that fills the address space: it took hours.
    #[test]
    fn any_number_of_pages_is_found_at_once() {
        let demand = Demand { code: 2, single: u64::MAX >> 14 };
        let region = span(0, u64::MAX - 1);
        assert_eq!(
            demand.taken(region, &[page(0, 1)]),
            Span::sized(PhysAddr(0), (2 + demand.single + 1) * PAGE)
        );
        assert_eq!(demand.taken(span(0, REGION - 1), &[]), None);
    }

    /// Catches a gap that is passed over, one that is too small, and two pages that are not aligned.
    #[test]
    fn pages_come_from_the_lowest_gaps() {
        let region = page(0, 16);
        let i386 = Demand { code: 1, single: 1 };
        assert_eq!(i386.taken(region, &[page(0, 4), page(5, 15)]), Some(page(4, 16)));
        assert_eq!(i386.code(region, &[page(0, 4), page(5, 15)]), Some(page(4, 5)));
        assert_eq!(i386.taken(region, &[page(8, 16)]), Some(page(0, 2)));
        assert_eq!(i386.taken(region, &[page(0, 4), page(5, 16)]), None, "no room for VMCOREINFO's copy");
        assert_eq!(i386.taken(region, &[region]), None);
        let x86_64 = Demand { code: 2, single: 3 };
        assert_eq!(x86_64.taken(region, &[page(0, 3), page(4, 5)]), Some(page(6, 11)));
        assert_eq!(x86_64.taken(region, &[page(0, 3), page(8, 9)]), Some(page(4, 10)));
        assert_eq!(x86_64.taken(region, &[page(0, 12)]), None);
    }

    /// Catches a sum of free pages that is taken for enough where no two lie together: the worst that so many segments can do is to leave
    /// as many gaps of two pages each, no two of which are aligned, before the gap that serves.
    #[test]
    fn the_bytes_asked_for_are_enough_in_the_worst_gaps() {
        let demand = Demand { code: 2, single: 20 };
        for count in 4..=6 {
            // Free: 1 and 2, 5 and 6, and so on; then everything from an odd page on.
            let segments: Vec<Span> = (0..count).map(|nth| page(4 * nth + 3, 4 * nth + 5)).collect();
            let last_gap = 4 * count + 1;
            let end = last_gap + demand.bytes(count) / PAGE - 2 * count;
            let region = page(1, end);
            let free = region.size() - segments.iter().map(|segment| segment.size()).sum::<u64>();
            assert_eq!(free, demand.bytes(count));
            assert_eq!(demand.taken(region, &segments), Some(page(last_gap + 1, end)));
            assert_eq!(demand.taken(page(1, end - 1), &segments), None, "{count} segments");
        }
    }

    /// Catches an estimate that is too low for large machines: a page for each GiB.
    #[test]
    fn tables_grow_with_ram() {
        let memory = |gib: u64| MemoryMap {
            ranges: vec![
                (span(0x10_0000, 0xbfff_ffff), Kind::Ram),
                (span(1 << 32, (gib + 1) << 30), Kind::Ram),
            ],
            crash_regions: vec![],
        };
        assert_eq!(Demand::of(Arch::I386, &memory(64)), Demand { code: 1, single: 1 });
        assert_eq!(Demand::of(Arch::X86_64, &memory(4)).single, 3 + 1 + 2 + 1 + 19);
        // The ranges end one byte into another GiB.
        assert_eq!(Demand::of(Arch::X86_64, &memory(64)).single, 3 + 1 + 62 + 1 + 19);
        assert_eq!(
            Demand::of(Arch::X86_64, &memory(1 << 20)).single,
            3 + 1 + ((1 << 20) - 2) + (1 << 11) + 1 + 19
        );
    }
}
