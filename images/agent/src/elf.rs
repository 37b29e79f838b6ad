//! The ELF headers of a core file, of both classes (System V ABI, "Object Files", chapters 4 and 5; elf(5)).

use crate::failure::Failure;
use crate::read_at::ReadAt;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// Size of e_ident, in bytes.
const IDENT_SIZE: usize = 16;
/// e_ident\[EI_MAG0..=EI_MAG3\].
const MAGIC: [u8; 4] = *b"\x7fELF";
/// Index of the class in e_ident.
const EI_CLASS: usize = 4;
/// Index of the byte order in e_ident.
const EI_DATA: usize = 5;
/// ELFDATA2LSB, the only byte order of x86.
const LITTLE_ENDIAN: u8 = 1;
/// e_type of a core file.
const ET_CORE: u16 = 4;
/// e_phnum when the true number stands elsewhere; no kernel writes that many program headers into a vmcore.
const PN_XNUM: u16 = 0xffff;

/// p_type of memory.
pub const PT_LOAD: u32 = 1;
/// p_type of notes.
pub const PT_NOTE: u32 = 4;

/// EI_CLASS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// ELFCLASS32.
    Bits32,
    /// ELFCLASS64.
    Bits64,
}

impl Class {
    /// 32 or 64.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }

    /// Sizes of Elf32_Ehdr and Elf64_Ehdr.
    const fn header_size(self) -> usize {
        match self {
            Self::Bits32 => 52,
            Self::Bits64 => 64,
        }
    }

    /// Sizes of Elf32_Phdr and Elf64_Phdr.
    const fn program_header_size(self) -> usize {
        match self {
            Self::Bits32 => 32,
            Self::Bits64 => 56,
        }
    }
}

/// A program header, widened to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramHeader {
    /// p_type.
    pub kind: u32,
    /// p_offset.
    pub offset: u64,
    /// p_vaddr.
    pub virtual_: u64,
    /// p_paddr.
    pub physical: u64,
    /// p_filesz, in bytes.
    pub file_size: u64,
    /// p_memsz, in bytes.
    pub memory_size: u64,
}

impl ProgramHeader {
    /// Where the file holds these physical addresses, when this header covers all of them. What p_filesz leaves out is not
    /// in the file, and so not covered.
    pub fn offset_of(&self, address: u64, length: u64) -> Option<u64> {
        let within = address.checked_sub(self.physical)?;
        let end = within.checked_add(length)?;
        if end > self.memory_size.min(self.file_size) {
            return None;
        }
        self.offset.checked_add(within)
    }
}

/// The headers of a core file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    /// EI_CLASS.
    pub class: Class,
    /// e_machine.
    pub machine: u16,
    /// All program headers, in their order.
    pub headers: Vec<ProgramHeader>,
}

impl Core {
    /// Reads the headers.
    ///
    /// # Errors
    /// Where the file cannot be read, or is no little-endian ELF core file.
    pub fn read(file: &mut impl ReadAt) -> Result<Self, Failure> {
        let mut ident = [0; IDENT_SIZE];
        fill(file, 0, &mut ident, "e_ident")?;
        if ident[..MAGIC.len()] != MAGIC {
            return Err(Failure::new(format!(
                "it begins with {:02x?}, not with the ELF magic",
                &ident[..MAGIC.len()]
            )));
        }
        let class = match ident[EI_CLASS] {
            1 => Class::Bits32,
            2 => Class::Bits64,
            other => {
                return Err(Failure::new(format!(
                    "EI_CLASS is {other}, neither 1 (32 bits) nor 2 (64 bits)"
                )));
            }
        };
        if ident[EI_DATA] != LITTLE_ENDIAN {
            return Err(Failure::new(format!("EI_DATA is {}, not 1 (little-endian)", ident[EI_DATA])));
        }
        let mut bytes = vec![0; class.header_size()];
        fill(file, 0, &mut bytes, "ELF header")?;
        let fields = Fields { bytes: &bytes, class };
        let kind = fields.half(16);
        if kind != ET_CORE {
            return Err(Failure::new(format!("e_type is {kind}, not 4 (core)")));
        }
        // Elf64_Ehdr / Elf32_Ehdr: e_machine, e_phoff, e_phentsize, e_phnum.
        let (phoff, phentsize, phnum) = match class {
            Class::Bits64 => (fields.xword(32), fields.half(54), fields.half(56)),
            Class::Bits32 => (fields.word(28).into(), fields.half(42), fields.half(44)),
        };
        if usize::from(phentsize) != class.program_header_size() {
            return Err(Failure::new(format!(
                "e_phentsize is {phentsize}, not {}",
                class.program_header_size()
            )));
        }
        if phnum == PN_XNUM {
            return Err(Failure::new("e_phnum is PN_XNUM, which no vmcore should need"));
        }
        let mut table = vec![0; class.program_header_size() * usize::from(phnum)];
        fill(file, phoff, &mut table, "program headers")?;
        Ok(Self {
            class,
            machine: fields.half(18),
            headers: table
                .chunks_exact(class.program_header_size())
                .map(|bytes| program_header(Fields { bytes, class }))
                .collect(),
        })
    }

    /// The headers of one p_type.
    pub fn of_kind(&self, kind: u32) -> impl Iterator<Item = &ProgramHeader> {
        self.headers.iter().filter(move |header| header.kind == kind)
    }
}

