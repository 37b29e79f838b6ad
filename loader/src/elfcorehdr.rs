//! The core header: an ELF header of the crashed kernel's memory, from which the capture kernel makes /proc/vmcore
//! (Documentation/admin-guide/kdump/vmcoreinfo.rst, fs/proc/vmcore.c).
//!
//! One PT_NOTE for each CPU's registers, one for VMCOREINFO, one PT_LOAD for the kernel's text as it is mapped, and one for
//! each range of RAM. `p_offset` is where the capture kernel finds the bytes: the physical address, but for low memory that was
//! saved, which it finds in its copy. The capture kernel needs physical addresses; readers of
//! the dump need the virtual ones, which are 64 bits wide for a 64-bit kernel whatever this program was built for.
//!
//! The ELF machine is the crashed kernel's, with one exception. An x86_64 capture kernel takes ELF64 with EM_X86_64 alone
//! (fs/proc/vmcore.c, `vmcore_elf64_check_arch`; arch/x86/include/asm/elf.h) and offers no /proc/vmcore for anything else, though
//! it reads the memory of an i386 kernel as well as any. So for it the header says EM_X86_64, and the dump does too, since /proc/vmcore
//! passes the header on. What is in the dump stays i386: registers in NT_PRSTATUS, virtual addresses, VMCOREINFO. Tools that choose
//! by the machine take it for what it is once e_machine, the two bytes at offset 18, is set back to 3 (EM_386) in the copy.
//!
//! Nothing is left out for an i386 capture kernel without PAE, which cannot read above 4 GiB and then offers no /proc/vmcore. Without
//! the RAM up there it still did not (6.1 with 6 GiB: "vmcore not initialized"), nor without the notes up there; and a dump without
//! registers and VMCOREINFO is not worth the risk that somebody takes it for a whole one.

use crate::addr::{PAGE, PhysAddr, Span};
use crate::backup::Saved;
use crate::iomem::MemoryMap;
use crate::kcore::DirectMap;
use crate::options::Class;
use crate::rule::Arch;
use alloc::vec::Vec;
use core::fmt;

/// Where the direct map of an i386 kernel begins, with the usual split between user and kernel (CONFIG_PAGE_OFFSET). One that was built with
/// another (CONFIG_VMSPLIT_*) has its addresses elsewhere.
const I386_PAGE_OFFSET: u64 = 0xc000_0000;
/// The last byte that has an address there, in 32 bits.
pub const I386_MAPPED_LAST: PhysAddr = PhysAddr(0xffff_ffff - I386_PAGE_OFFSET);
/// The first MiB is the capture kernel's own: its RAM below 640 KiB, and what belongs to firmware above. It is in the dump only where low
/// memory is saved.
const FIRST_MIB: Span = Span::up_to(PhysAddr(0xf_ffff));
/// What is dumped as it is, but for the crash regions.
const DUMPED: Span = Span::onwards(PhysAddr(0x10_0000));

/// The highest `e_phnum` that means itself: PN_XNUM, 0xffff, says that the count stands in a section header (elf(5)), which no kernel reads.
const MOST_HEADERS: usize = 0xfffe;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// `e_type` of a core file.
const ET_CORE: u16 = 4;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;
/// `p_flags` of memory: readable, writable, executable.
const RWX: u32 = 7;

/// A note that the running kernel keeps in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Physical address.
    pub address: PhysAddr,
    /// Room for it, in bytes.
    pub size: u64,
}

/// What the core header describes.
#[derive(Clone, Copy, Debug)]
pub struct Crashed<'a> {
    /// Architecture of the running kernel.
    pub arch: Arch,
    /// Architecture of the capture kernel, which makes /proc/vmcore of it.
    pub reader: Arch,
    /// Its memory.
    pub memory: &'a MemoryMap,
    /// Its direct map. Only x86_64 kernels move it.
    pub direct_map: &'a DirectMap,
    /// Last byte of its low memory, where it is an i386 kernel.
    pub lowmem_last: PhysAddr,
    /// The CPUs' notes.
    pub cpu_notes: &'a [Note],
    /// VMCOREINFO.
    pub vmcoreinfo: Option<Note>,
    /// Low memory that is saved before the capture kernel uses it, and where.
    pub backup: Option<Saved>,
    /// The class that was asked for; none for the smallest that does.
    pub class: Option<Class>,
}

