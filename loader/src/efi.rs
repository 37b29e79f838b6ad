//! What UEFI told the running kernel, for a capture kernel on the same firmware.
//!
//! UEFI's runtime services were told once where they are mapped (SetVirtualAddressMap) and cannot be told again. So a capture kernel that
//! wants them must map them where the running kernel did. It does when boot_params names the system table and a memory map with the
//! running kernel's virtual addresses, and setup_data has an item of type SETUP_EFI with what firmware has replaced in its own
//! tables by virtual addresses (arch/x86/platform/efi/efi.c, `kexec_enter_virtual_mode`, `efi_systab_init`). Kernels can do so if both
//! are x86_64 on 64-bit firmware and the capture kernel says XLF_EFI_KEXEC. Any other is told nothing of UEFI; all that it needs then
//! is the place of ACPI's root table, which UEFI put where no search finds it.

use crate::addr::PhysAddr;
use crate::bytes::{array_at, u32_at};
use crate::bzimage::{BzImage, Entries, Protocol};
use crate::rule::Arch;
use crate::sysfs;
use crate::text;
use alloc::vec::Vec;
use core::fmt;

/// `efi_info` in boot_params, 32 bytes (arch/x86/include/uapi/asm/bootparam.h).
const INFO: usize = 0x1c0;
/// `efi_loader_signature` of 64-bit firmware.
const EL64: &[u8; 4] = b"EL64";
/// Size of a descriptor of the memory map (UEFI specification, EFI_MEMORY_DESCRIPTOR): type and padding of 4 bytes, then four fields of 8.
const DESCRIPTOR: usize = 40;
/// Most runtime regions that are taken. Firmware has some ten of them.
pub const MOST_REGIONS: usize = 1024;

/// What the running kernel shows in /sys/firmware/efi, file by file. Absent files are empty.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// `systab`: lines such as `ACPI20=0x7fb7e014`.
    pub systab: Vec<u8>,
    /// `fw_vendor`, `runtime` and `config_table`.
    pub tables: [Vec<u8>; 3],
    /// `runtime-map/N/` with `type`, `phys_addr`, `virt_addr`, `num_pages` and `attribute`.
    pub regions: Vec<[Vec<u8>; 5]>,
}

/// UEFI as it is handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Efi {
    /// Physical address of the system table.
    systab: u64,
    /// `efi_memdesc_version`.
    version: u32,
    /// Where vendor's name, runtime services, and configuration table lay at first, and SMBIOS's entry point.
    tables: [u64; 4],
    /// The runtime regions with their virtual addresses.
    map: Vec<u8>,
}

impl Efi {
    /// Bytes of SETUP_EFI's payload (`struct efi_setup_data`): four addresses and eight reserved words.
    pub const SETUP_DATA: usize = 12 * 8;

    /// UEFI as the running kernel has it, by its boot_params and /sys/firmware/efi; none if it is not there, has 32 bits, or does not serve the
    /// running kernel (`efi=noruntime`).
    pub fn parse(boot_params: &[u8], shown: &Shown) -> Option<Self> {
        if !booted(boot_params) || shown.regions.is_empty() || shown.regions.len() > MOST_REGIONS {
            return None;
        }
        let info = |offset| u32_at(boot_params, INFO + offset).map(u64::from);
        // efi_systab and efi_systab_hi.
        let systab = info(4)? | info(24)? << 32;
        let [fw_vendor, runtime, config_table] = &shown.tables;
        let tables = [
            sysfs::hexadecimal(fw_vendor)?,
            // See `serves`.
            sysfs::hexadecimal(runtime).unwrap_or_default(),
            sysfs::hexadecimal(config_table)?,
            table(&shown.systab, b"SMBIOS").map_or(0, |table| table.0),
        ];
        let mut map = Vec::with_capacity(shown.regions.len() * DESCRIPTOR);
        for region in &shown.regions {
            for field in region {
                map.extend_from_slice(&sysfs::hexadecimal(field)?.to_le_bytes());
            }
        }
        (systab != 0).then_some(Self { systab, version: u32_at(boot_params, INFO + 12)?, tables, map })
    }

