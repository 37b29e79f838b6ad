//! What /proc/vmcore holds, as the capture kernel's agent reads it.

use crate::HexBytes;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What the capture kernel's agent found in /proc/vmcore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum VmcoreReport {
    /// There is no /proc/vmcore.
    Absent,
    /// There is one.
    Present(Vmcore),
    /// There is a file, but it cannot be read as an ELF core.
    Unreadable {
        /// What was read and what was wrong with it.
        why: String,
    },
}

/// The parts of /proc/vmcore that the rig judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vmcore {
    /// EI_CLASS: 32 or 64.
    pub class_bits: u8,
    /// e_machine: 62 is x86_64, 3 is i386.
    pub machine: u16,
    /// Size of the file in bytes.
    pub size: u64,
    /// Number of NT_PRSTATUS notes with the name CORE.
    pub prstatus: u32,
    /// `OSRELEASE=` of VMCOREINFO.
    pub osrelease: Option<String>,
    /// `CRASHTIME=` of VMCOREINFO, seconds since the epoch.
    pub crashtime: Option<u64>,
    /// All PT_LOAD headers.
    pub loads: Vec<LoadHeader>,
    /// What was read at each address of the order, in its order.
    pub reads: Vec<ReadResult>,
    /// For each of [`Vmcore::loads`], where the first kernel's own page tables lead from its virtual addresses; or why they
    /// could not be walked.
    pub mappings: Result<Vec<Mapping>, String>,
    /// The release string of `init_uts_ns`, read by its virtual address through p_vaddr; or why it could not be read.
    pub uts_release: Result<String, String>,
    /// The first kernel's log, read by virtual addresses likewise; or why it could not be read.
    pub log: Result<FirstLog, String>,
}

/// Where the first kernel's page tables lead from the virtual addresses of a PT_LOAD. None: nothing is mapped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// Physical address that its first byte (p_vaddr) is mapped to.
    pub first: Option<u64>,
    /// Physical address that its last byte (p_vaddr + p_memsz - 1) is mapped to.
    pub last: Option<u64>,
}

/// The first kernel's log, out of its printk ring buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstLog {
    /// Records that the buffer holds.
    pub records: u64,
    /// The text of the last ones, a line each, at most [`crate::MAX_LOG_TAIL`] bytes; invalid UTF-8 replaced.
    pub tail: String,
}

/// A PT_LOAD header of /proc/vmcore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadHeader {
    /// p_paddr.
    pub physical: u64,
    /// p_vaddr.
    pub virtual_: u64,
    /// p_memsz, in bytes.
    pub size: u64,
    /// p_offset.
    pub offset: u64,
}

/// The outcome of one read through the vmcore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadResult {
    /// Physical address, as ordered.
    pub address: u64,
    /// The bytes, or why there are none.
    pub found: Found,
}

/// What a read through the vmcore gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The bytes at the address.
    Bytes(HexBytes),
    /// No PT_LOAD covers the address.
    NotCovered,
    /// The read failed with this errno; ENODATA (61) where the file ended first.
    Failed(i32),
}
