//! Which crash regions a machine can hold: told before anything boots, since a kernel that is asked for an impossible region
//! boots without any, minutes later.
//!
//! Where QEMU puts RAM follows from machine type and size alone (hw/i386/pc_piix.c and pc_q35.c in QEMU's tree). On x86 the
//! space below 4 GiB is shared with devices, so low RAM ends earlier and the rest of it begins at 4 GiB.

use crate::cell::{Firmware, Kernel, Mib, Platform, Reservation};
use guest_protocol::Arch;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The rest of RAM begins here.
const HIGH_START: u64 = 4 * GIB;

/// Where low RAM of `pc` ends unless told otherwise (`max-ram-below-4g`): 3.5 GiB.
const PC_LOW_LIMIT: u64 = 0xe000_0000;

/// Where it is rounded down to when there is more RAM than that, since machine type pc-i440fx-2.0: 3 GiB.
const PC_LOW_ALIGNED: u64 = 0xc000_0000;

/// The last `pc` machine type, by its minor number, that does not round (`gigabyte_align` in pc_piix.c): pc-i440fx-1.7.
const LAST_UNALIGNED_PC: (u32, u32) = (1, 7);

/// From so much RAM on, low RAM of `q35` ends at 2 GiB; less is all low (pc_q35.c, room for its PCIe window).
const Q35_LOW_LIMIT: u64 = 0xb000_0000;

/// Where low RAM of `q35` ends from there on.
const Q35_LOW_ALIGNED: u64 = 0x8000_0000;

/// Kernels from this version on, major and minor, refuse offsets that are no multiple of [`OFFSET_ALIGNMENT_MIB`] (generic
/// reservation code with CRASH_ALIGN, asm/crash_reserve.h). Older ones take every MiB: 513M was granted by 6.1, and refused by
/// 6.12.
const COARSE_OFFSETS_SINCE: (u32, u32) = (6, 7);

/// Fixed offsets are multiples of this where they are coarse.
const OFFSET_ALIGNMENT_MIB: u32 = 16;

/// What firmware keeps of the end of low RAM for its tables (SeaBIOS takes 128 KiB and more with the guest's size).
const FIRMWARE_TAIL: u64 = MIB;

/// What a UEFI firmware keeps there: OVMF's own code, tables and variables take 22 MiB (seen: from 0xbeabb000 to 0xc0000000), and
/// what it used to come up stays reserved for the first kernel's boot (`efi_reserve_boot_services`), as does the initramfs that it
/// puts below, some 50 MiB.
const UEFI_TAIL: u64 = 128 * MIB;

/// The least RAM with which `size,high` means something: with less, nothing or little of RAM lies above 4 GiB.
const LEAST_FOR_HIGH: u64 = 6 * GIB;

/// The most RAM that an i386 kernel with PAE is given. It addresses 64 GiB; but what it keeps of each page (32 bytes and more) lies in the
/// 896 MiB of its direct map, and with more than 16 GiB little is left there, for it and for a region that an i386 capture kernel takes.
const MOST_WITH_PAE: u64 = 16 * GIB;

/// The most RAM for an i386 kernel without PAE (32-bit physical addresses).
const MOST_WITHOUT_PAE: u64 = 4 * GIB;

/// i386 kernels choose places below this (CRASH_ADDR_LOW_MAX, asm/crash_reserve.h).
const I386_AUTO_END: u64 = 512 * MIB;

/// i386 and x86_64 kernels run from here on (CONFIG_PHYSICAL_START); with a forced region they stay there (`nokaslr`).
const KERNEL_START: u64 = 16 * MIB;

/// Every first kernel here needs at the least so much from [`KERNEL_START`] on. Which of the next MiB are free depends on the
/// kernel: i386 ones grant 32M@32M, and 5.10-amd64 nothing below 80M.
const KERNEL_AT_LEAST: u64 = 8 * MIB;

/// The first MiB belongs to firmware and real mode; kernels keep all of it for themselves since 5.13, and since 5.5 with
/// `crashkernel=`.
const REAL_MODE_END: u64 = MIB;

/// Where RAM lies: from 0 to `low_end`, and from 4 GiB to `high_end` (4 GiB where there is none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ram {
    low_end: u64,
    high_end: u64,
}

/// Where low RAM of this platform ends; none where that is not known of its machine.
pub(crate) fn low_memory_end(platform: &Platform) -> Option<u64> {
    ram(&platform.machine, platform.memory).ok().map(|ram| ram.low_end)
}

