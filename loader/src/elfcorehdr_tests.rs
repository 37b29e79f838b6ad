//! Tests of the core header, with a small reader of its own.

use super::*;
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::iomem::Kind;
use crate::kcore::Mapped;
use crate::testing::span;
use proptest::prelude::*;

/// (p_type, p_offset, p_vaddr, p_paddr, p_memsz)
type Phdr = (u32, u64, u64, u64, u64);

/// Class, machine, and program headers.
fn read(core: &[u8]) -> (u8, u16, Vec<Phdr>) {
    let count = |at| usize::from(u16_at(core, at).unwrap());
    let headers = match core[4] {
        2 => (0..count(56))
            .map(|i| 64 + 56 * i)
            .map(|o| {
                let word = |i: usize| u64_at(core, o + 8 * i).unwrap();
                assert_eq!(word(4), word(5), "p_filesz and p_memsz");
                (u32_at(core, o).unwrap(), word(1), word(2), word(3), word(5))
            })
            .collect(),
        _ => (0..count(44))
            .map(|i| 52 + 32 * i)
            .map(|o| {
                let word = |i: usize| u64::from(u32_at(core, o + 4 * i).unwrap());
                (u32_at(core, o).unwrap(), word(1), word(2), word(3), word(5))
            })
            .collect(),
    };
    (core[4], u16_at(core, 18).unwrap(), headers)
}

fn memory(ram: &[Span], crash: &[Span]) -> MemoryMap {
    MemoryMap { ranges: ram.iter().map(|&span| (span, Kind::Ram)).collect(), crash_regions: crash.to_vec() }
}

const BASE: u64 = 0xffff_98cb_0000_0000;

fn crashed<'a>(arch: Arch, memory: &'a MemoryMap, map: &'a DirectMap, notes: &'a [Note]) -> Crashed<'a> {
    Crashed {
        arch,
        reader: arch,
        memory,
        direct_map: map,
        lowmem_last: PhysAddr(0x37ff_ffff),
        cpu_notes: notes,
        vmcoreinfo: Some(Note { address: PhysAddr(0x1_3fed_0000), size: 0x1024 }),
        backup: None,
        class: None,
    }
}

/// Catches virtual addresses of 32 bits, a lost note, a crash region that is dumped, and offsets that are no addresses.
#[test]
fn an_x86_64_core_has_all_of_it() {
    let ram = [span(0x1000, 0x9_fbff), span(0x10_0000, 0xbffd_ffff), span(0x1_0000_0000, 0x1_3fff_ffff)];
    let memory = memory(&ram, &[span(0x7b00_0000, 0x8aff_ffff)]);
    let map = DirectMap {
        page_offset: BASE,
        text: Some(Mapped { physical: span(0x100_0000, 0x3bf_ffff), virtual_start: 0xffff_ffff_8100_0000 }),
    };
    let notes = [0x1_3fc1_0000, 0x1_3fd1_0000].map(|a| Note { address: PhysAddr(a), size: 0x164 });
    let (class, machine, headers) = read(&build(&crashed(Arch::X86_64, &memory, &map, &notes)).unwrap());
    assert_eq!((class, machine), (2, EM_X86_64));
    assert_eq!(
        headers,
        [
            (PT_NOTE, 0x1_3fc1_0000, 0, 0x1_3fc1_0000, 0x164),
            (PT_NOTE, 0x1_3fd1_0000, 0, 0x1_3fd1_0000, 0x164),
            (PT_NOTE, 0x1_3fed_0000, 0, 0x1_3fed_0000, 0x1024),
            (PT_LOAD, 0x100_0000, 0xffff_ffff_8100_0000, 0x100_0000, 0x2c0_0000),
            (PT_LOAD, 0x10_0000, BASE + 0x10_0000, 0x10_0000, 0x7af0_0000),
            (PT_LOAD, 0x8b00_0000, BASE + 0x8b00_0000, 0x8b00_0000, 0x34fe_0000),
            (PT_LOAD, 0x1_0000_0000, BASE + 0x1_0000_0000, 0x1_0000_0000, 0x4000_0000),
        ]
    );
}

/// Low memory has virtual addresses, high memory -1; the class follows the highest address.
#[test]
fn an_i386_core_is_split_at_the_end_of_low_memory() {
    let map = DirectMap::WITHOUT_KASLR;
    let small = memory(&[span(0x10_0000, 0x3fff_ffff)], &[span(0x1000_0000, 0x1fff_ffff)]);
    let (class, machine, headers) = read(&build(&crashed(Arch::I386, &small, &map, &[])).unwrap());
    assert_eq!((class, machine), (1, EM_386));
    assert_eq!(
        headers[1..],
        [
            (PT_LOAD, 0x10_0000, 0xc010_0000, 0x10_0000, 0xff0_0000),
            (PT_LOAD, 0x2000_0000, 0xe000_0000, 0x2000_0000, 0x1800_0000),
            (PT_LOAD, 0x3800_0000, 0xffff_ffff, 0x3800_0000, 0x800_0000),
        ]
    );
    let large = memory(&[span(0x10_0000, 0xbfff_ffff), span(0x1_0000_0000, 0x1_3fff_ffff)], &[]);
    let (class, machine, headers) = read(&build(&crashed(Arch::I386, &large, &map, &[])).unwrap());
    assert_eq!((class, machine), (2, EM_386));
    assert_eq!(headers.last(), Some(&(PT_LOAD, 0x1_0000_0000, u64::MAX, 0x1_0000_0000, 0x4000_0000)));
}

