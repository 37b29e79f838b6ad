//! Where each segment lies in the crash region.
//!
//! Where there is room, the kernel lies lowest, at the first address that suits it, with all of its `init_size`; the other
//! segments lie at the top, each below its limit; the free memory is one piece between them. Where there is none for that, every
//! order of the segments is tried, so that a region is refused only if no placement keeps the rules.
//!
//! Why trying orders is enough: take any placement that keeps the rules, and its order. Going down in that order, each segment is put at
//! the highest address that its limit and the segment above it leave. By induction it lies no lower than in the placement taken,
//! so it keeps the lower bounds as well; and no more of the memory below any address is used, so all that must be left is left.

use crate::addr::{PAGE, PhysAddr, Span, sort_by_key};
use crate::places::Places;
use crate::refusal::{BadPlace, Refusal};
use crate::rule::{Limit, Limits};
use crate::segment::SegmentKind;
use alloc::vec::Vec;
use core::fmt;

/// The kernel's lowest address where it asks for none: the first MiB is left to firmware and real mode (boot.rst).
const LOWEST: PhysAddr = PhysAddr(0x10_0000);

/// What is to be laid out. Sizes are in bytes and need not be whole pages.
#[derive(Clone, Debug)]
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
    /// Size of boot_params and what lies behind it.
    pub boot_params_size: u64,
    /// Size of the purgatory.
    pub purgatory_size: u64,
    /// Size of the core header.
    pub elfcorehdr_size: u64,
    /// Size of the backup of low memory, if there is one.
    pub backup_size: Option<u64>,
    /// What the segments must leave.
    pub reserves: Vec<Reserve>,
    /// Places that are given.
    pub places: Places,
    /// `--mem-min`: what no segment may begin below; 0 if there is no such bound.
    pub mem_min: PhysAddr,
    /// Whether a given place may be one from which the kernel moves away.
    pub ignore_alignment: bool,
}

/// Memory that the segments must leave free, anywhere in the region at or below an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// What it is for.
    pub purpose: Purpose,
    /// How much, in bytes.
    pub bytes: u64,
    /// The highest address of its last byte.
    pub limit: Limit,
}

/// What memory is left free for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What the running kernel takes for itself (`control`).
    ControlPages,
    /// What the capture kernel needs beside its image to come up (`working`).
    CaptureKernel,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlPages => "the running kernel's control code and page tables may need",
            Self::CaptureKernel => "the capture kernel, to come up, needs no less than",
        })
    }
}

/// Where each segment lies. Every span begins at a page and is whole pages long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The kernel and its `init_size`.
    pub kernel: Span,
    /// The initrd.
    pub initrd: Option<Span>,
    /// boot_params and what lies behind it.
    pub boot_params: Span,
    /// The purgatory.
    pub purgatory: Span,
    /// The core header.
    pub elfcorehdr: Span,
    /// The backup of low memory.
    pub backup: Option<Span>,
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
        all.extend(self.backup.map(|span| (SegmentKind::Backup, span)));
        sort_by_key(&mut all, |&(_, span)| span);
        all
    }

    /// None if a segment is missing, which the caller sees to.
    fn of(placed: &[Placed]) -> Option<Self> {
        let of = |kind| placed.iter().find(|placed| placed.kind == kind).map(|placed| placed.span);
        Some(Self {
            kernel: of(SegmentKind::Kernel)?,
            initrd: of(SegmentKind::Initrd),
            boot_params: of(SegmentKind::BootParams)?,
            purgatory: of(SegmentKind::Purgatory)?,
            elfcorehdr: of(SegmentKind::ElfCoreHeader)?,
            backup: of(SegmentKind::Backup),
        })
    }
}

/// Lays the segments out, or says why that cannot be.
pub fn place(request: &Request) -> Result<Layout, Refusal> {
    let pieces = request.pieces();
    let world = World::new(request, &pieces)?;
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    // The usual order is the first that is tried.
    let mut placed = None;
    permute(&mut order, 0, &mut |order| {
        placed = world.settle(order);
        placed.is_some()
    });
    placed.and_then(|placed| Layout::of(&placed)).ok_or_else(|| world.why_not())
}

/// A segment that wants a place.
#[derive(Clone, Copy, Debug)]
struct Piece {
    kind: SegmentKind,
    /// Whole pages.
    size: u64,
    alignment: u64,
    lowest: PhysAddr,
    limit: Limit,
    given: Option<PhysAddr>,
}

