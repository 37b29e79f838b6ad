//! The image that a first kernel boots from, and where QEMU then puts the initramfs. Pure.
//!
//! The first kernel is not what is tested up to *ready*, so it may come up the fast way: as the uncompressed ELF that its
//! bzImage holds, by the PVH entry, which spares the emulated decompression. Only kernels that run without KASLR do: their
//! decompressor draws the address, and a kernel that never went through it stays where it was linked.
//!
//! Under UEFI there is one way, the bzImage's EFI stub, and the stub takes the initramfs wherever the firmware has room for it.

use crate::cell::{Cell, Firmware, FirstBoot, Reservation};
use crate::scenario::low_memory_end;
use guest_protocol::{Arch, PhysRange};

const MIB: u64 = 1 << 20;

/// How a first kernel boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// From the bzImage as it is.
    BzImage,
    /// From the bzImage, with `initrd_addr_max` of its header lowered to this address, so that QEMU keeps the initramfs out of
    /// the region that the cell forces. The field is read by boot loaders alone.
    BzImageInitrdBelow(u64),
    /// From the ELF in the bzImage, by its PVH entry.
    Pvh,
}

/// Fields of a bzImage's setup header (Linux Documentation/arch/x86/boot.rst, "Details of Header Fields").
mod header {
    /// `version`: the boot protocol's, u16.
    pub(super) const VERSION: usize = 0x206;
    /// `initrd_addr_max`, u32, since protocol 2.03.
    pub(super) const INITRD_ADDR_MAX: usize = 0x22c;
    /// `xloadflags`, u16, since protocol 2.12.
    pub(super) const XLOADFLAGS: usize = 0x236;
    /// In `xloadflags`: XLF_CAN_BE_LOADED_ABOVE_4G.
    pub(super) const ABOVE_4G: u16 = 1 << 1;
    /// `init_size`, u32, since protocol 2.10.
    pub(super) const INIT_SIZE: usize = 0x260;
}

/// What QEMU keeps below the end of low memory beside the initramfs: it aligns down by pages and leaves room for ACPI
/// tables (hw/i386/x86.c `x86_load_linux`: `acpi_data_size`, 0x20000 + 0x8000 for pc).
const ABOVE_INITRD: u64 = 0x28000;

/// An i386 kernel moves an initramfs that lies beyond its direct map to the direct map's end, and that before it reserves
/// its crash region (arch/x86/kernel/setup.c, `relocate_initrd`). The direct map ends some MiB below this, 896 MiB.
const I386_DIRECT_MAP_END: u64 = 896 * MIB;
/// It ends no lower than this without `vmalloc=` (0x36ffe000 was seen on all of Debian's; 128 MiB of vmalloc and the fixmaps).
const I386_DIRECT_MAP_END_AT_LEAST: u64 = 864 * MIB;

/// Where a kernel runs that was not moved: CONFIG_PHYSICAL_START.
const KERNEL_START: u64 = 16 * MIB;

fn u16_at(image: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?))
}

/// Decides how the first kernel of `cell` boots with an initramfs of `size` bytes. `pvh` says whether its ELF can be had.
///
/// # Errors
/// A sentence: the initramfs cannot be kept out of the region, or does not fit at all.
pub fn route(cell: &Cell, bzimage: &[u8], size: usize, pvh: bool) -> Result<Route, String> {
    match cell.platform.firmware {
        Firmware::Bios => {}
        Firmware::Uefi => return Ok(Route::BzImage),
    }
    let size = size as u64;
    let usual = if pvh && may_boot_by_pvh(cell) { Route::Pvh } else { Route::BzImage };
    let Some(low_end) = low_memory_end(&cell.platform) else { return Ok(usual) };
    let highest = match usual {
        // QEMU knows no bound of an ELF's (hw/i386/x86.c, `load_elfboot`).
        Route::Pvh => u64::from(u32::MAX),
        Route::BzImage | Route::BzImageInitrdBelow(_) => highest_initrd_address(bzimage)
            .ok_or_else(|| format!("kernel {} is too short for a bzImage", cell.first.name))?,
    };
    let place = initrd_place(size, low_end, highest)
        .ok_or_else(|| format!("an initramfs of {} MiB does not fit below {low_end:#x}", size >> 20))?;
    let Some(region) = cell.reservation.range() else { return Ok(usual) };
    if !overlap(settled(cell.first.arch, place), region) {
        return Ok(usual);
    }
    // Below the region, and where an i386 kernel leaves it.
    let highest = match cell.first.arch {
        Arch::I386 => region.start.min(I386_DIRECT_MAP_END_AT_LEAST),
        Arch::X86_64 => region.start,
    };
    let lowest = KERNEL_START + u64::from(u32_at(bzimage, header::INIT_SIZE).unwrap_or_default());
    let lowered = highest.checked_sub(1).filter(|&last| {
        initrd_place(size, low_end, last)
            .is_some_and(|place| place.start >= lowest && !overlap(settled(cell.first.arch, place), region))
    });
    lowered.map(Route::BzImageInitrdBelow).ok_or_else(|| {
        format!(
            "the initramfs ({} MiB) would lie at {place}, in the region {} that the cell forces, and there is no room below \
             it; make loader or capture kernel smaller",
            size >> 20,
            cell.reservation
        )
    })
}

