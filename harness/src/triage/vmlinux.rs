//! A kernel's uncompressed image, and its symbols: which function an instruction of a guest lies in.
//!
//! Where the kernel runs is not asked of anybody. A kernel that hangs early has told its KASLR offset to nobody; but the bytes
//! around the instruction are evidence, and there is one offset at which they are those of the image. That shows as well that this
//! image is the one that runs there.

use super::kallsyms::Kallsyms;
use crate::evidence::Code;
use object::Endianness;
use object::elf::{FileHeader32, FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// The width of a kernel's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// i386.
    Bits32,
    /// x86_64.
    Bits64,
}

impl Word {
    /// In bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }

    pub(super) const fn align(self, at: usize) -> usize {
        at.next_multiple_of(self.size())
    }

    pub(super) const fn align_down(self, at: usize) -> usize {
        at - at % self.size()
    }

    pub(super) fn read(self, image: &[u8], at: usize) -> Option<u64> {
        let bytes = image.get(at..at + self.size())?;
        Some(bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)))
    }

    /// The multiples by which KASLR moves a kernel: CONFIG_PHYSICAL_ALIGN, which is 2 MiB or a multiple of it with x86_64, and
    /// may be as little as a few pages with i386, where distributions have 16 MiB; and how far it moves one at most
    /// (KERNEL_IMAGE_SIZE, 1 GiB, and 512 MiB).
    const fn slides(self) -> (u64, u64) {
        match self {
            Self::Bits32 => (1 << 20, 512 << 20),
            Self::Bits64 => (2 << 20, 1 << 30),
        }
    }
}

/// A piece of the image by its link-time address.
#[derive(Debug)]
struct Segment {
    address: u64,
    file: std::ops::Range<usize>,
}

/// A kernel's image with its symbols.
#[derive(Debug)]
pub struct Vmlinux {
    image: Vec<u8>,
    word: Word,
    segments: Vec<Segment>,
    symbols: Kallsyms,
}

/// A function, and where the kernel runs that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The function.
    pub name: String,
    /// Bytes behind its beginning.
    pub offset: u64,
    /// The kernel's KASLR offset.
    pub slide: u64,
}

/// Of the bytes around an instruction so many must be the image's: a kernel patches its code (alternatives, static calls), and
/// moves the addresses in it.
const MATCHING_PERCENT: usize = 60;
/// Fewer bytes than these are alike in too many places.
const FEWEST_BYTES: usize = 24;

impl Vmlinux {
    /// Reads an ELF image; none where it is none, or has no symbols that are understood.
    pub fn parse(image: Vec<u8>) -> Option<Self> {
        // The class byte of e_ident tells which form the header has.
        let (word, segments) = match image.get(4)? {
            1 => (Word::Bits32, segments::<FileHeader32<Endianness>>(&image)?),
            2 => (Word::Bits64, segments::<FileHeader64<Endianness>>(&image)?),
            _ => return None,
        };
        let symbols = Kallsyms::find(&image, word)?;
        Some(Self { image, word, segments, symbols })
    }

    /// The symbols.
    pub fn symbols(&self) -> &Kallsyms {
        &self.symbols
    }

    /// The function at `address` in a guest that has this code there; none where it is not this kernel's.
    pub fn locate(&self, address: u64, code: &Code) -> Option<Found> {
        let bytes = code.bytes.0.as_slice();
        if bytes.len() < FEWEST_BYTES {
            return None;
        }
        let (step, most) = self.word.slides();
        let alike = |slide: u64| {
            let linked = self.bytes(code.start.checked_sub(slide)?, bytes.len())?;
            Some(linked.iter().zip(bytes).filter(|(one, other)| one == other).count())
        };
        let scored = (0..=most / step).filter_map(|number| Some((alike(number * step)?, number * step)));
        // Of equals the nearest, which is where a kernel runs without KASLR.
        let (score, slide) = scored.max_by_key(|&(score, slide)| (score, std::cmp::Reverse(slide)))?;
        let (name, offset) = self.symbols.at(address - slide)?;
        (score * 100 >= bytes.len() * MATCHING_PERCENT).then(|| Found {
            name: name.to_owned(),
            offset,
            slide,
        })
    }

    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        self.segments.iter().find_map(|segment| {
            let at = usize::try_from(address.checked_sub(segment.address)?).ok()?;
            self.image[segment.file.clone()].get(at..at.checked_add(length)?)
        })
    }
}

