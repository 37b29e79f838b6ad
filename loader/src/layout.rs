//! Where each segment lies in the crash region.
//!
//! The kernel lies lowest, at the first address that suits it, with all of its `init_size`; the small segments and the initrd
//! lie at the top, below their limits; the free memory is one piece between them. The running kernel takes its control pages
//! and page tables from the lowest gaps (kernel/kexec_core.c, `kimage_alloc_crash_control_pages`), so enough must be left.

use crate::addr::{PAGE, PhysAddr, Span};
use crate::refusal::Refusal;
use crate::rule::{Limit, Limits, Why};
use alloc::vec::Vec;
use core::fmt;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentKind {
    /// The capture kernel's protected-mode code, and the room in which it unpacks itself.
    Kernel,
    /// The initrd.
    Initrd,
    /// boot_params, and the command line behind it.
    BootParams,
    /// The purgatory.
    Purgatory,
    /// The ELF header of the crashed kernel's memory.
    ElfCoreHeader,
}

impl fmt::Display for SegmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::BootParams => "boot_params",
            Self::Purgatory => "purgatory",
            Self::ElfCoreHeader => "elfcorehdr",
        })
    }
}

/// The kernel's lowest address where it asks for none: the first MiB is left to firmware and real mode (boot.rst).
const LOWEST: PhysAddr = PhysAddr(0x10_0000);

/// What is to be laid out. Sizes are in bytes and need not be whole pages.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The crash region.
    pub region: Span,
    /// How high the segments may lie.
    pub limits: Limits,
    /// The kernel's `init_size`.
    pub kernel_size: u64,
    /// The kernel's alignment, a power of two of at least one page.
    pub kernel_alignment: u64,
    /// The kernel's `pref_address`: loaded below, it would move up there, out of its segment.
    pub pref_address: PhysAddr,
    /// Size of the initrd, if there is one.
    pub initrd_size: Option<u64>,
    /// Size of boot_params and command line.
    pub boot_params_size: u64,
    /// Size of the purgatory.
    pub purgatory_size: u64,
    /// Size of the core header.
    pub elfcorehdr_size: u64,
    /// What must be left for the running kernel's control pages and page tables.
    pub control_pages: u64,
}

/// Where each segment lies. Every span begins at a page and is whole pages long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The kernel and its `init_size`.
    pub kernel: Span,
    /// The initrd.
    pub initrd: Option<Span>,
    /// boot_params and command line.
    pub boot_params: Span,
    /// The purgatory.
    pub purgatory: Span,
    /// The core header.
    pub elfcorehdr: Span,
}

impl Layout {
    /// All segments, ascending.
    pub fn spans(&self) -> Vec<(SegmentKind, Span)> {
        let mut all = alloc::vec![
            (SegmentKind::Kernel, self.kernel),
            (SegmentKind::BootParams, self.boot_params),
            (SegmentKind::Purgatory, self.purgatory),
            (SegmentKind::ElfCoreHeader, self.elfcorehdr),
        ];
        all.extend(self.initrd.map(|span| (SegmentKind::Initrd, span)));
        all.sort_unstable_by_key(|&(_, span)| span);
        all
    }
}

/// Lays the segments out, or says why that cannot be.
pub fn place(request: &Request) -> Result<Layout, Refusal> {
    let Request { region, limits, .. } = *request;
    if region.last() > limits.region.last {
        return Err(Refusal::BeyondLimit { region, limit: limits.region });
    }
    if region.start() > limits.any.last {
        return Err(Refusal::BeyondLimit { region, limit: limits.any });
    }
    let mut room = Room::new(region, limits.any);
    let kernel = room.take_lowest(
        SegmentKind::Kernel,
        request.kernel_size,
        request.kernel_alignment,
        request.pref_address.max(LOWEST),
    )?;
    let elfcorehdr = room.take_highest(SegmentKind::ElfCoreHeader, request.elfcorehdr_size, limits.any)?;
    let purgatory = room.take_highest(SegmentKind::Purgatory, request.purgatory_size, limits.any)?;
    let boot_params = room.take_highest(SegmentKind::BootParams, request.boot_params_size, limits.any)?;
    let initrd = match request.initrd_size {
        Some(size) => Some(room.take_highest(SegmentKind::Initrd, size, limits.initrd)?),
        None => None,
    };
    let layout = Layout { kernel, initrd, boot_params, purgatory, elfcorehdr };
    // What lies above the limits, or below the kernel, is as good for control pages as the gap between the segments.
    let used = layout.spans().iter().map(|(_, span)| span.size()).sum();
    let left = region.size().saturating_sub(used);
    if left < request.control_pages {
        return Err(Refusal::NoRoomForControlPages { region, needed: request.control_pages, left });
    }
    Ok(layout)
}

/// The piece of the region that is still free: whole pages between the kernel below and the small segments above.
struct Room {
    region: Span,
    /// The limit that cuts the region, if one does.
    cut: Option<Limit>,
    free: Option<Span>,
}

impl Room {
    fn new(region: Span, limit: Limit) -> Self {
        let cut = (region.last() > limit.last).then_some(limit);
        let last = region.last().min(limit.last);
        // Whole pages only, at both ends.
        let free = region.start().align_up(PAGE).and_then(|start| {
            let end = match last.checked_add(1) {
                Some(end) => end.align_down(PAGE),
                None => last.align_down(PAGE),
            };
            Span::new(start, end.checked_sub(1)?)
        });
        Self { region, cut, free }
    }

    fn no_room(&self, segment: SegmentKind, size: u64, limit: Option<Limit>) -> Refusal {
        Refusal::NoRoom { segment, size, region: self.region, usable: self.free, limit: limit.or(self.cut) }
    }

    /// Takes the lowest place that is aligned and no lower than `lowest`. What lies below it is given up.
    fn take_lowest(
        &mut self,
        segment: SegmentKind,
        size: u64,
        alignment: u64,
        lowest: PhysAddr,
    ) -> Result<Span, Refusal> {
        let taken = self.free.and_then(|free| {
            let start = free.start().max(lowest).align_up(alignment)?;
            let span = Span::sized(start, whole_pages(size)?)?;
            free.contains(span).then_some((span, free))
        });
        let (span, free) = taken.ok_or_else(|| self.no_room(segment, size, None))?;
        self.free = free.without(span)[1];
        Ok(span)
    }

    /// Takes the highest place at or below `limit`. What lies above it stays out of use.
    fn take_highest(&mut self, segment: SegmentKind, size: u64, limit: Limit) -> Result<Span, Refusal> {
        let taken = self.free.and_then(|free| {
            let last = free.last().min(limit.last);
            let end = last.checked_add(1)?.align_down(PAGE);
            let span = Span::sized(end.checked_sub(whole_pages(size)?)?, whole_pages(size)?)?;
            free.contains(span).then_some((span, free))
        });
        let cuts = self.free.is_some_and(|free| free.last() > limit.last) && limit.why != Why::Unlimited;
        let (span, free) = taken.ok_or_else(|| self.no_room(segment, size, cuts.then_some(limit)))?;
        self.free = free.without(span)[0];
        Ok(span)
    }
}

/// `size` in whole pages, at least one; none where it would wrap.
fn whole_pages(size: u64) -> Option<u64> {
    size.max(1).checked_next_multiple_of(PAGE)
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