/// Whether the cell's first kernel may come up by its PVH entry: the cell must not ask for the bzImage, the kernel must run without KASLR anyway, and QEMU must take an ELF
/// together with an initramfs on this machine, which versioned old machine types do not.
fn may_boot_by_pvh(cell: &Cell) -> bool {
    let machine = cell.platform.machine.split(',').next().unwrap_or_default();
    cell.platform.boot == FirstBoot::Fastest
        && matches!(machine, "pc" | "q35")
        && matches!(cell.reservation, Reservation::At { .. })
}

/// The highest address that QEMU gives an initramfs of this kernel (hw/i386/x86.c, `x86_load_linux`); none when the file
/// is too short for a bzImage.
fn highest_initrd_address(bzimage: &[u8]) -> Option<u64> {
    let above_4g = u16_at(bzimage, header::VERSION)? >= 0x20c
        && u16_at(bzimage, header::XLOADFLAGS)? & header::ABOVE_4G != 0;
    let field = u32_at(bzimage, header::INITRD_ADDR_MAX)?;
    Some(u64::from(if above_4g { u32::MAX } else { field }))
}

/// Where QEMU puts an initramfs of `size` bytes when low memory ends at `low_end` and it may lie up to `highest`: as high as
/// both allow.
fn initrd_place(size: u64, low_end: u64, highest: u64) -> Option<PhysRange> {
    let limit = low_end.checked_sub(ABOVE_INITRD)?.min(highest.checked_add(1)?);
    let start = limit.checked_sub(size)? & !0xfff;
    Some(PhysRange { start, end: start + size.checked_sub(1)? })
}

/// Where an initramfs lies when the first kernel reserves its crash region (for i386, the bounds of where it may).
fn settled(first: Arch, initrd: PhysRange) -> PhysRange {
    if first == Arch::X86_64 || initrd.end < I386_DIRECT_MAP_END_AT_LEAST {
        return initrd;
    }
    let size = initrd.end - initrd.start;
    PhysRange { start: I386_DIRECT_MAP_END_AT_LEAST.saturating_sub(size), end: I386_DIRECT_MAP_END - 1 }
}

fn overlap(a: PhysRange, b: PhysRange) -> bool {
    a.start <= b.end && b.start <= a.end
}

