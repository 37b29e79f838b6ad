//! The headers of /proc/kcore: where an x86_64 kernel has mapped its RAM and itself, which KASLR decides at every boot.
//!
//! kcore is an ELF core with one PT_LOAD for each mapped piece (fs/proc/kcore.c). Pieces of RAM and of the kernel's text
//! carry their physical address in `p_paddr`; others have -1 there. Before Linux 4.11 all have 0.

use crate::addr::{PhysAddr, Span};
use crate::bytes::{u16_at, u32_at, u64_at};
use alloc::vec::Vec;

/// Most bytes of kcore that are read for its headers: 64 KiB have room for over a thousand of them.
const MOST: usize = 64 * 1024;

/// Where the kernel's text is mapped: `__START_KERNEL_map`, up to the modules (Documentation/arch/x86/x86_64/mm.rst).
const TEXT_START: u64 = 0xffff_ffff_8000_0000;
/// The first address of modules; with KASLR the kernel's own mapping ends there.
const TEXT_END: u64 = 0xffff_ffff_c000_0000;
/// Size of an ELF64 header, and of an ELF64 program header.
const EHDR_SIZE: usize = 64;
const PHDR_SIZE: usize = 56;
/// p_type of a piece of memory.
const PT_LOAD: u32 = 1;

/// Bytes from the beginning of kcore on that hold its headers, as its first bytes say, as far as they are needed; zero if they are none.
pub fn headers_size(kcore: &[u8]) -> usize {
    let size = || {
        let offset = usize::try_from(u64_at(kcore, 32)?).ok()?;
        offset.checked_add(PHDR_SIZE * usize::from(u16_at(kcore, 56)?))
    };
    size().unwrap_or_default().min(MOST)
}

/// A mapped piece of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Where it lies in physical memory.
    pub physical: Span,
    /// Virtual address of its first byte.
    pub virtual_start: u64,
}

/// How the running x86_64 kernel has mapped memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectMap {
    /// PAGE_OFFSET: the virtual address of physical address 0 in the direct map.
    pub page_offset: u64,
    /// The kernel's text and data, mapped a second time.
    pub text: Option<Mapped>,
}

impl DirectMap {
    /// Whether the map shows five levels of page tables: its addresses then begin in a half of 56 bits (mm.rst).
    pub const fn five_levels(&self) -> bool {
        const LOWEST_OF_FOUR_LEVELS: u64 = 0xffff_8000_0000_0000;
        self.page_offset < LOWEST_OF_FOUR_LEVELS
    }

    /// The layout of a kernel without KASLR and with four levels of page tables (mm.rst), for want of better knowledge.
    pub const WITHOUT_KASLR: Self = Self { page_offset: 0xffff_8880_0000_0000, text: None };

    /// Reads the headers at the start of /proc/kcore; none if they are not those of an x86_64 kernel.
    pub fn parse(kcore: &[u8]) -> Option<Self> {
        let is_elf64 = kcore.starts_with(b"\x7fELF\x02\x01") && u16_at(kcore, 16)? == 4;
        if !is_elf64 || u16_at(kcore, 54)? as usize != PHDR_SIZE {
            return None;
        }
        let (offset, count) = (usize::try_from(u64_at(kcore, 32)?).ok()?, usize::from(u16_at(kcore, 56)?));
        let offset = Some(offset).filter(|&offset| offset >= EHDR_SIZE)?;
        let headers = kcore.get(offset..)?;
        let mapped: Vec<Mapped> = headers.chunks_exact(PHDR_SIZE).take(count).filter_map(mapped).collect();
        let text = mapped.iter().find(|piece| (TEXT_START..TEXT_END).contains(&piece.virtual_start)).copied();
        /// The direct map begins at a multiple of 1 GiB, with KASLR too (arch/x86/mm/kaslr.c moves it by PUD_SIZE).
        const GIB: u64 = 1 << 30;
        // Every other piece with a physical address lies in the direct map, and they agree on its base; the vmemmap and
        // vmalloc pieces have no physical address. An address of 0 may be none.
        let others = || mapped.iter().filter(|piece| piece.virtual_start < TEXT_START);
        let told = others()
            .filter(|piece| piece.physical.start().0 != 0)
            .filter_map(|piece| piece.virtual_start.checked_sub(piece.physical.start().0))
            .find(|base| base % GIB == 0);
        // Without any, the lowest piece is the first RAM, for the direct map lies below all else (mm.rst), moved or not.
        let lowest = || others().map(|piece| piece.virtual_start - piece.virtual_start % GIB).min();
        Some(Self { page_offset: told.or_else(lowest)?, text })
    }
}

