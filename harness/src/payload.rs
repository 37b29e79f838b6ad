//! The initramfs of a cell's guest: agent, loader, and the capture kernel with an initramfs of its own. Pure.

use crate::artifacts::{Artifacts, LoaderFiles, capture_userspace};
use crate::cell::{Cell, Reservation};
use crate::cmdline::{AGENT_PATH, CAPTURE_INITRD_PATH, CAPTURE_KERNEL_PATH, LOADER_PATH, READER_PATH};
use guest_protocol::{Arch, PhysRange};
use images::initramfs::{Initramfs, InitramfsError};

/// What a cell's guest boots with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The first kernel's initramfs.
    pub initramfs: Vec<u8>,
    /// The loader's path in it.
    pub loader: String,
}

/// Why a cell's guest cannot be made up.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// An artifact was never resolved: the cells given to resolve are not the cells that are run.
    #[error("no {0} among the resolved artifacts")]
    Unresolved(String),
    /// Files clash.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
}

/// Builds the initramfs of a cell. Equal cells give equal bytes.
pub fn payload(cell: &Cell, artifacts: &Artifacts) -> Result<Payload, PayloadError> {
    let unresolved = |what: String| PayloadError::Unresolved(what);
    let capture =
        artifacts.kernel(&cell.capture).ok_or_else(|| unresolved(format!("kernel {}", cell.capture.name)))?;
    let capture_initrd = capture_initrd(cell, artifacts)?;

    let mut image = with_agent(cell.userspace, artifacts)?;
    let loader = artifacts
        .loader(&cell.loader, cell.userspace)
        .ok_or_else(|| unresolved(format!("loader {} for {}", cell.loader, cell.userspace)))?;
    let loader = match loader {
        LoaderFiles::Static(program) => {
            image.file(LOADER_PATH, 0o755, &program.bytes)?;
            LOADER_PATH.to_owned()
        }
        LoaderFiles::Tree(tree) => {
            for file in &tree.files {
                image.file(&file.path, file.mode, &file.bytes)?;
            }
            tree.program.clone()
        }
    };
    image.file(CAPTURE_KERNEL_PATH, 0o644, &capture.bytes)?;
    image.file(CAPTURE_INITRD_PATH, 0o644, &capture_initrd)?;
    Ok(Payload { initramfs: image.finish(), loader })
}

/// The capture kernel's initramfs: the agent, and the reader where the cell has one. Cells alike in these share its bytes.
fn capture_initrd(cell: &Cell, artifacts: &Artifacts) -> Result<Vec<u8>, PayloadError> {
    let arch = capture_userspace(cell);
    let mut image = with_agent(arch, artifacts)?;
    if let Some(reader) = &cell.reader {
        let tree = artifacts
            .reader(reader, arch)
            .ok_or_else(|| PayloadError::Unresolved(format!("reader {reader} for {arch}")))?;
        for file in &tree.files {
            let path = if file.path == tree.program { READER_PATH } else { &file.path };
            image.file(path, file.mode, &file.bytes)?;
        }
    }
    Ok(image.finish())
}

/// An initramfs with an agent, the folders that it mounts on, and the device that PID 1's standard streams need.
fn with_agent(arch: Arch, artifacts: &Artifacts) -> Result<Initramfs, PayloadError> {
    let agent =
        artifacts.agent(arch).ok_or_else(|| PayloadError::Unresolved(format!("guest agent for {arch}")))?;
    let mut image = Initramfs::new();
    for folder in ["/dev", "/proc", "/sys", "/tmp"] {
        image.dir(folder, 0o755)?;
    }
    // Character device 5, 1 (Linux Documentation/admin-guide/devices.txt).
    image.char_device("/dev/console", 0o600, 5, 1)?;
    image.file(AGENT_PATH, 0o755, &agent.bytes)?;
    Ok(image)
}

/// What QEMU keeps below the end of low memory beside the initramfs: it aligns down by pages and leaves room for ACPI
/// tables (hw/i386/x86.c `x86_load_linux`: `acpi_data_size`, 0x20000 + 0x8000 for pc).
const ABOVE_INITRD: u64 = 0x28000;

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
}

