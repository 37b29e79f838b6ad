//! The crashed kernel's own page tables, walked in the vmcore: an account of its virtual addresses that owes nothing to the
//! loader which wrote the core header (Intel SDM volume 3A, chapter 4.3 to 4.5).
//!
//! Only the first step, from `swapper_pg_dir` to the root table, goes through a p_vaddr; all further ones are physical.

use crate::failure::Failure;
use crate::kernel_memory::KernelMemory;
use crate::read_at::ReadAt;
use crate::vmcoreinfo::{VmcoreInfo, Word};
use alloc::format;
use alloc::vec::Vec;
use guest_protocol::Mapping;

/// Bit 0 of an entry: it maps something.
const PRESENT: u64 = 1;
/// Bit 7 of an entry above the last level: it maps a large page.
const LARGE: u64 = 1 << 7;
/// Address bits of an entry of 8 bytes, M-1 (at most 51) to 12.
const ADDRESS_64: u64 = 0x000f_ffff_ffff_f000;
/// Address bits of an entry of 4 bytes.
const ADDRESS_32: u64 = 0xffff_f000;

/// Most PT_LOADs that are looked up. A machine has some ten ranges of RAM; damaged headers may name 65,534.
const MAX_LOADS: usize = 512;

/// One level of tables.
struct Level {
    /// First bit of the address that its index is.
    shift: u32,
    /// Number of those bits.
    bits: u32,
    /// Whether its entries may map large pages.
    large: bool,
}

const fn level(shift: u32, bits: u32, large: bool) -> Level {
    Level { shift, bits, large }
}

/// Five levels (LA57): PML5, then as below.
const FIVE: [Level; 5] =
    [level(48, 9, false), level(39, 9, false), level(30, 9, true), level(21, 9, true), level(12, 9, false)];
/// Three levels of i386 with PAE.
const PAE: [Level; 3] = [level(30, 2, false), level(21, 9, true), level(12, 9, false)];
/// Two levels of i386 without.
const CLASSIC: [Level; 2] = [level(22, 10, true), level(12, 10, false)];

/// The page tables of `init_mm`.
pub struct PageTables {
    root: u64,
    levels: &'static [Level],
    entry: Word,
}

impl PageTables {
    /// Finds them.
    ///
    /// # Errors
    /// VMCOREINFO does not tell where they are, or no p_vaddr leads there.
    pub fn find<F: ReadAt>(memory: &KernelMemory<'_, F>, info: VmcoreInfo<'_>) -> Result<Self, Failure> {
        let (levels, entry): (&[Level], _) = match memory.word_size() {
            Word::Bits64 if info.value("NUMBER(pgtable_l5_enabled)") == Some("1") => (&FIVE, Word::Bits64),
            Word::Bits64 => (&FIVE[1..], Word::Bits64),
            Word::Bits32 if info.value("CONFIG_X86_PAE") == Some("y") => (&PAE, Word::Bits64),
            Word::Bits32 => (&CLASSIC, Word::Bits32),
        };
        let root = memory
            .physical(info.symbol("swapper_pg_dir")?)
            .map_err(|failure| Failure::new(format!("find swapper_pg_dir: {failure}")))?;
        Ok(Self { root, levels, entry })
    }

    /// The physical address of a virtual one. `None`: it is not mapped.
    ///
    /// # Errors
    /// A table is not in the vmcore.
    pub fn translate<F: ReadAt>(
        &self,
        memory: &mut KernelMemory<'_, F>,
        address: u64,
    ) -> Result<Option<u64>, Failure> {
        let mut table = self.root;
        for level in self.levels {
            let index = address >> level.shift & ((1 << level.bits) - 1);
            let mut bytes = [0; 8];
            // An index has at most 10 bits, and a table's address at most 52.
            memory
                .read_physical(table + index * self.entry.size() as u64, &mut bytes[..self.entry.size()])
                .map_err(|failure| Failure::new(format!("walk to {address:#x}: {failure}")))?;
            let entry = u64::from_le_bytes(bytes);
            if entry & PRESENT == 0 {
                return Ok(None);
            }
            table = entry
                & match self.entry {
                    Word::Bits64 => ADDRESS_64,
                    Word::Bits32 => ADDRESS_32,
                };
            if level.shift == 12 || (level.large && entry & LARGE != 0) {
                let within = (1 << level.shift) - 1;
                return Ok(Some(table & !within | address & within));
            }
        }
        Ok(None)
    }
}

