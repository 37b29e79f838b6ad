//! Where the rig changes a guest's memory before the panic, as the cell has it. Pure but for the bytes, which `fill` draws.

use crate::cell::Tamper;
use crate::triage::SegmentMap;
use guest_protocol::PhysRange;

/// A page.
pub(super) const PAGE: u64 = 4096;

/// Nothing is planted below: firmware, its tables of interrupts, and what an i386 kernel keeps there (the low 64 KiB are left
/// alone by default, `reservelow=`, Documentation/admin-guide/kernel-parameters.txt).
const LOWEST: u64 = 64 << 10;

/// Nor above: kernels put their trampolines for other CPUs, and for five levels of page tables, at the top of what lies below
/// 640 KiB (arch/x86/realmode/init.c, arch/x86/boot/compressed/pgtable_64.c), and none takes 64 KiB.
const BEYOND: u64 = 576 << 10;

/// A bit of the loaded crash image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bit {
    /// The segment, by the loader's name.
    pub(super) segment: String,
    /// Where its loaded bytes lie.
    pub(super) loaded: PhysRange,
    /// Physical address of the byte.
    pub(super) address: u64,
    /// The bit, as a mask.
    pub(super) mask: u8,
}

/// Draws a bit of the segment that the cell wants changed; none where it wants none.
///
/// # Errors
/// The loader did not say where that segment lies.
pub(super) fn bit(
    tamper: Tamper,
    segments: &SegmentMap,
    fill: impl FnMut(&mut [u8]),
) -> Result<Option<Bit>, String> {
    let Some(name) = tamper.segment() else { return Ok(None) };
    let segment = segments.segments().iter().find(|segment| segment.name == name).ok_or_else(|| {
        format!(
            "the loader did not say where its {name} lies: only kexec-load and kexec-tools with --debug do"
        )
    })?;
    let loaded = segment.loaded.ok_or_else(|| {
        format!("the loader did not say how much of its {name} at {} it loads", segment.range)
    })?;
    let draw = below(8 * (loaded.end - loaded.start + 1), fill);
    let bit =
        Bit { segment: name.to_owned(), loaded, address: loaded.start + draw / 8, mask: 1 << (draw % 8) };
    Ok(Some(bit))
}

/// Draws a page below 640 KiB which the first kernel leaves alone: physical address of its first byte.
///
/// # Errors
/// The kernel has no such RAM.
pub(super) fn low_page(system_ram: &[PhysRange], fill: impl FnMut(&mut [u8])) -> Result<u64, String> {
    let pages = |range: &PhysRange| {
        let start = range.start.max(LOWEST).next_multiple_of(PAGE);
        let beyond = range.end.saturating_add(1).min(BEYOND) / PAGE * PAGE;
        (start, beyond.saturating_sub(start) / PAGE)
    };
    let areas: Vec<(u64, u64)> = system_ram.iter().map(pages).filter(|&(_, count)| count > 0).collect();
    let count = areas.iter().map(|&(_, count)| count).sum();
    if count == 0 {
        return Err(format!("the first kernel has no System RAM between {LOWEST:#x} and {BEYOND:#x}"));
    }
    let mut page = below(count, fill);
    for (start, count) in areas {
        if page < count {
            return Ok(start + page * PAGE);
        }
        page -= count;
    }
    Err("a drawn page lies in none of the areas".to_owned())
}

/// A number below `limit`, which is none too near to 2^64: its remainder then makes no difference.
fn below(limit: u64, mut fill: impl FnMut(&mut [u8])) -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes) % limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::nonces::draw;

    const PLAN: &str = "\
kexec-load: segment: kernel 0x7b000000-0x7d5fffff (0x2600000 bytes)
kexec-load: segment: purgatory 0x8affd000-0x8affefff (0x2000 bytes)
kexec-load: loaded: kernel 0x7b000000-0x7b8fffff
";

    fn always(value: u64) -> impl FnMut(&mut [u8]) {
        move |bytes| bytes.copy_from_slice(&value.to_le_bytes())
    }

    /// Bug: the bit lies behind the loaded bytes, where no digest need look, or the last byte is never tried.
    #[test]
    fn the_bit_is_one_of_the_loaded_ones() {
        let segments = SegmentMap::parse(PLAN);
        let last = bit(Tamper::Kernel, &segments, always(0x90_0000 * 8 - 1)).unwrap().unwrap();
        assert_eq!((last.address, last.mask), (0x7b8f_ffff, 0x80));
        let first = bit(Tamper::Kernel, &segments, always(0x90_0000 * 8)).unwrap().unwrap();
        assert_eq!((first.address, first.mask), (0x7b00_0000, 1));
        for _ in 0..100 {
            let drawn = bit(Tamper::Kernel, &segments, draw).unwrap().unwrap();
            assert!((0x7b00_0000..=0x7b8f_ffff).contains(&drawn.address) && drawn.mask.is_power_of_two());
        }
        assert_eq!(bit(Tamper::None, &segments, draw), Ok(None));
    }

    /// Bug: a loader that prints no plan is tampered with somewhere, or not at all and unnoticed.
    #[test]
    fn without_a_place_there_is_no_bit() {
        let why = bit(Tamper::Initrd, &SegmentMap::parse(PLAN), draw).unwrap_err();
        assert!(why.contains("where its initrd lies"), "{why}");
        let why = bit(Tamper::Purgatory, &SegmentMap::parse(PLAN), draw).unwrap_err();
        assert!(why.contains("how much of its purgatory at 0x8affd000-0x8affefff"), "{why}");
    }

    /// Bug: the pattern goes into the first 64 KiB, into the trampoline at the top, or above 640 KiB; or the last page of an area,
    /// or a second area, is out of reach.
    #[test]
    fn the_low_page_is_in_the_middle() {
        let range = |start, end| PhysRange { start, end };
        let ram = [range(0x1000, 0x9_fbff), range(0x10_0000, 0xbfff_ffff)];
        let pages = (BEYOND - LOWEST) / PAGE;
        assert_eq!(low_page(&ram, always(0)), Ok(LOWEST));
        assert_eq!(low_page(&ram, always(pages - 1)), Ok(BEYOND - PAGE));
        assert_eq!(low_page(&ram, always(pages)), Ok(LOWEST));
        let two = [range(0x1000, 0x1_17ff), range(0x8_0000, 0x9_ffff)];
        assert_eq!((low_page(&two, always(0)), low_page(&two, always(1))), (Ok(0x1_0000), Ok(0x8_0000)));
        for none in [&[][..], &[range(0x10_0000, 0xbfff_ffff)], &[range(0x1_0800, 0x1_1000)]] {
            assert!(low_page(none, draw).is_err(), "{none:?}");
        }
    }
}
