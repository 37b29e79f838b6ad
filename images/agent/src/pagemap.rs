//! /proc/self/pagemap: from a virtual page to the physical one (Documentation/admin-guide/mm/pagemap.rst).

use guest_protocol::Place;

/// Size of a page on x86, in bytes.
pub const PAGE_SIZE: usize = 4096;

/// Size of an entry, in bytes; entries are indexed by virtual page number.
pub const ENTRY_SIZE: usize = 8;

/// Bits 0-54 of an entry: the page frame number, where the page is present.
const FRAME_BITS: u64 = (1 << 55) - 1;
/// Bit 63 of an entry: the page is present in RAM.
const PRESENT: u64 = 1 << 63;

const FOUR_GIB: u64 = 1 << 32;

/// Offset in the file of the entry for a virtual address.
pub const fn entry_offset(virtual_address: usize) -> u64 {
    (virtual_address / PAGE_SIZE * ENTRY_SIZE) as u64
}

/// Physical address of the page's first byte. `None` where the page is absent, and where the kernel hides frame numbers (it
/// gives 0 to those without CAP_SYS_ADMIN; frame 0 itself is never given to a process on x86).
pub const fn physical_address(entry: u64) -> Option<u64> {
    let frame = entry & FRAME_BITS;
    if entry & PRESENT == 0 || frame == 0 { None } else { Some(frame * PAGE_SIZE as u64) }
}

/// Whether a page at this physical address lies where it must.
pub const fn fits(place: Place, address: u64) -> bool {
    match place {
        Place::Anywhere => true,
        Place::Above4G => address >= FOUR_GIB,
        Place::Below4G => address < FOUR_GIB,
    }
}

/// The first of these entries, as the file holds them, whose page lies where it must: its index and physical address.
pub fn first_fit(entries: &[u8], place: Place) -> Option<(usize, u64)> {
    entries.chunks_exact(ENTRY_SIZE).enumerate().find_map(|(index, entry)| {
        let address = physical_address(u64::from_le_bytes(entry.try_into().ok()?))?;
        fits(place, address).then_some((index, address))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Catches flag bits (soft-dirty 55, exclusive 56, file 61, swap 62) that leak into the address, frame numbers cut at
    /// 32 bits, and absent, swapped or hidden pages taken for present ones.
    #[test]
    fn entries_are_read_as_documented() {
        let present = PRESENT | 1 << 56 | 1 << 55;
        assert_eq!(physical_address(present | 0x12_3456), Some(0x1_2345_6000));
        assert_eq!(physical_address(present | 1 << 61 | 0x1000), Some(0x100_0000));
        assert_eq!(physical_address(1 << 62 | 0x1000), None);
        assert_eq!(physical_address(0x1000), None);
        assert_eq!(physical_address(PRESENT), None);
    }

    /// Catches an offset that overflows or counts bytes in place of pages.
    #[test]
    fn offsets_count_pages() {
        assert_eq!(entry_offset(0x1000), 8);
        assert_eq!(entry_offset(0xffff_f000), 0xf_ffff * 8);
    }

    /// Catches a border of 4 GiB that is off by one page, on either side.
    #[test]
    fn the_first_page_in_place_is_taken() {
        let entries: Vec<u8> = [0, PRESENT | 0xf_ffff, PRESENT | 0x10_0000, PRESENT | 0x10_0001]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        assert_eq!(first_fit(&entries, Place::Anywhere), Some((1, 0xffff_f000)));
        assert_eq!(first_fit(&entries, Place::Below4G), Some((1, 0xffff_f000)));
        assert_eq!(first_fit(&entries, Place::Above4G), Some((2, 0x1_0000_0000)));
        assert_eq!(first_fit(&entries[..16], Place::Above4G), None);
    }
}
