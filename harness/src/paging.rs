//! The walk through a CPU's page tables, entry by entry: pure, since whoever walks reads the entries over QMP, one at a time, and
//! keeps them as evidence. (Intel SDM volume 3, chapter 4.)

use crate::evidence::{Cpu, PageEntry, PageWalk, Translation};

/// PG in CR0, PSE, PAE and LA57 in CR4, LMA in EFER.
const CR0_PG: u64 = 1 << 31;
const CR4_PSE: u64 = 1 << 4;
const CR4_PAE: u64 = 1 << 5;
const CR4_LA57: u64 = 1 << 12;
const EFER_LMA: u64 = 1 << 10;
/// P and PS of an entry.
const PRESENT: u64 = 1;
const LARGE: u64 = 1 << 7;
/// The address in a 64-bit entry: bits 12 to 51.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// The address that CR3 holds of a PAE table of 4 entries: bits 5 to 31.
const CR3_PAE: u64 = 0xffff_ffe0;

/// A level of a page table.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// The lowest bit of the address that it looks at.
    shift: u32,
    /// How many bits it looks at.
    bits: u32,
    /// Whether an entry may map a page as large as all that lies below it.
    large: bool,
}

const fn level(shift: u32, bits: u32, large: bool) -> Level {
    Level { shift, bits, large }
}

const LONG: [Level; 5] =
    [level(48, 9, false), level(39, 9, false), level(30, 9, true), level(21, 9, true), level(12, 9, false)];
const PAE: [Level; 3] = [level(30, 2, false), level(21, 9, true), level(12, 9, false)];
const CLASSIC: [Level; 2] = [level(22, 10, true), level(12, 10, false)];
/// Without PSE no entry is large.
const CLASSIC_SMALL: [Level; 2] = [level(22, 10, false), level(12, 10, false)];

/// A walk that goes on.
#[derive(Debug)]
pub struct Walk {
    address: u64,
    levels: &'static [Level],
    entry_bytes: u64,
    table: u64,
    done: PageWalk,
    ended: bool,
}

impl Walk {
    /// Begins where this CPU would, at a linear address.
    pub fn begin(cpu: &Cpu, address: u64) -> Self {
        let (levels, entry_bytes, table): (&[Level], _, _) = if cpu.efer & EFER_LMA != 0 {
            let top = if cpu.cr4 & CR4_LA57 != 0 { 0 } else { 1 };
            (&LONG[top..], 8, cpu.cr3 & ADDRESS)
        } else if cpu.cr4 & CR4_PAE != 0 {
            (&PAE, 8, cpu.cr3 & CR3_PAE)
        } else if cpu.cr4 & CR4_PSE != 0 {
            (&CLASSIC, 4, cpu.cr3 & ADDRESS)
        } else {
            (&CLASSIC_SMALL, 4, cpu.cr3 & ADDRESS)
        };
        let mut walk = Self { address, levels, entry_bytes, table, done: PageWalk::default(), ended: false };
        if cpu.cr0 & CR0_PG == 0 {
            walk.end(Translation::Mapped { physical: address, paging: false });
        }
        walk
    }

    /// The entry that must be read next: its physical address and its size in bytes, 4 or 8. None: the walk has ended.
    pub fn wanted(&self) -> Option<(u64, u64)> {
        let level = self.levels.first().filter(|_| !self.ended)?;
        let index = self.address >> level.shift & ((1 << level.bits) - 1);
        Some((self.table + index * self.entry_bytes, self.entry_bytes))
    }

    /// Goes on with what was read; none: it could not be read.
    pub fn take(&mut self, value: Option<u64>) {
        let (Some((at, bytes)), Some((level, below))) = (self.wanted(), self.levels.split_first()) else {
            return;
        };
        let Some(value) = value else { return self.end(Translation::Unread) };
        self.done.entries.push(PageEntry { at, value });
        if value & PRESENT == 0 {
            return self.end(Translation::NotPresent);
        }
        // Above bit 31 an entry of 4 bytes has nothing; PSE-36, which nobody uses, is left out.
        let base = if bytes == 4 { value & 0xffff_f000 } else { value & ADDRESS };
        if below.is_empty() || (level.large && value & LARGE != 0) {
            let within = (1 << level.shift) - 1;
            let physical = base & !within | self.address & within;
            return self.end(Translation::Mapped { physical, paging: true });
        }
        self.levels = below;
        self.table = base;
    }

