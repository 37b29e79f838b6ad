//! What /proc/vmcore holds, in the form that the rig judges.

use crate::elf::{Core, PT_LOAD, PT_NOTE};
use crate::failure::{Errno, Failure};
use crate::kernel_memory::KernelMemory;
use crate::notes::notes;
use crate::read_at::ReadAt;
use crate::vmcoreinfo::VmcoreInfo;
use crate::{page_tables, printk_log};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use guest_protocol::{Found, HexBytes, LoadHeader, Read, ReadResult, Vmcore, VmcoreReport};

/// Largest PT_NOTE segment that is read, in bytes. A note of registers has some 350 bytes, VMCOREINFO at most 4 KiB: this
/// is room for thousands of CPUs.
const MAX_NOTES: u64 = 4 << 20;

/// Length of each name in `struct new_utsname`, its zero included; the release is the third (include/uapi/linux/utsname.h,
/// `__NEW_UTS_LEN` + 1).
const UTS_NAME: usize = 65;

/// Where the names are in `struct uts_namespace` up to 5.10, whose VMCOREINFO does not tell: behind a `struct kref`
/// (include/linux/utsname.h).
const UTS_NAMES_BEFORE_5_11: usize = 4;

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
    let (prstatus, info) = read_notes(file, &core)?;
    let info = VmcoreInfo::new(&info);
    let told = Told::read(file, &core, info);
    Ok(Vmcore {
        class_bits: core.class.bits(),
        machine: core.machine,
        size,
        prstatus,
        osrelease: info.value("OSRELEASE").map(ToOwned::to_owned),
        crashtime: info.value("CRASHTIME").and_then(|seconds| seconds.parse().ok()),
        loads: core
            .of_kind(PT_LOAD)
            .map(|load| LoadHeader {
                physical: load.physical,
                virtual_: load.virtual_,
                size: load.memory_size,
                offset: load.offset,
            })
            .collect(),
        reads: reads
            .iter()
            .map(|read| ReadResult { address: read.address, found: find(file, &core, read) })
            .collect(),
        mappings: told.mappings,
        uts_release: told.uts_release,
        log: told.log,
    })
}

/// What the notes say: the number of CPUs that left their registers, and the text of VMCOREINFO, empty where there is none.
fn read_notes(file: &mut impl ReadAt, core: &Core) -> Result<(u32, Vec<u8>), Failure> {
    let mut prstatus = 0;
    let mut info = Vec::new();
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
        for note in notes(&bytes) {
            prstatus += u32::from(note.is_prstatus());
            if let Some(text) = note.vmcoreinfo() {
                info = text.to_vec();
            }
        }
    }
    Ok((prstatus, info))
}

/// What the first kernel tells of itself where VMCOREINFO leads, each with the reason where it cannot be had.
struct Told {
    mappings: Result<Vec<guest_protocol::Mapping>, String>,
    uts_release: Result<String, String>,
    log: Result<guest_protocol::FirstLog, String>,
}

impl Told {
    fn read(file: &mut impl ReadAt, core: &Core, info: VmcoreInfo<'_>) -> Self {
        let word = match info.word() {
            Ok(word) => word,
            Err(failure) => {
                let why = failure.to_string();
                return Self { mappings: Err(why.clone()), uts_release: Err(why.clone()), log: Err(why) };
            }
        };
        let mut memory = KernelMemory::new(file, core, word);
        let why = |failure: Failure| failure.to_string();
        Self {
            mappings: page_tables::mappings(&mut memory, info).map_err(why),
            uts_release: uts_release(&mut memory, info).map_err(why),
            log: printk_log::read(&mut memory, info).map_err(why),
        }
    }
}

/// The release of `init_uts_ns`, as `uname -r` gives it.
fn uts_release(memory: &mut KernelMemory<'_, impl ReadAt>, info: VmcoreInfo<'_>) -> Result<String, Failure> {
    let names = match info.value("OFFSET(uts_namespace.name)") {
        Some(_) => info.offset("uts_namespace.name")?,
        None => UTS_NAMES_BEFORE_5_11,
    };
    let names = info.symbol("init_uts_ns")?.wrapping_add(names as u64);
    let mut release = [0; UTS_NAME];
    memory
        .read(names.wrapping_add(2 * UTS_NAME as u64), &mut release)
        .map_err(|failure| Failure::new(format!("read the release in init_uts_ns: {failure}")))?;
    let text = release.split(|&byte| byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
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

    /// Catches the release looked for at the wrong place of either layout, read by a physical address, or made up where no
    /// p_vaddr leads there.
    #[test]
    fn the_release_is_read_by_its_virtual_address() {
        let uts = |virtual_: u64, text: &str| {
            let address = 0xffff_ffff_8200_0000_u64;
            let text = std::format!("SYMBOL(init_uts_ns)={address:x}\n{text}");
            let load = ProgramHeader {
                kind: PT_LOAD,
                offset: 0,
                virtual_,
                physical: 0x200_0000,
                file_size: 1024,
                memory_size: 1024,
            };
            let core = Core { class: Class::Bits64, machine: 62, headers: vec![load] };
            let mut bytes = vec![b'x'; 1024];
            bytes[4 + 130..][..5].copy_from_slice(b"5.10\0");
            bytes[16 + 130..][..4].copy_from_slice(b"6.1\0");
            let mut file = Bytes(bytes);
            let mut memory = KernelMemory::new(&mut file, &core, crate::vmcoreinfo::Word::Bits64);
            uts_release(&mut memory, VmcoreInfo::new(text.as_bytes())).map_err(|failure| failure.to_string())
        };
        assert_eq!(uts(0xffff_ffff_8200_0000, ""), Ok("5.10".to_string()));
        assert_eq!(uts(0xffff_ffff_8200_0000, "OFFSET(uts_namespace.name)=16\n"), Ok("6.1".to_string()));
        for wrong in [0x200_0000, 0x8200_0000] {
            let why = uts(wrong, "").unwrap_err();
            assert!(why.contains("init_uts_ns") && why.contains("0xffffffff82000086"), "{why}");
        }
    }

    /// Catches a vmcore without VMCOREINFO, or with one of a kernel that says nothing, told as one that was read.
    #[test]
    fn what_is_not_told_has_its_reason() {
        let VmcoreReport::Present(vmcore) = inspect(&mut sample(None), 77, &[]) else {
            panic!("the sample is a vmcore")
        };
        let why = "VMCOREINFO has no SIZE(list_head)";
        assert_eq!(vmcore.mappings, Err(why.to_string()));
        assert_eq!(vmcore.uts_release, Err(why.to_string()));
        assert_eq!(vmcore.log, Err(why.to_string()));
    }
}
