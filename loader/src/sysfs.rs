//! Small texts of /sys and /proc: numbers, ranges of CPUs, the place of vmcoreinfo, the zones of memory.

use crate::addr::{PAGE, PhysAddr};
use crate::elfcorehdr::Note;
use crate::text;
use alloc::vec::Vec;

/// A decimal number, as in `crash_notes_size`.
pub fn decimal(bytes: &[u8]) -> Option<u64> {
    text::number(bytes.trim_ascii(), 10)
}

/// A hexadecimal number with or without `0x`, as in `crash_notes`.
pub fn hexadecimal(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.trim_ascii();
    text::number(digits.strip_prefix(b"0x").unwrap_or(digits), 16)
}

/// /sys/kernel/vmcoreinfo: address and size, both hexadecimal (kernel/ksysfs.c).
pub fn vmcoreinfo(bytes: &[u8]) -> Option<Note> {
    let (address, size) = text::split_once(bytes.trim_ascii(), b" ")?;
    let note = Note { address: PhysAddr(hexadecimal(address)?), size: hexadecimal(size)? };
    (note.address.0 != 0 && note.size != 0).then_some(note)
}

/// A list of CPUs such as `0-3,5` (Documentation/admin-guide/cputopology.rst).
pub fn cpu_list(bytes: &[u8]) -> Option<Vec<u32>> {
    /// More CPUs than any x86 kernel can be built for (CONFIG_NR_CPUS).
    const MOST: u64 = 8192;
    let mut cpus: Vec<u32> = Vec::new();
    for part in bytes.trim_ascii().split(|&byte| byte == b',') {
        let (first, last) = text::split_once(part, b"-").unwrap_or((part, part));
        let last = text::number(last, 10).filter(|&last| last < MOST)? as u32;
        let first = text::number(first, 10).filter(|&first| first < MOST)? as u32;
        // Ascending, as the kernel writes it, a list cannot be longer than there are CPUs.
        if cpus.last().is_some_and(|&before| first <= before) {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// The last byte of an i386 kernel's low memory, from /proc/zoneinfo: the end of the highest zone below HighMem. It is what the
/// kernel reaches through its direct map; `vmalloc=` and the split between user and kernel move it.
pub fn lowmem_last(zoneinfo: &[u8]) -> Option<PhysAddr> {
    let mut in_low_zone = false;
    let mut spanned = 0;
    let mut last = None;
    for line in zoneinfo.split(|&byte| byte == b'\n') {
        let line = line.trim_ascii();
        if let Some(header) = line.strip_prefix(b"Node ") {
            let zone = text::split_once(header, b"zone").map(|(_, zone)| zone.trim_ascii());
            in_low_zone = matches!(zone, Some(b"DMA" | b"DMA32" | b"Normal"));
            spanned = 0;
        } else if let Some(pages) = line.strip_prefix(b"spanned ") {
            spanned = decimal(pages)?;
        } else if let Some(first) = line.strip_prefix(b"start_pfn:") {
            let pages = decimal(first)?.checked_add(spanned)?;
            let end = PhysAddr(pages.checked_mul(PAGE)?).checked_sub(1);
            if in_low_zone && spanned != 0 {
                last = last.max(end);
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists() {
        assert_eq!(decimal(b"356\n"), Some(356));
        assert_eq!(hexadecimal(b"13fc10a00\n"), Some(0x1_3fc1_0a00));
        assert_eq!(cpu_list(b"0-2,5\n"), Some(vec![0, 1, 2, 5]));
        assert_eq!(cpu_list(b"0\n"), Some(vec![0]));
        assert_eq!(cpu_list(b"\n"), None);
        assert_eq!(cpu_list(b"0-4000000000\n"), None, "an absurd list must not fill memory");
        assert_eq!(cpu_list(b"0-8191,0-8191\n"), None, "nor must one that says the same again and again");
    }

    #[test]
    fn vmcoreinfo_has_two_hexadecimal_numbers() {
        let note = Note { address: PhysAddr(0x1_3fed_0000), size: 0x1024 };
        assert_eq!(vmcoreinfo(b"0x000000013fed0000 1024\n"), Some(note));
        assert_eq!(vmcoreinfo(b"0x0 1024\n"), None);
        assert_eq!(vmcoreinfo(b"x\n"), None);
    }

    /// Catches HighMem taken for low memory: a region there would pass, and hang.
    #[test]
    fn low_memory_ends_where_highmem_begins() {
        let zoneinfo = b"Node 0, zone      DMA\n  pages free     3976\n        spanned  4095\n        present  3998\n  start_pfn:           1\n\
Node 0, zone   Normal\n        spanned  225278\n  start_pfn:           4096\n\
Node 0, zone  HighMem\n        spanned  819200\n  start_pfn:           229374\n\
Node 0, zone  Movable\n        spanned  0\n  start_pfn:           0\n";
        assert_eq!(lowmem_last(zoneinfo), Some(PhysAddr(229_374 * 4096 - 1)));
        assert_eq!(lowmem_last(b""), None);
    }
}
