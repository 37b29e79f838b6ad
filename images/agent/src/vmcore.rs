//! What /proc/vmcore holds, in the form that the rig judges.

use crate::elf::{Core, PT_LOAD, PT_NOTE};
use crate::failure::{Errno, Failure};
use crate::notes::{Note, notes, vmcoreinfo_value};
use crate::read_at::ReadAt;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use guest_protocol::{Found, HexBytes, LoadHeader, Read, ReadResult, Vmcore, VmcoreReport};

/// Largest PT_NOTE segment that is read, in bytes. A note of registers has some 350 bytes, VMCOREINFO at most 4 KiB: this
/// is room for thousands of CPUs.
const MAX_NOTES: u64 = 4 << 20;

/// Reads what is to be known of a vmcore of `size` bytes, and the bytes at the given addresses. All of them come from this
/// file, through its PT_LOADs.
pub fn inspect(file: &mut impl ReadAt, size: u64, reads: &[Read]) -> VmcoreReport {
    match try_inspect(file, size, reads) {
        Ok(vmcore) => VmcoreReport::Present(vmcore),
        Err(failure) => VmcoreReport::Unreadable { why: failure.to_string() },
    }
}

fn try_inspect(file: &mut impl ReadAt, size: u64, reads: &[Read]) -> Result<Vmcore, Failure> {
    let core = Core::read(file)?;
    let mut vmcore = Vmcore {
        class_bits: core.class.bits(),
        machine: core.machine,
        size,
        prstatus: 0,
        osrelease: None,
        crashtime: None,
        loads: core
            .of_kind(PT_LOAD)
            .map(|load| LoadHeader {
                physical: load.physical,
                virtual_: load.virtual_,
                size: load.memory_size,
                offset: load.offset,
            })
            .collect(),
        reads: Vec::new(),
    };
    for segment in core.of_kind(PT_NOTE) {
        if segment.file_size > MAX_NOTES {
            return Err(Failure::new(format!(
                "its notes take {:#x} bytes, which cannot be",
                segment.file_size
            )));
        }
        let mut bytes = vec![0; segment.file_size as usize];
        file.fill_at(segment.offset, &mut bytes)
            .map_err(|errno| Failure::errno(format!("read its notes at {:#x}", segment.offset), errno))?;
        notes(&bytes).for_each(|note| add_note(&mut vmcore, &note));
    }
    vmcore.reads = reads
        .iter()
        .map(|read| ReadResult { address: read.address, found: find(file, &core, read) })
        .collect();
    Ok(vmcore)
}

fn add_note(vmcore: &mut Vmcore, note: &Note<'_>) {
    vmcore.prstatus += u32::from(note.is_prstatus());
    if let Some(text) = note.vmcoreinfo() {
        vmcore.osrelease = vmcoreinfo_value(text, "OSRELEASE").map(ToOwned::to_owned);
        vmcore.crashtime = vmcoreinfo_value(text, "CRASHTIME").and_then(|seconds| seconds.parse().ok());
    }
}

fn find(file: &mut impl ReadAt, core: &Core, read: &Read) -> Found {
    let offset = core.of_kind(PT_LOAD).find_map(|load| load.offset_of(read.address, read.length.into()));
    let Some(offset) = offset else { return Found::NotCovered };
    let mut bytes = vec![0; read.length as usize];
    match file.fill_at(offset, &mut bytes) {
        Ok(()) => Found::Bytes(HexBytes(bytes)),
        Err(Errno(errno)) => Found::Failed(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::tests::encode as encode_core;
    use crate::elf::{Class, ProgramHeader};
    use crate::notes::tests::encode as encode_note;
    use crate::read_at::tests::Bytes;

    const HIGH: u64 = 0x1_2345_6000;

    /// A vmcore with two CPUs and one page at [`HIGH`], whose bytes are their own index.
    fn sample(notes_size: Option<u64>) -> Bytes {
        let notes = [
            encode_note("CORE", 1, &[0; 336]),
            encode_note("CORE", 1, &[0; 336]),
            encode_note("VMCOREINFO", 0, b"OSRELEASE=5.10.0-32-amd64\nCRASHTIME=1700000000\n"),
        ]
        .concat();
        let header = |kind, offset, physical, size| ProgramHeader {
            kind,
            offset,
            virtual_: 0xffff_8880_0000_0000 + physical,
            physical,
            file_size: size,
            memory_size: size,
        };
        let mut core = Core { class: Class::Bits64, machine: 62, headers: Vec::new() };
        core.headers.push(header(PT_NOTE, 0x1000, 0, notes_size.unwrap_or(notes.len() as u64)));
        core.headers.push(header(PT_LOAD, 0x2000, HIGH, 256));
        core.headers.push(header(PT_LOAD, 0x9000, 0x10_0000, 256));
        let mut bytes = encode_core(&core);
        bytes.resize(0x1000, 0);
        bytes.extend(notes);
        bytes.resize(0x2000, 0);
        bytes.extend(0..=255_u8);
        Bytes(bytes)
    }

    /// Catches a physical address taken for an offset or a virtual address, notes miscounted, and a read that is answered
    /// although no segment covers it or the file is cut.
    #[test]
    fn reads_go_through_the_segments() {
        let reads = [
            Read { address: HIGH + 16, length: 4 },
            Read { address: 0x2000, length: 1 },
            Read { address: 0x10_0000, length: 4 },
        ];
        let VmcoreReport::Present(vmcore) = inspect(&mut sample(None), 77, &reads) else {
            panic!("the sample is a vmcore")
        };
        assert_eq!((vmcore.class_bits, vmcore.machine, vmcore.size, vmcore.prstatus), (64, 62, 77, 2));
        assert_eq!(vmcore.osrelease.as_deref(), Some("5.10.0-32-amd64"));
        assert_eq!(vmcore.crashtime, Some(1_700_000_000));
        assert_eq!(vmcore.loads.len(), 2);
        assert_eq!(vmcore.loads[0].physical, HIGH);
        let found: Vec<Found> = vmcore.reads.into_iter().map(|read| read.found).collect();
        assert_eq!(
            found,
            [
                Found::Bytes(HexBytes(vec![16, 17, 18, 19])),
                Found::NotCovered,
                Found::Failed(Errno::ENODATA.0),
            ]
        );
    }

    /// Catches an allocation of whatever size a damaged header names, and a broken vmcore reported as a missing one.
    #[test]
    fn damaged_notes_are_unreadable() {
        for size in [u64::MAX, 1 << 20] {
            let report = inspect(&mut sample(Some(size)), 77, &[]);
            assert!(
                matches!(report, VmcoreReport::Unreadable { ref why } if why.contains("notes")),
                "{report:?}"
            );
        }
    }
}