    fn end(&mut self, end: Translation) {
        self.done.end = end;
        self.ended = true;
    }

    /// What was found.
    pub fn finish(self) -> PageWalk {
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn walk(cpu: &Cpu, address: u64, memory: &BTreeMap<u64, u64>) -> PageWalk {
        let mut walk = Walk::begin(cpu, address);
        while let Some((at, _)) = walk.wanted() {
            walk.take(memory.get(&at).copied());
        }
        walk.finish()
    }

    fn mapped(physical: u64) -> Translation {
        Translation::Mapped { physical, paging: true }
    }

    const LONG_MODE: Cpu = Cpu { cr0: CR0_PG, cr3: 0x260_a000, cr4: CR4_PAE, efer: EFER_LMA, ..EMPTY };
    const EMPTY: Cpu = Cpu {
        ip: 0,
        flags: 0,
        halted: false,
        sp: 0,
        cr0: 0,
        cr2: 0,
        cr3: 0,
        cr4: 0,
        efer: 0,
        cs: crate::evidence::Selector { selector: 0, base: 0, flags: 0 },
        idt: crate::evidence::Table { base: 0, limit: 0 },
    };

    /// Bug: a large page is walked through as if it were a table, or its low address bits are lost.
    #[test]
    fn four_levels_and_a_large_page() {
        let memory = BTreeMap::from([
            (0x260_a000 + 511 * 8, 0x260_b067),
            (0x260_b000 + 510 * 8, 0x260_c063),
            (0x260_c000 + 8 * 8, 0x8000_0000_0100_01e3),
        ]);
        let found = walk(&LONG_MODE, 0xffff_ffff_8112_3456, &memory);
        assert_eq!(found.end, mapped(0x112_3456));
        assert_eq!(found.entries.len(), 3);
        let absent = walk(&LONG_MODE, 0xffff_ffff_8112_3456, &BTreeMap::from([(0x260_aff8, 0x260_b066)]));
        assert_eq!(absent.end, Translation::NotPresent);
        assert_eq!(walk(&LONG_MODE, 0, &BTreeMap::new()).end, Translation::Unread);
    }

    /// Bug: PAE's short top table is looked for at a page's beginning, or 4-byte entries are read as 8.
    #[test]
    fn the_two_forms_of_32_bits() {
        let pae = Cpu { cr0: CR0_PG, cr3: 0x2a0_1020, cr4: CR4_PAE, ..EMPTY };
        let memory = BTreeMap::from([
            (0x2a0_1020 + 3 * 8, 0x2a0_2001),
            (0x2a0_2000 + 8 * 8, 0x2a0_3063),
            (0x2a0_3000 + 0x23 * 8, 0x102_3163),
        ]);
        assert_eq!(walk(&pae, 0xc102_3456, &memory).end, mapped(0x102_3456));
        let classic = Cpu { cr0: CR0_PG, cr3: 0x2a0_1000, cr4: CR4_PSE, ..EMPTY };
        let memory = BTreeMap::from([(0x2a0_1000 + 0x304 * 4, 0x0100_01e3)]);
        assert_eq!(walk(&classic, 0xc102_3456, &memory).end, mapped(0x102_3456));
        let small = Cpu { cr4: 0, ..classic };
        let memory =
            BTreeMap::from([(0x2a0_1000 + 0x304 * 4, 0x0200_01e3), (0x0200_0000 + 0x23 * 4, 0x777_7063)]);
        assert_eq!(walk(&small, 0xc102_3456, &memory).end, mapped(0x777_7456));
    }

    /// Bug: with paging off, stale tables are walked.
    #[test]
    fn without_paging_an_address_is_physical() {
        let off = Cpu { cr0: 1, ..LONG_MODE };
        let found = walk(&off, 0x7b69_bb4e, &BTreeMap::new());
        assert_eq!(found.end, Translation::Mapped { physical: 0x7b69_bb4e, paging: false });
    }
}