/// Catches virtual addresses that wrap into user memory where low memory is larger than the usual split leaves room for.
#[test]
fn an_i386_core_has_no_virtual_address_beyond_32_bits() {
    let map = DirectMap::WITHOUT_KASLR;
    let memory = memory(&[span(0x10_0000, 0x7fff_ffff)], &[]);
    let crashed = Crashed { lowmem_last: PhysAddr(0x77ff_ffff), ..crashed(Arch::I386, &memory, &map, &[]) };
    let (_, _, headers) = read(&build(&crashed).unwrap());
    assert_eq!(
        headers[1..],
        [
            (PT_LOAD, 0x10_0000, 0xc010_0000, 0x10_0000, 0x3ff0_0000),
            (PT_LOAD, 0x4000_0000, 0xffff_ffff, 0x4000_0000, 0x4000_0000),
        ]
    );
}

/// Catches a dump that an x86_64 capture kernel refuses to offer; addresses and notes stay those of the i386 kernel.
#[test]
fn an_x86_64_reader_gets_its_own_machine() {
    let memory = memory(&[span(0x10_0000, 0x3fff_ffff)], &[span(0x1000_0000, 0x1fff_ffff)]);
    let map = DirectMap::WITHOUT_KASLR;
    let crashed = Crashed { reader: Arch::X86_64, ..crashed(Arch::I386, &memory, &map, &[]) };
    let (class, machine, headers) = read(&build(&crashed).unwrap());
    assert_eq!((class, machine), (2, EM_X86_64));
    assert_eq!(headers[1], (PT_LOAD, 0x10_0000, 0xc010_0000, 0x10_0000, 0xff0_0000));
}

/// Catches low memory that is read where it was, after the capture kernel has written there; and a header whose size depends on where the
/// copy lies, which is known only when the size is.
#[test]
fn saved_low_memory_is_read_from_its_copy() {
    let memory = memory(&[span(0x1000, 0x9_fbff), span(0x10_0000, 0x3fff_ffff)], &[]);
    let map = DirectMap { page_offset: BASE, text: None };
    let source = span(0x1000, 0x9_efff);
    let with = |arch, target| {
        let backup = Some(Saved { source, target: PhysAddr(target) });
        build(&Crashed { backup, ..crashed(arch, &memory, &map, &[]) }).unwrap()
    };
    let core = with(Arch::X86_64, 0x3ff0_0000);
    let (_, _, headers) = read(&core);
    assert_eq!(
        headers[1..],
        [
            (PT_LOAD, 0x3ff0_0000, BASE + 0x1000, 0x1000, 0x9_e000),
            (PT_LOAD, 0x10_0000, BASE + 0x10_0000, 0x10_0000, 0x3ff0_0000),
        ]
    );
    assert_eq!(core.len(), with(Arch::X86_64, 0).len());
    let (class, _, headers) = read(&with(Arch::I386, 0x3ff0_0000));
    assert_eq!((class, headers[1]), (1, (PT_LOAD, 0x3ff0_0000, 0xc000_1000, 0x1000, 0x9_e000)));
}

/// Catches RAM that is in no PT_LOAD because another range of low memory is the one that is saved, on machines whose firmware leaves several;
/// and pages that are in the dump twice.
#[test]
fn low_memory_beside_what_is_saved_is_read_where_it_is() {
    let ram = [
        span(0x1000, 0x5_7fff),
        span(0x5_9000, 0x9_efff),
        span(0xa_0800, 0xa_27ff),
        span(0x10_0000, 0x3fff_ffff),
    ];
    let memory = memory(&ram, &[]);
    let map = DirectMap { page_offset: BASE, text: None };
    let backup = Some(Saved { source: span(0x1000, 0x5_7fff), target: PhysAddr(0x3ff0_0000) });
    let loads = |arch, backup| {
        let (_, _, headers) = read(&build(&Crashed { backup, ..crashed(arch, &memory, &map, &[]) }).unwrap());
        headers[1..]
            .iter()
            .map(|&(_, offset, virt, start, size)| (offset, virt, start, size))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        loads(Arch::X86_64, backup)[..3],
        [
            (0x3ff0_0000, BASE + 0x1000, 0x1000, 0x5_7000),
            (0x5_9000, BASE + 0x5_9000, 0x5_9000, 0x4_6000),
            (0xa_1000, BASE + 0xa_1000, 0xa_1000, 0x1000),
        ]
    );
    assert_eq!(loads(Arch::I386, backup)[1], (0x5_9000, 0xc005_9000, 0x5_9000, 0x4_6000));
    assert_eq!(loads(Arch::X86_64, None).len(), 1, "without a backup the first MiB is left out");
}

