//! A kernel image of the user's own: what it is, told from its setup header.
//!
//! Offsets are those of "The Linux/x86 Boot Protocol" (Documentation/arch/x86/boot.rst in the kernel's tree).

use anyhow::{Context, bail};
use guest_protocol::Arch;
use harness::cell::Kernel;
use std::io::Read;
use std::path::Path;

/// `header`: the magic "HdrS".
const MAGIC_OFFSET: usize = 0x202;
const MAGIC: [u8; 4] = *b"HdrS";
/// `version`: boot protocol, two bytes, little-endian; the high byte is the major number.
const VERSION_OFFSET: usize = 0x206;
/// Protocol 2.12, the first with `xloadflags`.
const VERSION_WITH_XLOADFLAGS: u16 = 0x020c;
/// `kernel_version`: where the version string is, less 0x200; 0 if there is none.
const KERNEL_VERSION_OFFSET: usize = 0x20e;
const KERNEL_VERSION_BASE: usize = 0x200;
/// `xloadflags`, bit 0 of which, XLF_KERNEL_64, says that there is a 64-bit entry point.
const XLOADFLAGS_OFFSET: usize = 0x236;
const XLF_KERNEL_64: u16 = 1 << 0;
/// The setup code is at most 64 sectors of 512 bytes; header and version string are in it.
const SETUP_LIMIT: u64 = 64 * 512;

/// Reads the image's header.
///
/// # Errors
/// The file cannot be read, or is no bzImage.
pub(crate) fn read(path: &Path) -> anyhow::Result<Kernel> {
    let absolute = std::path::absolute(path).with_context(|| format!("cannot use {}", path.display()))?;
    let mut setup = Vec::new();
    std::fs::File::open(&absolute)
        .and_then(|file| file.take(SETUP_LIMIT).read_to_end(&mut setup))
        .with_context(|| format!("cannot read the kernel {}", path.display()))?;
    let (arch, pae) = parse(&setup).with_context(|| format!("{} is no kernel to boot", path.display()))?;
    let Some(name) = path.file_name() else { bail!("{} names no file", path.display()) };
    Ok(Kernel { name: name.to_string_lossy().into_owned(), arch, pae, path: Some(absolute) })
}

/// Architecture, and whether it is a PAE kernel, of a bzImage that begins with these bytes.
///
/// The header does not say PAE. Distributions' version strings do; an i386 image with another string is taken to be PAE, as
/// nearly all are. It matters only to guests with RAM above 4 GiB.
fn parse(setup: &[u8]) -> anyhow::Result<(Arch, bool)> {
    let word = |offset: usize| match setup.get(offset..offset + 2) {
        Some(bytes) => Ok(u16::from_le_bytes([bytes[0], bytes[1]])),
        None => bail!("it ends before its setup header does, at {} bytes", setup.len()),
    };
    if setup.get(MAGIC_OFFSET..MAGIC_OFFSET + MAGIC.len()) != Some(&MAGIC[..]) {
        bail!("it has no \"HdrS\" at {MAGIC_OFFSET:#x}; a bzImage is wanted, not a vmlinux");
    }
    let is_64 =
        word(VERSION_OFFSET)? >= VERSION_WITH_XLOADFLAGS && word(XLOADFLAGS_OFFSET)? & XLF_KERNEL_64 != 0;
    if is_64 {
        return Ok((Arch::X86_64, true));
    }
    let version = match usize::from(word(KERNEL_VERSION_OFFSET)?) {
        0 => "",
        offset => {
            let rest = setup.get(offset + KERNEL_VERSION_BASE..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            std::str::from_utf8(&rest[..end]).unwrap_or("")
        }
    };
    // Debian: "6.1.0-50-686 (debian-kernel@…) …" beside "6.1.0-50-686-pae (…)".
    let release = version.split_whitespace().next().unwrap_or("");
    Ok((Arch::I386, !release.ends_with("-686")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(xloadflags: u16, version: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x400];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
        bytes[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        bytes[0x236..0x238].copy_from_slice(&xloadflags.to_le_bytes());
        bytes[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
        bytes
    }

    /// Catches an i386 image that is run as x86_64 or the other way round, which no guest survives.
    #[test]
    fn the_header_tells_the_architecture() {
        for (bytes, expected) in [
            (setup(XLF_KERNEL_64 | 2, "6.1.0-50-amd64 (x)"), (Arch::X86_64, true)),
            (setup(0, "6.1.0-50-686-pae (x)"), (Arch::I386, true)),
            (setup(0, "6.1.0-50-686 (x)"), (Arch::I386, false)),
            (setup(0, "6.9.0-mine+ (x)"), (Arch::I386, true)),
        ] {
            assert_eq!(parse(&bytes).unwrap(), expected);
        }
    }

    /// Catches the flag being read from headers that are too old to have it.
    #[test]
    fn an_old_protocol_has_no_flags() {
        let mut old = setup(XLF_KERNEL_64, "2.6.32");
        old[0x206..0x208].copy_from_slice(&0x020a_u16.to_le_bytes());
        assert_eq!(parse(&old).unwrap().0, Arch::I386);
    }

    /// Catches a vmlinux, a cut file or any other that QEMU would only refuse much later.
    #[test]
    fn what_is_no_bzimage_is_refused() {
        let error = format!("{:#}", parse(b"\x7fELF").unwrap_err());
        assert!(error.contains("a bzImage is wanted"), "{error}");
        let error = format!("{:#}", parse(&setup(0, "")[..0x207]).unwrap_err());
        assert!(error.contains("ends before its setup header"), "{error}");
    }
}
