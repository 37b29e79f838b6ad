//! The crashed kernel's memory by its own addresses: virtual ones are led through the PT_LOADs' p_vaddr, as every reader of a
//! dump does it, so that a wrong p_vaddr is noticed.

use crate::elf::{Class, Core, PT_LOAD, ProgramHeader};
use crate::failure::Failure;
use crate::read_at::ReadAt;
use crate::vmcoreinfo::Word;
use alloc::format;

/// A vmcore, read by addresses of the crashed kernel.
pub struct KernelMemory<'a, F> {
    file: &'a mut F,
    core: &'a Core,
    word: Word,
}

impl<'a, F: ReadAt> KernelMemory<'a, F> {
    /// A view of the file by its headers.
    pub fn new(file: &'a mut F, core: &'a Core, word: Word) -> Self {
        Self { file, core, word }
    }

    /// The kernel's word.
    pub const fn word_size(&self) -> Word {
        self.word
    }

    /// The PT_LOADs.
    pub fn loads(&self) -> impl Iterator<Item = &'a ProgramHeader> + use<'a, F> {
        self.core.of_kind(PT_LOAD)
    }

    /// Fills the buffer from a virtual address.
    ///
    /// # Errors
    /// No one PT_LOAD has all of it by its p_vaddr, or the file cannot be read there.
    pub fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        let (load, within) = self.load_of(address, buffer.len() as u64)?;
        // A segment of a file ends within the file's offsets, or the read itself fails.
        self.fill(load.offset.saturating_add(within), buffer, "virtual", address)
    }

    /// Fills the buffer from a physical address.
    ///
    /// # Errors
    /// No one PT_LOAD has all of it by its p_paddr, or the file cannot be read there.
    pub fn read_physical(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), Failure> {
        let length = buffer.len() as u64;
        let offset = self.loads().find_map(|load| load.offset_of(address, length)).ok_or_else(|| {
            Failure::new(format!("no PT_LOAD has the {length} bytes at physical address {address:#x}"))
        })?;
        self.fill(offset, buffer, "physical", address)
    }

    /// The word at a virtual address.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn word(&mut self, address: u64) -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes[..self.word.size()])?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The 32-bit number at a virtual address.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn u32(&mut self, address: u64) -> Result<u32, Failure> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The physical address that the PT_LOADs give a virtual one.
    ///
    /// # Errors
    /// No PT_LOAD has it by its p_vaddr.
    pub fn physical(&self, address: u64) -> Result<u64, Failure> {
        let (load, within) = self.load_of(address, 1)?;
        Ok(load.physical.saturating_add(within))
    }

    fn load_of(&self, address: u64, length: u64) -> Result<(&'a ProgramHeader, u64), Failure> {
        let last_byte = match self.core.class {
            Class::Bits32 => u64::from(u32::MAX),
            Class::Bits64 => u64::MAX,
        };
        self.loads()
            .find_map(|load| {
                let size = load.memory_size.min(load.file_size);
                // High memory of an i386 kernel has no virtual addresses: its p_vaddr is -1, and the segment would wrap.
                let reaches = load.virtual_.checked_add(size.checked_sub(1)?)?;
                let within = address.checked_sub(load.virtual_)?;
                let end = within.checked_add(length)?;
                (reaches <= last_byte && end <= size).then_some((load, within))
            })
            .ok_or_else(|| {
                Failure::new(format!(
                    "no PT_LOAD has the {length} bytes at virtual address {address:#x} by its p_vaddr"
                ))
            })
    }

    fn fill(&mut self, offset: u64, buffer: &mut [u8], kind: &str, address: u64) -> Result<(), Failure> {
        self.file
            .fill_at(offset, buffer)
            .map_err(|errno| Failure::errno(format!("read at {kind} address {address:#x}"), errno))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::read_at::tests::Bytes;
    use std::string::ToString;
    use std::vec::Vec;

    /// A PT_LOAD that is the whole of a file in memory.
    pub(crate) fn load(virtual_: u64, physical: u64, size: u64) -> ProgramHeader {
        ProgramHeader { kind: PT_LOAD, offset: 0, virtual_, physical, file_size: size, memory_size: size }
    }

    fn core(class: Class, headers: Vec<ProgramHeader>) -> Core {
        Core { class, machine: 62, headers }
    }

    /// Catches a virtual address looked up among physical ones, a read over the end of a segment, and a word of the wrong size.
    #[test]
    fn virtual_addresses_go_through_p_vaddr() {
        let core = core(Class::Bits64, [load(0xffff_8880_0010_0000, 0x10_0000, 32)].into());
        let mut file = Bytes((0..32).collect());
        let mut memory = KernelMemory::new(&mut file, &core, Word::Bits32);
        assert_eq!(memory.word(0xffff_8880_0010_0004).unwrap(), 0x0706_0504);
        assert_eq!(memory.physical(0xffff_8880_0010_001f).unwrap(), 0x10_001f);
        for address in [0x10_0000, 0xffff_8880_0010_001d, 0xffff_8880_000f_ffff, u64::MAX] {
            let why = memory.word(address).unwrap_err().to_string();
            assert!(why.contains("p_vaddr") && why.contains("4 bytes"), "{why}");
        }
        let mut byte = [0];
        memory.read_physical(0x10_0001, &mut byte).unwrap();
        assert_eq!(byte, [1]);
        assert!(memory.read_physical(0xffff_8880_0010_0000, &mut byte).is_err());
    }

    /// Catches high memory, whose p_vaddr is -1 in either class, that answers for the last addresses of the kernel.
    #[test]
    fn high_memory_has_no_virtual_address() {
        for (class, none) in [(Class::Bits32, u64::from(u32::MAX)), (Class::Bits64, u64::MAX)] {
            let core = core(class, [load(none, 0x3800_0000, 32)].into());
            let mut file = Bytes((0..32).collect());
            let mut memory = KernelMemory::new(&mut file, &core, Word::Bits32);
            assert!(memory.read(none, &mut [0]).is_err());
            assert!(memory.read_physical(0x3800_0000, &mut [0]).is_ok());
        }
    }
}