/// The piece that a program header describes, if it is RAM with a known physical address.
fn mapped(header: &[u8]) -> Option<Mapped> {
    let (virtual_start, physical, size) = (u64_at(header, 16)?, u64_at(header, 24)?, u64_at(header, 40)?);
    if u32_at(header, 0)? != PT_LOAD || physical == u64::MAX || physical == 0 && virtual_start >= TEXT_START {
        return None;
    }
    // Addresses of user halves or of no half at all belong to nothing that is mapped.
    if virtual_start >> 47 != 0x1_ffff && virtual_start >> 56 != 0xff {
        return None;
    }
    Some(Mapped { physical: Span::sized(PhysAddr(physical), size)?, virtual_start })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span;
    use alloc::vec;
    use proptest::prelude::*;

    fn kcore(pieces: &[(u64, u64, u64)]) -> Vec<u8> {
        let mut file = vec![0u8; EHDR_SIZE];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[16] = 4;
        file[32] = EHDR_SIZE as u8;
        file[54] = PHDR_SIZE as u8;
        file[56] = pieces.len() as u8;
        for &(virtual_start, physical, size) in pieces {
            let mut header = [0u8; PHDR_SIZE];
            header[0] = 1;
            header[16..24].copy_from_slice(&virtual_start.to_le_bytes());
            header[24..32].copy_from_slice(&physical.to_le_bytes());
            header[40..48].copy_from_slice(&size.to_le_bytes());
            file.extend_from_slice(&header);
        }
        file
    }

    /// Catches headers with the addresses of an unmoved kernel when KASLR has moved it, or with 32 bits of them.
    #[test]
    fn a_moved_kernel_is_found() {
        let file = kcore(&[
            (0xffff_ffff_a380_0000, 0x3_2380_0000, 0x2c0_0000),
            (0xffff_ad0a_8000_0000, u64::MAX, 0x1fff_ffff_ffff),
            (0xffff_ffff_c000_0000, u64::MAX, 0x3f00_0000),
            (0xffff_98cb_0000_1000, 0x1000, 0x9_e000),
            (0xffff_98cc_0000_0000, 0x1_0000_0000, 0x1_4000_0000),
            (0xffff_f3a0_4000_0000, u64::MAX, 0x8_0000),
        ]);
        let map = DirectMap::parse(&file).unwrap();
        assert_eq!(map.page_offset, 0xffff_98cb_0000_0000);
        assert_eq!(
            map.text,
            Some(Mapped {
                physical: span(0x3_2380_0000, 0x3_263f_ffff),
                virtual_start: 0xffff_ffff_a380_0000
            })
        );
    }

    /// Catches vmalloc's or vmemmap's place taken for the direct map's, in which all virtual addresses of the dump are then wrong: before
    /// Linux 4.11 no piece has a physical address.
    #[test]
    fn a_kernel_that_tells_no_physical_address_is_understood() {
        let file = kcore(&[
            (0xffff_ffff_8100_0000, 0, 0x100_0000),
            (0xffff_c900_0000_0000, 0, 0x1fff_ffff_ffff),
            (0xffff_ffff_a000_0000, 0, 0x5f00_0000),
            (0xffff_8800_0000_1000, 0, 0x9_e000),
            (0xffff_8800_0010_0000, 0, 0xbfee_0000),
            (0xffff_8801_0000_0000, 0, 0x1_4000_0000),
            (0xffff_ea00_0000_0000, 0, 0x8_0000),
        ]);
        let map = DirectMap::parse(&file).unwrap();
        assert_eq!((map.page_offset, map.text), (0xffff_8800_0000_0000, None));
    }

    /// Catches RAM from address 0 on that hides what the other pieces tell.
    #[test]
    fn an_address_of_zero_has_no_say_beside_others() {
        let file = kcore(&[
            (0xffff_98cb_4000_0000, 0, 0x1000),
            (0xffff_98cc_0000_0000, 0x1_0000_0000, 0x1_4000_0000),
        ]);
        assert_eq!(DirectMap::parse(&file).map(|map| map.page_offset), Some(0xffff_98cb_0000_0000));
    }

    /// Catches the last headers of a kernel with many ranges of RAM left unread.
    #[test]
    fn all_headers_are_asked_for() {
        let file = kcore(&[(0xffff_8880_0010_0000, 0x10_0000, 0x1000); 200]);
        assert_eq!(headers_size(&file[..4096]), file.len());
        assert_eq!(headers_size(&[0xff; 64]), 0, "an offset that wraps");
        assert_eq!(headers_size(b"x"), 0);
        let mut far = file;
        far[34] = 1;
        assert_eq!(headers_size(&far), MOST);
    }

    #[test]
    fn five_levels_are_seen() {
        let five = |virtual_start| {
            let file = kcore(&[(virtual_start, 0x1_0000_0000, 0x1000)]);
            DirectMap::parse(&file).map(|map| map.five_levels())
        };
        assert_eq!(five(0xff11_0001_0000_0000), Some(true));
        assert_eq!(five(0xffff_8881_0000_0000), Some(false));
    }

    #[test]
    fn foreign_files_are_no_kcore() {
        let mut i386 = kcore(&[(0xc000_0000, 0, 0x1000)]);
        i386[4] = 1;
        assert_eq!(DirectMap::parse(&i386), None);
        assert_eq!(DirectMap::parse(&kcore(&[])), None);
        assert_eq!(DirectMap::parse(b""), None);
        // Catches headers that are taken from another place than the one up to which the file was read.
        let mut within = kcore(&[(0xffff_8880_0000_0000, 0, 0x1000)]);
        assert!(DirectMap::parse(&within).is_some());
        within[32] = 63;
        assert_eq!(DirectMap::parse(&within), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut file in prop::collection::vec(any::<u8>(), 0..400), magic in any::<bool>()) {
            if magic && file.len() > 64 {
                file[..6].copy_from_slice(b"\x7fELF\x02\x01");
                file[16..18].copy_from_slice(&[4, 0]);
                file[54..56].copy_from_slice(&[56, 0]);
            }
            let _ = DirectMap::parse(&file);
        }
    }
}
