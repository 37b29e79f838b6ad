//! /proc/iomem: the running kernel's map of physical memory, and the crash regions in it.
//!
//! Lines are `start-end : name`, in hexadecimal without prefix, nested by two spaces a level. Names of memory count at any
//! level: hot-added RAM lies inside of its device's range, and a reserved range inside of the PCI window that it backs. "Crash
//! kernel" lies inside of "System RAM".

use crate::addr::{PhysAddr, Span, sort_by_key};
use crate::text;
use alloc::vec::Vec;

/// What a range of memory is, in the numbers of e820 (zero-page.rst, `E820_TYPE_*` of asm/e820/types.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RAM: 1.
    Ram,
    /// Reserved by firmware: 2.
    Reserved,
    /// ACPI tables: 3.
    AcpiTables,
    /// ACPI non-volatile storage: 4.
    AcpiNvs,
    /// Persistent memory: 7.
    Persistent,
    /// Persistent memory of the older, non-standard kind: 12.
    PersistentLegacy,
}

/// The running kernel's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryMap {
    /// Memory and its kind, ascending. Ranges of the same kind neither touch nor overlap. Others may overlap; kernels sort that out
    /// (arch/x86/kernel/e820.c).
    pub ranges: Vec<(Span, Kind)>,
    /// The "Crash kernel" ranges, ascending. With `crashkernel=SIZE,high` there are two, the lower of which is the low
    /// companion.
    pub crash_regions: Vec<Span>,
}

/// Why /proc/iomem is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// All addresses are zero: the kernel shows them only to processes with CAP_SYS_ADMIN.
    Hidden,
    /// There is no RAM in it.
    NoRam,
}

impl MemoryMap {
    /// Reads the text of /proc/iomem. Lines that are not understood are passed over: the file names every device.
    pub fn parse(text: &[u8]) -> Result<Self, Unusable> {
        let mut map = Self::default();
        let mut hidden = false;
        let mut apertures: Vec<Span> = Vec::new();
        for line in text.split(|&byte| byte == b'\n') {
            let Some((start, last, name)) = parse_line(line) else { continue };
            hidden |= start == 0 && last == 0;
            let Some(span) = Span::new(PhysAddr(start), PhysAddr(last)) else { continue };
            match name {
                b"Crash kernel" => map.crash_regions.push(span),
                b"GART" => apertures.push(span),
                name => map.ranges.extend(kind(name).map(|kind| (span, kind))),
            }
        }
        sort_by_key(&mut map.crash_regions, |&item| item);
        // An aperture that the kernel put into RAM (arch/x86/kernel/aperture_64.c): to read it is to read through the GART, a machine check at worst.
        let cut: Vec<Span> = map.ram().flat_map(|ram| ram.without_all(&apertures)).collect();
        map.ranges.retain(|(_, kind)| *kind != Kind::Ram);
        map.ranges.extend(cut.into_iter().map(|ram| (ram, Kind::Ram)));
        sort_by_key(&mut map.ranges, |&(span, _)| span);
        map.ranges = joined(&map.ranges);
        if map.ranges.iter().any(|&(span, kind)| kind == Kind::Ram && span.size() > 1) {
            Ok(map)
        } else if hidden {
            Err(Unusable::Hidden)
        } else {
            Err(Unusable::NoRam)
        }
    }

    /// The RAM ranges.
    pub fn ram(&self) -> impl Iterator<Item = Span> + '_ {
        self.ranges.iter().filter(|(_, kind)| *kind == Kind::Ram).map(|&(span, _)| span)
    }

    /// Whether there is RAM that 32 bits cannot address.
    pub fn reaches_above_4g(&self) -> bool {
        self.ram().any(|ram| ram.last() > PhysAddr::LAST_32BIT)
    }
}

/// Makes one of ranges of the same kind that touch or overlap; takes and gives them ascending. Kernels before 6.10 cut RAM to the byte around
/// each item of setup_data that they were given (arch/x86/kernel/e820.c, `e820__reserve_setup_data`); the page at such a cut is whole
/// in neither half.
fn joined(ranges: &[(Span, Kind)]) -> Vec<(Span, Kind)> {
    let mut joined: Vec<(Span, Kind)> = Vec::with_capacity(ranges.len());
    for &(span, kind) in ranges {
        let before = joined.iter_mut().rev().find(|(_, other)| *other == kind);
        match before.and_then(|(before, _)| Some((before.joined(span)?, before))) {
            Some((both, before)) => *before = both,
            None => joined.push((span, kind)),
        }
    }
    sort_by_key(&mut joined, |&(span, _)| span);
    joined
}

