//! What the running kernel was told of its machine, out of sysfs.

use super::files;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use guest_agent::failure::Failure;
use guest_agent::told::{acpi_rsdp, hexadecimal};
use guest_protocol::{Efi, SetupData, Told};

/// A kernel's boot_params and its list of setup_data (Documentation/ABI/testing/sysfs-kernel-boot_params).
const BOOT_PARAMS: &str = "/sys/kernel/boot_params";
/// The memory map that it was given (Documentation/ABI/testing/sysfs-firmware-memmap).
const MEMORY_MAP: &str = "/sys/firmware/memmap";
/// The tables that it found, a file each; folders beside them (Documentation/ABI/testing/sysfs-firmware-acpi).
const ACPI_TABLES: &str = "/sys/firmware/acpi/tables";
/// There where it was booted by UEFI (Documentation/ABI/testing/sysfs-firmware-efi).
const EFI: &str = "/sys/firmware/efi";
/// The ranges of UEFI's runtime services (Documentation/ABI/testing/sysfs-firmware-efi-runtime-map).
const RUNTIME_MAP: &str = "/sys/firmware/efi/runtime-map";

/// Reads all of it. What a kernel was built without is not there, and counts as nothing.
pub(super) fn told() -> Result<Told, Failure> {
    let boot_params = files::read_bytes(&format!("{BOOT_PARAMS}/data"))?;
    let short = || Failure::new(format!("{BOOT_PARAMS}/data has {} bytes only", boot_params.len()));
    let mut ram_entries = 0;
    let entries = files::names(MEMORY_MAP)?.unwrap_or_default();
    for entry in &entries {
        let kind = files::read_bytes(&format!("{MEMORY_MAP}/{entry}/type"))?;
        ram_entries += u32::from(kind.trim_ascii() == b"System RAM");
    }
    Ok(Told {
        setup_data: setup_data()?,
        memory_map: count(&entries),
        ram_entries,
        acpi_rsdp: acpi_rsdp(&boot_params).ok_or_else(short)?,
        acpi_tables: acpi_tables()?,
        efi: match files::names(EFI)? {
            None => None,
            Some(_) => Some(Efi { runtime_map: count(&files::names(RUNTIME_MAP)?.unwrap_or_default()) }),
        },
    })
}

/// Signatures, with a number where there are several. `data` and `dynamic` are folders.
fn acpi_tables() -> Result<Vec<String>, Failure> {
    let mut names = files::names(ACPI_TABLES)?.unwrap_or_default();
    names.retain(|name| !matches!(name.as_str(), "data" | "dynamic"));
    Ok(names)
}

/// The blobs in the order of their numbers.
fn setup_data() -> Result<Vec<SetupData>, Failure> {
    let folder = format!("{BOOT_PARAMS}/setup_data");
    let mut numbers: Vec<u32> =
        files::names(&folder)?.unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    let one = |number| {
        let path = format!("{folder}/{number}/type");
        let text = files::read_bytes(&path)?;
        let kind = hexadecimal(&text).ok_or_else(|| {
            Failure::new(format!("{path} holds no type: {:?}", String::from_utf8_lossy(&text)))
        })?;
        let length = files::read_bytes(&format!("{folder}/{number}/data"))?.len() as u64;
        Ok(SetupData { kind, length })
    };
    numbers.into_iter().map(one).collect()
}

fn count(names: &[String]) -> u32 {
    u32::try_from(names.len()).unwrap_or(u32::MAX)
}
