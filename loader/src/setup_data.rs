//! What lies behind the command line in boot_params' segment: the list of setup_data, by which a boot loader hands over what boot_params
//! has no room for, and UEFI's memory map. Format: boot.rst, "setup_data"; types: arch/x86/include/uapi/asm/setup_data.h.
//!
//! Kernels of every age walk the list and pass over types that they do not know. An i386 kernel reads it through temporary mappings
//! (arch/x86/kernel/setup.c, `parse_setup_data`), so that it may lie above that kernel's low memory, as boot_params may.

use crate::addr::PhysAddr;
use crate::e820::{self, Entry};
use crate::efi::Efi;
use alloc::vec::Vec;

/// The list as this program fills it, without its e820 entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tail<'a> {
    /// What UEFI told, where the capture kernel can use it.
    pub efi: Option<&'a Efi>,
    /// Random bytes. Kernels from 6.0 on start their generator with them and then wipe them; others take none. This program does not
    /// wipe its own copy: the one in the crash region outlives it.
    pub seed: Option<&'a [u8; SEED]>,
}

/// Bytes of a seed: what the kernel's generator is keyed with (RANDOM_SEED_SIZE in arch/x86/kernel/kexec-bzimage64.c).
pub const SEED: usize = 32;

/// A filled tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The first of the list, if it has any.
    pub setup_data: Option<PhysAddr>,
    /// UEFI's memory map.
    pub efi_map: Option<PhysAddr>,
}

/// SETUP_E820_EXT: e820 entries beyond those in boot_params.
const E820_EXT: u32 = 1;
/// SETUP_EFI.
const EFI: u32 = 4;
/// SETUP_RNG_SEED.
const RNG_SEED: u32 = 9;
/// `next` of 8 bytes, `type` and `len` of 4 each.
const HEADER: usize = 16;
/// Alignment of each item and of the map. None is asked for; `next` has 8 bytes.
pub const ALIGNMENT: usize = 8;

impl Tail<'_> {
    /// Bytes of a tail for a memory map of so many entries. One for fewer is no larger.
    pub fn size(&self, entries: usize) -> usize {
        let ext = entries.saturating_sub(e820::IN_BOOT_PARAMS).saturating_mul(e820::ENTRY_SIZE);
        let map = self.efi.map_or(0, |efi| efi.map().len());
        let items = [self.seed.map_or(0, |_| SEED), self.efi.map_or(0, |_| Efi::SETUP_DATA), ext];
        items.iter().filter(|&&payload| payload > 0).fold(map, |size, payload| {
            size.saturating_add(HEADER).saturating_add(payload.next_multiple_of(ALIGNMENT))
        })
    }

    /// Fills a tail for this memory map, which lies at `base`, a multiple of [`ALIGNMENT`].
    pub fn fill(&self, base: PhysAddr, map: &[Entry]) -> Filled {
        let mut bytes = Vec::new();
        let mut items: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut efi_map = None;
        if let Some(efi) = self.efi {
            // Descriptors of 40 bytes keep the alignment.
            efi_map = Some(base);
            bytes.extend_from_slice(efi.map());
            items.push((EFI, efi.setup_data()));
        }
        items.extend(self.seed.map(|seed| (RNG_SEED, seed.to_vec())));
        if let Some(beyond) = map.get(e820::IN_BOOT_PARAMS..).filter(|beyond| !beyond.is_empty()) {
            let mut entries = Vec::new();
            for entry in beyond {
                entries.extend_from_slice(&entry.encode());
            }
            items.push((E820_EXT, entries));
        }
        let at = |offset: usize| PhysAddr(base.0 + offset as u64);
        let setup_data = (!items.is_empty()).then(|| at(bytes.len()));
        let count = items.len();
        for (nth, (kind, payload)) in items.into_iter().enumerate() {
            let end = bytes.len() + HEADER + payload.len().next_multiple_of(ALIGNMENT);
            let next = if nth + 1 < count { at(end).0 } else { 0 };
            bytes.extend_from_slice(&next.to_le_bytes());
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&payload);
            bytes.resize(end, 0);
        }
        Filled { bytes, setup_data, efi_map }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{u32_at, u64_at};
    use crate::efi;
    use crate::iomem::Kind;
    use crate::testing::span;
    use alloc::vec;
    use proptest::prelude::*;

    const BASE: PhysAddr = PhysAddr(0x1_3fff_2140);

    fn entries(count: usize) -> Vec<Entry> {
        let entry = |nth: u64| Entry { span: span(nth << 12, (nth << 12) + 0xfff), kind: Kind::Reserved };
        (0..count as u64).map(entry).collect()
    }

    /// Type and payload of each item, as a kernel walks the list.
    fn walk(filled: &Filled) -> Vec<(u32, &[u8])> {
        let mut found = vec![];
        let mut next = filled.setup_data.map_or(0, |first| first.0);
        while next != 0 {
            assert_eq!(next % 8, 0);
            let at = (next - BASE.0) as usize;
            let field = |offset| u32_at(&filled.bytes, at + offset).unwrap();
            found.push((field(8), &filled.bytes[at + 16..at + 16 + field(12) as usize]));
            next = u64_at(&filled.bytes, at).unwrap();
        }
        found
    }

    /// Catches a list that ends early or in what lies behind it, entries that are lost or told twice at the edge of boot_params, and
    /// a seed that is cut.
    #[test]
    fn a_kernel_finds_all_of_it() {
        let efi = efi::tests::ovmf();
        let tail = Tail { efi: Some(&efi), seed: Some(&[7; 32]) };
        let filled = tail.fill(BASE, &entries(131));
        let found = walk(&filled);
        assert_eq!(found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [EFI, RNG_SEED, E820_EXT]);
        assert_eq!(found[0].1, efi.setup_data());
        assert_eq!(found[1].1, [7; 32]);
        assert_eq!(found[2].1.len(), 3 * 20);
        assert_eq!(u64_at(found[2].1, 0), Some(128 << 12), "the first that boot_params has no room for");
        assert_eq!((u64_at(found[2].1, 8), u32_at(found[2].1, 16)), (Some(0x1000), Some(2)));
        let map = (filled.efi_map.unwrap().0 - BASE.0) as usize;
        assert_eq!(&filled.bytes[map..map + efi.map().len()], efi.map());
    }

    #[test]
    fn nothing_to_tell_is_no_list() {
        let empty = Filled { bytes: vec![], setup_data: None, efi_map: None };
        assert_eq!(Tail::default().fill(BASE, &entries(128)), empty);
    }

    proptest! {
        /// Catches a segment that is too small for what goes into it.
        #[test]
        fn the_size_is_known_beforehand(count in 0usize..300, efi: bool, seed: bool) {
            let ovmf = efi::tests::ovmf();
            let tail = Tail { efi: efi.then_some(&ovmf), seed: seed.then_some(&[7; 32]) };
            let filled = tail.fill(BASE, &entries(count));
            prop_assert_eq!(filled.bytes.len(), tail.size(count));
            prop_assert!(tail.size(count) <= tail.size(count + 1));
            let items = usize::from(efi) + usize::from(seed) + usize::from(count > 128);
            prop_assert_eq!(walk(&filled).len(), items);
        }
    }
}