/// Why the first kernel cannot have this reservation on this platform; none where it can.
pub(super) fn why_not(first: &Kernel, reservation: Reservation, platform: &Platform) -> Option<String> {
    let ram = match ram(&platform.machine, platform.memory) {
        Ok(ram) => ram,
        Err(why) => return Some(why),
    };
    let Platform { name, machine, memory, .. } = platform;
    if let Some(most) = most_ram(first).filter(|most| memory.bytes() > *most) {
        let first = &first.name;
        return Some(format!(
            "{first} is good for {} GiB of RAM, and {name} has {memory}: take a smaller platform",
            most / GIB
        ));
    }
    let tail = match (platform.firmware, first.arch) {
        (Firmware::Bios, _) => FIRMWARE_TAIL,
        (Firmware::Uefi, Arch::X86_64) => UEFI_TAIL,
        (Firmware::Uefi, Arch::I386) => {
            return Some(format!(
                "{} is an i386 kernel, which the 64-bit UEFI firmware of {name} does not start: take firmware bios",
                first.name
            ));
        }
    };
    match reservation {
        Reservation::At { offset_mib, .. } => {
            if offset_mib % OFFSET_ALIGNMENT_MIB != 0 && has_coarse_offsets(first) {
                return Some(format!(
                    "{} takes only multiples of {OFFSET_ALIGNMENT_MIB}M for an offset, as kernels from 6.7 on do, and \
                     {offset_mib}M is none",
                    first.name
                ));
            }
            let range = reservation.range()?;
            let below_kernel = range.start >= REAL_MODE_END && range.end < KERNEL_START;
            let above_kernel =
                range.start >= KERNEL_START + KERNEL_AT_LEAST && range.end < ram.low_end.saturating_sub(tail);
            let high = range.start >= HIGH_START && range.end < ram.high_end;
            (!below_kernel && !above_kernel && !high).then(|| {
                let high = match ram.high_end.checked_sub(HIGH_START) {
                    None | Some(0) => String::new(),
                    Some(size) => format!(" and {}M from 4096M on", size / MIB),
                };
                format!(
                    "{name} cannot hold {reservation} ({range}): with {memory}, machine {machine} has RAM up to {}M{high}, and \
                     firmware has the first {}M and the last {}M of low RAM, the first kernel {}M and more from {}M on",
                    ram.low_end / MIB,
                    REAL_MODE_END / MIB,
                    tail / MIB,
                    KERNEL_AT_LEAST / MIB,
                    KERNEL_START / MIB,
                )
            })
        }
        Reservation::High { size } if first.arch == Arch::X86_64 => {
            if memory.bytes() < LEAST_FOR_HIGH {
                return Some(format!("{reservation} needs 6G of RAM or more, and {name} has {memory}"));
            }
            too_large(size, ram.high_end - HIGH_START, name, "above 4G")
        }
        Reservation::Auto { size } if first.arch == Arch::X86_64 => {
            too_large(size, ram.low_end - KERNEL_START, name, "in low RAM")
        }
        // For an i386 kernel `size,high` is the same as `size`.
        Reservation::Auto { size } | Reservation::High { size } => {
            let room = ram.low_end.min(I386_AUTO_END) - KERNEL_START;
            too_large(size, room, name, "below 512M, where an i386 kernel chooses the place")
        }
    }
}

/// Whether the kernel takes coarse offsets only. Of one that is not out of the lock file the version is not known before it
/// boots, so it is taken for a new one: every kernel takes those.
fn has_coarse_offsets(kernel: &Kernel) -> bool {
    kernel.version().is_none_or(|version| version >= COARSE_OFFSETS_SINCE)
}

fn too_large(size: Mib, room: u64, platform: &str, place: &str) -> Option<String> {
    (size.bytes() >= room).then(|| format!("{size} is too large: {platform} has {}M {place}", room / MIB))
}

const fn most_ram(kernel: &Kernel) -> Option<u64> {
    match kernel.arch {
        Arch::X86_64 => None,
        Arch::I386 => Some(if kernel.pae { MOST_WITH_PAE } else { MOST_WITHOUT_PAE }),
    }
}