/// The bzImage with a header that keeps the initramfs at or below `last`.
pub fn with_initrd_below(bzimage: &[u8], last: u64) -> Vec<u8> {
    let mut image = bzimage.to_vec();
    // The route was found from these fields, so they are there; 32 bits hold what lies in low memory.
    if let (Some(flags), Ok(last)) = (u16_at(bzimage, header::XLOADFLAGS), u32::try_from(last)) {
        image[header::XLOADFLAGS..][..2].copy_from_slice(&(flags & !header::ABOVE_4G).to_le_bytes());
        image[header::INITRD_ADDR_MAX..][..4].copy_from_slice(&last.to_le_bytes());
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Platform;
    use crate::testing;

    const SIZE: usize = 5 << 20;

    /// A header as Debian's kernels have it; `xloadflags` 0x7f is an x86_64 kernel.
    fn image(xloadflags: u16) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[header::VERSION..][..2].copy_from_slice(&0x20fu16.to_le_bytes());
        bytes[header::INITRD_ADDR_MAX..][..4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        bytes[header::XLOADFLAGS..][..2].copy_from_slice(&xloadflags.to_le_bytes());
        bytes[header::INIT_SIZE..][..4].copy_from_slice(&0x3b7_a000u32.to_le_bytes());
        bytes
    }

    fn cell(arch: Arch, size: u32, offset_mib: u32, machine: &str, memory: u32) -> Cell {
        let mut cell = testing::cell();
        cell.first.arch = arch;
        cell.reservation = Reservation::At { size: testing::mib(size), offset_mib };
        cell.platform = Platform { machine: machine.into(), memory: testing::mib(memory), ..cell.platform };
        cell
    }

    /// Bug: a big initramfs makes 192M@3264M on a 3520M machine *unreserved*, and the kernel gets the blame.
    #[test]
    fn an_initramfs_in_the_way_goes_below_the_region() {
        let cell = cell(Arch::X86_64, 192, 3264, "pc", 3520);
        assert_eq!(route(&cell, &image(0x7f), 60 << 20, true), Ok(Route::Pvh));
        let below = Route::BzImageInitrdBelow((3264 << 20) - 1);
        assert_eq!(route(&cell, &image(0x7f), 65 << 20, true), Ok(below));
        let lowered = with_initrd_below(&image(0x7f), (3264 << 20) - 1);
        assert_eq!(highest_initrd_address(&lowered), Some((3264 << 20) - 1));
    }

    /// Bug: an i386 kernel moves its initramfs into the region that the cell forces, and reserves none.
    #[test]
    fn an_i386_kernel_moves_its_initramfs_to_the_end_of_its_direct_map() {
        let image = image(0);
        let of = |size, offset| route(&cell(Arch::I386, size, offset, "pc", 4096), &image, SIZE, true);
        assert_eq!(of(256, 768), Ok(Route::BzImageInitrdBelow((768 << 20) - 1)), "straddles its end");
        assert_eq!(of(256, 512), Ok(Route::Pvh), "ends below where it goes");
        assert_eq!(of(256, 896), Ok(Route::Pvh), "begins above it");
        assert_eq!(of(256, 1968), Ok(Route::Pvh), "moved away from there");
        assert_eq!(
            of(16, 880),
            Ok(Route::BzImageInitrdBelow((864 << 20) - 1)),
            "just above, as far as is known"
        );
    }

    /// Bug: an initramfs is put where the first kernel itself runs.
    #[test]
    fn no_room_below_is_told() {
        let cell = cell(Arch::I386, 832, 64, "pc", 4096);
        let why = route(&cell, &image(0), SIZE, true).unwrap_err();
        assert!(why.contains("no room below"), "{why}");
    }

    /// Bug: a kernel whose cell keeps KASLR boots by a way that never draws an address, or on a machine that cannot.
    #[test]
    fn pvh_is_for_kernels_without_kaslr_on_machines_that_can() {
        let image = image(0x7f);
        let auto = Cell { reservation: Reservation::Auto { size: testing::mib(256) }, ..testing::cell() };
        assert_eq!(route(&auto, &image, SIZE, true), Ok(Route::BzImage));
        assert_eq!(route(&testing::cell(), &image, SIZE, false), Ok(Route::BzImage));
        let mut asked = testing::cell();
        asked.platform.boot = FirstBoot::BzImage;
        assert_eq!(route(&asked, &image, SIZE, true), Ok(Route::BzImage));
        let mut uefi = testing::cell();
        uefi.platform.firmware = Firmware::Uefi;
        assert_eq!(route(&uefi, &image, SIZE, true), Ok(Route::BzImage), "an ELF has no EFI stub");
        let old = cell(Arch::X86_64, 192, 512, "pc-i440fx-1.7", 8192);
        assert_eq!(route(&old, &image, SIZE, true), Ok(Route::BzImage));
    }

    /// Bug: the real cells at 1968M are refused, because the header's field (0x7fffffff in all of Debian's) is taken where QEMU
    /// does not look at it.
    #[test]
    fn real_kernels_at_1968m() {
        let place = |image: &[u8]| {
            initrd_place(SIZE as u64, 3 << 30, highest_initrd_address(image).unwrap()).unwrap()
        };
        assert!(place(&image(0x7f)).start > 0x8aff_ffff);
        assert!(place(&image(0)).end < 0x8000_0000);
        assert_eq!(highest_initrd_address(&[0; 0x100]), None);
    }
}
