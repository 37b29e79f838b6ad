//! Memory on both sides: what the vmcore describes beside what the first kernel had, and what the capture kernel uses beside what
//! it was given.

use guest_protocol::{KernelFacts, LoadHeader, PhysRange};

/// The first MiB belongs to firmware and to the capture kernel: whether it is in the vmcore is a loader's own affair.
const FIRST_MIB: u64 = 0x10_0000;

/// A page, in bytes.
const PAGE: u64 = 4096;

/// What is wrong with the PT_LOADs: RAM of the first kernel that none covers, or a crash region that one covers.
pub(super) fn wrong(ready: &KernelFacts, loads: &[LoadHeader]) -> Vec<String> {
    let loads: Vec<PhysRange> = loads
        .iter()
        .filter_map(|load| {
            let end = load.physical.checked_add(load.size.checked_sub(1)?)?;
            Some(PhysRange { start: load.physical, end })
        })
        .collect();
    let wanted =
        ready.system_ram.iter().filter_map(dumped).flat_map(|ram| without(ram, &ready.crash_regions));
    let missing: Vec<String> =
        wanted.flat_map(|ram| without(ram, &loads)).map(|range| range.to_string()).collect();
    let mut wrong = Vec::new();
    if !missing.is_empty() {
        wrong.push(format!("no PT_LOAD covers the first kernel's RAM at {}", missing.join(", ")));
    }
    for region in &ready.crash_regions {
        if let Some(load) = loads.iter().find(|load| load.start <= region.end && region.start <= load.end) {
            wrong.push(format!(
                "a PT_LOAD at {load} covers the crash region {region}, which is the capture kernel's"
            ));
        }
    }
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

/// The part of a range of RAM that a vmcore must have: above the first MiB, in whole pages.
fn dumped(ram: &PhysRange) -> Option<PhysRange> {
    let start = ram.start.max(FIRST_MIB).checked_next_multiple_of(PAGE)?;
    let end = (ram.end.checked_add(1)? / PAGE * PAGE).checked_sub(1)?;
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
            kernel_code: None,
            crash_loaded: None,
        }
    }

    fn load(start: u64, end: u64) -> LoadHeader {
        LoadHeader { physical: start, virtual_: 0, size: end - start + 1, offset: 0 }
    }

    const REGION: PhysRange = range(0x7b00_0000, 0x8aff_ffff);
    const RAM: [PhysRange; 3] =
        [range(0x1000, 0x9_fbff), range(0x10_0000, 0xbffd_ffff), range(0x1_0000_0000, 0x1_3fff_ffff)];

    /// Bug: a loader drops a range of RAM, or a page of one, and the nonces happen to lie elsewhere.
    #[test]
    fn every_page_of_ram_is_asked_for() {
        let ready = facts(&RAM, &[REGION]);
        let text = load(0x100_0000, 0x3bf_ffff);
        let upper = load(0x1_0000_0000, 0x1_3fff_ffff);
        let good = [text, load(0x10_0000, 0x7aff_ffff), load(0x8b00_0000, 0xbffd_ffff), upper];
        assert_eq!(wrong(&ready, &good), [""; 0]);
        assert_eq!(wrong(&ready, &good[1..]).len(), 0, "the text is mapped twice, and once is enough");
        let dropped = [good[0], good[1], good[3]];
        assert_eq!(
            wrong(&ready, &dropped),
            ["no PT_LOAD covers the first kernel's RAM at 0x8b000000-0xbffdffff"]
        );
        let short = [good[0], load(0x10_0000, 0x7aff_efff), good[2], good[3]];
        assert_eq!(
            wrong(&ready, &short),
            ["no PT_LOAD covers the first kernel's RAM at 0x7afff000-0x7affffff"]
        );
        assert_eq!(wrong(&ready, &[load(0, 0x2_0000_0000)]).len(), 1, "the region belongs to nobody's dump");
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
}