/// Start, last byte and name of a line.
fn parse_line(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let indent = line.iter().take_while(|&&byte| byte == b' ').count();
    let (range, name) = text::split_once(&line[indent..], b" : ")?;
    let (start, last) = text::split_once(range, b"-")?;
    Some((text::number(start, 16)?, text::number(last, 16)?, name.trim_ascii_end()))
}

/// The kind that a name stands for, at whatever level.
fn kind(name: &[u8]) -> Option<Kind> {
    match name {
        // "System RAM (kmem)" and the like too: hot-added memory.
        _ if name.starts_with(b"System RAM") => Some(Kind::Ram),
        // With a capital letter since Linux 4.18 (kernel/resource.c and arch/x86/kernel/e820.c).
        b"Reserved" | b"reserved" => Some(Kind::Reserved),
        // What the running kernel leaves to a device's driver, what is broken, and what it does not know (`e820_type_to_string`): not to be
        // used, and not to be given to devices.
        b"Soft Reserved" | b"Unusable memory" | b"Unknown E820 type" => Some(Kind::Reserved),
        b"ACPI Tables" => Some(Kind::AcpiTables),
        b"ACPI Non-volatile Storage" => Some(Kind::AcpiNvs),
        b"Persistent Memory" => Some(Kind::Persistent),
        b"Persistent Memory (legacy)" => Some(Kind::PersistentLegacy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span;
    use proptest::prelude::*;

    const TEXT: &[u8] = b"00000000-00000fff : Reserved\n\
00001000-0009fbff : System RAM\n\
0009fc00-0009ffff : Reserved\n\
000a0000-000bffff : PCI Bus 0000:00\n\
000f0000-000fffff : Reserved\n\
  000f0000-000fffff : System ROM\n\
00100000-bffdffff : System RAM\n\
  01000000-01c02497 : Kernel code\n\
  7b000000-8affffff : Crash kernel\n\
bffe0000-bfffffff : Reserved\n\
fec00000-fec003ff : IOAPIC 0\n\
100000000-13fffffff : System RAM\n\
  130000000-13fffffff : Crash kernel\n";

    #[test]
    fn reads_memory_and_crash_regions() {
        let map = MemoryMap::parse(TEXT).unwrap();
        assert_eq!(map.crash_regions, [span(0x7b00_0000, 0x8aff_ffff), span(0x1_3000_0000, 0x1_3fff_ffff)]);
        assert_eq!(
            map.ram().collect::<Vec<_>>(),
            [span(0x1000, 0x9fbff), span(0x10_0000, 0xbffd_ffff), span(0x1_0000_0000, 0x1_3fff_ffff)]
        );
        assert_eq!(map.ranges.len(), 7, "devices are no memory");
    }

    /// Catches hot-added RAM that is missing in every dump, and a firmware's range that the capture kernel may hand out.
    #[test]
    fn memory_counts_at_any_level() {
        let text = b"00100000-7fffffff : System RAM\n\
b0000000-bfffffff : PCI MMCONFIG 0000 [bus 00-ff]\n  b0000000-bfffffff : Reserved\n\
140000000-1bfffffff : virtio0\n  140000000-147ffffff : System RAM (virtio_mem)\n";
        let map = MemoryMap::parse(text).unwrap();
        assert_eq!(map.ram().last(), Some(span(0x1_4000_0000, 0x1_47ff_ffff)));
        assert!(map.ranges.contains(&(span(0xb000_0000, 0xbfff_ffff), Kind::Reserved)));
    }

    /// Catches RAM that is cut where no page ends, each half of which then loses it; what lies between in the file, or inside, does not
    /// keep the halves apart, and other kinds stay others.
    #[test]
    fn ranges_that_touch_are_one() {
        let text = b"00100000-1ffff00f : System RAM\n1ffff010-1ffff06f : System RAM\n1ffff070-2fffffff : System RAM\n\
  20000000-200000ff : Reserved\n  20000100-200001ff : reserved\n30000000-30000fff : ACPI Tables\n30001000-3fffffff : System RAM\n";
        let map = MemoryMap::parse(text).unwrap();
        assert_eq!(
            map.ranges,
            [
                (span(0x10_0000, 0x2fff_ffff), Kind::Ram),
                (span(0x2000_0000, 0x2000_01ff), Kind::Reserved),
                (span(0x3000_0000, 0x3000_0fff), Kind::AcpiTables),
                (span(0x3000_1000, 0x3fff_ffff), Kind::Ram),
            ]
        );
    }

    /// Catches ranges that a capture kernel knows nothing of, and so takes for free addresses.
    #[test]
    fn what_must_not_be_used_is_reserved() {
        for name in ["Reserved", "reserved", "Soft Reserved", "Unusable memory", "Unknown E820 type"] {
            let text = format!("00100000-3fffffff : System RAM\n40000000-7fffffff : {name}\n");
            let map = MemoryMap::parse(text.as_bytes()).unwrap();
            assert_eq!(map.ranges.last(), Some(&(span(0x4000_0000, 0x7fff_ffff), Kind::Reserved)), "{name}");
        }
    }

    /// Catches an aperture that is read for the dump as if it were RAM.
    #[test]
    fn an_aperture_in_ram_is_none() {
        let map = MemoryMap::parse(
            b"00100000-bfffffff : System RAM\n  a0000000-a3ffffff : GART\nc0000000-c0000fff : Reserved\n",
        );
        let map = map.unwrap();
        let ram: Vec<Span> = map.ram().collect();
        assert_eq!(ram, [span(0x10_0000, 0x9fff_ffff), span(0xa400_0000, 0xbfff_ffff)]);
        assert_eq!(map.ranges.len(), 3);
    }

    /// Catches "no memory" as the message for a missing privilege.
    #[test]
    fn hidden_addresses_are_told_apart() {
        let hidden = b"00000000-00000000 : Reserved\n00000000-00000000 : System RAM\n  00000000-00000000 : Crash kernel\n";
        assert_eq!(MemoryMap::parse(hidden), Err(Unusable::Hidden));
        assert_eq!(MemoryMap::parse(b""), Err(Unusable::NoRam));
        assert_eq!(MemoryMap::parse(b"00000000-00000fff : Reserved\n"), Err(Unusable::NoRam));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = MemoryMap::parse(&text);
        }

        /// Neither byte nor order is lost: what lay in some range of a kind still does, in one alone.
        #[test]
        fn joining_loses_nothing(lines in prop::collection::vec((0u64..60, 0u64..20, any::<bool>()), 1..20)) {
            let name = |ram| if ram { "System RAM" } else { "Reserved" };
            let text: String = lines
                .iter()
                .map(|&(start, size, ram)| format!("{start:x}-{:x} : {}\n", start + size, name(ram)))
                .collect();
            let Ok(map) = MemoryMap::parse(text.as_bytes()) else { return Ok(()) };
            prop_assert!(map.ranges.is_sorted_by_key(|(span, _)| *span));
            for (byte, ram) in (0..80).flat_map(|byte| [(byte, true), (byte, false)]) {
                let kind = if ram { Kind::Ram } else { Kind::Reserved };
                let inside = |span: Span| span.contains(self::span(byte, byte));
                let wanted = lines.iter().any(|&(start, size, of)| of == ram && inside(self::span(start, start + size)));
                let found = map.ranges.iter().filter(|&&(span, of)| of == kind && inside(span)).count();
                prop_assert_eq!(found, usize::from(wanted), "{:#x} in {:?}", byte, map.ranges);
            }
        }

        /// Lines of the right form with any numbers in them.
        #[test]
        fn any_numbers_are_read_or_refused(lines in prop::collection::vec("[ ]{0,4}[0-9a-f]{0,17}-[0-9a-f]{0,17} : (System RAM|Crash kernel|x)\n", 0..20)) {
            let _ = MemoryMap::parse(lines.concat().as_bytes());
        }
    }
}