/// Where the machine has its RAM. The error says what is not known of it.
fn ram(machine: &str, memory: Mib) -> Result<Ram, String> {
    let mut words = machine.split(',');
    let model = words.next().unwrap_or("");
    let mut below_4g = None;
    for word in words {
        if let Some(value) = word.strip_prefix("max-ram-below-4g=") {
            below_4g =
                Some(value.parse::<Mib>().map_err(|error| format!("max-ram-below-4g: {error}"))?.bytes());
        }
    }
    let memory = memory.bytes();
    if memory < 128 * MIB {
        return Err(format!("{}M of RAM are too little for two kernels", memory / MIB));
    }
    let low_limit = match model_of(model) {
        Some(Model::Pc { rounds }) => {
            let limit = below_4g.unwrap_or(PC_LOW_LIMIT);
            if rounds && memory >= limit { limit.min(PC_LOW_ALIGNED) } else { limit }
        }
        Some(Model::Q35) => {
            let limit = if memory >= Q35_LOW_LIMIT { Q35_LOW_ALIGNED } else { Q35_LOW_LIMIT };
            limit.min(below_4g.unwrap_or(HIGH_START))
        }
        None => {
            return Err(format!(
                "where the RAM of machine {model:?} lies is not known: take pc, q35, or a versioned one of them such as pc-i440fx-1.7"
            ));
        }
    };
    let low_end = memory.min(low_limit).min(HIGH_START);
    Ok(Ram { low_end, high_end: HIGH_START + (memory - low_end) })
}

enum Model {
    /// i440FX; whether low RAM is rounded down to whole GiB.
    Pc {
        rounds: bool,
    },
    Q35,
}

