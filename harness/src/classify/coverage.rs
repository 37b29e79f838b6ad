//! Memory on both sides: what the vmcore describes beside what the first kernel had, and what the capture kernel uses beside what
//! it was given.

use super::addresses::is_text;
use guest_protocol::{KernelFacts, LoadHeader, PhysRange};

/// The first MiB belongs to firmware and to the capture kernel: whether it is in the vmcore is a loader's own affair.
const FIRST_MIB: u64 = 0x10_0000;

/// A page, in bytes.
const PAGE: u64 = 4096;

/// What is wrong with the PT_LOADs as a description of the first kernel's RAM: each of its pages must be in one, outside of the
/// kernel's text in one only, and nothing else may be.
pub(super) fn wrong(ready: &KernelFacts, loads: &[LoadHeader]) -> Vec<String> {
    let (ranges, mut wrong) = ranges(loads);
    let all: Vec<PhysRange> = ranges.iter().map(|&(_, range)| range).collect();
    let wanted =
        ready.system_ram.iter().filter_map(dumped).flat_map(|ram| without(ram, &ready.crash_regions));
    tell(
        &mut wrong,
        "no PT_LOAD covers the first kernel's RAM at",
        wanted.flat_map(|ram| without(ram, &all)),
    );
    for region in &ready.crash_regions {
        if let Some(load) = all.iter().find(|load| common(load, region).is_some()) {
            wrong.push(format!(
                "a PT_LOAD at {load} covers the crash region {region}, which is the capture kernel's"
            ));
        }
    }
    let known: Vec<PhysRange> = std::iter::once(PhysRange { start: 0, end: FIRST_MIB - 1 })
        .chain(ready.system_ram.iter().map(whole_pages))
        .chain(ready.crash_regions.iter().copied())
        .collect();
    tell(
        &mut wrong,
        "a PT_LOAD covers what is no RAM of the first kernel at",
        all.iter().flat_map(|load| without(*load, &known)),
    );
    let direct: Vec<PhysRange> =
        ranges.iter().filter(|(load, _)| !is_text(ready, load)).map(|(_, range)| *range).collect();
    let twice = direct
        .iter()
        .enumerate()
        .flat_map(|(number, one)| direct[number + 1..].iter().filter_map(move |other| common(one, other)));
    tell(&mut wrong, "two PT_LOADs cover the first kernel's RAM at", twice);
    wrong
}

/// RAM that the capture kernel uses and was not given: it would write over what it is to save.
pub(super) fn foreign_ram(ready: &KernelFacts, up: &KernelFacts) -> Option<String> {
    let own = |ram: &PhysRange| {
        ram.end < FIRST_MIB
            || ready.crash_regions.iter().any(|region| region.start <= ram.start && ram.end <= region.end)
    };
    let foreign: Vec<String> =
        up.system_ram.iter().filter(|ram| !own(ram)).map(PhysRange::to_string).collect();
    (!foreign.is_empty()).then(|| {
        format!("the capture kernel uses RAM at {}, outside of the crash regions", foreign.join(", "))
    })
}

/// The PT_LOADs with their physical ranges, and what is wrong with those that have none.
fn ranges(loads: &[LoadHeader]) -> (Vec<(&LoadHeader, PhysRange)>, Vec<String>) {
    let mut ranges = Vec::with_capacity(loads.len());
    let mut wrong = Vec::new();
    for load in loads {
        match load.size.checked_sub(1).and_then(|last| load.physical.checked_add(last)) {
            Some(end) => ranges.push((load, PhysRange { start: load.physical, end })),
            None => wrong.push(format!(
                "a PT_LOAD at {:#x} has the size {:#x}, which is no range of addresses",
                load.physical, load.size
            )),
        }
    }
    (ranges, wrong)
}

/// Adds one sentence on these ranges, where there are any.
fn tell(wrong: &mut Vec<String>, what: &str, ranges: impl Iterator<Item = PhysRange>) {
    let ranges: Vec<String> = ranges.map(|range| range.to_string()).collect();
    if !ranges.is_empty() {
        wrong.push(format!("{what} {}", ranges.join(", ")));
    }
}