/// Where the tables lead from the first and last byte of each PT_LOAD, in the headers' order.
///
/// # Errors
/// The tables are not found or not in the vmcore, or there are more PT_LOADs than a machine has.
pub fn mappings<F: ReadAt>(
    memory: &mut KernelMemory<'_, F>,
    info: VmcoreInfo<'_>,
) -> Result<Vec<Mapping>, Failure> {
    let count = memory.loads().count();
    if count > MAX_LOADS {
        return Err(Failure::new(format!("{count} PT_LOADs are more than a machine has ranges of RAM")));
    }
    let tables = PageTables::find(memory, info)?;
    memory
        .loads()
        .map(|load| {
            let last = load.virtual_.wrapping_add(load.memory_size.saturating_sub(1));
            Ok(Mapping {
                first: tables.translate(memory, load.virtual_)?,
                last: tables.translate(memory, last)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::{Class, Core};
    use crate::kernel_memory::tests::load;
    use crate::read_at::tests::Bytes;
    use proptest::prelude::*;
    use std::vec;

    const TABLE: usize = 4096;

    /// Tables one page each from physical 0, the root first; entries are given as table, index and value.
    fn file(entry: Word, entries: &[(usize, usize, u64)]) -> Bytes {
        let mut bytes = vec![0; 6 * TABLE];
        for &(table, index, value) in entries {
            let at = table * TABLE + index * entry.size();
            bytes[at..at + entry.size()].copy_from_slice(&value.to_le_bytes()[..entry.size()]);
        }
        Bytes(bytes)
    }

    fn core(virtual_: u64) -> Core {
        Core { class: Class::Bits64, machine: 62, headers: vec![load(virtual_, 0, 6 * TABLE as u64)] }
    }

    fn walk(info: &str, word: Word, mut file: Bytes, root: u64, address: u64) -> Option<u64> {
        let core = core(root);
        let mut memory = KernelMemory::new(&mut file, &core, word);
        let text = std::format!("SYMBOL(swapper_pg_dir)={root:x}\n{info}");
        let tables = PageTables::find(&memory, VmcoreInfo::new(text.as_bytes())).unwrap();
        tables.translate(&mut memory, address).unwrap()
    }

    const KERNEL: u64 = 0xffff_ffff_8000_0000;
    /// Writable and present, with the bits above the address set as the kernel does (NX, global, PAT of a large page).
    const FLAGS: u64 = 1 << 63 | 0x163;

    /// Catches a level left out or read at the wrong bits, a large page walked into, and attribute bits left in the address.
    #[test]
    fn x86_64_tables_are_walked() {
        let small = [
            (0, 511, 0x1000 | FLAGS),
            (1, 510, 0x2000 | FLAGS),
            (2, 8, 0x3000 | FLAGS),
            (3, 1, 0x123_4000 | FLAGS),
        ];
        let address = KERNEL + (8 << 21) + 0x1abc;
        assert_eq!(walk("", Word::Bits64, file(Word::Bits64, &small), KERNEL, address), Some(0x123_4abc));
        assert_eq!(walk("", Word::Bits64, file(Word::Bits64, &small), KERNEL, address + 0x1000), None);
        let large = [small[0], small[1], (2, 8, 0x1_0060_0000 | FLAGS | LARGE | 1 << 12)];
        assert_eq!(walk("", Word::Bits64, file(Word::Bits64, &large), KERNEL, address), Some(0x1_0060_1abc));
        let even = address + 0x1000;
        assert_eq!(walk("", Word::Bits64, file(Word::Bits64, &large), KERNEL, even), Some(0x1_0060_2abc));
        let huge = [(0, 273, 0x1000 | FLAGS), (1, 4, 0x1_0000_0000 | FLAGS | LARGE)];
        let direct = 0xffff_8880_0000_0000 + (4 << 30) + 0x1234_5678;
        assert_eq!(walk("", Word::Bits64, file(Word::Bits64, &huge), KERNEL, direct), Some(0x1_1234_5678));
        // The same four under a fifth.
        let five = [
            (0, 511, 0x1000 | FLAGS),
            (1, 511, 0x2000 | FLAGS),
            (2, 510, 0x3000 | FLAGS),
            (3, 8, 0x60_0000 | FLAGS | LARGE),
        ];
        let info = "NUMBER(pgtable_l5_enabled)=1\n";
        assert_eq!(walk(info, Word::Bits64, file(Word::Bits64, &five), KERNEL, address), Some(0x60_1abc));
    }

    /// Catches a PAE kernel walked without PAE or the other way round, and a p_vaddr cut to 32 bits that is found mapped.
    #[test]
    fn i386_tables_are_walked() {
        let root = 0xc100_0000;
        let pae = [(0, 3, 0x1001), (1, 8, 0x3_0060_0000 | FLAGS | LARGE)];
        let info = "CONFIG_X86_PAE=y\n";
        let address = 0xc100_1abc;
        assert_eq!(walk(info, Word::Bits32, file(Word::Bits64, &pae), root, address), Some(0x3_0060_1abc));
        let classic = [(0, 0x304, 0x0100_01e3), (0, 0x305, 0x1063), (1, 1, 0x0234_5163)];
        assert_eq!(walk("", Word::Bits32, file(Word::Bits32, &classic), root, address), Some(0x0100_1abc));
        assert_eq!(
            walk("", Word::Bits32, file(Word::Bits32, &classic), root, 0xc140_1abc),
            Some(0x0234_5abc)
        );
        assert_eq!(walk("", Word::Bits32, file(Word::Bits32, &classic), root, 0xc180_0000), None);
        let small = [(0, 511, 0x1000 | FLAGS)];
        assert_eq!(walk("", Word::Bits64, file(Word::Bits64, &small), KERNEL, 0x8000_0000), None);
    }

    proptest! {
        /// Catches a panic, an overflow or an endless walk in tables of any bytes.
        #[test]
        fn any_tables_end(
            bytes in prop::collection::vec(any::<u8>(), 0..2 * TABLE),
            address: u64,
            root in 0_u64..0x3000,
            wide: bool,
            info in prop::sample::select(vec!["", "CONFIG_X86_PAE=y\n", "NUMBER(pgtable_l5_enabled)=1\n"]),
        ) {
            let mut file = Bytes(bytes);
            let core = core(0);
            let word = if wide { Word::Bits64 } else { Word::Bits32 };
            let mut memory = KernelMemory::new(&mut file, &core, word);
            let text = std::format!("SYMBOL(swapper_pg_dir)={root:x}\n{info}");
            let tables = PageTables::find(&memory, VmcoreInfo::new(text.as_bytes())).unwrap();
            let _ = tables.translate(&mut memory, address);
        }
    }
}
