//! Physical addresses and ranges of them. Arithmetic is checked or absent: an address that wraps is a bug in waiting,
//! in the i386 build above all, so everything is 64 bits wide in both builds.

use alloc::vec::Vec;
use core::fmt;

/// Size of a page, in bytes, on every x86.
pub const PAGE: u64 = 4096;

/// A physical address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// The last byte that 32 bits can address.
    pub const LAST_32BIT: Self = Self(0xffff_ffff);

    /// The address `bytes` further up; none where it would wrap.
    pub fn checked_add(self, bytes: u64) -> Option<Self> {
        self.0.checked_add(bytes).map(Self)
    }

    /// The address `bytes` further down; none below zero.
    pub fn checked_sub(self, bytes: u64) -> Option<Self> {
        self.0.checked_sub(bytes).map(Self)
    }

    /// The next multiple of `align` (a power of two), or itself; none where it would wrap.
    pub fn align_up(self, align: u64) -> Option<Self> {
        debug_assert!(align.is_power_of_two());
        self.0.checked_add(align - 1).map(|address| Self(address & !(align - 1)))
    }

    /// The multiple of `align` (a power of two) at or below it.
    pub const fn align_down(self, align: u64) -> Self {
        debug_assert!(align.is_power_of_two());
        Self(self.0 & !(align - 1))
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A range of physical addresses with at least one byte. Kept by its last byte, as /proc/iomem prints it, so that a range
/// up to the very last address needs no 65th bit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    start: PhysAddr,
    last: PhysAddr,
}

impl Span {
    /// The range from `start` to `last`, both included; none if that is backwards.
    pub fn new(start: PhysAddr, last: PhysAddr) -> Option<Self> {
        (start <= last).then_some(Self { start, last })
    }

    /// The range from the very first address to `last`.
    pub const fn up_to(last: PhysAddr) -> Self {
        Self { start: PhysAddr(0), last }
    }

    /// The range from `start` to the very last address.
    pub const fn onwards(start: PhysAddr) -> Self {
        Self { start, last: PhysAddr(u64::MAX) }
    }

    /// The range of `size` bytes from `start`; none if it is empty or wraps.
    pub fn sized(start: PhysAddr, size: u64) -> Option<Self> {
        Self::new(start, start.checked_add(size.checked_sub(1)?)?)
    }

    /// First byte.
    pub const fn start(self) -> PhysAddr {
        self.start
    }

    /// Last byte.
    pub const fn last(self) -> PhysAddr {
        self.last
    }

    /// Number of bytes. The range of all 2^64 addresses, which no machine has, counts as one byte less.
    pub const fn size(self) -> u64 {
        (self.last.0 - self.start.0).saturating_add(1)
    }

    /// Whether every byte of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }

    /// What both have in common.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.last.min(other.last))
    }

    /// Both as one range, if they touch or overlap and `other` does not begin below.
    pub fn joined(self, other: Self) -> Option<Self> {
        let reaches = self.start <= other.start && other.start.0 <= self.last.0.saturating_add(1);
        reaches.then(|| Self { start: self.start, last: self.last.max(other.last) })
    }

    /// What is left without `hole`: the part below it and the part above it.
    pub fn without(self, hole: Self) -> [Option<Self>; 2] {
        if self.intersect(hole).is_none() {
            return [Some(self), None];
        }
        let below = hole.start.checked_sub(1).and_then(|last| Self::new(self.start, last));
        let above = hole.last.checked_add(1).and_then(|start| Self::new(start, self.last));
        [below, above]
    }

    /// What is left without any of the `holes`, whose order does not matter; ascending.
    pub fn without_all(self, holes: &[Self]) -> Vec<Self> {
        let mut parts = alloc::vec![self];
        for &hole in holes {
            for part in core::mem::take(&mut parts) {
                let [below, above] = part.without(hole);
                parts.extend(below);
                parts.extend(above);
            }
        }
        parts
    }

    /// The whole units of `unit` bytes (a power of two) in it, at multiples of `unit`. The very last of all addresses counts as
    /// beyond it, lest an end wraps.
    pub fn whole_units(self, unit: u64) -> Option<Self> {
        let end = PhysAddr(self.last.0.saturating_add(1)).align_down(unit);
        Self::new(self.start.align_up(unit)?, end.checked_sub(1)?)
    }
}

/// Sorts by a key. The tables of this program have some dozen entries and come in order or nearly so; each instance of the standard library's
/// sort would cost 2.5 KB of the program.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && key(&items[at]) < key(&items[at - 1]) {
            items.swap(at, at - 1);
            at -= 1;
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.last)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span;
    use proptest::prelude::*;

    /// Catches an off-by-one at either edge, and the wrap at the top of the address space.
    #[test]
    fn holes_are_cut_to_the_byte() {
        let whole = span(0x1000, 0x4fff);
        assert_eq!(
            whole.without(span(0x2000, 0x2fff)),
            [Some(span(0x1000, 0x1fff)), Some(span(0x3000, 0x4fff))]
        );
        assert_eq!(whole.without(span(0, 0x1000)), [None, Some(span(0x1001, 0x4fff))]);
        assert_eq!(whole.without(span(0x4fff, u64::MAX)), [Some(span(0x1000, 0x4ffe)), None]);
        assert_eq!(whole.without(span(0x5000, 0x6000)), [Some(whole), None]);
        assert_eq!(whole.without(span(0, u64::MAX)), [None, None]);
    }

    /// Catches an entry that is left out of order at either end.
    #[test]
    fn sorting_puts_all_in_order() {
        let mut items = [(3, 'a'), (1, 'b'), (2, 'c'), (1, 'd'), (0, 'e')];
        sort_by_key(&mut items, |item| item.0);
        assert_eq!(items, [(0, 'e'), (1, 'b'), (1, 'd'), (2, 'c'), (3, 'a')]);
    }

    /// Catches sizes and alignments that wrap.
    #[test]
    fn the_top_of_the_address_space_does_not_wrap() {
        assert_eq!(Span::sized(PhysAddr(u64::MAX), 1), Some(span(u64::MAX, u64::MAX)));
        assert_eq!(Span::sized(PhysAddr(u64::MAX), 2), None);
        assert_eq!(Span::sized(PhysAddr(0), 0), None);
        assert_eq!(PhysAddr(u64::MAX).align_up(PAGE), None);
        assert_eq!(PhysAddr(0x1001).align_up(PAGE), Some(PhysAddr(0x2000)));
        assert_eq!(PhysAddr(0x1fff).align_down(PAGE), PhysAddr(0x1000));
    }

    proptest! {
        /// What is left and what is cut are the whole, and do not touch.
        #[test]
        fn without_and_intersect_are_complements(a in 0u64..1000, b in 0u64..1000, c in 0u64..1000, d in 0u64..1000) {
            let (whole, hole) = (span(a.min(b), a.max(b)), span(c.min(d), c.max(d)));
            let left: u64 = whole.without(hole).into_iter().flatten().map(Span::size).sum();
            let cut = whole.intersect(hole).map_or(0, Span::size);
            prop_assert_eq!(left + cut, whole.size());
            for part in whole.without(hole).into_iter().flatten() {
                prop_assert!(part.intersect(hole).is_none() && whole.contains(part));
            }
        }
    }
}