/// The highest address that QEMU gives an initramfs of this kernel (hw/i386/x86.c, `x86_load_linux`); none when the file
/// is too short for a bzImage.
pub fn highest_initrd_address(bzimage: &[u8]) -> Option<u64> {
    let u16_at = |at| Some(u16::from_le_bytes(bzimage.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at| Some(u32::from_le_bytes(bzimage.get(at..at + 4)?.try_into().ok()?));
    let above_4g = u16_at(header::VERSION)? >= 0x20c && u16_at(header::XLOADFLAGS)? & header::ABOVE_4G != 0;
    let field = u32_at(header::INITRD_ADDR_MAX)?;
    Some(u64::from(if above_4g { u32::MAX } else { field }))
}

/// Where QEMU puts an initramfs of `size` bytes when low memory ends at `low_end` and it may lie up to `highest`: as high as
/// both allow.
pub fn initrd_place(size: u64, low_end: u64, highest: u64) -> Option<PhysRange> {
    let limit = low_end.checked_sub(ABOVE_INITRD)?.min(highest.checked_add(1)?);
    let start = limit.checked_sub(size)? & !0xfff;
    Some(PhysRange { start, end: start + size.checked_sub(1)? })
}

/// An i386 kernel moves an initramfs that lies beyond its direct map (at most 896 MiB) into it, and that before it reserves
/// its crash region (arch/x86/kernel/setup.c, `relocate_initrd`).
const I386_DIRECT_MAP_END: u64 = 896 << 20;

/// Whether the initramfs lies in the region that the cell forces: the first kernel would then refuse to reserve it
/// ("memory is in use"), which looks like a fault of the kernel.
pub fn initrd_in_the_way(first: Arch, reservation: &Reservation, initrd: PhysRange) -> bool {
    let moves_away = match first {
        Arch::I386 => initrd.end >= I386_DIRECT_MAP_END,
        Arch::X86_64 => false,
    };
    match reservation {
        Reservation::At { size, offset_mib } => {
            let start = u64::from(*offset_mib) << 20;
            !moves_away && start <= initrd.end && initrd.start < start + size.bytes()
        }
        Reservation::Auto { .. } | Reservation::High { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    /// Bug: a big initramfs makes 192M@3264M on a 3520M machine *unreserved*, and the kernel gets the blame.
    #[test]
    fn an_initramfs_over_64_mib_is_in_the_way_at_3264m() {
        let reservation = Reservation::At { size: testing::mib(192), offset_mib: 3264 };
        let low_end = 3520 * MIB;
        let fits = initrd_place(60 * MIB, low_end, u64::from(u32::MAX)).unwrap();
        let overlaps = initrd_place(65 * MIB, low_end, u64::from(u32::MAX)).unwrap();
        assert!(!initrd_in_the_way(Arch::X86_64, &reservation, fits), "{fits}");
        assert!(initrd_in_the_way(Arch::X86_64, &reservation, overlaps), "{overlaps}");
    }

    /// Bug: the kernel's own bound (0x37ffffff on i386) is forgotten, and the wrong place is checked.
    #[test]
    fn the_kernels_own_bound_counts() {
        let place = initrd_place(8 * MIB, 3 * GIB, 0x37ff_ffff).unwrap();
        assert!(place.end <= 0x37ff_ffff && place.start >= 0x3700_0000, "{place}");
        assert_eq!(initrd_place(8 * MIB, 4 * MIB, u64::from(u32::MAX)), None);
    }

    /// Bug: the real 5.10 cells at 1968M are refused, because the header's field (0x7fffffff in all of them) is taken where
    /// QEMU does not look at it, or where the kernel moves the initramfs away.
    #[test]
    fn real_kernels_at_1968m() {
        let reservation = Reservation::At { size: testing::mib(256), offset_mib: 1968 };
        let image = |xloadflags: u8| {
            let mut bytes = vec![0; 0x400];
            bytes[header::VERSION..][..2].copy_from_slice(&0x20fu16.to_le_bytes());
            bytes[header::INITRD_ADDR_MAX..][..4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
            bytes[header::XLOADFLAGS] = xloadflags;
            bytes
        };
        let place =
            |image: &[u8]| initrd_place(5 * MIB, 3 * GIB, highest_initrd_address(image).unwrap()).unwrap();
        assert!(!initrd_in_the_way(Arch::X86_64, &reservation, place(&image(0x7f))));
        let i386 = place(&image(0));
        assert!(i386.end < 0x8000_0000, "{i386}");
        assert!(!initrd_in_the_way(Arch::I386, &reservation, i386));
        assert_eq!(highest_initrd_address(&[0; 0x100]), None);
    }
}
