//! What the capture kernel was given, as it tells it: its command line, and its part of the memory. A loader that hands over too
//! little is seen here before it shows as a capture kernel that sometimes does not come up.

use super::coverage::without;
use crate::cell::Cell;
use crate::cmdline::{capture_cmdline, earlier_capture_cmdline};
use guest_protocol::{KernelFacts, PhysRange};

/// The word by which a loader tells the capture kernel where the ELF core headers are.
pub(super) const ELFCOREHDR: &str = "elfcorehdr=";

/// A page, in bytes.
const PAGE: u64 = 4096;

/// What is wrong with it.
pub(super) fn wrong(cell: &Cell, ready: &KernelFacts, up: &KernelFacts) -> Vec<String> {
    let mut wrong = Vec::new();
    let given_by = |line: String| command_line(&line, &up.cmdline);
    wrong.extend(
        given_by(capture_cmdline(cell)).filter(|_| given_by(earlier_capture_cmdline(cell)).is_some()),
    );
    wrong.extend(memory(&ready.crash_regions, up));
    wrong
}

/// The loader may add words before and behind those that it was given; between them, and of them, it may change nothing.
fn command_line(given: &str, found: &str) -> Option<String> {
    let padded = |line: &str| format!(" {} ", line.split_whitespace().collect::<Vec<_>>().join(" "));
    (!padded(found).contains(&padded(given))).then(|| {
        format!("the capture kernel's command line does not have what the loader was given, it is: {found}")
    })
}

/// The crash regions belong to the capture kernel: it must know them as RAM, all but its core header, which it must not hand out.
/// The header's size is the loader's own affair (kexec-tools leaves room in it).
fn memory(regions: &[PhysRange], up: &KernelFacts) -> Vec<String> {
    let header = elfcorehdr(&up.cmdline).map(|address| address / PAGE * PAGE);
    let unused: Vec<String> = regions
        .iter()
        .flat_map(|region| without(*region, &up.system_ram))
        .filter(|part| Some(part.start) != header)
        .map(|part| part.to_string())
        .collect();
    let mut wrong = Vec::new();
    if !unused.is_empty() {
        wrong.push(format!("the capture kernel was not given {} of the crash region", unused.join(", ")));
    }
    let used = up.system_ram.iter().find(|ram| header.is_some_and(|at| (ram.start..=ram.end).contains(&at)));
    if let (Some(at), Some(ram)) = (header, used) {
        wrong
            .push(format!("the capture kernel may hand out its core header at {at:#x}, in its RAM at {ram}"));
    }
    wrong
}

/// The address in `elfcorehdr=[SIZE@]ADDRESS` (kernel/crash_dump.c, `setup_elfcorehdr`); none where there is none that can be read.
fn elfcorehdr(cmdline: &str) -> Option<u64> {
    let value = cmdline.split_whitespace().find_map(|word| word.strip_prefix(ELFCOREHDR))?;
    let address = value.rsplit('@').next()?;
    // As the kernel reads sizes (lib/cmdline.c, `memparse`), but for the octal numbers that no loader writes.
    let (digits, shift) = match address.chars().last()?.to_ascii_uppercase() {
        'K' => (&address[..address.len() - 1], 10),
        'M' => (&address[..address.len() - 1], 20),
        'G' => (&address[..address.len() - 1], 30),
        _ => (address, 0),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok()?,
        None => digits.parse().ok()?,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_protocol::Arch;

    const fn range(start: u64, end: u64) -> PhysRange {
        PhysRange { start, end }
    }

    const REGION: PhysRange = range(0x7b00_0000, 0x8aff_ffff);

    fn up(cmdline: &str, system_ram: &[PhysRange]) -> KernelFacts {
        KernelFacts {
            release: "5.10".into(),
            version: "#1".into(),
            machine: "x86_64".into(),
            userspace: Arch::I386,
            cmdline: cmdline.into(),
            cpus: 1,
            crash_regions: Vec::new(),
            system_ram: system_ram.to_vec(),
            five_levels: None,
            cpu: None,
            firmware_ram: None,
            kernel_code: None,
            crash_loaded: None,
        }
    }

    /// Bug: a loader cuts the command line, or puts its own words into the middle of a quoted value, and nobody needs what is lost
    /// until one day.
    #[test]
    fn the_command_line_arrives_whole() {
        let given = "console=ttyS0 reset_devices nr_cpus=1";
        for good in
            ["elfcorehdr=1K console=ttyS0 reset_devices nr_cpus=1", "console=ttyS0 reset_devices nr_cpus=1 x"]
        {
            assert_eq!(command_line(given, good), None);
        }
        for bad in [
            "console=ttyS0 reset_devices nr_cpus=",
            "console=ttyS0 reset_devices",
            "console=ttyS0 x reset_devices nr_cpus=1",
        ] {
            assert!(command_line(given, bad).is_some_and(|why| why.ends_with(bad)), "{bad}");
        }
    }

    /// Bug: the capture kernel is given a page too little; or its core header as free memory, so that the vmcore is gone when
    /// that page was needed before it was read.
    #[test]
    fn the_region_is_the_capture_kernels_but_for_the_core_header() {
        let memory = |line: &str, ram: &[PhysRange]| memory(&[REGION], &up(line, ram));
        let line = "elfcorehdr=2277372K x"; // 0x8afff000
        assert_eq!(memory(line, &[range(0x7b00_0000, 0x8aff_efff)]), [""; 0]);
        let middle = [range(0x7b00_0000, 0x7fff_ffff), range(0x8000_2000, 0x8aff_ffff)];
        assert_eq!(memory("elfcorehdr=0x80000000", &middle), [""; 0]);
        assert_eq!(memory("elfcorehdr=8K@2097152K", &middle), [""; 0]);
        assert_eq!(
            memory(line, &[range(0x7b00_0000, 0x8aff_dfff)]),
            ["the capture kernel was not given 0x8affe000-0x8affffff of the crash region"]
        );
        assert_eq!(
            memory(line, &[]),
            ["the capture kernel was not given 0x7b000000-0x8affffff of the crash region"]
        );
        assert_eq!(
            memory(line, &[REGION]),
            [
                "the capture kernel may hand out its core header at 0x8afff000, in its RAM at 0x7b000000-0x8affffff"
            ]
        );
    }

    /// Bug: an address that cannot be read is taken for zero, or stops the rig.
    #[test]
    fn odd_addresses_are_none() {
        for odd in [
            "",
            "elfcorehdr=",
            "elfcorehdr=K",
            "elfcorehdr=99999999999999999999",
            "elfcorehdr=18446744073709551615G",
        ] {
            assert_eq!(elfcorehdr(odd), None, "{odd}");
        }
        assert_eq!(elfcorehdr("a elfcorehdr=2M b"), Some(0x20_0000));
    }
}
