//! The numbers in which sysfs says what a kernel was told.

/// Offset of `acpi_rsdp_addr`, u64, in boot_params (Documentation/arch/x86/zero-page.rst).
const ACPI_RSDP: usize = 0x70;

/// The address in `boot_params`, the whole page.
pub fn acpi_rsdp(boot_params: &[u8]) -> Option<u64> {
    let bytes = boot_params.get(ACPI_RSDP..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// A number as arch/x86/kernel/ksysfs.c prints the type of setup_data: `0x9` and a newline.
pub fn hexadecimal(text: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(text).ok()?.trim_ascii();
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    /// Catches an address cut to 32 bits, and the types from 16 on or the indirect ones (bit 31) misread.
    #[test]
    fn numbers_are_whole() {
        let mut page = vec![0; 4096];
        page[0x70..0x78].copy_from_slice(&0x1_beef_0014_u64.to_le_bytes());
        assert_eq!(acpi_rsdp(&page), Some(0x1_beef_0014));
        assert_eq!(acpi_rsdp(&page[..0x74]), None);
        assert_eq!(hexadecimal(b"0x80000009\n"), Some(0x8000_0009));
        assert_eq!(hexadecimal(b"0x10\n"), Some(16));
        assert_eq!(hexadecimal(b"9\n"), None);
    }
}
