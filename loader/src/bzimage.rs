//! The bzImage: its setup header, read and checked once, so that what follows can trust it.
//!
//! Offsets and meanings: `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header".

use crate::addr::PhysAddr;
use crate::bytes::{array_at, u16_at, u32_at, u64_at};
use crate::rule::Arch;
use alloc::string::String;
use core::fmt;

/// Size of a sector of the setup part, in bytes.
const SECTOR: usize = 512;
/// Where the setup header begins, in the file and in boot_params.
pub const HEADER_START: usize = 0x1f1;
/// The header's end is at this offset plus the byte at 0x201.
const HEADER_END_BASE: usize = 0x202;
/// Largest header that boot_params has room for: from 0x1f1 up to edd_mbr_sig_buffer at 0x290 (zero-page.rst).
const HEADER_END_MAX: usize = 0x290;
/// `boot_flag`.
const BOOT_FLAG: u16 = 0xaa55;
/// `loadflags` bit 0: the protected-mode code loads at 1 MiB or above.
const LOADED_HIGH: u8 = 1 << 0;
/// `xloadflags` bit 0: the kernel has the 64-bit entry at 0x200.
const XLF_KERNEL_64: u16 = 1 << 0;
/// `xloadflags` bit 1: kernel, boot_params, command line and initrd may lie above 4 GiB.
const XLF_CAN_BE_LOADED_ABOVE_4G: u16 = 1 << 1;
/// `xloadflags` bit 4: the kernel takes UEFI over from the kernel before it.
const XLF_EFI_KEXEC: u16 = 1 << 4;
/// `xloadflags` bit 5: the 64-bit entry can be taken with five levels of page tables.
const XLF_5LEVEL: u16 = 1 << 5;

/// A version of the boot protocol, as in the header: major in the high byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protocol(pub u16);

impl Protocol {
    /// The first with `pref_address` and `init_size` (Linux 2.6.31). Older kernels do not say how much room they unpack into.
    const INIT_SIZE: Self = Self(0x020a);
    /// The first with `xloadflags`.
    const XLOADFLAGS: Self = Self(0x020c);
    /// The first whose kernels all read `acpi_rsdp_addr` in boot_params (Linux 5.5). It came without a version of its own (4.20, boot.rst
    /// under 2.14), so that some older ones read it too.
    pub const ACPI_RSDP: Self = Self(0x020f);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 >> 8, self.0 & 0xff)
    }
}

/// A bzImage that can be a capture kernel.
#[derive(Clone, Copy)]
pub struct BzImage<'a> {
    /// The setup header as it stands in the file, from [`HEADER_START`].
    pub header: &'a [u8],
    /// The protected-mode part: what is loaded and entered.
    pub kernel: &'a [u8],
    /// Version of the boot protocol.
    pub protocol: Protocol,
    /// Which entries the kernel has.
    pub entries: Entries,
    /// Alignment of the load address, a power of two of at least one page.
    pub alignment: u64,
    /// `init_size`: bytes that the kernel needs from its load address on before it looks at the memory map.
    pub init_size: u64,
    /// `pref_address`: the lowest address at which the kernel stays where it is loaded.
    pub pref_address: PhysAddr,
    /// Highest address of the initrd's last byte.
    pub initrd_addr_max: PhysAddr,
    /// Longest command line in bytes, without the terminating zero.
    pub cmdline_size: u64,
    /// The kernel's release, as `uname -r` would say it; empty if the image does not tell.
    pub release: &'a [u8],
}

impl Entries {
    /// The architecture of a kernel with these entries.
    pub const fn arch(self) -> Arch {
        match self {
            Self::Only32 => Arch::I386,
            Self::Both { .. } => Arch::X86_64,
        }
    }
}

/// The entries of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// The 32-bit entry alone: an i386 kernel, or an x86_64 kernel from before protocol 2.12, which does not say.
    Only32,
    /// Both: an x86_64 kernel.
    Both {
        /// XLF_CAN_BE_LOADED_ABOVE_4G, a promise about the 64-bit entry.
        above_4g: bool,
        /// XLF_5LEVEL: the 64-bit entry can be taken with five levels of page tables.
        five_levels: bool,
        /// XLF_EFI_KEXEC: UEFI can be handed on to the kernel.
        efi_kexec: bool,
    },
}