/// Why there can be no ELF32 core header. Fits behind "--elf32-core-headers: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Not32 {
    /// The running kernel's virtual addresses have 64 bits.
    Running64,
    /// An x86_64 capture kernel reads ELF64 alone.
    Reader64,
    /// There is memory that 32 bits cannot address.
    Above4G(PhysAddr),
}

impl fmt::Display for Not32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running64 => f.write_str("the running x86_64 kernel's virtual addresses need 64 bits"),
            Self::Reader64 => f.write_str(
                "an x86_64 capture kernel reads 64-bit core headers alone, and would start without /proc/vmcore",
            ),
            Self::Above4G(address) => write!(f, "there is memory up to {address}, beyond 32 bits"),
        }
    }
}

/// Why there can be no core header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCoreHeader {
    /// One of ELF32 was asked for.
    Not32(Not32),
    /// There are more notes and ranges than its count can say.
    TooMany(usize),
}

impl fmt::Display for NoCoreHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Not32(why) => write!(f, "--elf32-core-headers: {why}"),
            Self::TooMany(count) => write!(
                f,
                "this machine's CPUs and ranges of RAM need {count} program headers, and a core header has no more than {MOST_HEADERS}"
            ),
        }
    }
}

/// A program header, before it takes the form of a class.
#[derive(Clone, Copy)]
struct Header {
    kind: u32,
    flags: u32,
    offset: PhysAddr,
    physical: PhysAddr,
    virtual_start: u64,
    size: u64,
}

/// Builds the core header. Its size depends on no address, so that one that is built for its size serves before places are known.
pub fn build(crashed: &Crashed<'_>) -> Result<Vec<u8>, NoCoreHeader> {
    let memory = crashed.memory;
    let mut headers = Vec::new();
    for &cpu in crashed.cpu_notes {
        headers.push(note(cpu));
    }
    if let Some(vmcoreinfo) = crashed.vmcoreinfo {
        headers.push(note(vmcoreinfo));
    }
    // The RAM in the direct map, and the virtual address of physical 0 there. An i386 kernel maps its low memory alone.
    let (mapped, base) = match crashed.arch {
        Arch::X86_64 => (Span::onwards(PhysAddr(0)), crashed.direct_map.page_offset),
        Arch::I386 => (Span::up_to(crashed.lowmem_last.min(I386_MAPPED_LAST)), I386_PAGE_OFFSET),
    };
    let direct = |ram: Span| load(ram, base.wrapping_add(ram.start().0));
    if let (Arch::X86_64, Some(text)) = (crashed.arch, crashed.direct_map.text) {
        headers.push(load(text.physical, text.virtual_start));
    }
    if let Some(Saved { source, target }) = crashed.backup {
        headers.push(Header { offset: target, ..direct(source) });
        // Its owner may have used the other RAM below 1 MiB too, and the capture kernel does not.
        let mut holes = memory.crash_regions.clone();
        holes.push(source);
        for ram in pages(memory, FIRST_MIB, &holes) {
            headers.push(direct(ram));
        }
    }
    for ram in pages(memory, DUMPED, &memory.crash_regions) {
        if let Some(low) = ram.intersect(mapped) {
            headers.push(direct(low));
        }
        // What lies above has no virtual address.
        for above in ram.without_all(&[mapped]) {
            headers.push(load(above, u64::MAX));
        }
    }
    if headers.len() > MOST_HEADERS {
        return Err(NoCoreHeader::TooMany(headers.len()));
    }
    let not32 = not32(crashed);
    let class = crashed.class.unwrap_or(if not32.is_none() { Class::Elf32 } else { Class::Elf64 });
    let machine = match (crashed.arch, crashed.reader) {
        (Arch::I386, Arch::I386) => EM_386,
        _ => EM_X86_64,
    };
    match (class, not32) {
        (Class::Elf64, _) => Ok(encode64(machine, &headers)),
        (Class::Elf32, None) => Ok(encode32(machine, &headers)),
        (Class::Elf32, Some(why)) => Err(NoCoreHeader::Not32(why)),
    }
}