fn program_header(fields: Fields<'_>) -> ProgramHeader {
    match fields.class {
        Class::Bits64 => ProgramHeader {
            kind: fields.word(0),
            offset: fields.xword(8),
            virtual_: fields.xword(16),
            physical: fields.xword(24),
            file_size: fields.xword(32),
            memory_size: fields.xword(40),
        },
        Class::Bits32 => ProgramHeader {
            kind: fields.word(0),
            offset: fields.word(4).into(),
            virtual_: fields.word(8).into(),
            physical: fields.word(12).into(),
            file_size: fields.word(16).into(),
            memory_size: fields.word(20).into(),
        },
    }
}

/// Fields at fixed offsets of a header whose size was checked when its bytes were read.
struct Fields<'a> {
    bytes: &'a [u8],
    class: Class,
}

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        core::array::from_fn(|index| self.bytes[at + index])
    }
    fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }
    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }
    fn xword(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
}

fn fill(file: &mut impl ReadAt, offset: u64, buffer: &mut [u8], what: &str) -> Result<(), Failure> {
    let length = buffer.len();
    file.fill_at(offset, buffer)
        .map_err(|errno| Failure::errno(format!("read its {what} ({length} bytes at {offset:#x})"), errno))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::read_at::tests::Bytes;
    use proptest::prelude::*;
    use std::string::ToString;

    /// The headers of a core file, encoded; `end` is where its data may begin.
    pub(crate) fn encode(core: &Core) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let wide = core.class == Class::Bits64;
        out.extend([if wide { 2 } else { 1 }, LITTLE_ENDIAN, 1]);
        out.resize(IDENT_SIZE, 0);
        out.extend(ET_CORE.to_le_bytes());
        out.extend(core.machine.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        let word = |out: &mut Vec<u8>, value: u64| match core.class {
            Class::Bits64 => out.extend(value.to_le_bytes()),
            Class::Bits32 => out.extend(u32::try_from(value).unwrap().to_le_bytes()),
        };
        for value in [0, core.class.header_size() as u64, 0] {
            word(&mut out, value);
        }
        out.extend(0_u32.to_le_bytes());
        let sizes = [core.class.header_size(), core.class.program_header_size(), core.headers.len(), 0, 0, 0];
        sizes.into_iter().for_each(|size| out.extend(u16::try_from(size).unwrap().to_le_bytes()));
        for header in &core.headers {
            out.extend(header.kind.to_le_bytes());
            if wide {
                out.extend(0_u32.to_le_bytes());
            }
            for value in
                [header.offset, header.virtual_, header.physical, header.file_size, header.memory_size]
            {
                word(&mut out, value);
            }
            if wide {
                out.extend(0_u64.to_le_bytes());
            } else {
                out.extend([0; 8]);
            }
        }
        out
    }

    fn sample(class: Class) -> Core {
        let header = |kind, physical| ProgramHeader {
            kind,
            offset: 0x1000,
            virtual_: 0xc000_0000,
            physical,
            file_size: 0x2000,
            memory_size: 0x3000,
        };
        Core { class, machine: 3, headers: vec![header(PT_NOTE, 0), header(PT_LOAD, 0x10_0000)] }
    }

    /// Catches a field read at the offset of the other class.
    #[test]
    fn both_classes_are_read() {
        for class in [Class::Bits32, Class::Bits64] {
            let core = sample(class);
            assert_eq!(Core::read(&mut Bytes(encode(&core))).unwrap(), core);
        }
    }

    /// Catches a foreign or cut file that is taken for a core, and messages that do not say what was found.
    #[test]
    fn what_is_no_core_is_named() {
        let good = encode(&sample(Class::Bits64));
        let changed = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            Core::read(&mut Bytes(bytes)).unwrap_err().to_string()
        };
        assert!(changed(0, b'M').contains("ELF magic"));
        assert!(changed(4, 3).contains("EI_CLASS is 3"));
        assert!(changed(5, 2).contains("EI_DATA is 2"));
        assert!(changed(16, 2).contains("e_type is 2"));
        assert!(changed(54, 32).contains("e_phentsize is 32"));
        let cut = Core::read(&mut Bytes(good[..100].to_vec())).unwrap_err().to_string();
        assert!(cut.contains("program headers") && cut.contains("ENODATA"), "{cut}");
    }

    /// Catches a read across the end of a segment, or of its part in the file, that is answered with foreign bytes.
    #[test]
    fn only_whole_ranges_in_the_file_are_covered() {
        let load = sample(Class::Bits64).headers[1];
        assert_eq!(load.offset_of(0x10_0000, 1), Some(0x1000));
        assert_eq!(load.offset_of(0x10_1ff0, 16), Some(0x2ff0));
        assert_eq!(load.offset_of(0x10_1ff0, 17), None);
        assert_eq!(load.offset_of(0xf_ffff, 1), None);
        assert_eq!(load.offset_of(u64::MAX, 2), None);
    }

    proptest! {
        /// Catches a panic or an endless loop on any damaged header.
        #[test]
        fn damaged_headers_never_panic(at in 0_usize..200, value: u8, cut in 0_usize..300) {
            let mut bytes = encode(&sample(Class::Bits64));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);
            let _ = Core::read(&mut Bytes(bytes));
        }
    }
}