/// Catches 32 bits where the capture kernel would offer no vmcore or an address would be cut, and a wish that is not heard.
#[test]
fn a_class_is_used_where_it_can_be() {
    let low = memory(&[span(0x10_0000, 0x3fff_ffff)], &[]);
    let high = memory(&[span(0x10_0000, 0x3fff_ffff), span(0x1_0000_0000, 0x1_3fff_ffff)], &[]);
    let map = DirectMap::WITHOUT_KASLR;
    let class = |arch, reader, memory, class| {
        build(&Crashed { reader, class: Some(class), ..crashed(arch, memory, &map, &[]) }).map(|core| core[4])
    };
    assert_eq!(class(Arch::I386, Arch::I386, &low, Class::Elf64), Ok(2));
    assert_eq!(class(Arch::I386, Arch::I386, &low, Class::Elf32), Ok(1));
    let above = Not32::Above4G(PhysAddr(0x1_3fff_ffff));
    let not = |why| Err(NoCoreHeader::Not32(why));
    assert_eq!(class(Arch::I386, Arch::I386, &high, Class::Elf32), not(above));
    assert_eq!(class(Arch::I386, Arch::X86_64, &low, Class::Elf32), not(Not32::Reader64));
    assert_eq!(class(Arch::X86_64, Arch::I386, &low, Class::Elf32), not(Not32::Running64));
    assert_eq!(class(Arch::X86_64, Arch::X86_64, &low, Class::Elf64), Ok(2));
}

/// Catches a count that is cut: the dump then silently lacks all that comes behind.
#[test]
fn more_headers_than_can_be_counted_are_refused() {
    let memory = memory(&[span(0x10_0000, 0x3fff_ffff)], &[]);
    let map = DirectMap::WITHOUT_KASLR;
    // With VMCOREINFO and one range of RAM.
    let with = |notes: usize| {
        let notes = vec![Note { address: PhysAddr(0x1000), size: 0x164 }; notes];
        build(&crashed(Arch::X86_64, &memory, &map, &notes)).map(|core| read(&core).2.len())
    };
    assert_eq!(with(0xfffc), Ok(0xfffe));
    assert_eq!(with(0xfffd), Err(NoCoreHeader::TooMany(0xffff)));
}

proptest! {
    /// Catches pages that are missing in the dump because RAM is cut in them, to the byte.
    #[test]
    fn cuts_within_ram_lose_no_page(cuts in prop::collection::btree_set(0x10_0001u64..0x3fff_ffff, 0..8)) {
        let starts = core::iter::once(0x10_0000).chain(cuts.iter().copied());
        let lasts = cuts.iter().map(|cut| cut - 1).chain([0x3fff_ffff]);
        let text: String =
            starts.zip(lasts).map(|(start, last)| format!("{start:x}-{last:x} : System RAM\n")).collect();
        let memory = MemoryMap::parse(text.as_bytes()).unwrap();
        let map = DirectMap::WITHOUT_KASLR;
        let (_, _, headers) = read(&build(&crashed(Arch::X86_64, &memory, &map, &[])).unwrap());
        prop_assert_eq!(headers.len(), 2);
        prop_assert_eq!((headers[1].3, headers[1].4), (0x10_0000, 0x3ff0_0000));
    }

    /// Every page of RAM above the first MiB is dumped exactly once, and no page of a crash region ever.
    #[test]
    fn ram_is_covered_once(
        bounds in prop::collection::btree_set(0u64..2000, 2..12),
        crash in (0u64..2000, 1u64..200),
        probe in 0u64..2000,
    ) {
        let page = |n: u64| n * PAGE;
        let bounds: Vec<u64> = bounds.into_iter().collect();
        let ram: Vec<Span> = bounds.chunks_exact(2).map(|b| span(page(b[0]), page(b[1]) - 1)).collect();
        let region = span(page(crash.0), page(crash.0 + crash.1) - 1);
        let memory = memory(&ram, &[region]);
        let map = DirectMap::WITHOUT_KASLR;
        let (_, _, headers) = read(&build(&crashed(Arch::X86_64, &memory, &map, &[])).unwrap());
        let probed = PhysAddr(page(probe));
        let inside = |span: Span| span.start() <= probed && probed <= span.last();
        let wanted = ram.iter().any(|&ram| inside(ram)) && !inside(region) && probed >= FIRST_DUMPED;
        let covered = headers
            .iter()
            .filter(|&&(kind, _, _, start, size)| kind == PT_LOAD && (start..start + size).contains(&probed.0))
            .count();
        prop_assert_eq!(covered, usize::from(wanted));
    }
}
