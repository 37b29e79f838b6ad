//! Body of the core header: what is written, read back by an ELF reader that knows nothing of who wrote it.

use crate::source::Source;
use kexec_load::addr::{PAGE, PhysAddr, Span};
use kexec_load::backup::Saved;
use kexec_load::elfcorehdr::{self, Crashed, Note};
use kexec_load::iomem::MemoryMap;
use kexec_load::kcore::{DirectMap, Mapped};
use kexec_load::options::Class;
use kexec_load::rule::Arch;
use object::elf::{PT_LOAD, PT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader};

/// Lines of /proc/iomem out of a source.
pub(crate) fn memory(source: &mut Source<'_>) -> Option<MemoryMap> {
    let mut text = String::new();
    for _ in 0..source.byte() % 32 {
        let name =
            source.one_of(&["System RAM", "Crash kernel", "Reserved", "ACPI Tables", "Persistent Memory"]);
        let (start, size) = (source.number(), source.number());
        text.push_str(&format!("{start:x}-{:x} : {name}\n", start.saturating_add(size)));
    }
    MemoryMap::parse(text.as_bytes()).ok()
}

/// The CPUs' notes.
pub(crate) fn notes(source: &mut Source<'_>) -> Vec<Note> {
    (0..source.byte() % 16)
        .map(|_| Note { address: PhysAddr(source.number()), size: source.number() })
        .collect()
}

/// A direct map.
pub(crate) fn direct_map(source: &mut Source<'_>) -> DirectMap {
    let physical = Span::sized(PhysAddr(source.number()), source.number());
    let text = physical.map(|physical| Mapped { physical, virtual_start: source.number() });
    DirectMap { page_offset: source.number(), text }
}

pub(crate) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let arch = source.one_of(&[Arch::X86_64, Arch::I386]);
    let Some(memory) = memory(&mut source) else { return };
    let (cpu_notes, direct_map) = (notes(&mut source), direct_map(&mut source));
    let low = Span::new(PhysAddr(0x1000), PhysAddr(0x9_efff));
    let crashed = Crashed {
        arch,
        reader: source.one_of(&[Arch::X86_64, Arch::I386]),
        memory: &memory,
        direct_map: &direct_map,
        // Zones are whole pages.
        lowmem_last: PhysAddr(source.number() | (PAGE - 1)),
        cpu_notes: &cpu_notes,
        vmcoreinfo: source.maybe().map(|address| Note { address: PhysAddr(address), size: 4096 }),
        backup: low
            .filter(|_| source.flag())
            .map(|low| Saved { source: low, target: PhysAddr(source.number()) }),
        class: source.one_of(&[None, Some(Class::Elf32), Some(Class::Elf64)]),
    };
    check(&crashed);
}

/// Builds the header and reads it back.
pub(crate) fn check(crashed: &Crashed<'_>) {
    let bytes = match elfcorehdr::build(crashed) {
        Ok(bytes) => bytes,
        Err(why) => return assert!(!why.to_string().is_empty()),
    };
    let headers = if bytes[4] == 2 {
        read::<object::elf::FileHeader64<object::Endianness>>(&bytes)
    } else {
        read::<object::elf::FileHeader32<object::Endianness>>(&bytes)
    };
    let notes = headers.iter().filter(|header| header.kind == PT_NOTE).count();
    assert_eq!(notes, crashed.cpu_notes.len() + usize::from(crashed.vmcoreinfo.is_some()));
    let loads: Vec<Span> = headers
        .iter()
        .filter(|header| header.kind == PT_LOAD)
        // Low memory that was saved is read from the region, and the kernel's text lies in RAM once more.
        .filter(|header| crashed.backup.is_none_or(|saved| saved.source.start().0 != header.physical))
        .filter(|header| {
            crashed.direct_map.text.is_none_or(|text| text.virtual_start != header.virtual_start)
        })
        .map(|header| Span::sized(PhysAddr(header.physical), header.size).expect("a load of no bytes"))
        .collect();
    for load in &loads {
        assert!(load.start().0 % PAGE == 0 && load.size() % PAGE == 0, "{load} is no whole pages");
        match crashed.backup {
            Some(saved) => assert_eq!(load.intersect(saved.source), None, "{load} was saved"),
            None => assert!(load.start() >= PhysAddr(1 << 20), "{load} belongs to the capture kernel"),
        }
        let region = crashed.memory.crash_regions.iter().find(|region| region.intersect(*load).is_some());
        assert!(region.is_none(), "{load} is of a crash region");
        assert!(crashed.memory.ram().any(|ram| ram.contains(*load)), "{load} is no RAM");
    }
}

/// A program header, of either class.
struct Header {
    kind: u32,
    physical: u64,
    virtual_start: u64,
    size: u64,
}

fn read<E: FileHeader<Endian = object::Endianness>>(bytes: &[u8]) -> Vec<Header> {
    let header = E::parse(bytes).expect("no ELF header");
    let endian = header.endian().expect("no byte order");
    assert_eq!(header.e_type(endian), object::elf::ET_CORE);
    let headers = header.program_headers(endian, bytes).expect("no program headers");
    let read = |header: &E::ProgramHeader| Header {
        kind: header.p_type(endian),
        physical: header.p_paddr(endian).into(),
        virtual_start: header.p_vaddr(endian).into(),
        size: header.p_memsz(endian).into(),
    };
    headers.iter().map(read).collect()
}