/// Why 32 bits do not do, if they do not.
fn not32(crashed: &Crashed<'_>) -> Option<Not32> {
    match (crashed.arch, crashed.reader) {
        (Arch::X86_64, _) => Some(Not32::Running64),
        (Arch::I386, Arch::X86_64) => Some(Not32::Reader64),
        (Arch::I386, Arch::I386) => {
            let last = crashed.memory.ram().map(Span::last).max()?;
            (last > PhysAddr::LAST_32BIT).then_some(Not32::Above4G(last))
        }
    }
}

/// The RAM in a window without the holes, in whole pages. Kernels make whole pages of their regions, and RAM that touches is one range, so
/// that no page is cut in two.
fn pages(memory: &MemoryMap, window: Span, holes: &[Span]) -> Vec<Span> {
    let mut pages = Vec::new();
    for ram in memory.ram() {
        let Some(ram) = ram.intersect(window) else { continue };
        for part in ram.without_all(holes) {
            if let Some(whole) = part.whole_units(PAGE) {
                pages.push(whole);
            }
        }
    }
    pages
}

fn note(note: Note) -> Header {
    let Note { address, size } = note;
    Header { kind: PT_NOTE, flags: 0, offset: address, physical: address, virtual_start: 0, size }
}

fn load(physical: Span, virtual_start: u64) -> Header {
    let start = physical.start();
    Header { kind: PT_LOAD, flags: RWX, offset: start, physical: start, virtual_start, size: physical.size() }
}

/// What comes first in both classes: `e_ident` (magic, class, little-endian, version 1, System V), `e_type`, `e_machine`, `e_version`.
fn begin(class: u8, machine: u16) -> Vec<u8> {
    let mut out = alloc::vec![0x7f, b'E', b'L', b'F', class, 1, 1];
    out.resize(16, 0);
    for half in [ET_CORE, machine, 1, 0] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    out
}

/// What comes last in both: `e_flags`, of 4 bytes, and the sizes and counts of headers, of which [`build`] has seen that they fit.
fn end(out: &mut Vec<u8>, ehdr: u16, phdr: u16, headers: &[Header]) {
    for half in [0, 0, ehdr, phdr, headers.len() as u16, 0, 0, 0] {
        out.extend_from_slice(&half.to_le_bytes());
    }
}

/// The ELF64 form (System V ABI, "ELF Header" and "Program Header").
fn encode64(machine: u16, headers: &[Header]) -> Vec<u8> {
    const EHDR: u16 = 64;
    const PHDR: u16 = 56;
    let mut out = begin(2, machine);
    // e_entry, e_phoff, e_shoff
    for word in [0, u64::from(EHDR), 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    end(&mut out, EHDR, PHDR, headers);
    for header in headers {
        out.extend_from_slice(&header.kind.to_le_bytes());
        out.extend_from_slice(&header.flags.to_le_bytes());
        // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
        for word in [header.offset.0, header.virtual_start, header.physical.0, header.size, header.size, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out
}

/// The ELF32 form. Callers see to it that every physical address fits.
fn encode32(machine: u16, headers: &[Header]) -> Vec<u8> {
    const EHDR: u16 = 52;
    const PHDR: u16 = 32;
    let mut out = begin(1, machine);
    // e_entry, e_phoff, e_shoff
    for word in [0, u32::from(EHDR), 0] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    end(&mut out, EHDR, PHDR, headers);
    for header in headers {
        let [offset, virtual_start, physical, size] =
            [header.offset.0, header.virtual_start, header.physical.0, header.size].map(|word| word as u32);
        // p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_flags, p_align
        for word in [header.kind, offset, virtual_start, physical, size, size, header.flags, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out
}

#[cfg(test)]
#[path = "elfcorehdr_tests.rs"]
mod tests;
