//! boot_params, the "zero page" that the capture kernel is given: its setup header filled in, the memory map, and where
//! command line and initrd lie. Offsets: `Documentation/arch/x86/zero-page.rst` and `boot.rst`.

use crate::addr::{PhysAddr, Span};
use crate::bzimage::{BzImage, HEADER_START};
use crate::e820::Entry;
use crate::refusal::Refusal;
use alloc::boxed::Box;

/// Size of boot_params in bytes.
pub const SIZE: usize = 4096;
/// Entries of `e820_table` (E820_MAX_ENTRIES_ZEROPAGE).
pub const E820_MAX: usize = 128;
/// `type_of_loader`: 0xff is a loader without an assigned number (boot.rst).
const LOADER_UNKNOWN: u8 = 0xff;

/// Offsets of the fields that are written.
mod at {
    /// `screen_info`, 0x40 bytes.
    pub(super) const SCREEN_INFO: usize = 0x000;
    /// `acpi_rsdp_addr`, 8 bytes.
    pub(super) const ACPI_RSDP: usize = 0x070;
    /// Upper halves of initrd address, initrd size, and command line address, 4 bytes each.
    pub(super) const EXT_RAMDISK_IMAGE: usize = 0x0c0;
    pub(super) const EXT_RAMDISK_SIZE: usize = 0x0c4;
    pub(super) const EXT_CMD_LINE_PTR: usize = 0x0c8;
    /// `e820_entries`, 1 byte.
    pub(super) const E820_ENTRIES: usize = 0x1e8;
    /// `type_of_loader`, 1 byte.
    pub(super) const TYPE_OF_LOADER: usize = 0x210;
    /// `code32_start`, 4 bytes.
    pub(super) const CODE32_START: usize = 0x214;
    /// `ramdisk_image`, `ramdisk_size`, 4 bytes each.
    pub(super) const RAMDISK_IMAGE: usize = 0x218;
    pub(super) const RAMDISK_SIZE: usize = 0x21c;
    /// `cmd_line_ptr`, 4 bytes.
    pub(super) const CMD_LINE_PTR: usize = 0x228;
    /// `e820_table`, entries of 20 bytes: address, size, type.
    pub(super) const E820_TABLE: usize = 0x2d0;
}

/// Size of `screen_info` in bytes.
const SCREEN_INFO_SIZE: usize = 0x40;
/// Size of an e820 entry in bytes.
const E820_ENTRY_SIZE: usize = 20;

/// What the capture kernel is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Where the kernel is loaded.
    pub kernel: PhysAddr,
    /// Address and exact size of the initrd.
    pub initrd: Option<(PhysAddr, u64)>,
    /// Where the command line lies.
    pub command_line: PhysAddr,
    /// The memory map.
    pub e820: &'a [Entry],
    /// boot_params of the running kernel (/sys/kernel/boot_params/data), for what firmware told it; empty if unknown.
    pub running: &'a [u8],
}

/// Fills boot_params.
pub fn build(image: &BzImage<'_>, told: &Told<'_>) -> Result<Box<[u8; SIZE]>, Refusal> {
    if told.e820.len() > E820_MAX {
        return Err(Refusal::TooManyE820Entries { entries: told.e820.len(), most: E820_MAX });
    }
    let mut page = Box::new([0u8; SIZE]);
    let mut put = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(HEADER_START, image.header);
    // The screen as the running kernel found it, and the place of the ACPI tables, which UEFI told it alone.
    if let Some(screen) = told.running.get(at::SCREEN_INFO..at::SCREEN_INFO + SCREEN_INFO_SIZE) {
        put(at::SCREEN_INFO, screen);
    }
    if let Some(rsdp) = told.running.get(at::ACPI_RSDP..at::ACPI_RSDP + 8) {
        put(at::ACPI_RSDP, rsdp);
    }
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
    for (index, Entry { span, kind }) in told.e820.iter().enumerate() {
        let offset = at::E820_TABLE + index * E820_ENTRY_SIZE;
        put(offset, &span.start().0.to_le_bytes());
        put(offset + 8, &Span::size(*span).to_le_bytes());
        put(offset + 16, &kind.number().to_le_bytes());
    }
    // At most 128, by the check above.
    put(at::E820_ENTRIES, &[told.e820.len() as u8]);
    Ok(page)
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
    use crate::iomem::Kind;
    use crate::testing::span;

    #[test]
    fn every_field_is_where_the_kernel_looks() {
        let file = FakeImage::x86_64().build();
        let image = BzImage::parse(&file).unwrap();
        let mut running = [0u8; SIZE];
        running[0x06] = 3;
        running[0x70..0x78].copy_from_slice(&0xf_5b20u64.to_le_bytes());
        running[0x1e8] = 77;
        let told = Told {
            kernel: PhysAddr(0x2_1000_0000),
            initrd: Some((PhysAddr(0x2_1ff0_0000), 0x1_0000_0123)),
            command_line: PhysAddr(0x2_1fff_1000),
            e820: &[
                Entry { span: span(0x1000, 0x9efff), kind: Kind::Ram },
                Entry { span: span(0x2_1000_0000, 0x2_1fff_ffff), kind: Kind::Ram },
            ],
            running: &running,
        };
        let page = build(&image, &told).unwrap();
        assert_eq!(u32_at(&page[..], 0x202), Some(u32::from_le_bytes(*b"HdrS")));
        assert_eq!(u32_at(&page[..], 0x260), Some(0x0290_0000), "init_size is read again by the kernel");
        assert_eq!((page[0x210], page[0x1ef], page[0x06]), (0xff, 0, 3));
        assert_eq!((u32_at(&page[..], 0x218), u32_at(&page[..], 0xc0)), (Some(0x1ff0_0000), Some(2)));
        assert_eq!((u32_at(&page[..], 0x21c), u32_at(&page[..], 0xc4)), (Some(0x123), Some(1)));
        assert_eq!((u32_at(&page[..], 0x228), u32_at(&page[..], 0xc8)), (Some(0x1fff_1000), Some(2)));
        assert_eq!(u64_at(&page[..], 0x70), Some(0xf_5b20));
        assert_eq!(page[0x1e8], 2, "the running kernel's map is not taken over");
        assert_eq!(u64_at(&page[..], 0x2d0 + 20), Some(0x2_1000_0000));
        assert_eq!(u64_at(&page[..], 0x2d0 + 28), Some(0x1000_0000));
        assert_eq!(u32_at(&page[..], 0x2d0 + 36), Some(1));
    }

    #[test]
    fn more_entries_than_fit_are_refused() {
        let file = FakeImage::x86_64().build();
        let image = BzImage::parse(&file).unwrap();
        let e820 = [Entry { span: span(0, 1), kind: Kind::Reserved }; 129];
        let told =
            |e820| Told { kernel: PhysAddr(0), initrd: None, command_line: PhysAddr(0), e820, running: &[] };
        assert!(build(&image, &told(&e820[..128])).is_ok());
        assert_eq!(
            build(&image, &told(&e820)).unwrap_err(),
            Refusal::TooManyE820Entries { entries: 129, most: 128 }
        );
    }
}
