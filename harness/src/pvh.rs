//! The uncompressed kernel in a bzImage, for QEMU to boot by its PVH entry: emulated decompression is most of a boot's time.

use liblzma::read::XzDecoder;
use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader};
use std::io::Read;

/// Fields of the setup header (Linux Documentation/arch/x86/boot.rst): `setup_sects`, u8, where 0 means 4; `payload_offset`,
/// counted from the protected-mode part, and `payload_length`, u32 each.
const SETUP_SECTS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// XEN_ELFNOTE_PHYS32_ENTRY, by which QEMU knows the entry (xen/include/public/elfnote.h; Linux arch/x86/platform/pvh/head.S).
const PHYS32_ENTRY: u32 = 18;

/// Begins a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// Begins a gzip stream (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Larger than any kernel: a payload that decompresses to more is damaged.
const LARGEST: u64 = 1 << 30;

/// The ELF in a bzImage, if it is compressed with xz, as Debian's kernels up to 6.11 are, and has a PVH entry. Any other kernel boots
/// from its bzImage.
pub fn pvh_elf(bzimage: &[u8]) -> Option<Vec<u8>> {
    unpack_xz(payload(bzimage)?).filter(|elf| has_pvh_entry(elf))
}

/// The kernel in a bzImage, if it is compressed with xz, zstd or gzip.
pub fn uncompressed(bzimage: &[u8]) -> Option<Vec<u8>> {
    let payload = payload(bzimage)?;
    if payload.starts_with(&GZIP_MAGIC) {
        let mut elf = Vec::new();
        flate2::read::GzDecoder::new(payload).take(LARGEST).read_to_end(&mut elf).ok()?;
        return Some(elf);
    }
    if !payload.starts_with(&ZSTD_MAGIC) {
        return unpack_xz(payload);
    }
    let mut elf = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(payload).ok()?.take(LARGEST).read_to_end(&mut elf).ok()?;
    Some(elf)
}

/// The compressed kernel in a bzImage.
fn payload(bzimage: &[u8]) -> Option<&[u8]> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(bzimage.get(at..at + 4)?.try_into().ok()?) as usize);
    let begin = u32_at(PAYLOAD_OFFSET)?;
    protected_mode(bzimage)?.get(begin..begin.checked_add(u32_at(PAYLOAD_LENGTH)?)?)
}

/// The part of a bzImage that is loaded: what lies behind the boot sector and the set-up code.
pub(crate) fn protected_mode(bzimage: &[u8]) -> Option<&[u8]> {
    let sectors = match *bzimage.get(SETUP_SECTS)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    bzimage.get((sectors + 1) * 512..)
}

fn unpack_xz(payload: &[u8]) -> Option<Vec<u8>> {
    // The stream says where it ends; behind it the kernel's build has put the size, four bytes that are no part of it.
    let mut elf = Vec::new();
    XzDecoder::new(payload).take(LARGEST).read_to_end(&mut elf).ok()?;
    Some(elf)
}

fn has_pvh_entry(elf: &[u8]) -> bool {
    // The class byte of e_ident tells which form the header has.
    match elf.get(4) {
        Some(1) => has_note::<FileHeader32<Endianness>>(elf),
        Some(2) => has_note::<FileHeader64<Endianness>>(elf),
        _ => None,
    }
    .unwrap_or(false)
}

fn has_note<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Option<bool> {
    let header = Elf::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, bytes).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, bytes) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"Xen" && note.n_type(endian) == PHYS32_ENTRY {
                return Some(true);
            }
        }
    }
    Some(false)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// An ELF64 file whose only segment is a note of this name and type.
    fn elf(name: &[u8; 4], kind: u32) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        file[32] = 64; // e_phoff
        file[52] = 64; // e_ehsize
        file[54] = 56; // e_phentsize
        file[56] = 1; // e_phnum
        let mut header = [0u8; 56];
        header[0] = 4; // PT_NOTE
        header[8] = 120; // p_offset
        header[32] = 20; // p_filesz
        file.extend(header);
        for word in [4, 4, kind] {
            file.extend(word.to_le_bytes());
        }
        file.extend(name);
        file.extend([0; 4]);
        file
    }

    /// A bzImage with this payload.
    pub(crate) fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[SETUP_SECTS] = 1;
        image[PAYLOAD_OFFSET] = 0x10;
        image[PAYLOAD_LENGTH..][..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend([0; 0x10]);
        image.extend(payload);
        image
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        let mut packed = encoder.finish().unwrap();
        packed.extend((bytes.len() as u32).to_le_bytes());
        packed
    }

    /// Bug: the size behind the stream makes it "corrupt", and every boot takes the slow way unnoticed.
    #[test]
    fn a_kernel_with_the_entry_is_found() {
        let kernel = elf(b"Xen\0", PHYS32_ENTRY);
        assert_eq!(pvh_elf(&bzimage(&xz(&kernel))).as_deref(), Some(&kernel[..]));
    }

    /// Bug: a kernel without the entry is handed to QEMU, which does not start it.
    #[test]
    fn others_are_not() {
        for kernel in [elf(b"Xen\0", 1), elf(b"GNU\0", PHYS32_ENTRY), b"no ELF".to_vec()] {
            assert_eq!(pvh_elf(&bzimage(&xz(&kernel))), None);
        }
        assert_eq!(pvh_elf(&bzimage(b"\x1f\x8b gzip")), None);
        assert_eq!(pvh_elf(&[]), None);
    }

    /// Bug: kernels packed with zstd have no symbols, or the size behind the frame spoils it.
    #[test]
    fn a_kernel_packed_with_zstd_is_unpacked() {
        let kernel = elf(b"Xen\0", PHYS32_ENTRY);
        let mut packed =
            ruzstd::encoding::compress_to_vec(&kernel[..], ruzstd::encoding::CompressionLevel::Fastest);
        packed.extend((kernel.len() as u32).to_le_bytes());
        assert_eq!(uncompressed(&bzimage(&packed)).as_deref(), Some(&kernel[..]));
        assert_eq!(uncompressed(&bzimage(&xz(&kernel))).as_deref(), Some(&kernel[..]));
        assert_eq!(uncompressed(&bzimage(&ZSTD_MAGIC)), None);
    }

    /// Bug: kernels packed with gzip, the default of a kernel's build for long, have no symbols and no configuration.
    #[test]
    fn a_kernel_packed_with_gzip_is_unpacked() {
        let kernel = elf(b"Xen\0", PHYS32_ENTRY);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&kernel).unwrap();
        let mut packed = encoder.finish().unwrap();
        packed.extend((kernel.len() as u32).to_le_bytes());
        assert_eq!(uncompressed(&bzimage(&packed)).as_deref(), Some(&kernel[..]));
        assert_eq!(uncompressed(&bzimage(&GZIP_MAGIC)), None);
    }
}
