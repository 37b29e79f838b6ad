//! What firmware told the running kernel, read from /sys; and random bytes.

use super::{files, sys};
use alloc::format;
use kexec_load::addr::PhysAddr;
use kexec_load::efi::{self, Efi, MOST_REGIONS, Shown};
use kexec_load::setup_data::SEED;

/// What there is to tell a capture kernel of firmware.
pub(crate) struct Firmware {
    /// Where ACPI's root table lies.
    pub(crate) rsdp: Option<PhysAddr>,
    /// UEFI, if the running kernel can call it.
    pub(crate) efi: Option<Efi>,
}

impl Firmware {
    /// Reads what the kernel shows. All of it may be missing: under a BIOS nearly all is, and a kernel that needs more than it is told searches.
    pub(crate) fn read(boot_params: &[u8], with_efi: bool) -> Self {
        const EFI: &str = "/sys/firmware/efi";
        let read = |name: &str| files::read(&format!("{EFI}/{name}")).unwrap_or_default();
        let mut shown = Shown { systab: read("systab"), ..Shown::default() };
        let rsdp = efi::rsdp(boot_params, &shown.systab);
        if !with_efi || shown.systab.is_empty() {
            return Self { rsdp, efi: None };
        }
        shown.tables = ["fw_vendor", "runtime", "config_table"].map(read);
        // One more than are taken, which then are none.
        for nth in 0..=MOST_REGIONS {
            let region = ["type", "phys_addr", "virt_addr", "num_pages", "attribute"]
                .map(|field| read(&format!("runtime-map/{nth}/{field}")));
            // They are numbered without gaps.
            if region[0].is_empty() {
                break;
            }
            shown.regions.push(region);
        }
        Self { rsdp, efi: Efi::parse(boot_params, &shown) }
    }
}

/// Whether the running kernel calls the services of 32-bit UEFI. It shows regions of them only where it does.
pub(crate) fn is_efi_32bit() -> bool {
    let read = |path| files::read(path).unwrap_or_default();
    read("/sys/firmware/efi/fw_platform_size").trim_ascii() == b"32"
        && !read("/sys/firmware/efi/runtime-map/0/type").is_empty()
}

/// Random bytes for the capture kernel; none where the running kernel has no good ones yet, since waiting for them would delay the load.
pub(crate) fn seed() -> Option<[u8; SEED]> {
    let mut seed = [0; SEED];
    let filled = sys::random(&mut seed).ok()?;
    (filled == SEED).then_some(seed)
}