/// A segment that has one.
#[derive(Clone, Copy, Debug)]
struct Placed {
    kind: SegmentKind,
    span: Span,
}

impl Request {
    /// The segments there are, in the usual order, ascending.
    fn pieces(&self) -> Vec<Piece> {
        let sizes = [
            Some(self.kernel_size),
            self.initrd_size,
            Some(self.boot_params_size),
            Some(self.purgatory_size),
            Some(self.elfcorehdr_size),
            self.backup_size,
        ];
        let pieces = SegmentKind::ALL.into_iter().zip(sizes).filter_map(|(kind, size)| {
            let is_kernel = kind == SegmentKind::Kernel;
            Some(Piece {
                kind,
                // Beyond 64 bits there is no such size; it fits nowhere either way.
                size: size?.max(1).checked_next_multiple_of(PAGE).unwrap_or(!(PAGE - 1)),
                alignment: if is_kernel { self.kernel_alignment } else { PAGE },
                lowest: if is_kernel { self.pref_address.max(LOWEST) } else { PhysAddr(0) },
                limit: self.limits.of(kind),
                given: self.places.get(kind),
            })
        });
        pieces.collect()
    }

    /// Checks the given places, each by itself and all against each other.
    fn check_given(&self, pieces: &[Piece]) -> Result<(), Refusal> {
        if let Some(absent) = SegmentKind::ALL
            .into_iter()
            .find(|&kind| self.places.get(kind).is_some() && !pieces.iter().any(|piece| piece.kind == kind))
        {
            return Err(Refusal::Place { segment: absent, why: BadPlace::NoSuchSegment });
        }
        let mut given: Vec<Placed> = Vec::new();
        for piece in pieces {
            let Some(start) = piece.given else { continue };
            let bad = |why| Refusal::Place { segment: piece.kind, why };
            if start.align_down(PAGE) != start {
                return Err(bad(BadPlace::NotAPage(start)));
            }
            let span = Span::sized(start, piece.size)
                .filter(|span| self.region.contains(*span))
                .ok_or(bad(BadPlace::OutsideOfRegion { start, size: piece.size, region: self.region }))?;
            if let Some(other) = given.iter().find(|other| other.span.intersect(span).is_some()) {
                return Err(bad(BadPlace::Overlaps { span, other: other.kind, taken: other.span }));
            }
            if span.last() > piece.limit.last {
                return Err(bad(BadPlace::BeyondLimit { span, limit: piece.limit }));
            }
            if start < self.mem_min {
                return Err(bad(BadPlace::BelowMemMin { start, mem_min: self.mem_min }));
            }
            if !self.ignore_alignment && (start < piece.lowest || start.align_down(piece.alignment) != start)
            {
                return Err(bad(BadPlace::KernelMoves {
                    start,
                    alignment: piece.alignment,
                    lowest: piece.lowest,
                }));
            }
            given.push(Placed { kind: piece.kind, span });
        }
        Ok(())
    }
}

/// A region, what goes into it and what must be left of it.
struct World<'a> {
    request: &'a Request,
    pieces: &'a [Piece],
    /// The whole pages of the region.
    pages: Span,
    /// Where the first segment may begin: `--mem-min` is no bound for what must be left.
    first: PhysAddr,
}

impl<'a> World<'a> {
    /// Refuses what no order of the segments can change.
    fn new(request: &'a Request, pieces: &'a [Piece]) -> Result<Self, Refusal> {
        let region = request.region;
        let limits = request
            .reserves
            .iter()
            .map(|reserve| reserve.limit)
            .chain(pieces.iter().map(|piece| piece.limit));
        if let Some(limit) = limits.into_iter().find(|limit| region.start() > limit.last) {
            return Err(Refusal::BeyondLimit { region, limit });
        }
        request.check_given(pieces)?;
        let pages = region.whole_units(PAGE).ok_or(Refusal::NoRegion)?;
        let first = request.mem_min.align_up(PAGE).filter(|first| *first <= pages.last());
        let first =
            first.ok_or(Refusal::BelowMemMin { region, mem_min: request.mem_min })?.max(pages.start());
        Ok(Self { request, pieces, pages, first })
    }