    /// Whether a capture kernel of this release can do with it. Kernels before 5.7 find the runtime services by what they are told here
    /// (arch/x86/platform/efi/efi.c, `efi_systab_init`), and die at address 0 in their first call where that is nothing.
    fn serves(&self, release: &[u8]) -> bool {
        const BY_ITSELF_SINCE: (u64, u64) = (5, 7);
        self.tables[1] != 0 || text::version(release).is_some_and(|version| version >= BY_ITSELF_SINCE)
    }

    /// The memory map.
    pub fn map(&self) -> &[u8] {
        &self.map
    }

    /// SETUP_EFI's payload.
    pub fn setup_data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for word in self.tables {
            data.extend_from_slice(&word.to_le_bytes());
        }
        data.resize(Self::SETUP_DATA, 0);
        data
    }

    /// `efi_info` with the memory map at `map`, and its offset in boot_params.
    pub fn info(&self, map: PhysAddr) -> (usize, [u8; 32]) {
        let mut info = [0; 32];
        let fields = [
            u32::from_le_bytes(*EL64),
            self.systab as u32,
            DESCRIPTOR as u32,
            self.version,
            map.0 as u32,
            self.map.len() as u32,
            (self.systab >> 32) as u32,
            (map.0 >> 32) as u32,
        ];
        for (to, field) in info.chunks_exact_mut(4).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        (INFO, info)
    }
}

/// Whether the running kernel was booted by UEFI of 64 bits, as its boot_params say.
pub fn booted(boot_params: &[u8]) -> bool {
    boot_params.get(INFO..INFO + 4).is_some_and(|signature| signature == EL64)
}

/// What a capture kernel is told of firmware.
#[derive(Clone, Copy, Debug)]
pub struct Firmware<'a> {
    /// ACPI's root table, if its place is known.
    pub rsdp: Option<PhysAddr>,
    /// The same, where it must be told on the command line.
    pub rsdp_word: Option<PhysAddr>,
    /// UEFI, if the capture kernel can use it.
    pub efi: Option<&'a Efi>,
    /// Whether the capture kernel could use UEFI if it were told of it.
    pub takes_over: bool,
}

impl<'a> Firmware<'a> {
    /// What this capture kernel is told of what this running kernel knows. `efi` is none where it is not wanted.
    pub fn new(running: Arch, image: &BzImage<'_>, rsdp: Option<PhysAddr>, efi: Option<&'a Efi>) -> Self {
        let takes_over =
            running == Arch::X86_64 && matches!(image.entries, Entries::Both { efi_kexec: true, .. });
        let efi = efi.filter(|efi| takes_over && efi.serves(image.release));
        // A BIOS leaves the table in its own memory below 1 MiB, where every kernel searches for it (drivers/acpi/acpica/tbxfroot.c).
        const SEARCHED_BELOW: PhysAddr = PhysAddr(0x10_0000);
        let in_the_dark = image.protocol < Protocol::ACPI_RSDP && efi.is_none();
        let rsdp_word = rsdp.filter(|&rsdp| in_the_dark && rsdp >= SEARCHED_BELOW);
        Self { rsdp, rsdp_word, efi, takes_over }
    }
}

impl fmt::Display for Firmware<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.efi.is_some() { "UEFI and its runtime services" } else { "no UEFI" })?;
        match self.rsdp {
            Some(rsdp) => write!(f, ", ACPI's root table at {rsdp}"),
            None => f.write_str(", no place of ACPI's root table"),
        }
    }
}

/// Where ACPI's root table (RSDP) lies: as boot_params of the running kernel say, or else /sys/firmware/efi/systab, the newer table first. None
/// where neither knows: a kernel then finds it by itself or not at all.
pub fn rsdp(boot_params: &[u8], systab: &[u8]) -> Option<PhysAddr> {
    /// `acpi_rsdp_addr`.
    const ACPI_RSDP: usize = 0x070;
    let told = array_at(boot_params, ACPI_RSDP).map(|bytes| PhysAddr(u64::from_le_bytes(bytes)));
    told.filter(|address| address.0 != 0)
        .or_else(|| table(systab, b"ACPI20"))
        .or_else(|| table(systab, b"ACPI"))
}