fn model_of(name: &str) -> Option<Model> {
    match name {
        "pc" => return Some(Model::Pc { rounds: true }),
        "q35" => return Some(Model::Q35),
        _ => {}
    }
    let version = |text: &str| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    if let Some(text) = name.strip_prefix("pc-i440fx-") {
        return version(text).map(|version| Model::Pc { rounds: version > LAST_UNALIGNED_PC });
    }
    version(name.strip_prefix("pc-q35-")?).map(|_| Model::Q35)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::FirstBoot;
    use std::num::NonZeroU32;

    fn platform(machine: &str, memory: &str) -> Platform {
        Platform {
            name: "p".to_owned(),
            machine: machine.to_owned(),
            memory: memory.parse().unwrap(),
            cpu: "qemu64".to_owned(),
            cpus: NonZeroU32::MIN,
            boot: FirstBoot::Fastest,
            firmware: Firmware::Bios,
            five_levels: false,
            hardware: None,
        }
    }

    fn kernel(arch: Arch, pae: bool) -> Kernel {
        Kernel { name: "k".to_owned(), arch, pae, path: None }
    }

    #[test]
    fn low_ram_ends_where_qemu_ends_it() {
        // A wrong end lets an impossible cell boot, or forbids one that was measured to work.
        for (machine, memory, low_end, high) in [
            ("pc", "2G", 2 * GIB, 0),
            ("pc", "3520M", 3520 * MIB, 0),
            ("pc", "3584M", 3 * GIB, 512 * MIB),
            ("pc", "4G", 3 * GIB, GIB),
            ("pc,max-ram-below-4g=3584M", "4G", 3 * GIB, GIB),
            ("pc,max-ram-below-4g=4G", "3968M", 3968 * MIB, 0),
            ("pc-i440fx-7.2,usb=off", "8G", 3 * GIB, 5 * GIB),
            ("pc-i440fx-1.7", "8G", 3584 * MIB, 8 * GIB - 3584 * MIB),
            ("q35", "2815M", 2815 * MIB, 0),
            ("q35", "2816M", 2 * GIB, 768 * MIB),
            ("pc-q35-7.2,max-ram-below-4g=4G", "8G", 2 * GIB, 6 * GIB),
        ] {
            let expected = Ram { low_end, high_end: HIGH_START + high };
            assert_eq!(ram(machine, memory.parse().unwrap()), Ok(expected), "{machine} {memory}");
        }
        for machine in ["", "microvm", "pc-", "pc-i440fx-x", "pc,max-ram-below-4g=lots"] {
            assert!(ram(machine, "4G".parse().unwrap()).is_err(), "{machine}");
        }
    }

    #[test]
    fn offsets_are_coarse_for_new_kernels_only() {
        // Bug: what is just above a limit is never tried by the kernels that would take it; or a local kernel boots for nothing.
        for (name, path, coarse) in [
            ("5.10-amd64", None, false),
            ("6.1-686-pae", None, false),
            ("6.6-amd64", None, false),
            ("6.7-amd64", None, true),
            ("6.12-amd64", None, true),
            ("7.0-amd64", None, true),
            ("5.10-amd64", Some("/tmp/5.10-amd64".into()), true),
            ("vmlinuz", None, true),
        ] {
            let kernel = Kernel { name: name.to_owned(), path, ..kernel(Arch::X86_64, true) };
            let why = why_not(&kernel, "128M@513M".parse().unwrap(), &platform("pc", "4G"));
            assert_eq!(why.is_some(), coarse, "{name}: {why:?}");
        }
        let old = Kernel { name: "5.10-686".to_owned(), ..kernel(Arch::I386, false) };
        assert_eq!(why_not(&old, "15M@1M".parse().unwrap(), &platform("pc", "4G")), None);
        assert!(why_not(&old, "16M@1M".parse().unwrap(), &platform("pc", "4G")).is_some());
    }

    #[test]
    fn the_regions_that_were_measured_fit() {
        let x86_64 = kernel(Arch::X86_64, true);
        for (reservation, machine, memory) in [
            ("256M@512M", "pc", "2G"),
            ("256M@1968M", "pc", "4G"),
            ("192M@3264M", "pc", "3520M"),
            ("256M@3264M", "pc,max-ram-below-4g=4G", "3968M"),
            ("192M@3264M", "pc-i440fx-1.7", "8G"),
            ("256M@4096M", "pc", "8G"),
            ("32M@32M", "pc", "4G"),
            ("128M@3808M", "pc,max-ram-below-4g=4G", "3968M"),
            ("256M", "q35", "4G"),
            ("256M,high", "pc", "8G"),
        ] {
            let why = why_not(&x86_64, reservation.parse().unwrap(), &platform(machine, memory));
            assert_eq!(why, None, "{reservation} on {machine} {memory}");
        }
    }

    #[test]
    fn uefi_keeps_more_and_starts_64_bit_kernels_only() {
        // Bug: a region in what the firmware keeps boots without any; a 32-bit kernel is waited for in the firmware's menu.
        let uefi = |machine, memory| Platform { firmware: Firmware::Uefi, ..platform(machine, memory) };
        let why = |arch, reservation: &str| {
            why_not(&kernel(arch, true), reservation.parse().unwrap(), &uefi("pc", "4G"))
        };
        assert_eq!(why(Arch::X86_64, "256M@1968M"), None);
        assert_eq!(why(Arch::X86_64, "128M@2816M"), None);
        assert!(why(Arch::X86_64, "144M@2816M").is_some_and(|why| why.contains("the last 128M of low RAM")));
        assert!(why(Arch::I386, "256M@512M").is_some_and(|why| why.contains("64-bit UEFI firmware")));
    }

    #[test]
    fn what_cannot_be_is_told_with_its_reason() {
        let x86_64 = kernel(Arch::X86_64, true);
        let pae = kernel(Arch::I386, true);
        let no_pae = kernel(Arch::I386, false);
        for (first, reservation, machine, memory, reason) in [
            (&x86_64, "192M@3264M", "pc", "4G", "RAM up to 3072M and 1024M from 4096M on"),
            (&x86_64, "256M@1968M", "q35", "4G", "RAM up to 2048M"),
            (&x86_64, "256M@3264M", "pc", "3520M", "RAM up to 3520M, and"),
            (&x86_64, "256M@520M", "pc", "4G", "multiples of 16M"),
            (&x86_64, "16M@0M", "pc", "4G", "firmware has the first 1M"),
            (&x86_64, "15M@2M", "pc", "4G", "multiples of 16M"),
            (&x86_64, "256M@16M", "pc", "4G", "8M and more from 16M on"),
            (&x86_64, "256M,high", "pc", "4G", "needs 6G"),
            (&x86_64, "5G,high", "pc", "6G", "too large"),
            (&x86_64, "4G", "pc", "8G", "too large"),
            (&pae, "512M", "pc", "4G", "below 512M"),
            (&pae, "512M,high", "pc", "8G", "below 512M"),
            (&pae, "256M", "pc", "17G", "16 GiB"),
            (&no_pae, "256M", "pc", "5G", "4 GiB"),
            (&x86_64, "256M", "virt", "5G", "not known"),
            (&x86_64, "16M", "pc", "64M", "too little"),
        ] {
            let why = why_not(first, reservation.parse().unwrap(), &platform(machine, memory));
            assert!(
                why.as_ref().is_some_and(|why| why.contains(reason)),
                "{reservation} on {machine} {memory}: {why:?}"
            );
        }
    }
}