/// Why a file cannot be a capture kernel. Fits behind "FILE: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotABzImage {
    /// Too short for a setup header.
    TooShort(usize),
    /// The magic numbers are not there.
    NoMagic,
    /// A header, but not of a kernel that can be a capture kernel.
    Unsuitable(String),
    /// The protected-mode part is shorter than the header says.
    Truncated {
        /// Bytes that the header asks for.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// A field that cannot be.
    BadField {
        /// Its name in boot.rst.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        must: &'static str,
    },
}

impl NotABzImage {
    /// Whether a newer kernel's own loader may know what this program does not. A bzImage that is broken is broken for both.
    pub const fn may_be_newer(&self) -> bool {
        matches!(self, Self::NoMagic)
    }
}

impl fmt::Display for NotABzImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(size) => {
                write!(f, "not a bzImage: {size} bytes are too few for a setup header (truncated file?)")
            }
            Self::NoMagic => f.write_str(
                "not a bzImage: no 0xaa55 at 0x1fe and \"HdrS\" at 0x202 (give the bzImage, not vmlinux or an initrd)",
            ),
            Self::Unsuitable(why) => f.write_str(why),
            Self::Truncated { expected, found } => write!(
                f,
                "truncated bzImage: the header announces {expected} bytes of protected-mode code, the file has {found}"
            ),
            Self::BadField { field, value, must } => {
                write!(f, "corrupt setup header: {field} is {value:#x}, but must be {must}")
            }
        }
    }
}

impl<'a> BzImage<'a> {
    /// Reads and checks the setup header.
    pub fn parse(file: &'a [u8]) -> Result<Self, NotABzImage> {
        let too_short = NotABzImage::TooShort(file.len());
        // With the first two sectors present, every field below is.
        let setup = file.get(..2 * SECTOR).ok_or(too_short.clone())?;
        let byte = |offset: usize| setup[offset];
        let word = |offset| u16_at(setup, offset).unwrap_or_default();
        let long = |offset| u32_at(setup, offset).unwrap_or_default();
        if word(0x1fe) != BOOT_FLAG || setup[0x202..0x206] != *b"HdrS" {
            return Err(NotABzImage::NoMagic);
        }
        let protocol = Protocol(word(0x206));
        if protocol < Protocol::INIT_SIZE {
            return Err(NotABzImage::Unsuitable(alloc::format!(
                "this kernel is too old (boot protocol {protocol}): before 2.10, Linux 2.6.31, a kernel does not say how much \
                 memory it needs to unpack itself"
            )));
        }
        if byte(0x234) == 0 {
            return Err(NotABzImage::Unsuitable(
                "this kernel is not relocatable: it can only run where the first kernel lies. Build it with \
                 CONFIG_RELOCATABLE=y"
                    .into(),
            ));
        }
        if byte(0x211) & LOADED_HIGH == 0 {
            return Err(NotABzImage::Unsuitable("a zImage, which loads below 1 MiB: give a bzImage".into()));
        }
        let header_end = HEADER_END_BASE + usize::from(byte(0x201));
        if header_end > HEADER_END_MAX {
            return Err(bad("jump", u64::from(byte(0x201)), "at most 0x8e, the room in boot_params"));
        }
        let kernel =
            Self::protected_mode_part(file, byte(0x1f1), long(0x1f4)).map_err(|e| e.unwrap_or(too_short))?;
        let alignment = u64::from(long(0x230));
        if !alignment.is_power_of_two() || alignment > 1 << 30 {
            return Err(bad("kernel_alignment", alignment, "a power of two of at most 1 GiB"));
        }
        check_payload(kernel, long(0x248), long(0x24c))?;
        let init_size = u64::from(long(0x260));
        if init_size < kernel.len() as u64 {
            return Err(bad("init_size", init_size, "no less than the protected-mode code"));
        }
        let xloadflags = if protocol >= Protocol::XLOADFLAGS { word(0x236) } else { 0 };
        let entries = if xloadflags & XLF_KERNEL_64 == 0 {
            Entries::Only32
        } else {
            Entries::Both {
                above_4g: xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G != 0,
                five_levels: xloadflags & XLF_5LEVEL != 0,
                efi_kexec: xloadflags & XLF_EFI_KEXEC != 0,
            }
        };
        Ok(Self {
            header: &setup[HEADER_START..header_end],
            kernel,
            protocol,
            entries,
            alignment: alignment.max(crate::addr::PAGE),
            init_size,
            pref_address: PhysAddr(u64_at(setup, 0x258).unwrap_or_default()),
            initrd_addr_max: PhysAddr(u64::from(long(0x22c))),
            cmdline_size: u64::from(long(0x238)),
            release: Self::release(file, word(0x20e)),
        })
    }