/// The address behind `NAME=` in systab.
fn table(systab: &[u8], name: &[u8]) -> Option<PhysAddr> {
    let value =
        systab.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name)?.strip_prefix(b"="))?;
    sysfs::hexadecimal(value).filter(|&address| address != 0).map(PhysAddr)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bytes::u64_at;
    use crate::bzimage::tests::FakeImage;
    use alloc::vec;
    use proptest::prelude::*;

    const SYSTAB: &[u8] = b"ACPI20=0x7fb7e014\nACPI=0x7fb7e000\nSMBIOS=0x7f9ee000\n";

    fn shown() -> Shown {
        let text = |text: &str| text.as_bytes().to_vec();
        Shown {
            systab: SYSTAB.to_vec(),
            tables: ["0x7feee018\n", "0x7fb7eb98\n", "0x7f9ec018\n"].map(text),
            regions: vec![
                ["0x6\n", "0x7f8ee000\n", "0xfffffffeffc00000\n", "0x100\n", "0x800000000000000f\n"]
                    .map(text),
                ["0x5\n", "0x7f9ee000\n", "0xfffffffeffe00000\n", "0x80\n", "0x800000000000000f\n"].map(text),
            ],
        }
    }

    fn boot_params() -> Vec<u8> {
        let mut params = vec![0; 4096];
        params[0x1c0..0x1c4].copy_from_slice(b"EL64");
        params[0x1c4..0x1c8].copy_from_slice(&0x7f9e_c018u32.to_le_bytes());
        params[0x1c8] = 48;
        params[0x1cc] = 1;
        params[0x1d0..0x1d4].copy_from_slice(&0x7e4a_5018u32.to_le_bytes());
        params[0x1d8] = 2;
        params
    }

    /// Like OVMF on a machine of 2 GiB.
    pub(crate) fn ovmf() -> Efi {
        Efi::parse(&boot_params(), &shown()).unwrap()
    }

    /// Catches halves of addresses that are swapped or lost, the running kernel's own map or size of descriptors, and regions at
    /// physical in place of virtual addresses, where the capture kernel's first call of the firmware faults.
    #[test]
    fn the_capture_kernel_is_told_where_all_is_mapped() {
        let efi = ovmf();
        let (at, info) = efi.info(PhysAddr(0x1_3fff_2000));
        assert_eq!((at, &info[..4]), (0x1c0, &b"EL64"[..]));
        let fields: Vec<u32> = (1..8).map(|nth| u32_at(&info, 4 * nth).unwrap()).collect();
        assert_eq!(fields, [0x7f9e_c018, 40, 1, 0x3fff_2000, 80, 2, 1]);
        let words: Vec<u64> = (5..10).map(|nth| u64_at(efi.map(), 8 * nth).unwrap()).collect();
        assert_eq!(words, [5, 0x7f9e_e000, 0xffff_fffe_ffe0_0000, 0x80, 0x8000_0000_0000_000f]);
        let data = efi.setup_data();
        let words: Vec<u64> = (0..12).map(|nth| u64_at(&data, 8 * nth).unwrap()).collect();
        assert_eq!(words, [0x7fee_e018, 0x7fb7_eb98, 0x7f9e_c018, 0x7f9e_e000, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// Catches a capture kernel that is promised services which it cannot have, and dies in its first call.
    #[test]
    fn without_all_of_it_there_is_nothing_to_hand_over() {
        let refused = |change: fn(&mut Vec<u8>, &mut Shown)| {
            let (mut params, mut shown) = (boot_params(), shown());
            change(&mut params, &mut shown);
            Efi::parse(&params, &shown)
        };
        assert!(refused(|_, _| ()).is_some());
        assert_eq!(refused(|params, _| params.clear()), None);
        assert_eq!(refused(|params, _| params[0x1c2] = b'3'), None, "32-bit firmware");
        assert_eq!(refused(|_, shown| shown.regions.clear()), None, "no runtime services");
        assert_eq!(refused(|_, shown| shown.regions[1][2].clear()), None);
        assert_eq!(refused(|_, shown| shown.tables[2].clear()), None);
        assert!(refused(|_, shown| shown.tables[1].clear()).is_some(), "not shown by later kernels");
        let many = |count| {
            let regions = vec![shown().regions[0].clone(); count];
            Efi::parse(&boot_params(), &Shown { regions, ..shown() })
        };
        assert!(many(MOST_REGIONS).is_some());
        assert_eq!(many(MOST_REGIONS + 1), None, "a part of the map is none");
    }

    /// Catches "ACPI20" found where "ACPI" is looked for, and the older of two tables.
    #[test]
    fn the_root_table_is_found() {
        let mut params = boot_params();
        assert_eq!(rsdp(&params, SYSTAB), Some(PhysAddr(0x7fb7_e014)));
        assert_eq!(rsdp(&[], b"SMBIOS=0x1\nACPI=0x7fb7e000\n"), Some(PhysAddr(0x7fb7_e000)));
        assert_eq!(rsdp(&[], b"ACPI20=0x0\nACPI=what\n"), None);
        assert_eq!(rsdp(&params, b""), None);
        params[0x71] = 0x5b;
        params[0x72] = 0xf;
        assert_eq!(rsdp(&params, SYSTAB), Some(PhysAddr(0xf_5b00)));
    }

    /// Catches runtime services for a kernel that cannot take them over; and a kernel without ACPI, which has but one CPU and no PCI
    /// interrupts, because it reads neither boot_params' field nor finds the table.
    #[test]
    fn a_capture_kernel_is_told_what_it_can_use() {
        use Arch::{I386, X86_64};
        let efi = ovmf();
        let high = Some(PhysAddr(0x7fb7_e014));
        let told = |running, image: FakeImage, rsdp, efi| {
            let file = image.build();
            let told = Firmware::new(running, &BzImage::parse(&file).unwrap(), rsdp, efi);
            assert_eq!(told.rsdp, rsdp);
            (told.efi.is_some(), told.rsdp_word.is_some())
        };
        let old = |image| FakeImage { protocol: 0x020d, ..image };
        let without = FakeImage { xloadflags: 0x2f, ..FakeImage::x86_64() };
        assert_eq!(told(X86_64, FakeImage::x86_64(), high, Some(&efi)), (true, false));
        assert_eq!(told(X86_64, old(FakeImage::x86_64()), high, Some(&efi)), (true, false));
        assert_eq!(told(X86_64, without.clone(), high, Some(&efi)), (false, false));
        assert_eq!(told(X86_64, old(without), high, Some(&efi)), (false, true));
        assert_eq!(told(X86_64, old(FakeImage::x86_64()), high, None), (false, true));
        assert_eq!(told(X86_64, old(FakeImage::i386()), high, Some(&efi)), (false, true));
        assert_eq!(told(I386, FakeImage::x86_64(), high, Some(&efi)), (false, false));
        assert_eq!(told(X86_64, old(FakeImage::i386()), Some(PhysAddr(0xf_5b20)), None), (false, false));
        assert_eq!(told(X86_64, old(FakeImage::i386()), None, None), (false, false));
    }

    /// Catches UEFI for a kernel that looks for its services at address 0.
    #[test]
    fn services_without_an_address_are_for_kernels_that_find_them() {
        let mut shown = shown();
        shown.tables[1].clear();
        let nowhere = Efi::parse(&boot_params(), &shown).unwrap();
        let told = |release: &'static str, efi: &Efi| {
            let file = FakeImage { release, ..FakeImage::x86_64() }.build();
            Firmware::new(Arch::X86_64, &BzImage::parse(&file).unwrap(), None, Some(efi)).efi.is_some()
        };
        for old in ["5.6.19", "4.19.0-27-amd64", "strange"] {
            assert!(!told(old, &nowhere) && told(old, &ovmf()), "{old}");
        }
        for new in ["5.7.0", "5.10.0-32-amd64", "6.1.0"] {
            assert!(told(new, &nowhere), "{new}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(params in prop::collection::vec(any::<u8>(), 0..600), text in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut shown = shown();
            shown.regions[0][3] = text.clone();
            shown.systab = text.clone();
            let _ = Efi::parse(&params, &shown);
            let _ = rsdp(&params, &text);
        }
    }
}
