//! boot_params, the "zero page" that the capture kernel is given: its setup header filled in, the memory map, and where
//! command line and initrd lie. Offsets: `Documentation/arch/x86/zero-page.rst` and `boot.rst`.

use crate::addr::PhysAddr;
use crate::bzimage::{BzImage, HEADER_START};
use crate::e820::{self, Entry};
use crate::efi::Efi;
use crate::screen::{self, Framebuffers};
use alloc::vec::Vec;

/// Size of boot_params in bytes.
pub const SIZE: usize = 4096;
/// `type_of_loader`: 0xff is a loader without an assigned number (boot.rst).
const LOADER_UNKNOWN: u8 = 0xff;

/// Offsets of the fields that are written.
mod at {
    use core::ops::Range;

    /// `acpi_rsdp_addr`, 8 bytes.
    pub(super) const ACPI_RSDP: usize = 0x070;
    /// Upper halves of initrd address, initrd size, and command line address, 4 bytes each.
    pub(super) const EXT_RAMDISK_IMAGE: usize = 0x0c0;
    pub(super) const EXT_RAMDISK_SIZE: usize = 0x0c4;
    pub(super) const EXT_CMD_LINE_PTR: usize = 0x0c8;
    /// `e820_entries`, 1 byte.
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    /// `secure_boot`, 1 byte.
    pub(super) const SECURE_BOOT: usize = 0x1ec;
    /// Counts of the BIOS's disks (EDD), 1 byte each; their signatures; and what the BIOS said of them.
    pub(super) const EDD_COUNTS: Range<usize> = 0x1e9..0x1eb;
    pub(super) const EDD_SIGNATURES: Range<usize> = 0x290..0x2d0;
    pub(super) const EDD: Range<usize> = 0xd00..0xeec;
    /// `hardware_subarch`, 4 bytes: what a PC is not like.
    pub(super) const HARDWARE_SUBARCH: Range<usize> = 0x23c..0x240;
    /// `type_of_loader`, 1 byte.
    pub(super) const TYPE_OF_LOADER: usize = 0x210;
    /// `code32_start`, 4 bytes.
    pub(super) const CODE32_START: usize = 0x214;
    /// `ramdisk_image`, `ramdisk_size`, 4 bytes each.
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    /// `cmd_line_ptr`, 4 bytes.
    pub(super) const CMD_LINE_PTR: usize = 0x228;
    /// `setup_data`, 8 bytes.
    pub(super) const SETUP_DATA: usize = 0x250;
    /// `e820_table`.
    pub(super) const E820_TABLE: usize = 0x2d0;
}

/// What the capture kernel is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Where the kernel is loaded.
    pub kernel: PhysAddr,
    /// Address and exact size of the initrd.
    pub initrd: Option<(PhysAddr, u64)>,
    /// Where the command line lies.
    pub command_line: PhysAddr,
    /// The memory map. What is more than fits is left to setup_data.
    pub e820: &'a [Entry],
    /// The first item of setup_data, if there is any.
    pub setup_data: Option<PhysAddr>,
    /// ACPI's root table, if its place is known.
    pub rsdp: Option<PhysAddr>,
    /// UEFI, and where its memory map was put.
    pub efi: Option<(&'a Efi, PhysAddr)>,
    /// boot_params of the running kernel (/sys/kernel/boot_params/data), for its screen, kind of machine, disks and secure boot; empty if
    /// unknown.
    pub running: &'a [u8],
    /// /proc/fb, which tells whose the screen is now.
    pub framebuffers: Framebuffers<'a>,
}

/// Fills boot_params: [`SIZE`] bytes.
pub fn build(image: &BzImage<'_>, told: &Told<'_>) -> Vec<u8> {
    let mut page = alloc::vec![0u8; SIZE];
    let mut put = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(HEADER_START, image.header);
    if let Some(screen) = screen::told(told.running, told.framebuffers) {
        put(screen::AT, &screen);
    }
    // The machine as the running kernel found it; nobody can ask the BIOS again. The kernel's own kexec_file_load passes the same on
    // (arch/x86/kernel/kexec-bzimage64.c, `setup_boot_parameters`), `hardware_subarch_data` left out.
    for field in [at::HARDWARE_SUBARCH, at::EDD_COUNTS, at::EDD_SIGNATURES, at::EDD] {
        if let Some(found) = told.running.get(field.clone()) {
            put(field.start, found);
        }
    }
    if let Some((efi, map)) = told.efi {
        let (offset, info) = efi.info(map);
        put(offset, &info);
        // A kernel that is locked down for it must not be got around by a panic.
        if let Some(secure_boot) = told.running.get(at::SECURE_BOOT..=at::SECURE_BOOT) {
            put(at::SECURE_BOOT, secure_boot);
        }
    }
    // Zero where there is none.
    let or_zero = |address: Option<PhysAddr>| address.map_or(0, |address| address.0).to_le_bytes();
    put(at::ACPI_RSDP, &or_zero(told.rsdp));
    put(at::SETUP_DATA, &or_zero(told.setup_data));
    put(at::TYPE_OF_LOADER, &[LOADER_UNKNOWN]);
    // Only the 32-bit half exists; a kernel above 4 GiB is entered at 64 bits and does not look at it.
    put(at::CODE32_START, &low(told.kernel.0));
    put(at::CMD_LINE_PTR, &low(told.command_line.0));
    put(at::EXT_CMD_LINE_PTR, &high(told.command_line.0));
    if let Some((address, size)) = told.initrd {
        put(at::RAMDISK_IMAGE, &low(address.0));
        put(at::EXT_RAMDISK_IMAGE, &high(address.0));
        put(at::RAMDISK_SIZE, &low(size));
        put(at::EXT_RAMDISK_SIZE, &high(size));
    }
    let entries = told.e820.iter().take(e820::IN_BOOT_PARAMS);
    put(at::E820_ENTRIES, &[entries.len() as u8]);
    for (index, entry) in entries.enumerate() {
        put(at::E820_TABLE + index * e820::ENTRY_SIZE, &entry.encode());
    }
    page
}