    /// Puts the segments into this order, ascending, each as high as it can lie; none if that cannot be.
    fn highest(&self, order: &[usize]) -> Option<Vec<Placed>> {
        let mut last = self.pages.last();
        let mut placed = Vec::with_capacity(order.len());
        for (nth, &index) in order.iter().enumerate().rev() {
            let piece = self.pieces.get(index)?;
            let span = match piece.given {
                Some(start) => Span::sized(start, piece.size)?,
                None => {
                    let end = PhysAddr(last.min(piece.limit.last).0.checked_add(1)?).align_down(PAGE);
                    Span::sized(end.checked_sub(piece.size)?.align_down(piece.alignment), piece.size)?
                }
            };
            let lowest = if piece.given.is_some() { PhysAddr(0) } else { piece.lowest };
            if span.last() > last || span.start() < self.first.max(lowest) {
                return None;
            }
            placed.push(Placed { kind: piece.kind, span });
            match span.start().checked_sub(1) {
                Some(below) => last = below,
                None if nth == 0 => {}
                None => return None,
            }
        }
        Some(placed)
    }

    /// Puts the segments into this order so that all that must be left is left: the kernel as low as it can lie, else as high.
    fn settle(&self, order: &[usize]) -> Option<Vec<Placed>> {
        let high = self.highest(order)?;
        let low = self.with_kernel_lowered(&high);
        [low, Some(high)].into_iter().flatten().find(|placed| {
            self.request.reserves.iter().all(|reserve| self.left(placed, reserve.limit) >= reserve.bytes)
        })
    }

    /// The same with the kernel moved down as far as it goes.
    fn with_kernel_lowered(&self, placed: &[Placed]) -> Option<Vec<Placed>> {
        let kernel =
            self.pieces.iter().find(|piece| piece.kind == SegmentKind::Kernel && piece.given.is_none())?;
        let now = placed.iter().find(|placed| placed.kind == SegmentKind::Kernel)?.span;
        let below = placed.iter().map(|placed| placed.span).filter(|span| span.last() < now.start()).max();
        let floor = match below {
            Some(below) => below.last().checked_add(1)?,
            None => self.first,
        };
        let span = Span::sized(floor.max(kernel.lowest).align_up(kernel.alignment)?, kernel.size)?;
        let lowered = |placed: &Placed| match placed.kind {
            SegmentKind::Kernel => Placed { span, ..*placed },
            _ => *placed,
        };
        Some(placed.iter().map(lowered).collect())
    }

    /// Bytes that the segments leave at or below a limit.
    fn left(&self, placed: &[Placed], limit: Limit) -> u64 {
        let low = Span::new(self.pages.start(), self.pages.last().min(limit.last));
        let Some(low) = low.and_then(|low| low.whole_units(PAGE)) else { return 0 };
        let used = placed.iter().filter_map(|placed| placed.span.intersect(low)).map(Span::size).sum();
        low.size().saturating_sub(used)
    }

    /// Why no order does: the first segment that fits beside the ones before it in none, or else what they cannot leave.
    fn why_not(&self) -> Refusal {
        let Self { request: &Request { region, mem_min, .. }, pieces, pages, first } = *self;
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        for count in 1..=pieces.len() {
            if !permute(&mut order[..count], 0, &mut |order| self.highest(order).is_some()) {
                let Piece { kind: segment, size, lowest, limit, .. } = pieces[count - 1];
                let usable = Span::new(first.max(lowest), pages.last().min(limit.last));
                let limit = (region.last() > limit.last).then_some(limit);
                let mem_min = (first > pages.start()).then_some(mem_min);
                return Refusal::NoRoom { segment, size, region, usable, shared: count > 1, mem_min, limit };
            }
        }
        // The most that any order leaves, for the reserve that falls furthest short of what it needs.
        let shortest = self.request.reserves.iter().map(|&reserve| {
            let mut left = 0;
            permute(&mut order, 0, &mut |order| {
                left = left.max(self.highest(order).map_or(0, |placed| self.left(&placed, reserve.limit)));
                false
            });
            (reserve, left)
        });
        match shortest.min_by_key(|(reserve, left)| left.saturating_sub(reserve.bytes)) {
            Some((reserve, left)) => Refusal::TooLittleLeft { region, reserve, left },
            None => Refusal::NoRegion,
        }
    }
}

/// Calls `found` with every order of `items` from `fixed` on, the present one first, until it says yes; whether it did.
fn permute(items: &mut [usize], fixed: usize, found: &mut dyn FnMut(&[usize]) -> bool) -> bool {
    if fixed >= items.len() {
        return found(items);
    }
    for other in fixed..items.len() {
        items.swap(fixed, other);
        let done = permute(items, fixed + 1, found);
        items.swap(fixed, other);
        if done {
            return true;
        }
    }
    false
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