fn segments<Elf: FileHeader<Endian = Endianness>>(image: &[u8]) -> Option<Vec<Segment>> {
    let header = Elf::parse(image).ok()?;
    let endian = header.endian().ok()?;
    let loads =
        header.program_headers(endian, image).ok()?.iter().filter(|load| load.p_type(endian) == PT_LOAD);
    let segments = loads.map(|load| {
        let start = usize::try_from(load.p_offset(endian).into()).ok()?;
        let size = usize::try_from(load.p_filesz(endian).into()).ok()?;
        let file = start..start.checked_add(size)?;
        image.get(file.clone())?;
        Some(Segment { address: load.p_vaddr(endian).into(), file })
    });
    segments.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest_protocol::HexBytes;

    const LINKED: u64 = 0xffff_ffff_8100_0000;
    const SIZE: usize = 1 << 20;

    /// A kernel of bytes without a pattern, with two functions.
    fn kernel() -> Vmlinux {
        let image = (0..SIZE as u32).map(|number| (number.wrapping_mul(0x9e37_79b1) >> 21) as u8).collect();
        let symbols = [(LINKED, "start"), (LINKED + 0x8_0000, "panic"), (LINKED + 0xf_0000, "end")];
        let symbols = symbols.map(|(address, name)| (address, name.to_owned())).to_vec();
        let segments = vec![Segment { address: LINKED, file: 0..SIZE }];
        Vmlinux { image, word: Word::Bits64, segments, symbols: Kallsyms { symbols } }
    }

    fn code(at: usize, start: u64) -> Code {
        Code { start, bytes: HexBytes(kernel().image[at..at + 96].to_vec()) }
    }

    /// Bug: a kernel that KASLR moved is looked up where it was linked to; or code that the kernel patched is not known again.
    #[test]
    fn a_moved_kernel_is_found_by_its_code() {
        for slide in [0, 0x1c00_0000, 0x3f00_0000] {
            let mut code = code(0x8_0100, LINKED + 0x8_0100 + slide);
            code.bytes.0[20..40].fill(0x90);
            let found = kernel().locate(LINKED + 0x8_0130 + slide, &code);
            assert_eq!(found, Some(Found { name: "panic".into(), offset: 0x130, slide }));
        }
    }

    /// Bug: another kernel's code, or a handful of bytes that are alike anywhere, gets a function's name.
    #[test]
    fn what_is_not_its_code_has_no_name() {
        let mut foreign = code(0x8_0100, LINKED + 0x8_0100);
        // Some bytes are alike in any two kernels.
        foreign.bytes.0[40..].iter_mut().for_each(|byte| *byte ^= 0x55);
        assert_eq!(kernel().locate(LINKED + 0x8_0130, &foreign), None);
        let mut short = code(0x8_0100, LINKED + 0x8_0100);
        short.bytes.0.truncate(FEWEST_BYTES - 1);
        assert_eq!(kernel().locate(LINKED + 0x8_0110, &short), None);
    }

    /// Bug: a file that is no kernel ends the rig.
    #[test]
    fn what_is_no_kernel_is_none() {
        for bytes in [&b""[..], b"\x7fELF\x02", b"\x7fELF\x01\x01\x01 and nothing behind it", &[2; 4096]] {
            assert!(Vmlinux::parse(bytes.to_vec()).is_none());
        }
    }
}