/// The lower four bytes.
fn low(value: u64) -> [u8; 4] {
    (value as u32).to_le_bytes()
}

/// The upper four bytes.
fn high(value: u64) -> [u8; 4] {
    ((value >> 32) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{u32_at, u64_at};
    use crate::bzimage::tests::FakeImage;
    use crate::efi;
    use crate::iomem::Kind;
    use crate::testing::span;

    #[test]
    fn every_field_is_where_the_kernel_looks() {
        let file = FakeImage::x86_64().build();
        let image = BzImage::parse(&file).unwrap();
        let mut running = [0u8; SIZE];
        running[0x06] = 3;
        running[0x02] = 1;
        running[0x23c..0x248].fill(4);
        (running[0x1e9], running[0x1ea]) = (5, 6);
        running[0x290..0x2d0].fill(7);
        running[0xd00..0x1000].fill(8);
        running[0x70] = 1;
        running[0x250] = 1;
        running[0x1c0..0x1e0].fill(1);
        running[0x1e8] = 77;
        running[0x1ec] = 3;
        let efi = efi::tests::ovmf();
        let told = Told {
            kernel: PhysAddr(0x2_1000_0000),
            initrd: Some((PhysAddr(0x2_1ff0_0000), 0x1_0000_0123)),
            command_line: PhysAddr(0x2_1fff_1000),
            e820: &[
                Entry { span: span(0x1000, 0x9efff), kind: Kind::Ram },
                Entry { span: span(0x2_1000_0000, 0x2_1fff_ffff), kind: Kind::Ram },
            ],
            setup_data: Some(PhysAddr(0x2_1fff_1900)),
            rsdp: Some(PhysAddr(0x7fb7_e014)),
            efi: Some((&efi, PhysAddr(0x2_1fff_1800))),
            running: &running,
            framebuffers: Framebuffers::Listed(b""),
        };
        let page = build(&image, &told);
        assert_eq!(u32_at(&page[..], 0x202), Some(u32::from_le_bytes(*b"HdrS")));
        assert_eq!(u32_at(&page[..], 0x260), Some(0x0290_0000), "init_size is read again by the kernel");
        assert_eq!((page[0x210], page[0x1ef], page[0x06]), (0xff, 0, 3));
        assert_eq!((u32_at(&page[..], 0x218), u32_at(&page[..], 0xc0)), (Some(0x1ff0_0000), Some(2)));
        assert_eq!((u32_at(&page[..], 0x21c), u32_at(&page[..], 0xc4)), (Some(0x123), Some(1)));
        assert_eq!((u32_at(&page[..], 0x228), u32_at(&page[..], 0xc8)), (Some(0x1fff_1000), Some(2)));
        assert_eq!(u64_at(&page[..], 0x70), Some(0x7fb7_e014));
        assert_eq!(u64_at(&page[..], 0x250), Some(0x2_1fff_1900));
        assert_eq!(page[0x1ec], 3);
        assert_eq!(page[0x02], 0, "the running kernel's memory");
        assert_eq!((page[0x23c], page[0x23f], page[0x240], page[0x1e9], page[0x1ea]), (4, 4, 0, 5, 6));
        assert!(page[0x290..0x2d0] == [7; 0x40] && page[0xd00..0xeec] == [8; 0x1ec] && page[0xeec] == 0);
        assert_eq!(page[0x1c0..0x1e0], efi.info(PhysAddr(0x2_1fff_1800)).1);
        assert_eq!(page[0x1e8], 2, "the running kernel's map is not taken over");
        assert_eq!(u64_at(&page[..], 0x2d0 + 20), Some(0x2_1000_0000));
        assert_eq!(u64_at(&page[..], 0x2d0 + 28), Some(0x1000_0000));
        assert_eq!(u32_at(&page[..], 0x2d0 + 36), Some(1));
    }

    /// Catches what the running kernel was told handed on where it does not hold for the capture kernel: setup_data that is gone, UEFI that
    /// it could not use.
    #[test]
    fn what_is_not_there_is_zero() {
        let file = FakeImage::x86_64().build();
        let image = BzImage::parse(&file).unwrap();
        let many = [Entry { span: span(0, 1), kind: Kind::Reserved }; 129];
        let told = Told {
            kernel: PhysAddr(0),
            initrd: None,
            command_line: PhysAddr(0),
            e820: &many,
            setup_data: None,
            rsdp: None,
            efi: None,
            running: &[1; SIZE],
            framebuffers: Framebuffers::Listed(b""),
        };
        let page = build(&image, &told);
        assert_eq!((u64_at(&page, 0x70), u64_at(&page, 0x250), page[0x1c0]), (Some(0), Some(0), 0));
        assert_eq!(page[0x1e8], 128);
        assert_eq!(page[0x2d0 + 128 * 20], 0, "boot_params has no room for more");
    }
}
