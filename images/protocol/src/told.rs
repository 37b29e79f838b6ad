//! What a capture kernel was told of its machine by whoever loaded it, beside its memory and its command line.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What stood in a kernel's boot_params, and what it found by that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The list of setup_data, in its order (/sys/kernel/boot_params/setup_data).
    pub setup_data: Vec<SetupData>,
    /// Entries of its memory map (/sys/firmware/memmap).
    pub memory_map: u32,
    /// Those among them that are RAM.
    pub ram_entries: u32,
    /// `acpi_rsdp_addr` of its boot_params; 0 where it was not told.
    pub acpi_rsdp: u64,
    /// The ACPI tables that it found (/sys/firmware/acpi/tables), sorted.
    pub acpi_tables: Vec<String>,
    /// What it has of UEFI; none where it was booted without (/sys/firmware/efi).
    pub efi: Option<Efi>,
}

/// A blob of setup_data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupData {
    /// Its type (`SETUP_*` of arch/x86/include/uapi/asm/setup_data.h).
    pub kind: u32,
    /// Its length in bytes. A kernel that has used up a random seed leaves 0.
    pub length: u64,
}

/// UEFI as a kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Efi {
    /// Ranges of the runtime services' memory (/sys/firmware/efi/runtime-map).
    pub runtime_map: u32,
}