/// The part of a range of RAM that a vmcore must have: above the first MiB, in whole pages.
fn dumped(ram: &PhysRange) -> Option<PhysRange> {
    let start = ram.start.max(FIRST_MIB).checked_next_multiple_of(PAGE)?;
    let end = (ram.end.checked_add(1)? / PAGE * PAGE).checked_sub(1)?;
    (start <= end).then_some(PhysRange { start, end })
}

/// A range with the pages that it begins and ends in: a vmcore may have all of them.
fn whole_pages(ram: &PhysRange) -> PhysRange {
    PhysRange { start: ram.start / PAGE * PAGE, end: ram.end | (PAGE - 1) }
}

/// What two ranges have in common.
fn common(one: &PhysRange, other: &PhysRange) -> Option<PhysRange> {
    let (start, end) = (one.start.max(other.start), one.end.min(other.end));
    (start <= end).then_some(PhysRange { start, end })
}

/// What is left of a range without the others.
pub(super) fn without(range: PhysRange, others: &[PhysRange]) -> Vec<PhysRange> {
    others.iter().fold(vec![range], |left, other| {
        left.into_iter()
            .flat_map(|part| {
                let below = (part.start < other.start)
                    .then(|| PhysRange { start: part.start, end: part.end.min(other.start - 1) });
                let above = (part.end > other.end)
                    .then(|| PhysRange { start: part.start.max(other.end + 1), end: part.end });
                [below, above].into_iter().flatten()
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_protocol::Arch;
    use proptest::prelude::*;

    const fn range(start: u64, end: u64) -> PhysRange {
        PhysRange { start, end }
    }

    fn facts(system_ram: &[PhysRange], crash_regions: &[PhysRange]) -> KernelFacts {
        KernelFacts {
            release: "5.10".into(),
            version: "#1".into(),
            machine: "x86_64".into(),
            userspace: Arch::I386,
            cmdline: String::new(),
            cpus: 1,
            crash_regions: crash_regions.to_vec(),
            system_ram: system_ram.to_vec(),
            five_levels: None,
            cpu: None,
            firmware_ram: None,
            kernel_code: None,
            crash_loaded: None,
        }
    }

    fn load(start: u64, end: u64) -> LoadHeader {
        let virtual_ = 0xffff_8880_0000_0000_u64.wrapping_add(start);
        LoadHeader { physical: start, virtual_, size: end - start + 1, offset: 0 }
    }

    const REGION: PhysRange = range(0x7b00_0000, 0x8aff_ffff);
    const RAM: [PhysRange; 3] =
        [range(0x1000, 0x9_fbff), range(0x10_0000, 0xbffd_ffff), range(0x1_0000_0000, 0x1_3fff_ffff)];

    fn ready() -> KernelFacts {
        facts(&RAM, &[REGION])
    }

    /// The kernel's text, and the RAM around the region.
    fn good() -> [LoadHeader; 4] {
        let text = LoadHeader { virtual_: 0xffff_ffff_8100_0000, ..load(0x100_0000, 0x3bf_ffff) };
        let upper = load(0x1_0000_0000, 0x1_3fff_ffff);
        [text, load(0x10_0000, 0x7aff_ffff), load(0x8b00_0000, 0xbffd_ffff), upper]
    }

    /// Bug: a loader drops a range of RAM, or a page of one, and the nonces happen to lie elsewhere.
    #[test]
    fn every_page_of_ram_is_asked_for() {
        let good = good();
        assert_eq!(wrong(&ready(), &good), [""; 0]);
        assert_eq!(wrong(&ready(), &good[1..]).len(), 0, "the text is mapped twice, and once is enough");
        let dropped = [good[0], good[1], good[3]];
        assert_eq!(
            wrong(&ready(), &dropped),
            ["no PT_LOAD covers the first kernel's RAM at 0x8b000000-0xbffdffff"]
        );
        let short = [good[0], load(0x10_0000, 0x7aff_efff), good[2], good[3]];
        assert_eq!(
            wrong(&ready(), &short),
            ["no PT_LOAD covers the first kernel's RAM at 0x7afff000-0x7affffff"]
        );
    }

    /// Bug: a loader describes devices, holes or the crash region as memory; readers then copy gigabytes of nothing, or hang
    /// the machine by reading registers.
    #[test]
    fn nothing_but_ram_is_in_it() {
        let [text, low, middle, upper] = good();
        let over_region = [text, load(0x10_0000, 0x7b00_0fff), middle, upper];
        assert_eq!(
            wrong(&ready(), &over_region),
            [
                "a PT_LOAD at 0x100000-0x7b000fff covers the crash region 0x7b000000-0x8affffff, which is the capture kernel's"
            ]
        );
        let beyond = [text, low, load(0x8b00_0000, 0xbffe_0fff), upper];
        assert_eq!(
            wrong(&ready(), &beyond),
            ["a PT_LOAD covers what is no RAM of the first kernel at 0xbffe0000-0xbffe0fff"]
        );
        let device = [text, low, middle, upper, load(0xfee0_0000, 0xfee0_0fff)];
        assert_eq!(wrong(&ready(), &device).len(), 1);
        let everything = wrong(&ready(), &[load(0, 0x2_0000_0000)]);
        assert_eq!(everything.len(), 2, "{everything:?}");
        for size in [0, u64::MAX] {
            let odd = LoadHeader { size, ..upper };
            let wrong = wrong(&ready(), &[text, low, middle, upper, odd]);
            assert!(wrong[0].contains("no range of addresses"), "{wrong:?}");
        }
    }

    /// Bug: ranges that overlap make readers dump pages twice; the text's second mapping is no such overlap.
    #[test]
    fn each_page_is_in_one_load() {
        let [text, low, middle, upper] = good();
        let overlapping = [text, low, load(0x7aff_f000, 0x7aff_ffff), middle, upper];
        assert_eq!(
            wrong(&ready(), &overlapping),
            ["two PT_LOADs cover the first kernel's RAM at 0x7afff000-0x7affffff"]
        );
        // An i386 kernel has no second mapping of its text.
        let i386 = KernelFacts { machine: "i686".into(), ..ready() };
        assert_eq!(wrong(&i386, &[text, low, middle, upper]).len(), 1);
    }

    /// Bug: loaders that dump the first MiB from a copy of theirs, or whole pages of a range that ends within one, are told
    /// wrong.
    #[test]
    fn a_loader_may_dump_the_first_mib_and_whole_pages() {
        let [text, low, middle, upper] = good();
        assert_eq!(wrong(&ready(), &[load(0, 0x9_ffff), text, low, middle, upper]), [""; 0]);
        let odd = facts(&[RAM[0], range(0x10_0000, 0xbffd_fbff), RAM[2]], &[REGION]);
        assert_eq!(wrong(&odd, &good()), [""; 0]);
        let cut = load(0x8b00_0000, 0xbffd_efff);
        assert_eq!(wrong(&odd, &[text, low, cut, upper]), [""; 0]);
    }

    /// Bug: the capture kernel is given all of the crashed kernel's memory, comes up, and writes over what it is to save.
    #[test]
    fn the_capture_kernel_keeps_to_its_own() {
        let ready = facts(&RAM, &[REGION, range(0x1_3000_0000, 0x1_3fff_ffff)]);
        let own = facts(&[range(0x1000, 0x9_efff), range(0x7b00_0000, 0x8aff_efff)], &[]);
        assert_eq!(foreign_ram(&ready, &own), None);
        assert!(
            foreign_ram(&ready, &facts(&RAM, &[])).is_some_and(|why| why.contains("0x100000-0xbffdffff"))
        );
    }

    fn any_ranges() -> impl Strategy<Value = Vec<PhysRange>> {
        let edge = || prop_oneof![0_u64..0x20_0000, any::<u64>(), Just(u64::MAX)];
        let range = (edge(), edge()).prop_map(|(a, b)| range(a.min(b), a.max(b)));
        prop::collection::vec(range, 0..4)
    }

    proptest! {
        /// Bug: an overflow at the end of the addresses, in ranges that a damaged kernel or header may name.
        #[test]
        fn any_ranges_are_borne(ram in any_ranges(), crash in any_ranges(), loads in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..5)) {
            let loads: Vec<LoadHeader> = loads
                .into_iter()
                .map(|(physical, virtual_, size)| LoadHeader { physical, virtual_, size, offset: 0 })
                .collect();
            wrong(&facts(&ram, &crash), &loads);
            foreign_ram(&facts(&ram, &crash), &facts(&crash, &[]));
        }
    }
}
