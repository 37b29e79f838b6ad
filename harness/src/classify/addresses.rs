//! Virtual addresses in the core header: what p_vaddr says beside what the first kernel's own page tables say.

use super::first::machine_arch;
use guest_protocol::{Arch, KernelFacts, LoadHeader, Mapping, Vmcore};

/// Where the kernel's text is mapped, and nothing of the direct map (Documentation/arch/x86/x86_64/mm.rst).
const TEXT_MAPPING: u64 = 0xffff_ffff_8000_0000;

/// p_vaddr of memory that has no virtual address, in either class: -1.
const NO_ADDRESS: [u64; 2] = [u32::MAX as u64, u64::MAX];

/// Whether a PT_LOAD is the second mapping of an x86_64 kernel's text and data, beside the direct map.
pub(super) fn is_text(ready: &KernelFacts, load: &LoadHeader) -> bool {
    machine_arch(&ready.machine) == Some(Arch::X86_64) && load.virtual_ >= TEXT_MAPPING
}

/// What is wrong with the virtual addresses.
pub(super) fn wrong(ready: &KernelFacts, vmcore: &Vmcore) -> Vec<String> {
    let mut wrong = match &vmcore.mappings {
        Ok(mappings) if mappings.len() != vmcore.loads.len() => vec![format!(
            "of its {} PT_LOADs the agent followed the addresses of {}",
            vmcore.loads.len(),
            mappings.len()
        )],
        Ok(mappings) => vmcore
            .loads
            .iter()
            .zip(mappings)
            .filter_map(|(load, mapping)| misled(ready, load, mapping))
            .collect(),
        Err(why) => vec![format!("the first kernel's page tables cannot be walked: {why}")],
    };
    match &vmcore.uts_release {
        Ok(release) if *release == ready.release => {}
        Ok(release) => wrong.push(format!(
            "init_uts_ns, read through p_vaddr, is of kernel {release:?}, and the first kernel was {:?}",
            ready.release
        )),
        Err(why) => wrong.push(why.clone()),
    }
    wrong
}

/// What is wrong with one PT_LOAD's virtual addresses.
fn misled(ready: &KernelFacts, load: &LoadHeader, mapping: &Mapping) -> Option<String> {
    let i386 = machine_arch(&ready.machine) == Some(Arch::I386);
    if i386 && NO_ADDRESS.contains(&load.virtual_) {
        return None;
    }
    let last = load.physical.wrapping_add(load.size.saturating_sub(1));
    // Behind the kernel's own end the mapping of its text has holes, and the low memory of an i386 kernel ends below the round
    // number that loaders take for it.
    let may_be_unmapped = i386 || is_text(ready, load);
    let first_is_right = mapping.first == Some(load.physical);
    let last_is_right = mapping.last == Some(last) || (may_be_unmapped && mapping.last.is_none());
    let found = |physical: Option<u64>| match physical {
        Some(physical) => format!("to {physical:#x}"),
        None => "to nothing".to_owned(),
    };
    (!first_is_right || !last_is_right).then(|| {
        format!(
            "the PT_LOAD of {:#x}-{last:#x} has the virtual address {:#x}, which the first kernel maps {}, and its last byte {}",
            load.physical,
            load.virtual_,
            found(mapping.first),
            found(mapping.last)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(machine: &str) -> KernelFacts {
        KernelFacts {
            release: "5.10.0".into(),
            version: "#1".into(),
            machine: machine.into(),
            userspace: Arch::I386,
            cmdline: String::new(),
            cpus: 1,
            crash_regions: Vec::new(),
            system_ram: Vec::new(),
            five_levels: None,
            cpu: None,
            firmware_ram: None,
            kernel_code: None,
            crash_loaded: None,
        }
    }

    fn misled_at(machine: &str, virtual_: u64, first: Option<u64>, last: Option<u64>) -> Option<String> {
        let load = LoadHeader { physical: 0x10_0000, virtual_, size: 0x1000, offset: 0 };
        misled(&ready(machine), &load, &Mapping { first, last })
    }

    const FIRST: Option<u64> = Some(0x10_0000);
    const LAST: Option<u64> = Some(0x10_0fff);

    /// Bug: a p_vaddr that is cut to 32 bits, that is off by a page, or that is of another boot's direct map, while reads by
    /// physical address work all the same.
    #[test]
    fn addresses_must_lead_where_the_kernel_leads() {
        let direct = 0xffff_8880_0010_0000;
        assert_eq!(misled_at("x86_64", direct, FIRST, LAST), None);
        let cut = misled_at("x86_64", 0x10_0000, None, None).unwrap();
        assert!(cut.contains("0x100000-0x100fff") && cut.contains("to nothing"), "{cut}");
        assert!(misled_at("x86_64", direct, Some(0x10_1000), Some(0x10_1fff)).is_some());
        assert!(misled_at("x86_64", direct, FIRST, None).is_some());
        assert!(misled_at("x86_64", u64::MAX, None, None).is_some(), "x86_64 kernels map all of their RAM");
    }

    /// Bug: the text's mapping, which has holes, or an i386 kernel's high memory, which has no address, is told wrong; or
    /// either is not looked at for that.
    #[test]
    fn what_has_no_mapping_by_rights() {
        assert_eq!(misled_at("x86_64", 0xffff_ffff_8100_0000, FIRST, None), None);
        assert!(misled_at("x86_64", 0xffff_ffff_8100_0000, None, None).is_some());
        assert!(misled_at("x86_64", 0xffff_ffff_8100_0000, FIRST, Some(0x999)).is_some());
        assert_eq!(misled_at("i686", 0xffff_ffff, Some(0x7), None), None);
        assert_eq!(misled_at("i686", u64::MAX, Some(0x7), None), None);
        assert_eq!(misled_at("i686", 0xc010_0000, FIRST, None), None);
        assert!(misled_at("i686", 0x8010_0000, None, None).is_some());
    }
}