    /// The first word of the text that `kernel_version` points to, 0x200 short of its place in the file. It is for people, so that
    /// anything odd counts as none.
    fn release(file: &[u8], kernel_version: u16) -> &[u8] {
        /// Room for a release (include/uapi/linux/utsname.h, `__NEW_UTS_LEN`).
        const LONGEST: usize = 64;
        let text = match kernel_version {
            0 => None,
            offset => file.get(usize::from(offset) + 0x200..),
        };
        let text = text.unwrap_or_default();
        let end = text.iter().take(LONGEST + 1).position(|byte| !byte.is_ascii_graphic());
        end.map_or(&[], |end| &text[..end])
    }

    /// What follows the setup sectors; none as error where even those are missing.
    fn protected_mode_part(file: &[u8], setup_sects: u8, syssize: u32) -> Result<&[u8], Option<NotABzImage>> {
        // Zero means four, for old boot loaders' sake; the boot sector comes on top.
        let sectors = if setup_sects == 0 { 4 } else { usize::from(setup_sects) } + 1;
        let kernel = file.get(sectors * SECTOR..).ok_or(None)?;
        // syssize counts paragraphs of 16 bytes, the last of which may be partly filled. What lies behind is no code: the
        // signature of a signed image.
        let expected = (syssize as usize).saturating_mul(16);
        if kernel.is_empty() || kernel.len() + 15 < expected {
            return Err(Some(NotABzImage::Truncated { expected, found: kernel.len() }));
        }
        Ok(if expected == 0 { kernel } else { &kernel[..expected.min(kernel.len())] })
    }
}

fn bad(field: &'static str, value: u64, must: &'static str) -> NotABzImage {
    NotABzImage::BadField { field, value, must }
}

/// Checks that the compressed payload lies within the code and begins as one of the formats that boot.rst names.
fn check_payload(kernel: &[u8], offset: u32, length: u32) -> Result<(), NotABzImage> {
    const MAGIC: [&[u8]; 8] = [
        &[0x1f, 0x8b], // gzip
        &[0x1f, 0x9e], // gzip, older
        b"BZ",         // bzip2
        &[0x5d, 0x00], // LZMA
        &[0xfd, b'7'], // XZ
        &[0x02, 0x21], // LZ4
        &[0x28, 0xb5], // Zstandard
        &[0x89, b'L'], // LZO
    ];
    if length == 0 {
        // An uncompressed kernel has no payload.
        return Ok(());
    }
    let payload = (offset as usize)
        .checked_add(length as usize)
        .and_then(|end| kernel.get(offset as usize..end))
        .ok_or_else(|| {
            bad("payload_offset", u64::from(offset), "such that the payload lies within the image")
        })?;
    let known = MAGIC.iter().any(|magic| payload.starts_with(magic)) || payload.starts_with(b"\x7fELF");
    if known {
        Ok(())
    } else {
        Err(NotABzImage::Unsuitable(alloc::format!(
            "corrupt bzImage: its payload at {offset:#x} begins with {:#010x}, which is no format that kernels are \
             compressed with",
            u32::from_be_bytes(array_at(payload, 0).unwrap_or_default())
        )))
    }
}

#[cfg(test)]
#[path = "bzimage_tests.rs"]
pub(crate) mod tests;
